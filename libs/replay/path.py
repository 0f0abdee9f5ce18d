"""What a candle means for an open position: which price comes next, by the conventions of `--candles`.

A candle says where the price was, not in which order. So an order is agreed on, the same for every candle, and each step is
a price that the position's rules are then shown; whether they fire is theirs to say.

| step | shown | where it is filled |
|---|---|---|
| open | the open, when a deadline has passed, a soft signal stands, or a ROI step that begins here is exceeded | at the open |
| stop | the stop as it stood, unless earlier candles have moved it, when the candle reaches it | at the stop; at the open when the candle opens beyond it |
| gain | ROI or take-profit, when the candle reaches it | at its price, clamped into the candle |
| trail | the candle's best price, which moves the stop; then the stop, when the candle's worst price reaches it | at the stop; at the open when the candle opens beyond it |

`View` turns a candle so that both sides read alike: *ahead* is up for a long position, down for a short one.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal

from holdfast.contracts.codes import PositionSide, StopBy
from holdfast.contracts.money import add, sub
from holdfast.contracts.rows import PositionRow
from holdfast.domain.candles import Candle
from holdfast.domain.conditions import AtOnce, Deadline, Level, Roi, Seen, Stagnation, is_long
from holdfast.domain.exits import RULES
from holdfast.domain.trailing import activation, advance, break_even, needs_atr, trail_of

_NEXT = Decimal("1e-8")
"""How far beyond a level a price is shown where the level itself is not enough."""
NEVER = 10**15


@dataclass(frozen=True, slots=True)
class Step:
    """A price to show to the rules, and the price at which what they then order is filled."""

    shown: Decimal
    filled: Decimal


@dataclass(frozen=True, slots=True)
class Waits:
    """What one version of a position waits for. Levels: nearest first."""

    against: tuple[Level, ...] = ()
    favour: tuple[Level, ...] = ()
    roi: Roi | None = None
    due_at: int = NEVER
    """From this market time on, ms, something may fire at any price."""


def waits_of(position: PositionRow) -> Waits:
    """From the position's rules."""
    long = is_long(position)
    against: list[Level] = []
    favour: list[Level] = []
    roi: Roi | None = None
    due = [NEVER]
    for rule in RULES:
        condition = rule.trigger(position)
        if isinstance(condition, Level):
            (against if condition.falling == long else favour).append(condition)
        elif isinstance(condition, Roi):
            roi = condition
        elif isinstance(condition, Deadline | Stagnation):
            due.append(condition.at)
        elif isinstance(condition, AtOnce):
            due.append(0)
    against.sort(key=lambda level: level.price, reverse=long)
    favour.sort(key=lambda level: level.price, reverse=not long)
    return Waits(tuple(against), tuple(favour), roi, min(due))


@dataclass(frozen=True, slots=True)
class Quiet:
    """Prices and times that change nothing for one version of a position: between `low` and `high`, before `until`."""

    low: Decimal
    high: Decimal
    until: int

    def covers(self, candle: Candle) -> bool:
        return self.low < candle.low and candle.high < self.high and candle.at < self.until


NOTHING_HELD = Quiet(Decimal(-1), Decimal("1e30"), NEVER)


def quiet_of(position: PositionRow, waits: Waits, now: int) -> Quiet | None:
    """Within what nothing can happen to the position after market time *now*; None where that cannot be told."""
    if needs_atr(position):
        return None
    levels = [level.price for level in (*waits.against, *waits.favour)]
    levels += [level.price for level in (activation(position), break_even(position)) if level is not None]
    until = waits.due_at
    if waits.roi is not None:
        for one in waits.roi.waits_for(position, Seen(now_ms=now)):
            if isinstance(one, Deadline):
                until = min(until, one.at)
            elif isinstance(one, Level):
                levels.append(one.price)
    if trail_of(position) is not None:
        levels.append(position.entry_price if position.high_water is None else position.high_water)
    long = is_long(position)
    nearest, other = (max, min) if long else (min, max)
    stop = nearest(level.price for level in waits.against)
    ahead = [price for price in levels if (price > stop if long else price < stop)]
    best = other(ahead, default=stop)
    return Quiet(stop, best, until) if long else Quiet(best, stop, until)


def was_moved(position: PositionRow) -> bool:
    """Whether the stop stands where a trail or break-even has put it."""
    return position.stop_by is not StopBy.SET


