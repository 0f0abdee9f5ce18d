"""Venue against ledger: positions, open orders and trades, every minute and after every fresh view.

One difference is no alarm: a fill may be on its way. It is read again a second later; then every trade that the ledger is
not known to have is published once more, which repairs whatever was lost on the bus; and what differs even then is told:
red light, and no entry on that book until a person has looked. Nothing is deleted because a source is empty.

On a real exchange others may trade, too: what their trades and the position agree on is `foreign`'s, the rest is told as above.
"""

import logging
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal

from holdfast.contracts.codes import Code, FillKind, Leg, OrderState, PositionSide
from holdfast.contracts.messages import Fill
from holdfast.contracts.money import ZERO, add, canonical, sub
from holdfast.contracts.rows import OrderRow, book_id
from holdfast.contracts.wire import Outgoing
from holdfast.domain.inflight import InFlight
from holdfast.domain.orders import is_ours
from holdfast.domain.view import LedgerView
from holdfast.runtime.clock import Clock
from holdfast.venues.port import VenuePosition
from services.executor.coins import Coins
from services.executor.dispatch import Dispatcher
from services.executor.foreign import held_before, quarantined, settled, unrecorded
from services.executor.funding import Funding
from services.executor.guard import ASK_AGAIN_MS, Guard, Key
from services.executor.owed import Owed

log = logging.getLogger("holdfast.executor")
OVERLAP_MS = 600_000
"""Market time before the last recorded fill from which trades are read."""
MOST_TRADES = 1_000
"""Latest trades that are offered again; those of live orders are read whatever their number."""
READ_AGAIN_MS = (1_000, 3_000)
"""After the first difference, and after the repair."""
_MOVING = frozenset({OrderState.RESERVED, OrderState.CANCELING, OrderState.UNKNOWN})
Held = dict[tuple[str, Leg], Decimal]


@dataclass(slots=True)
class _Difference:
    """How often in a row a book differed, and how."""

    key: Key
    place: tuple[str, Leg]
    text: str
    seen: int = 1


