"""Position arithmetic: what one fill makes of a position. Pure, exact, and total: no fill is ever refused.

A position holds its exact quantity and cost; the average price is derived from them. A reduction takes out its share of the
cost, rounded; the rest keeps the remainder and the last one takes all, so that sums are exact: over any fills, with
value = quantity x price,

    realized profit - contract_size x (signed cost still held) = contract_size x (value sold - value bought) - fees

to the last digit, where the signed cost is negative for a short. Inverse contracts settle in the base coin: there
value = quantity / price, rounded to 36 places per fill, the signs of profit turn round, and the average is harmonic.

A fill through zero is split at zero: the old position closes, a new one opens. On spot a fee paid in the base coin comes
out of the coins themselves: it reduces the quantity, never the average, and is listed in `fees`. Coins that leave so
take their cost with them (in the law above they count neither as bought nor as sold).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import NamedTuple

from holdfast.contracts.codes import ExitReason, FillKind, Kind, Leg, PositionSide, Side, StopBy
from holdfast.contracts.messages import Fill, Trade
from holdfast.contracts.money import MIN_DIGITS, ONE, PRICE_PLACES, ZERO, add, divide, mul, sub
from holdfast.contracts.rows import PositionRow
from holdfast.contracts.wire import digest
from holdfast.domain.conditions import thresholds_of
from holdfast.domain.dust import is_no_dust
from holdfast.domain.exit_policy import ExitPolicy, policy_for
from holdfast.domain.ladder import is_ladder, next_price
from holdfast.domain.liquidation import guard_price
from holdfast.domain.policy import HIGHEST_PRICE, LOWEST_PRICE, expiry, merge_exits, seed_exits

INVERSE_PLACES = Decimal("1e-36")
"""Values of inverse contracts are small amounts of coin: this many places keep 18 good ones in their average price."""


@dataclass(frozen=True, slots=True)
class Opening:
    """What a new position needs to know beside its fill; of an add, only exits, `ttl_s` and `closing` are looked at."""

    book_id: str
    account: str
    exchange: str
    symbol: str
    settle: str
    """The currency that profit is counted in."""
    recorded_at: int
    """Wall time, ms."""
    leg: Leg = Leg.NET
    kind: Kind = Kind.SPOT
    contract_size: Decimal = ONE
    take_profit: str | None = None
    stop_loss: str | None = None
    ttl_s: Decimal | None = None
    exits: Mapping[str, str] | None = None
    """What the intent overrides of the policy's other exits."""
    strategy: str | None = None
    correlation_id: str | None = None
    intent_id: str | None = None
    closing: ExitReason | None = None


@dataclass(frozen=True, slots=True)
class Folded:
    """What a fill made: the last word on each position it touched (closed first), and the trade if one ended.

    `realized` and `fees` are what this fill added to them: for totals, also where it touched no position.
    """

    rows: list[PositionRow] = field(default_factory=list)
    trade: Trade | None = None
    realized: Decimal = ZERO
    fees: dict[str, Decimal] = field(default_factory=dict)


class _Charge(NamedTuple):
    """A fee: what it takes from the profit, what is listed in another currency."""

    settled: Decimal
    listed: dict[str, Decimal]


class _Move(NamedTuple):
    """A fill as arithmetic sees it: `coins` leave a long beside what was sold (a spot fee paid in the base coin)."""

    side: PositionSide
    quantity: Decimal
    price: Decimal
    coins: Decimal


def apply_fill(
    position: PositionRow | None,
    fill: Fill,
    opening: Opening,
    policy: ExitPolicy,
    *,
    exit_reason: ExitReason,
) -> Folded:
    """Fold *fill* into the open *position* of its book (None, or a closed one: flat). Never raises for a valid fill."""
    held = position if position is not None and position.is_open else None
    move = _move(held, fill, opening)
    settle = (held or opening).settle
    fee, currency = fill.fee, fill.fee_currency or settle
    charge = _charge(fee, currency, settle)
    if not move.quantity:
        return _fee_only(held, fill, charge)
    if held is None:
        return _folded([_open(fill, opening, policy, move, charge)], charge, ZERO)
    if held.side is move.side:
        return _folded([_add(held, fill, opening, move, charge)], charge, ZERO)
    if move.quantity <= held.quantity:
        return _reduce(held, fill, move, charge, exit_reason)
    first_fee = divide(mul(fee, held.quantity), move.quantity)
    first, second = _charge(first_fee, currency, settle), _charge(sub(fee, first_fee), currency, settle)
    closed = _reduce(held, fill, move._replace(quantity=held.quantity), first, exit_reason)
    rest = move._replace(quantity=sub(move.quantity, held.quantity))
    opened = _open(fill, opening, policy, rest, second, part="flip")
    return Folded([*closed.rows, opened], closed.trade, sub(closed.realized, second.settled), charge.listed)


