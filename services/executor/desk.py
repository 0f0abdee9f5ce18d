"""Intents on their way: proposed to the ledger, and not answered yet.

An intent's entry is acknowledged when the ledger's answer has been seen, never earlier: until then it is pending on the
bus, and whoever comes after us finds it. A proposal that stays unanswered is published again, the same message, because
a wiped or rewound bus may have lost it or the answer.

Entries come in batches, and at most two batches are out at once: a burst waits at the door, not in front of a stop.
All times are monotonic ms.
"""

import asyncio
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field

from holdfast.contracts.codes import Role
from holdfast.contracts.messages import OrderReserve
from holdfast.contracts.rows import OrderRow, book_id
from holdfast.contracts.streams import ORDER_RESERVE
from holdfast.contracts.wire import Ack, Entry, Out, Outgoing

MOST_BATCHES = 2
LONGEST_WAIT_MS = 60_000
GIVE_UP_ROOM_MS = 30_000
"""A proposal that stays unanswered for this long no longer keeps its batch in the door; it is still published again."""
WAITING_AGAIN_MS = 400
"""How soon the ledger is asked whether what is waited for has ended, beside the moment in which it is seen to: twice as long after each time."""
LONGEST_WAITING_MS = 5_000
SLOW_ANSWER_MS = 10_000
"""An intent that has no answer for this long is worth a warning."""
KEEP_ASKED_MS = 30_000
"""How long after the answer an order is waited for that the ledger has promised but not shown."""


def patience_ms(resend_after_ms: int, times: int) -> int:
    """How long to wait after the *times*-th publication before the next: doubling, at most a minute."""
    return int(min(resend_after_ms << min(times - 1, 10), LONGEST_WAIT_MS))


class Batch:
    """One round of entries; `left` of them are unanswered."""

    __slots__ = ("left",)

    def __init__(self) -> None:
        self.left = 0


@dataclass(slots=True)
class Pending:
    """One intent that the ledger has not answered."""

    reserve: OrderReserve
    acks: list[Ack]
    since: int
    published: int
    times: int = 1
    batch: Batch | None = None
    remake: Callable[[], OrderReserve | None] | None = None
    """Of what the ledger may let wait for an order to end: the proposal as it would be now; None: not yet."""


@dataclass(slots=True)
class Asked:
    """An order that this incarnation asked for and may send until `deadline`, if the ledger shows it as RESERVED."""

    intent_id: str
    deadline: int
    answered: int | None = None
    """When the ledger's answer was seen, where that came before the order."""


