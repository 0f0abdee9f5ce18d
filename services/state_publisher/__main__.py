"""`python -m services.state_publisher`."""

from holdfast.runtime.entry import run_service
from services.state_publisher.app import build

if __name__ == "__main__":
    run_service("state_publisher", build)
