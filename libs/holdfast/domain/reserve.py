"""The ledger's decision on one OrderReserve: the order is recorded as RESERVED, or the intent ends with a code.

Entries are judged by control, dispute, UNKNOWN orders, a running exit, one side, portfolio rules, limits: in that order, and the first
objection is the answer. Exits are judged by INV-5 alone: what is not yet exiting may be taken out, and a harder exit
displaces softer and UNKNOWN ones instead of being stopped by them (INV-6). A cancel is never blocked.
"""

from decimal import Decimal

from holdfast.contracts.codes import (
    Code,
    Kind,
    Leg,
    OrderState,
    PositionSide,
    ResultStatus,
    Role,
    Scope,
    Side,
    TradingState,
    UpdateKind,
)
from holdfast.contracts.messages import IntentResult, OrderBlocked, OrderRequest, OrderReserve
from holdfast.contracts.money import ONE, ZERO, canonical
from holdfast.contracts.rows import BookRow, IntentRow, PositionRow, book_id
from holdfast.contracts.streams import INTENT_RESULT
from holdfast.contracts.wire import Out, digest
from holdfast.domain.exit_policy import policy_for
from holdfast.domain.invariants import entry_side
from holdfast.domain.learning_rules import policy_in_force
from holdfast.domain.ledger_state import Change, Known, LedgerState, held_of
from holdfast.domain.limits import check_entry
from holdfast.domain.liquidation import guard_price, liquidation_price
from holdfast.domain.one_side import Held, judge
from holdfast.domain.policy import level_of, tighter
from holdfast.domain.portfolio import limits_in_force, objection
from holdfast.domain.replacing import Place, take_place
from holdfast.domain.reservation import Refused, Rules, book_of, intent_row, notional_of, order_row
from holdfast.domain.reserve_exit import cancel, reserve_exit
from holdfast.domain.reserve_stop import reserve_stop


def reserve(state: LedgerState, request: OrderReserve, known: Known, rules: Rules, now_ms: int) -> Change:
    """Decide upon *request*. An intent that is known gets its recorded answer again, and changes nothing."""
    change = Change(UpdateKind.RESERVED, request.id, request.correlation_id)
    before = known.intents.get(request.intent_id)
    if before is not None:
        change.beside.append(Out(INTENT_RESULT, repeated(before, request, now_ms)))
        return change
    account_epoch = state.executors.get(request.account, 0)
    if request.epoch < account_epoch:
        change.why = f"{Code.STALE_EXECUTOR.value}: epoch {request.epoch} after {account_epoch}"
        return change
    if request.epoch > account_epoch:
        state.put_executor(request.account, request.epoch, change)
    refused: Refused | None = None
    if request.refusal is not None:
        refused = Refused(request.refusal.code, request.refusal.reason, request.refusal.status)
    elif request.cancel is not None:
        refused = cancel(state, request, change, now_ms)
    elif request.order is not None:
        refused = _order(state, request, request.order, known, change, rules, now_ms)
    if refused is not None:
        _refuse(state, request, refused, change, now_ms)
    for row in change.intents.values():
        known.intents[row.intent_id] = row
    return change


def repeated(before: IntentRow, request: OrderReserve, now_ms: int) -> IntentResult:
    """The recorded answer again; other content under the same id is told so, and the record stays."""
    tampered = before.digest != request.intent_digest
    return IntentResult(
        id="a-" + digest(before.intent_id, request.id, request.intent_digest),
        cause_id=request.id,
        correlation_id=before.correlation_id,
        at=now_ms,
        intent_id=before.intent_id,
        status=ResultStatus.DUPLICATE if tampered else before.status,
        code=Code.INTENT_ID_REUSED if tampered else before.code,
        reason="this intent id was used before with other content; its first answer stands"
        if tampered
        else before.reason,
        order_id=None if tampered else before.order_id,
        filled_quantity=ZERO if tampered else before.filled_quantity,
        average_price=None if tampered else before.average_price,
        account=before.account,
        symbol=before.symbol,
        repeated=True,
    )


