"""The dead man's switch of an exchange: while entries of ours rest there, it is told again and again that somebody is here.

An entry that fills while the executor is dead opens a position that nobody looks after. So the exchange counts down, by its own clock,
and cancels when it is not told anew; it is told at a third of the time. It cancels *everything* of a symbol, or of the account, so it is
set only where nothing but entries of ours rests: a stop, an exit that waits at a price, or an order of somebody else takes it back.
What is not known counts as set: so it is taken back before such an order can be hit by what another life has set.

Nothing waits for it, and it waits for nothing: it has a part of the lane for itself. A switch that cannot be set is told, and stops nobody.
"""

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from holdfast.contracts.codes import Code, OrderType, Role, TimeInForce
from holdfast.contracts.rows import OrderRow
from holdfast.domain.view import LedgerView
from holdfast.runtime.clock import Clock
from holdfast.venues.capabilities import Switch
from holdfast.venues.port import VenueOrder, VenueUnreadable
from services.executor.guard import Guard, Key, Remote

AGAIN_MS = 2_000
"""After a request that failed."""
SLACK_MS = 2_000
"""How far from the moment that we have reckoned the exchange may have canceled: clocks differ by up to a second."""
WHOLE = ""
"""The place of a switch that is for a whole account."""
Strangers = Callable[[Key], Iterable[str] | None]


@dataclass(slots=True)
class _Set:
    """What is known of one switch. Monotonic ms, but for `between`."""

    until: int
    """It may cancel until then; 0: it is not set."""
    due: int = 0
    between: tuple[int, int] | None = None
    """Wall ms: when it runs out at the earliest and at the latest, by what we have set ourselves."""
    lapsed: tuple[int, int] | None = None
    """The same of the last time that it has run out."""
    failing_since: int | None = None
    why: str = ""
    hindered: str = ""


