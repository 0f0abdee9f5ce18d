"""Entries that rest at a real exchange: until a time of their own, `good_till`, or until nobody is here (`dead_man`).

Where the exchange keeps such a time it has been sent along (`venues.ccxt_ways`), and the cancel here comes second: for times that the
exchange does not take, and for exchanges that have none.
"""

from collections.abc import Collection
from dataclasses import replace

from holdfast.contracts.codes import Code, OrderState, Role
from holdfast.contracts.rows import OrderRow
from holdfast.domain.orders import CANCEL_ASKED
from holdfast.domain.view import LedgerView
from holdfast.runtime.clock import Clock
from holdfast.runtime.settings import Settings
from holdfast.venues.port import VenueOrder
from services.executor.dead_man import SLACK_MS, DeadMan
from services.executor.dispatch import Dispatcher
from services.executor.guard import Guard, Key
from services.executor.reconcile import Reconciler
from services.executor.terms import switches

_THERE = frozenset({OrderState.OPEN, OrderState.PARTIAL})


class Resting:
    """See the module. From now on *dispatcher* asks it about ends that the venue does not explain."""

    def __init__(
        self,
        settings: Settings,
        clock: Clock,
        view: LedgerView,
        guard: Guard,
        dispatcher: Dispatcher,
        reconciler: Reconciler,
    ) -> None:
        self._clock, self._view, self._guard, self._dispatcher = clock, view, guard, dispatcher
        self.dead_man = DeadMan(switches(settings), clock, view, guard, reconciler.strangers)
        dispatcher.explained = self.explained

    async def run(self, keys: Collection[Key]) -> None:
        """Cancel at *keys* what has rested for long enough; and tell their exchanges that somebody is here."""
        now, remote = self._clock.wall_ms(), self._guard.remotes.keys() & set(keys)
        for row in self._view.orders.values() if remote else ():
            is_due = row.good_till is not None and row.good_till <= now and row.state in _THERE
            if is_due and (row.account, row.exchange) in remote:
                self._dispatcher.cancel(row.order_id)
        await self.dead_man.run(keys)

    def explained(self, row: OrderRow, order: VenueOrder) -> VenueOrder:
        """The end of *row* as the venue shows it. One that was canceled after its time, and for nothing else that we know of, is expired."""
        if order.state is not OrderState.CANCELED or row.role is not Role.ENTRY or row.code in CANCEL_ASKED:
            return order
        ended = (
            order.changed_at + SLACK_MS if order.changed_at else self._clock.wall_ms()
        )  # by its clock, which differs
        if row.good_till is not None and ended >= row.good_till:
            why = f"{order.evidence}, after its good_till {row.good_till}"
            return replace(order, state=OrderState.EXPIRED, code=Code.UNFILLED, evidence=why)
        return self.dead_man.explained(row, order)