def _refuse(state: LedgerState, request: OrderReserve, refused: Refused, change: Change, now_ms: int) -> None:
    change.intents[request.intent_id] = intent_row(
        request, refused.status, now_ms, code=refused.code, reason=refused.reason[:1000]
    )
    if refused.status in {ResultStatus.CANCELED, ResultStatus.NOTED}:
        return
    change.kind = UpdateKind.CANCELING if change.orders else UpdateKind.BLOCKED
    if refused.status is not ResultStatus.BLOCKED:
        return
    book = book_id(request.account, request.exchange, request.symbol, request.leg)
    held_side, held_quantity = held_of(state.position(book))
    order = request.order
    change.blocked.append(
        OrderBlocked(
            id="b-" + digest(request.intent_id, refused.code.value),
            cause_id=request.intent_id,
            correlation_id=request.correlation_id,
            at=now_ms,
            intent_id=request.intent_id,
            code=refused.code,
            reason=refused.reason[:1000],
            account=request.account,
            exchange=request.exchange,
            symbol=request.symbol,
            attempted_side=request.attempted_side or (order.side if order else None),
            attempted_quantity=request.attempted_quantity or (order.quantity if order else None),
            held_side=held_side,
            held_quantity=held_quantity,
            in_the_way=list(refused.in_the_way)[:100],
            strategy=request.strategy,
        )
    )


# -- orders ---------------------------------------------------------------------------------------------------------


def _order(
    state: LedgerState,
    request: OrderReserve,
    order: OrderRequest,
    known: Known,
    change: Change,
    rules: Rules,
    now_ms: int,
) -> Refused | None:
    if (request.leg is not Leg.NET) != rules.hedges(request.symbol):
        return Refused(
            Code.MALFORMED,
            "executor and ledger disagree on whether this symbol is hedged; give both the same configuration",
            ResultStatus.INVALID,
        )
    if order.order_id in state.orders:
        return Refused(
            Code.MALFORMED, f"order {order.order_id} belongs to another intent", ResultStatus.INVALID
        )
    if order.role is Role.PROTECT:
        return reserve_stop(state, request, order, change, now_ms)
    if order.role is not Role.ENTRY:
        found = reserve_exit(state, request, order, change, now_ms)
        return found if isinstance(found, Refused) else None
    if order.replaces is None:
        return _entry(state, request, order, change, rules, now_ms)
    place = take_place(state, request, order, known, change, now_ms)
    if not isinstance(place, Place):
        return place if isinstance(place, Refused) else None
    refused = _entry(state, request, place.order, change, rules, now_ms)
    if refused is None:
        place.taken(state, request.intent_id, change)
    return refused


def trading_state(state: LedgerState, account: str, book: str) -> TradingState:
    """The strictest of the states that apply: of all, of the account, of the book."""
    rank = {TradingState.ACTIVE: 0, TradingState.REDUCE_ONLY: 1, TradingState.HALTED: 2}
    rows = (
        state.control.get(key)
        for key in ((Scope.ALL.value, ""), (Scope.ACCOUNT.value, account), (Scope.BOOK.value, book))
    )
    return max(
        (row.state for row in rows if row is not None), key=rank.__getitem__, default=TradingState.ACTIVE
    )


def _entry(
    state: LedgerState, request: OrderReserve, order: OrderRequest, change: Change, rules: Rules, now_ms: int
) -> Refused | None:
    book = book_of(state, request)
    if order.side is None or order.quantity is None:
        return Refused(Code.MALFORMED, "an entry needs side and quantity", ResultStatus.INVALID)
    if book.leg is not Leg.NET and book.leg.value != ("long" if order.side is Side.BUY else "short"):
        text = f"a {order.side.value} does not open the {book.leg.value} leg of a hedged book"
        return Refused(Code.MALFORMED, text, ResultStatus.INVALID)
    position = state.position(book.book_id)
    refused = (
        _objection_of_state(state, book, position)
        or _objection_of_side(book, position, state, order, rules)
        or _objection_of_exits(state, book, order, rules)
        or _objection_of_limits(state, book, order, rules, now_ms)
    )
    if refused is not None:
        return refused
    row = order_row(request, order, book, order.side, order.quantity, now_ms)
    state.put_book(book.evolve(side=entry_side(row)), change)
    state.put_order(row, change)
    state.exposure.note_entry(request.account, now_ms)
    change.intents[request.intent_id] = intent_row(
        request, ResultStatus.ACCEPTED, now_ms, order_id=row.order_id
    )
    state.settle_book(book.book_id, change)
    return None


