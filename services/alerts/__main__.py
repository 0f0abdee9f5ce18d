"""`python -m services.alerts`."""

from holdfast.runtime import early
from holdfast.runtime.entry import run_service
from services.alerts.app import build

if __name__ == "__main__":
    early.over()
    run_service("alerts", build)
