"""`python -m services.ledger`."""

from holdfast.runtime import early
from holdfast.runtime.entry import run_service
from services.ledger.app import build

if __name__ == "__main__":
    early.over()
    run_service("ledger", build)
