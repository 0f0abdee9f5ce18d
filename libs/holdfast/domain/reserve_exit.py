"""The ledger's decision on an exit or a cancel (INV-5, INV-6).

What is not yet exiting may be taken out. A harder exit displaces softer and UNKNOWN ones instead of being stopped by them: the same
change takes them out of INV-5's sum and asks for their cancel. A cancel is never blocked.

At a venue without reduce-only orders (`alone`) an exit waits for the one before, and for the stop, which locks the coins: their cancel
is asked for, they go on to count, and the intent gets no answer until they have provably ended (`domain.replacing` waits the same way).
"""

from collections.abc import Sequence
from decimal import Decimal

from holdfast.contracts.codes import Code, ExitReason, Kind, ResultStatus, Role, UpdateKind
from holdfast.contracts.exit_terms import parse_terms
from holdfast.contracts.messages import OrderRequest, OrderReserve
from holdfast.contracts.money import canonical, mul, round_down, sub
from holdfast.contracts.rows import BookRow, OrderRow, PositionRow, book_id
from holdfast.domain.exits import HARDNESS, displaces
from holdfast.domain.invariants import exit_side, working_exits
from holdfast.domain.ladder import due_at, is_ladder
from holdfast.domain.ledger_state import Change, LedgerState
from holdfast.domain.orders import CANCEL_ASKED, to_canceling
from holdfast.domain.reservation import Refused, Waiting, book_of, intent_row, order_row


def reserve_exit(
    state: LedgerState, request: OrderReserve, order: OrderRequest, change: Change, now_ms: int
) -> Refused | Waiting | None:
    """Record the exit, cut to what is not yet exiting; or say what objects, or that it must wait."""
    book = book_of(state, request)
    position = state.position(book.book_id)
    refused = _objection(position, order)
    if refused is not None or position is None:
        return refused
    if order.soft:
        return _note_signal(state, position, change, now_ms)
    reason = order.reason or ExitReason.CLOSE
    exits = [row for row in state.live_orders(book.book_id, Role.EXIT) if not row.displaced]
    giving_way = [row for row in exits if displaces(reason, row)]
    staying = [row for row in exits if row not in giving_way]
    free = sub(position.quantity, working_exits(staying))
    if free <= 0:
        if order.position_id is not None and HARDNESS[reason] >= HARDNESS[ExitReason.TTL]:
            state.put_book(book.evolve(refused_exit=f"{reason.value}: held by {staying[0].order_id}"), change)
        text = "exits as hard or harder already hold the whole quantity"
        return Refused(Code.EXIT_IN_FLIGHT, text, in_the_way=tuple(row.order_id for row in staying))
    if order.fraction is not None:
        share = round_down(mul(position.quantity, order.fraction), order.quantity_step)
        if not share and order.fraction < 1:
            text = f"{canonical(order.fraction)} of {canonical(position.quantity)} is less than one step of {canonical(order.quantity_step)}"
            return Refused(Code.BELOW_MINIMUM, text, ResultStatus.INVALID)
        order = order.evolve(quantity=share if order.fraction < 1 else None)
    due = min(free, _of_ladder(position, order, staying, free))
    if due <= 0:
        return Refused(Code.POSITION_GONE, "the rung that fired has been taken out, or is being taken out")
    if order.alone:
        due, free = round_down(due, order.quantity_step), round_down(free, order.quantity_step)
        wanted = due if order.quantity is None else min(due, order.quantity)
        if not wanted or wanted < order.min_quantity:
            text = f"{canonical(wanted)} is less than the smallest order of {canonical(order.min_quantity)}"
            return Refused(Code.BELOW_MINIMUM, text, ResultStatus.INVALID)
    if ending := _first_to_end(state, book, order, giving_way):
        return _wait_for(state, book, ending, change, now_ms)
    for row in giving_way:
        state.put_order(to_canceling(row, Code.DISPLACED, now_ms, displaced=True), change)
    order = order.evolve(reason=reason, position_id=position.position_id)
    _record(state, request, order, book, position, due, change, now_ms, whole=due == free)
    return None


def _first_to_end(
    state: LedgerState, book: BookRow, order: OrderRequest, giving_way: Sequence[OrderRow]
) -> list[OrderRow]:
    """What must be gone before the exit is sent, where nothing but its size keeps it from selling more than is ours."""
    stops = [row for row in state.live_orders(book.book_id, Role.PROTECT) if row.kind is Kind.SPOT]
    if not order.alone:
        return stops
    displaced = [row for row in state.live_orders(book.book_id, Role.EXIT) if row.displaced]
    return [*giving_way, *displaced, *stops]


def _wait_for(
    state: LedgerState, book: BookRow, ending: Sequence[OrderRow], change: Change, now_ms: int
) -> Waiting:
    """Ask for the cancel of what is in the way, once. It goes on to count: what it fills is ours, and less is left to sell."""
    for row in ending:
        if row.code not in CANCEL_ASKED:
            change.kind = UpdateKind.CANCELING
            state.put_order(to_canceling(row, Code.DISPLACED, now_ms), change)
    if change.orders:
        state.settle_book(book.book_id, change)
    return Waiting()


def _of_ladder(
    position: PositionRow, order: OrderRequest, staying: Sequence[OrderRow], free: Decimal
) -> Decimal:
    """How much a fired rung may take: what is due at its price less what rungs are taking out; *free* for other exits."""
    is_rung = order.reason is ExitReason.TAKE_PROFIT and is_ladder(position.take_profit_spec)
    if not is_rung or order.trigger_price is None or position.closing is not None:
        return free
    rungs = [row for row in staying if row.reason is ExitReason.TAKE_PROFIT]
    return sub(due_at(position, order.trigger_price), working_exits(rungs))


