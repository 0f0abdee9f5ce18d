"""The ledger as a follower holds it: a snapshot, then updates in sequence.

A gap or another store is never papered over: `apply` raises, the follower throws the view away and starts from a
snapshot. Closed positions and ended orders leave the view; what is here is live.
"""

from collections.abc import Iterable, Sequence

from holdfast.contracts.codes import OrderState, PositionSide, Role
from holdfast.contracts.messages import LedgerSnapshot, LedgerUpdated
from holdfast.contracts.money import canonical
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
from holdfast.contracts.trusted import Tables
from holdfast.contracts.wire import digest
from holdfast.domain.learning_rules import surplus


class Gap(Exception):  # noqa: N818 - it is a fact about the stream, not a failure
    """The next update is not the one after the last: something was lost, start from a snapshot."""


class OtherStore(Exception):  # noqa: N818
    """The update comes from another store than the snapshot."""


def snapshot_checksum(parts: Iterable[LedgerSnapshot]) -> str:
    """Hash over table, key and version of every row of all *parts*, in order."""
    lines: list[str] = []
    for part in parts:
        lines += [f"position {row.position_id} {row.version}" for row in part.positions]
        lines += [f"order {row.order_id} {row.state.value} {canonical(row.filled)}" for row in part.orders]
        lines += [f"book {row.book_id} {row.side}" for row in part.books]
        lines += [f"quarantine {row.quarantine_id} {row.resolved}" for row in part.quarantine]
        lines += [f"control {row.scope.value} {row.target} {row.state.value}" for row in part.control]
        lines += [f"total {'|'.join(row.key)} {row.fills}" for row in part.totals]
        lines += [f"nav {row.account} {canonical(row.cash)}" for row in part.nav]
        lines += [f"learning {row.scope} {row.mode.value} {row.version}" for row in part.learning]
        lines += [f"thresholds {row.version} {row.at}" for row in part.thresholds]
        lines += [f"risk {row.account} {row.drawdown_since} {row.day} {row.losses}" for row in part.risk]
    return digest("\n".join(lines))


class LedgerView:
    """Rows by key: `positions` by position id, `orders` by client order id, `books` by book id.

    *tables*: what its owner reads, here and in updates. The rest need not even be decoded, and is not here.
    """

    def __init__(self, tables: Tables | None = None) -> None:
        self.tables = tables
        self.clear()

    def clear(self) -> None:
        self.store_id, self.epoch, self.seq = "", 0, -1
        self.positions: dict[str, PositionRow] = {}
        self.position_of_book: dict[str, str] = {}
        self.orders: dict[str, OrderRow] = {}
        self.orders_of_book: dict[str, dict[str, OrderRow]] = {}
        self.books: dict[str, BookRow] = {}
        self.control: dict[tuple[str, str], ControlRow] = {}
        self.totals: dict[tuple[str, str, str], TotalRow] = {}
        self.quarantine: dict[str, QuarantineRow] = {}
        self.nav: dict[str, NavRow] = {}
        self.learning: dict[str, LearningRow] = {}
        self.thresholds: dict[int, ThresholdsRow] = {}
        self.risk: dict[str, RiskRow] = {}
        self.executors: dict[str, int] = {}

    @property
    def is_loaded(self) -> bool:
        return self.seq >= 0

    def load(self, parts: Sequence[LedgerSnapshot]) -> None:
        """Replace everything by a whole snapshot. Raises Gap when parts are missing or do not fit together."""
        first = parts[0] if parts else None
        if first is None or [part.part for part in parts] != list(range(1, first.parts + 1)):
            raise Gap("the snapshot is not whole")
        if snapshot_checksum(parts) != first.checksum:
            raise Gap(f"snapshot {first.snapshot_id}: checksum differs")
        self.clear()
        self.store_id, self.epoch = first.store_id, first.epoch
        for part in parts:
            self._take(part if self.tables is None else self.tables.of(part))
        self.seq = first.seq

    def apply(self, update: LedgerUpdated) -> bool:
        """Take one update in; False when it was in already. Raises Gap or OtherStore."""
        if not self.follows(update.seq, update.store_id):
            return False
        self._take(update)
        self.epoch, self.seq = update.epoch, update.seq
        return True

    def follows(self, seq: int, store_id: str) -> bool:
        """Whether *seq* is the next one (False: already in). Raises Gap or OtherStore."""
        if store_id != self.store_id:
            raise OtherStore(f"this view is of store {self.store_id}, the update of {store_id}")
        if seq <= self.seq:
            return False
        if seq != self.seq + 1:
            raise Gap(f"expected update {self.seq + 1}, got {seq}")
        return True

    def skip(self, seq: int, store_id: str) -> None:
        """Account for an update of a kind this follower does not decode."""
        if self.follows(seq, store_id):
            self.seq = seq

    def _take(self, rows: LedgerUpdated | LedgerSnapshot) -> None:
        for position in rows.positions:
            self._take_position(position)
        for order in rows.orders:
            self._take_order(order)
        for book in rows.books:
            self.books[book.book_id] = book
        for control in rows.control:
            self.control[control.scope.value, control.target] = control
        for total in rows.totals:
            self.totals[total.key] = total
        for item in rows.quarantine:
            self.quarantine[item.quarantine_id] = item
            if item.resolved:
                del self.quarantine[item.quarantine_id]
        for nav in rows.nav:
            self.nav[nav.account] = nav
        for learning in rows.learning:
            self.learning[learning.scope] = learning
        self.thresholds.update({row.version: row for row in rows.thresholds})
        for version in surplus(self.thresholds, self.learning.values()) if rows.learning else ():
            del self.thresholds[version]
        for risk in rows.risk:
            self.risk[risk.account] = risk
        self.executors.update(rows.executors)

    def _take_position(self, row: PositionRow) -> None:
        if row.is_open:
            self.positions[row.position_id] = row
            self.position_of_book[row.book_id] = row.position_id
        else:
            self.positions.pop(row.position_id, None)
            if self.position_of_book.get(row.book_id) == row.position_id:
                del self.position_of_book[row.book_id]

    def _take_order(self, row: OrderRow) -> None:
        of_book = self.orders_of_book.setdefault(row.book_id, {})
        if row.is_live:
            self.orders[row.order_id] = of_book[row.order_id] = row
        else:
            self.orders.pop(row.order_id, None)
            of_book.pop(row.order_id, None)

    def position(self, book: str) -> PositionRow | None:
        """The open position of a book."""
        key = self.position_of_book.get(book)
        return self.positions[key] if key is not None else None

    def live_orders(self, book: str, role: Role | None = None) -> list[OrderRow]:
        """Live orders of a book, oldest first."""
        rows = self.orders_of_book.get(book, {}).values()
        return [row for row in rows if role is None or row.role is role]

    def side(self, book: str) -> PositionSide | None:
        """The one side that the book's position and live entries share."""
        row = self.books.get(book)
        return row.side if row else None

    def unknown_orders(self) -> list[OrderRow]:
        return [row for row in self.orders.values() if row.state is OrderState.UNKNOWN]
