"""`python -m services.dashboard`."""

from holdfast.runtime.entry import run_service
from services.dashboard.app import build

if __name__ == "__main__":
    run_service("dashboard", build)