def unrealized(position: PositionRow, price: Decimal) -> Decimal:
    """Profit in the settlement currency if all that is held were closed at *price* (> 0), without fees."""
    worth = _value(position.kind, position.quantity, price)
    return mul(position.contract_size, _gain(position.kind, position.side, position.cost, worth))


def notional(position: PositionRow, price: Decimal) -> Decimal:
    """What the position is worth at *price*, in the quote currency."""
    units = mul(position.quantity, position.contract_size)
    return units if position.kind is Kind.INVERSE else mul(units, price)


def signed(position: PositionRow | None) -> Decimal:
    """The net quantity: negative for a short, zero for none."""
    if position is None:
        return ZERO
    return position.quantity if position.side is PositionSide.LONG else position.quantity.copy_negate()


def settlement(kind: Kind, base: str, quote: str) -> str:
    """The currency that profit is counted in: the base coin for inverse contracts, the quote currency otherwise."""
    return base if kind is Kind.INVERSE else quote


def base_of(symbol: str) -> str:
    """The base coin of a canonical symbol: `BTC` of `BTC/USDT:USDT`."""
    return symbol.partition("/")[0]


def share(total: Decimal, part: Decimal, whole: Decimal, places: Decimal = PRICE_PLACES) -> Decimal:
    """The *part*/*whole* of *total* (0 < part < whole), rounded so that what remains stays above zero if *total* is.

    >>> share(Decimal(302), Decimal(1), Decimal(3))
    Decimal('100.666666666666666667')
    """
    taken = divide(mul(total, part), whole, places)
    if add(part, part) <= whole or sub(total, taken).adjusted() >= places.adjusted() + MIN_DIGITS - 1:
        return taken
    return sub(total, divide(mul(total, sub(whole, part)), whole, places))


def average(kind: Kind, value: Decimal, quantity: Decimal) -> Decimal:
    """The price at which *quantity* has this *value*; harmonic for inverse contracts."""
    if not value or not quantity:
        return LOWEST_PRICE
    return _as_price(divide(quantity, value) if kind is Kind.INVERSE else divide(value, quantity))


def _move(held: PositionRow | None, fill: Fill, opening: Opening) -> _Move:
    """The fill's effect on the quantity, a spot fee in the base coin included."""
    kind = held.kind if held is not None else opening.kind
    side = PositionSide.LONG if fill.side is Side.BUY else PositionSide.SHORT
    price = _price(held, fill, kind)
    if fill.kind is FillKind.FUNDING or not fill.quantity or is_no_dust(held, fill):
        return _Move(side, ZERO, price, ZERO)
    if kind is not Kind.SPOT or not fill.fee or fill.fee_currency != base_of(fill.symbol):
        return _Move(side, fill.quantity, price, ZERO)
    size = held.contract_size if held is not None else opening.contract_size
    coins = fill.fee if size == ONE else divide(fill.fee, size)
    if fill.side is Side.BUY:
        return _Move(side, max(ZERO, sub(fill.quantity, coins)), price, ZERO)
    if held is not None and held.side is PositionSide.LONG:
        return _Move(side, fill.quantity, price, max(ZERO, coins))
    return _Move(side, max(ZERO, add(fill.quantity, coins)), price, ZERO)


def _price(held: PositionRow | None, fill: Fill, kind: Kind) -> Decimal:
    """The fill's price. Zero is a price too (the coins are gone), but where it means "none told" the average stands in."""
    if fill.price or (kind is not Kind.INVERSE and fill.kind in (FillKind.TRADE, FillKind.LIQUIDATION)):
        return fill.price
    return held.entry_price if held is not None else LOWEST_PRICE


def _charge(fee: Decimal, currency: str, settle: str) -> _Charge:
    return _Charge(fee, {}) if currency == settle else _Charge(ZERO, {currency: fee} if fee else {})


def _fee_only(held: PositionRow | None, fill: Fill, charge: _Charge) -> Folded:
    """Funding, or a fill that moves no quantity: the profit changes by the fee, nothing else does."""
    if held is None:
        return Folded(realized=charge.settled.copy_negate(), fees=charge.listed)
    return _folded([held.evolve(**_touched(held, fill), **_charged(held, charge))], charge, ZERO)


