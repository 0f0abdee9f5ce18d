"""An entry that takes the place of another: cancel that, wait for the proof, take off what it filled, then reserve. Never two at once.

Nothing is remembered for it but the old order's `replaced_by`. While the old order lives, the proposal changes nothing but its
cancel, and gets no answer; the executor proposes it again when that order has ended, and at every restart, because the intent is
unanswered. Ended is ended by proof: an order whose answer is unclear is UNKNOWN, and UNKNOWN is alive (INV-7). A size is of the whole chain: what any of its orders has filled is taken off, so repricing never buys more.
"""

from dataclasses import dataclass
from decimal import Decimal

from holdfast.contracts.codes import Code, ResultStatus, Role, UpdateKind
from holdfast.contracts.messages import OrderRequest, OrderReserve
from holdfast.contracts.money import add, canonical, round_down, sub
from holdfast.contracts.rows import OrderRow, book_id
from holdfast.domain.ledger_state import Change, Known, LedgerState
from holdfast.domain.orders import to_canceling
from holdfast.domain.reservation import Refused, Waiting


@dataclass(frozen=True, slots=True)
class Place:
    """The old order is out of the way; *order* is what is left to open after `filled`, by it and all that it had replaced."""

    order: OrderRequest
    old: OrderRow
    filled: Decimal

    def taken(self, state: LedgerState, intent_id: str, change: Change) -> None:
        """The new order is reserved: nobody else takes the same place."""
        if self.old.replaced_by != intent_id:
            state.put_order(self.old.evolve(replaced_by=intent_id), change)
        state.put_order(state.orders[self.order.order_id].evolve(filled_before=self.filled), change)


def take_place(
    state: LedgerState, request: OrderReserve, order: OrderRequest, known: Known, change: Change, now_ms: int
) -> Place | Waiting | Refused:
    """How it stands with the entry that *order* replaces. Asks for its cancel where that has not been done."""
    before = known.intents.get(order.replaces or "")
    order_id = before.order_id if before is not None else None
    old = state.orders.get(order_id or "") or known.orders.get(order_id or "")
    if old is None:
        why = "is not known" if before is None else "never came to an order, so there is nothing to replace"
        return Refused(Code.NO_SUCH_ORDER, f"intent {order.replaces} {why}", ResultStatus.INVALID)
    refused = _objection(old, request, order, known)
    if refused is not None:
        return refused
    if old.is_live:
        if old.replaced_by != request.intent_id:
            change.kind = UpdateKind.CANCELING
            row = to_canceling(old, Code.REPLACED, now_ms).evolve(replaced_by=request.intent_id)
            state.put_order(row, change)
            state.settle_book(row.book_id, change)
        return Waiting()
    return _rest(order, old)


def _rest(order: OrderRequest, old: OrderRow) -> Place | Refused:
    filled = add(old.filled, old.filled_before)
    if order.quantity is None or not filled:
        return Place(order, old, filled)
    left = round_down(sub(order.quantity, filled), order.quantity_step)
    if left <= 0 or left < order.min_quantity:
        text = (
            f"{canonical(order.quantity)} less {canonical(filled)}, which {old.intent_id} and those before it have filled, leaves"
            f" nothing that the venue takes; the smallest order is {canonical(max(order.min_quantity, order.quantity_step))}"
        )
        return Refused(Code.NOTHING_LEFT, text, ResultStatus.CANCELED)
    return Place(order.evolve(quantity=left), old, filled)


def _objection(old: OrderRow, request: OrderReserve, order: OrderRequest, known: Known) -> Refused | None:
    book = book_id(request.account, request.exchange, request.symbol, request.leg)
    if old.role is not Role.ENTRY or old.book_id != book or old.side is not order.side:
        text = f"an entry takes the place of one of the same book and side; {old.intent_id} is a {old.role.value} to {old.side.value} in {old.book_id}"
        return Refused(Code.MALFORMED, text, ResultStatus.INVALID)
    other = old.replaced_by
    if other is None or other == request.intent_id:
        return None
    its = known.intents.get(other)
    if its is not None and its.is_final and its.order_id is None:
        return None  # it never came to an order
    text = f"{other} takes the place of {old.intent_id}; name that one instead"
    return Refused(Code.ALREADY_REPLACED, text, in_the_way=(other,))
