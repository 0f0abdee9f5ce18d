"""How the paper venue trades: prices, partial fills, fees, margin, and the account that results. Pure.

`match` looks at one order and one tick and says what happens: nothing, a fill, an end, or both. It changes nothing.
`Account.apply` then takes the fill in. The same two functions run live, after a restart and when a record is verified.

The trick with money: the account keeps *flows*, not profits. A purchase takes its value and fee out, a sale puts its
value in, so cash is an exact sum over trades, with no rounding to argue about. What a position has tied up is put back
when free money is counted: free = capital + cash + cost of what is held - margin - what live orders hold.
(Inverse contracts settle in the base coin, worth quantity / price: their flows have the opposite sign.)

This arithmetic is the venue's own and shares no code with the ledger's, on purpose: the two are compared, and a mistake
in one would hide in the other. There is no liquidation on paper, and no price moves because of an order.

Quantities are in contracts of `contract_size`; money is in the settlement currency; percents are percents.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal

from holdfast.contracts.codes import Code, Kind, Leg, OrderState, OrderType, Side, TimeInForce
from holdfast.contracts.money import EXACT, ONE, ZERO, add, divide, mul, percent_of, round_down, sub
from holdfast.contracts.wire import digest

HALF = Decimal("0.5")
_LARGEST, _SMALLEST = 24, -24
"""Powers of ten between which an amount in a message lies."""
_DRAWS = 2**32


@dataclass(frozen=True, slots=True)
class Terms:
    """What the venue charges, lends and does by chance; all in percent but `capital`, `leverage` (a factor) and `seed`."""

    taker_fee_pct: Decimal = ZERO
    maker_fee_pct: Decimal = ZERO
    slippage_pct: Decimal = ZERO
    capital: Decimal = Decimal(100_000)
    leverage: Decimal = ONE
    partial_fill_pct: Decimal = ZERO
    reject_pct: Decimal = ZERO
    spot_short: bool = False
    seed: int = 1


@dataclass(slots=True)
class Working:
    """An order as the venue holds it. Only the venue changes it, through `Match`."""

    number: int
    """Arrival order, from 1."""
    order_id: str
    intent_id: str
    correlation_id: str | None
    symbol: str
    leg: Leg
    kind: Kind
    contract_size: Decimal
    settle: str
    side: Side
    type: OrderType
    price: Decimal | None
    quantity: Decimal
    shrink_only: bool
    """Reduce-only, or the closing side of a hedged leg: it never opens, enlarges or flips."""
    time_in_force: TimeInForce
    post_only: bool
    good_till: int | None
    quantity_step: Decimal
    price_step: Decimal
    filled: Decimal = ZERO
    hold: Decimal = ZERO
    """Money set aside for it until it fills or ends."""
    resting: bool = False
    """Its first tick has passed and it waits at its price: from now on it makes, it does not take."""
    run: str = ""
    """Run and market time of the last tick that came before it; an older tick never fills it."""
    after: int = 0
    state: OrderState = OrderState.OPEN
    code: Code | None = None
    reason: str = ""

    @property
    def remaining(self) -> Decimal:
        return sub(self.quantity, self.filled)


@dataclass(frozen=True, slots=True)
class Holding:
    """A position at the venue: signed quantity and what its remaining quantity cost (always >= 0, in `settle`)."""

    symbol: str
    leg: Leg
    kind: Kind
    contract_size: Decimal
    settle: str
    quantity: Decimal = ZERO
    cost: Decimal = ZERO


@dataclass(frozen=True, slots=True)
class Match:
    """What one tick does to one order. `quantity` 0: no fill. `state` is the order's state afterwards."""

    state: OrderState
    quantity: Decimal = ZERO
    price: Decimal = ZERO
    fee: Decimal = ZERO
    code: Code | None = None


def usable(bid: Decimal, ask: Decimal) -> bool:
    """Whether a print may fill anything: both sides positive and not crossed."""
    return ZERO < bid <= ask


