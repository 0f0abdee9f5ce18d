"""Many streams followed as one, without losing an entry: one XREAD with an explicit last id for each.

A bus that is gone is waited for. After a wipe or rewind ids made of time go on above the last one by themselves. Only the
sequence of `ledger.updated` can start again below it, when another store takes over: then it is read from its beginning, without
what is older than the start and what was given out before (remembered by id and content, the last `REMEMBERED` of them).

What comes back of one read is put in the order of time. Where a stream had more than one page, whatever is later than its page is
held back for the next read, so that a backlog comes out in order too.
"""

from collections.abc import Mapping, Sequence
from typing import Any, cast

from redis.asyncio import Redis

from holdfast.bus.follow import Reader, text
from holdfast.contracts.messages import LedgerUpdated
from holdfast.contracts.streams import HEARTBEAT, LEDGER_UPDATED, Stream
from holdfast.contracts.wire import Entry, decode, entry_time_ms
from holdfast.runtime.clock import Clock

PAGE = 200
REMEMBERED = 50_000
BLOCK_MS = 500
_LAST_OF_MS = 2**64 - 1


def time_of(entry: Entry) -> int:
    """Wall time of an entry, ms: in its id, but for `ledger.updated`, whose ids are sequence numbers."""
    if entry.stream is LEDGER_UPDATED:
        return entry.message.at if isinstance(entry.message, LedgerUpdated) else 0
    return entry_time_ms(entry.entry_id)


class ManyReader:
    """See the module. Call `start` first, then `read` for ever."""

    def __init__(self, redis: Redis, streams: Sequence[Stream], *, clock: Clock, prefix: str = "") -> None:
        self._redis, self._prefix = redis, prefix
        self._streams = {prefix + stream.name: stream for stream in streams}
        self._last = dict.fromkeys(self._streams, "0-0")
        self._clock, self._floor_ms = clock, 0
        self._held: list[tuple[int, Entry]] = []
        self._seen: dict[tuple[str, str, bytes], None] = {}
        self._patient = Reader(redis, HEARTBEAT, clock=clock)
        """Lends its patience with a bus that is gone."""

    async def start(self, since_ms: int | None) -> None:
        """Begin at this wall time; None: behind what is there now."""
        self._floor_ms = self._clock.wall_ms() if since_ms is None else since_ms
        self._held.clear()
        self._seen.clear()
        for name, stream in self._streams.items():
            if since_ms is None:
                self._last[name] = await self._newest(name)
            elif stream is LEDGER_UPDATED:
                self._last[name] = await self._sequence_before(since_ms)
            else:
                self._last[name] = f"{since_ms - 1}-{_LAST_OF_MS}" if since_ms > 0 else "0-0"

    async def read(self, *, block: bool = True) -> list[Entry]:
        """The next entries in order of time; empty when nothing came within half a second (without *block*: at once)."""
        block = block and not self._held
        reply: Any = await self._patient.retry(
            lambda: self._redis.xread(cast("Any", self._last), count=PAGE, block=BLOCK_MS if block else None)
        )
        if not reply and not self._held:
            await self._notice_another_store()
            return []
        horizon: int | None = None
        for name, rows in _pairs(reply):
            entries = self._decoded(name, rows)
            self._held += [(time_of(entry), entry) for entry in entries if self._is_new(name, entry)]
            if len(rows) == PAGE:
                until = time_of(entries[-1])
                horizon = until if horizon is None else min(horizon, until)
        self._held.sort(key=lambda pair: pair[0])
        ready = [entry for at, entry in self._held if horizon is None or at <= horizon]
        self._held = self._held[len(ready) :]
        return ready

    def _decoded(self, name: str, rows: Sequence[tuple[Any, Mapping[bytes, bytes] | None]]) -> list[Entry]:
        entries = [decode(self._streams[name], text(entry_id), fields or {}) for entry_id, fields in rows]
        self._last[name] = entries[-1].entry_id
        return entries

    def _is_new(self, name: str, entry: Entry) -> bool:
        key = (name, entry.entry_id, entry.body)
        if key in self._seen or (entry.stream is LEDGER_UPDATED and time_of(entry) < self._floor_ms):
            return False
        self._seen[key] = None
        if len(self._seen) > REMEMBERED:
            del self._seen[next(iter(self._seen))]
        return True

    async def _notice_another_store(self) -> None:
        """A sequence that ends before what was read is another store's, or is being published again: read it all."""
        name = self._prefix + LEDGER_UPDATED.name
        last = self._last.get(name, "0-0")
        if last != "0-0" and _sequence(await self._newest(name)) < _sequence(last):
            self._last[name] = "0-0"

    async def _newest(self, name: str) -> str:
        rows = await self._patient.retry(lambda: self._redis.xrevrange(name, count=1))
        return text(rows[0][0]) if rows else "0-0"

    async def _sequence_before(self, since_ms: int) -> str:
        """The id of the newest update before *since_ms*; "0-0" when all are younger."""
        last = "+"
        while True:
            rows = await self._page(last)
            for entry_id, fields in rows:
                if time_of(decode(LEDGER_UPDATED, text(entry_id), fields or {})) < since_ms:
                    return text(entry_id)
            if len(rows) < PAGE:
                return "0-0"
            last = f"({text(rows[-1][0])}"

    async def _page(self, last: str) -> list[Any]:
        name = self._prefix + LEDGER_UPDATED.name
        rows: list[Any] = await self._patient.retry(lambda: self._redis.xrevrange(name, max=last, count=PAGE))
        return rows


def _sequence(entry_id: str) -> int:
    return int(entry_id.partition("-")[0])


def _pairs(reply: Any) -> list[tuple[str, list[Any]]]:
    """XREAD's reply as (stream name, entries), whatever shape the protocol version gives it."""
    pairs = reply.items() if isinstance(reply, dict) else reply or ()
    return [(text(name), rows) for name, rows in pairs if rows]
