"""`python -m services.alerts`."""

from holdfast.runtime.entry import run_service
from services.alerts.app import build

if __name__ == "__main__":
    run_service("alerts", build)
