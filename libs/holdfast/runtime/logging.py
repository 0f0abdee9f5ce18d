"""Logs: structlog over the standard library, so that our lines and those of libraries look the same and pass one filter.

Console with colours on a terminal, one JSON document a line elsewhere. Every line carries its service. Passwords in
addresses are cut out of every value, exceptions included, before anything is written.
"""

import logging
import sys
from collections.abc import Mapping
from typing import Any

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from holdfast.runtime.configuration import redact
from holdfast.runtime.settings import LogSettings

_LOUD = ("faststream", "holdfast.faststream", "asyncio", "alembic", "sqlalchemy.engine", "uvicorn")
"""Libraries whose information is not news to who runs Holdfast: warnings and worse only."""


def configure(service: str, settings: LogSettings) -> None:
    """Set up logging of this process, once, at its start. Lines go to standard error."""
    as_console = settings.format == "console" or (settings.format == "auto" and sys.stderr.isatty())
    before: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _named(service),
        structlog.processors.StackInfoRenderer(),
    ]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *before,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    last: list[Processor] = [
        structlog.stdlib.ProcessorFormatter.remove_processors_meta,
        structlog.processors.format_exc_info,
        redacted,
    ]
    last.append(
        structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
        if as_console
        else structlog.processors.JSONRenderer(default=str)
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(foreign_pre_chain=before, processors=last))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(settings.level.upper())
    handler.addFilter(_is_news)
    for name in list(
        root.manager.loggerDict
    ):  # libraries bring handlers of their own; there is one pipe here
        library = logging.getLogger(name)
        library.handlers[:] = []
        library.propagate = True


def _is_news(record: logging.LogRecord) -> bool:
    """Asked at the handler, because some libraries set the levels of their loggers themselves, later."""
    return record.levelno >= logging.WARNING or not record.name.startswith(_LOUD)


def logger(name: str = "holdfast") -> structlog.stdlib.BoundLogger:
    """A logger: `log.info("what happened", key=value)`."""
    bound: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(name)
    return bound


def redacted(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """The event without passwords in addresses."""
    return {key: _clean(value) for key, value in event.items()}


def _clean(value: Any) -> Any:
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, Mapping):
        return {key: _clean(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_clean(one) for one in value]
    if isinstance(value, BaseException):
        return redact(repr(value))
    return value


def _named(service: str) -> Processor:
    def add(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        event.setdefault("service", service)
        return event

    return add
