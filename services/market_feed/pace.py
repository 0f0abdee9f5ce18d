"""When the next quote of a replay is due: market time, played at a speed.

The line from market time to the monotonic clock is drawn at the first quote. When publishing was held up for more than
a second, the line is moved: the time is lost, not made up in a rush.
"""

from decimal import Decimal

from holdfast.runtime.clock import Clock
from services.market_feed.source import BATCH_MS

HELD_UP_MS = 1000


class Pace:
    """*speed* is market seconds per wall second; None plays as fast as quotes are taken."""

    def __init__(self, clock: Clock, speed: Decimal | None) -> None:
        self._clock, self._speed = clock, speed
        self._market = self._wall = 0
        self._drawn = False

    def wait_ms(self, at: int) -> int:
        """Wall ms until the quote of market time *at* is due; 0 when it is."""
        if self._speed is None:
            return 0
        now = self._clock.monotonic_ms()
        if not self._drawn:
            self._market, self._wall, self._drawn = at, now, True
        wait = self._wall + int((at - self._market) / self._speed) - now
        if wait < -HELD_UP_MS:
            self._market, self._wall = at, now
        return max(0, wait)

    async def until(self, at: int) -> None:
        """Sleep until *at* is due, and long enough for a batch to gather."""
        await self._clock.sleep(max(self.wait_ms(at), BATCH_MS) / 1000)
