"""How good each model's predictions were: hit rate, and whether its confidence meant what it said.

A prediction is judged when it expires, at the first price at or after that: `long` was right if the price rose, `short` if it fell,
`hold` if it moved by no more than `HOLD_BAND_PCT`. Calibration: predictions in ten bins by confidence; of a model that is calibrated,
seven of ten that it gave 0.7 were right. The Brier score is the mean of (confidence - right)^2: 0 is perfect, 0.25 is a coin.
Those that were refused (`domain.predictions`) are counted by code, and not judged.
"""

from collections import Counter
from dataclasses import dataclass, field
from decimal import Decimal
from heapq import heappop, heappush

from holdfast.contracts.exit_messages import Prediction
from holdfast.contracts.money import EXACT, HUNDRED, ONE, ZERO, add, divide, mul, sub
from holdfast.domain.predictions import Predictions

HOLD_BAND_PCT = Decimal("0.1")
BINS = 10
_PLACES = Decimal("1e-4")


def _share(amount: Decimal, count: int) -> Decimal:
    """To four places: for people."""
    return EXACT.quantize(divide(amount, Decimal(count)), _PLACES)


@dataclass(slots=True)
class Score:
    """Of one model."""

    model: str
    judged: int = 0
    hits: int = 0
    squares: Decimal = ZERO
    bins: list[list[int]] = field(default_factory=lambda: [[0, 0] for _ in range(BINS)])
    """[how many, how many were right], by confidence."""
    confidence: list[Decimal] = field(default_factory=lambda: [ZERO] * BINS)

    def judge(self, confidence: Decimal, *, right: bool) -> None:
        self.judged, self.hits = self.judged + 1, self.hits + right
        miss = sub(ONE if right else ZERO, confidence)
        self.squares = add(self.squares, mul(miss, miss))
        slot = min(BINS - 1, int(mul(confidence, Decimal(BINS))))
        self.bins[slot][0] += 1
        self.bins[slot][1] += right
        self.confidence[slot] = add(self.confidence[slot], confidence)

    @property
    def hit_rate(self) -> Decimal | None:
        return _share(Decimal(self.hits), self.judged) if self.judged else None

    @property
    def brier(self) -> Decimal | None:
        return _share(self.squares, self.judged) if self.judged else None

    def calibration(self) -> list[dict[str, object]]:
        """Per bin that has any: how many, mean confidence, share that was right."""
        return [
            {
                "count": count,
                "confidence": str(_share(self.confidence[slot], count)),
                "right": str(_share(Decimal(right), count)),
            }
            for slot, (count, right) in enumerate(self.bins)
            if count
        ]


class Scores:
    """All models. Feed it predictions and prices in the order of their wall times."""

    def __init__(self) -> None:
        self.guard = Predictions()
        self.scores: dict[str, Score] = {}
        self._prices: dict[str, Decimal] = {}
        self._due: dict[str, list[tuple[int, int, Prediction, Decimal]]] = {}
        self._count = 0

    def hear(self, one: Prediction, symbol: str, wall_ms: int) -> str | None:
        """Why it is refused; None: it will be judged when it expires (if a price of its symbol is known)."""
        code = self.guard.hear(one, symbol, wall_ms)
        self.scores.setdefault(one.model, Score(one.model))
        price = self._prices.get(symbol)
        if code is None and price is not None:
            self._count += 1
            heappush(self._due.setdefault(symbol, []), (one.expires_at, self._count, one, price))
        return code

    def price(self, symbol: str, price: Decimal, wall_ms: int) -> None:
        """A price (> 0) at wall time *wall_ms*."""
        self._prices[symbol] = price
        due = self._due.get(symbol)
        while due and due[0][0] <= wall_ms:
            _, _, one, before = heappop(due)
            self.scores[one.model].judge(one.confidence, right=_was_right(one, before, price))

    @property
    def pending(self) -> Counter[str]:
        """Predictions that have not expired yet, by model."""
        return Counter(one.model for due in self._due.values() for _, _, one, _ in due)


def _was_right(one: Prediction, before: Decimal, after: Decimal) -> bool:
    if one.direction == "hold":
        return mul(abs(sub(after, before)), HUNDRED) <= mul(before, HOLD_BAND_PCT)
    return after > before if one.direction == "long" else after < before
