"""`python -m services.demo`."""

from holdfast.runtime.entry import run_service
from services.demo.app import build

if __name__ == "__main__":
    run_service("demo", build)
