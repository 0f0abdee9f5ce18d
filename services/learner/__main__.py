"""`python -m services.learner`."""

from holdfast.runtime import early
from holdfast.runtime.entry import run_service
from services.learner.app import build

if __name__ == "__main__":
    early.over()
    run_service("learner", build)
