"""`python -m services.demo`: settings, logging, then the service until it stops."""

import logging
import sys

from holdfast.runtime.configuration import ConfigurationError, load
from holdfast.runtime.faults import EXIT_CONFIG, Terminal
from holdfast.runtime.logging import configure
from services.demo.app import build


def main() -> int:
    """The process's exit code."""
    try:
        settings = load()
    except ConfigurationError as error:
        print(error, file=sys.stderr)  # noqa: T201 - logging is part of what could not be read
        return EXIT_CONFIG
    configure("demo", settings.log)
    try:
        return build(settings).run()
    except Terminal as error:
        logging.getLogger("holdfast").critical("demo cannot start: %s", error)
        return error.code


if __name__ == "__main__":
    sys.exit(main())