def drawn(percent: Decimal, seed: int, *what: str) -> bool:
    """A chance of *percent* that depends on nothing but its arguments, so that a restart draws the same."""
    if percent <= 0:
        return False
    draw = int(digest(str(seed), *what)[:8], 16)
    return mul(Decimal(draw), Decimal(100)) < mul(percent, Decimal(_DRAWS))


def worth(kind: Kind, quantity: Decimal, price: Decimal, contract_size: Decimal) -> Decimal:
    """Value of *quantity* contracts at *price* in the settlement currency; exact but for inverse (18 places)."""
    units = mul(quantity, contract_size)
    return divide(units, price) if kind is Kind.INVERSE else mul(units, price)


def notional(kind: Kind, quantity: Decimal, price: Decimal, contract_size: Decimal) -> Decimal:
    """The same in the quote currency, which minimums are stated in."""
    units = mul(quantity, contract_size)
    return units if kind is Kind.INVERSE else mul(units, price)


def multiple_of(amount: Decimal, step: Decimal) -> bool:
    return not EXACT.remainder(amount, step)


def slipped(touch: Decimal, side: Side, percent: Decimal, step: Decimal) -> Decimal:
    """*touch* made *percent* worse for the taker, then rounded to the price step, again against him; never below a step."""
    if not percent:
        return touch
    slip = percent_of(touch, percent)
    worse, rounding = (
        (add(touch, slip), ROUND_CEILING) if side is Side.BUY else (sub(touch, slip), ROUND_FLOOR)
    )
    steps = EXACT.divide(worse, step).to_integral_value(rounding=rounding)
    return mul(steps, step) if steps > 0 else min(touch, step)


def reducible(held: Decimal, side: Side) -> Decimal:
    """How much an order of *side* may take off a signed position."""
    return max(ZERO, held if side is Side.SELL else -held)


def opening(held: Decimal, side: Side, quantity: Decimal) -> Decimal:
    """The part of *quantity* that opens or enlarges a signed position, once what it reduces is taken off."""
    return max(ZERO, sub(quantity, reducible(held, side)))


def first_part(quantity: Decimal, step: Decimal) -> Decimal:
    """Half of *quantity*, rounded down to the step; all of it where half would be nothing."""
    return round_down(mul(quantity, HALF), step) or quantity


def margin(kind: Kind, cost: Decimal, leverage: Decimal) -> Decimal:
    """Money tied up by a position of this cost. Spot needs it all."""
    return cost if kind is Kind.SPOT else divide(cost, leverage)


