"""From an intent to the exact order the executor proposes, or to the code with which it refuses. Pure.

The executor asks here first, with what it sees: the ledger's rows plus everything of its own that is still in flight.
The ledger asks again, with what it has committed, and decides. So a refusal here is early, never the only line.

Entries are judged by everything: time, trust in the venue, room on the bus, control, dispute, UNKNOWN orders, a running
exit, one side, size, price, exits, limits; the first objection is the answer. Exits are judged by their form alone:
nothing here stops one that can shrink a position (INV-6). Rounding is never to the sender's disadvantage: quantities
go down to the step, a buyer's limit goes down, a seller's goes up.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Literal, Protocol

from holdfast.contracts.codes import (
    Code,
    Kind,
    Leg,
    OrderType,
    PositionSide,
    ResultStatus,
    Role,
    Side,
    TradingState,
)
from holdfast.contracts.messages import OrderIntent, OrderRequest, Refusal
from holdfast.contracts.money import EXACT, ONE, ZERO, add, canonical, round_down
from holdfast.contracts.rows import BookRow, PositionRow
from holdfast.contracts.wire import digest
from holdfast.domain.asked_exits import misplaced
from holdfast.domain.limits import Exposure, Limits, check_entry
from holdfast.domain.matching import notional
from holdfast.domain.one_side import Held, judge
from holdfast.domain.sizing import Means, Size, size_of

FUTURE_MS = 60_000
"""An entry that says it was made later than this from now has a broken clock behind it, or worse."""

End = Literal[ResultStatus.BLOCKED, ResultStatus.INVALID, ResultStatus.EXPIRED, ResultStatus.REJECTED]


class Tradable(Protocol):
    """An instrument as the venue trades it (`venues.port.Rules` is one)."""

    @property
    def symbol(self) -> str: ...
    @property
    def kind(self) -> Kind: ...
    @property
    def settle(self) -> str: ...
    @property
    def contract_size(self) -> Decimal: ...
    @property
    def quantity_step(self) -> Decimal: ...
    @property
    def price_step(self) -> Decimal: ...
    @property
    def min_quantity(self) -> Decimal: ...
    @property
    def min_notional(self) -> Decimal: ...


@dataclass(frozen=True, slots=True)
class Terms:
    """What the settings say that the pre-check depends on. Times in wall ms."""

    limits: Limits
    send_within_ms: int = 2000
    max_tick_age_ms: int = 60_000
    spot_short: bool = False
    hedging: bool = False
    hedged: frozenset[str] = frozenset()
    """Symbols that are hedged even where `hedging` is off."""
    own_limits: Mapping[str, Limits] = field(default_factory=dict)
    """Of accounts that override some."""

    def hedges(self, symbol: str) -> bool:
        return self.hedging or symbol in self.hedged


@dataclass(frozen=True, slots=True)
class Quote:
    """The latest usable price of a symbol and the wall time at which it was received."""

    bid: Decimal
    ask: Decimal
    received_ms: int

    def taken_by(self, side: Side) -> Decimal:
        """The price a taker of *side* gets."""
        return self.ask if side is Side.BUY else self.bid


@dataclass(frozen=True, slots=True)
class Book:
    """One book as the executor sees it: the ledger's rows plus what is in flight."""

    book_id: str
    account: str
    row: BookRow | None
    position: PositionRow | None
    held: Held
    unknown: bool
    """An order of it has no clear answer yet."""
    trading: TradingState


def order_id_of(account: str, intent_id: str, leg: Leg) -> str:
    """The client order id, the same after any restart: 31 characters of [a-z0-9], which every venue takes."""
    return "h" + digest(account, intent_id, leg.value)[:30]


def refused(code: Code, reason: str, status: End = ResultStatus.BLOCKED) -> Refusal:
    return Refusal.trusted(code=code, reason=reason[:1000], status=status)


def entry_leg(terms: Terms, symbol: str, side: Side) -> Leg:
    """The book that an entry of *side* belongs to."""
    if not terms.hedges(symbol):
        return Leg.NET
    return Leg.LONG if side is Side.BUY else Leg.SHORT


def exit_leg(
    terms: Terms, symbol: str, intent: OrderIntent, long_open: bool, short_open: bool
) -> Leg | Refusal:
    """The book that an exit belongs to; without a side, the one that is open."""
    if not terms.hedges(symbol):
        return Leg.NET
    if intent.side is not None:
        return Leg.LONG if intent.side is Side.SELL else Leg.SHORT
    if long_open and short_open:
        return refused(
            Code.WRONG_SIDE, "both sides of this symbol are open: name the side, sell closes the long one"
        )
    return Leg.SHORT if short_open else Leg.LONG


def out_of_time(intent: OrderIntent, now_ms: int) -> Refusal | None:
    """Why the intent is not of this moment. Exits have no expiry unless their sender gave them one."""
    if intent.expires_at is not None and intent.expires_at < now_ms:
        late = f"it expired {now_ms - intent.expires_at} ms before it was read"
        return refused(Code.EXPIRED, late, ResultStatus.EXPIRED)
    if not intent.reduces and intent.at > now_ms + FUTURE_MS:
        ahead = f"at is {intent.at - now_ms} ms in the future; at most {FUTURE_MS} are taken for a clock that is off"
        return refused(Code.FROM_THE_FUTURE, ahead, ResultStatus.INVALID)
    return None


