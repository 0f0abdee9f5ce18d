"""`python -m services.exit_scanner`."""

from holdfast.runtime import early
from holdfast.runtime.entry import run_service
from services.exit_scanner.app import build

if __name__ == "__main__":
    early.over()
    run_service("exit_scanner", build)
