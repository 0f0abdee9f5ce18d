"""The ledger's folding in of what happened at the venue: fills and statuses.

The fold is total: no fill is ever refused. A fill is applied whatever its order's state, to its *book*, whatever
position its order belonged to. One without a known order goes to quarantine: shown, alerted, nothing sent for it.
"""

from holdfast.contracts.codes import (
    Code,
    ExitReason,
    FillKind,
    Leg,
    OrderState,
    PositionSide,
    Role,
    Side,
    UpdateKind,
)
from holdfast.contracts.messages import Fill, OrderStatus
from holdfast.contracts.money import EXACT, ZERO, add, sub
from holdfast.contracts.rows import BookRow, NavRow, OrderRow, PositionRow, QuarantineRow, TotalRow, book_id
from holdfast.contracts.wire import digest
from holdfast.domain.exits import HARDNESS
from holdfast.domain.invariants import locked, locking_stops, working_exits
from holdfast.domain.learning_rules import policy_in_force
from holdfast.domain.ledger_state import Change, Known, LedgerState
from holdfast.domain.orders import on_fill, on_status, result_of, to_canceling
from holdfast.domain.portfolio import note_trades
from holdfast.domain.position import Folded, Opening, add_fees, apply_fill
from holdfast.domain.reservation import Rules
from holdfast.domain.reserve_stop import after_stop, of_stop

IN_QUARANTINE = "q-"
"""How the ids of what is in quarantine begin."""


def fill_digest(fill: Fill) -> str:
    """What a fill says happened: the same key with another digest is an alarm."""
    return digest(
        fill.side.value,
        str(EXACT.normalize(fill.quantity)),
        str(EXACT.normalize(fill.price)),
        str(EXACT.normalize(fill.fee)),
        fill.fee_currency or "",
        fill.kind.value,
    )


def settle_fill(state: LedgerState, fill: Fill, known: Known, rules: Rules, now_ms: int) -> Change:
    """Apply *fill* once. The same key again changes nothing; the same key with other content disputes the book."""
    change = Change(UpdateKind.FILLED, fill.id, fill.correlation_id)
    content, before = fill_digest(fill), known.fills.get(fill.key)
    order = state.orders.get(fill.order_id) or known.orders.get(fill.order_id)
    leg = order.leg if order is not None else fill.leg
    book = _book(
        state,
        fill.account,
        fill.exchange,
        fill.symbol,
        book_id(fill.account, fill.exchange, fill.symbol, leg),
        leg,
    )
    if before is not None:
        if before != content:
            dispute(state, book, f"trade {fill.trade_id} came twice with different content", change)
        return change
    known.fills[fill.key] = content
    change.fills.append(fill)
    if order is None and fill.kind is FillKind.TRADE:
        _quarantine(state, fill, change, now_ms)
        return change
    if fill.kind is FillKind.ADOPTION:
        change.kind = UpdateKind.ADOPTED
    if fill.kind is FillKind.ADJUSTMENT and (held_back := state.quarantine.get(fill.trade_id)) is not None:
        state.put_quarantine(held_back.evolve(resolved=True), change)
    if order is not None and fill.kind is not FillKind.FUNDING:
        _count(state, order, fill, known, change)  # first: INV-5 is about what of it may *still* fill
    _fold(state, book, order, fill, change, rules, now_ms)
    note_trades(state, book.book_id, change, rules.portfolio, now_ms)
    state.settle_book(book.book_id, change)
    if order is not None and order.book_id != book.book_id:
        state.settle_book(order.book_id, change)
    return change


def _book(state: LedgerState, account: str, exchange: str, symbol: str, key: str, leg: object) -> BookRow:
    return state.books.get(key) or BookRow.model_validate(
        {"book_id": key, "account": account, "exchange": exchange, "symbol": symbol, "leg": leg}
    )


def dispute(state: LedgerState, book: BookRow, why: str, change: Change) -> None:
    """No entries on *book*, red light, until a person has looked."""
    change.kind, change.why = UpdateKind.DISPUTED, why
    state.put_book(book.evolve(disputed=why[:1000]), change)


def _quarantine(state: LedgerState, fill: Fill, change: Change, now_ms: int) -> None:
    change.kind, change.why = UpdateKind.QUARANTINED, "a fill without an order of ours"
    row = QuarantineRow(
        quarantine_id=IN_QUARANTINE + digest(fill.key), account=fill.account, exchange=fill.exchange, symbol=fill.symbol,
        side=PositionSide.LONG if fill.side is Side.BUY else PositionSide.SHORT, quantity=fill.quantity,
        price=fill.price if fill.price > 0 else None, why=f"trade {fill.trade_id} of order {fill.order_id or '(none)'}: not opened by Holdfast", at=now_ms,
        fee=fill.fee, fee_currency=fill.fee_currency, executed_at=fill.executed_at, leg=fill.leg, instrument=fill.instrument,
        contract_size=fill.contract_size, settle=fill.settle,
    )  # fmt: skip
    state.put_quarantine(row, change)


