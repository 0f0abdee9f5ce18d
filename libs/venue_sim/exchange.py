"""The exchange: checks and takes orders, matches them against the quotes, keeps what became of them.

A market order walks the levels that `market.Quote` has; a limit order takes what crosses it and rests, at its own price,
for a quote that reaches it. Every change is one step of `clock`, so equal requests at equal times give equal histories.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from decimal import Decimal

from venue_sim import errors
from venue_sim.account import BOTH, LONG, SHORT, ZERO, Account, Position
from venue_sim.market import SPECS, Quote, Spec
from venue_sim.orders import CONDITIONAL, STOPS, Algo, Ask, Order, Trade

Tell = Callable[[Order, Trade | None], None]
TAKER, MAKER = Decimal("0.0005"), Decimal("0.0002")


class Exchange:
    """See the module. *clock* gives the time in ms; *tell* hears of every order that changed, and of its trade, if it was one."""

    def __init__(
        self,
        clock: Callable[[], int],
        *,
        specs: Iterable[Spec] = SPECS,
        wallet: Decimal = Decimal(1_000_000),
        tell: Tell | None = None,
    ) -> None:
        self.clock, self._tell = clock, tell
        self.specs = {spec.symbol: spec for spec in specs}
        self.quotes: dict[str, Quote] = {}
        self.account = Account(wallet, self.mark, self.specs)
        self.orders: dict[int, Order] = {}
        self.algos: dict[int, Algo] = {}
        self.trades: list[Trade] = []
        self.received: list[Ask] = []
        """Every order that was ever taken, in order: what tests count."""
        self.hidden_until = 0
        """What happens now is shown by no read before this time, ms."""
        self.countdowns: dict[str, int] = {}
        self._number = 1_000

    def mark(self, symbol: str) -> Decimal | None:
        quote = self.quotes.get(symbol)
        return None if quote is None else quote.last

    def _say(self, order: Order, trade: Trade | None) -> None:
        if self._tell is not None:
            self._tell(order, trade)

    def next(self) -> int:
        self._number += 1
        return self._number

    # -- prices and time --------------------------------------------------------------------------------------------------

    def quote(self, symbol: str, quote: Quote) -> None:
        """The touch has moved: conditional orders trigger, resting ones fill, what is doomed is liquidated."""
        if symbol not in self.specs:
            raise errors.unknown_symbol()
        self.quotes[symbol] = quote
        for algo in [one for one in self.algos.values() if one.is_open and one.ask.symbol == symbol]:
            if reached(algo.ask, quote.last):
                self._trigger(algo)
        for order in [one for one in self.orders.values() if one.is_open and one.ask.symbol == symbol]:
            self._match(order, maker=True)
        if self.account.is_doomed():
            self.liquidate()

    def tick(self) -> None:
        """Time has passed: countdowns that have run out cancel what is open."""
        now = self.clock()
        for symbol, until in list(self.countdowns.items()):
            if now >= until:
                del self.countdowns[symbol]
                self.cancel_all(symbol)

    def liquidate(self, reason: str = "autoclose-") -> None:
        """Close everything at once, as the venue itself does it; *reason* begins the client order id: autoclose- or adl_autoclose."""
        for (symbol, side), position in list(self.account.positions.items()):
            quote = self.quotes.get(symbol)
            if not position.quantity or quote is None:
                continue
            number = self.next()
            ask = Ask(
                symbol,
                "SELL" if position.quantity > 0 else "BUY",
                "LIMIT",
                reason if reason.startswith("adl") else f"{reason}{number}",
                abs(position.quantity),
                quote.bid if position.quantity > 0 else quote.ask,
                time_in_force="IOC",
                position_side=side,
            )
            order = self._book(ask, number)
            self._fill(order, ask.quantity, ask.price or quote.last, maker=False)

    # -- orders ------------------------------------------------------------------------------------------------------------

    def place(self, ask: Ask) -> Order:
        """Take an order and match it. Raises VenueError, and has then taken nothing."""
        self._check(ask)
        if any(order.is_open and order.ask.client_id == ask.client_id for order in self.orders.values()):
            raise errors.duplicate_client_id()
        spec, quote = self.specs[ask.symbol], self._quote(ask.symbol)
        if ask.reduce_only:
            ask = replace(ask, quantity=self._reducible(ask))
        else:
            price = ask.price or (quote.ask if ask.buys else quote.bid)
            if price * ask.quantity < spec.least_notional:
                raise errors.below_notional(f"{spec.least_notional}")
            self._check_margin(ask, price)
        crossing = self._crossing(ask)
        if ask.time_in_force == "GTX" and crossing:
            raise errors.would_take()
        if ask.time_in_force == "FOK" and sum((size for _, size in crossing), ZERO) < ask.quantity:
            raise errors.not_filled_whole()
        order = self._book(ask, self.next())
        self.received.append(ask)
        self._say(order, None)
        self._match(order, maker=False)
        if order.is_open and (ask.type == "MARKET" or ask.time_in_force == "IOC"):
            self._end(order, "EXPIRED")
        return order

    def place_conditional(self, ask: Ask) -> Algo:
        """Take a conditional order. Raises VenueError."""
        if ask.type not in CONDITIONAL or ask.trigger is None:
            raise errors.missing("triggerPrice")
        self._check(ask)
        if any(algo.is_open and algo.ask.client_id == ask.client_id for algo in self.algos.values()):
            raise errors.duplicate_client_id()
        if reached(ask, self._quote(ask.symbol).last):
            raise errors.would_trigger()
        now = self.clock()
        algo = Algo(self.next(), ask, now, now, visible_from=self.hidden_until)
        self.algos[algo.number] = algo
        self.received.append(ask)
        return algo

    def cancel(self, order: Order) -> Order:
        """Raises VenueError for one that is not open."""
        if not order.is_open:
            raise errors.cancel_rejected()
        self._end(order, "CANCELED")
        return order

    def cancel_conditional(self, algo: Algo) -> Algo:
        if not algo.is_open:
            raise errors.cancel_rejected()
        algo.status, algo.updated = "CANCELED", self.clock()
        return algo

    def cancel_all(self, symbol: str) -> None:
        for order in [one for one in self.orders.values() if one.is_open and one.ask.symbol == symbol]:
            self._end(order, "CANCELED")

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

    def _side(self, side: str) -> str:
        return (LONG if side == "BUY" else SHORT) if self.account.hedged else BOTH

    def _quote(self, symbol: str) -> Quote:
        quote = self.quotes.get(symbol)
        if quote is None:
            raise errors.VenueError(
                -4131, "The counterparty's best price does not meet the PERCENT_PRICE filter limit."
            )
        return quote

    def _check(self, ask: Ask) -> None:
        spec = self.specs.get(ask.symbol)
        if spec is None:
            raise errors.unknown_symbol()
        if (ask.position_side == BOTH) is self.account.hedged:
            raise errors.wrong_position_side()
        if ask.reduce_only and self.account.hedged:
            raise errors.VenueError(-1106, "Parameter 'reduceonly' sent when not required.")
        if not ask.close_position:
            if ask.quantity <= 0 or ask.quantity < spec.least:
                raise errors.too_small()
            if ask.quantity > spec.most:
                raise errors.too_large()
            if ask.quantity % spec.step:
                raise errors.off_step()
        for price in (ask.price, ask.trigger):
            if price is not None and (price <= 0 or price % spec.tick):
                raise errors.off_tick()

    def _check_margin(self, ask: Ask, price: Decimal) -> None:
        held = self.account.of(ask.symbol, ask.position_side).quantity
        signed = ask.quantity if ask.buys else -ask.quantity
        more = abs(held + signed) - abs(held)
        if more > 0 and more * price / self.account.leverage_of(ask.symbol) > self.account.available():
            raise errors.no_margin()

    def _reducible(self, ask: Ask) -> Decimal:
        """What of a reduce-only order may be left, once what it could close is known. Raises VenueError when that is nothing."""
        held = self.account.of(ask.symbol, ask.position_side).quantity
        if held == 0 or (held > 0) is ask.buys:
            raise errors.reduce_only()
        return min(ask.quantity, abs(held)) if ask.type == "MARKET" else ask.quantity

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
            if order.ask.reduce_only:
                position = self.account.of(order.ask.symbol, order.ask.position_side)
                quantity = min(quantity, _reduces(position, order.ask))
                if quantity <= 0:
                    self._end(order, "EXPIRED")
            if quantity <= 0 or not order.is_open:
                return
            own = order.ask.price if maker else None
            self._fill(order, quantity, own or price, maker=maker)

    def _fill(self, order: Order, quantity: Decimal, price: Decimal, *, maker: bool) -> None:
        now, ask = self.clock(), order.ask
        position = self.account.of(ask.symbol, ask.position_side)
        realised = position.apply(quantity if ask.buys else -quantity, price, now)
        fee = (quantity * price * (MAKER if maker else TAKER)).quantize(Decimal("0.00000001"))
        self.account.wallet += realised - fee
        self.account.fees_paid += fee
        order.filled += quantity
        order.value += quantity * price
        order.updated = now
        order.status = "FILLED" if not order.remaining else "PARTIALLY_FILLED"
        trade = Trade(
            self.next(), order.number, ask.client_id, ask.symbol, ask.side, price, quantity, fee, realised, maker, now,
            ask.position_side, self.hidden_until, ask.client_id.startswith(("autoclose", "adl_autoclose")),
        )  # fmt: skip
        self.trades.append(trade)
        self._say(order, trade)

    def _end(self, order: Order, status: str) -> None:
        order.status, order.updated = status, self.clock()
        self._say(order, None)

    def _trigger(self, algo: Algo) -> None:
        ask = algo.ask
        position = self.account.of(ask.symbol, ask.position_side)
        quantity = abs(position.quantity) if ask.close_position else ask.quantity
        plain = replace(
            ask,
            type="LIMIT" if ask.price is not None else "MARKET",
            quantity=quantity,
            trigger=None,
            close_position=False,
            reduce_only=ask.reduce_only or ask.close_position,
        )
        algo.updated = self.clock()
        try:
            order = self.place(plain)
        except errors.VenueError:
            algo.status = "REJECTED"
            return
        algo.status, algo.order = "FINISHED", order.number


def reached(ask: Ask, last: Decimal) -> bool:
    """Whether the price has come to a conditional order's trigger."""
    if ask.trigger is None:
        return False
    rising = ask.buys if ask.type in STOPS else not ask.buys
    return last >= ask.trigger if rising else last <= ask.trigger


def _reduces(position: Position, ask: Ask) -> Decimal:
    held = position.quantity
    return ZERO if held == 0 or (held > 0) is ask.buys else abs(held)