class View:
    """A candle as a position of *side* sees it: `best` and `worst` are its extremes."""

    __slots__ = ("_long", "best", "candle", "worst")

    def __init__(self, candle: Candle, side: PositionSide) -> None:
        self.candle, self._long = candle, side is PositionSide.LONG
        self.best, self.worst = (candle.high, candle.low) if self._long else (candle.low, candle.high)

    def is_ahead(self, price: Decimal, of: Decimal) -> bool:
        """Whether *price* is at least as good for the position as *of*."""
        return price >= of if self._long else price <= of

    def stop(self, level: Level) -> Step | None:
        """A level against the position: at the open when the candle opens beyond it; None when it stays out of reach."""
        opened = self.candle.open
        if self._reaches(level, opened, against=True):
            return Step(opened, opened)
        return self._at(level, against=True) if self._reaches(level, self.worst, against=True) else None

    def gain(self, level: Level) -> Step | None:
        """A level for the position, at a price inside the candle; None when it stays out of reach."""
        if not self._reaches(level, self.best, against=False):
            return None
        if self._reaches(level, self.worst, against=False):
            return Step(self.worst, self.worst)
        return self._at(level, against=False)

    def _reaches(self, level: Level, price: Decimal, *, against: bool) -> bool:
        if price == level.price:
            return not level.beyond
        return self.is_ahead(level.price, price) if against else self.is_ahead(price, level.price)

    def _at(self, level: Level, *, against: bool) -> Step:
        """Filled at the level; shown a trifle beyond it where it takes that."""
        shown = level.price
        if level.beyond:
            shown = (sub if against == self._long else add)(shown, _NEXT)
            shown = max(self.candle.low, min(self.candle.high, shown))
        return Step(shown, level.price)


def at_open(position: PositionRow, waits: Waits, view: View, before: int) -> bool:
    """Whether the rules are to be shown the open. *before*: market time of the candle before, ms."""
    now = view.candle.at
    if waits.due_at <= now:
        return True
    if waits.roi is None:
        return False
    level = waits.roi.level(position, Seen(now_ms=now))
    fresh = level is not None and level != waits.roi.level(
        position, Seen(now_ms=max(before, position.opened_at))
    )
    return fresh and level is not None and view.is_ahead(view.candle.open, level.price)


def stops(position: PositionRow, waits: Waits, view: View) -> Iterator[Step]:
    """Stop, guard and emergency loss as they stood, nearest first; none behind a stop that earlier candles have moved."""
    for level in waits.against:
        if was_moved(position) and level.price == position.stop_loss:
            return
        step = view.stop(level)
        if step is None:
            return
        yield step


def gains(position: PositionRow, waits: Waits, view: View) -> Iterator[Step]:
    """ROI and take-profits that the candle reaches, nearest first."""
    levels = list(waits.favour)
    if waits.roi is not None:
        level = waits.roi.level(position, Seen(now_ms=view.candle.at))
        if level is not None:
            levels.append(level)
            levels.sort(key=lambda one: one.price, reverse=position.side is PositionSide.SHORT)
    for level in levels:
        step = view.gain(level)
        if step is not None:
            yield step


def moved_stop(position: PositionRow, view: View) -> Step | None:
    """The stop that a trail or break-even has put where it is, at its price; None when the candle's worst stays ahead of it."""
    if not was_moved(position) or not view.is_ahead(position.stop_loss, view.worst):
        return None
    return Step(position.stop_loss, position.stop_loss)


def opens_beyond(position: PositionRow, view: View) -> bool:
    """Whether the candle opens at or beyond a stop that earlier candles have moved."""
    return was_moved(position) and view.is_ahead(position.stop_loss, view.candle.open)


def arming(position: PositionRow, view: View) -> list[Decimal]:
    """In the candle of the entry: the lowest prices that arm a trail and break-even, where the candle reaches them."""
    levels = [level.price for level in (activation(position), break_even(position)) if level is not None]
    reached = [price for price in levels if view.is_ahead(view.best, price)]
    return sorted(reached, reverse=position.side is PositionSide.SHORT)


def moves(position: PositionRow, price: Decimal, at: int, atr: Decimal | None) -> bool:
    """Whether the stop, its trail, its best price or the ATR that it counts in changes when the price is *price*."""
    if not position.terms:
        return False
    after = advance(position, price, at, atr)
    return any(getattr(after, name) != getattr(position, name) for name in _FOLLOWS)


_FOLLOWS = ("stop_loss", "trail_active", "high_water", "atr")
