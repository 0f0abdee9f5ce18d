"""Prices of a real exchange as a source: `venues.ccxt_feed` gives the quotes, this counts them into a run."""

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing

from holdfast.runtime.clock import Clock
from holdfast.venues.ccxt_feed import SILENT_AFTER_S, CcxtFeed
from services.market_feed.source import Batch


class LiveSource:
    """Each life of the service is a run: there is nothing to go on from, the market did not wait."""

    live = True

    def __init__(self, exchange: str, feed: CcxtFeed, clock: Clock, new_run: Callable[[], str]) -> None:
        self.name = f"ccxt:{exchange}"
        self._feed, self._clock = feed, clock
        self._run, self._index = new_run(), 0
        self._started_at = clock.wall_ms()

    async def open(self) -> None:
        """Connecting is part of the feed's life: an exchange that is away now may come."""

    async def batches(self) -> AsyncGenerator[Batch, None]:
        async with aclosing(self._feed.quotes()) as heard:
            async for quotes in heard:
                yield Batch(self._run, self._index, quotes)

    def published(self, batch: Batch) -> None:
        self._index = batch.index + len(batch.quotes)

    async def close(self) -> None:
        await self._feed.close()

    def details(self) -> dict[str, str]:
        return {"state": "polling" if self._feed.trouble else "websocket"}

    def warnings(self) -> list[str]:
        warnings = [self._feed.trouble] if self._feed.trouble else []
        silent_ms = self._clock.wall_ms() - (self._feed.heard_at or self._started_at)
        if silent_ms > SILENT_AFTER_S * 1000:
            warnings.append(f"{self.name}: no price for {silent_ms // 1000} s")
        return warnings
