"""Synthetic prices: a seeded random walk with jumps, one step of every symbol per interval, in wall time.

Each step draws from a generator of its own, seeded by (seed, symbol, number of the step). So a seed always gives the same
prices, and a restart needs nothing but the number of the next step and the prices it starts from: both stand in the
feed's record, and the walk goes on where it was, in a new run, with no jump that nobody asked for.
"""

import logging
import random
from collections.abc import AsyncGenerator, Callable
from decimal import Decimal

from holdfast.contracts.money import EXACT, HUNDRED, ONE, canonical, parse_amount
from holdfast.contracts.wire import digest
from holdfast.domain.candles import Quote, around
from holdfast.runtime.clock import Clock
from holdfast.runtime.faults import Terminal
from services.market_feed.record import Record
from services.market_feed.source import Batch
from services.market_feed.spec import DEFAULT_SPREAD_PCT, SyntheticSpec

log = logging.getLogger("holdfast.feed")

SAVE_EVERY_MS = 1000
JUMP_ONE_IN = 400
"""Chance of a jump, per symbol and step."""
_STARTS = {
    "BTC": "42000",
    "ETH": "2500",
    "BNB": "300",
    "SOL": "100",
    "XRP": "0.6",
    "ADA": "0.5",
    "DOGE": "0.08",
}
_SIGNIFICANT = 7
"""Digits of a price: 42000.17, 0.6001234."""


def first_price(symbol: str) -> Decimal:
    """Where the walk of *symbol* starts: about what it cost once, or 100."""
    return Decimal(_STARTS.get(symbol.partition("/")[0], "100"))


def step(spec: SyntheticSpec, symbol: str, number: int, price: Decimal) -> Decimal:
    """The price after *price*: the same for the same seed, symbol and number. Always positive."""
    chance = random.Random(f"{spec.seed}|{symbol}|{number}")  # noqa: S311 - prices for show
    move_pct = Decimal(f"{chance.gauss(0.0, 1.0):.9f}") * spec.volatility_pct
    if spec.jump_pct and chance.randrange(JUMP_ONE_IN) == 0:
        move_pct += spec.jump_pct * chance.choice((1, -1))
    factor = max(ONE + move_pct / HUNDRED, Decimal("0.1"))
    moved = EXACT.multiply(price, factor)
    return moved.quantize(Decimal((0, (1,), moved.adjusted() - _SIGNIFICANT + 1)), context=EXACT)


class SyntheticSource:
    """See the module. *new_run* gives the id of this life's run."""

    name, live = "synthetic", True

    def __init__(self, spec: SyntheticSpec, record: Record, clock: Clock, new_run: Callable[[], str]) -> None:
        self._spec, self._record, self._clock = spec, record, clock
        self._identity, self._run = digest(repr(spec)), new_run()
        self._step, self._index = 0, 0
        self._prices = {symbol: first_price(symbol) for symbol in spec.symbols}
        self._saved_at = clock.monotonic_ms()

    async def open(self) -> None:
        """Go on from the recorded prices when they are of this specification. Raises Terminal for a broken record."""
        saved = self._record.load()
        if saved is None or saved.get("identity") != self._identity:
            log.info("synthetic prices begin, seed %d: %s", self._spec.seed, ", ".join(self._spec.symbols))
            return
        try:
            self._step = int(saved["step"])
            self._prices = {symbol: parse_amount(saved["prices"][symbol]) for symbol in self._spec.symbols}
        except (KeyError, ValueError, TypeError) as error:
            raise Terminal(
                f"{self._record.path}: not a record of prices ({error!r}); remove it to begin again"
            ) from error
        log.info("synthetic prices go on at step %d, seed %d", self._step, self._spec.seed)

    async def batches(self) -> AsyncGenerator[Batch, None]:
        """One batch per interval, for ever."""
        due = self._clock.monotonic_ms()
        while True:
            at = self._clock.wall_ms()
            yield Batch(self._run, self._index, [self._quote(symbol, at) for symbol in self._spec.symbols])
            now = self._clock.monotonic_ms()
            due = max(due + self._spec.interval_ms, now)
            await self._clock.sleep((due - now) / 1000)

    def _quote(self, symbol: str, at: int) -> Quote:
        price = self._prices[symbol]
        bid, ask = around(price, DEFAULT_SPREAD_PCT)
        return Quote(symbol, at, bid, ask, price)

    def published(self, batch: Batch) -> None:
        """Take the next step once this one is out."""
        self._index = batch.index + len(batch.quotes)
        self._prices = {
            symbol: step(self._spec, symbol, self._step, price) for symbol, price in self._prices.items()
        }
        self._step += 1
        if self._clock.monotonic_ms() - self._saved_at >= SAVE_EVERY_MS:
            self._save()

    def _save(self) -> None:
        prices = {symbol: canonical(price) for symbol, price in self._prices.items()}
        self._record.save({"identity": self._identity, "step": self._step, "prices": prices})
        self._saved_at = self._clock.monotonic_ms()

    async def close(self) -> None:
        if self._step:
            self._save()
        self._record.close()

    def details(self) -> dict[str, str]:
        return {"state": "playing", "step": str(self._step)}

    def warnings(self) -> list[str]:
        return [self._record.trouble] if self._record.trouble else []
