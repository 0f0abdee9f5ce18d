"""Follows positions, prices and predictions, and makes an outcome of each position that has closed. Everything is bounded.

A path begins at the position's last entry fill. Ticks that came before the position was heard of are taken from the last ones that
are remembered, after a start those that the bus keeps; where they do not reach back, the outcome says for how long (`hole_ms`).
A position that closed while nobody listened is known by its trade alone.
"""

import logging
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from holdfast.contracts.exit_messages import Prediction
from holdfast.contracts.messages import LedgerUpdated, Trade
from holdfast.contracts.outcomes import SeenPrediction, TradeOutcome
from holdfast.contracts.rows import OrderRow, PositionRow
from holdfast.domain.instruments import canonical_or
from holdfast.domain.market import Markets, Quote
from holdfast.domain.predictions import Predictions
from holdfast.domain.thresholds import named_by
from services.learner.named import Named
from services.learner.path import Path
from services.learner.surroundings import Surroundings
from services.learner.track import Track, as_entered, entered, row_of

log = logging.getLogger("holdfast.learner")

MOST_WATCHED = 2_000
"""Positions that are watched at once; of more, the outcome has no path."""
REMEMBERED_TICKS = 20_000
MOST_SPOKEN = 200
"""Predictions that are remembered of a symbol."""
ORPHAN_MS = 5_000
"""How long a trade waits for its position to be heard of, before it is taken as it is."""
GONE_MS = 60_000
"""How long a position that the ledger no longer shows waits for its trade."""
FRESH_MS = 5_000
"""A prediction whose entry is older says nothing of the market time at which it came."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What of the settings counts here."""

    path_points: int = 200
    watch_after_ms: int = 14_400_000
    feed_patience_ms: int = 600_000