class Account:
    """One account's holdings and money, kept in running sums so that an order costs the same with 10 or 10,000 positions."""

    def __init__(self, terms: Terms) -> None:
        self.terms = terms
        self.holdings: dict[tuple[str, Leg], Holding] = {}
        self.cash: dict[str, Decimal] = {}
        """Settlement currency -> flows of all trades less fees, capital not counted."""
        self._bound: dict[tuple[str, Leg], Decimal] = {}
        """What each holding adds to `_tied`."""
        self._tied: dict[str, Decimal] = {}
        """Settlement currency -> margin less cost put back, over all holdings."""
        self._held: dict[str, Decimal] = {}

    def restore(self, holdings: Iterable[Holding], cash: dict[str, Decimal]) -> None:
        """Take over what a record says."""
        self.cash.update(cash)
        for holding in holdings:
            self._put(holding)

    def held(self, symbol: str, leg: Leg) -> Decimal:
        """Signed quantity."""
        holding = self.holdings.get((symbol, leg))
        return holding.quantity if holding else ZERO

    def free(self, settle: str, kind: Kind, price: Decimal) -> Decimal:
        """Money for new positions. The capital of an inverse contract's coin is the quote capital at *price*."""
        capital = divide(self.terms.capital, price) if kind is Kind.INVERSE else self.terms.capital
        flows = add(capital, self.cash.get(settle, ZERO))
        return sub(sub(flows, self._tied.get(settle, ZERO)), self._held.get(settle, ZERO))

    def needs(self, kind: Kind, value: Decimal, fee_pct: Decimal) -> Decimal:
        """Money that opening a position of *value* takes: margin and fee."""
        return add(margin(kind, value, self.terms.leverage), max(ZERO, percent_of(value, fee_pct)))

    def set_hold(self, settle: str, before: Decimal, after: Decimal) -> None:
        """A live order's hold changed."""
        if before != after:
            self._held[settle] = add(self._held.get(settle, ZERO), sub(after, before))

    def apply(
        self, shape: Working | Holding, side: Side, quantity: Decimal, price: Decimal, fee: Decimal
    ) -> Holding:
        """Take one execution in and return the holding as it then is. Through zero it is split at zero."""
        key = (shape.symbol, shape.leg)
        old = self.holdings.get(key) or Holding(
            shape.symbol, shape.leg, shape.kind, shape.contract_size, shape.settle
        )
        value = worth(old.kind, quantity, price, old.contract_size)
        outflow = value if (side is Side.BUY) != (old.kind is Kind.INVERSE) else -value
        self.cash[old.settle] = sub(sub(self.cash.get(old.settle, ZERO), outflow), fee)
        new = _moved(old, side, quantity, price, value)
        self._put(new)
        return new

    def _put(self, new: Holding) -> None:
        key = (new.symbol, new.leg)
        before, after = self._bound.pop(key, ZERO), self._binds(new)
        self._tied[new.settle] = add(self._tied.get(new.settle, ZERO), sub(after, before))
        if new.quantity:
            self.holdings[key], self._bound[key] = new, after
        else:
            self.holdings.pop(key, None)

    def _binds(self, holding: Holding) -> Decimal:
        """Margin of a holding, less the cost that its purchase took from (or its sale put into) cash."""
        paid = holding.cost if (holding.quantity > 0) != (holding.kind is Kind.INVERSE) else -holding.cost
        return sub(margin(holding.kind, holding.cost, self.terms.leverage), paid)


def _moved(old: Holding, side: Side, quantity: Decimal, price: Decimal, value: Decimal) -> Holding:
    signed = quantity if side is Side.BUY else -quantity
    total = add(old.quantity, signed)
    cut = reducible(old.quantity, side)
    if not cut:
        cost = add(old.cost, value)
    elif quantity < cut:
        cost = sub(old.cost, divide(mul(old.cost, quantity), cut))
    else:
        cost = worth(old.kind, sub(quantity, cut), price, old.contract_size)
    return Holding(old.symbol, old.leg, old.kind, old.contract_size, old.settle, total, cost)


@dataclass(frozen=True, slots=True)
class _Offer:
    """The price at which the tick takes the order, or (price 0) why not: `code` ends it, without one it rests."""

    price: Decimal = ZERO
    maker: bool = False
    code: Code | None = None


_RESTS = _Offer()


def _offer(order: Working, bid: Decimal, ask: Decimal, terms: Terms) -> _Offer:
    touch = ask if order.side is Side.BUY else bid
    if order.type is OrderType.MARKET or order.price is None:
        return _Offer(slipped(touch, order.side, terms.slippage_pct, order.price_step))
    through = ask <= order.price if order.side is Side.BUY else bid >= order.price
    if order.resting:
        return _Offer(order.price, maker=True) if through else _RESTS
    if through:
        return _Offer(code=Code.POST_ONLY_WOULD_TAKE) if order.post_only else _Offer(touch)
    return _RESTS if order.time_in_force is TimeInForce.GTC else _Offer(code=Code.UNFILLED)


def _allowed(order: Working, held: Decimal, terms: Terms) -> tuple[Decimal, Code]:
    """How much may fill, given the position at this moment; the code says why it is less than what remains."""
    remaining = order.remaining
    if order.shrink_only:
        return min(remaining, reducible(held, order.side)), Code.NOTHING_TO_CLOSE
    if order.kind is Kind.SPOT and order.side is Side.SELL and not terms.spot_short:
        return min(remaining, reducible(held, order.side)), Code.SPOT_SHORT
    return remaining, Code.UNFILLED


