"""The bus as a command uses it: connect, look once, ask and wait for the answer, leave. No group, no state of its own.

The trick about waiting: the place from which answers are read is taken *before* the question is published, so an answer
that comes at once is not missed. Whoever asks gives the question an id; asking again with the same id is safe.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import NoPermissionError

from holdfast.bus.connection import Publisher, connect, is_passing
from holdfast.bus.follow import PAUSE_S, Reader, text
from holdfast.bus.ledger_feed import LedgerFeed
from holdfast.bus.tasks import cancel_all, within
from holdfast.contracts.base import ContractViolation, Message
from holdfast.contracts.messages import DeadLetter, LedgerUpdated, SnapshotRequest
from holdfast.contracts.streams import BY_NAME, CLI, LEDGER_UPDATED, SNAPSHOT_REQUEST, Reading, Stream
from holdfast.contracts.wire import Entry, Out, Outgoing, decode
from holdfast.domain.view import LedgerView
from holdfast.runtime.bus_address import complete
from holdfast.runtime.clock import Clock, SystemClock
from holdfast.runtime.embedded_bus import NoBusError, address
from holdfast.runtime.faults import Terminal, Transient
from holdfast.runtime.ids import Ids, SystemIds
from holdfast.runtime.keys import own_key, signing_key
from holdfast.runtime.secret_files import SecretRefused
from holdfast.runtime.settings import Settings

PATIENCE_S = 5.0
"""How long one look at the ledger may take."""
PAGE = 500
_CONNECT_S = 3.0


class Unreachable(Exception):  # noqa: N818 - reads as what is the case
    """No bus, or nothing on it that answers. The text says what to do."""


class Client:
    """A connection that answered. Made by `reach`."""

    def __init__(
        self, redis: Redis, settings: Settings, clock: Clock, ids: Ids, publisher: Publisher | None = None
    ) -> None:
        self.redis, self.settings, self.clock, self.ids = redis, settings, clock, ids
        self.prefix = settings.bus.prefix
        self._publisher = publisher or Publisher(redis, CLI, self.prefix)
        self.trouble = ""
        """Why the last attempt to publish has not worked yet."""

    # -- looking ------------------------------------------------------------------------------------------------------

    async def backwards(self, stream: Stream) -> AsyncIterator[Entry]:
        """Every entry that the bus holds of *stream*, newest first; read in pages, as far as the caller goes."""
        last = "+"
        while True:
            page = await self.newest(stream, PAGE, last)
            for entry in page:
                yield entry
            if len(page) < PAGE:
                return
            last = f"({page[-1].entry_id}"

    async def newest(self, stream: Stream, count: int, last: str = "+") -> list[Entry]:
        """The newest *count* entries up to the id *last*, newest first."""
        rows: Any = await self.redis.xrevrange(self.prefix + stream.name, max=last, count=count)
        return [decode(stream, text(entry_id), fields or {}) for entry_id, fields in rows]

    async def containing(self, stream: Stream, words: Sequence[str], most: int) -> list[Entry]:
        """Of the newest *most* entries of *stream*, those whose body contains any of *words*, newest first.

        Only those are decoded, so that looking through many costs little; and those without an id in their body, because
        theirs is derived from the entry.
        """
        wanted, last, looked = [word.encode() for word in words], "+", 0
        found: list[Entry] = []
        while looked < most:
            rows: Any = await self.redis.xrevrange(self.prefix + stream.name, max=last, count=PAGE)
            for entry_id, fields in rows:
                body = (fields or {}).get(b"body", b"")
                named = any(word in body for word in wanted)
                if not named and b'"id"' in body:
                    continue
                entry = decode(stream, text(entry_id), fields or {})
                if named or (entry.message is not None and entry.message.id in words):
                    found.append(entry)
            looked += len(rows)
            if len(rows) < PAGE:
                break
            last = f"({text(rows[-1][0])}"
        return found

    async def ledger(self, view: LedgerView) -> None:
        """Bring *view* to where the bus is now: newest whole snapshot, then every update behind it.

        Raises Unreachable when no ledger has left a snapshot and none publishes one when asked.
        """
        target = int((await self.reader(LEDGER_UPDATED).newest_id()).partition("-")[0])
        there = asyncio.Event()

        async def reset() -> None:
            await updated([])

        async def updated(_: Sequence[LedgerUpdated]) -> None:
            if view.seq >= target:
                there.set()

        feed = LedgerFeed(
            self.redis, view, clock=self.clock, prefix=self.prefix, ask=self._ask_for_snapshot, on_reset=reset, on_updates=updated,
        )  # fmt: skip
        await self._until(there, feed.run(), PATIENCE_S)

    async def _until(self, there: asyncio.Event, run: Any, patience_s: float) -> None:
        """Run *run* until *there* is set. Raises Unreachable after *patience_s*, and whatever *run* raises."""
        running, waiting = asyncio.ensure_future(run), asyncio.ensure_future(there.wait())
        try:
            done, _ = await asyncio.wait(
                {running, waiting}, timeout=patience_s, return_when=asyncio.FIRST_COMPLETED
            )
        finally:
            await cancel_all([running, waiting])
        if running in done:
            running.result()
        if waiting not in done:
            raise Unreachable(
                "the ledger does not answer: no snapshot of it on the bus, and none came when asked for. Is it running? See `holdfast status`"
            )

    async def _ask_for_snapshot(self, why: str) -> None:
        request = SnapshotRequest(id=self.ids.new(), at=self.clock.wall_ms(), by=CLI, why=why[:1000])
        await self.publish([Out(SNAPSHOT_REQUEST, request)])

    def reader(self, stream: Stream) -> Reader:
        """A reader of *stream*, not placed yet."""
        return Reader(self.redis, stream, clock=self.clock, prefix=self.prefix, block_ms=500)

    async def forget(self, stream: Stream) -> int:
        """Remove *stream* from the bus; returns how many entries it had."""
        count = int(await self.redis.xlen(self.prefix + stream.name))
        await self.redis.delete(self.prefix + stream.name)
        return count

    def sign_as(self, producer: str | None) -> None:
        """Sign intents from here on, as *producer* or as what we are. Raises Unreachable where there is no key for it."""
        try:
            if producer is None:
                key = signing_key(self.settings, CLI)
            elif (key := own_key(self.settings, producer)) is None:
                raise Unreachable(f"{producer} has no key here; `holdfast keys new {producer}` makes one")
        except (Terminal, SecretRefused) as error:
            raise Unreachable(str(error)) from error
        self._publisher = Publisher(self.redis, CLI, self.prefix, key)

    # -- asking -------------------------------------------------------------------------------------------------------

    async def publish(self, outputs: Sequence[Outgoing]) -> None:
        """Publish *outputs*, trying for as long as the bus is gone or full. Cancel it to give up; `trouble` says why it waits."""
        while True:
            try:
                await self._publisher.publish(outputs)
            except Transient as error:
                self.trouble = str(error)
                await self.clock.sleep(PAUSE_S)
            else:
                self.trouble = ""
                return

    async def requeue(self, letter: DeadLetter) -> str:
        """Put what *letter* kept onto its stream again, as it was; the new entry's id. Raises ContractViolation.

        Only work is put back: it is deduplicated by its message ids, and a view has no place in the middle.
        """
        stream = BY_NAME.get(letter.stream)
        if stream is None or stream.reading is not Reading.WORK:
            raise ContractViolation(
                "stream", f"{letter.stream} is not read as work, so nothing can be put back there"
            )
        if letter.truncated:
            raise ContractViolation("payload", "it was too large to be kept whole")
        fields: Any = {"body": letter.payload}
        try:
            return text(await self.redis.xadd(self.prefix + stream.name, fields))
        except NoPermissionError as error:
            raise ContractViolation(
                "stream", f"this user of the bus may not write to {stream.name}"
            ) from error

    async def ask(
        self, outputs: Sequence[Outgoing], answers: Stream, take: Callable[[Message], bool], seconds: float
    ) -> bool:
        """Publish *outputs*, then give every message that comes on *answers* to *take* until it returns True.

        False when that has not happened within *seconds*, whatever the reason; then asking again with the same message ids
        is safe.
        """
        try:
            await within(seconds, self._ask(outputs, answers, take))
        except TimeoutError:
            return False
        return True

    async def _ask(
        self, outputs: Sequence[Outgoing], answers: Stream, take: Callable[[Message], bool]
    ) -> None:
        reader = self.reader(answers)
        await reader.from_now()
        await self.publish(outputs)
        while True:
            for entry_id, fields in await reader.read():
                message = decode(answers, entry_id, fields).message
                if message is not None and take(message):
                    return


@asynccontextmanager
async def reach(
    settings: Settings, clock: Clock | None = None, ids: Ids | None = None, who: str = CLI
) -> AsyncIterator[Client]:
    """A client of this installation's bus, as the user *who*. Raises Unreachable with a sentence that says what to do."""
    try:
        url = complete(address(settings), settings, who)
    except (NoBusError, Terminal) as error:
        raise Unreachable(str(error)) from error
    redis = connect(url)
    clock = clock or SystemClock()
    try:
        await _answer(redis.ping(), url)
        yield Client(redis, settings, clock, ids or SystemIds(clock))
    except Exception as error:
        if is_passing(error):
            raise Unreachable(f"the bus at {shown(url)} went away: {error}") from error
        if isinstance(error, NoPermissionError):
            raise Unreachable(f"the bus does not let {who} do that: {error}") from error
        raise
    finally:
        await redis.aclose()


async def _awaited(ping: Awaitable[Any] | bool) -> None:
    if isinstance(ping, Awaitable):
        await ping


async def _answer(ping: Awaitable[Any] | bool, url: str) -> None:
    try:
        await within(_CONNECT_S, _awaited(ping))
    except Exception as error:
        if isinstance(error, TimeoutError) or is_passing(error):
            raise Unreachable(
                f"no bus answers at {shown(url)}: {str(error) or 'no answer'}. Start everything with `holdfast up`"
            ) from error
        raise


def shown(url: str) -> str:
    """Where it is: the address without user, password and options."""
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{rest.rpartition('@')[2].partition('?')[0]}"
