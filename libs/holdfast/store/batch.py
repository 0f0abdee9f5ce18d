"""One transaction's worth of rows, last word per key, ready for the tables."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from holdfast.contracts.codes import Role
from holdfast.contracts.messages import ROW_TABLES, LedgerUpdated, row_json
from holdfast.contracts.money import canonical
from holdfast.contracts.outcomes import TradeOutcome
from holdfast.contracts.portfolio import RiskRow
from holdfast.contracts.rows import (
    BookRow,
    ControlRow,
    LearningRow,
    NavRow,
    OrderRow,
    PositionRow,
    QuarantineRow,
    ThresholdsRow,
    TotalRow,
)
from holdfast.contracts.wire import digest
from holdfast.domain.invariants import entry_side
from holdfast.store import schema

GENESIS = "0" * 32
"""The hash before the first update."""

Row = tuple[Any, ...]


def chain(previous: str, body: bytes) -> str:
    """The hash of an update: over the hash before it and its own body."""
    return digest(previous, body)


class BrokenChain(Exception):  # noqa: N818 - reads as what is the case
    """An update does not follow from the one before it; the text names it."""


def check_chain(seq: int, hashed: str, following: "Iterable[Journaled]") -> None:
    """Whether *following* are the updates behind number *seq* with hash *hashed*. Raises BrokenChain."""
    for row in following:
        if row.seq != seq + 1:
            raise BrokenChain(f"update {seq + 1} is missing from the journal")
        if chain(hashed, row.body) != row.hash:
            raise BrokenChain(f"update {row.seq} of the journal does not follow from the one before it")
        seq, hashed = row.seq, row.hash


Encoded = dict[str, list[bytes]]
"""The rows of an update as JSON, by table: encoded once, for the journal and for the tables."""


def encoded(update: LedgerUpdated) -> Encoded:
    """Every row of *update* as followers see it."""
    return {name: [row_json(row) for row in getattr(update, name)] for name in ROW_TABLES}


@dataclass(frozen=True, slots=True)
class Journaled:
    """An update as it stands in the journal, and goes on the wire."""

    seq: int
    kind: str
    at: int
    hash: str
    body: bytes


@dataclass(slots=True)
class Batch:
    """Rows by table. `positions` and `orders` are also what the read-back compares."""

    updates: list[Journaled] = field(default_factory=list)
    fills: list[Row] = field(default_factory=list)
    trades: list[Row] = field(default_factory=list)
    inbox: list[Row] = field(default_factory=list)
    positions: dict[str, Row] = field(default_factory=dict)
    closed: set[str] = field(default_factory=set)
    orders: dict[str, Row] = field(default_factory=dict)
    intents: dict[str, Row] = field(default_factory=dict)
    books: dict[str, Row] = field(default_factory=dict)
    control: dict[tuple[str, str], Row] = field(default_factory=dict)
    totals: dict[tuple[str, str, str], Row] = field(default_factory=dict)
    nav: dict[str, Row] = field(default_factory=dict)
    risk: dict[str, Row] = field(default_factory=dict)
    quarantine: dict[str, Row] = field(default_factory=dict)
    learning: dict[str, Row] = field(default_factory=dict)
    thresholds: dict[int, Row] = field(default_factory=dict)
    executors: dict[str, Row] = field(default_factory=dict)
    outcomes: dict[str, Row] = field(default_factory=dict)
    keep_outcomes: int = 0
    """How many outcomes stay, the newest, where some are added."""

    def take(
        self, update: LedgerUpdated, journaled: Journaled, rows: Encoded, fill_digests: dict[str, str]
    ) -> None:
        """Add everything that *update* changed; *rows* are its rows as JSON."""
        self.updates.append(journaled)
        for position, body in zip(update.positions, rows["positions"], strict=True):
            if position.is_open:
                self.closed.discard(position.position_id)
                self.positions[position.position_id] = _position(position, body.decode())
            else:
                self.positions.pop(position.position_id, None)
                self.closed.add(position.position_id)
        for order, body in zip(update.orders, rows["orders"], strict=True):
            self.orders[order.order_id] = _order(order, body.decode())
        for intent, body in zip(update.intents, rows["intents"], strict=True):
            self.intents[intent.intent_id] = (
                intent.intent_id,
                intent.digest,
                str(intent.status),
                body.decode(),
            )
        for book, body in zip(update.books, rows["books"], strict=True):
            self.books[book.book_id] = _book(book, body.decode())
        for fill in update.fills:
            self.fills.append(
                (
                    fill.trade_id,
                    fill.order_id,
                    fill.account,
                    fill.exchange,
                    fill.symbol,
                    fill_digests[fill.key],
                    update.seq,
                )
            )
        for total, body in zip(update.totals, rows["totals"], strict=True):
            self.totals[total.key] = _total(total, body.decode())
        for nav, body in zip(update.nav, rows["nav"], strict=True):
            self.nav[nav.account] = _nav(nav, body.decode())
        self._take_rare(update, rows)

    def _take_rare(self, update: LedgerUpdated, rows: Encoded) -> None:
        for trade, body in zip(update.trades, rows["trades"], strict=True):
            self.trades.append((trade.position_id, update.seq, body.decode()))
        for row, body in zip(update.control, rows["control"], strict=True):
            self.control[row.scope.value, row.target] = _control(row, body.decode())
        for item, body in zip(update.quarantine, rows["quarantine"], strict=True):
            self.quarantine[item.quarantine_id] = _quarantine(item, body.decode())
        for standing, body in zip(update.learning, rows["learning"], strict=True):
            self.learning[standing.scope] = _learning(standing, body.decode())
        for version, body in zip(update.thresholds, rows["thresholds"], strict=True):
            self.thresholds[version.version] = _thresholds(version, body.decode())
        for risk, body in zip(update.risk, rows["risk"], strict=True):
            self.risk[risk.account] = _risk(risk, body.decode())
        for account, epoch in update.executors.items():
            self.executors[account] = (account, epoch)

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to write."""
        return not (self.updates or self.inbox or self.outcomes)

    def note(self, outcome: TradeOutcome, seq: int) -> None:
        """Keep *outcome*, which came when the ledger was at *seq*."""
        self.outcomes[outcome.position_id] = (
            outcome.position_id,
            seq,
            outcome.closed_at,
            outcome.body().decode(),
        )

    def writes(self) -> Iterable[tuple[Any, bool, Sequence[Row]]]:
        """(table, whether a key may exist already, rows), in the order they are written."""
        yield schema.books, True, list(self.books.values())
        yield schema.positions, True, list(self.positions.values())
        yield schema.orders, True, list(self.orders.values())
        yield schema.intents, True, list(self.intents.values())
        yield schema.fills, False, self.fills
        yield schema.trades, False, self.trades
        yield schema.inbox, False, self.inbox
        yield schema.control, True, list(self.control.values())
        yield schema.totals, True, list(self.totals.values())
        yield schema.nav, True, list(self.nav.values())
        yield schema.risk, True, list(self.risk.values())
        yield schema.quarantine, True, list(self.quarantine.values())
        yield schema.learning, True, list(self.learning.values())
        yield schema.thresholds, False, list(self.thresholds.values())
        yield schema.outcomes, False, list(self.outcomes.values())
        yield schema.executors, True, list(self.executors.values())
        yield (
            schema.updates,
            False,
            [(row.seq, row.kind, row.at, row.hash, row.body.decode()) for row in self.updates],
        )


