"""Waiting for something to become true, instead of sleeping for luck."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")
EVERY_S = 0.01


async def wait_until(look: Callable[[], T | Awaitable[T]], what: str, seconds: float = 15.0) -> T:
    """What *look* returns as soon as it is true. Fails with *what* after *seconds*: the text says what never came."""
    end = time.monotonic() + seconds
    while True:
        seen = look()
        value: T = await seen if isinstance(seen, Awaitable) else seen
        if value:
            return value
        assert time.monotonic() < end, f"waited {seconds:.0f} s for: {what}"
        await asyncio.sleep(EVERY_S)
