"""What the market says: the last good quote of every symbol, and the market's own clock.

Two clocks are never mixed. *Market* time is the time in the ticks of a feed. Within a run it never goes back: an older
tick is ignored. A new run starts anew. When ticks stop, the clock of a live feed goes on as time passes; the clock of a
replay stands still, for only ticks move it. So a position held "for four hours" means four hours of its market.

A bad print fires nothing. A quote that is not positive, is crossed (bid > ask) or comes from the future of a live feed is
never used. A jump beyond the limit is put aside until a second tick near it says the same; then it counts. The very
first quote of a symbol has nothing to be compared with, and counts.

Pure: the caller says what time it is. `steady_ms` is any clock in ms that never goes back; only its differences count.
"""

from dataclasses import dataclass
from decimal import Decimal
from typing import NamedTuple

from holdfast.contracts.messages import Tick
from holdfast.contracts.money import HUNDRED, ZERO

FUTURE_MS = 60_000
"""A tick of a live feed that is further ahead of the wall clock than this has a wrong time, ms."""


class Quote(NamedTuple):
    """A price that counts: what a long position gets (bid), what a short one pays (ask), and when (market time, ms)."""

    bid: Decimal
    ask: Decimal
    at: int
    last: Decimal | None = None
    mark: Decimal | None = None
    """The last trade and the venue's mark price, where a feed tells them."""


@dataclass(slots=True)
class FeedClock:
    """Market time of one feed's run."""

    run: str
    live: bool
    at: int
    seen_ms: int
    """Steady time at which `at` was seen."""

    def now(self, steady_ms: int) -> int:
        """Market time, ms. A live feed's goes on by itself; a replay's waits for the next tick."""
        return self.at + max(0, steady_ms - self.seen_ms) if self.live else self.at

    def advance(self, at: int, seen_ms: int) -> None:
        """Take in a tick of time *at*. The clock never goes back."""
        now = self.now(seen_ms)
        if at >= now:
            self.at, self.seen_ms = at, max(self.seen_ms, seen_ms)
        elif seen_ms > self.seen_ms:
            self.at, self.seen_ms = now, seen_ms


@dataclass(slots=True)
class SymbolMarket:
    """One symbol: its last good quote, the feed it came from, and a jump that waits to be confirmed."""

    feed: str
    run: str
    quote: Quote
    seen_ms: int
    suspect: Tick | None = None


class Markets:
    """All symbols. `on_tick` takes a tick in; `quote`, `now` and `age_ms` answer."""

    def __init__(self, bad_print_pct: Decimal) -> None:
        """*bad_print_pct*: a larger change between two quotes, in percent, has to be confirmed."""
        self._limit = bad_print_pct / HUNDRED
        self._symbols: dict[str, SymbolMarket] = {}
        self._clocks: dict[str, FeedClock] = {}
        self.bad_prints = 0
        """Ticks that were not used when they came: bad prints, confirmed later or not."""

    def on_tick(self, tick: Tick, wall_ms: int, steady_ms: int) -> Quote | None:
        """The quote, if *tick* counts; None for an old tick and for a bad print."""
        market = self._symbols.get(tick.symbol)
        same_run = market is not None and market.run == tick.run and market.feed == tick.feed
        if market is not None and same_run and tick.at < market.quote.at:
            return None
        if not _is_sound(tick, wall_ms):
            self.bad_prints += 1
            return None
        if market is not None and not self._is_near(tick, market.quote.bid, market.quote.ask):
            suspect = market.suspect
            if suspect is None or suspect.id == tick.id or not self._is_near(tick, suspect.bid, suspect.ask):
                market.suspect = tick
                self.bad_prints += 1
                return None
        quote = Quote(tick.bid, tick.ask, tick.at, tick.last if tick.last > 0 else None, tick.mark)
        if market is None:
            self._symbols[tick.symbol] = SymbolMarket(tick.feed, tick.run, quote, steady_ms)
        else:
            market.feed, market.run, market.quote = tick.feed, tick.run, quote
            market.seen_ms, market.suspect = steady_ms, None
        self._move_clock(tick, steady_ms)
        return quote

    def _move_clock(self, tick: Tick, steady_ms: int) -> None:
        clock = self._clocks.get(tick.feed)
        if clock is None or clock.run != tick.run:
            self._clocks[tick.feed] = FeedClock(tick.run, tick.live, tick.at, steady_ms)
        else:
            clock.advance(tick.at, steady_ms)

    def _is_near(self, tick: Tick, bid: Decimal, ask: Decimal) -> bool:
        """Whether both prices of *tick* are within the limit of *bid* and *ask*; exactly at it is within."""
        return abs(tick.bid - bid) <= self._limit * bid and abs(tick.ask - ask) <= self._limit * ask

    def quote(self, symbol: str) -> Quote | None:
        """The last good quote; None while there is none."""
        market = self._symbols.get(symbol)
        return market.quote if market is not None else None

    def now(self, symbol: str, steady_ms: int) -> int | None:
        """Market time of the symbol's feed, ms; None while no tick of it has come."""
        market = self._symbols.get(symbol)
        if market is None:
            return None
        clock = self._clocks[market.feed]
        return clock.now(steady_ms) if clock.run == market.run else market.quote.at

    def age_ms(self, symbol: str, steady_ms: int) -> int | None:
        """How long ago the last good quote came, in ms of the steady clock; None while there is none."""
        market = self._symbols.get(symbol)
        return max(0, steady_ms - market.seen_ms) if market is not None else None


def _is_sound(tick: Tick, wall_ms: int) -> bool:
    """Whether the quote can be true at all: positive, not crossed, not from the future."""
    return ZERO < tick.bid <= tick.ask and not (tick.live and tick.at > wall_ms + FUTURE_MS)
