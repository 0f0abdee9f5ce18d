"""`python -m services.hooks`."""

from holdfast.runtime import early
from holdfast.runtime.entry import run_service
from services.hooks.app import build

if __name__ == "__main__":
    early.over()
    run_service("hooks", build)
