"""Everything live, in memory, as the ledger decides upon it; and what one message, and one transaction, changed.

Decisions are made here before they are committed. `begin` opens a transaction; `rollback` puts back every row it
touched, `keep` forgets how. So a batch that fails leaves the memory as it was, without copying it for every batch.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from holdfast.contracts.codes import OrderState, PositionSide, Role, UpdateKind
from holdfast.contracts.messages import Fill, LedgerUpdated, OrderBlocked, Trade
from holdfast.contracts.money import ONE, ZERO, add, divide, mul
from holdfast.contracts.outcomes import TradeOutcome
from holdfast.contracts.portfolio import RiskRow
from holdfast.contracts.rows import (
    BookRow,
    ControlRow,
    IntentRow,
    LearningRow,
    NavRow,
    OrderRow,
    PositionRow,
    QuarantineRow,
    ThresholdsRow,
    TotalRow,
)
from holdfast.contracts.wire import Outgoing
from holdfast.domain.invariants import check_book
from holdfast.domain.learning_rules import surplus
from holdfast.domain.limits import Exposure
from holdfast.domain.portfolio_rules import Marked

_MISSING: Any = object()


@dataclass(slots=True)
class Known:
    """What the store already holds of the things a batch names: read once per batch, added to as the batch is applied."""

    intents: dict[str, IntentRow] = field(default_factory=dict)
    orders: dict[str, OrderRow] = field(default_factory=dict)
    """Ended orders that a fill or status of the batch names."""
    fills: dict[str, str] = field(default_factory=dict)
    """Fill key -> digest of its content."""
    messages: dict[str, str] = field(default_factory=dict)
    """Message id -> digest, of messages without a key of their own."""
    trades: dict[str, Trade] = field(default_factory=dict)
    """Closed trades, by position id, whose outcome the batch names."""
    outcomes: dict[str, TradeOutcome] = field(default_factory=dict)
    """Outcomes that are recorded already, by position id."""


@dataclass(slots=True)
class Change:
    """What one message changed: becomes one LedgerUpdated."""

    kind: UpdateKind
    cause_id: str
    correlation_id: str | None = None
    why: str | None = None
    positions: dict[str, PositionRow] = field(default_factory=dict)
    orders: dict[str, OrderRow] = field(default_factory=dict)
    books: dict[str, BookRow] = field(default_factory=dict)
    intents: dict[str, IntentRow] = field(default_factory=dict)
    fills: list[Fill] = field(default_factory=list)
    trades: list[Trade] = field(default_factory=list)
    blocked: list[OrderBlocked] = field(default_factory=list)
    control: dict[tuple[str, str], ControlRow] = field(default_factory=dict)
    totals: dict[tuple[str, str, str], TotalRow] = field(default_factory=dict)
    quarantine: dict[str, QuarantineRow] = field(default_factory=dict)
    nav: dict[str, NavRow] = field(default_factory=dict)
    learning: dict[str, LearningRow] = field(default_factory=dict)
    thresholds: dict[int, ThresholdsRow] = field(default_factory=dict)
    risk: dict[str, RiskRow] = field(default_factory=dict)
    executors: dict[str, int] = field(default_factory=dict)
    beside: list[Outgoing] = field(default_factory=list)
    """Messages that are no record: repeated answers, dead letters."""

    @property
    def is_empty(self) -> bool:
        """Whether nothing was changed, so that nothing is recorded."""
        return not (
            self.positions
            or self.orders
            or self.books
            or self.intents
            or self.fills
            or self.trades
            or self.blocked
            or self.control
            or self.totals
            or self.quarantine
            or self.nav
            or self.learning
            or self.thresholds
            or self.risk
            or self.executors
        )

    def as_update(self, *, seq: int, store_id: str, epoch: int, at: int) -> LedgerUpdated:
        """The journal entry of this change."""
        return LedgerUpdated.trusted(
            id=f"{store_id}:{seq}", cause_id=self.cause_id, correlation_id=self.correlation_id, at=at,
            seq=seq, store_id=store_id, epoch=epoch, kind=self.kind, why=self.why,
            positions=list(self.positions.values()), orders=list(self.orders.values()), books=list(self.books.values()),
            intents=list(self.intents.values()), fills=self.fills, trades=self.trades, blocked=self.blocked,
            control=list(self.control.values()), totals=list(self.totals.values()), quarantine=list(self.quarantine.values()),
            nav=list(self.nav.values()), learning=list(self.learning.values()), thresholds=list(self.thresholds.values()),
            risk=list(self.risk.values()), executors=self.executors,
        )  # fmt: skip


class LedgerState:
    """Live rows by key, with the indexes decisions need."""

    def __init__(self) -> None:
        self.positions: dict[str, PositionRow] = {}
        self.position_of_book: dict[str, str] = {}
        self.orders: dict[str, OrderRow] = {}
        self.orders_of_book: dict[str, dict[str, None]] = {}
        self.books: dict[str, BookRow] = {}
        self.control: dict[tuple[str, str], ControlRow] = {}
        self.totals: dict[tuple[str, str, str], TotalRow] = {}
        self.quarantine: dict[str, QuarantineRow] = {}
        self.nav: dict[str, NavRow] = {}
        self.learning: dict[str, LearningRow] = {}
        self.thresholds: dict[int, ThresholdsRow] = {}
        """Versions of the learned thresholds: the newest ones, and the one in force (`thresholds.surplus`)."""
        self.risk: dict[str, RiskRow] = {}
        self.marks: dict[str, Marked] = {}
        """What each account was last worth; all together under the empty name. Not recorded: the next mark is a second away."""
        self.executors: dict[str, int] = {}
        self.exposure = Exposure()
        self._undo: list[tuple[dict[Any, Any], Any, Any]] | None = None

    # -- transactions -------------------------------------------------------------------------------------------------

    def begin(self) -> None:
        self._undo = []
        self.exposure.begin()

    def keep(self) -> None:
        """The transaction is committed: what it changed stays."""
        self._undo = None
        self.exposure.commit()

    def rollback(self) -> None:
        """Put everything back as it was at `begin`."""
        for table, key, old in reversed(self._undo or []):
            if old is _MISSING:
                del table[key]
            else:
                table[key] = old
        self._undo = None
        self.exposure.rollback()

    def _set(self, table: dict[Any, Any], key: Any, value: Any) -> None:
        if self._undo is not None:
            self._undo.append((table, key, table.get(key, _MISSING)))
        table[key] = value

    def _drop(self, table: dict[Any, Any], key: Any) -> None:
        if key in table:
            if self._undo is not None:
                self._undo.append((table, key, table[key]))
            del table[key]

    # -- rows -----------------------------------------------------------------------------------------------------------

    def load(self, rows: Iterable[Any]) -> None:
        """Take rows in from the store, at start."""
        change = Change(UpdateKind.MAINTENANCE, "load")
        for row in rows:
            if isinstance(row, PositionRow):
                self.put_position(row, change)
            elif isinstance(row, OrderRow):
                self.put_order(row, change)
            elif isinstance(row, BookRow):
                self.books[row.book_id] = row
            elif isinstance(row, ControlRow):
                self.control[row.scope.value, row.target] = row
            elif isinstance(row, TotalRow):
                self.totals[row.key] = row
            elif isinstance(row, QuarantineRow):
                self.quarantine[row.quarantine_id] = row
            elif isinstance(row, NavRow):
                self.nav[row.account] = row
            elif isinstance(row, LearningRow):
                self.learning[row.scope] = row
            elif isinstance(row, ThresholdsRow):
                self.thresholds[row.version] = row
            elif isinstance(row, RiskRow):
                self.risk[row.account] = row
        self._drop_surplus()
        for book in self.books:
            self._expose(book)

    def put_position(self, row: PositionRow, change: Change) -> None:
        """Record *row*; a closed one leaves the live rows."""
        change.positions[row.position_id] = row
        if row.is_open:
            self._set(self.positions, row.position_id, row)
            self._set(self.position_of_book, row.book_id, row.position_id)
        else:
            self._drop(self.positions, row.position_id)
            if self.position_of_book.get(row.book_id) == row.position_id:
                self._drop(self.position_of_book, row.book_id)

    def put_order(self, row: OrderRow, change: Change) -> None:
        """Record *row*; an ended one leaves the live rows."""
        change.orders[row.order_id] = row
        of_book = self.orders_of_book.setdefault(row.book_id, {})
        if row.is_live:
            self._set(self.orders, row.order_id, row)
            if row.order_id not in of_book:
                self._set(of_book, row.order_id, None)
        else:
            self._drop(self.orders, row.order_id)
            self._drop(of_book, row.order_id)

    def put_book(self, row: BookRow, change: Change) -> None:
        if self.books.get(row.book_id) != row:
            change.books[row.book_id] = row
            self._set(self.books, row.book_id, row)

    def put_control(self, row: ControlRow, change: Change) -> None:
        change.control[row.scope.value, row.target] = row
        self._set(self.control, (row.scope.value, row.target), row)

    def put_total(self, row: TotalRow, change: Change) -> None:
        change.totals[row.key] = row
        self._set(self.totals, row.key, row)

    def put_quarantine(self, row: QuarantineRow, change: Change) -> None:
        change.quarantine[row.quarantine_id] = row
        if row.resolved:
            self._drop(self.quarantine, row.quarantine_id)
        else:
            self._set(self.quarantine, row.quarantine_id, row)

    def put_nav(self, row: NavRow, change: Change) -> None:
        change.nav[row.account] = row
        self._set(self.nav, row.account, row)

    def put_learning(self, row: LearningRow, change: Change) -> None:
        """How learning stands; versions that are too many leave the live rows."""
        change.learning[row.scope] = row
        self._set(self.learning, row.scope, row)
        self._drop_surplus()

    def _drop_surplus(self) -> None:
        for version in surplus(self.thresholds, self.learning.values()):
            self._drop(self.thresholds, version)

    def put_thresholds(self, row: ThresholdsRow, change: Change) -> None:
        change.thresholds[row.version] = row
        self._set(self.thresholds, row.version, row)

    def put_risk(self, row: RiskRow, change: Change) -> None:
        change.risk[row.account] = row
        self._set(self.risk, row.account, row)

    def put_mark(self, account: str, mark: Marked) -> None:
        self._set(self.marks, account, mark)

    def put_executor(self, account: str, epoch: int, change: Change) -> None:
        change.executors[account] = epoch
        self._set(self.executors, account, epoch)

    # -- questions ------------------------------------------------------------------------------------------------------

    def position(self, book: str) -> PositionRow | None:
        key = self.position_of_book.get(book)
        return self.positions[key] if key is not None else None

    def live_orders(self, book: str, role: Role | None = None) -> list[OrderRow]:
        """Live orders of *book*, oldest first."""
        rows = (self.orders[key] for key in self.orders_of_book.get(book, ()))
        return [row for row in rows if role is None or row.role is role]

    def live_entries(self, book: str) -> list[OrderRow]:
        """Entries that hold the book's side: live, and not disowned by a flip."""
        return [order for order in self.live_orders(book, Role.ENTRY) if not order.displaced]

    # -- after every message -----------------------------------------------------------------------------------------------

    def settle_book(self, book_id: str, change: Change) -> None:
        """Bring the book's row in line with what it holds, update exposure, and check the invariants of the book."""
        book, position = self.books[book_id], self.position(book_id)
        entries = self.live_entries(book_id)
        side = position.side if position is not None else book.side
        changes: dict[str, Any] = {}
        if position is None and not entries:
            side = None
        if side is not book.side:
            changes["side"] = side
        if book.exiting is not None and not self.live_orders(book_id, Role.EXIT):
            changes["exiting"] = None
        if book.refused_exit is not None and position is None:
            changes["refused_exit"] = None
        if changes:
            self.put_book(book.evolve(**changes), change)
        self._expose(book_id)
        check_book(self.books[book_id], position, self.live_orders(book_id))

    def _expose(self, book_id: str) -> None:
        book = self.books.get(book_id)
        if book is None:
            return
        position, live = self.position(book_id), self.live_orders(book_id)
        notional = ZERO
        for order in live:
            if order.role is Role.ENTRY:
                notional = add(notional, _waiting(order))
        if position is not None:
            notional = add(notional, value_of(position))
        notional = counted(notional)
        busy = position is not None or any(
            order.role is Role.ENTRY or order.state is OrderState.UNKNOWN for order in live
        )
        self.exposure.set_book(book_id, book.account, notional, busy, book.side)


def _waiting(order: OrderRow) -> Decimal:
    """The part of the order's notional that has not filled. Rounded alone, so that a sum does not depend on its order."""
    if not order.filled:
        return order.notional
    return divide(mul(order.notional, order.remaining), order.quantity)


def counted(notional: Decimal) -> Decimal:
    """*notional* as limits count it: to 18 places, so that a sum over all books stays exact whatever the amounts' digits."""
    exponent = notional.as_tuple().exponent
    return notional if isinstance(exponent, int) and exponent >= -18 else divide(notional, ONE)


def value_of(position: PositionRow) -> Decimal:
    """A position's value at entry, in the quote currency: what limits count."""
    if position.kind == "inverse":
        return mul(position.quantity, position.contract_size)
    return mul(position.cost, position.contract_size)


def held_of(position: PositionRow | None) -> tuple[PositionSide | None, Decimal]:
    return (position.side, position.quantity) if position is not None else (None, ZERO)
