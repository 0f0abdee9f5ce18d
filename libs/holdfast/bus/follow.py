"""Views: every instance reads the whole stream for itself with plain XREAD. No group, no acknowledgement, no pending list.

A follower keeps the id of the last entry it has read and asks for what comes after it, so it misses nothing that the
bus still holds. (`XREAD … $` in a loop loses whatever arrives between two calls.)
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from redis.asyncio import Redis

from holdfast.bus.connection import is_passing
from holdfast.contracts.streams import Stream
from holdfast.contracts.wire import Entry, decode
from holdfast.runtime.clock import Clock

log = logging.getLogger("holdfast.bus")
PAUSE_S = 0.1
"""Between two attempts to reach a bus that is gone."""


def text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


class Reader:
    """Reads one stream from a given id on. Waits out a bus that is gone; raises only when cancelled."""

    def __init__(
        self,
        client: Redis,
        stream: Stream,
        *,
        clock: Clock,
        prefix: str = "",
        count: int = 500,
        block_ms: int = 1000,
    ) -> None:
        self._client, self.stream, self._clock = client, stream, clock
        self._name, self._count, self._block_ms = prefix + stream.name, count, block_ms
        self.last_id = "0-0"

    async def from_now(self, last: int = 0) -> None:
        """Start behind the newest entry, or *last* entries before it."""
        rows = await self.retry(lambda: self._client.xrevrange(self._name, count=last + 1))
        if not rows:
            self.last_id = "0-0"
        elif len(rows) > last:
            self.last_id = text(rows[-1][0])
        else:
            self.last_id = "0-0"

    async def read(self, *, wait: bool = True) -> list[tuple[str, Mapping[bytes, bytes]]]:
        """The next entries, at most `count`; empty when none came within `block_ms` (or at once, without *wait*)."""
        reply = await self.retry(
            lambda: self._client.xread(
                {self._name: self.last_id}, count=self._count, block=self._block_ms if wait else None
            )
        )
        if not reply:
            return []
        entries = next(iter(reply.values() if isinstance(reply, dict) else (pair[1] for pair in reply)))
        if (
            reply
            and isinstance(reply, dict)
            and entries
            and isinstance(entries[0], list)
            and entries[0]
            and isinstance(entries[0][0], tuple | list)
        ):
            entries = entries[0]
        self.last_id = text(entries[-1][0])
        return [(text(entry_id), fields) for entry_id, fields in entries]

    async def newest_id(self) -> str:
        """The id of the newest entry ever written, "0-0" for a stream that is not there."""
        rows = await self.retry(lambda: self._client.xrevrange(self._name, count=1))
        return text(rows[0][0]) if rows else "0-0"

    async def retry(self, command: Callable[[], Awaitable[Any]]) -> Any:
        """The reply of *command*, asked again while the bus is gone."""
        told = False
        while True:
            try:
                return await command()
            except Exception as error:
                if not is_passing(error):
                    raise
                if not told:
                    log.warning("%s: the bus is gone (%s); trying until it is back", self.stream.name, error)
                    told = True
                await self._clock.sleep(PAUSE_S)


Wanted = Callable[[Mapping[bytes, bytes]], bool]
"""Whether an entry with these fields is worth decoding."""


async def follow(
    reader: Reader,
    handler: Callable[[Sequence[Entry]], Awaitable[None]],
    *,
    last: int = 0,
    wanted: Wanted | None = None,
) -> None:
    """Give every batch of entries to *handler*, until cancelled. Entries that are no messages are logged and left out.

    *wanted* looks at an entry before it is decoded: for whoever needs a few of many.
    """
    await reader.from_now(last)
    while True:
        batch = await reader.read()
        if not batch:
            await asyncio.sleep(0)
            continue
        entries = [
            decode(reader.stream, entry_id, fields)
            for entry_id, fields in batch
            if wanted is None or wanted(fields)
        ]
        for entry in entries:
            if entry.error is not None:
                log.warning("%s %s is no message: %s", reader.stream.name, entry.entry_id, entry.error)
        good = [entry for entry in entries if entry.error is None]
        if good:
            await handler(good)
