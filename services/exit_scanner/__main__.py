"""`python -m services.exit_scanner`."""

from holdfast.runtime.entry import run_service
from services.exit_scanner.app import build

if __name__ == "__main__":
    run_service("exit_scanner", build)
