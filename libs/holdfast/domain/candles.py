"""From recorded market data to prices: a candle as a path of four prices, a single price as a bid and an ask.

A candle says where the price was, not in which order. The path taken here is the careful one: a candle that rises went
down first, a candle that falls went up first. So a stop inside the candle is met before the profit that the close
promises. Every candle plays its high once and its low once.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal

from holdfast.contracts.money import EXACT, HUNDRED, ZERO, add, mul, sub

TWO = Decimal(2)
DEFAULT_INTERVAL_MS = 60_000
"""How long a candle lasts when there is only one of them to tell by."""


@dataclass(frozen=True, slots=True)
class Quote:
    """What a source of prices knows at one moment; `at` is market time, ms."""

    symbol: str
    at: int
    bid: Decimal
    ask: Decimal
    last: Decimal


@dataclass(frozen=True, slots=True)
class Candle:
    """Open, high, low and close of one interval that begins at `at`, ms. Raises ValueError when they contradict."""

    at: int
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal

    def __post_init__(self) -> None:
        if self.high < max(self.open, self.close, self.low):
            raise ValueError(f"high {self.high} lies below open, close or low")
        if self.low > min(self.open, self.close):
            raise ValueError(f"low {self.low} lies above open or close")

    @property
    def rises(self) -> bool:
        return self.close >= self.open

    def path(self) -> tuple[Decimal, Decimal, Decimal, Decimal]:
        """Open, low, high, close when it rises; open, high, low, close when it falls."""
        if self.rises:
            return (self.open, self.low, self.high, self.close)
        return (self.open, self.high, self.low, self.close)

    def moments(self, interval_ms: int) -> tuple[int, int, int, int]:
        """When the four are played: at once, after one and two thirds, and in the last ms of the interval."""
        third = interval_ms // 3
        return (self.at, self.at + third, self.at + 2 * third, self.at + max(interval_ms - 1, 2 * third))


def play(candle: Candle, interval_ms: int) -> list[tuple[int, Decimal]]:
    """The candle as four (market time in ms, price), oldest first."""
    return list(zip(candle.moments(interval_ms), candle.path(), strict=True))


def interval_of(moments: Iterable[int]) -> int:
    """How long candles last that begin at *moments* (ms, ascending): the most common distance, the shorter of equals."""
    gaps: Counter[int] = Counter()
    before: int | None = None
    for moment in moments:
        if before is not None and moment > before:
            gaps[moment - before] += 1
        before = moment
    if not gaps:
        return DEFAULT_INTERVAL_MS
    return min(gaps, key=lambda gap: (-gaps[gap], gap))


def around(price: Decimal, spread_pct: Decimal) -> tuple[Decimal, Decimal]:
    """A bid and an ask *spread_pct* percent apart, with *price* in the middle.

    Half the spread is rounded to two significant digits, so prices do not grow long tails; it is never rounded to
    nothing, so bid < price < ask. A price that is not positive, or a spread of zero, gives the price itself twice.
    """
    if spread_pct <= 0 or price <= 0:
        return price, price
    half = EXACT.divide(mul(price, spread_pct), mul(HUNDRED, TWO))
    half = half.quantize(Decimal((0, (1,), half.adjusted() - 1)), context=EXACT)
    return sub(price, half), add(price, half)


def middle(bid: Decimal, ask: Decimal) -> Decimal:
    """The price halfway between *bid* and *ask*, exactly."""
    return EXACT.divide(add(bid, ask), TWO) if bid != ask else add(bid, ZERO)
