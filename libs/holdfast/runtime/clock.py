"""Time as an argument. Services get a Clock; tests and simulations give them one they control."""

import asyncio
import time
from typing import Protocol


class Clock(Protocol):
    def wall_ms(self) -> int:
        """Milliseconds since 1970 UTC. May jump; for ids, expiry, staleness."""
        ...

    def monotonic_ms(self) -> int:
        """Milliseconds since some moment of this process. Never goes back; for intervals."""
        ...

    async def sleep(self, seconds: float) -> None: ...


class SystemClock:
    """The machine's clocks."""

    def wall_ms(self) -> int:
        return time.time_ns() // 1_000_000

    def monotonic_ms(self) -> int:
        return time.monotonic_ns() // 1_000_000

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