class DeadMan:
    """See the module. *after_ms*: of each account that has one, how long the exchange waits. *strangers*: symbols of orders at a venue that
    the ledger does not know; None where that has not been read.
    """

    def __init__(
        self, after_ms: Mapping[str, int], clock: Clock, view: LedgerView, guard: Guard, strangers: Strangers
    ) -> None:
        self._after_ms, self._clock, self._view, self._guard = after_ms, clock, view, guard
        self._strangers = strangers
        self._switches: dict[tuple[Key, str], _Set] = {}
        self._began: dict[Key, int] = {}
        """When we first looked, monotonic ms: what another life has set has run out so long after that."""

    async def run(self, keys: Iterable[Key]) -> None:
        """Set, set anew, or take back what is due at *keys*."""
        for key in keys:
            venue = self._guard.remotes.get(key)
            if venue is not None and venue.switch is not Switch.NONE and self._after_ms.get(key[0]):
                await self._look_after(key, venue)

    async def _look_after(self, key: Key, venue: Remote) -> None:
        strangers = self._strangers(key)
        if strangers is None:
            return
        rows = [row for row in self._view.orders.values() if (row.account, row.exchange) == key]
        began = self._began.setdefault(key, self._clock.monotonic_ms())
        by_symbol = venue.switch is Switch.SYMBOL
        places = {row.symbol for row in rows} if by_symbol else {WHOLE}
        places |= {place for one, place in self._switches if one == key}
        asked = []
        for place in sorted(places):
            mine = [row for row in rows if place in (WHOLE, row.symbol)]
            others = [symbol for symbol in strangers if place in (WHOLE, symbol)]
            switch = self._switches.setdefault((key, place), _Set(until=began + self._after_ms[key[0]]))
            switch.hindered = _hindered(mine, others)
            asked.append(self._decide(key, venue, place, switch, mine))
        await asyncio.gather(
            *asked
        )  # at once: what does not answer holds the reads up, but no longer than one of them

    async def _decide(
        self, key: Key, venue: Remote, place: str, switch: _Set, rows: Sequence[OrderRow]
    ) -> None:
        now = self._clock.monotonic_ms()
        if any(rests(row) for row in rows) and not switch.hindered:
            if now >= switch.due:
                await self._set(venue, place, switch, self._after_ms[key[0]])
        elif now >= switch.until:
            switch.failing_since = None
        elif (switch.hindered or switch.between) and (switch.failing_since is None or now >= switch.due):
            await self._set(venue, place, switch, 0)

    async def _set(self, venue: Remote, place: str, switch: _Set, ms: int) -> None:
        sent, wall = self._clock.monotonic_ms(), self._clock.wall_ms()
        try:
            await venue.cancel_after(place, ms)
        except VenueUnreadable as error:
            switch.due, switch.why = sent + AGAIN_MS, str(error)
            switch.failing_since = sent if switch.failing_since is None else switch.failing_since
            if ms:  # it may have been heard all the same
                latest = self._clock.wall_ms() + ms
                switch.until = max(switch.until, self._clock.monotonic_ms() + ms)
                switch.between = switch.between and (switch.between[0], latest)
            return
        if switch.between and wall >= switch.between[0]:
            switch.lapsed = switch.between
        switch.failing_since, switch.due = None, sent + ms // 3
        switch.until = self._clock.monotonic_ms() + ms if ms else 0
        switch.between = (wall + ms, self._clock.wall_ms() + ms) if ms else None

    # -- what is told ------------------------------------------------------------------------------------------------------

    def explained(self, row: OrderRow, order: VenueOrder) -> VenueOrder:
        """The end of *row*, which the venue shows as canceled and nobody here has asked for. With a code where it was this switch: at the very
        moment at which it ran out, by what this executor has set itself.
        """
        after_ms = self._after_ms.get(row.account)
        if not after_ms or not rests(row):
            return order
        key, at = (row.account, row.exchange), order.changed_at
        switch = self._switches.get((key, row.symbol)) or self._switches.get((key, WHOLE))
        lapses = () if switch is None else (switch.lapsed, switch.between)
        if any(lapse and lapse[0] - SLACK_MS <= at <= lapse[1] + SLACK_MS for lapse in lapses):
            why = f"canceled by the venue at {at}: its dead man's switch had not been set anew for {after_ms // 1000} s"
            return replace(order, code=Code.DEAD_MAN, evidence=f"{order.evidence}, {why}")
        why = f"canceled by the venue at {at or 'some time'}, not by us; its dead man's switch stands at {after_ms // 1000} s"
        return replace(order, evidence=f"{order.evidence}, {why}")

    def warnings(self) -> Iterator[str]:
        """Switches that could not be set, or taken back."""
        now = self._clock.monotonic_ms()
        for ((account, exchange), place), switch in self._switches.items():
            if switch.failing_since is not None:
                age = (now - switch.failing_since) // 1000
                what = f"the dead man's switch of {place or 'all its orders'} cannot be set, or taken back, for {age} s"
                yield f"{account}/{exchange}: {what}: {switch.why}"

    def told(self) -> str:
        """For the heartbeat: where it is set, and where something stands in its way."""
        now = self._clock.monotonic_ms()
        return ", ".join(
            f"{account} {place or 'all'}" + (f" (not set: {switch.hindered})" if switch.hindered else "")
            for ((account, _), place), switch in sorted(self._switches.items())
            if switch.hindered or (switch.between and now < switch.until)
        )


def rests(row: OrderRow) -> bool:
    """Whether it is an entry that waits at its price, or may come to do so."""
    return row.role is Role.ENTRY and _waits(row)


def _waits(row: OrderRow) -> bool:
    return row.type is OrderType.LIMIT and row.time_in_force is TimeInForce.GTC


def _hindered(rows: Iterable[OrderRow], others: Sequence[str]) -> str:
    """What else than entries of ours would be canceled; empty: nothing."""
    for row in rows:
        if row.role is Role.PROTECT:
            return f"a stop of {row.symbol} rests there"
        if row.role is Role.EXIT and _waits(row):
            return f"an exit of {row.symbol} waits there"
    return f"an order of {others[0]} there is not of this ledger" if others else ""
