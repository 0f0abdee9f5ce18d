"""Spot accounts in the comparison of venue and ledger: what our own trades come to, and whether the balance covers it.

`domain.coins` has the rules. Two readings in a row must show the same before a sale by others is believed, because a balance and
a list of trades are never of one moment; and only sales since the balance was last seen to be enough are looked at.

What may be sold at once is what was free when the balances were read last, and what was bought since. Where an order of ours has ended
since, which may have locked coins, an exit has them read once more; it waits a second for that, and no longer.
"""

from collections.abc import Collection, Mapping
from decimal import Decimal

from holdfast.contracts.codes import Role
from holdfast.contracts.messages import Fill, LedgerUpdated
from holdfast.contracts.money import ZERO, add, sub
from holdfast.contracts.rows import PositionRow, book_id
from holdfast.domain.coins import Place, Recorded, Trades, covered, recorded_of, sales_that_explain, shortages
from holdfast.domain.position import base_of, signed
from holdfast.domain.view import LedgerView
from holdfast.runtime.clock import Clock
from holdfast.venues.port import VenuePosition
from services.executor.guard import ASK_AGAIN_MS, Guard, Key

SKEW_MS = 2_000
LOOK_MS = 1_000
"""So long an exit waits for the balances; then what the ledger holds counts, whatever keeps them from being read."""


