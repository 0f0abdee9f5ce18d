"""`python -m services.state_publisher`."""

from holdfast.runtime import early
from holdfast.runtime.entry import run_service
from services.state_publisher.app import build

if __name__ == "__main__":
    early.over()
    run_service("state_publisher", build)