def _position(row: PositionRow, body: str) -> Row:
    take_profit = None if row.take_profit is None else canonical(row.take_profit)
    return (
        row.position_id, row.book_id, row.side, canonical(row.quantity), canonical(row.entry_price), take_profit,
        canonical(row.stop_loss), row.version, body,
    )  # fmt: skip


def _order(row: OrderRow, body: str) -> Row:
    holds = row.role is Role.ENTRY and row.is_live and not row.displaced
    return (
        row.order_id, row.intent_id, row.book_id, row.role, row.side, row.state, canonical(row.quantity), canonical(row.filled),
        int(row.reduce_only), int(row.is_live), row.book_id if holds else None, entry_side(row) if holds else None, body,
    )  # fmt: skip


def _book(row: BookRow, body: str) -> Row:
    return row.book_id, row.account, row.exchange, row.symbol, row.leg, row.side, body


def _control(row: ControlRow, body: str) -> Row:
    return row.scope, row.target, body


def _total(row: TotalRow, body: str) -> Row:
    return (*row.key, body)


def _nav(row: NavRow, body: str) -> Row:
    return row.account, body


def _risk(row: RiskRow, body: str) -> Row:
    return row.account, body


def _quarantine(row: QuarantineRow, body: str) -> Row:
    return row.quarantine_id, int(row.resolved), body


def _learning(row: LearningRow, body: str) -> Row:
    return row.scope, body


def _thresholds(row: ThresholdsRow, body: str) -> Row:
    return row.version, body


COLUMNS_OF: Mapping[type, Callable[[Any, str], Row]] = {
    BookRow: _book, PositionRow: _position, OrderRow: _order, ControlRow: _control, TotalRow: _total, NavRow: _nav, QuarantineRow: _quarantine,
    LearningRow: _learning, ThresholdsRow: _thresholds,
    RiskRow: _risk,
}  # fmt: skip
"""A live row, and its body, as they stand in their table: what was written must be what is read."""
