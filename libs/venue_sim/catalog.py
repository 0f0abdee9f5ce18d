"""The dialects that this venue speaks, by the names that ccxt has for them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Protocol

from venue_sim.dialects import Dialect
from venue_sim.kraken_dialect import Kraken
from venue_sim.matching import Tell
from venue_sim.spot_dialect import BinanceSpot
from venue_sim.usdm import Usdm


class Make(Protocol):
    """How a dialect is made, with the account that it has at first: *wallet* in the quote currency."""

    def __call__(
        self, clock: Callable[[], int], *, key: str, secret: str, wallet: Decimal, tell: Tell
    ) -> Dialect: ...


@dataclass(frozen=True, slots=True)
class Entry:
    """*starts*: what made-up prices begin with, by the venue's own names."""

    title: str
    make: Make
    secret: str
    """The secret of `holdfast venue-sim` when none is given: of the form that this venue's secrets have."""
    starts: Mapping[str, Decimal]


STARTS = {"BTCUSDT": Decimal(42_000), "ETHUSDT": Decimal(2_500), "SOLUSDT": Decimal(100)}
DIALECTS: Mapping[str, Entry] = {
    "binanceusdm": Entry("Binance USD-M futures", Usdm, "sim-secret", STARTS),
    "binance": Entry("Binance spot", BinanceSpot, "sim-secret", STARTS),
    "kraken": Entry(
        "Kraken spot",
        Kraken,
        "c2ltLXNlY3JldA==",
        {"XBTUSDT": Decimal(42_000), "ETHUSDT": Decimal(2_500), "XXBTZUSD": Decimal(42_000)},
    ),
}
