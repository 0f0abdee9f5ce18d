"""`--candles`: candle after candle, the prices that matter are shown to the machine; the conventions are in `path`.

Handlers are called for every price at which something can happen: an entry, an exit signal, a level, a new best price of a
trail. A candle in which nothing can happen to a position is only looked at: three comparisons instead of two handlers, of
which the second reads the same levels. That is what makes a month of minutes a matter of seconds, and it cannot change a
trade: a price that reaches no level fires nothing.

A signal on a candle acts at the next candle's open. Within a candle market time goes on by one millisecond per price, so
that a trail can tell them apart (entries and exit signals happen at its first); trades are noted with the time of their candle.
"""

import heapq
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from decimal import Decimal
from itertools import groupby

from holdfast.contracts.messages import OrderIntent
from holdfast.contracts.rows import PositionRow
from holdfast.contracts.streams import ORDER_INTENT, ORDER_INTENT_EXIT
from holdfast.domain.atr import Atr
from holdfast.domain.candles import Candle
from holdfast.runtime.faults import Terminal
from replay.machine import Machine
from replay.orders import Sizing, close_of, entry_of, forced_close, tick_of
from replay.outcome import Outcome
from replay.path import (
    NOTHING_HELD,
    Quiet,
    Step,
    View,
    Waits,
    arming,
    at_open,
    gains,
    moved_stop,
    moves,
    opens_beyond,
    quiet_of,
    stops,
    waits_of,
    was_moved,
)
from replay.signals import Signal, sort_out
from services.market_feed.recorded import BadRecording, Recording

Steps = Callable[[PositionRow, Waits, View], Iterator[Step]]
_MOST_FILLS = 20
"""Prices at which an exit may find a part of its fill; a paper order needs two."""


class FromCandles(Atr):
    """An average true range that whole candles feed: the few prices that are shown would make it too small."""

    __slots__ = ()

    def tick(self, price: Decimal, at: int) -> None:
        """Prices are parts of candles that come whole."""


class _Symbol:
    """One file as it is played."""

    def __init__(self, recording: Recording, signals: Sequence[Signal]) -> None:
        self.name = recording.file.symbol
        self.recording = recording
        self.signals = deque(signals)
        self.first = True
        self.stands: tuple[object, ...] = ()
        """What of its position `waits` depend on; they are worked out once for each."""
        self.waits = Waits()
        self.quiet: Quiet | None = NOTHING_HELD
        """Candles within it change nothing; None after anything was shown or sent, until it is looked at again."""
        self.atr = FromCandles()
        self.before = 0
        """Market time of the candle before, ms."""

    def candles(self) -> Iterator[tuple[int, bool, Candle, "_Symbol"]]:
        """(time, is it the last, candle, this), oldest first. Raises BadRecording for a price that is none."""
        before: Candle | None = None
        for candle in self.recording.candles():
            if candle.low <= 0:
                path = self.recording.file.path
                raise BadRecording(
                    f"{path}: the candle of {candle.at} has a low of {candle.low}; a price is above zero"
                )
            if before is not None:
                yield before.at, False, before, self
            before = candle
        if before is not None:
            yield before.at, True, before, self