@dataclass(slots=True)
class Desk:
    """See the module."""

    resend_after_ms: int
    send_within_ms: int
    pending: dict[str, Pending] = field(default_factory=dict)
    """By intent id."""
    asked: dict[str, Asked] = field(default_factory=dict)
    """By client order id: what may still be sent (INV-3). Whoever sends takes it out first."""
    _waiting: set[str] = field(default_factory=set)
    """Intents whose proposal may wait: for the entry that they replace, or for what locks the coins that they would sell."""
    _batches: set[Batch] = field(default_factory=set)
    _room: asyncio.Event = field(default_factory=asyncio.Event)

    async def room(self) -> None:
        """Returns when fewer than two batches of entries are out."""
        while len(self._batches) >= MOST_BATCHES:
            self._room.clear()
            await self._room.wait()

    @property
    def is_full(self) -> bool:
        return len(self._batches) >= MOST_BATCHES

    def also(self, entry: Entry, intent_id: str) -> Pending | None:
        """The pending intent of this id, which *entry* brings once more; both are acknowledged at the answer."""
        pending = self.pending.get(intent_id)
        if pending is not None:
            ack = Ack(entry.stream, entry.entry_id)
            if ack not in pending.acks:
                pending.acks.append(ack)
        return pending

    def open(self, entry: Entry, reserve: OrderReserve, mono_ms: int, batch: Batch | None) -> Out:
        """*reserve* goes out for the intent of *entry*."""
        self.pending[reserve.intent_id] = Pending(
            reserve, [Ack(entry.stream, entry.entry_id)], mono_ms, mono_ms, batch=batch
        )
        if batch is not None:
            batch.left += 1
            self._batches.add(batch)
        return Out(ORDER_RESERVE, reserve)

    def propose(self, reserve: OrderReserve, mono_ms: int) -> Out:
        """*reserve* goes out by our own decision: no entry waits for the answer."""
        self.pending[reserve.intent_id] = Pending(reserve, [], mono_ms, mono_ms)
        if reserve.order is not None:
            self.asked[reserve.order.order_id] = Asked(reserve.intent_id, mono_ms + self.send_within_ms)
        return Out(ORDER_RESERVE, reserve)

    def wait_for_place(self, intent_id: str, remake: Callable[[], OrderReserve | None]) -> None:
        """The intent may have to wait until an order has ended: it is proposed anew, by *remake*, until the ledger answers. It fills no batch."""
        pending = self.pending[intent_id]
        pending.remake = remake
        self._waiting.add(intent_id)
        self._leave(pending)

    def ended(self, rows: Collection[OrderRow], mono_ms: int) -> list[Outgoing]:
        """These orders have ended: proposals that waited for that."""
        intents, books = {row.intent_id for row in rows}, {row.book_id for row in rows}
        waiting = [self.pending[name] for name in sorted(self._waiting)] if rows else []
        again: list[Outgoing] = []
        for pending in waiting:
            order = pending.reserve.order
            if order is not None and (
                order.replaces in intents if order.role is Role.ENTRY else _book(pending.reserve) in books
            ):
                again += self._remade(pending, mono_ms)
        return again

    def freed(self, account: str, exchange: str, mono_ms: int) -> list[Outgoing]:
        """How much is free there has been read: exits that waited for that."""
        waiting = [self.pending[name] for name in sorted(self._waiting)]
        return [
            out
            for one in waiting
            if (one.reserve.account, one.reserve.exchange) == (account, exchange) and _is_exit(one.reserve)
            for out in self._remade(one, mono_ms)
        ]

    def start_again(self) -> None:
        """The view was loaded afresh: what was waited for may have ended unseen."""
        for name in self._waiting:
            self.pending[name].times = 1

    def closing(self) -> set[str]:
        """Books of which an exit may be waiting for something to end."""
        if not self._waiting:
            return set()
        waiting = (self.pending[name].reserve for name in self._waiting)
        return {_book(reserve) for reserve in waiting if _is_exit(reserve)}

    @staticmethod
    def _remade(pending: Pending, mono_ms: int) -> list[Outgoing]:
        pending.published = mono_ms
        reserve = pending.remake() if pending.remake is not None else None
        if reserve is None:
            return []
        pending.reserve = reserve
        return [Out(ORDER_RESERVE, reserve)]

    def answered(self, intent_id: str, mono_ms: int) -> Sequence[Ack]:
        """The ledger has answered: what may be acknowledged now."""
        pending = self.pending.pop(intent_id, None)
        self._waiting.discard(intent_id)
        if pending is None:
            return ()
        order = pending.reserve.order
        if order is not None and (asked := self.asked.get(order.order_id)) is not None:
            asked.answered = mono_ms
        self._leave(pending)
        return pending.acks

    def _leave(self, pending: Pending) -> None:
        batch, pending.batch = pending.batch, None
        if batch is not None:
            batch.left -= 1
            if not batch.left:
                self._batches.discard(batch)
                self._room.set()

    def due(self, mono_ms: int, wall_ms: int) -> list[Outgoing]:
        """Proposals to publish again. An exit gets a new `send_by`, because exits never expire."""
        again: list[Outgoing] = []
        for pending in self.pending.values():
            if pending.remake is not None:
                longest = LONGEST_WAITING_MS
                if mono_ms - pending.published >= min(patience_ms(WAITING_AGAIN_MS, pending.times), longest):
                    found = self._remade(pending, mono_ms)
                    pending.times = pending.times + 1 if found else 1
                    again += found
            elif mono_ms - pending.published >= patience_ms(self.resend_after_ms, pending.times):
                pending.published, pending.times = mono_ms, pending.times + 1
                self._renew(pending, mono_ms, wall_ms)
                again.append(Out(ORDER_RESERVE, pending.reserve))
            if mono_ms - pending.since >= GIVE_UP_ROOM_MS:
                self._leave(pending)
        return again

    def _renew(self, pending: Pending, mono_ms: int, wall_ms: int) -> None:
        """Whichever version the ledger records, its own `send_by` counts: the order is sent before it or not at all."""
        order = pending.reserve.order
        asked = self.asked.get(order.order_id) if order is not None else None
        if (
            order is not None
            and asked is not None
            and order.role is not Role.ENTRY
            and order.send_by < wall_ms + self.resend_after_ms
        ):
            fresh = order.evolve(send_by=wall_ms + self.send_within_ms)
            pending.reserve = pending.reserve.evolve(order=fresh)
            asked.deadline = mono_ms + self.send_within_ms

    def raise_epoch(self, account: str, epoch: int) -> None:
        """The account's epoch was too low when these were proposed: they go out again with *epoch*, as soon as time allows."""
        for pending in self.pending.values():
            if pending.reserve.account == account and pending.reserve.epoch < epoch:
                pending.reserve = pending.reserve.evolve(epoch=epoch)
                pending.published, pending.times = pending.published - LONGEST_WAIT_MS, 1

    def overdue(self, mono_ms: int) -> Iterable[str]:
        """Orders that the ledger promised and did not show; they are no longer waited for."""
        late = [
            key
            for key, asked in self.asked.items()
            if asked.answered is not None and mono_ms - asked.answered > KEEP_ASKED_MS
        ]
        for key in late:
            del self.asked[key]
        return late

    def warnings(self, mono_ms: int) -> Iterable[str]:
        """What has been without an answer for too long: because the ledger is silent, or because it waits for something to end."""
        slow = [name for name, one in self.pending.items() if mono_ms - one.since > SLOW_ANSWER_MS]
        for name in slow:
            if name in self._waiting:
                waits = self.pending[name]
                what = "an exit" if _is_exit(waits.reserve) else "an entry"
                yield (
                    f"{_book(waits.reserve)}: {what} waits for an order to end, for {(mono_ms - waits.since) // 1000} s"
                )
        silent = [self.pending[name].since for name in slow if name not in self._waiting]
        if silent:
            oldest = (mono_ms - min(silent)) // 1000
            yield f"the ledger has not answered {len(silent)} intents, the oldest for {oldest} s"


def _book(reserve: OrderReserve) -> str:
    return book_id(reserve.account, reserve.exchange, reserve.symbol, reserve.leg)


def _is_exit(reserve: OrderReserve) -> bool:
    return reserve.order is not None and reserve.order.role is Role.EXIT
