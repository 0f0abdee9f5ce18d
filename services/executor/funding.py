"""Funding: what an exchange takes or gives for holding a position, as fills of kind `funding`, each once (the ledger knows their keys).

It is ours where the ledger held a position of that symbol at the time. An exchange names no position, so who was there says it: the
positions that are open, those that this executor has seen close, and those of which `ledger.trade` tells that they closed within a week.
Read with each comparison, before anything else changes; after a start for a week back, or since the last recorded fill.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from holdfast.contracts.codes import Leg
from holdfast.contracts.messages import Fill, Trade
from holdfast.contracts.wire import Outgoing
from holdfast.domain.view import LedgerView
from holdfast.runtime.clock import Clock
from services.executor.guard import Guard, Key
from services.executor.owed import Owed

WEEK_MS = 7 * 24 * 3600 * 1000
OVERLAP_MS = 3_600_000
"""How late funding may come to light."""
EVERY_MS, AGAIN_MS = 60_000, 2_000
"""Between two reads, and after one that failed: until it is answered there are no entries."""


@dataclass(slots=True)
class _Held:
    """A position that was there from *since* until *until*, ms, as far as we know."""

    symbol: str
    leg: Leg
    since: int
    until: int
    was_read: bool = False
    """Whether funding has been read since we know of it."""


class Funding:
    """See the module."""

    def __init__(self, clock: Clock, view: LedgerView, guard: Guard, owed: Owed) -> None:
        self._clock, self._view, self._guard, self._owed = clock, view, guard, owed
        self._read: dict[Key, int] = {}
        """When it was last read, wall ms."""
        self._due: dict[Key, int] = {}
        self._held: dict[Key, dict[str, _Held]] = {}
        """Positions that are open, or have closed of late, by id."""
        self._began = clock.wall_ms()

    def start_again(self) -> None:
        """The view was loaded afresh: what was published may be lost, so a week of it is read again."""
        self._read.clear()
        self._due.clear()

    def hear(self, trades: Iterable[Trade]) -> None:
        """Positions that have closed, before our time too: whoever saw them open may not have read what was due last."""
        old = self._clock.wall_ms() - WEEK_MS
        for known in self._held.values():  # in place: they may be read just now
            for name in [name for name, one in known.items() if one.until < old]:
                del known[name]
        for trade in trades:
            key, closed = (trade.account, trade.exchange), trade.closed_at
            venue = self._guard.remotes.get(key)
            if key not in self._guard.closed and (venue is None or not venue.pays_funding):
                continue  # on paper, at another executor's, or where there is none
            if closed < self._began - WEEK_MS:
                continue
            held = self._held.setdefault(key, {})
            if (before := held.get(trade.position_id)) is not None:
                before.until = max(before.until, closed)
                continue
            held[trade.position_id] = _Held(trade.symbol, trade.leg, trade.opened_at, closed)
            if closed < self._began:
                self._read.pop(key, None)
                self._due.pop(key, None)

    async def run(self, keys: Iterable[Key]) -> list[Outgoing]:
        """Read *keys*, where it is time to."""
        outputs: list[Outgoing] = []
        keys = list(keys)
        self._guard.asked_no_more("funding", lambda: {key for key in self._held if self._held[key]})
        for key in keys:
            venue = self._guard.remotes.get(key)
            if venue is None or not venue.pays_funding:
                continue
            held, mono = self._seen(key), self._clock.monotonic_ms()
            if mono < self._due.get(key, 0) or not held:
                continue
            now, known = self._clock.wall_ms(), list(held.values())
            since, before = self._since(key, now), self._read.get(key)
            self._due[key], self._read[key] = (
                mono + EVERY_MS,
                now,
            )  # first: what is heard meanwhile takes them back
            fills = await self._guard.read(key, "funding", venue.funding_since(since))
            if fills is None:
                self._due[key] = mono + AGAIN_MS
                if before is None:
                    self._read.pop(key, None)
                elif key in self._read:
                    self._read[key] = before
            else:
                for one in known:
                    one.was_read = True
                ours = [
                    fill.evolve(leg=leg)
                    for fill in fills
                    if (leg := _leg_of(fill, held.values())) is not None
                ]
                outputs += self._owed.history(ours, {}, mono)
        return outputs

    def _seen(self, key: Key) -> dict[str, _Held]:
        now = self._clock.wall_ms()
        held = self._held.setdefault(key, {})
        for row in self._view.positions.values():
            if (row.account, row.exchange) == key:
                known = held.setdefault(row.position_id, _Held(row.symbol, row.leg, row.opened_at, now))
                known.until = now
        for name in [name for name, one in held.items() if one.was_read and one.until < now - OVERLAP_MS]:
            del held[name]
        return held

    def _since(self, key: Key, now: int) -> int:
        """From when on to read."""
        if key in self._read:
            return self._read[key] - OVERLAP_MS
        last = [
            one.last_executed_at for one in self._view.totals.values() if (one.account, one.exchange) == key
        ]
        return min([now - WEEK_MS, *last])


def _leg_of(fill: Fill, held: Iterable[_Held]) -> Leg | None:
    """Where it is booked: on the side that the venue names, else on the one that was there. None: it is not ours."""
    legs = {
        one.leg for one in held if one.symbol == fill.symbol and one.since <= fill.executed_at <= one.until
    }
    if fill.leg is not Leg.NET:
        return fill.leg if fill.leg in legs else None
    return next((leg for leg in (Leg.NET, Leg.LONG, Leg.SHORT) if leg in legs), None)
