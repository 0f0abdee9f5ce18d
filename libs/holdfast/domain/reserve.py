"""The ledger's decision on one OrderReserve: the order is recorded as RESERVED, or the intent ends with a code.

Entries are judged by control, dispute, UNKNOWN orders, a running exit, one side, limits: in that order, and the first
objection is the answer. Exits are judged by INV-5 alone: what is not yet exiting may be taken out, and a harder exit
displaces softer and UNKNOWN ones instead of being stopped by them (INV-6). A cancel is never blocked.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from holdfast.contracts.codes import (
    Code,
    ExitReason,
    Kind,
    Leg,
    OrderState,
    ResultStatus,
    Role,
    Scope,
    Side,
    TradingState,
    UpdateKind,
)
from holdfast.contracts.messages import IntentResult, OrderBlocked, OrderRequest, OrderReserve
from holdfast.contracts.money import ZERO, mul, round_down, sub
from holdfast.contracts.rows import BookRow, IntentRow, OrderRow, PositionRow, book_id
from holdfast.contracts.streams import INTENT_RESULT
from holdfast.contracts.wire import Out, digest
from holdfast.domain.exits import HARDNESS, displaces
from holdfast.domain.invariants import entry_side, exit_side, working_exits
from holdfast.domain.ledger_state import Change, Known, LedgerState, counted, held_of
from holdfast.domain.limits import Limits, check_entry
from holdfast.domain.one_side import Held, judge
from holdfast.domain.orders import to_canceling
from holdfast.domain.policy import ExitPolicy


@dataclass(frozen=True, slots=True)
class Rules:
    """What the configuration says that decisions depend on."""

    limits: Limits
    policy: ExitPolicy
    hedging: bool = False
    hedged_symbols: frozenset[str] = frozenset()
    spot_short: bool = False
    capital: Decimal = Decimal(100_000)
    base_currency: str = "USDT"

    def hedges(self, symbol: str) -> bool:
        return self.hedging or symbol in self.hedged_symbols


@dataclass(frozen=True, slots=True)
class Refused:
    """Why an intent ends without an order."""

    code: Code
    reason: str
    status: ResultStatus = ResultStatus.BLOCKED
    in_the_way: tuple[str, ...] = ()


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
        refused = _cancel(state, request, change, now_ms)
    elif request.order is not None:
        refused = _order(state, request, request.order, change, rules, now_ms)
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


def _intent(
    request: OrderReserve,
    status: ResultStatus,
    now_ms: int,
    *,
    code: Code | None = None,
    reason: str | None = None,
    order_id: str | None = None,
) -> IntentRow:
    return IntentRow.trusted(
        intent_id=request.intent_id, digest=request.intent_digest, status=status, code=code, reason=reason, order_id=order_id,
        filled_quantity=ZERO, average_price=None, account=request.account, symbol=request.symbol, at=now_ms,
        correlation_id=request.correlation_id,
    )  # fmt: skip


def _refuse(state: LedgerState, request: OrderReserve, refused: Refused, change: Change, now_ms: int) -> None:
    change.intents[request.intent_id] = _intent(
        request, refused.status, now_ms, code=refused.code, reason=refused.reason[:1000]
    )
    if refused.status is ResultStatus.CANCELED:
        return
    change.kind = UpdateKind.BLOCKED
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
    state: LedgerState, request: OrderReserve, order: OrderRequest, change: Change, rules: Rules, now_ms: int
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
    if order.role is Role.ENTRY:
        return _entry(state, request, order, change, rules, now_ms)
    return _exit(state, request, order, change, now_ms)


def _book(state: LedgerState, request: OrderReserve) -> BookRow:
    key = book_id(request.account, request.exchange, request.symbol, request.leg)
    found = state.books.get(key)
    return found or BookRow(
        book_id=key,
        account=request.account,
        exchange=request.exchange,
        symbol=request.symbol,
        leg=request.leg,
    )


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
    book = _book(state, request)
    if order.side is None or order.quantity is None:
        return Refused(Code.MALFORMED, "an entry needs side and quantity", ResultStatus.INVALID)
    if book.leg is not Leg.NET and book.leg.value != ("long" if order.side is Side.BUY else "short"):
        text = f"a {order.side.value} does not open the {book.leg.value} leg of a hedged book"
        return Refused(Code.MALFORMED, text, ResultStatus.INVALID)
    position = state.position(book.book_id)
    refused = (
        _objection_of_state(state, book, position)
        or _objection_of_side(book, position, state, order, rules)
        or _objection_of_limits(state, book, order, rules, now_ms)
    )
    if refused is not None:
        return refused
    row = _row(request, order, book, order.side, order.quantity, now_ms)
    state.put_book(book.evolve(side=entry_side(row)), change)
    state.put_order(row, change)
    state.exposure.note_entry(request.account, now_ms)
    change.intents[request.intent_id] = _intent(request, ResultStatus.ACCEPTED, now_ms, order_id=row.order_id)
    state.settle_book(book.book_id, change)
    return None


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
        spot=order.kind is Kind.SPOT, spot_short=rules.spot_short,
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
    return position.quantity if position.side == "long" else -position.quantity


def _objection_of_limits(
    state: LedgerState, book: BookRow, order: OrderRequest, rules: Rules, now_ms: int
) -> Refused | None:
    found = check_entry(
        state.exposure,
        book_id=book.book_id,
        account=book.account,
        notional=notional_of(order),
        now_ms=now_ms,
        limits=rules.limits,
    )
    return Refused(*found) if found is not None else None


def notional_of(order: OrderRequest) -> Decimal:
    """The order's value in the quote currency at its price, or at the reference price for a market order."""
    units = mul(order.quantity or ZERO, order.contract_size)
    if order.kind is Kind.INVERSE:
        return counted(units)
    return counted(mul(units, order.price or order.reference_price or ZERO))


