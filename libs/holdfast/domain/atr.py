"""Average true range after Wilder, streaming: from ticks, which make candles, or from candles.

True range of a candle: the largest of high - low, |high - last close| and |low - last close|. The first average is the plain
mean of as many ranges as the period has; each later one is (average x (period - 1) + range) / period. Only closed candles
count; a span without ticks makes no candle. Deterministic: decimals, rounded as everywhere.
"""

from decimal import Decimal

from holdfast.contracts.money import ZERO, add, divide, mul, sub

PERIOD = 14
CANDLE_MS = 60_000


class Atr:
    """Of one symbol. `tick` or `candle` feed it; `value` is None until a period of candles has closed."""

    __slots__ = (
        "_candle_ms",
        "_close",
        "_count",
        "_high",
        "_last",
        "_low",
        "_period",
        "_span",
        "_sum",
        "value",
    )

    def __init__(self, period: int = PERIOD, candle_ms: int = CANDLE_MS) -> None:
        self._period, self._candle_ms = period, candle_ms
        self.value: Decimal | None = None
        self._count, self._sum = 0, ZERO
        self._close: Decimal | None = None
        """Of the last closed candle."""
        self._span: int | None = None
        self._high = self._low = self._last = ZERO

    @property
    def candles(self) -> int:
        """How many have closed so far."""
        return self._count

    def tick(self, price: Decimal, at: int) -> None:
        """A price at market time *at*, ms. The first tick of a new span closes the candle before it."""
        span = at // self._candle_ms
        if self._span is None or span > self._span:
            if self._span is not None:
                self.candle(self._high, self._low, self._last)
            self._span, self._high, self._low, self._last = span, price, price, price
            return
        self._high, self._low, self._last = max(self._high, price), min(self._low, price), price

    def candle(self, high: Decimal, low: Decimal, close: Decimal) -> None:
        """A closed candle."""
        reach = sub(high, low)
        if self._close is not None:
            reach = max(reach, abs(sub(high, self._close)), abs(sub(low, self._close)))
        self._close, self._count = close, self._count + 1
        if self._count < self._period:
            self._sum = add(self._sum, reach)
        elif self.value is None:
            self.value = divide(add(self._sum, reach), Decimal(self._period))
        else:
            self.value = divide(add(mul(self.value, Decimal(self._period - 1)), reach), Decimal(self._period))
