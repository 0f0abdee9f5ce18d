"""What each book is burdened with, as one executor sees it: the ledger's live orders plus its own that are in flight.

Two intents in one batch both see a flat ledger (that was the accident: check, then place). So whatever is proposed
claims its book here at once, and the next intent is judged with it. The claim is kept under the client order id; when
the ledger shows the order, the row takes the claim's place, and when it refuses, the claim goes.

Every change costs O(1), whatever is open: each order's share is remembered and taken out again exactly.
"""

from dataclasses import dataclass
from decimal import Decimal
from typing import NamedTuple

from holdfast.contracts.codes import OrderState, PositionSide, Role
from holdfast.contracts.money import ZERO, add, sub
from holdfast.contracts.rows import OrderRow, PositionRow
from holdfast.domain.invariants import entry_side
from holdfast.domain.ledger_state import value_of
from holdfast.domain.limits import Exposure
from holdfast.domain.one_side import Held
from holdfast.domain.view import LedgerView


class Claim(NamedTuple):
    """What one order adds to its book."""

    book_id: str
    account: str
    side: PositionSide | None
    """The side an entry holds; None for exits and for entries that were displaced."""
    notional: Decimal = ZERO
    entry: bool = True
    unknown: bool = False
    in_flight: bool = False
    """Proposed, not shown by the ledger yet."""


@dataclass(slots=True)
class _Load:
    """The sums over one book's claims."""

    long: int = 0
    short: int = 0
    entries: int = 0
    unknown: int = 0
    in_flight: int = 0
    notional: Decimal = ZERO

    @property
    def is_empty(self) -> bool:
        return not (self.long or self.short or self.entries or self.unknown or self.in_flight)


class InFlight:
    """See the module. `exposure` is what limits are checked against."""

    def __init__(self) -> None:
        self.exposure = Exposure()
        self._claims: dict[str, Claim] = {}
        self._loads: dict[str, _Load] = {}
        self._values: dict[str, tuple[str, Decimal]] = {}
        """Book id -> account and value of its open position."""

    def load(self, view: LedgerView) -> None:
        """Start again from a fresh view; proposals that it does not show yet are kept."""
        kept = {
            key: claim for key, claim in self._claims.items() if claim.in_flight and key not in view.orders
        }
        for book_id, account in self._books():
            self.exposure.set_book(book_id, account, ZERO, busy=False)
        self._claims, self._loads, self._values = {}, {}, {}
        for position in view.positions.values():
            self.take_position(position)
        for order in view.orders.values():
            self.take_order(order)
        for key, claim in kept.items():
            self._put(key, claim)

    def propose(
        self, order_id: str, book_id: str, account: str, side: PositionSide, notional: Decimal, now_ms: int
    ) -> None:
        """An entry was proposed to the ledger at wall time *now_ms*."""
        self._put(order_id, Claim(book_id, account, side, notional, in_flight=True))
        self.exposure.note_entry(account, now_ms)

    def withdraw(self, order_id: str) -> None:
        """A proposal was refused. What the ledger has shown as an order stays."""
        claim = self._claims.get(order_id)
        if claim is not None and claim.in_flight:
            self._put(order_id, None)

    def take_order(self, row: OrderRow) -> None:
        """An order as the ledger shows it now."""
        unknown = row.state is OrderState.UNKNOWN
        if not row.is_live or (row.role is not Role.ENTRY and not unknown):
            self._put(row.order_id, None)
            return
        entry = row.role is Role.ENTRY
        left = row.notional * row.remaining / row.quantity if entry and row.filled else row.notional
        side = entry_side(row) if entry and not row.displaced else None
        self._put(
            row.order_id, Claim(row.book_id, row.account, side, left if entry else ZERO, entry, unknown)
        )

    def take_position(self, row: PositionRow) -> None:
        """A position as the ledger shows it now."""
        if row.is_open:
            self._values[row.book_id] = (row.account, value_of(row))
        else:
            self._values.pop(row.book_id, None)
        self._expose(row.book_id, row.account)

    def held(self, book_id: str, position: PositionRow | None) -> Held:
        """What INV-1 is judged on."""
        load = self._loads.get(book_id)
        sides: tuple[PositionSide, ...] = ()
        if load is not None:
            sides = ((PositionSide.LONG,) if load.long else ()) + (
                (PositionSide.SHORT,) if load.short else ()
            )
        if position is None:
            return Held(ZERO, ZERO, sides)
        if position.side is PositionSide.LONG:
            return Held(position.quantity, ZERO, sides)
        return Held(ZERO, position.quantity, sides)

    def is_unknown(self, book_id: str) -> bool:
        """Whether an order of the book has no clear answer."""
        load = self._loads.get(book_id)
        return load is not None and load.unknown > 0

    def is_moving(self, book_id: str) -> bool:
        """Whether something proposed for the book has not been shown by the ledger yet."""
        load = self._loads.get(book_id)
        return load is not None and load.in_flight > 0

    def _books(self) -> set[tuple[str, str]]:
        """All books that exposure knows, with their accounts."""
        of_claims = {(claim.book_id, claim.account) for claim in self._claims.values()}
        return of_claims | {(book_id, account) for book_id, (account, _) in self._values.items()}

    def _put(self, order_id: str, claim: Claim | None) -> None:
        old = self._claims.pop(order_id, None)
        if old is not None:
            self._add(old, -1)
        if claim is not None:
            self._claims[order_id] = claim
            self._add(claim, 1)
            self._expose(claim.book_id, claim.account)
        elif old is not None:
            self._expose(old.book_id, old.account)

    def _add(self, claim: Claim, sign: int) -> None:
        load = self._loads.get(claim.book_id)
        if load is None:
            load = self._loads[claim.book_id] = _Load()
        if claim.side is PositionSide.LONG:
            load.long += sign
        elif claim.side is PositionSide.SHORT:
            load.short += sign
        load.entries += sign * claim.entry
        load.unknown += sign * claim.unknown
        load.in_flight += sign * claim.in_flight
        load.notional = (
            add(load.notional, claim.notional) if sign > 0 else max(ZERO, sub(load.notional, claim.notional))
        )
        if load.is_empty:
            del self._loads[claim.book_id]

    def _expose(self, book_id: str, account: str) -> None:
        load, position = self._loads.get(book_id), self._values.get(book_id)
        notional = load.notional if load is not None else ZERO
        busy = position is not None or (load is not None and (load.entries > 0 or load.unknown > 0))
        self.exposure.set_book(
            book_id, account, add(notional, position[1]) if position is not None else notional, busy
        )