def _row(
    request: OrderReserve, order: OrderRequest, book: BookRow, side: Side, quantity: Decimal, now_ms: int
) -> OrderRow:
    return OrderRow.trusted(
        order_id=order.order_id, intent_id=request.intent_id, book_id=book.book_id, account=request.account, exchange=request.exchange,
        symbol=request.symbol, leg=request.leg, kind=order.kind, contract_size=order.contract_size, settle=order.settle, role=order.role,
        side=side, type=order.type, price=order.price, quantity=quantity, filled=ZERO, filled_value=ZERO, state=OrderState.RESERVED,
        reduce_only=order.role is not Role.ENTRY, time_in_force=order.time_in_force, post_only=order.post_only, good_till=order.good_till,
        notional=notional_of(order) if order.role is Role.ENTRY else ZERO, take_profit_spec=order.take_profit, stop_loss_spec=order.stop_loss,
        ttl_s=order.ttl_s, position_id=order.position_id, reason=order.reason, attempt=order.attempt, trigger_price=order.trigger_price,
        trigger_at=order.trigger_at, displaced=False, code=None, evidence=None, venue_order_id=None, claimed=None,
        incarnation=request.incarnation, epoch=request.epoch, send_by=order.send_by, strategy=request.strategy,
        correlation_id=request.correlation_id, reserved_at=now_ms, changed_at=now_ms,
    )  # fmt: skip


# -- exits ------------------------------------------------------------------------------------------------------------


def _exit(
    state: LedgerState, request: OrderReserve, order: OrderRequest, change: Change, now_ms: int
) -> Refused | None:
    book = _book(state, request)
    position = state.position(book.book_id)
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
            Code.POSITION_GONE, "the level that fired has moved since: the position has another version"
        )
    side = exit_side(position.side)
    if order.side is not None and order.side is not side:
        return Refused(
            Code.WRONG_SIDE,
            f"a reduce-only {order.side.value} would enlarge the {position.side.value} position",
        )
    reason = order.reason or ExitReason.CLOSE
    fired = order.position_id is not None
    order = order.evolve(reason=reason, position_id=position.position_id)
    exits = [row for row in state.live_orders(book.book_id, Role.EXIT) if not row.displaced]
    giving_way = [row for row in exits if displaces(reason, row)]
    staying = [row for row in exits if row not in giving_way]
    free = sub(position.quantity, working_exits(staying))
    if free <= 0:
        if fired and HARDNESS[reason] >= HARDNESS[ExitReason.TTL]:
            state.put_book(book.evolve(refused_exit=f"{reason.value}: held by {staying[0].order_id}"), change)
        return Refused(
            Code.EXIT_IN_FLIGHT,
            "exits as hard or harder already hold the whole quantity",
            in_the_way=tuple(row.order_id for row in staying),
        )
    wanted = free if order.quantity is None else min(order.quantity, free)
    quantity = wanted if wanted == free else (round_down(wanted, order.quantity_step) or wanted)
    for row in giving_way:
        state.put_order(to_canceling(row, Code.DISPLACED, now_ms, displaced=True), change)
    row = _row(request, order, book, side, quantity, now_ms)
    state.put_order(row, change)
    state.put_position(
        position.evolve(
            exit_attempts=position.exit_attempts + 1,
            exit_reason=reason,
            trigger_price=order.trigger_price,
            trigger_at=order.trigger_at,
            version=position.version + 1,
        ),
        change,
    )
    book = state.books[book.book_id].evolve(refused_exit=None)
    if quantity == free:
        book = book.evolve(exiting=reason)
        cancel_entries(state, book.book_id, Code.STOPPED_BY_EXIT, reason, change, now_ms)
    state.put_book(book, change)
    change.intents[request.intent_id] = _intent(request, ResultStatus.ACCEPTED, now_ms, order_id=row.order_id)
    state.settle_book(book.book_id, change)
    return None


def _has_moved(position: PositionRow, order: OrderRequest) -> bool:
    """Whether a price trigger was for another version of the position, whose level the price has *not* reached."""
    if order.position_version in {None, position.version} or order.trigger_price is None:
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


def _cancel(state: LedgerState, request: OrderReserve, change: Change, now_ms: int) -> Refused | None:
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
