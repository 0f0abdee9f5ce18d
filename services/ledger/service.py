"""The ledger's handlers: a batch of messages becomes one transaction, then what it caused is published.

Per batch: look up what the store knows of it, decide on the live rows, write state and journal together, read back, keep.
A redelivered message finds itself known and changes nothing. `seq`, `hash` are those of the last committed update.

Blocking work (decide, commit) runs in one thread, so that the event loop can read the next batch meanwhile.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import orjson

from holdfast.contracts.base import Message
from holdfast.contracts.codes import UpdateKind
from holdfast.contracts.messages import Fill, LedgerUpdated, OrderReserve, SnapshotRequest
from holdfast.contracts.outcomes import TradeOutcome
from holdfast.contracts.portfolio import NavMark
from holdfast.contracts.rows import BookRow, book_id
from holdfast.contracts.streams import LEDGER_SNAPSHOT, LEDGER_UPDATED
from holdfast.contracts.wire import Entry, Outgoing, Trim, digest
from holdfast.domain.invariants import check_book
from holdfast.domain.ledger_state import Change, Known, LedgerState
from holdfast.domain.outcomes import check as check_outcome
from holdfast.domain.reservation import Rules
from holdfast.domain.settle import dispute, fill_digest
from holdfast.runtime.clock import Clock
from holdfast.runtime.faults import Terminal
from holdfast.store.batch import Batch, Journaled, chain, encoded
from holdfast.store.store import Store
from services.ledger.decide import decide, look_up
from services.ledger.outbox import caused, news_of, numbered, page_of, tampered
from services.ledger.snapshot import build_snapshot

log = logging.getLogger("holdfast.ledger")

REPUBLISH_LIMIT = 10_000
"""A stream that lacks more updates than this gets a snapshot instead of them."""


@dataclass(slots=True)
class _Applied:
    """A transaction in the making."""

    batch: Batch = field(default_factory=Batch)
    outputs: list[Outgoing] = field(default_factory=list)
    seq: int = 0
    hash: str = ""


class Ledger:
    """See the module."""

    def __init__(
        self, store: Store, rules: Rules, *, clock: Clock, snapshot_every_updates: int, snapshot_every_ms: int
    ) -> None:
        self._store, self._rules, self._clock = store, rules, clock
        self._every_updates, self._every_ms = snapshot_every_updates, snapshot_every_ms
        self._thread = ThreadPoolExecutor(1, "ledger")
        self._unsure = False
        self._snapshot_wanted = True
        self._snapshot_no = 0
        self._snapshots: list[tuple[int, int]] = []
        """(number, seq) of the last two snapshots."""
        self._on_bus = 0
        """Number of the newest snapshot that the bus has shown."""
        self._snapshot_at_ms = 0
        self.dead = 0
        self.load()

    def load(self) -> None:
        """Take the store's rows into memory, all or nothing. Raises InvariantViolation or Terminal when they do not hold together."""
        state = LedgerState()
        try:
            state.load(self._store.rows())
        except ValueError as error:
            raise Terminal(f"the store holds a row that cannot be read: {error}") from error
        state.executors.update(self._store.executors())
        for key, book in state.books.items():
            check_book(book, state.position(key), state.live_orders(key))
        check_hedging(state, self._rules)
        seq, last = self._store.last()
        self.state, self.seq, self.hash, self._unsure = state, seq, last, False
        log.info(
            "ledger loaded: store %s, epoch %d, seq %d, %d positions, %d live orders",
            self._store.store_id,
            self._store.epoch,
            self.seq,
            len(self.state.positions),
            len(self.state.orders),
        )

    # -- handlers -----------------------------------------------------------------------------------------------------

    async def on_work(self, entries: Sequence[Entry]) -> list[Outgoing]:
        """A batch of order.reserve, fill, order.status, exit.adjust, control, exit.thresholds or trade.outcome."""
        readable = [entry for entry in entries if entry.message is not None]
        return await self._in_thread(lambda: self._apply(readable))

    async def on_snapshot_requests(self, entries: Sequence[Entry]) -> list[Outgoing]:
        """Any number of requests in one batch are answered by one snapshot; each for outcomes by its own answer."""
        asked = [entry.message for entry in entries if isinstance(entry.message, SnapshotRequest)]
        wishes = {f"{request.by} ({request.why})" for request in asked if request.of == "state"}
        outputs: list[Outgoing] = []
        if wishes:
            log.info("snapshot asked for by %s", ", ".join(sorted(wishes)[:5]))
            outputs += await self._in_thread(self._snapshot)
        for request in asked:
            if request.of == "outcomes":
                outputs += await self._in_thread(
                    partial(page_of, self._store, request, self._clock.wall_ms())
                )
        return outputs

    async def on_dead(self, entry: Entry) -> list[Outgoing]:
        """A fill or status could not be applied: its book is disputed. No entries there, red light, until a person looks."""
        self.dead += 1
        return await self._in_thread(lambda: self._dispute(entry))

    async def on_time(self) -> list[Outgoing]:
        """A snapshot when one is due."""
        due = self._snapshot_wanted or self.seq - self._snapshot_seq >= self._every_updates
        late = (
            self.seq > self._snapshot_seq
            and self._clock.monotonic_ms() - self._snapshot_at_ms >= self._every_ms
        )
        return await self._in_thread(self._snapshot) if due or late else []

    async def heal(self, newest: tuple[int, str] | None) -> list[Outgoing]:
        """Compare the stream's newest update (seq, hash) with the journal; publish what it lacks. Raises Terminal.

        After a wipe or rewind the missing rows follow if they are few, else a snapshot as of now stands for them.
        """
        return await self._in_thread(lambda: self._heal(newest))

    async def _in_thread(self, work: Callable[[], list[Outgoing]]) -> list[Outgoing]:
        # The thread finishes even if we are cancelled, so its outcome is never left unknown.
        return await asyncio.shield(asyncio.get_running_loop().run_in_executor(self._thread, work))

    @property
    def _stands_for(self) -> tuple[int, int]:
        """(number, seq) of the newest snapshot: on the bus, it stands for every update up to its sequence."""
        return self._snapshots[-1] if self._snapshots else (-1, -1)

    @property
    def _snapshot_seq(self) -> int:
        return self._stands_for[1]

    # -- one transaction ----------------------------------------------------------------------------------------------

    def _apply(self, entries: Sequence[Entry]) -> list[Outgoing]:
        """Decide and commit; what was caused. Raises Transient, ConstraintBroken, ContractViolation or Terminal."""
        missed = self._make_sure()
        messages = [entry.message for entry in entries if entry.message is not None]
        known = look_up(self._store, self.state, messages)
        now_ms = self._clock.wall_ms()
        applied = _Applied(seq=self.seq, hash=self.hash)
        self.state.begin()
        try:
            for entry, message in zip(entries, messages, strict=True):
                applied.outputs += tampered(entry, known, now_ms)
                if isinstance(message, TradeOutcome):
                    self._keep(message, known, applied, now_ms)
                    continue
                self._record(decide(self.state, message, known, self._rules, now_ms), applied, now_ms)
                self._note(message, known, applied)
            if not applied.batch.is_empty:
                self._store.commit(applied.batch)
        except BaseException:
            self.state.rollback()
            self._unsure = True
            raise
        self.state.keep()
        self.seq, self.hash = applied.seq, applied.hash
        return missed + applied.outputs

    def _make_sure(self) -> list[Outgoing]:
        """After a commit without an answer: what the store says is what happened."""
        if not self._unsure:
            return []
        before = (self.seq, self.hash)
        if self._store.last() == before:
            self._unsure = False
            return []
        self.load()
        return self._journal_after(before[0])

    def _journal_after(self, seq: int) -> list[Outgoing]:
        outputs: list[Outgoing] = []
        for row in self._store.updates_after(seq, REPUBLISH_LIMIT):
            outputs += [numbered(row), *caused(LedgerUpdated.model_validate_json(row.body))]
        return outputs

    def _keep(self, outcome: TradeOutcome, known: Known, applied: _Applied, now_ms: int) -> None:
        """The outcome of a trade: kept beside the journal, once; whoever sends it again is told what is kept."""
        kept, trade = known.outcomes.get(outcome.position_id), known.trades.get(outcome.position_id)
        if kept is None:
            if trade is None:
                log.warning("%s: no trade of %s is recorded", outcome.id, outcome.position_id)
                return
            check_outcome(outcome, trade)
            kept = known.outcomes[outcome.position_id] = outcome
            applied.batch.note(outcome, applied.seq)
            applied.batch.keep_outcomes = self._rules.learning.keep_outcomes
        applied.outputs.append(news_of(kept, outcome, now_ms))

    def _note(self, message: Message, known: Known, applied: _Applied) -> None:
        """Remember, in the same transaction, a message that has no key of its own in the tables. A mark may come twice."""
        if isinstance(message, OrderReserve | Fill | NavMark) or message.id in known.messages:
            return
        content = digest(message.body())
        known.messages[message.id] = content
        applied.batch.inbox.append((message.id, content, applied.seq))

    def _record(self, change: Change, applied: _Applied, now_ms: int) -> None:
        applied.outputs += change.beside
        if change.is_empty:
            if change.why:
                log.warning("%s: %s", change.cause_id, change.why)
            return
        applied.seq += 1
        update = change.as_update(
            seq=applied.seq, store_id=self._store.store_id, epoch=self._store.epoch, at=now_ms
        )
        rows = encoded(update)
        body = update.body_with(rows)
        applied.hash = chain(applied.hash, body)
        journaled = Journaled(applied.seq, change.kind.value, now_ms, applied.hash, body)
        applied.batch.take(update, journaled, rows, {fill.key: fill_digest(fill) for fill in change.fills})
        applied.outputs.append(numbered(journaled))
        applied.outputs += caused(update)

    def _dispute(self, entry: Entry) -> list[Outgoing]:
        missed = self._make_sure()
        books = self._named_books(entry)
        if not books:
            log.error(
                "a dead %s entry %s names no book that could be disputed", entry.stream.name, entry.entry_id
            )
            return missed
        now_ms = self._clock.wall_ms()
        applied = _Applied(seq=self.seq, hash=self.hash)
        change = Change(UpdateKind.DISPUTED, "d-" + digest(entry.entry_id, entry.body))
        self.state.begin()
        try:
            for book in books:
                dispute(
                    self.state, book, f"{entry.stream.name} {entry.entry_id} could not be applied", change
                )
            self._record(change, applied, now_ms)
            if applied.batch.updates:
                self._store.commit(applied.batch)
        except BaseException:
            self.state.rollback()
            self._unsure = True
            raise
        self.state.keep()
        self.seq, self.hash = applied.seq, applied.hash
        return missed + applied.outputs

    def _named_books(self, entry: Entry) -> list[BookRow]:
        """The book of the order that a fill or status names; else those of its symbol, as far as it can be read."""
        try:
            document = orjson.loads(entry.body)
            order_id = str(document.get("order_id", ""))
            order = self.state.orders.get(order_id) or self._store.look_up(orders=[order_id]).orders.get(
                order_id
            )
            if order is not None:
                return [self.state.books[order.book_id]]
            account, exchange, symbol = (str(document[name]) for name in ("account", "exchange", "symbol"))
            where = BookRow(
                book_id=book_id(account, exchange, symbol), account=account, exchange=exchange, symbol=symbol
            )
        except (orjson.JSONDecodeError, AttributeError, KeyError, ValueError):
            return []
        same = (account, exchange, symbol)
        found = [row for row in self.state.books.values() if (row.account, row.exchange, row.symbol) == same]
        return found or [where]

    # -- the bus as it is ---------------------------------------------------------------------------------------------

    def _heal(self, newest: tuple[int, str] | None) -> list[Outgoing]:
        missed = self._make_sure()
        seq, seen = newest or (0, "")
        if seq > self.seq:
            raise Terminal(
                f"ledger.updated is at {seq}, this store at {self.seq}: it was restored from a backup, or belongs to another bus. See `holdfast ledger republish`"
            )
        if seq and (rows := self._store.updates_after(seq - 1, 1)) and rows[0].hash != seen:
            raise Terminal(
                f"ledger.updated {seq} was written by another store. See `holdfast ledger republish`"
            )
        if seq == self.seq:
            return missed
        too_many = self.seq - seq > REPUBLISH_LIMIT
        if too_many and self._stands_for == (self._on_bus, self.seq) and not self._snapshot_wanted:
            return missed  # a snapshot as of now is on the bus already
        log.warning(
            "the bus lacks updates %d..%d: it was wiped or rewound, or we stopped before publishing",
            seq + 1,
            self.seq,
        )
        return [*(missed if too_many else self._journal_after(seq)), *self._snapshot()]

    def _snapshot(self) -> list[Outgoing]:
        """Everything live as of now, in parts; older snapshots and the updates before them are let go."""
        self._snapshot_no = max(self._clock.wall_ms(), self._snapshot_no + 1)
        outputs: list[Outgoing] = list(
            build_snapshot(
                self.state,
                number=self._snapshot_no,
                seq=self.seq,
                chain=self.hash,
                store=self._store,
                now_ms=self._clock.wall_ms(),
            )
        )
        if self._snapshots:
            number, seq = self._snapshots[-1]
            outputs += [Trim(LEDGER_SNAPSHOT, f"{number}-0"), Trim(LEDGER_UPDATED, f"{seq}-0")]
        self._snapshots = [*self._snapshots[-1:], (self._snapshot_no, self.seq)]
        self._snapshot_at_ms, self._snapshot_wanted = self._clock.monotonic_ms(), False
        return outputs

    def want_snapshot(self) -> None:
        """The bus has none: publish one at the next occasion."""
        self._snapshot_wanted = True

    def follow_snapshots(self, newest_number: int) -> None:
        """Numbers of snapshots go on behind the newest one on the bus."""
        self._snapshot_no, self._on_bus = max(self._snapshot_no, newest_number), newest_number

    def close(self) -> None:
        self._thread.shutdown(wait=True)
        self._store.close()

    def beat(self) -> dict[str, Any]:
        """Heartbeat fields."""
        state = self.state
        return {
            "seq": self.seq,
            "details": {
                "positions": str(len(state.positions)),
                "live_orders": str(len(state.orders)),
                "store": self._store.store_id,
                "epoch": str(self._store.epoch),
            },
        }


def check_hedging(state: LedgerState, rules: Rules) -> None:
    """Raises Terminal when hedging is switched off for a symbol whose both sides are open, or on while a netted one is."""
    for book in state.books.values():
        held = state.position(book.book_id) is not None or bool(state.live_orders(book.book_id))
        if held and (book.leg.value != "net") != rules.hedges(book.symbol):
            word = "on" if rules.hedges(book.symbol) else "off"
            raise Terminal(
                f"hedging for {book.symbol} cannot be switched {word} while {book.book_id} is in use; close it first, or set hedging back",
                78,
            )
