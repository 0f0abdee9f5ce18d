"""Stops that follow the price: where each stands now, and what of that the ledger is told, and when.

The scanner relies on a move at once; the ledger hears of it through `exit.adjust`:
at most once a second per position, and at most `MOST_AT_ONCE` positions in each look (four a second), whose turn it is; and always
before the exit that relies on it. So with up to 200 positions trailing a market that moves, the ledger is at most a second or so
behind; with more, their number / 200 seconds. After a restart the prices since a position's mark are counted again from the ticks that the bus keeps; where those
reach back to the mark, the stop is the same, to the tick, and so is the exit.
"""

import logging
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from decimal import Decimal

from holdfast.contracts.exit_messages import ExitAdjust
from holdfast.contracts.rows import PositionRow
from holdfast.domain.atr import Atr
from holdfast.domain.conditions import closing_price
from holdfast.domain.market import Quote
from holdfast.domain.policy import apply_adjust
from holdfast.domain.trailing import adjustment, advance, break_even, marked, needs_atr, stepped, trail_of
from holdfast.domain.triggers import Triggers
from holdfast.domain.view import LedgerView

log = logging.getLogger("holdfast.exit_scanner")

KEEP = 20_000
"""Quotes kept per symbol, for positions that are armed later than they were opened."""
MOST_AT_ONCE = 50
LOOKED_AT_ONCE = 1_000
"""Positions looked at in one turn for a move that the ledger has not heard of."""
EVERY_MS = 1_000
AGAIN_MS = 5_000
MOST_STEPS = 2_000_000
"""Positions x quotes that a start counts again one by one; beyond it only the best price is made up for."""
BY = "exit_scanner"


