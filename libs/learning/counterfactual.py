"""What other thresholds would have made of a closed trade: its path, through the exit rules that run live.

    result = outcome_under(tape, values)      # values: threshold -> amount, see holdfast.domain.thresholds

The rules are `domain.trailing.advance` and `domain.exits.evaluate` themselves; there is no second implementation. What makes it
fast is that they are not asked about prices at which nothing can happen: the levels and times that a position waits for come from
`domain.watching`, as in the exit scanner's index, and are looked for in the path with numpy. That search may only err by stopping
too often: it compares floats with a margin, and what it stops at is decided in Decimal.

Which price comes next is the `tape`'s convention. A level on the way of a continuous movement is filled at the level, one that
a jump has gone beyond at the price it jumped to; of several on the way the nearest comes first. `slippage_pct` worsens every fill.
What a person or a strategy commanded (`tape.COMMANDED`) ends the trade as it did. A path that ends first is closed at its last
price, and the result says `censored`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

import numpy as np
import numpy.typing as npt

from holdfast.contracts.codes import ExitReason
from holdfast.contracts.exit_messages import Prediction
from holdfast.contracts.money import ZERO, add, divide, mul, sub
from holdfast.contracts.outcomes import TradeOutcome
from holdfast.contracts.rows import PositionRow
from holdfast.domain.conditions import AtOnce, Deadline, Level, Seen, is_long, moved, net_pct
from holdfast.domain.exits import evaluate
from holdfast.domain.ladder import entered, is_ladder, next_price
from holdfast.domain.market import Quote
from holdfast.domain.thresholds import Values, in_row
from holdfast.domain.trailing import advance, needs_atr, trail_of
from holdfast.domain.watching import watches
from learning.tape import COMMANDED, Shown, Tape, tape_of

_MARGIN = 1e-9
"""Floats are compared with this much to spare, as a share of the price: far more than they can be wrong by."""
_BEYOND = Decimal("1e-8")
"""How far beyond a level a price is shown where the level itself is not enough."""
_NEVER = 10**15
_ENDLESS = float("inf")


@dataclass(frozen=True, slots=True)
class Result:
    """How a trade would have ended."""

    profit_ratio: float
    """Net of both fees, as a share of the entry value."""
    reason: ExitReason
    closed_at: int
    """Market time, ms."""
    price: Decimal
    """Of the last part, slippage included."""
    censored: bool = False
    """The path ended before any rule fired; closed at its last price."""


def outcome_under(
    trade: TradeOutcome | Tape, values: Values | None = None, *, slippage_pct: Decimal = ZERO
) -> Result:
    """The trade's result on *values*; None: on the thresholds that it had.

    Thresholds that are off in the trade, or that its intent named, stay as they are. *slippage_pct*: every exit gets a price that
    is worse by so many percent.
    """
    tape = trade if isinstance(trade, Tape) else tape_of(trade)
    outcome = tape.outcome
    row = outcome.row if values is None else in_row(outcome.row, values, named=outcome.named)
    return _Walk(tape, row, slippage_pct).result()


@dataclass(slots=True)
class _Waits:
    """Between `low` and `high` (ahead), before `until`, nothing can happen to one version of the position."""

    low: float = -_ENDLESS
    high: float = _ENDLESS
    until: int = _NEVER
    levels: Sequence[Level] = ()
    trail: tuple[float, float] | None = None
    """The stop behind the best price: best x first - second."""


class _Walk:
    """One position on its way along the tape."""

    def __init__(self, tape: Tape, row: PositionRow, slippage_pct: Decimal) -> None:
        self._tape, self._row, self._slippage = tape, row, slippage_pct
        self._long = is_long(row)
        self._views: tuple[Prediction, ...] = ()
        self._atr = tape.outcome.at_entry.atr
        self._taken = ZERO
        """Sum of net percent x quantity of the parts that are closed."""
        self._next_look = 0
        self._armed: tuple[PositionRow, _Waits] | None = None
        """What that row waits for; forgotten when the rules are asked."""

    def result(self) -> Result:
        """Where it ends, or closed at the end of what is known."""
        tape = self._tape
        index = self._first()
        while index < len(tape.shown):
            self._look(index)
            done = self._leg(tape.shown[index - 1].price if index else None, tape.shown[index])
            if done is not None:
                return done
            index = self._skip(index)
        outcome = tape.outcome
        if outcome.exit_reason in COMMANDED or not tape.shown:
            known = outcome.exit_reason in COMMANDED
            return self._closed(
                outcome.exit_reason, outcome.closed_at, outcome.exit_price, censored=not known
            )
        last = tape.shown[-1]
        return self._closed(ExitReason.FORCE_EXIT, last.at, self._slipped(last.price), censored=True)

    def _first(self) -> int:
        """Where the first thing may happen; a trail has to see the first price."""
        if not self._tape.shown:
            return 0
        self._look(0)
        following = self._row.terms and (needs_atr(self._row) or trail_of(self._row) is not None)
        return 0 if following else self._skip(-1)

    def _look(self, index: int) -> None:
        """Predictions and the soft close as they stand from here on."""
        tape = self._tape
        if self._next_look < len(tape.looks) and tape.looks[self._next_look] == index:
            self._views, self._armed = tape.views[self._next_look], None
            self._next_look += 1
        at = tape.signal_at
        if at is not None and self._row.signal_at is None and tape.shown[index].at >= at:
            self._row = self._row.evolve(signal_at=at)

    # -- one price after the other ------------------------------------------------------------------------------------

    def _leg(self, start: Decimal | None, shown: Shown) -> Result | None:
        """From *start* to the price shown: level by level where it moved, at once where it jumped."""
        here = start
        while shown.moved and here is not None and here != shown.price:
            level = self._nearest(here, shown)
            if level is None:
                break
            here, filled = level
            done = self._ask(here, filled, shown.at)
            if done is not None:
                return done
        return self._ask(shown.price, shown.price, shown.at)

    def _nearest(self, start: Decimal, shown: Shown) -> tuple[Decimal, Decimal] | None:
        """The first level strictly between the two prices: what is shown there, and what is filled; None: nothing on the way."""
        up = shown.price > start
        found: tuple[Decimal, Decimal] | None = None
        for level in self._waits(start, shown.at).levels:
            price = level.price
            if level.beyond:
                price = sub(price, _BEYOND) if level.falling else add(price, _BEYOND)
            if level.falling == up or not (start < price < shown.price or shown.price < price < start):
                continue
            if found is None or (price < found[0]) == up:
                found = price, level.price
        return found

    def _ask(self, price: Decimal, filled: Decimal, at: int) -> Result | None:
        """Show the rules a price; what they order is filled at once. The trade's end, if this is it."""
        self._armed = None
        self._row = advance(self._row, price, at, self._atr)
        for _ in range(len(self._row.take_profit_spec) + 1):  # more than a ladder has rungs
            decision = evaluate(self._row, Quote(price, price, at), at, self._views)
            if decision.fire is None:
                return None
            if decision.quantity is None:
                return self._closed(decision.fire, at, self._slipped(filled))
            self._take(decision.quantity, self._slipped(filled))
        return None

    def _take(self, quantity: Decimal, price: Decimal) -> None:
        """A rung is filled."""
        row = self._row
        self._taken = add(self._taken, mul(net_pct(row, price), quantity))
        row = row.evolve(quantity=sub(row.quantity, quantity), laddered=add(row.laddered, quantity))
        self._row = row.evolve(take_profit=next_price(row)) if is_ladder(row.take_profit_spec) else row

    def _slipped(self, price: Decimal) -> Decimal:
        return moved(price, self._slippage, up=not self._long) if self._slippage else price

    def _closed(self, reason: ExitReason, at: int, price: Decimal, *, censored: bool = False) -> Result:
        row = self._row
        net = net_pct(row, price)
        if self._taken:
            net = divide(add(self._taken, mul(net, row.quantity)), entered(row))
        return Result(float(net) / 100, reason, at, price, censored)

    # -- what need not be asked ---------------------------------------------------------------------------------------

    def _waits(self, price: Decimal | None, at: int) -> _Waits:
        """What the position waits for, after it was shown *price* (None: nothing yet) or anything since that it did not wait for."""
        if self._armed is not None and self._armed[0] is self._row:
            return self._armed[1]
        self._armed = self._row, self._made(price, at)
        return self._armed[1]

    def _made(self, price: Decimal | None, at: int) -> _Waits:
        row, long = self._row, self._long
        waits, levels = _Waits(), list[Level]()
        quote = None if price is None else Quote(price, price, at)
        for one in watches(row, Seen(quote, at, self._views)):
            if isinstance(one, Level):
                levels.append(one)
                if one.falling == long:
                    waits.low = max(waits.low, _ahead(one.price, long=long))
                else:
                    waits.high = min(waits.high, _ahead(one.price, long=long))
            elif isinstance(one, Deadline):
                waits.until = min(waits.until, one.at)
            elif isinstance(one, AtOnce):
                waits.until = at
        waits.levels = levels
        trail = trail_of(row)
        if needs_atr(row):
            waits.until = at
        elif trail is not None and trail.relative:
            share = float(trail.distance) / 100
            waits.trail = (1 - share if long else 1 + share), 0.0
        elif trail is not None:
            waits.trail = 1.0, float(trail.distance)
        return waits

    def _skip(self, index: int) -> int:
        """The next index at which something may happen to the position; the trail has counted what lies between."""
        tape = self._tape
        if index < 0:
            waits = self._waits(None, self._row.opened_at)
        else:
            waits = self._waits(tape.shown[index].price, tape.shown[index].at)
        begin = index + 1
        end = tape.looks[self._next_look] if self._next_look < len(tape.looks) else len(tape.shown)
        if waits.until < _NEVER:
            end = min(end, max(begin, int(np.searchsorted(tape.at, waits.until))))
        if begin >= end:
            return begin
        prices = tape.ahead[begin:end]
        spare = abs(tape.ahead[begin]) * _MARGIN
        low: float | npt.NDArray[np.float64] = waits.low + spare
        best = None
        if waits.trail is not None:
            high_water = self._row.high_water
            start = tape.ahead[index] if high_water is None else _ahead(high_water, long=self._long)
            best = np.maximum.accumulate(np.concatenate(([start], prices)))
            low = np.maximum(low, best[:-1] * waits.trail[0] - waits.trail[1] + spare)
        reached = (prices <= low) | (prices >= waits.high - spare)
        hit = int(reached.argmax())
        found = begin + hit if reached[hit] else end
        if best is not None and found > begin:
            top = begin + int(prices[: found - begin].argmax())
            self._row = advance(self._row, tape.shown[top].price, tape.shown[top].at, self._atr)
        return found


def _ahead(price: Decimal, *, long: bool) -> float:
    """A price as a float, turned so that up is good for the position."""
    return float(price) if long else -float(price)
