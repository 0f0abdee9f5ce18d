"""What every source of prices has in common: batches of quotes that are due, and the run they belong to.

A source decides *when* a quote is due and where it goes on after a restart; the service only turns quotes into ticks.
"""

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from typing import Protocol

from holdfast.domain.candles import Quote

BATCH_MS = 20
"""Quotes due within this long of each other leave together, wall ms."""
BATCH_MAX = 500
"""... but never more than this many at once."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Quotes that are due now. *index* is the place of the first one in its run."""

    run: str
    index: int
    quotes: Sequence[Quote]


class Source(Protocol):
    """A source of prices. Implementations: replay, synthetic, and `live` for exchanges."""

    name: str
    """What ticks carry as `feed`."""
    live: bool
    """Whether market time is wall time."""

    async def open(self) -> None:
        """Read what must be read before the first quote. Raises Terminal when that cannot be used."""
        ...

    def batches(self) -> AsyncGenerator[Batch, None]:
        """Quotes, each batch when it is due. Ends when the source has nothing more to say."""
        ...

    def published(self, batch: Batch) -> None:
        """*batch* is on the bus."""
        ...

    async def close(self) -> None:
        """Save where to go on; let go of connections."""
        ...

    def details(self) -> dict[str, str]:
        """For the heartbeat."""
        ...

    def warnings(self) -> list[str]:
        """What is late or missing, for the heartbeat: the light is yellow while there is something."""
        ...