class Collector:
    """See the module. *markets*: which ticks count, and what time it is in them."""

    def __init__(self, markets: Markets, limits: Limits, named: Named) -> None:
        self.markets, self._limits, self._named_in = markets, limits, named
        self.tracks: dict[str, Track] = {}
        self._of_symbol: dict[str, dict[str, None]] = {}
        self._recent: deque[tuple[str, Quote]] = deque(maxlen=REMEMBERED_TICKS)
        self._surroundings: dict[str, Surroundings] = {}
        self._predictions = Predictions()
        self._spoken: dict[str, deque[SeenPrediction]] = {}
        self._orphans: dict[str, tuple[Trade, int]] = {}
        self._named: dict[str, tuple[str, ...]] = {}
        """Intent id of an entry order -> the thresholds that it named."""

    # -- prices and predictions -------------------------------------------------------------------------------------

    def tick(self, symbol: str, quote: Quote, steady_ms: int) -> None:
        """A quote that counts."""
        self._recent.append((symbol, quote))
        self._surroundings.setdefault(symbol, Surroundings()).take(quote)
        for position_id in self._of_symbol.get(symbol, ()):
            self.tracks[position_id].take(quote, steady_ms)

    def predict(self, one: Prediction, entry_ms: int, wall_ms: int, steady_ms: int) -> None:
        """A prediction as it came at *entry_ms*; those that the exit rules would not use are not kept."""
        symbol = canonical_or(one.symbol)
        if self._predictions.hear(one, symbol, entry_ms) is not None:
            return
        now = self.markets.now(symbol, steady_ms)
        came = now if now is not None and wall_ms - entry_ms <= FRESH_MS else entry_ms
        seen = SeenPrediction(
            at=came, expires_at=came + one.expires_at - entry_ms, model=one.model, direction=one.direction, confidence=one.confidence
        )  # fmt: skip
        self._spoken.setdefault(symbol, deque(maxlen=MOST_SPOKEN)).append(seen)
        for position_id in self._of_symbol.get(symbol, ()):
            self.tracks[position_id].see(seen)

    # -- positions ----------------------------------------------------------------------------------------------------

    def rows(self, rows: Iterable[PositionRow], orders: Iterable[OrderRow], steady_ms: int) -> None:
        """Everything that is open, after a snapshot."""
        self._note_orders(orders)
        still_open = set()
        for row in rows:
            still_open.add(row.position_id)
            self._row(row if row.position_id in self.tracks else as_entered(row), steady_ms)
        for position_id, track in self.tracks.items():
            if track.trade is None and position_id not in still_open:
                track.gone_ms = track.gone_ms or steady_ms

    def update(self, update: LedgerUpdated, steady_ms: int) -> None:
        """What one message changed."""
        self._note_orders(update.orders)
        for row in update.positions:
            self._row(row, steady_ms)

    def _note_orders(self, orders: Iterable[OrderRow]) -> None:
        for order in orders:
            if order.role == "entry":
                self._named[order.intent_id] = tuple(sorted(named_by(order)))
        while len(self._named) > MOST_WATCHED:
            del self._named[next(iter(self._named))]

    def _named_of(self, row: PositionRow) -> tuple[str, ...]:
        named = self._named.get(row.intent_id or "")
        return self._named_in(row) if named is None else named

    def _row(self, row: PositionRow, steady_ms: int) -> None:
        if not row.is_open:
            return
        track = self.tracks.get(row.position_id)
        if track is None:
            if len(self.tracks) < MOST_WATCHED:
                self._begin(row, steady_ms)
        elif entered(row) > entered(track.row):
            self._begin(row, steady_ms)  # an add: thresholds and levels are others from here on
        else:
            track.heard_ms = steady_ms
            track.signal_at = row.signal_at or track.signal_at

    def _begin(self, row: PositionRow, steady_ms: int) -> None:
        track = Track(row, Path(self._limits.path_points), steady_ms, named=self._named_of(row))
        track.signal_at = row.signal_at
        around = self._surroundings.get(row.symbol)
        if around is not None:
            track.at_entry = around.now()
        earliest: int | None = None
        for symbol, quote in self._recent:
            if symbol == row.symbol:
                earliest = quote.at if earliest is None else min(earliest, quote.at)
                track.take(quote, steady_ms)
        if earliest is not None:
            track.hole_ms = max(0, earliest - row.changed_at)
        for seen in self._spoken.get(row.symbol, ()):
            track.see(seen)
        self.tracks[row.position_id] = track
        self._of_symbol.setdefault(row.symbol, {})[row.position_id] = None
        orphan = self._orphans.pop(row.position_id, None)
        if orphan is not None:
            self._close(track, orphan[0])

    def trade(self, trade: Trade, steady_ms: int) -> None:
        """A position has closed."""
        track = self.tracks.get(trade.position_id)
        if track is None:
            self._orphans.setdefault(trade.position_id, (trade, steady_ms))
            if len(self._orphans) > MOST_WATCHED:
                del self._orphans[next(iter(self._orphans))]
        elif track.trade is None:
            self._close(track, trade)

    def _close(self, track: Track, trade: Trade) -> None:
        around = self._surroundings.get(trade.symbol)
        conditions = track.at_exit if around is None else around.now()
        track.close(trade, conditions, self._limits.watch_after_ms)

    def adopt_orphans(self, is_known: Callable[[Trade], bool], steady_ms: int) -> None:
        """Trades whose positions were never heard of: what is still known of their market is theirs. *is_known*: nothing need be said."""
        for position_id, (trade, since) in list(self._orphans.items()):
            if is_known(trade):
                del self._orphans[position_id]
            elif steady_ms - since >= ORPHAN_MS and len(self.tracks) < MOST_WATCHED:
                self._begin(row_of(trade), steady_ms)

    def forget(self) -> None:
        """Another store: nothing that is known here is of it."""
        self.tracks.clear()
        self._of_symbol.clear()
        self._orphans.clear()

    # -- outcomes -------------------------------------------------------------------------------------------------------

    def done(self, wall_ms: int, steady_ms: int) -> Iterator[TradeOutcome]:
        """Outcomes of what need not be watched any longer; it is let go."""
        for position_id, track in list(self.tracks.items()):
            trade = track.trade
            if trade is None:
                if track.gone_ms is not None and steady_ms - track.gone_ms >= GONE_MS:
                    log.warning("position %s closed unheard of, and its trade is not on the bus", position_id)
                    self.drop(position_id)
                continue
            now = self.markets.now(trade.symbol, steady_ms)
            is_over = now is not None and now >= track.until
            if is_over or steady_ms - track.heard_ms >= self._limits.feed_patience_ms:
                self.drop(position_id)
                yield track.outcome(trade, wall_ms)

    def drop(self, position_id: str) -> None:
        """Watch it no longer."""
        track = self.tracks.pop(position_id, None)
        if track is not None:
            self._of_symbol[track.row.symbol].pop(position_id, None)

    @property
    def watching(self) -> int:
        """Positions that are watched, open ones and closed ones."""
        return len(self.tracks)
