"""`python -m services.executor`: run the executor until it is stopped; the exit code says why it ended."""

import sys

from holdfast.runtime.configuration import load
from services.executor.app import build

if __name__ == "__main__":
    sys.exit(build(load()).run())