# -- entries --------------------------------------------------------------------------------------------------------


def propose_entry(
    intent: OrderIntent,
    rules: Tradable,
    book: Book,
    quote: Quote | None,
    exposure: Exposure,
    terms: Terms,
    now_ms: int,
    means: Means | None = None,
) -> OrderRequest | Refusal:
    """The order for an intent to open, or the first objection to it. *means* is needed for sizes that are a share of NAV."""
    side = intent.side
    if side is None:
        return refused(Code.MALFORMED, "an entry needs side and quantity", ResultStatus.INVALID)
    objection = _of_state(book, rules) or _of_side(side, rules, book, terms)
    if objection is not None:
        return objection
    if quote is None or now_ms - quote.received_ms > terms.max_tick_age_ms:
        return refused(Code.NO_PRICE, _no_price(rules.symbol, quote, terms, now_ms))
    price = None if intent.price is None else step_price(intent.price, rules.price_step, side)
    if price is not None and not price:
        reason = f"the price is below one step of {canonical(rules.price_step)}"
        return refused(Code.BELOW_MINIMUM, reason, ResultStatus.INVALID)
    reference = quote.taken_by(side) if price is None else price
    size = _of_exits(intent, side, reference) or size_of(intent, rules, side, reference, book.position, means)
    if isinstance(size, Refusal):
        return size
    least = least_quantity(rules, reference)
    objection = _of_size(size, least, reference, rules) or _of_way_out(size, least, rules, book)
    if (
        objection is None and intent.replaces is None
    ):  # else what it replaces is still counted; the ledger judges
        objection = _of_limits(size.quantity, reference, rules, book, exposure, terms, now_ms)
    if objection is not None:
        return objection
    send_by = now_ms + terms.send_within_ms
    if intent.expires_at is not None and intent.expires_at < send_by:
        send_by = intent.expires_at
    leg = entry_leg(terms, rules.symbol, side)
    order = _request(
        intent, rules, book.account, leg, Role.ENTRY, side, size.quantity, price, quote.taken_by(side), send_by, rules.quantity_step
    )  # fmt: skip
    return order.evolve(sizing=size.sizing, min_quantity=least, replaces=intent.replaces)


def _of_state(book: Book, rules: Tradable) -> Refusal | None:
    if book.trading is TradingState.HALTED:
        return refused(Code.HALTED, "trading is halted; only a person resumes it")
    if book.trading is TradingState.REDUCE_ONLY:
        return refused(Code.REDUCE_ONLY_STATE, "only exits are accepted in the state reduce-only")
    row, position = book.row, book.position
    if row is not None and row.disputed is not None:
        return refused(Code.BOOK_DISPUTED, f"the book is disputed: {row.disputed}")
    if book.unknown:
        return refused(Code.BOOK_UNKNOWN, "an order of this book has no clear answer from the venue yet")
    exiting = (row.exiting if row is not None else None) or (
        position.closing if position is not None else None
    )
    if exiting is not None:
        return refused(Code.EXIT_IN_PROGRESS, f"the book is being closed: {exiting.value}")
    if position is not None and position.kind is not rules.kind:
        reason = f"the book holds {position.kind.value}, the name means {rules.kind.value}"
        return refused(Code.INSTRUMENT_MISMATCH, reason)
    return None


def _of_side(side: Side, rules: Tradable, book: Book, terms: Terms) -> Refusal | None:
    verdict = judge(
        attempted=side,
        quantity=ONE,  # whatever the size: only exits are judged by theirs
        held=book.held,
        reduce_only=False,
        hedging=terms.hedges(rules.symbol),
        spot=rules.kind is Kind.SPOT,
        spot_short=terms.spot_short,
    )
    return None if verdict.allowed else refused(verdict.code or Code.OPPOSED, verdict.reason)


def _no_price(symbol: str, quote: Quote | None, terms: Terms, now_ms: int) -> str:
    if quote is None:
        return f"no price of {symbol} has been received"
    return f"the latest price of {symbol} is {now_ms - quote.received_ms} ms old; an entry needs one younger than {terms.max_tick_age_ms} ms"


def step_price(price: Decimal, step: Decimal, side: Side) -> Decimal:
    """*price* as a multiple of *step*, never worse for a limit order of *side*; zero when a buyer's is below one step."""
    down = round_down(price, step)
    return down if down == price or side is Side.BUY else add(down, step)


def least_quantity(rules: Tradable, price: Decimal) -> Decimal:
    """The smallest order the venue takes at *price*: a multiple of the step."""
    step, least = rules.quantity_step, max(rules.min_quantity, rules.quantity_step)
    if rules.min_notional:
        unit = notional(rules.kind, ONE, price, rules.contract_size)
        least = max(least, EXACT.divide(rules.min_notional, unit))
    down = round_down(least, step)
    return down if down == least else add(down, step)