class CandleRun:
    """See the module."""

    def __init__(self, machine: Machine, outcome: Outcome, sizing: Sizing, *, soft: bool) -> None:
        self._atr: dict[str, FromCandles] = {}
        machine.take_atr(self._atr.__getitem__)
        self._machine, self._outcome, self._sizing, self._soft = machine, outcome, sizing, soft
        self._shown = self._within = 0

    async def play(self, recordings: Sequence[Recording], signals: Mapping[str, Sequence[Signal]]) -> None:
        """Everything, to the forced end. Raises BadRecording when a file changes meanwhile."""
        symbols = [_Symbol(one, signals.get(one.file.symbol, ())) for one in recordings]
        self._atr |= {symbol.name: symbol.atr for symbol in symbols}
        timeline = heapq.merge(*(symbol.candles() for symbol in symbols), key=lambda item: item[0])
        for at, group in groupby(timeline, key=lambda item: item[0]):
            self._outcome.moment, self._within = at, 0
            candles = list(group)
            for _, last, candle, symbol in candles:
                await self._open(symbol, candle, last=last)
            for _, last, candle, symbol in candles:
                self._within += 1
                await self._inside(symbol, candle)
                symbol.before = at
                symbol.atr.candle(candle.high, candle.low, candle.close)
                if last:
                    await self._end(symbol, candle)
                self._outcome.price(symbol.name, candle.close)
            self._outcome.mark(at)
        for symbol in symbols:
            self._outcome.ignored += [(signal, "no candle follows it") for signal in symbol.signals]

    # -- the open -------------------------------------------------------------------------------------------------------

    async def _open(self, symbol: _Symbol, candle: Candle, *, last: bool) -> None:
        """Signals of the candles before act: exits, then the entry."""
        acting: list[Signal] = []
        while symbol.signals and symbol.signals[0].at < candle.at:
            acting.append(symbol.signals.popleft())
        if symbol.first:
            symbol.first = False
            self._outcome.ignored += [(signal, "it lies before the first candle") for signal in acting]
            return
        if not acting:
            return
        chosen = sort_out(acting, entries=not last)
        self._outcome.ignored += chosen.ignored
        for signal in chosen.exits:
            await self._exit(symbol, candle, signal)
        if chosen.entry is not None:
            await self._show(symbol, candle.open)
            await self._send(entry_of(chosen.entry, candle.at, candle.open, self._sizing))
            await self._show(symbol, candle.open)

    async def _exit(self, symbol: _Symbol, candle: Candle, signal: Signal) -> None:
        """A command is filled at the open before anything else is judged there; a soft signal is judged at it, like a rule."""
        if self._soft and self._machine.position(symbol.name) is not None:
            await self._show(symbol, candle.open)
            await self._filled(symbol, candle.open)
        position = self._machine.position(symbol.name)
        if position is None or position.side is not signal.action.side:
            self._outcome.ignored.append((signal, "nothing of that side is open"))
            return
        await self._send(close_of(signal, position, candle.at, soft=self._soft))
        if not self._soft:
            await self._show(symbol, candle.open)
        await self._filled(symbol, candle.open)

    # -- inside -----------------------------------------------------------------------------------------------------------

    async def _inside(self, symbol: _Symbol, candle: Candle) -> None:
        """Open, stop, gain, trail: see `path`."""
        if symbol.quiet is not None and symbol.quiet.covers(candle):
            return
        position = self._watched(symbol)
        if position is None:
            symbol.quiet = NOTHING_HELD
            return
        view = View(candle, position.side)
        if at_open(position, symbol.waits, view, symbol.before):
            await self._take(symbol, Step(candle.open, candle.open))
        for steps in (stops, gains):
            await self._steps(symbol, view, steps)
        await self._trail(symbol, view)
        position = self._watched(symbol)
        symbol.quiet = NOTHING_HELD if position is None else quiet_of(position, symbol.waits, candle.at)

    async def _steps(self, symbol: _Symbol, view: View, steps: Steps) -> None:
        """Take steps until none changes the position; after one that does, what it waits for is looked at anew."""
        changed = True
        while changed:
            changed = False
            position = self._watched(symbol)
            if position is None:
                return
            for step in steps(position, symbol.waits, view):
                if await self._take(symbol, step):
                    changed = True
                    break

    async def _trail(self, symbol: _Symbol, view: View) -> None:
        """The stop follows the candle's best price, then meets its worst.

        In the candle of the entry it meets it as it stands when the trail is only just armed; the best price counts from the
        next candle on.
        """
        position = self._watched(symbol)
        if position is None or not (position.terms or was_moved(position)):
            return
        if opens_beyond(position, view) and not self._is_entry(position, view):
            await self._take(symbol, Step(view.candle.open, view.candle.open))
            return
        if self._is_entry(position, view):
            for price in arming(position, view):
                await self._best(symbol, price)
        else:
            await self._best(symbol, view.best)
        position = self._watched(symbol)
        step = None if position is None else moved_stop(position, view)
        if step is not None:
            await self._take(symbol, step)
        await self._best(symbol, view.best)

    def _is_entry(self, position: PositionRow, view: View) -> bool:
        return position.opened_at >= view.candle.at

    async def _best(self, symbol: _Symbol, price: Decimal) -> None:
        """Show a price that moves the stop; one that does not need not be seen."""
        position = self._watched(symbol)
        at, atr = self._outcome.moment + self._within + 1, symbol.atr.value
        if position is not None and moves(position, price, at, atr):
            await self._take(symbol, Step(price, price))

    async def _take(self, symbol: _Symbol, step: Step) -> bool:
        """Show a price and let what it orders be filled; whether the position's quantity has changed by that."""
        before = self._machine.position(symbol.name)
        self._within += 1
        await self._show(symbol, step.shown)
        await self._filled(symbol, step.filled)
        after = self._machine.position(symbol.name)
        return after is None or before is None or after.quantity != before.quantity

    def _watched(self, symbol: _Symbol) -> PositionRow | None:
        """The open position; `waits` are brought in line with it."""
        row = self._machine.watched(symbol.name)
        if row is None:
            return None
        stands = (row.position_id, row.version, row.stop_loss, row.signal_at)
        if stands != symbol.stands:
            symbol.stands, symbol.waits = stands, waits_of(row)
        return row

    async def _filled(self, symbol: _Symbol, price: Decimal) -> None:
        """Let exits on their way find their fill at *price*."""
        for _ in range(_MOST_FILLS):
            if not self._machine.is_leaving(symbol.name):
                return
            await self._show(symbol, price)
        raise Terminal(f"{symbol.name}: an exit found no fill in {_MOST_FILLS} prices")

    async def _end(self, symbol: _Symbol, candle: Candle) -> None:
        """What is still open after the last candle is closed at its close."""
        position = self._machine.position(symbol.name)
        if position is not None:
            await self._send(forced_close(position, candle.at))
            await self._filled(symbol, candle.close)

    # -- to the machine -------------------------------------------------------------------------------------------------

    async def _show(self, symbol: _Symbol, price: Decimal) -> None:
        symbol.quiet = None
        self._shown += 1
        at = self._outcome.moment + self._within
        await self._machine.tick(tick_of(self._shown, at, symbol.name, price, price, price))

    async def _send(self, intent: OrderIntent) -> None:
        stream = ORDER_INTENT_EXIT if intent.reduces else ORDER_INTENT
        await self._machine.send(stream, intent, intent.at)