class Stops:
    """See the module."""

    def __init__(self, view: LedgerView, triggers: Triggers) -> None:
        self._view, self._triggers = view, triggers
        self.atr_of: Callable[[str], Atr] = lambda _: Atr()
        """Makes the average true range of a symbol, which ticks then feed; a replay of candles gives one that candles feed."""
        self._recent: dict[str, deque[Quote]] = {}
        self._atr: dict[str, Atr] = {}
        self._without_atr: dict[str, set[str]] = {}
        self._ahead: dict[str, PositionRow] = {}
        """Rows as they are here, where the ledger's is behind (trails apart: those stand in the index)."""
        self._told: dict[str, int] = {}
        self._said: dict[str, ExitAdjust] = {}
        self._queue: deque[str] = deque()
        self._queued: set[str] = set()
        self._steps = 0

    # -- what is known -------------------------------------------------------------------------------------------------

    def row(self, position_id: str) -> PositionRow | None:
        """The open position with its stop where it stands now."""
        row = self._ahead.get(position_id) or self._view.positions.get(position_id)
        if row is None or not row.terms:
            return row
        best = self._triggers.best(position_id)
        recent = self._recent.get(row.symbol)
        if best is None or not recent or best == row.high_water:
            return row
        return marked(row, best, recent[-1].at)

    def atr(self, symbol: str) -> Decimal | None:
        found = self._atr.get(symbol)
        return None if found is None else found.value

    def count(self, symbol: str, quote: Quote) -> list[str]:
        """Take a quote in. Positions that have just come to know their ATR: to be armed again."""
        recent = self._recent.get(symbol)
        if recent is None:
            recent = self._recent[symbol] = deque(maxlen=KEEP)
            self._atr[symbol] = self.atr_of(symbol)
        recent.append(quote)
        self._atr[symbol].tick(quote.bid if quote.last is None else quote.last, quote.at)
        waiting = self._without_atr.get(symbol)
        if not waiting or self._atr[symbol].value is None:
            return []
        del self._without_atr[symbol]
        return [
            key for key in waiting if (row := self.row(key)) is not None and self._with_atr(row) is not row
        ]

    def _with_atr(self, row: PositionRow) -> PositionRow:
        value = self.atr(row.symbol)
        if value is None or not needs_atr(row):
            return row
        row = self._ahead[row.position_id] = row.evolve(atr=value)
        self._enqueue(row.position_id)
        return row

    # -- what moves it -------------------------------------------------------------------------------------------------

    def advanced(self, row: PositionRow, quote: Quote) -> PositionRow:
        """*row* after *quote*: activated, at break-even. Kept where it differs."""
        if not row.terms or quote.at < row.opened_at:
            return row
        moved = stepped(row, closing_price(row, quote), quote.at, self.atr(row.symbol))
        if moved is not row and (moved.trail_active, moved.stop_by, moved.atr) != (
            row.trail_active,
            row.stop_by,
            row.atr,
        ):
            self._ahead[row.position_id] = moved
            self._enqueue(row.position_id)
        return moved

    def heard(self, row: PositionRow) -> PositionRow:
        """The ledger's row has changed: what we know goes on from it, forward only."""
        if not row.terms:
            return row
        ahead = self.row(row.position_id) or row
        self._ahead.pop(row.position_id, None)
        said = adjustment(row, ahead, row.changed_at, BY)
        followed = row if said is None else apply_adjust(row, said)[0]
        if followed is not row:
            row = self._ahead[row.position_id] = followed.evolve(version=row.version)
        if needs_atr(row):
            row = self._with_atr(row)
            if needs_atr(row):
                self._without_atr.setdefault(row.symbol, set()).add(row.position_id)
        if trail_of(row) is not None or break_even(row) is not None:
            self._enqueue(row.position_id)
        return row

    def catch_up(self, row: PositionRow) -> Iterator[tuple[PositionRow, Quote]]:
        """The quotes that came after the position's mark and before it was armed here, each with the row after it."""
        if not _may_follow(row):
            return
        since = row.opened_at if row.high_water_at is None else row.high_water_at
        for quote in self._after(row.symbol, since):
            self._steps += 1
            moved = advance(row, closing_price(row, quote), quote.at, row.atr)
            if moved is not row:
                row = self._ahead[row.position_id] = moved
                self._enqueue(row.position_id)
            if quote.at > since:  # in the mark's own millisecond nobody knows what came before it
                yield row, quote

    def _after(self, symbol: str, at: int) -> Iterable[Quote]:
        """Quotes from market time *at* on, oldest first."""
        late: list[Quote] = []
        for quote in reversed(self._recent.get(symbol, ())):
            if quote.at < at:
                break
            late.append(quote)
        if self._steps > MOST_STEPS and late:
            return [max(late, key=lambda one: one.bid), min(late, key=lambda one: one.ask), late[0]]
        return reversed(late)

    def begin(self) -> None:
        """A start, or a snapshot: counting anew."""
        self._steps = 0

    def forget(self, position_id: str) -> None:
        self._ahead.pop(position_id, None)
        self._told.pop(position_id, None)
        self._said.pop(position_id, None)

    # -- what the ledger is told ---------------------------------------------------------------------------------------

    def _enqueue(self, position_id: str) -> None:
        if position_id not in self._queued:
            self._queued.add(position_id)
            self._queue.append(position_id)

    def owed(self, position_id: str, wall_ms: int) -> ExitAdjust | None:
        """What the ledger has not heard of this position's stop; what it was told and has not answered is told again in a while."""
        row, now = self._view.positions.get(position_id), self.row(position_id)
        said = None if row is None or now is None else adjustment(row, now, wall_ms, BY)
        if said is None:
            return None
        before = self._said.get(position_id)
        if (
            before is not None
            and wall_ms - before.at < AGAIN_MS
            and said == before.evolve(id=said.id, at=said.at)
        ):
            return None
        self._said[position_id] = said
        return said

    def turn(self, steady_ms: int, wall_ms: int) -> list[ExitAdjust]:
        """What is to be told now, of those whose turn it is."""
        told: list[ExitAdjust] = []
        for _ in range(min(len(self._queue), LOOKED_AT_ONCE)):
            if len(told) >= MOST_AT_ONCE:
                break
            position_id = self._queue.popleft()
            if position_id not in self._view.positions:
                self._queued.discard(position_id)
                continue
            self._queue.append(position_id)
            if steady_ms - self._told.get(position_id, -EVERY_MS) < EVERY_MS:
                continue
            said = self.owed(position_id, wall_ms)
            if said is not None:
                self._told[position_id] = steady_ms
                told.append(said)
        return told


def _may_follow(row: PositionRow) -> bool:
    return "trailing.distance" in row.terms or "breakeven_trigger" in row.terms
