"""`python -m services.executor`."""

from holdfast.runtime import early
from holdfast.runtime.entry import run_service
from services.executor.app import build

if __name__ == "__main__":
    early.over()
    run_service("executor", build)