def came_from_quarantine(position: PositionRow) -> bool:
    """Whether the fill that opened it was taken in from quarantine; an intent may name itself as it likes."""
    return position.intent_id is None and (position.correlation_id or "").startswith(IN_QUARANTINE)


def taken_in(row: QuarantineRow, now_ms: int) -> Fill:
    """What a person's word makes of a fill in quarantine. Its trade id names the row, which it resolves.

    No adoption: that is of a position which the venue's record does not have yet; this one came from there.
    """
    return Fill(
        id=f"f-{row.quarantine_id}", at=now_ms, correlation_id=row.quarantine_id, account=row.account, exchange=row.exchange, symbol=row.symbol,
        trade_id=row.quarantine_id, kind=FillKind.ADJUSTMENT, side=Side.SELL if row.side is PositionSide.SHORT else Side.BUY, quantity=row.quantity,
        price=row.price or ZERO, fee=row.fee, fee_currency=row.fee_currency, executed_at=row.executed_at or row.at, leg=row.leg,
        instrument=row.instrument, contract_size=row.contract_size, settle=row.settle,
    )  # fmt: skip


def _fold(
    state: LedgerState,
    book: BookRow,
    order: OrderRow | None,
    fill: Fill,
    change: Change,
    rules: Rules,
    now_ms: int,
) -> None:
    """The position arithmetic, and what follows from it for the book, its other orders and the totals."""
    position = of_stop(_payer(state.position(book.book_id), fill), order, fill)
    stopped = (
        order is not None and order.role is Role.ENTRY and order.code in {Code.STOPPED_BY_EXIT, Code.HALTED}
    )
    opening = _opening(
        book,
        order,
        fill,
        now_ms,
        closing=(order.reason or ExitReason.CLOSE)
        if stopped and order is not None and order.code is Code.STOPPED_BY_EXIT
        else None,
    )
    folded = apply_fill(
        position,
        fill,
        opening,
        policy_in_force(state, rules.policy_of(fill.account, fill.symbol), opening.kind, rules.learning),
        exit_reason=_exit_reason(order, fill, position),
    )
    if book.book_id not in state.books:
        state.put_book(book, change)
    for row in folded.rows:
        if not row.is_open:
            _release(state, book.book_id, row, change, now_ms)
            state.put_book(state.books[book.book_id].evolve(refused_exit=None), change)
        state.put_position(row, change)
    held = state.position(book.book_id)
    if held is not None and held.side is not state.books[book.book_id].side:
        _disown_entries(state, book.book_id, held, order, change, now_ms)
        state.put_book(state.books[book.book_id].evolve(side=held.side), change)
    if held is not None and book.leg is not Leg.NET and held.side.value != book.leg.value:
        dispute(
            state,
            state.books[book.book_id],
            f"a fill turned the {book.leg.value} leg of a hedged book",
            change,
        )
    if held is not None:
        _shrink_exits(state, book.book_id, held, change, now_ms)
    _total(state, folded, fill, opening.settle, change, rules)


def _payer(position: PositionRow | None, fill: Fill) -> PositionRow | None:
    """The open position, unless *fill* is funding from before its time: that was another's, whose story has been told, and only money moves."""
    before = position is not None and fill.kind is FillKind.FUNDING and fill.executed_at < position.opened_at
    return None if before else position


def _opening(
    book: BookRow, order: OrderRow | None, fill: Fill, now_ms: int, closing: ExitReason | None
) -> Opening:
    base, _, quote = fill.symbol.partition("/")
    kind = order.kind if order is not None else fill.instrument
    return Opening(
        book_id=book.book_id, account=book.account, exchange=book.exchange, symbol=book.symbol, leg=book.leg, kind=kind,
        contract_size=order.contract_size if order is not None else fill.contract_size,
        settle=order.settle if order is not None else (fill.settle or (base if kind == "inverse" else quote or base)),
        take_profit=order.take_profit_spec if order is not None else fill.take_profit,
        stop_loss=order.stop_loss_spec if order is not None else fill.stop_loss,
        ttl_s=order.ttl_s if order is not None else fill.ttl_s,
        exits=order.exits if order is not None else None,
        strategy=order.strategy if order is not None else None,
        correlation_id=order.correlation_id if order is not None else fill.correlation_id,
        intent_id=order.intent_id if order is not None else None,
        recorded_at=now_ms, closing=closing,
    )  # fmt: skip


def _exit_reason(order: OrderRow | None, fill: Fill, position: PositionRow | None) -> ExitReason:
    if fill.kind is FillKind.LIQUIDATION:
        return ExitReason.LIQUIDATION
    if order is not None and order.role is not Role.ENTRY:
        return order.reason or ExitReason.CLOSE
    if order is None and fill.kind is FillKind.ADJUSTMENT:
        return ExitReason.EXIT_ON_VENUE
    if fill.kind is FillKind.DUST and position is not None:
        return position.exit_reason or position.closing or ExitReason.CLOSE
    return (position.closing if position is not None else None) or ExitReason.FLIPPED


