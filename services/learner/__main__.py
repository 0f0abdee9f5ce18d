"""`python -m services.learner`."""

from holdfast.runtime.entry import run_service
from services.learner.app import build

if __name__ == "__main__":
    run_service("learner", build)
