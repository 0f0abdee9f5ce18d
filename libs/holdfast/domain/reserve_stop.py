"""The ledger's decision on a protective stop that is to rest at the venue (INV-5), and what follows when one moves.

It is reserved like any order. One is live for a position; a second one only where it names the first as the one that it
replaces. The first stays until the second is proven to rest: then, in the same change, its cancel is asked for. So there is
no gap, and nothing piles up: one in doubt counts as live. Stops are no working exits: what is held may be closed beside them,
and the venue cuts what is reduce-only.

On spot nothing is. There one is live and never a second: the one before must have provably ended. It covers what no exit may still
sell, and its quantity counts in INV-5's sum.
"""

from decimal import Decimal

from holdfast.contracts.codes import (
    Code,
    ExitReason,
    Kind,
    OrderState,
    PositionSide,
    ResultStatus,
    Role,
)
from holdfast.contracts.messages import Fill, OrderRequest, OrderReserve
from holdfast.contracts.money import ZERO, canonical, round_down, sub
from holdfast.contracts.rows import BookRow, OrderRow, PositionRow
from holdfast.domain.invariants import MOST_STOPS, exit_side
from holdfast.domain.ledger_state import Change, LedgerState
from holdfast.domain.orders import to_canceling
from holdfast.domain.reservation import Refused, book_of, intent_row, order_row

_RESTS = frozenset({OrderState.OPEN, OrderState.PARTIAL})


def reserve_stop(
    state: LedgerState, request: OrderReserve, order: OrderRequest, change: Change, now_ms: int
) -> Refused | None:
    """Record the stop, cut to what is held; or say what objects."""
    book = book_of(state, request)
    position = state.position(book.book_id)
    if position is None or position.position_id != order.position_id:
        return Refused(Code.POSITION_GONE, "the stop names a position that is not the open one")
    refused = _objection(position, order) or _in_the_way(state, book, position, order)
    if refused is not None:
        return refused
    room = _room(state, position, order)
    quantity = room if order.quantity is None else min(order.quantity, room)
    if position.kind is Kind.SPOT and (not quantity or quantity < order.min_quantity):
        text = f"{canonical(quantity)} is left to guard beside what exits may still sell; the smallest order is {canonical(order.min_quantity)}"
        return Refused(Code.EXIT_IN_PROGRESS, text)
    wanted = order.evolve(reason=ExitReason.EXIT_ON_VENUE)
    row = order_row(request, wanted, book, exit_side(position.side), quantity, now_ms)
    state.put_order(row, change)
    for before in _stops(state, book.book_id):
        if before.intent_id == order.replaces:
            state.put_order(before.evolve(replaced_by=request.intent_id), change)
    state.put_position(position.evolve(protects=position.protects + 1, version=position.version + 1), change)
    change.intents[request.intent_id] = intent_row(
        request, ResultStatus.ACCEPTED, now_ms, order_id=row.order_id
    )
    state.settle_book(book.book_id, change)
    return None


def _objection(position: PositionRow, order: OrderRequest) -> Refused | None:
    if order.stop_price is None:
        return Refused(Code.MALFORMED, "a protective stop needs a stop_price", ResultStatus.INVALID)
    if position.kind is Kind.SPOT and position.side is PositionSide.SHORT:
        return Refused(Code.NO_REDUCE_ONLY, "a short on spot has no coins to lock", ResultStatus.INVALID)
    if order.side not in {None, exit_side(position.side)}:
        text = f"a {order.side} would enlarge the {position.side.value} position"
        return Refused(Code.WRONG_SIDE, text)
    return None


def _in_the_way(
    state: LedgerState, book: BookRow, position: PositionRow, order: OrderRequest
) -> Refused | None:
    """At most one stop of the position, and that one named; at most two of the book, those of closed positions included. On spot none."""
    stops = _stops(state, book.book_id)
    own = [row for row in stops if row.position_id == position.position_id]
    most = 1 if position.kind is Kind.SPOT else MOST_STOPS
    if len(stops) < most and all(row.intent_id == order.replaces for row in own):
        return None
    return Refused(
        Code.ALREADY_PROTECTED,
        f"{len(stops)} protective stop(s) of this book are live",
        in_the_way=tuple(row.order_id for row in stops),
    )


def _room(state: LedgerState, position: PositionRow, order: OrderRequest) -> Decimal:
    """How much of it a stop may cover: on spot, in whole steps, what no live exit may still sell, those in doubt included."""
    if position.kind is not Kind.SPOT:
        return position.quantity
    room = position.quantity
    for row in state.live_orders(position.book_id, Role.EXIT):
        room = sub(room, row.remaining)
    return round_down(max(room, ZERO), order.quantity_step)


def _stops(state: LedgerState, book: str) -> list[OrderRow]:
    return state.live_orders(book, Role.PROTECT)


def after_stop(state: LedgerState, row: OrderRow, change: Change, now_ms: int) -> None:
    """*row* has moved. Where it is a stop that now rests, what it replaces goes; where it has ended, that one may be replaced again."""
    if row.role is not Role.PROTECT:
        return
    for other in _stops(state, row.book_id):
        if row.state in _RESTS and other.intent_id == row.replaces and other.code is None:
            state.put_order(to_canceling(other, Code.REPLACED, now_ms), change)
        elif not row.is_live and other.replaced_by == row.intent_id:
            state.put_order(other.evolve(replaced_by=None), change)


def of_stop(position: PositionRow | None, order: OrderRow | None, fill: Fill) -> PositionRow | None:
    """*position* as its story is to be told, where *fill* is of its protective stop and closes it: which level, and when.

    On spot a stop is of whole steps, and what it leaves may be dust: there each of its fills may be the last that is sold.
    """
    if position is None or order is None or order.role is not Role.PROTECT:
        return position
    is_last = fill.quantity >= position.quantity or position.kind is Kind.SPOT
    if order.position_id != position.position_id or not is_last:
        return position
    return position.evolve(
        exit_reason=ExitReason.EXIT_ON_VENUE,
        trigger_price=order.stop_price,
        trigger_at=fill.executed_at,
        trigger_level=order.stop_price,
    )
