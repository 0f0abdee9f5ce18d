"""One transaction's worth of rows, last word per key, ready for the tables."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from holdfast.contracts.codes import Role
from holdfast.contracts.messages import LedgerUpdated
from holdfast.contracts.rows import OrderRow
from holdfast.contracts.wire import digest
from holdfast.domain.invariants import entry_side
from holdfast.store import schema

GENESIS = "0" * 32
"""The hash before the first update."""

Row = tuple[Any, ...]


def chain(previous: str, body: bytes) -> str:
    """The hash of an update: over the hash before it and its own body."""
    return digest(previous, body)


def json_of(row: Any) -> str:
    """A row as followers see it."""
    return row.__pydantic_serializer__.to_json(row, exclude_none=True).decode()  # type: ignore[no-any-return]


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
    quarantine: dict[str, Row] = field(default_factory=dict)
    executors: dict[str, Row] = field(default_factory=dict)

    def take(self, update: LedgerUpdated, journaled: Journaled, fill_digests: dict[str, str]) -> None:
        """Add everything that *update* changed."""
        self.updates.append(journaled)
        for position in update.positions:
            if position.is_open:
                self.closed.discard(position.position_id)
                take_profit = None if position.take_profit is None else str(position.take_profit)
                self.positions[position.position_id] = (
                    position.position_id, position.book_id, position.side.value, str(position.quantity), str(position.entry_price),
                    take_profit, str(position.stop_loss), position.version, json_of(position),
                )  # fmt: skip
            else:
                self.positions.pop(position.position_id, None)
                self.closed.add(position.position_id)
        for order in update.orders:
            self.orders[order.order_id] = _order(order)
        for intent in update.intents:
            self.intents[intent.intent_id] = (
                intent.intent_id,
                intent.digest,
                intent.status.value,
                json_of(intent),
            )
        for book in update.books:
            side = None if book.side is None else book.side.value
            self.books[book.book_id] = (
                book.book_id,
                book.account,
                book.exchange,
                book.symbol,
                book.leg.value,
                side,
                json_of(book),
            )
        self.fills += [
            (
                fill.trade_id,
                fill.order_id,
                fill.account,
                fill.exchange,
                fill.symbol,
                fill_digests[fill.key],
                update.seq,
            )
            for fill in update.fills
        ]
        self.trades += [(trade.position_id, update.seq, json_of(trade)) for trade in update.trades]
        self._take_rare(update)

    def _take_rare(self, update: LedgerUpdated) -> None:
        for row in update.control:
            self.control[row.scope.value, row.target] = (row.scope.value, row.target, json_of(row))
        for total in update.totals:
            self.totals[total.key] = (*total.key, json_of(total))
        for nav in update.nav:
            self.nav[nav.account] = (nav.account, json_of(nav))
        for item in update.quarantine:
            self.quarantine[item.quarantine_id] = (item.quarantine_id, int(item.resolved), json_of(item))
        for account, epoch in update.executors.items():
            self.executors[account] = (account, epoch)

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
        yield schema.quarantine, True, list(self.quarantine.values())
        yield schema.executors, True, list(self.executors.values())
        yield (
            schema.updates,
            False,
            [(row.seq, row.kind, row.at, row.hash, row.body.decode()) for row in self.updates],
        )


def _order(order: OrderRow) -> Row:
    holds = order.role is Role.ENTRY and order.is_live and not order.displaced
    return (
        order.order_id, order.intent_id, order.book_id, order.role.value, order.side.value, order.state.value, str(order.quantity),
        str(order.filled), int(order.reduce_only), int(order.is_live), order.book_id if holds else None,
        entry_side(order).value if holds else None, json_of(order),
    )  # fmt: skip
