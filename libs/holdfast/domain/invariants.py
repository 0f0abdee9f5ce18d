"""The invariants: one place that states them, and the checks that the ledger runs before every commit.

They are checked in pairs: here, on what is about to be committed, and again by the store's constraints and the
read-back after the commit. A violation is *our* bug: the service stops (INV-10), it never repairs.
"""

from collections.abc import Iterable, Mapping
from decimal import Decimal

from holdfast.contracts.codes import Kind, PositionSide, Role, Side
from holdfast.contracts.exit_terms import OFF
from holdfast.contracts.money import ZERO, add
from holdfast.contracts.rows import BookRow, OrderRow, PositionRow
from holdfast.domain.ladder import is_ladder, next_rung
from holdfast.domain.policy import has_other_end

STATEMENTS: Mapping[str, str] = {
    "INV-1": "One side: a book never holds long and short at once, live entry orders included.",
    "INV-2": "Never bare: no open position exists without its exits.",
    "INV-3": "Recorded before sent: no order reaches a venue before the ledger has committed its reservation.",
    "INV-4": "Once: an intent has one end and at most one order; an order is sent once; a fill is applied once.",
    "INV-5": "Exits only shrink: working exits, on spot with the stop, never sum to more than the position; one stop guards it, elsewhere two while one replaces the other.",
    "INV-6": "Exits always pass: nothing softer ever stops a harder exit.",
    "INV-7": "Unknown is not failed; unreadable is not flat.",
    "INV-8": "Rebuildable: snapshot and updates give every service exactly the ledger's state.",
    "INV-9": "One writer for the store, for each state file, for each account's orders.",
    "INV-10": "Loud: a service that cannot keep these stops with a non-zero exit code and says why.",
}

MOST_STOPS = 2
"""Live protective stops of one book: one, and for a moment the one that replaces it. On spot there is never a second."""


class InvariantViolation(Exception):  # noqa: N818 - the pair is InvariantViolation and ContractViolation
    """We are wrong (ContractViolation: they are). *number* is the invariant's; the service that meets it stops."""

    def __init__(self, number: str, text: str) -> None:
        super().__init__(f"{number}: {text} [{STATEMENTS[number]}]")
        self.number = number


def entry_side(order: OrderRow) -> PositionSide:
    """The position side an entry would open."""
    return PositionSide.LONG if order.side is Side.BUY else PositionSide.SHORT


def exit_side(side: PositionSide) -> Side:
    """The order side that reduces a position of *side*."""
    return Side.SELL if side is PositionSide.LONG else Side.BUY


def working_exits(orders: Iterable[OrderRow]) -> Decimal:
    """INV-5's sum: what working, not displaced exits may still take out."""
    total = ZERO
    for order in orders:
        if order.role is Role.EXIT and order.is_live and not order.displaced:
            total = add(total, order.remaining)
    return total


def locking_stops(orders: Iterable[OrderRow]) -> list[OrderRow]:
    """Live protective stops that are not reduce-only at their venue: on spot they lock the coins, and would sell them whatever is held."""
    return [
        order
        for order in orders
        if order.role is Role.PROTECT and order.kind is Kind.SPOT and order.is_live and not order.displaced
    ]


def locked(orders: Iterable[OrderRow]) -> Decimal:
    """What stops on spot may still sell."""
    total = ZERO
    for order in locking_stops(orders):
        total = add(total, order.remaining)
    return total


def profit_is_over(position: PositionRow) -> bool:
    """Whether it is meant to be without a take-profit: switched off, or a ladder that is done."""
    spec = position.take_profit_spec
    return spec == OFF or (is_ladder(spec) and next_rung(position) is None)


def check_position(position: PositionRow) -> None:
    """INV-2, for an open position. Raises InvariantViolation."""
    take_profit, stop_loss = position.take_profit, position.stop_loss
    if stop_loss is None or stop_loss <= 0:
        raise InvariantViolation("INV-2", f"{position.position_id} has no stop-loss")
    if take_profit is None:
        if not profit_is_over(position) or not has_other_end(position):
            raise InvariantViolation(
                "INV-2", f"{position.position_id} has no take-profit, and nothing was to take its place"
            )
    elif (stop_loss < take_profit) != (position.side is PositionSide.LONG) or stop_loss == take_profit:
        raise InvariantViolation(
            "INV-2",
            f"{position.position_id}: stop-loss {stop_loss} and take-profit {take_profit} are on the wrong sides",
        )


def check_stops(book: BookRow, position: PositionRow | None, orders: Iterable[OrderRow]) -> None:
    """INV-5 of the live protective stops of one book. Raises InvariantViolation.

    A stop may be larger than what is left of its position: it is reduce-only, and is replaced by one of the right size. On spot it is
    not, and its quantity counts with those of the exits (`check_book`).
    """
    stops = [order for order in orders if order.role is Role.PROTECT and order.is_live]
    for stop in stops:
        if not stop.reduce_only or stop.stop_price is None or stop.position_id is None:
            raise InvariantViolation(
                "INV-5", f"protective stop {stop.order_id} is not reduce-only, or guards nothing"
            )
        is_of_another = position is None or position.position_id != stop.position_id
        if is_of_another and not stop.displaced:
            raise InvariantViolation(
                "INV-5",
                f"protective stop {stop.order_id} guards {stop.position_id}, which is gone, and is to stay",
            )
    if len(stops) > (1 if any(stop.kind is Kind.SPOT for stop in stops) else MOST_STOPS):
        raise InvariantViolation("INV-5", f"{book.book_id}: {len(stops)} protective stops are live")
    own = [stop for stop in stops if position is not None and stop.position_id == position.position_id]
    if len(own) == MOST_STOPS and not (
        own[0].intent_id == own[1].replaces or own[1].intent_id == own[0].replaces
    ):
        raise InvariantViolation(
            "INV-5", f"{book.book_id}: two protective stops, and neither replaces the other"
        )


def check_book(book: BookRow, position: PositionRow | None, orders: Iterable[OrderRow]) -> None:
    """INV-1, INV-2 and INV-5 of one book as it is about to be committed. Raises InvariantViolation."""
    live = [order for order in orders if order.is_live]
    sides = {entry_side(order) for order in live if order.role is Role.ENTRY and not order.displaced}
    if position is not None:
        check_position(position)
        sides.add(position.side)
        exits, stops = working_exits(live), locked(live)
        if add(exits, stops) > position.quantity:
            beside = f" and stops of {stops}" if stops else ""
            text = f"{book.book_id}: exits of {exits}{beside} work against a position of {position.quantity}"
            raise InvariantViolation("INV-5", text)
    if len(sides) > 1:
        raise InvariantViolation("INV-1", f"{book.book_id} would hold long and short")
    if sides and book.side not in sides:
        raise InvariantViolation("INV-1", f"{book.book_id} says {book.side}, holds {sorted(sides)}")
    for order in live:
        if order.role is Role.EXIT and not order.reduce_only:
            raise InvariantViolation("INV-5", f"exit {order.order_id} is not reduce-only")
    check_stops(book, position, live)
