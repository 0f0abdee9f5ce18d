"""Work streams, read through `bus.subscription`, made safe.

What FastStream leaves open is closed here (each point has a test):
- the group exists, at 0, before the subscriber starts; counts are explicit;
- what an earlier life of this consumer left pending is drained before anything new is read;
- what *other* consumers abandoned is claimed, and what the server gave us in a reply that was lost on the way is found;
- entries are acknowledged after the handler returned, in the same MULTI that publishes its outputs;
- a batch that raises is given entry by entry; an entry that fails alone, again and again, goes to `dead.letter`;
- a full, busy or vanished bus or store is waited for, and never held against a message;
- a subscriber that stopped (NOGROUP after a wipe, a Redis restart) is started again.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar, cast

from redis.asyncio import Redis

from holdfast.bus.connection import Publisher, is_passing
from holdfast.bus.patience import patiently
from holdfast.bus.subscription import RawEntry, Reading, Subscription
from holdfast.contracts.base import Unauthentic
from holdfast.contracts.messages import DeadLetter
from holdfast.contracts.streams import DEAD_LETTER, Stream
from holdfast.contracts.wire import Entry, Out, Outgoing, decode, digest
from holdfast.domain.invariants import InvariantViolation
from holdfast.runtime.clock import Clock
from holdfast.runtime.faults import Terminal

log = logging.getLogger("holdfast.bus")
T = TypeVar("T")

Decode = Callable[[Stream, str, Mapping[bytes, bytes]], Entry]
Handler = Callable[[Sequence[Entry]], Awaitable[list[Outgoing]]]

MAX_PAYLOAD_CHARACTERS = 150_000
MOST_OF_FORGED = 2_000
"""Characters kept of an entry whose sender may not send it: enough to look at, too little to fill the bus with."""
STRANDED_MS = 1000
"""An entry that the server has given to us for this long, and that we have not seen, was in a reply that got lost."""
MOST_OWN = 10_000
"""Own pending entries looked at in one go."""


@dataclass(slots=True, kw_only=True)
class Work:
    """One work stream of one service."""

    stream: Stream
    handler: Handler
    batch: int
    handler_acks: bool = False
    """The handler returns Ack when an entry is finished with; otherwise all entries are acknowledged after it returns."""
    takes_malformed: bool = False
    """The handler is given entries that are no messages; otherwise they are dead-lettered."""
    on_dead: Callable[[Entry], Awaitable[list[Outgoing]]] | None = None
    """Told when an entry is dead-lettered."""
    decode: Decode = decode
    """From the fields of an entry to the entry; the executor looks at its signature first."""


class Worker:
    """Runs one Work. `process` is the whole path of a batch; the subscription, the drain and the claimer all call it."""

    def __init__(
        self,
        work: Work,
        *,
        service: str,
        group: str | None = None,
        consumer: str,
        client: Redis,
        publisher: Publisher,
        clock: Clock,
        block_ms: int,
        max_deliveries: int,
        patience_s: float,
        claim_idle_ms: int,
        lock: asyncio.Lock | None = None,
    ) -> None:
        self.work, self._service, self._group, self._consumer = work, service, group or service, consumer
        self._client, self._publisher, self._clock = client, publisher, clock
        self._block_ms, self._max_deliveries = block_ms, max_deliveries
        self._patience_ms, self._claim_idle_ms = int(patience_s * 1000), claim_idle_ms
        self._name = publisher.name(work.stream)
        self._lock = lock or asyncio.Lock()
        self._subscription: Subscription | None = None
        self._on_terminal: Callable[[Terminal], None] = lambda _: None
        self._in_hand: set[str] = set()
        """Entries that this life has taken up and not acknowledged, as far as it knows."""
        self._draining = False
        self.dead_letters = 0
        self.waiting_for = ""
        """Why the batch in hand waits: the store or the bus is full, busy or gone. Empty while nothing waits."""
        self.stopping = False

    # -- reading ------------------------------------------------------------------------------------------------

    def bind(self, reading: Reading, on_terminal: Callable[[Terminal], None]) -> None:
        """Declare what is read; *on_terminal* hears why this worker cannot go on."""
        self._on_terminal = on_terminal
        self._subscription = reading.subscribe(
            self._name,
            self._group,
            self._consumer,
            count=self.work.batch,
            block_ms=self._block_ms,
            consume=self._consume,
        )

    async def _consume(self, entries: list[RawEntry]) -> None:
        try:
            await self.process(entries)
        except Terminal as error:
            self._on_terminal(error)
        except InvariantViolation as error:
            self._on_terminal(Terminal(str(error)))
        except Exception as error:
            # Whoever reads would log it and read on: the batch would stay pending, unread and unmentioned.
            log.exception("%s: a batch could not be finished with", self.work.stream.name)
            self._on_terminal(Terminal(f"{self.work.stream.name}: {type(error).__name__}: {error}"))

    @property
    def is_reading(self) -> bool:
        """Whether new entries are being read."""
        return self._subscription is not None and self._subscription.is_reading

    async def start(self) -> None:
        """Drain what an earlier life left pending, then read new entries."""
        await self.drain()
        if not self.stopping and self._subscription is not None:
            await self._subscription.start()

    async def stop(self) -> None:
        self.stopping = True
        if self._subscription is not None:
            await self._subscription.stop()

    # -- entries nobody is reading -----------------------------------------------------------------------------------

    async def drain(self) -> int:
        """Process this consumer's own pending entries, oldest first; returns how many there were."""
        self._draining = True
        try:
            return await self._drain()
        finally:
            self._draining = False

    async def _drain(self) -> int:
        cursor, count = "0", 0
        while not self.stopping:
            reply = await self._client.xreadgroup(
                self._group, self._consumer, {self._name: cursor}, count=self.work.batch
            )
            entries: list[RawEntry] = [
                (_id(entry_id), fields or None) for _, batch in _items(reply) for entry_id, fields in batch
            ]
            if not entries:
                return count
            await self.process(entries)
            cursor, count = entries[-1][0], count + len(entries)
        return count

    async def claim(self) -> int:
        """Take over what another consumer of the group has held for too long, and our own that we never saw; how many."""
        if self._draining:
            return 0
        stranded, abandoned = await self._stranded(), await self._abandoned()
        for entry_ids, idle_ms in ((stranded, STRANDED_MS), (abandoned, self._claim_idle_ms)):
            if entry_ids and not self.stopping:
                log.warning("%s: taking up %d pending entries", self.work.stream.name, len(entry_ids))
                await self._take_up(entry_ids, idle_ms)
        return len(stranded) + len(abandoned)

    async def _abandoned(self) -> list[str]:
        rows = await self._client.xpending_range(
            self._name, self._group, "-", "+", self.work.batch, idle=self._claim_idle_ms
        )
        return [_id(row["message_id"]) for row in rows if _id(row["consumer"]) != self._consumer]

    async def _stranded(self) -> list[str]:
        """Own pending entries that we never saw. What is no longer pending is no longer in hand."""
        before = set(self._in_hand)
        rows = await self._client.xpending_range(
            self._name, self._group, "-", "+", MOST_OWN, consumername=self._consumer
        )
        own = {_id(row["message_id"]): int(row["time_since_delivered"]) for row in rows}
        if len(own) < MOST_OWN:
            self._in_hand -= before - own.keys()
        late = [entry_id for entry_id, idle_ms in own.items() if idle_ms >= STRANDED_MS]
        return [entry_id for entry_id in late if entry_id not in self._in_hand][: self.work.batch]

    async def _take_up(self, entry_ids: list[str], idle_ms: int) -> None:
        """Claim and process. Redis drops an entry without content when it is claimed; we say that it was lost."""
        reply = await self._client.xclaim(
            self._name, self._group, self._consumer, idle_ms, cast("list[Any]", entry_ids)
        )
        claimed = {_id(entry_id): fields or None for entry_id, fields in cast("list[Any]", reply)}
        for entry_id in entry_ids:
            if entry_id not in claimed and not await self._client.xrange(self._name, entry_id, entry_id):
                claimed[entry_id] = None
        await self.process([(entry_id, claimed[entry_id]) for entry_id in entry_ids if entry_id in claimed])

    # -- one batch ------------------------------------------------------------------------------------------------

    async def process(self, raw: Sequence[RawEntry]) -> None:
        """Decode, handle, publish, acknowledge. Raises Terminal only. What comes while stopping stays pending."""
        if self.stopping:
            return
        self._in_hand.update(entry_id for entry_id, _ in raw)
        present = [
            self.work.decode(self.work.stream, entry_id, fields)
            for entry_id, fields in raw
            if fields is not None
        ]
        for entry_id in [entry_id for entry_id, fields in raw if fields is None]:
            await self._bury(
                Entry(self.work.stream, entry_id, b""),
                "the entry was trimmed away while it was pending: its content is lost",
            )
        entries: list[Entry] = []
        forged: list[Entry] = []
        for entry in present:
            if isinstance(entry.error, Unauthentic):
                forged.append(entry)
            elif entry.error is not None and not self.work.takes_malformed:
                await self._bury(entry, str(entry.error))
            else:
                entries.append(entry)
        if forged:
            await self._refuse(forged)
        if not entries:
            return
        if self.work.handler_acks:
            await self._handle(entries)
        else:
            async with self._lock:
                if not self.stopping:
                    await self._handle(entries)

    async def _handle(self, entries: Sequence[Entry]) -> None:
        try:
            outputs = await self._patiently(lambda: self.work.handler(entries))
        except (Terminal, InvariantViolation):
            raise
        except Exception as error:  # noqa: BLE001 - whatever a message can make a handler raise is held against it
            await self._isolate(entries, error)
            return
        await self._publish(outputs, entries)

    async def _publish(self, outputs: list[Outgoing], entries: Sequence[Entry]) -> None:
        """Outputs and acknowledgements in one MULTI. What was committed must get out: anything but a passing fault stops us."""
        acks = [] if self.work.handler_acks else [(self.work.stream, [entry.entry_id for entry in entries])]
        try:
            await self._patiently(lambda: self._publisher.publish(outputs, acks))
            self._in_hand.difference_update(*(entry_ids for _, entry_ids in acks))
        except Terminal:
            raise
        except Exception as error:
            raise Terminal(
                f"{self.work.stream.name}: what was decided cannot be published: {type(error).__name__}: {error}"
            ) from error

    async def _isolate(self, entries: Sequence[Entry], error: Exception) -> None:
        """One bad message never poisons its batch: each is tried alone, and only the one that fails alone counts."""
        if len(entries) > 1:
            log.warning(
                "%s: a batch of %d failed (%s); taking them one by one",
                self.work.stream.name,
                len(entries),
                error,
            )
            for entry in entries:
                await self._handle([entry])
            return
        entry = entries[0]
        for attempt in range(2, self._max_deliveries + 1):
            await self._clock.sleep(0.01 * attempt)
            try:
                outputs = await self._patiently(lambda: self.work.handler([entry]))
            except (Terminal, InvariantViolation):
                raise
            except Exception as again:  # noqa: BLE001
                error = again
                continue
            await self._publish(outputs, [entry])
            return
        log.error(
            "%s %s failed %d times, to dead.letter: %s",
            self.work.stream.name,
            entry.entry_id,
            self._max_deliveries,
            error,
            exc_info=error,
        )
        await self._bury(entry, f"{type(error).__name__}: {error}", self._max_deliveries)

    async def _refuse(self, entries: Sequence[Entry]) -> None:
        """Entries of who may not send them, all in one MULTI: a flood of them must not hold up what is genuine."""
        log.warning(
            "%s: %d entries refused, the first: %s", self.work.stream.name, len(entries), entries[0].error
        )
        self.dead_letters += len(entries)
        now, entry_ids = self._clock.wall_ms(), [entry.entry_id for entry in entries]
        letters = [
            Out(DEAD_LETTER, dead_letter(self._service, entry, str(entry.error), now, most=MOST_OF_FORGED))
            for entry in entries
        ]
        await self._patiently(lambda: self._publisher.publish(letters, [(self.work.stream, entry_ids)]))
        self._in_hand.difference_update(entry_ids)

    async def _bury(self, entry: Entry, why: str, deliveries: int = 1) -> None:
        self.dead_letters += 1
        outputs: list[Outgoing] = [
            Out(DEAD_LETTER, dead_letter(self._service, entry, why, self._clock.wall_ms(), deliveries))
        ]
        if self.work.on_dead is not None:
            on_dead = self.work.on_dead
            outputs += await self._patiently(lambda: on_dead(entry))
        await self._patiently(
            lambda: self._publisher.publish(outputs, [(self.work.stream, [entry.entry_id])])
        )
        self._in_hand.discard(entry.entry_id)

    async def _patiently(self, attempt: Callable[[], Awaitable[T]]) -> T:
        """Try until the store and the bus take it. Raises Terminal after the bounded wait."""
        try:
            return await patiently(attempt, self._clock, self._patience_ms, self._tell)
        finally:
            self.waiting_for = ""

    def _tell(self, why: str) -> None:
        self.waiting_for = why


def dead_letter(
    service: str, entry: Entry, why: str, now_ms: int, deliveries: int = 1, most: int = MAX_PAYLOAD_CHARACTERS
) -> DeadLetter:
    """*entry* as kept for people: whole, unless it is longer than *most* characters."""
    payload = entry.body.decode("utf-8", "replace")
    return DeadLetter(
        id="d-" + digest(service, entry.stream.name, entry.entry_id, entry.body),
        at=now_ms,
        service=service,
        stream=entry.stream.name,
        entry_id=entry.entry_id,
        payload=payload[:most],
        truncated=len(payload) > most,
        error=why[:1000],
        deliveries=deliveries,
    )


def _id(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _items(reply: Any) -> list[tuple[Any, list[tuple[Any, Mapping[bytes, bytes] | None]]]]:
    """XREAD's reply as pairs, whatever shape the protocol version gives it."""
    if not reply:
        return []
    return list(reply.items()) if isinstance(reply, dict) else list(reply)


__all__ = ["Handler", "Work", "Worker", "dead_letter", "is_passing"]
