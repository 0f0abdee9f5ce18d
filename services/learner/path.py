"""A price path in bounded memory: stretches of market time, merged into longer ones when there are too many."""

from dataclasses import dataclass, field
from decimal import Decimal

from holdfast.contracts.outcomes import PathPoint

FIRST_SPAN_MS = 1_000


@dataclass(slots=True)
class _Stretch:
    at: int
    first: Decimal
    low: Decimal
    high: Decimal
    last: Decimal

    def take(self, low: Decimal, high: Decimal, last: Decimal) -> None:
        self.low, self.high, self.last = min(self.low, low), max(self.high, high), last


@dataclass(slots=True)
class Path:
    """Of one position. A stretch begins with its first price; all prices of one span of the clock are one stretch."""

    most: int
    span_ms: int = FIRST_SPAN_MS
    through: int | None = None
    """Market time of the last price; older ones are not taken."""
    _stretches: list[_Stretch] = field(default_factory=list)

    def take(self, at: int, price: Decimal) -> None:
        """The price from market time *at* on, ms."""
        if self.through is not None and at < self.through:
            return
        self.through = at
        self._add(_Stretch(at, price, price, price, price))
        while len(self._stretches) > self.most:
            self.widen()

    def _add(self, one: _Stretch) -> None:
        last = self._stretches[-1] if self._stretches else None
        if last is not None and last.at // self.span_ms == one.at // self.span_ms:
            last.take(one.low, one.high, one.last)
        else:
            self._stretches.append(one)

    def widen(self) -> None:
        """Stretches of twice the span."""
        self.span_ms *= 2
        old, self._stretches = self._stretches, []
        for one in old:
            self._add(one)

    def points(self) -> list[PathPoint]:
        """Oldest first."""
        return [
            PathPoint(at=one.at, first=one.first, low=one.low, high=one.high, last=one.last)
            for one in self._stretches
        ]

    def __len__(self) -> int:
        return len(self._stretches)