def _folded(rows: list[PositionRow], charge: _Charge, gain: Decimal, trade: Trade | None = None) -> Folded:
    return Folded(rows, trade, sub(gain, charge.settled), charge.listed)


def _open(
    fill: Fill, opening: Opening, policy: ExitPolicy, move: _Move, charge: _Charge, part: str = ""
) -> PositionRow:
    """A new position, its exits seeded where they are missing."""
    entry_price = _as_price(move.price)
    take, stop, ttl_s = _asked(fill, opening)
    policy, notes = policy_for(policy, opening.kind, opening.exits)
    ttl_s = policy.max_hold_s if ttl_s is None else ttl_s
    exits = seed_exits(
        side=move.side,
        entry_price=entry_price,
        take_profit=take,
        stop_loss=stop,
        policy=policy,
        has_deadline=ttl_s is not None,
        guard=guard_price(opening.kind, move.side, entry_price, policy.terms),
    )
    exits = exits._replace(seeded=[note[:1000] for note in (*exits.seeded, *notes)])
    value = _value(opening.kind, move.quantity, move.price)
    return PositionRow(
        position_id="p-" + digest(opening.book_id, fill.key, *([part] if part else [])),
        book_id=opening.book_id,
        account=opening.account,
        exchange=opening.exchange,
        symbol=opening.symbol,
        leg=opening.leg,
        side=move.side,
        kind=opening.kind,
        contract_size=opening.contract_size,
        settle=opening.settle,
        quantity=move.quantity,
        cost=value,
        entry_price=entry_price,
        **exits._asdict(),
        terms=str(policy.terms),
        expires_at=None if ttl_s is None else expiry(fill.executed_at, ttl_s),
        opened_at=fill.executed_at,
        changed_at=fill.executed_at,
        recorded_at=opening.recorded_at,
        realized_pnl=charge.settled.copy_negate(),
        fees=charge.listed,
        bought=move.quantity if move.side is PositionSide.LONG else ZERO,
        sold=move.quantity if move.side is PositionSide.SHORT else ZERO,
        entry_value=value,
        closing=opening.closing,
        strategy=opening.strategy,
        correlation_id=opening.correlation_id,
        intent_id=opening.intent_id,
    )


def _add(held: PositionRow, fill: Fill, opening: Opening, move: _Move, charge: _Charge) -> PositionRow:
    """More of the same side. Exits never loosen; the clocks go on from the first fill."""
    value = _value(held.kind, move.quantity, move.price)
    quantity, cost = add(held.quantity, move.quantity), add(held.cost, value)
    entry_price = average(held.kind, cost, quantity)
    take, stop, ttl_s = _asked(fill, opening)
    entered = "bought" if held.side is PositionSide.LONG else "sold"
    total = {entered: add(getattr(held, entered), move.quantity)}
    grown = held.evolve(quantity=quantity, entry_price=entry_price, **total)
    exits = merge_exits(grown, entry_price=entry_price, take_profit=take, stop_loss=stop)
    deadlines = [held.expires_at, None if ttl_s is None else expiry(held.opened_at, ttl_s)]
    return held.evolve(
        quantity=quantity,
        cost=cost,
        entry_price=entry_price,
        expires_at=min((at for at in deadlines if at is not None), default=None),
        entry_value=add(held.entry_value, value),
        closing=held.closing or opening.closing,
        signal_at=None,
        stop_by=held.stop_by if exits.stop_loss == held.stop_loss else StopBy.SET,
        **total,
        **exits._asdict(),
        **_touched(held, fill),
        **_charged(held, charge),
    )


def _reduce(held: PositionRow, fill: Fill, move: _Move, charge: _Charge, exit_reason: ExitReason) -> Folded:
    """Less of it, at most all. The average stays what it was; the last reduction takes all of the cost."""
    worth = _value(held.kind, move.quantity, move.price)
    quantity, taken = _take_out(held.kind, held.cost, move.quantity, held.quantity)
    coins = min(move.coins, quantity)
    cost = sub(held.cost, taken)
    quantity, coin_cost = _take_out(held.kind, cost, coins, quantity) if coins else (quantity, ZERO)
    gain = mul(held.contract_size, _gain(held.kind, held.side, taken, worth))
    entered, left = ("bought", "sold") if held.side is PositionSide.LONG else ("sold", "bought")
    row = held.evolve(
        quantity=quantity,
        cost=sub(cost, coin_cost),
        entry_value=sub(held.entry_value, coin_cost),
        exit_value=add(held.exit_value, worth),
        **{entered: sub(getattr(held, entered), coins), left: add(getattr(held, left), move.quantity)},
        **_touched(held, fill),
        **_charged(held, charge, gain),
    )
    if row.is_open and is_ladder(row.take_profit_spec):
        of_rungs = move.quantity if exit_reason is ExitReason.TAKE_PROFIT else ZERO
        row = row.evolve(laddered=add(row.laddered, of_rungs))
        row = row.evolve(take_profit=next_price(row))
    trade = None if row.is_open else _trade(row, fill, move.price, exit_reason)
    return _folded([row], charge, gain, trade)


