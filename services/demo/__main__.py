"""`python -m services.demo`."""

from holdfast.runtime import early
from holdfast.runtime.entry import run_service
from services.demo.app import build

if __name__ == "__main__":
    early.over()
    run_service("demo", build)