def match(order: Working, account: Account, bid: Decimal, ask: Decimal) -> Match:
    """What a usable tick does to *order*, given the account as it is now."""
    terms = account.terms
    holding = account.holdings.get((order.symbol, order.leg))
    held = holding.quantity if holding else ZERO
    if holding and (holding.kind, holding.contract_size) != (order.kind, order.contract_size):
        return _ended(order, Code.INSTRUMENT_MISMATCH)
    offer = _offer(order, bid, ask, terms)
    if not offer.price:
        return _ended(order, offer.code) if offer.code else Match(order.state)
    allowed, short = _allowed(order, held, terms)
    if not allowed or (
        order.time_in_force is TimeInForce.FOK and allowed < order.remaining and not order.shrink_only
    ):
        return _ended(order, short)
    part = _part(order, allowed, terms)
    fee_pct = terms.maker_fee_pct if offer.maker else terms.taker_fee_pct
    value = worth(order.kind, part, offer.price, order.contract_size)
    fee = percent_of(value, fee_pct)
    if max(offer.price.adjusted(), value.adjusted()) >= _LARGEST:
        return Match(order.state)  # no message can tell such a trade; a print like this is a bad one
    opens = opening(held, order.side, part)
    if opens and not order.shrink_only:
        opened = worth(order.kind, opens, offer.price, order.contract_size)
        free = add(account.free(order.settle, order.kind, offer.price), order.hold)
        if account.needs(order.kind, opened, fee_pct) > free:
            return _ended(order, Code.INSUFFICIENT_FUNDS)
    state, code = _after(order, part, allowed, short)
    return Match(state, part, offer.price, fee if fee.adjusted() >= _SMALLEST else ZERO, code)


def _part(order: Working, allowed: Decimal, terms: Terms) -> Decimal:
    whole = order.filled > 0 or order.time_in_force is TimeInForce.FOK
    if whole or not drawn(terms.partial_fill_pct, terms.seed, order.order_id, "partial"):
        return allowed
    return first_part(allowed, order.quantity_step)


def _after(order: Working, part: Decimal, allowed: Decimal, short: Code) -> tuple[OrderState, Code | None]:
    if part == order.remaining:
        return OrderState.FILLED, None
    if part < allowed:
        return (
            (OrderState.PARTIAL, None)
            if order.time_in_force is TimeInForce.GTC
            else (OrderState.CANCELED, Code.UNFILLED)
        )
    return OrderState.CANCELED, short


def _ended(order: Working, code: Code) -> Match:
    """An end without a fill. An order that lacks money and has not filled at all counts as rejected."""
    refused = not order.filled and code in {Code.INSUFFICIENT_FUNDS, Code.INSTRUMENT_MISMATCH}
    return Match(OrderState.REJECTED if refused else OrderState.CANCELED, code=code)


@dataclass(frozen=True, slots=True)
class Limits:
    """What an instrument demands of an order."""

    quantity_step: Decimal
    price_step: Decimal
    min_quantity: Decimal = field(default=ZERO)
    min_notional: Decimal = field(default=ZERO)


def below_limits(
    order: Working, limits: Limits, held: Decimal, price: Decimal | None
) -> tuple[Code, str] | None:
    """Why the venue would not take the order's numbers; None when it does.

    An exit that closes everything is exempt from steps and minimums of quantity: what is held can always be closed.
    """
    if order.price is not None and not multiple_of(order.price, limits.price_step):
        return Code.VENUE_REJECTED, f"the price is no multiple of {limits.price_step}"
    if order.shrink_only and order.quantity >= reducible(held, order.side):
        return None
    if not multiple_of(order.quantity, limits.quantity_step):
        return Code.VENUE_REJECTED, f"the quantity is no multiple of {limits.quantity_step}"
    if order.quantity < limits.min_quantity:
        return Code.BELOW_MINIMUM, f"the smallest order is {limits.min_quantity}"
    if price and notional(order.kind, order.quantity, price, order.contract_size) < limits.min_notional:
        return Code.BELOW_MINIMUM, f"the smallest order value is {limits.min_notional}"
    return None
