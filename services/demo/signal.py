"""The signal: a fast moving average crosses a slow one. Exact sums, so the same prices always give the same crossings."""

from collections import deque
from decimal import Decimal
from enum import StrEnum

from holdfast.contracts.money import ZERO, add, mul, sub


class Cross(StrEnum):
    ABOVE = "above"
    BELOW = "below"


class Sampler:
    """Lets through the first moment of each interval of *every_ms* market time; every moment when that is 0."""

    def __init__(self, every_ms: int) -> None:
        self._every_ms, self._next = every_ms, 0

    def takes(self, at: int) -> bool:
        if at < self._next:
            return False
        if self._every_ms:
            self._next = (at // self._every_ms + 1) * self._every_ms
        return True


class Averages:
    """Averages of the last *fast* and the last *slow* samples; fast is the smaller number."""

    def __init__(self, fast: int, slow: int) -> None:
        self._fast_n, self._slow_n = fast, slow
        self._prices: deque[Decimal] = deque(maxlen=slow)
        self._fast_sum = self._slow_sum = ZERO
        self._is_above: bool | None = None

    @property
    def are_full(self) -> bool:
        return len(self._prices) == self._slow_n

    def add(self, price: Decimal) -> Cross | None:
        """Take a sample in. A Cross when the fast average has changed sides; equal is no side, nor is the first one."""
        if self.are_full:
            self._slow_sum = sub(self._slow_sum, self._prices[0])
        if len(self._prices) >= self._fast_n:
            self._fast_sum = sub(self._fast_sum, self._prices[-self._fast_n])
        self._prices.append(price)
        self._fast_sum, self._slow_sum = add(self._fast_sum, price), add(self._slow_sum, price)
        if not self.are_full:
            return None
        fast, slow = mul(self._fast_sum, Decimal(self._slow_n)), mul(self._slow_sum, Decimal(self._fast_n))
        if fast == slow:
            return None
        was, self._is_above = self._is_above, fast > slow
        if was is None or was == self._is_above:
            return None
        return Cross.ABOVE if self._is_above else Cross.BELOW