class Coins:
    """See the module. `read` before the trades are read, `compare` afterwards."""

    def __init__(self, clock: Clock, view: LedgerView, guard: Guard) -> None:
        self._clock, self._view, self._guard = clock, view, guard
        self._read_at: dict[Key, int] = {}
        self._balances: dict[Key, Mapping[str, tuple[Decimal, Decimal]]] = {}
        self._held: dict[Key, Mapping[str, Decimal]] = {}
        """What the ledger held when they were read, by symbol."""
        self._enough_at: dict[tuple[Key, str], int] = {}
        """When the account was last seen to have as many coins as our positions need, wall ms."""
        self._short: dict[Key, dict[str, Decimal]] = {}
        """Coins of which there were too few at the last comparison, and how many were missing."""
        self._moves: dict[Key, int] = {}
        """How often something of ours has moved at a venue; `_read_after` says which of that the balances are of."""
        self._read_after: dict[Key, int] = {}
        self._freed: set[tuple[Key, str]] = set()
        """Coins of which an order of ours has ended that may have locked them, and the balances were not read since."""
        self._wanted: dict[Key, int] = {}
        """Where somebody waits for the balances, and since when, monotonic ms."""
        self._failed: dict[Key, int] = {}
        """Where the balances could not be read, and since when, monotonic ms: until they are, no entry passes."""

    def are_at(self, key: Key) -> bool:
        """Whether that venue shows coins."""
        venue = self._guard.remotes.get(key)
        return venue is not None and venue.shows_coins

    async def read(self, key: Key) -> None:
        """The balances. First, because what is sold between the two reads must not look like coins that are gone."""
        self._balances.pop(key, None)
        self._freed = {one for one in self._freed if one[0] != key}
        self._wanted.pop(key, None)
        self._read_at[key], self._read_after[key] = self._clock.wall_ms(), self._moves.get(key, 0)
        self._held[key] = quantities_at(self._view, key)
        found = await self._guard.read(key, "balances", self._guard.remotes[key].balances())
        if found is None:
            self._failed[key] = self._clock.monotonic_ms()
        else:
            self._balances[key] = found
            self._failed.pop(key, None)

    def whole(self, key: Key, currency: str) -> Decimal | None:
        """What the account has of *currency*, by the last reading; None where that failed."""
        balances = self._balances.get(key)
        return None if balances is None else balances.get(currency, (ZERO, ZERO))[1]

    def since(self, key: Key, last: int) -> int:
        """From when on trades are needed."""
        return recorded_of(self._view, *key, {}).since(last, self._clock.wall_ms())

    def compare(
        self, key: Key, quantities: Mapping[Place, Decimal], ours: Trades, others: Trades
    ) -> tuple[list[VenuePosition], dict[Place, list[Fill]]] | None:
        """What the venue holds for us, and which trades of others explain a difference; None where the balances are unreadable."""
        balances = self._balances.get(key)
        if balances is None:
            return None
        recorded = recorded_of(self._view, *key, quantities)
        there = recorded.by_trades(ours, others, self._clock.wall_ms())
        missing = self._missing(key, recorded, {coin: whole for coin, (_, whole) in balances.items()})
        before, self._short[key] = self._short.get(key, {}), missing
        covered(there, recorded, missing)
        explained: dict[Place, list[Fill]] = {}
        for place, row in recorded.positions.items():
            coin = base_of(row.symbol)
            if coin in missing and before.get(coin) == missing[coin]:
                since = self._enough_at.get((key, coin), row.changed_at) - SKEW_MS
                gone = min(missing[coin], row.quantity)
                if sales := sales_that_explain(gone, others.get(place, ()), since, row.quantity):
                    explained[place] = sales
                    self._enough_at[key, coin] = self._read_at[key] + 2 * SKEW_MS  # they count once
        return [VenuePosition(*place, quantity) for place, quantity in there.items() if quantity], explained

    def _missing(self, key: Key, recorded: Recorded, totals: Mapping[str, Decimal]) -> dict[str, Decimal]:
        needed = recorded.needed()
        missing = shortages(needed, totals)
        for coin in needed.keys() - missing.keys():
            self._enough_at[key, coin] = self._read_at[key]
        return missing

    # -- what may be sold ------------------------------------------------------------------------------------------------------

    def hear(self, update: LedgerUpdated) -> None:
        """What has moved: balances that were asked for before say nothing about now."""
        if not self._guard.remotes:
            return
        moved = [(row.account, row.exchange) for row in update.orders]
        moved += [(row.account, row.exchange) for row in update.positions]
        for key in filter(self.are_at, moved):
            self._moves[key] = self._moves.get(key, 0) + 1
        for row in update.orders:
            if row.role is not Role.ENTRY and not row.is_live and self.are_at((row.account, row.exchange)):
                self._freed.add(((row.account, row.exchange), base_of(row.symbol)))

    def start_again(self) -> None:
        """The view was loaded afresh: what has moved meanwhile is not known."""
        self._balances.clear()

    def must_look(self, key: Key, symbol: str) -> bool:
        """Whether its coins have been freed since the balances were read; then those are to be read at once, and are waited for."""
        if (key, base_of(symbol)) not in self._freed:
            return False
        now = self._clock.monotonic_ms()
        return now - self._wanted.setdefault(key, now) < LOOK_MS

    def wanted(self, keys: Collection[Key]) -> list[Key]:
        """Those of *keys* whose balances somebody waits for, or could not be read a moment ago; whoever asks reads them."""
        late = self._clock.monotonic_ms() - ASK_AGAIN_MS
        failed = {key for key, at in self._failed.items() if at <= late}
        return [key for key in keys if key in self._wanted or key in failed]

    def room(self, key: Key, row: PositionRow) -> Decimal | None:
        """How much of a position the free coins let be sold, what our own orders lock included; None: not known as of now."""
        if key not in self._balances or self._read_after.get(key) != self._moves.get(key, 0):
            return None
        return self.sellable(key, row)

    def sellable(self, key: Key, row: PositionRow) -> Decimal:
        """What of a position may be sold at once: not what others have put on orders. As the balances were read last, and bought since."""
        balances = self._balances.get(key)
        if balances is None or (key, base_of(row.symbol)) in self._freed:
            return row.quantity
        free = balances.get(base_of(row.symbol), (ZERO, ZERO))[0]
        free = add(free, max(ZERO, sub(row.quantity, self._held[key].get(row.symbol, ZERO))))
        for order in self._view.live_orders(book_id(*key, row.symbol, row.leg)):
            free = add(free, order.remaining) if order.reduce_only and order.venue_order_id else free
        return max(ZERO, min(row.quantity, free))


def quantities_at(view: LedgerView, key: Key) -> dict[str, Decimal]:
    """What the ledger holds at a venue, signed, by symbol, all sides together."""
    held: dict[str, Decimal] = {}
    for row in view.positions.values():
        if (row.account, row.exchange) == key:
            held[row.symbol] = add(held.get(row.symbol, ZERO), signed(row))
    return held
