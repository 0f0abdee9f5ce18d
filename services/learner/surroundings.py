"""How the market of a symbol is: average true range, spread, volatility, from its ticks."""

from collections import deque
from decimal import Decimal

from holdfast.contracts.money import EXACT, ZERO, add, divide, mul, sub
from holdfast.contracts.outcomes import MarketConditions
from holdfast.domain.atr import CANDLE_MS, Atr
from holdfast.domain.market import Quote

MINUTES = 30
"""Returns that the volatility is of."""
LEAST_RETURNS = 5
_TWO = Decimal(2)


class Surroundings:
    """Of one symbol."""

    def __init__(self) -> None:
        self._atr = Atr()
        self._quote: Quote | None = None
        self._minute: int | None = None
        self._returns: deque[Decimal] = deque(maxlen=MINUTES)
        self._closed: Decimal | None = None
        """The price that the last whole minute ended with."""

    def take(self, quote: Quote) -> None:
        """The next quote that counts."""
        before, self._quote = self._quote, quote
        self._atr.tick(quote.bid if quote.last is None else quote.last, quote.at)
        minute = quote.at // CANDLE_MS
        if before is not None and self._minute is not None and minute > self._minute:
            middle = _middle(before)
            if self._closed is not None:
                self._returns.append(divide(sub(middle, self._closed).scaleb(2), self._closed))
            self._closed = middle
        if self._minute is None or minute > self._minute:
            self._minute = minute

    def now(self) -> MarketConditions:
        """As far as it is known."""
        if self._quote is None:
            return MarketConditions()
        spread = divide(sub(self._quote.ask, self._quote.bid).scaleb(2), _middle(self._quote))
        return MarketConditions(atr=self._atr.value, spread_pct=spread, volatility_pct=self._volatility())

    def _volatility(self) -> Decimal | None:
        count = Decimal(len(self._returns))
        if count < LEAST_RETURNS:
            return None
        mean = divide(_sum(self._returns), count)
        squares = [mul(sub(one, mean), sub(one, mean)) for one in self._returns]
        return divide(EXACT.sqrt(divide(_sum(squares), count)), Decimal(1))


def _middle(quote: Quote) -> Decimal:
    return divide(add(quote.bid, quote.ask), _TWO)


def _sum(amounts: "deque[Decimal] | list[Decimal]") -> Decimal:
    total = ZERO
    for amount in amounts:
        total = add(total, amount)
    return total
