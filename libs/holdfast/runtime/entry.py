"""How every service process begins and ends: settings, logging, build, run, exit code."""

import logging
import sys
from collections.abc import Callable
from typing import NoReturn, Protocol

from holdfast.runtime.configuration import ConfigurationError, load
from holdfast.runtime.faults import EXIT_CONFIG, EXIT_UNAVAILABLE, Terminal, Transient
from holdfast.runtime.logging import configure
from holdfast.runtime.settings import Settings


class Runnable(Protocol):
    def run(self) -> int:
        """Block until it ends; its exit code."""
        ...


def run_service(name: str, build: Callable[[Settings], Runnable]) -> NoReturn:
    """Run one service and end the process with its exit code; a wrong configuration ends it with 78 before anything starts."""
    try:
        settings = load()
    except ConfigurationError as error:
        print(error, file=sys.stderr)  # noqa: T201 - logging is part of what could not be read
        sys.exit(EXIT_CONFIG)
    configure(name, settings.log)
    try:
        sys.exit(build(settings).run())
    except (Terminal, Transient) as error:
        logging.getLogger("holdfast").critical("%s cannot start: %s", name, error)
        sys.exit(error.code if isinstance(error, Terminal) else EXIT_UNAVAILABLE)
