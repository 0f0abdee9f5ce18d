"""From a source of prices to ticks on the bus.

Where prices come from and when they are due is the source's business (`replay`, `synthetic`, `live`); here a quote gets
its id, its feed and its run, and the promise is kept that market time never runs back within a run.
"""

from collections.abc import Awaitable, Callable
from contextlib import aclosing
from typing import Any

from holdfast.contracts.messages import Tick
from holdfast.contracts.streams import MARKET_TICK
from holdfast.contracts.wire import Out, Outgoing
from holdfast.domain.candles import Quote
from services.market_feed.source import Batch, Source

Publish = Callable[[list[Outgoing]], Awaitable[None]]


class MarketFeed:
    """Publishes what *source* says. Quotes come from checked files or converted tickers, so ticks are built unvalidated."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._run, self._reached = "", 0
        self.ticks = 0

    async def pump(self, publish: Publish) -> None:
        """Publish batch after batch, until the source has ended. What *publish* raises is not held back."""
        async with aclosing(self._source.batches()) as batches:
            async for batch in batches:
                await publish(self.outputs(batch))
                self._source.published(batch)
                self.ticks += len(batch.quotes)

    def outputs(self, batch: Batch) -> list[Outgoing]:
        """One tick per quote. A tick's id is its run and its place in it."""
        if batch.run != self._run:
            self._run, self._reached = batch.run, 0
        return [
            Out(MARKET_TICK, self._tick(batch.run, batch.index + n, quote))
            for n, quote in enumerate(batch.quotes)
        ]

    def _tick(self, run: str, index: int, quote: Quote) -> Tick:
        self._reached = max(self._reached, quote.at)
        return Tick.model_construct(
            id=f"{run}:{index}",
            at=self._reached,
            symbol=quote.symbol,
            bid=quote.bid,
            ask=quote.ask,
            last=quote.last,
            feed=self._source.name,
            run=run,
            live=self._source.live,
        )

    def heartbeat(self) -> dict[str, Any]:
        """Fields for the heartbeat: what is fed, and how far it is."""
        details = {
            "feed": self._source.name,
            "run": self._run,
            "ticks": str(self.ticks),
            **self._source.details(),
        }
        return {"details": details, "warnings": self._source.warnings()}
