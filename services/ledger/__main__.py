"""`python -m services.ledger`."""

from holdfast.runtime.entry import run_service
from services.ledger.app import build

if __name__ == "__main__":
    run_service("ledger", build)
