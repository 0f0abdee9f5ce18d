"""`python -m services.market_feed`."""

from holdfast.runtime import early
from holdfast.runtime.entry import run_service
from services.market_feed.app import build

if __name__ == "__main__":
    early.over()
    run_service("market_feed", build)