class Reconciler:
    """See the module."""

    def __init__(
        self,
        *,
        clock: Clock,
        view: LedgerView,
        guard: Guard,
        owed: Owed,
        inflight: InFlight,
        dispatcher: Dispatcher,
        every_ms: int,
    ) -> None:
        self._clock, self._view, self._guard = clock, view, guard
        self._owed, self._inflight, self._dispatcher = owed, inflight, dispatcher
        self._every_ms = every_ms
        self._due: dict[Key, int] = {}
        """When each venue is compared next, monotonic ms; one that is not here is due."""
        self._differences: dict[str, _Difference] = {}
        self._strangers: dict[Key, dict[str, str]] = {}
        """Orders open at a venue that are not of this ledger -> their symbols."""
        self._foreign: dict[Key, dict[tuple[str, Leg], list[Fill]]] = {}
        """Trades of others in the window that was read last; missing where it could not be read."""
        self._ours: dict[Key, dict[tuple[str, Leg], list[Fill]]] = {}
        """The same of ours."""
        self.coins, self.funding = Coins(clock, view, guard), Funding(clock, view, guard, owed)

    def start_again(self) -> None:
        """The view was loaded afresh."""
        self.funding.start_again()
        self.coins.start_again()
        self.soon()

    def soon(self, after_ms: int = 0) -> None:
        """Compare at the next opportunity, or at the first after so long."""
        at = self._clock.monotonic_ms() + after_ms
        self._due = {key: min(due, at) for key, due in self._due.items()}

    async def run(self, keys: Iterable[Key]) -> list[Outgoing]:
        """Compare those of *keys* for which it is time."""
        now, keys = self._clock.monotonic_ms(), list(keys)
        outputs = await self.funding.run(keys)
        for key in [key for key in keys if now >= self._due.get(key, 0)]:
            self._due[key] = now + self._every_ms
            self._guard.bind(self._view)
            if self.coins.are_at(key):
                await self.coins.read(key)
            outputs += await self.read_trades(key)
            await self._compare_orders(key)
            outputs += await self._compare_positions(key)
            soon = [READ_AGAIN_MS[seen - 1] for seen in self._pending(key)]
            if self._guard.is_silent(key):
                soon.append(min(self._every_ms, ASK_AGAIN_MS))
            self._due[key] = min(self._due[key], *(now + after_ms for after_ms in soon), now + self._every_ms)
        return outputs

    def _pending(self, key: Key) -> list[int]:
        """How often each difference of this venue was seen that is read again."""
        return [
            difference.seen
            for difference in self._differences.values()
            if difference.key == key and difference.seen <= len(READ_AGAIN_MS)
        ]

    async def read_trades(self, key: Key) -> list[Outgoing]:
        """Offer the venue's latest trades to the ledger, but for those that it is known to have, or that others made."""
        totals = [
            total.last_executed_at
            for total in self._view.totals.values()
            if (total.account, total.exchange) == key
        ]
        trades: Sequence[Fill] | None
        if key in self._guard.remotes:
            trades = await self._read_remote(key, max(totals, default=self._clock.wall_ms()))
        else:
            trades = await self._guard.recent(key, max(max(totals, default=0) - OVERLAP_MS, 0), MOST_TRADES)
        live = self._view.orders
        ended = [fill for fill in trades or () if fill.order_id not in live]
        return self._owed.history(ended, {}, self._clock.monotonic_ms())

    async def _read_remote(self, key: Key, last: int) -> list[Fill]:
        """All trades since shortly before *last*, ours; those of others are kept for the comparison of positions."""
        self._foreign.pop(key, None)
        self._ours.pop(key, None)
        venue, since = self._guard.venues[key], max(last - OVERLAP_MS, 0)
        if self.coins.are_at(key):
            since = self.coins.since(key, since)
        trades = await self._guard.read(key, "trades", venue.trades_since(since))
        if trades is None:
            return []
        sides: tuple[dict[tuple[str, Leg], list[Fill]], ...] = {}, {}
        for fill in trades:
            sides[is_ours(fill.order_id)].setdefault((fill.symbol, fill.leg), []).append(fill)
        self._foreign[key], self._ours[key] = sides
        return [fill for fill in trades if is_ours(fill.order_id)]

    # -- orders ---------------------------------------------------------------------------------------------------------------

    async def _compare_orders(self, key: Key) -> None:
        """Orders open at the venue that the ledger does not know are told; live ones that are not open there are looked up."""
        live = {row.order_id: row for row in self._view.orders.values() if (row.account, row.exchange) == key}
        shown = await self._guard.read(key, "open orders", self._guard.venues[key].open_orders())
        if shown is None:
            return
        open_there = {order.order_id for order in shown}
        self._strangers[key] = {
            order.order_id: order.symbol for order in shown if order.order_id not in self._view.orders
        }
        for order_id, row in live.items():
            if order_id not in open_there and self._is_settled(row):
                self._dispatcher.look_up_soon(order_id)

    def _is_settled(self, row: OrderRow) -> bool:
        """Whether nothing about the order is on its way."""
        return not self._dispatcher.is_asked(row.order_id) and not self._owed.has_fill_of(row.order_id)

    def strangers(self, key: Key) -> Collection[str] | None:
        """Symbols of orders at a venue that are not of this ledger; None where nobody has looked yet."""
        found = self._strangers.get(key)
        return None if found is None else found.values()

    # -- positions ---------------------------------------------------------------------------------------------------------------

    async def _compare_positions(self, key: Key) -> list[Outgoing]:
        venue = self._guard.venues[key]
        before = self._held_by_ledger(key)
        aside, foreign = self._quarantined(key), self._foreign.get(key, {})
        if self.coins.are_at(key):
            compared = self._compare_coins(key, before, aside)
            shown, foreign = compared if compared is not None else (None, foreign)
        else:
            shown = await self._guard.read(key, "positions", venue.positions())
        if shown is None:
            return []
        theirs = {(one.symbol, one.leg): one for one in shown if one.quantity}
        outputs: list[Outgoing] = []
        owed = self._owed.symbols()
        for place in sorted(theirs.keys() | before.keys() | aside.keys() | self._differed(key)):
            book = book_id(*key, *place)
            there = theirs[place].quantity if place in theirs else ZERO
            here, apart = before.get(place, ZERO), aside.get(place, ZERO)
            news = unrecorded(there, add(here, apart), foreign.get(place, []))
            if news is not None and not news:
                self._differences.pop(book, None)
                self._owed.agrees(place[0])
            elif (*key, place[0]) not in owed and not self._is_moving(book):
                if news:
                    outputs += self._take_foreign(book, settled(news, here))
                    continue
                rest = f", and {canonical(apart)} in quarantine" if apart else ""
                text = f"{book}: the venue holds {canonical(there)}, the ledger {canonical(here)}{rest}"
                outputs += await self._differ(key, place, book, text)
                if not here and self._has_lasted(book) and self._trades_are_known(key):
                    outputs += self._set_apart(key, theirs.get(place), sub(there, apart), book)
        return outputs

    def _compare_coins(
        self, key: Key, here: Held, aside: Held
    ) -> tuple[list[VenuePosition], dict[tuple[str, Leg], list[Fill]]] | None:
        if key not in self._ours:
            return None
        recorded = {
            place: add(here.get(place, ZERO), aside.get(place, ZERO)) for place in here.keys() | aside.keys()
        }
        return self.coins.compare(key, recorded, self._ours[key], self._foreign[key])

    def _quarantined(self, key: Key) -> Held:
        """What is in quarantine of a real exchange's account; on paper nobody else trades."""
        return quarantined(self._view.quarantine.values(), *key) if key in self._guard.remotes else {}

    def _take_foreign(self, book: str, fills: Sequence[Fill]) -> list[Outgoing]:
        """Trades of others that the position confirms."""
        self._differences.pop(book, None)
        for fill in fills:
            what = "in quarantine" if fill.kind is FillKind.TRADE else f"applied as {fill.kind.value}"
            log.warning(
                "%s: a trade that is not ours, %s: %s %s",
                book,
                what,
                fill.side.value,
                canonical(fill.quantity),
            )
        now = self._clock.monotonic_ms()
        return [out for fill in fills for out in self._owed.owe(fill, now)]

    def _set_apart(
        self, key: Key, position: VenuePosition | None, quantity: Decimal, book: str
    ) -> list[Outgoing]:
        """A position that was there before us, or is older than the trades that are shown: into quarantine, where we hold nothing."""
        rules = self._guard.venues[key].rules(position.symbol) if position is not None else None
        if position is None or rules is None or key not in self._guard.remotes or not quantity:
            return []
        found = held_before(replace(position, quantity=quantity), rules, *key, self._clock.wall_ms())
        return [] if found is None else self._take_foreign(book, [found])

    def _trades_are_known(self, key: Key) -> bool:
        """Whether the last reading of trades was answered. Where it was not, what we do not know of may be a fill of ours."""
        return key in self._foreign

    def _has_lasted(self, book: str) -> bool:
        known = self._differences.get(book)
        return known is not None and known.seen > len(READ_AGAIN_MS)

    def _differed(self, key: Key) -> set[tuple[str, Leg]]:
        """Where a difference was seen: compared again even where neither side holds anything by now."""
        return {difference.place for difference in self._differences.values() if difference.key == key}

    def _held_by_ledger(self, key: Key) -> Held:
        rows = (row for row in self._view.positions.values() if (row.account, row.exchange) == key)
        return {
            (row.symbol, row.leg): row.quantity if row.side is PositionSide.LONG else -row.quantity
            for row in rows
        }

    def _is_moving(self, book: str) -> bool:
        return self._inflight.is_moving(book) or any(
            row.state in _MOVING for row in self._view.live_orders(book)
        )

    async def _differ(self, key: Key, place: tuple[str, Leg], book: str, text: str) -> list[Outgoing]:
        known = self._differences.get(book)
        if known is None or known.text != text:
            self._differences[book] = _Difference(key, place, text)
            return []
        known.seen += 1
        if known.seen == len(READ_AGAIN_MS):
            log.warning("%s; publishing its trades again", text)
            return await self._repair(key, place[0])
        if known.seen == len(READ_AGAIN_MS) + 1:
            log.error("%s; no entries on this book until a person has looked", text)
        return []

    async def _repair(self, key: Key, symbol: str) -> list[Outgoing]:
        """Every trade of *symbol* that the ledger is not known to have, once more."""
        since = 0 if not self.coins.are_at(key) else self.coins.since(key, self._clock.wall_ms() - OVERLAP_MS)
        trades = await self._guard.read(key, "trades", self._guard.venues[key].trades_since(since))
        mine = [
            fill
            for fill in trades or ()
            if fill.symbol == symbol and (is_ours(fill.order_id) or not self.coins.are_at(key))
        ]
        self._owed.offer_again(fill.key for fill in mine)
        return self._owed.history(mine, {}, self._clock.monotonic_ms())

    # -- what is told -------------------------------------------------------------------------------------------------------------

    def objection(self, book: str) -> tuple[Code, str] | None:
        """Why no entry may be opened on *book*."""
        for row in self._view.quarantine.values():
            key = (row.account, row.exchange)
            if key in self._guard.remotes and book_id(*key, row.symbol, row.leg) == book:
                return Code.RECORD_MISMATCH, f"{book} is in quarantine: {row.why}; see `holdfast quarantine`"
        difference = self._differences.get(book)
        if difference is None or difference.seen <= len(READ_AGAIN_MS):
            return None
        return Code.RECORD_MISMATCH, difference.text

    def complaints(self) -> Iterable[str]:
        """Differences that lasted: the light is red."""
        return [
            difference.text
            for difference in self._differences.values()
            if difference.seen > len(READ_AGAIN_MS)
        ]

    def warnings(self) -> Iterable[str]:
        """What is being looked into."""
        for (account, exchange), order_ids in self._strangers.items():
            if order_ids:
                yield f"{account}/{exchange}: {len(order_ids)} open orders at the venue are not of this ledger, like {next(iter(order_ids))}"
        for difference in self._differences.values():
            if difference.seen <= len(READ_AGAIN_MS):
                yield f"{difference.text} (reading again)"