def _of_size(size: Size, least: Decimal, reference: Decimal, rules: Tradable) -> Refusal | None:
    if size.quantity >= least:
        return None
    value = notional(rules.kind, size.quantity, reference, rules.contract_size)
    told = f"; {size.sizing}" if size.sizing else ""
    reason = (
        f"the quantity is {canonical(size.quantity)} in steps of {canonical(rules.quantity_step)}, worth {canonical(value)};"
        f" the smallest order is {canonical(least)}{told}"
    )
    return refused(Code.BELOW_MINIMUM, reason, ResultStatus.INVALID)


def _of_way_out(size: Size, least: Decimal, rules: Tradable, book: Book) -> Refusal | None:
    """On spot an exit has to be as large as any order, and fees and a falling price eat into it: twice as much makes a way out."""
    if rules.kind is not Kind.SPOT or book.position is not None or size.quantity >= least * 2:
        return None
    reason = f"the quantity is {canonical(size.quantity)}; on spot less than twice the smallest order, {canonical(least)}, might not be closable"
    return refused(Code.BELOW_MINIMUM, reason, ResultStatus.INVALID)


def _of_exits(intent: OrderIntent, side: Side, reference: Decimal) -> Refusal | None:
    reason = misplaced(intent.take_profit, intent.stop_loss, side, reference)
    return None if reason is None else refused(Code.BAD_EXITS, reason, ResultStatus.INVALID)


def _of_limits(
    quantity: Decimal,
    reference: Decimal,
    rules: Tradable,
    book: Book,
    exposure: Exposure,
    terms: Terms,
    now_ms: int,
) -> Refusal | None:
    value = notional(rules.kind, quantity, reference, rules.contract_size)
    found = check_entry(
        exposure,
        book_id=book.book_id,
        account=book.account,
        notional=value,
        now_ms=now_ms,
        limits=terms.own_limits.get(book.account, terms.limits),
    )
    return None if found is None else refused(*found)


# -- exits ----------------------------------------------------------------------------------------------------------


def propose_exit(
    intent: OrderIntent,
    rules: Tradable,
    leg: Leg,
    position: PositionRow | None,
    quote: Quote | None,
    terms: Terms,
    now_ms: int,
) -> OrderRequest | Refusal:
    """The order for an intent that may only shrink. What is open, and how much of it is free, the ledger says.

    A quantity that covers the position stays as it is, so that what is held can always be closed whole; only a partial
    exit that rounds to nothing is refused, because there is no order that would carry it out.
    """
    side, quantity, price = intent.side, intent.quantity, intent.price
    if quantity is not None and (position is None or quantity < position.quantity):
        quantity = round_down(quantity, rules.quantity_step)
        if not quantity:
            reason = f"the quantity is smaller than one step of {canonical(rules.quantity_step)}"
            return refused(Code.BELOW_MINIMUM, reason, ResultStatus.INVALID)
    towards = side or _reducing(position)
    if price is not None and towards is not None:
        price = step_price(price, rules.price_step, towards) or rules.price_step
    fresh = quote is not None and now_ms - quote.received_ms <= terms.max_tick_age_ms
    reference = quote.taken_by(towards) if quote is not None and fresh and towards is not None else None
    send_by = now_ms + terms.send_within_ms
    return _request(
        intent,
        position or rules,
        intent.account,
        leg,
        Role.EXIT,
        side,
        quantity,
        price,
        reference,
        send_by,
        rules.quantity_step,
    )


def _reducing(position: PositionRow | None) -> Side | None:
    return None if position is None else Side.SELL if position.side is PositionSide.LONG else Side.BUY


def _request(
    intent: OrderIntent,
    what: Tradable | PositionRow,
    account: str,
    leg: Leg,
    role: Role,
    side: Side | None,
    quantity: Decimal | None,
    price: Decimal | None,
    reference: Decimal | None,
    send_by: int,
    step: Decimal,
) -> OrderRequest:
    """All parts are validated already: the intent by its contract, the rest above."""
    return OrderRequest.trusted(
        order_id=order_id_of(account, intent.id, leg),
        kind=what.kind,
        contract_size=what.contract_size,
        settle=what.settle,
        role=role,
        side=side,
        type=intent.type,
        price=price if intent.type is OrderType.LIMIT else None,
        quantity=quantity,
        quantity_step=step,
        time_in_force=intent.time_in_force,
        post_only=intent.post_only,
        good_till=intent.good_till,
        reference_price=reference,
        take_profit=intent.take_profit,
        stop_loss=intent.stop_loss,
        ttl_s=intent.ttl_s,
        exits=intent.exits,
        position_id=intent.position_id,
        position_version=intent.position_version,
        reason=intent.reason,
        soft=intent.soft,
        attempt=intent.attempt,
        trigger_price=intent.trigger_price,
        trigger_at=intent.trigger_at,
        trigger_level=intent.trigger_level,
        thresholds=intent.thresholds,
        send_by=send_by,
        fraction=intent.fraction,
        sizing=None,
        min_quantity=ZERO,
        alone=False,
        replaces=None,
        stop_price=None,
    )
