"""Waiting for a store or a bus that is full, busy or gone: bounded, with growing pauses, and said aloud."""

import logging
from collections.abc import Awaitable, Callable
from typing import TypeVar

from holdfast.runtime.clock import Clock
from holdfast.runtime.faults import EXIT_UNAVAILABLE, Terminal, Transient

log = logging.getLogger("holdfast.bus")
T = TypeVar("T")


async def patiently(
    attempt: Callable[[], Awaitable[T]],
    clock: Clock,
    patience_ms: int,
    tell: Callable[[str], None] = lambda _: None,
) -> T:
    """Repeat *attempt* while it raises Transient, with growing pauses; Terminal after *patience_ms*. *tell* hears why."""
    started, pause = clock.monotonic_ms(), 0.02
    while True:
        try:
            return await attempt()
        except Transient as error:
            if clock.monotonic_ms() - started > patience_ms:
                raise Terminal(f"gave up after {patience_ms // 1000} s: {error}", EXIT_UNAVAILABLE) from error
            log.warning("waiting: %s", error)
            tell(str(error))
            await clock.sleep(pause)
            pause = min(pause * 2, 1.0)
