"""The spot exchange: `matching`, with coins. What is bought is owned, what is on an order is locked, and nothing can be short.

Stops are ordinary orders that wait for their price, and lock their coins while they wait. What is locked is not stored: it
is what the open orders need.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from venue_sim.account import ZERO
from venue_sim.errors import Refusal, Why
from venue_sim.market import Spec
from venue_sim.matching import Matching, Settled, Tell, reached
from venue_sim.orders import Ask, Order

_DIGITS = Decimal("0.00000001")


@dataclass(frozen=True, slots=True)
class Habits:
    """What spot venues do differently."""

    taker: Decimal
    maker: Decimal
    fee_in_quote: bool
    """Whether a buyer pays the fee in quote, too; else it is taken from the coins that he gets."""
    refuses_post_only: bool
    """Whether a post-only order that would take is refused; else it is accepted, and canceled at once."""
    refuses_passed_stops: bool
    """Whether a stop whose price has passed is refused; else it triggers at once."""
    most_stops: int | None = None
    """How many stops of one symbol may be open; None: no such limit."""


class Spot(Matching):
    """See the module. *coins*: what the account owns, by the venue's own names."""

    def __init__(
        self,
        clock: Callable[[], int],
        habits: Habits,
        *,
        specs: Iterable[Spec],
        coins: Mapping[str, Decimal],
        tell: Tell | None = None,
        first: int = 1_000,
    ) -> None:
        super().__init__(clock, specs=specs, tell=tell, first=first)
        self.habits = habits
        self.coins = dict(coins)
        self.can_withdraw = False

    def held(self) -> Mapping[str, Decimal]:
        return {coin: amount for coin, amount in self.coins.items() if amount}

    def adjust(self, given: Mapping[str, Any]) -> None:
        """can_withdraw; coins: {name: amount}."""
        self.can_withdraw = bool(given.get("can_withdraw", self.can_withdraw))
        self.coins |= {name: Decimal(amount) for name, amount in given.get("coins", {}).items()}

    def liquidate(self, reason: str = "autoclose-") -> None:
        raise ValueError(f"nothing is on margin here, so nothing is liquidated ({reason})")

    def locked(self, coin: str) -> Decimal:
        """What open orders need of *coin*."""
        total = ZERO
        for order in self.orders.values():
            if order.is_open:
                needed, amount = self._needs(order.ask, order.remaining)
                total += amount if needed == coin else ZERO
        return total

    def free(self, coin: str) -> Decimal:
        return self.coins.get(coin, ZERO) - self.locked(coin)

    def _needs(self, ask: Ask, quantity: Decimal) -> tuple[str, Decimal]:
        """What *quantity* of a resting order locks: the coins to sell, or the money to buy them with."""
        spec = self.specs[ask.symbol]
        if not ask.buys:
            return spec.base, quantity
        price = ask.price or ask.trigger or self.mark(ask.symbol) or ZERO
        return spec.quote, self._with_fee(quantity * price)

    def _with_fee(self, cost: Decimal) -> Decimal:
        return cost * (1 + self.habits.taker) if self.habits.fee_in_quote else cost

    # -- stops -------------------------------------------------------------------------------------------------------------

    def place_stop(self, ask: Ask) -> Order:
        """Take an order that waits for its trigger. Raises Refusal."""
        self._check(ask)
        if any(order.is_open and order.ask.client_id == ask.client_id for order in self.orders.values()):
            raise Refusal(Why.DUPLICATE)
        last = self._quote(ask.symbol).last
        if reached(ask, last) and self.habits.refuses_passed_stops:
            raise Refusal(Why.WOULD_TRIGGER)
        most = self.habits.most_stops
        if most is not None and len(self._stops(ask.symbol)) >= most:
            raise Refusal(Why.TOO_MANY)
        self._check_notional(ask, ask.price or ask.trigger or ZERO)
        self._check_money(*self._needs(ask, ask.quantity))
        order = self._book(ask, self.next())
        order.waiting = True
        self.received.append(ask)
        self._say(order, None)
        if reached(ask, last):
            self._trigger(order)
        return order

    def _stops(self, symbol: str) -> list[Order]:
        """Those that are open, whether they wait or have triggered."""
        return [
            order
            for order in self.orders.values()
            if order.is_open and order.ask.symbol == symbol and order.ask.trigger is not None
        ]

    def _moved(self, symbol: str, last: Decimal) -> None:
        for order in self._stops(symbol):
            if order.waiting and reached(order.ask, last):
                self._trigger(order)

    def _trigger(self, order: Order) -> None:
        """It becomes an ordinary order, under its own number and name."""
        order.waiting, order.triggered_at, order.updated = False, self.clock(), self.clock()
        self._say(order, None)
        self._work(order)

    # -- what the account may, and what a trade does ----------------------------------------------------------------------------

    def _admit(self, ask: Ask, crossing: Sequence[tuple[Decimal, Decimal]]) -> Ask:
        quote = self._quote(ask.symbol)
        self._check_notional(ask, ask.price or (quote.ask if ask.buys else quote.bid))
        needed, amount = self._needs(ask, ask.quantity)
        if ask.buys and ask.price is None:
            amount = self._with_fee(_cost(crossing, ask.quantity))
        self._check_money(needed, amount)
        return ask

    def _check_money(self, coin: str, amount: Decimal) -> None:
        if amount > self.free(coin):
            raise Refusal(Why.NO_MONEY)

    def _unworkable(self, ask: Ask, crossing: Sequence[tuple[Decimal, Decimal]]) -> str | None:
        """Whoever cannot be filled whole is expired, not refused."""
        if ask.time_in_force == "GTX" and crossing and not self.habits.refuses_post_only:
            return "CANCELED"
        try:
            return super()._unworkable(ask, crossing)
        except Refusal as refusal:
            if refusal.why is Why.NOT_WHOLE:
                return "EXPIRED"
            raise

    def _settle(self, ask: Ask, quantity: Decimal, price: Decimal, *, maker: bool) -> Settled:
        spec, habits = self.specs[ask.symbol], self.habits
        cost = quantity * price
        rate = habits.maker if maker else habits.taker
        in_base = ask.buys and not habits.fee_in_quote
        fee = ((quantity if in_base else cost) * rate).quantize(_DIGITS)
        sign = 1 if ask.buys else -1
        self._add(spec.base, sign * quantity)
        self._add(spec.quote, -sign * cost)
        fee_asset = spec.base if in_base else spec.quote
        self._add(fee_asset, -fee)
        return Settled(ZERO, fee, fee_asset)

    def _add(self, coin: str, amount: Decimal) -> None:
        self.coins[coin] = self.coins.get(coin, ZERO) + amount


def _cost(levels: Iterable[tuple[Decimal, Decimal]], quantity: Decimal) -> Decimal:
    """What a market order of *quantity* pays, as far as the levels reach."""
    cost = ZERO
    for price, size in levels:
        taken = min(size, quantity)
        cost, quantity = cost + taken * price, quantity - taken
    return cost
