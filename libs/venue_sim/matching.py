"""Matching, which every dialect shares: checks and takes orders, matches them against the quotes, keeps what became of them.

A market order walks the levels that `market.Quote` has; a limit order takes what crosses it and rests, at its own price,
for a quote that reaches it. Every change is one step of `clock`, so equal requests at equal times give equal histories.
What an order may do to an account, and does, is the subclass's: `exchange.Exchange` has positions on margin,
`wallet.Spot` has coins.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from venue_sim.account import ZERO
from venue_sim.errors import Refusal, Why
from venue_sim.market import Quote, Spec
from venue_sim.orders import STOPS, Algo, Ask, Order, Trade

Tell = Callable[[Order | Algo, Trade | None], None]
DAY_MS = 24 * 3600 * 1000
ALL = ""
"""The name under which a countdown is for every symbol."""


@dataclass(frozen=True, slots=True)
class Settled:
    """What a trade did to the account: profit realised, and the fee with its currency."""

    realised: Decimal
    fee: Decimal
    fee_asset: str


class Matching(ABC):
    """See the module. *clock* gives the time in ms; *tell* hears of every order, conditional or not, that changed, and of its
    trade, if it was one.
    """

    def __init__(
        self, clock: Callable[[], int], *, specs: Iterable[Spec], tell: Tell | None = None, first: int = 1_000
    ) -> None:  # fmt: skip
        self.clock, self._tell = clock, tell
        self.specs = {spec.symbol: spec for spec in specs}
        self.quotes: dict[str, Quote] = {}
        self.orders: dict[int, Order] = {}
        self.trades: list[Trade] = []
        self.received: list[Ask] = []
        """Every order that was ever taken, in order: what tests count."""
        self.hidden_until = 0
        """What happens now is shown by no read before this time, ms."""
        self.countdowns: dict[str, int] = {}
        self._first: dict[str, tuple[int, Decimal]] = {}
        """Symbol -> the UTC day of its last quote, and that day's first price."""
        self._number = first

    def mark(self, symbol: str) -> Decimal | None:
        quote = self.quotes.get(symbol)
        return None if quote is None else quote.last

    def first_today(self, symbol: str) -> Decimal | None:
        """The first price of this UTC day; where none has come yet, the last one of before."""
        day, price = self._first.get(symbol, (-1, None))
        return price if day == self.clock() // DAY_MS else self.mark(symbol)

    def next(self) -> int:
        self._number += 1
        return self._number

    # -- what an account adds ----------------------------------------------------------------------------------------------

    @abstractmethod
    def held(self) -> Mapping[str, Decimal]:
        """The truth about the account, whatever reads show: quantities by name."""

    @abstractmethod
    def adjust(self, given: Mapping[str, Any]) -> None:
        """Change the account itself, as no request could. Raises KeyError, TypeError, ArithmeticError."""

    @abstractmethod
    def liquidate(self, reason: str = "autoclose-") -> None:
        """Close everything, as the venue itself does it. Raises ValueError where nothing is on margin."""

    def fund(self, symbol: str, rate: Decimal) -> None:
        """Funding is due. Raises ValueError where nothing is on margin."""
        raise ValueError(f"nothing is on margin here, so no funding is paid ({symbol}, {rate})")

    @abstractmethod
    def _admit(self, ask: Ask, crossing: Sequence[tuple[Decimal, Decimal]]) -> Ask:
        """The order as it is booked. Raises Refusal when the account may not, or cannot pay."""

    @abstractmethod
    def _settle(self, ask: Ask, quantity: Decimal, price: Decimal, *, maker: bool) -> Settled:
        """A trade happens."""

    def _most(self, ask: Ask) -> Decimal | None:  # noqa: ARG002 - margin decides by it
        """The most that may still fill of an order, for the account's sake; None: no such limit."""
        return None

    @abstractmethod
    def _moved(self, symbol: str, last: Decimal) -> None:
        """The price has moved, before resting orders fill."""

    # -- prices and time ---------------------------------------------------------------------------------------------------

    def quote(self, symbol: str, quote: Quote) -> None:
        """The touch has moved: conditional orders trigger, resting ones fill. Raises Refusal for an unknown symbol."""
        if symbol not in self.specs:
            raise Refusal(Why.UNKNOWN_SYMBOL)
        self.tick()
        self.quotes[symbol] = quote
        day = self.clock() // DAY_MS
        if self._first.get(symbol, (-1, None))[0] != day:
            self._first[symbol] = day, quote.last
        self._moved(symbol, quote.last)
        for order in [one for one in self.orders.values() if one.is_open and one.ask.symbol == symbol]:
            if not order.waiting:
                self._match(order, maker=True)

    def tick(self) -> None:
        """Time has passed: countdowns that have run out have canceled what was open then, and orders with a time of their own have ended."""
        now = self.clock()
        for order in [one for one in self.orders.values() if one.is_open and 0 < one.ask.till <= now]:
            self._end(order, "EXPIRED", at=order.ask.till)
        for symbol, until in sorted(self.countdowns.items(), key=lambda item: item[1]):
            if now >= until:
                del self.countdowns[symbol]
                self.cancel_all(symbol, at=until)

    # -- orders ------------------------------------------------------------------------------------------------------------

    def place(self, ask: Ask) -> Order:
        """Take an order and match it. Raises Refusal, and has then taken nothing."""
        return self._place(ask, received=True)

    def _place(self, ask: Ask, *, received: bool) -> Order:
        self._check(ask)
        if any(order.is_open and order.ask.client_id == ask.client_id for order in self.orders.values()):
            raise Refusal(Why.DUPLICATE)
        crossing = self._crossing(ask)
        ask = self._admit(ask, crossing)
        end = self._unworkable(ask, crossing)
        order = self._book(ask, self.next())
        if received:
            self.received.append(ask)
        self._say(order, None)
        if end is not None:
            self._end(order, end)
        else:
            self._work(order)
        return order

    def _work(self, order: Order) -> None:
        """An order meets the book for the first time."""
        self._match(order, maker=False)
        if order.is_open and (order.ask.price is None or order.ask.time_in_force == "IOC"):
            self._end(order, "EXPIRED")

    def _unworkable(self, ask: Ask, crossing: Sequence[tuple[Decimal, Decimal]]) -> str | None:
        """How an order ends without having met the book: a status, or Refusal."""
        if ask.time_in_force == "GTX" and crossing:
            raise Refusal(Why.WOULD_TAKE)
        if ask.time_in_force == "FOK" and sum((size for _, size in crossing), ZERO) < ask.quantity:
            raise Refusal(Why.NOT_WHOLE)
        return None

    def cancel(self, order: Order) -> Order:
        """Raises Refusal for one that is not open."""
        if not order.is_open:
            raise Refusal(Why.NOT_OPEN)
        self._end(order, "CANCELED", "User requested")
        return order

    def cancel_all(self, symbol: str = ALL, at: int | None = None) -> list[Order]:
        """What was open, and is no more, since *at*."""
        ended = [one for one in self.orders.values() if one.is_open and symbol in (ALL, one.ask.symbol)]
        for order in ended:
            self._end(order, "CANCELED", "User requested", at=at)
        return ended

    def cancel_conditionals(self, symbol: str) -> None:  # noqa: B027 - most venues keep stops among the others
        """Conditional orders of *symbol*, where they are kept apart."""

    def fill_anyway(self, order: Order, quantity: Decimal, price: Decimal) -> None:
        """A fill that arrives whatever the order's status says: the race of a cancel with a trade."""
        if order.remaining > 0:
            status = order.status
            self._fill(order, min(quantity, order.remaining), price, maker=True)
            order.status = status if order.remaining else "FILLED"

    def by_hand(self, symbol: str, side: str, quantity: Decimal, client_id: str = "") -> Order:
        """A market order that a person gives on the venue's own page."""
        name = client_id or f"web_{self._number + 1}"
        return self.place(Ask(symbol, side, "MARKET", name, quantity, position_side=self._side(side)))

    def find(self, symbol: str, client_id: str) -> Order | None:
        """The latest order of that client id that a read may show."""
        return next(
            (
                order
                for order in reversed(self.orders.values())
                if order.ask.symbol == symbol and order.ask.client_id == client_id and self.shows(order)
            ),
            None,
        )

    def shows(self, thing: Order | Algo | Trade) -> bool:
        return thing.visible_from <= self.clock()

    # -- checks ------------------------------------------------------------------------------------------------------------

    def _side(self, side: str) -> str:  # noqa: ARG002 - by hand in hedge mode it decides
        """The position side of an order by hand."""
        return "BOTH"

    def _quote(self, symbol: str) -> Quote:
        quote = self.quotes.get(symbol)
        if quote is None:
            raise Refusal(Why.NO_PRICE)
        return quote

    def _check(self, ask: Ask) -> None:
        """What the instrument's rules say of an order. Raises Refusal."""
        spec = self.specs.get(ask.symbol)
        if spec is None:
            raise Refusal(Why.UNKNOWN_SYMBOL)
        if not ask.close_position:
            if ask.quantity <= 0 or ask.quantity < spec.least:
                raise Refusal(Why.TOO_SMALL)
            if ask.quantity > spec.most:
                raise Refusal(Why.TOO_LARGE)
            if ask.quantity % spec.step:
                raise Refusal(Why.OFF_STEP)
        for price in (ask.price, ask.trigger):
            if price is not None and (price <= 0 or price % spec.tick):
                raise Refusal(Why.OFF_TICK)

    def _check_notional(self, ask: Ask, price: Decimal) -> None:
        least = self.specs[ask.symbol].least_notional
        if price * ask.quantity < least:
            raise Refusal(Why.BELOW_NOTIONAL, f"{least}")

    # -- matching ----------------------------------------------------------------------------------------------------------

    def _book(self, ask: Ask, number: int) -> Order:
        now = self.clock()
        order = Order(number, ask, now, now, visible_from=self.hidden_until)
        self.orders[number] = order
        return order

    def _crossing(self, ask: Ask) -> Sequence[tuple[Decimal, Decimal]]:
        """The levels that an order would take from."""
        levels = self._quote(ask.symbol).levels(ask.buys, self.specs[ask.symbol].tick)
        return [
            (price, size)
            for price, size in levels
            if ask.price is None or (price <= ask.price if ask.buys else price >= ask.price)
        ]

    def _match(self, order: Order, *, maker: bool) -> None:
        for price, size in self._crossing(order.ask):
            quantity = min(size, order.remaining)
            most = self._most(order.ask)
            if not order.is_open:
                return
            if most is not None and most <= 0:
                self._end(order, "EXPIRED")
                return
            quantity = quantity if most is None else min(quantity, most)
            if quantity <= 0:
                return
            own = order.ask.price if maker else None
            self._fill(order, quantity, own or price, maker=maker)

    def _fill(self, order: Order, quantity: Decimal, price: Decimal, *, maker: bool) -> None:
        now, ask = self.clock(), order.ask
        order.filled += quantity
        order.value += quantity * price
        order.updated = now
        order.status = "FILLED" if not order.remaining else "PARTIALLY_FILLED"
        settled = self._settle(ask, quantity, price, maker=maker)
        trade = Trade(
            self.next(), order.number, ask.client_id, ask.symbol, ask.side, price, quantity, settled.fee, settled.realised, maker, now,
            ask.position_side, self.hidden_until, ask.client_id.startswith(("autoclose", "adl_autoclose")), settled.fee_asset,
        )  # fmt: skip
        self.trades.append(trade)
        self._say(order, trade)

    def _end(self, order: Order, status: str, reason: str = "", at: int | None = None) -> None:
        order.status, order.updated, order.reason = status, self.clock() if at is None else at, reason
        self._say(order, None)

    def _say(self, order: Order | Algo, trade: Trade | None) -> None:
        if self._tell is not None:
            self._tell(order, trade)


def reached(ask: Ask, last: Decimal) -> bool:
    """Whether the price has come to a conditional order's trigger."""
    if ask.trigger is None:
        return False
    rising = ask.buys if ask.type in STOPS else not ask.buys
    return last >= ask.trigger if rising else last <= ask.trigger
