"""An order's life as a table: which event moves it from which state to which.

    RESERVED ──accepted──▶ OPEN ──fills──▶ PARTIAL ──fills──▶ FILLED
       │  │                  └──cancel asked──▶ CANCELING ──canceled──▶ CANCELED
       │  ├──rejected──▶ REJECTED            └──(fills still count)
       │  ├──no clear answer──▶ UNKNOWN ──evidence──▶ any of these
       │  └──proven never sent──▶ ABANDONED

FILLED is the sum of fills, never a status. A terminal status that names more than our fills sum to leaves the order
UNKNOWN until the trades are read. A fill counts in *every* state: a fill after CANCELED is real.
"""

import re
from decimal import Decimal

from holdfast.contracts.codes import TERMINAL_STATES, Code, OrderState, ResultStatus, StatusKind
from holdfast.contracts.messages import OrderStatus
from holdfast.contracts.money import add, divide, mul
from holdfast.contracts.rows import IntentRow, OrderRow
from holdfast.domain.policy import LOWEST_PRICE

_OURS = re.compile(r"h[0-9a-f]{30}")
S = OrderState
_LIVE = (S.RESERVED, S.OPEN, S.PARTIAL, S.CANCELING, S.UNKNOWN)

CANCEL_ASKED = frozenset(
    {
        Code.ON_REQUEST,
        Code.DISPLACED,
        Code.STOPPED_BY_EXIT,
        Code.POSITION_GONE,
        Code.HALTED,
        Code.OPPOSED,
        Code.REPLACED,
    }
)
"""Codes of an order whose cancel is wanted: what shows that it is alive makes it CANCELING, never OPEN again."""

TRANSITIONS: dict[tuple[OrderState, StatusKind], OrderState] = {
    (S.RESERVED, StatusKind.ACCEPTED): S.OPEN,
    (S.UNKNOWN, StatusKind.ACCEPTED): S.OPEN,
    (S.RESERVED, StatusKind.UNKNOWN): S.UNKNOWN,
    (S.OPEN, StatusKind.UNKNOWN): S.UNKNOWN,
    (S.PARTIAL, StatusKind.UNKNOWN): S.UNKNOWN,
    (S.CANCELING, StatusKind.UNKNOWN): S.UNKNOWN,
    **{(state, StatusKind.REJECTED): S.REJECTED for state in _LIVE},
    **{(state, StatusKind.CANCELED): S.CANCELED for state in _LIVE},
    **{(state, StatusKind.EXPIRED): S.EXPIRED for state in _LIVE},
    **{(state, StatusKind.ABSENT): S.ABANDONED for state in _LIVE},
}
"""What is not here changes nothing: a status of an ended order is old news."""


def is_ours(order_id: str) -> bool:
    """Whether a client order id is one that Holdfast gives: `precheck.order_id_of` makes them."""
    return _OURS.fullmatch(order_id) is not None


def on_status(order: OrderRow, status: OrderStatus) -> OrderRow | None:
    """The order after *status*; None when it changes nothing."""
    target = TRANSITIONS.get((order.state, status.status))
    if target is None:
        if status.venue_order_id and order.venue_order_id is None:
            return order.evolve(venue_order_id=status.venue_order_id)
        return None
    claimed = status.filled_quantity
    if target in TERMINAL_STATES and claimed is not None and claimed > order.filled:
        target = S.UNKNOWN
    elif target is S.OPEN and order.code in CANCEL_ASKED:
        target = S.CANCELING
    elif target is S.OPEN and order.filled:
        target = S.PARTIAL
    elif target in {S.REJECTED, S.ABANDONED} and order.filled:
        target = S.CANCELED  # it was at the venue: it has fills
    changes = {
        "state": target,
        "claimed": claimed if target is S.UNKNOWN else None,
        "venue_order_id": status.venue_order_id or order.venue_order_id,
        "evidence": status.evidence or status.reason or order.evidence,
        "changed_at": status.at,
    }
    if target in TERMINAL_STATES or target is S.UNKNOWN:
        changes["code"] = order.code or status.code or (Code.NOT_SENT if target is S.ABANDONED else None)
    return order.evolve(**changes)


def on_fill(order: OrderRow, quantity: Decimal, price: Decimal, at: int) -> OrderRow:
    """The order after a fill of *quantity* at *price*, whatever its state was."""
    filled = add(order.filled, quantity)
    state = order.state
    if filled >= order.quantity:
        state = S.FILLED
    elif state is S.UNKNOWN and order.claimed is not None and filled >= order.claimed:
        state = S.CANCELED  # the trades that its terminal status had named are read now
    elif state in {S.RESERVED, S.OPEN, S.UNKNOWN} and not (state is S.UNKNOWN and order.claimed is not None):
        state = S.CANCELING if order.code in CANCEL_ASKED else S.PARTIAL
    return order.evolve(
        filled=filled, filled_value=add(order.filled_value, mul(quantity, price)), state=state, changed_at=at
    )


def to_canceling(order: OrderRow, code: Code, at: int, *, displaced: bool = False) -> OrderRow:
    """The order with its cancel asked for. An UNKNOWN one stays UNKNOWN: asking proves nothing."""
    state = order.state if order.state is S.UNKNOWN else S.CANCELING
    return order.evolve(
        state=state, code=order.code or code, displaced=order.displaced or displaced, changed_at=at
    )


def _average(order: OrderRow) -> Decimal | None:
    """The average price of its fills; None where it has none, or where they cost nothing."""
    price = divide(order.filled_value, order.filled) if order.filled else None
    return price if price is not None and price >= LOWEST_PRICE else None


_ENDS = {
    S.FILLED: ResultStatus.FILLED,
    S.CANCELED: ResultStatus.CANCELED,
    S.REJECTED: ResultStatus.REJECTED,
    S.EXPIRED: ResultStatus.EXPIRED,
    S.ABANDONED: ResultStatus.EXPIRED,
    S.UNKNOWN: ResultStatus.UNKNOWN,
}


def result_of(order: OrderRow, intent: IntentRow, at: int) -> IntentRow | None:
    """The intent's row after its order changed; None when its answer stays. An end that was given is never taken back."""
    if intent.is_final:
        return None
    status = _ENDS.get(order.state, ResultStatus.ACCEPTED)
    if order.state in {S.CANCELED, S.EXPIRED} and order.filled:
        status = ResultStatus.PARTLY_FILLED
    elif order.state is S.ABANDONED and order.code in CANCEL_ASKED:
        status = ResultStatus.CANCELED  # stopped before it was sent
    if status is intent.status and not (
        status is ResultStatus.ACCEPTED and order.filled != intent.filled_quantity
    ):
        return None
    return intent.evolve(
        status=status,
        code=order.code if status is not ResultStatus.FILLED else None,
        reason=order.evidence if status is not ResultStatus.FILLED else None,
        filled_quantity=order.filled,
        average_price=_average(order),
        at=at,
    )
