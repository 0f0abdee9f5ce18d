"""`--ticks`: every trade or quote of the tape goes to the machine, as it would come over the bus.

Nothing is left out and nothing is assumed: an order fills at the first tick after it arrived, with the paper venue's slippage
and fees; exits are judged at every tick. So the same tape through the running services makes the same trades, if they are
given the time between two ticks to do their work (`tests/contract/test_replay_is_live.py`).

A signal acts when market time has reached it: after all ticks up to its own time, before the next one.
"""

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby

from holdfast.contracts.messages import OrderIntent
from holdfast.contracts.streams import ORDER_INTENT, ORDER_INTENT_EXIT
from holdfast.domain.candles import Quote
from holdfast.runtime.faults import Terminal
from replay.machine import Machine
from replay.orders import Sizing, cancel_of, close_of, entry_of, forced_close, tick_of
from replay.outcome import Outcome
from replay.signals import Signal, sort_out
from services.market_feed.recorded import Recording, timeline

_MOST_FILLS = 20


class TickRun:
    """See the module."""

    def __init__(self, machine: Machine, outcome: Outcome, sizing: Sizing, *, soft: bool) -> None:
        self._machine, self._outcome, self._sizing, self._soft = machine, outcome, sizing, soft
        self._last: dict[str, Quote] = {}
        self._shown = 0

    async def play(self, recordings: Sequence[Recording], signals: Mapping[str, Sequence[Signal]]) -> None:
        """Everything, to the forced end. Raises BadRecording when a file changes meanwhile."""
        waiting = deque(sorted((one for of in signals.values() for one in of), key=lambda signal: signal.at))
        for quote in timeline(recordings):
            while waiting and waiting[0].at < quote.at:
                await self._act(waiting)
            await self._show(quote)
            self._outcome.mark(quote.at)
        self._outcome.ignored += [(signal, "no tick follows it") for signal in waiting]
        await self._end()

    async def _show(self, quote: Quote) -> None:
        self._shown += 1
        self._outcome.moment = quote.at
        tick = tick_of(self._shown, quote.at, quote.symbol, quote.bid, quote.ask, quote.last)
        await self._machine.tick(tick)
        if 0 < quote.bid <= quote.ask and quote.last > 0:  # what is no price sizes nothing and closes nothing
            self._last[quote.symbol] = quote
            self._outcome.price(quote.symbol, quote.last)

    async def _act(self, waiting: deque[Signal]) -> None:
        """The signals of one moment, symbol by symbol: exits, then the entry."""
        at = waiting[0].at
        together: list[Signal] = []
        while waiting and waiting[0].at == at:
            together.append(waiting.popleft())
        together.sort(key=lambda signal: signal.symbol)
        for symbol, group in groupby(together, key=lambda signal: signal.symbol):
            if symbol not in self._last:
                self._outcome.ignored += [(signal, "it lies before the first tick") for signal in group]
                continue
            chosen = sort_out(group)
            self._outcome.ignored += chosen.ignored
            for signal in chosen.exits:
                await self._exit(signal, at)
            if chosen.entry is not None:
                price = self._last[symbol].last
                await self._send(entry_of(chosen.entry, at, price, self._sizing), at)

    async def _exit(self, signal: Signal, at: int) -> None:
        position = self._machine.position(signal.symbol)
        if position is None or position.side is not signal.action.side:
            self._outcome.ignored.append((signal, "nothing of that side is open"))
            return
        await self._send(close_of(signal, position, at, soft=self._soft), at)

    async def _send(self, intent: OrderIntent, at: int) -> None:
        await self._machine.send(ORDER_INTENT_EXIT if intent.reduces else ORDER_INTENT, intent, at)

    async def _end(self) -> None:
        """Orders that found no tick are canceled, what is open is closed at the last one."""
        for symbol, quote in self._last.items():
            if self._machine.is_entering(symbol):
                await self._send(cancel_of(symbol, quote.at), self._outcome.moment)
            position = self._machine.position(symbol)
            if position is not None:
                await self._send(forced_close(position, quote.at), self._outcome.moment)
                await self._fill(quote)

    async def _fill(self, quote: Quote) -> None:
        for _ in self._tries(quote.symbol):
            await self._show(Quote(quote.symbol, self._outcome.moment, quote.bid, quote.ask, quote.last))
        self._outcome.mark(self._outcome.moment)

    def _tries(self, symbol: str) -> Iterable[int]:
        """As long as an exit waits for its fill. Raises Terminal when it finds none."""
        for number in range(_MOST_FILLS):
            if not self._machine.is_leaving(symbol):
                return
            yield number
        raise Terminal(f"{symbol}: an exit found no fill in {_MOST_FILLS} ticks")