def _take_out(kind: Kind, cost: Decimal, quantity: Decimal, held: Decimal) -> tuple[Decimal, Decimal]:
    """What is left of *held* after *quantity* went, and the share of the cost that went with it."""
    if quantity == held:
        return ZERO, cost
    places = INVERSE_PLACES if kind is Kind.INVERSE else PRICE_PLACES
    return sub(held, quantity), share(cost, quantity, held, places)


def _trade(row: PositionRow, fill: Fill, price: Decimal, exit_reason: ExitReason) -> Trade:
    """The story of the position that has just closed."""
    entered, left = (row.bought, row.sold) if row.side is PositionSide.LONG else (row.sold, row.bought)
    entry_price = average(row.kind, row.entry_value, entered)
    return Trade(
        id="t-" + row.position_id,
        cause_id=fill.id,
        correlation_id=row.correlation_id,
        at=fill.at,
        position_id=row.position_id,
        account=row.account,
        exchange=row.exchange,
        symbol=row.symbol,
        leg=row.leg,
        side=row.side,
        kind=row.kind,
        contract_size=row.contract_size,
        settle=row.settle,
        quantity=entered,
        entry_price=entry_price,
        exit_price=average(row.kind, row.exit_value, left),
        opened_at=row.opened_at,
        closed_at=row.changed_at,
        realized_pnl=row.realized_pnl,
        fees=row.fees,
        exit_reason=exit_reason,
        trigger_price=row.trigger_price,
        trigger_at=row.trigger_at,
        trigger_level=row.trigger_level,
        take_profit=row.take_profit,
        stop_loss=row.stop_loss,
        exit_attempts=row.exit_attempts,
        strategy=row.strategy,
        intent_id=row.intent_id,
        thresholds=thresholds_of(row),
        path=[(row.opened_at, entry_price), (row.changed_at, _as_price(price))],
    )


def _value(kind: Kind, quantity: Decimal, price: Decimal) -> Decimal:
    """Quantity x price, exact; for inverse contracts quantity / price, rounded."""
    return divide(quantity, price, INVERSE_PLACES) if kind is Kind.INVERSE else mul(quantity, price)


def _gain(kind: Kind, side: PositionSide, cost: Decimal, worth: Decimal) -> Decimal:
    """Profit of what cost *cost* and brought *worth*: a long wants more back, unless values count coins per price."""
    return sub(worth, cost) if (side is PositionSide.LONG) != (kind is Kind.INVERSE) else sub(cost, worth)


def _as_price(price: Decimal) -> Decimal:
    return min(max(price, LOWEST_PRICE), HIGHEST_PRICE)


def _asked(fill: Fill, opening: Opening) -> tuple[str | None, str | None, Decimal | None]:
    """Take-profit, stop-loss and ttl: of the order, else those that an adoption brought along."""
    ttl_s = opening.ttl_s if opening.ttl_s is not None else fill.ttl_s
    return opening.take_profit or fill.take_profit, opening.stop_loss or fill.stop_loss, ttl_s


def _touched(held: PositionRow, fill: Fill) -> dict[str, int]:
    """Every change raises the version; the time of the last fill never goes back."""
    return {"version": held.version + 1, "changed_at": max(held.changed_at, fill.executed_at)}


def _charged(held: PositionRow, charge: _Charge, gain: Decimal = ZERO) -> dict[str, object]:
    return {
        "realized_pnl": sub(add(held.realized_pnl, gain), charge.settled),
        "fees": add_fees(held.fees, charge.listed),
    }


def add_fees(fees: Mapping[str, Decimal], more: Mapping[str, Decimal]) -> dict[str, Decimal]:
    """Fees by currency, summed; what a rebate made zero is not listed."""
    total = dict(fees)
    for currency, amount in more.items():
        total[currency] = add(total.get(currency, ZERO), amount)
    return {currency: amount for currency, amount in total.items() if amount}