def _objection_of_exits(
    state: LedgerState, book: BookRow, order: OrderRequest, rules: Rules
) -> Refused | None:
    """A stop that the venue would never let the price reach, and exit keys that the policy cannot take."""
    general = policy_in_force(state, rules.policy_of(book.account, book.symbol), order.kind, rules.learning)
    policy, notes = policy_for(general, order.kind, order.exits)
    if notes:
        return Refused(Code.BAD_EXITS, notes[0], ResultStatus.INVALID)
    price = order.price or order.reference_price
    if order.stop_loss is None or price is None or order.side is None:
        return None
    side = PositionSide.LONG if order.side is Side.BUY else PositionSide.SHORT
    guard = guard_price(order.kind, side, price, policy.terms)
    stop = level_of(order.stop_loss, side, price)
    if guard is None or stop is None or tighter(side, stop, guard) == stop:
        return None
    liquidation = liquidation_price(order.kind, side, price, policy.terms) or ZERO
    text = (
        f"stop_loss {order.stop_loss} of a {side.value} at {canonical(price)} lies beyond {canonical(guard)}, where liquidation_guard_pct"
        f" closes it; at leverage {canonical(policy.terms.leverage or ONE)} the venue liquidates at {canonical(liquidation)}"
    )
    return Refused(Code.STOP_BEYOND_LIQUIDATION, text, ResultStatus.INVALID)


def _objection_of_state(state: LedgerState, book: BookRow, position: PositionRow | None) -> Refused | None:
    control = trading_state(state, book.account, book.book_id)
    if control is TradingState.HALTED:
        return Refused(Code.HALTED, "trading is halted; only a person resumes it")
    if control is TradingState.REDUCE_ONLY:
        return Refused(Code.REDUCE_ONLY_STATE, "only exits are accepted in the state reduce-only")
    if book.disputed is not None:
        return Refused(Code.BOOK_DISPUTED, f"the book is disputed: {book.disputed}")
    unknown = [
        order.order_id for order in state.live_orders(book.book_id) if order.state is OrderState.UNKNOWN
    ]
    if unknown:
        return Refused(
            Code.BOOK_UNKNOWN,
            "an order of this book has no clear answer from the venue yet",
            in_the_way=tuple(unknown),
        )
    if book.exiting is not None or (position is not None and position.closing is not None):
        reason = book.exiting or (position.closing if position else None)
        exits = tuple(order.order_id for order in state.live_orders(book.book_id, Role.EXIT))
        return Refused(Code.EXIT_IN_PROGRESS, f"the book is being closed: {reason}", in_the_way=exits)
    return None


def _objection_of_side(
    book: BookRow, position: PositionRow | None, state: LedgerState, order: OrderRequest, rules: Rules
) -> Refused | None:
    assert order.side is not None
    if position is not None and position.kind is not order.kind:
        return Refused(
            Code.INSTRUMENT_MISMATCH,
            f"the book holds {position.kind.value}, the intent means {order.kind.value}",
        )
    entries = state.live_entries(book.book_id)
    held = Held.of(_signed(position), entry_side(entries[0]) if entries else None)
    verdict = judge(
        attempted=order.side, quantity=order.quantity, held=held, reduce_only=False, hedging=book.leg is not Leg.NET,
        spot=order.kind is Kind.SPOT, spot_short=rules.spot_short and book.exchange == "paper",
    )  # fmt: skip
    if not verdict.allowed:
        return Refused(
            verdict.code or Code.OPPOSED,
            verdict.reason,
            in_the_way=tuple(entry.order_id for entry in entries),
        )
    return None


def _signed(position: PositionRow | None) -> Decimal:
    if position is None:
        return ZERO
    return position.quantity if position.side == "long" else position.quantity.copy_negate()


def _objection_of_limits(
    state: LedgerState, book: BookRow, order: OrderRequest, rules: Rules, now_ms: int
) -> Refused | None:
    found = objection(state, book, rules.portfolio, now_ms) or check_entry(
        state.exposure,
        book_id=book.book_id,
        account=book.account,
        notional=notional_of(order),
        now_ms=now_ms,
        limits=limits_in_force(state, book.account, rules.limits, rules.portfolio),
        side=PositionSide.LONG if order.side is Side.BUY else PositionSide.SHORT,
    )
    return Refused(*found) if found is not None else None