def _note_signal(state: LedgerState, position: PositionRow, change: Change, now_ms: int) -> Refused:
    """A soft close: it stands on the position until that closes or grows; rules and vetoes decide when it leaves."""
    if not parse_terms(position.terms).signal:
        return Refused(
            Code.SIGNALS_OFF, "signal exits are off for this position; a close without soft closes it"
        )
    if position.signal_at is None:
        state.put_position(position.evolve(signal_at=now_ms, version=position.version + 1), change)
        state.settle_book(position.book_id, change)
    return Refused(Code.SIGNAL_NOTED, "it leaves when no veto holds it back", ResultStatus.NOTED)


def _objection(position: PositionRow | None, order: OrderRequest) -> Refused | None:
    if position is None or (order.position_id is not None and order.position_id != position.position_id):
        code = Code.NOTHING_TO_CLOSE if order.position_id is None else Code.POSITION_GONE
        return Refused(
            code,
            "nothing is open in this book"
            if position is None
            else "the exit names a position that is not the open one",
        )
    if _has_moved(position, order):
        return Refused(
            Code.POSITION_GONE, "the level that fired has moved since, and the price has not reached it"
        )
    if order.side not in {None, exit_side(position.side)}:
        return Refused(
            Code.WRONG_SIDE,
            f"a reduce-only {order.side} would enlarge the {position.side.value} position",
        )
    return None


def _record(
    state: LedgerState,
    request: OrderReserve,
    order: OrderRequest,
    book: BookRow,
    position: PositionRow,
    free: Decimal,
    change: Change,
    now_ms: int,
    *,
    whole: bool,
) -> None:
    """The order, its position's attempt, and what a full exit means for the book's entries.

    *free*: how much it may take at most; *whole*: that is all that is not yet exiting.
    """
    wanted = free if order.quantity is None else min(order.quantity, free)
    quantity = wanted if wanted == free else (round_down(wanted, order.quantity_step) or wanted)
    row = order_row(request, order, book, exit_side(position.side), quantity, now_ms)
    state.put_order(row, change)
    state.put_position(
        position.evolve(
            exit_attempts=position.exit_attempts + 1,
            exit_reason=order.reason,
            trigger_price=order.trigger_price,
            trigger_at=order.trigger_at,
            trigger_level=order.trigger_level,
            version=position.version + 1,
        ),
        change,
    )
    book = state.books[book.book_id].evolve(refused_exit=None)
    if whole and quantity == free:
        book = book.evolve(exiting=order.reason)
        cancel_entries(state, book.book_id, Code.STOPPED_BY_EXIT, order.reason, change, now_ms)
    state.put_book(book, change)
    change.intents[request.intent_id] = intent_row(
        request, ResultStatus.ACCEPTED, now_ms, order_id=row.order_id
    )
    state.settle_book(book.book_id, change)


def _has_moved(position: PositionRow, order: OrderRequest) -> bool:
    """Whether the price that fired has *not* reached the level as it now is: an add has moved it since.

    A position that is being closed is closed at any price: its reason is another position's. A stop that follows the price
    is not looked at: it never loosens, and the move that fired may still be on its way here.
    """
    if order.trigger_price is None or position.closing is not None:
        return False
    level = {ExitReason.STOP_LOSS: position.stop_loss, ExitReason.TAKE_PROFIT: position.take_profit}.get(
        order.reason or ExitReason.CLOSE
    )
    if level is None:
        return False
    falling = (position.side == "long") == (order.reason is ExitReason.STOP_LOSS)
    return order.trigger_price > level if falling else order.trigger_price < level


def cancel_entries(
    state: LedgerState, book: str, code: Code, reason: ExitReason | None, change: Change, now_ms: int
) -> list[str]:
    """Put the book's live entries into CANCELING; what still fills of them will be closed for *reason*."""
    asked = []
    for row in state.live_orders(book, Role.ENTRY):
        if row.code is not code or row.reason is not reason:
            state.put_order(to_canceling(row, code, now_ms).evolve(code=code, reason=reason), change)
            asked.append(row.order_id)
    return asked


def cancel(state: LedgerState, request: OrderReserve, change: Change, now_ms: int) -> Refused | None:
    """Never blocked: ask for what is asked, and say what that was."""
    assert request.cancel is not None
    change.kind = UpdateKind.CANCELING
    target = request.cancel.order_id
    rows: Sequence[OrderRow]
    if target is not None:
        rows = [row for row in (state.orders.get(target), *_of_intent(state, target)) if row is not None]
        if not rows:
            return Refused(Code.NO_SUCH_ORDER, f"no live order {target}", ResultStatus.INVALID)
    else:
        rows = state.live_orders(
            book_id(request.account, request.exchange, request.symbol, request.leg), Role.ENTRY
        )
    for row in rows:
        state.put_order(to_canceling(row, request.cancel.code, now_ms), change)
        state.settle_book(row.book_id, change)
    return Refused(Code.ON_REQUEST, f"asked to cancel {len(rows)} order(s)", ResultStatus.CANCELED)


def _of_intent(state: LedgerState, intent_id: str) -> list[OrderRow]:
    return [row for row in state.orders.values() if row.intent_id == intent_id]
