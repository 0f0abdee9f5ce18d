"""`python -m services.hooks`."""

from holdfast.runtime.entry import run_service
from services.hooks.app import build

if __name__ == "__main__":
    run_service("hooks", build)