def _release(state: LedgerState, book: str, closed: PositionRow, change: Change, now_ms: int) -> None:
    """A position has closed: its other exits, and its stop at the venue, have nothing left to reduce."""
    for row in state.live_orders(book):
        if row.role is Role.ENTRY:
            continue
        if row.position_id == closed.position_id and row.remaining > 0 and not row.displaced:
            state.put_order(to_canceling(row, Code.POSITION_GONE, now_ms, displaced=True), change)


def _disown_entries(
    state: LedgerState, book: str, held: PositionRow, by: OrderRow | None, change: Change, now_ms: int
) -> None:
    """A fill has turned the book to the other side: entries of the old side are canceled and no longer hold it.

    An exit cannot open anything at a venue: where one seems to have turned the book, the fill that it reduced is still on its
    way to us, and sets it right. Anything else that turns a book is disputed.
    """
    late = by is not None and by.role is not Role.ENTRY and by.reduce_only
    for row in state.live_entries(book):
        opens = PositionSide.LONG if row.side is Side.BUY else PositionSide.SHORT
        if opens is not held.side:
            state.put_order(to_canceling(row, Code.OPPOSED, now_ms, displaced=True), change)
            if late:
                continue
            dispute(
                state,
                state.books[book],
                "a fill turned the book while entries of the other side were live",
                change,
            )


def _shrink_exits(state: LedgerState, book: str, held: PositionRow, change: Change, now_ms: int) -> None:
    """INV-5 after a reduction by something else than an exit: on spot the stop, then the softest exits give way until the rest fits."""
    live = state.live_orders(book)
    exits = [row for row in live if row.role is Role.EXIT and not row.displaced]
    excess = sub(add(working_exits(exits), locked(live)), held.quantity)
    softest = sorted(exits, key=lambda row: (HARDNESS[row.reason or ExitReason.CLOSE], row.attempt))
    for row in [*locking_stops(live), *softest]:
        if excess <= 0:
            return
        excess = sub(excess, row.remaining)
        state.put_order(to_canceling(row, Code.DISPLACED, now_ms, displaced=True), change)


def _total(state: LedgerState, folded: Folded, fill: Fill, settle: str, change: Change, rules: Rules) -> None:
    """Realised profit, fees and counts per symbol; cash and its high-water mark per account."""
    key = (fill.account, fill.exchange, fill.symbol)
    total = state.totals.get(key) or TotalRow(
        account=fill.account, exchange=fill.exchange, symbol=fill.symbol, settle=settle
    )
    won = folded.trade is not None and folded.trade.realized_pnl > 0
    state.put_total(
        total.evolve(
            realized_pnl=add(total.realized_pnl, folded.realized), fees=add_fees(total.fees, folded.fees),
            trades=total.trades + (folded.trade is not None), wins=total.wins + won, fills=total.fills + 1,
            last_executed_at=max(total.last_executed_at, fill.executed_at),
        ),
        change,
    )  # fmt: skip
    if folded.trade is not None:
        change.trades.append(folded.trade)
    if settle == rules.base_currency and (
        fill.account in state.nav or fill.account not in rules.capital.unsaid
    ):
        began = rules.capital.of(fill.account)
        nav = state.nav.get(fill.account) or NavRow(
            account=fill.account, currency=settle, cash=began, nav=began, high_water=began, at=fill.at, began=began
        )  # fmt: skip
        cash = add(nav.cash, folded.realized)
        state.put_nav(
            nav.evolve(cash=cash, nav=cash, high_water=max(nav.high_water, cash), at=fill.at), change
        )


def _count(state: LedgerState, order: OrderRow, fill: Fill, known: Known, change: Change) -> None:
    """The order's own sum, and the intent's answer when that ends it."""
    order = state.orders.get(order.order_id) or change.orders.get(order.order_id) or order
    row = on_fill(order, fill.quantity, fill.price, fill.at)
    state.put_order(row, change)
    after_stop(state, row, change, fill.at)
    if not row.is_live:
        known.orders[row.order_id] = row
    _answer(row, known, change, fill.at)


def _answer(row: OrderRow, known: Known, change: Change, at: int) -> None:
    intent = change.intents.get(row.intent_id) or known.intents.get(row.intent_id)
    if intent is None:
        return
    result = result_of(row, intent, at)
    if result is not None:
        change.intents[row.intent_id] = known.intents[row.intent_id] = result


def settle_status(state: LedgerState, status: OrderStatus, known: Known, now_ms: int) -> Change:
    """Apply *status* to its order; old news and unknown orders change nothing (the latter is said in `why`)."""
    change = Change(UpdateKind.STATUS, status.id, status.correlation_id)
    order = state.orders.get(status.order_id) or known.orders.get(status.order_id)
    if order is None:
        change.why = f"no order {status.order_id}"
        return change
    row = on_status(order, status)
    if row is None:
        return change
    state.put_order(row.evolve(changed_at=now_ms), change)
    after_stop(state, row, change, now_ms)
    if not row.is_live:
        known.orders[row.order_id] = row
    _answer(row, known, change, now_ms)
    state.settle_book(row.book_id, change)
    return change


def is_owed(order: OrderRow) -> bool:
    """Whether the venue has named more fills than we have."""
    return order.state is OrderState.UNKNOWN and order.claimed is not None and order.claimed > order.filled
