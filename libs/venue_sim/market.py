"""Instruments and prices: what is traded here, and the touch of the book that matching follows.

The book is a touch with a size, and the same size again one tick further for `LEVELS` levels: enough for partial fills
and slippage, and a pure function of the last quote, so that a run can be repeated.
"""

import csv
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

LEVELS = 10


@dataclass(frozen=True, slots=True)
class Spec:
    """A perpetual contract. Amounts in base, prices in quote."""

    symbol: str
    base: str
    quote: str = "USDT"
    tick: Decimal = Decimal("0.1")
    step: Decimal = Decimal("0.001")
    least: Decimal = Decimal("0.001")
    most: Decimal = Decimal(1000)
    least_notional: Decimal = Decimal(5)
    maintenance: Decimal = Decimal("0.004")
    """Maintenance margin as a share of the notional: below it a position is liquidated."""


SPECS = (
    Spec("BTCUSDT", "BTC"),
    Spec("ETHUSDT", "ETH", tick=Decimal("0.01")),
    Spec("SOLUSDT", "SOL", tick=Decimal("0.01"), step=Decimal("0.01"), least=Decimal("0.01"), most=Decimal(100_000)),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Quote:
    """The touch: best prices and what is there, at a time in ms."""

    bid: Decimal
    ask: Decimal
    at: int = 0
    size: Decimal = Decimal(10)

    def __post_init__(self) -> None:
        if not 0 < self.bid <= self.ask or self.size <= 0:
            raise ValueError(f"not a quote: {self.bid} / {self.ask} x {self.size}")

    @property
    def last(self) -> Decimal:
        return (self.bid + self.ask) / 2

    def levels(self, buying: bool, tick: Decimal) -> Iterator[tuple[Decimal, Decimal]]:
        """(price, size) that a taker meets, best first."""
        for number in range(LEVELS):
            price = self.ask + tick * number if buying else self.bid - tick * number
            if price > 0:
                yield price, self.size


def read_tape(path: Path) -> Iterable[tuple[str, Quote]]:
    """Quotes of a CSV file with the columns at, symbol, bid, ask and, where given, size. Raises ValueError, naming the line."""
    with path.open(newline="", encoding="utf-8") as file:
        for number, row in enumerate(csv.DictReader(file), 2):
            try:
                quote = Quote(
                    Decimal(row["bid"]), Decimal(row["ask"]), int(row["at"]), Decimal(row.get("size") or 10)
                )
                yield row["symbol"], quote
            except (KeyError, ArithmeticError, ValueError, TypeError) as error:
                raise ValueError(f"{path}, line {number}: not a quote: {error!r}") from error
