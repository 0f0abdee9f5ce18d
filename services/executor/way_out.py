"""Exits on spot, where no order is reduce-only: what keeps one from selling more than is ours is its size alone.

So it sells what the ledger holds, or less where others have put the coins on orders; in whole steps; at least as much as the venue
takes; and never beside another exit that may still fill, or a stop that locks the coins (the ledger sees to that, by
`OrderRequest.alone`: it lets the exit wait until they have ended). What is left below the smallest order is dust: once nothing of it is on its way any more it is taken out of the books, and its coins are inventory.
"""

import logging
from collections.abc import Collection, Iterable, Mapping
from decimal import Decimal

from holdfast.contracts.codes import Code, ResultStatus, Role
from holdfast.contracts.messages import OrderRequest, Refusal
from holdfast.contracts.money import canonical, round_down
from holdfast.contracts.rows import PositionRow
from holdfast.contracts.wire import Outgoing
from holdfast.domain.dust import dust_of
from holdfast.domain.inflight import InFlight
from holdfast.domain.precheck import least_quantity, refused
from holdfast.domain.protecting import Locking
from holdfast.domain.view import LedgerView
from holdfast.runtime.clock import Clock
from holdfast.venues.port import Rules, Venue
from services.executor.coins import Coins
from services.executor.desk import Desk
from services.executor.guard import Key
from services.executor.owed import Owed
from services.executor.prices import Prices

log = logging.getLogger("holdfast.executor")


class WayOut:
    """See the module."""

    def __init__(
        self, clock: Clock, view: LedgerView, venues: Mapping[Key, Venue], coins: Coins, inflight: InFlight, prices: Prices, owed: Owed,
        desk: Desk,
    ) -> None:  # fmt: skip
        self._clock, self._view, self._venues, self._coins, self._desk = clock, view, venues, coins, desk
        self._inflight, self._prices, self._owed = inflight, prices, owed
        self._asked: set[str] = set()
        """Positions that somebody wants closed, and that no order can close."""

    def fitted(
        self, key: Key, order: OrderRequest, rules: Rules, position: PositionRow | None
    ) -> OrderRequest | Refusal:
        """An exit as it may be proposed there; as it is where the venue has reduce-only orders."""
        if not self.may_wait(key, order):
            return order
        if position is None:  # what is held, the ledger knows
            return order.evolve(alone=True)
        least, step = least_quantity(rules, self._price(position)), rules.quantity_step
        if round_down(position.quantity, step) < least:
            self._asked.add(position.position_id)
            text = f"what is left, {canonical(position.quantity)}, is dust: the smallest order is {canonical(least)}; it leaves the books"
            return refused(Code.BELOW_MINIMUM, text, ResultStatus.INVALID)
        quantity, free = order.quantity, round_down(self._coins.sellable(key, position), step)
        if least <= free < position.quantity and order.fraction is None:
            quantity = free if quantity is None else min(quantity, free)
        return order.evolve(alone=True, min_quantity=least, quantity=quantity, quantity_step=step)

    def may_wait(self, key: Key, order: OrderRequest) -> bool:
        """Whether the ledger may let this order wait for what locks the coins."""
        return order.role is Role.EXIT and not order.soft and self._coins.are_at(key)

    def must_look(self, key: Key, symbol: str) -> bool:
        """Whether how much is free is to be read before an exit of *symbol* is proposed there."""
        return self._coins.must_look(key, symbol)

    async def look(self, keys: Collection[Key]) -> list[Outgoing]:
        """Read what is free where an exit waits for that, and propose the exit."""
        outputs: list[Outgoing] = []
        for key in self._coins.wanted(keys):
            await self._coins.read(key)
            outputs += self._desk.freed(*key, self._clock.monotonic_ms())
        return outputs

    def locking(self, row: PositionRow, *, exit_waits: bool, cut: bool) -> Locking | None:
        """What a stop of the position has to leave room for; None where stops are reduce-only."""
        key = (row.account, row.exchange)
        if not self._coins.are_at(key):
            return None
        exits = self._view.live_orders(row.book_id, Role.EXIT)
        return Locking(exits, exit_waits, self._coins.room(key, row), cut)

    def due(self, keys: Iterable[Key]) -> list[Outgoing]:
        """Dust at *keys*, of positions that were to be closed."""
        outputs: list[Outgoing] = []
        spot = {key for key in keys if self._coins.are_at(key)}
        for row in list(self._view.positions.values()) if spot else ():
            key = (row.account, row.exchange)
            if key not in spot or not self._is_dust(key, row):
                continue
            fill = dust_of(row, self._clock.wall_ms())
            told = self._owed.owe(fill, self._clock.monotonic_ms())
            if told:
                log.warning(
                    "%s: %s is less than the smallest order, and leaves the books",
                    row.book_id,
                    canonical(row.quantity),
                )
            outputs += told
        self._asked &= self._view.positions.keys()
        return outputs

    def _is_dust(self, key: Key, row: PositionRow) -> bool:
        """Whether it was to be closed, or its stop has filled, nothing of it is on its way, and it is too small at this price and at that of its entry."""
        asked = row.position_id in self._asked
        if not (asked or row.exit_attempts or row.exit_reason) or self._view.live_orders(row.book_id):
            return False
        rules = self._venues[key].rules(row.symbol)
        if rules is None or self._inflight.is_moving(row.book_id):
            return False
        prices = [self._price(row)] if asked else [self._price(row), row.entry_price]
        sellable = round_down(row.quantity, rules.quantity_step)
        return all(sellable < least_quantity(rules, price) for price in prices)

    def _price(self, row: PositionRow) -> Decimal:
        quote = self._prices.get(row.symbol)
        return row.entry_price if quote is None else quote.bid
