"""`python -m services.dashboard`."""

from holdfast.runtime import early
from holdfast.runtime.entry import run_service
from services.dashboard.app import build

if __name__ == "__main__":
    early.over()
    run_service("dashboard", build)
