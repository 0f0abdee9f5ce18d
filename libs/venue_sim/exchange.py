"""The futures exchange: `matching`, with positions on margin, conditional orders apart from the others, and liquidation."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any

from venue_sim.account import BOTH, LONG, SHORT, ZERO, Account
from venue_sim.errors import Refusal, Why
from venue_sim.market import SPECS, Quote, Spec
from venue_sim.matching import Matching, Settled, Tell, reached
from venue_sim.orders import CONDITIONAL, Algo, Ask, Income, Order, Rate, Trade

TAKER, MAKER = Decimal("0.0005"), Decimal("0.0002")


class Exchange(Matching):
    """See the module and `Matching`."""

    def __init__(
        self,
        clock: Callable[[], int],
        *,
        specs: Iterable[Spec] = SPECS,
        wallet: Decimal = Decimal(1_000_000),
        tell: Tell | None = None,
    ) -> None:
        super().__init__(clock, specs=specs, tell=tell)
        self.account = Account(wallet, self.mark, self.specs)
        self.algos: dict[int, Algo] = {}
        self._were: dict[int, int] = {}
        """Open orders that were conditional ones -> those."""
        self.incomes: list[Income] = []
        self.rates: list[Rate] = []

    def held(self) -> Mapping[str, Decimal]:
        return {
            f"{symbol} {side}": position.quantity
            for (symbol, side), position in self.account.positions.items()
            if position.quantity
        }

    def adjust(self, given: Mapping[str, Any]) -> None:
        """hedged, can_withdraw, wallet."""
        account = self.account
        account.hedged = bool(given.get("hedged", account.hedged))
        account.can_withdraw = bool(given.get("can_withdraw", account.can_withdraw))
        account.wallet = Decimal(given.get("wallet", account.wallet))

    # -- prices ------------------------------------------------------------------------------------------------------------

    def quote(self, symbol: str, quote: Quote) -> None:
        """As everywhere; and what is doomed is liquidated."""
        super().quote(symbol, quote)
        if self.account.is_doomed():
            self.liquidate()

    def _moved(self, symbol: str, last: Decimal) -> None:
        for algo in [one for one in self.algos.values() if one.is_open and one.ask.symbol == symbol]:
            if reached(algo.ask, last):
                self._trigger(algo)

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

    def fund(self, symbol: str, rate: Decimal) -> None:
        """Funding is due: who is long pays *rate* of the value at the mark to who is short. Raises Refusal where there is no price."""
        mark, now = self._quote(symbol).last, self.clock()
        self.rates.append(Rate(symbol, rate, mark, now))
        for (held, _), position in self.account.positions.items():
            if held == symbol and position.quantity:
                amount = (-position.quantity * mark * rate).quantize(Decimal("0.00000001"))
                self.account.wallet += amount
                self.incomes.append(Income(self.next(), symbol, self.specs[symbol].quote, amount, now))

    # -- conditional orders --------------------------------------------------------------------------------------------------

    def place_conditional(self, ask: Ask) -> Algo:
        """Take a conditional order. Raises Refusal."""
        if ask.type not in CONDITIONAL or ask.trigger is None:
            raise Refusal(Why.MISSING, "triggerPrice")
        self._check(ask)
        if any(algo.is_open and algo.ask.client_id == ask.client_id for algo in self.algos.values()):
            raise Refusal(Why.DUPLICATE)
        if reached(ask, self._quote(ask.symbol).last):
            raise Refusal(Why.WOULD_TRIGGER)
        now = self.clock()
        algo = Algo(self.next(), ask, now, now, visible_from=self.hidden_until)
        self.algos[algo.number] = algo
        self.received.append(ask)
        self._say(algo, None)
        return algo

    def cancel_conditional(self, algo: Algo) -> Algo:
        if not algo.is_open:
            raise Refusal(Why.NOT_OPEN)
        self._become(algo, "CANCELED")
        return algo

    def _become(self, algo: Algo, status: str) -> None:
        algo.status, algo.updated = status, self.clock()
        self._say(algo, None)

    def _say(self, order: Order | Algo, trade: Trade | None) -> None:
        """An order that has ended also ends the conditional one that it was."""
        super()._say(order, trade)
        if isinstance(order, Order) and not order.is_open and (number := self._were.get(order.number)):
            self._become(self.algos[number], "FINISHED")

    def cancel_conditionals(self, symbol: str) -> None:
        """All that are open, of one symbol."""
        for algo in [one for one in self.algos.values() if one.is_open and one.ask.symbol == symbol]:
            self.cancel_conditional(algo)

    def _trigger(self, algo: Algo) -> None:
        """It becomes an ordinary order, under another number and a name that the venue gives."""
        ask = algo.ask
        position = self.account.of(ask.symbol, ask.position_side)
        quantity = abs(position.quantity) if ask.close_position else ask.quantity
        plain = replace(
            ask,
            client_id=f"algo_{algo.number}",
            type="LIMIT" if ask.price is not None else "MARKET",
            quantity=quantity,
            trigger=None,
            close_position=False,
            reduce_only=ask.reduce_only or ask.close_position,
        )
        algo.triggered_at = self.clock()
        self._become(algo, "TRIGGERING")
        try:
            order = self._place(plain, received=False)
        except Refusal as refusal:
            algo.refused = refusal
            self._become(algo, "REJECTED")
            return
        algo.order = order.number
        self._become(algo, "TRIGGERED")
        if order.is_open:
            self._were[order.number] = algo.number
        else:
            self._become(algo, "FINISHED")

    # -- checks, and what a trade does -----------------------------------------------------------------------------------------

    def _side(self, side: str) -> str:
        return (LONG if side == "BUY" else SHORT) if self.account.hedged else BOTH

    def _check(self, ask: Ask) -> None:
        if (ask.position_side == BOTH) is self.account.hedged and ask.symbol in self.specs:
            raise Refusal(Why.POSITION_SIDE)
        if ask.reduce_only and self.account.hedged:
            raise Refusal(Why.REDUCE_ONLY_HEDGED)
        super()._check(ask)

    def _admit(self, ask: Ask, crossing: Sequence[tuple[Decimal, Decimal]]) -> Ask:  # noqa: ARG002 - margin goes by the price alone
        if ask.reduce_only:
            return replace(ask, quantity=self._reducible(ask))
        quote = self._quote(ask.symbol)
        price = ask.price or (quote.ask if ask.buys else quote.bid)
        self._check_notional(ask, price)
        held = self.account.of(ask.symbol, ask.position_side).quantity
        signed = ask.quantity if ask.buys else -ask.quantity
        more = abs(held + signed) - abs(held)
        if more > 0 and more * price / self.account.leverage_of(ask.symbol) > self.account.available():
            raise Refusal(Why.NO_MONEY)
        return ask

    def _reducible(self, ask: Ask) -> Decimal:
        """What of a reduce-only order may be left, once what it could close is known. Raises Refusal when that is nothing."""
        held = self.account.of(ask.symbol, ask.position_side).quantity
        if held == 0 or (held > 0) is ask.buys:
            raise Refusal(Why.REDUCE_ONLY)
        return min(ask.quantity, abs(held)) if ask.type == "MARKET" else ask.quantity

    def _most(self, ask: Ask) -> Decimal | None:
        if not ask.reduce_only:
            return None
        held = self.account.of(ask.symbol, ask.position_side).quantity
        return ZERO if held == 0 or (held > 0) is ask.buys else abs(held)

    def _settle(self, ask: Ask, quantity: Decimal, price: Decimal, *, maker: bool) -> Settled:
        position = self.account.of(ask.symbol, ask.position_side)
        realised = position.apply(quantity if ask.buys else -quantity, price, self.clock())
        fee = (quantity * price * (MAKER if maker else TAKER)).quantize(Decimal("0.00000001"))
        self.account.wallet += realised - fee
        self.account.fees_paid += fee
        return Settled(realised, fee, self.specs[ask.symbol].quote)
