"""What the executor owes the ledger: every fill and every status it has published, until the ledger shows it.

A bus may be wiped between publishing and the ledger's reading, so nothing published is forgotten: it is kept here and
published again, the same message, until `ledger.updated` shows it. (The ledger applies a fill once, whatever comes.)

Fills read back from the venue's history are of two kinds. Where the ledger shows the order live, the order's filled sum
says whether anything is missing. Where the order has ended, nothing in the view says; such fills are offered once per
life of the bus, and the comparison of positions tells whether that was enough. All times are monotonic ms.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from holdfast.contracts.codes import OrderState, StatusKind
from holdfast.contracts.messages import Fill, OrderStatus
from holdfast.contracts.money import ZERO, add
from holdfast.contracts.rows import OrderRow
from holdfast.contracts.streams import FILL, ORDER_STATUS
from holdfast.contracts.wire import Out, Outgoing
from services.executor.desk import patience_ms

KEEP_KNOWN = 50_000
"""Most keys of confirmed fills that are remembered, about 150 bytes each: more than a reconciliation reads back. One that was
forgotten and is read back is published once more, and the ledger knows it."""
SURE_AFTER = 3
"""Publications after which a fill of an ended order counts as applied, if the positions agree."""


@dataclass(slots=True)
class _OwedFill:
    fill: Fill
    published: int
    times: int = 1
    until_filled: Decimal | None = None
    """The order's filled sum that proves this fill applied."""
    uncertain: bool = False
    """Its order is no longer live in the ledger: an update that confirmed it may have been missed."""


@dataclass(slots=True)
class _OwedStatus:
    status: OrderStatus
    published: int
    times: int = 1


class Owed:
    """See the module."""

    def __init__(self, resend_after_ms: int) -> None:
        self._resend_after_ms = resend_after_ms
        self.fills: dict[str, _OwedFill] = {}
        self.statuses: dict[str, _OwedStatus] = {}
        self._of_order: dict[str, set[str]] = {}
        self._known: dict[str, None] = {}
        self._offered: set[str] = set()

    # -- fills ----------------------------------------------------------------------------------------------------------

    def owe(self, fill: Fill, mono_ms: int, *, until_filled: Decimal | None = None) -> list[Outgoing]:
        """A fill that the venue has just told. Empty when the ledger is known to have it, or it is owed already."""
        key = fill.key
        if key in self._known:
            return []
        owed = self.fills.get(key)
        if owed is not None:
            owed.until_filled = until_filled if until_filled is not None else owed.until_filled
            return []
        self.fills[key] = _OwedFill(fill, mono_ms, until_filled=until_filled)
        self._of_order.setdefault(fill.order_id, set()).add(key)
        return [Out(FILL, fill)]

    def history(self, trades: Iterable[Fill], orders: Mapping[str, OrderRow], mono_ms: int) -> list[Outgoing]:
        """Fills read back from the venue; *orders* are those the ledger shows live. For those it must be all their trades."""
        by_order: dict[str, list[Fill]] = {}
        for fill in trades:
            by_order.setdefault(fill.order_id, []).append(fill)
        outputs: list[Outgoing] = []
        for order_id, fills in by_order.items():
            row = orders.get(order_id)
            if row is None:
                outputs += [out for fill in fills for out in self._offer(fill)]
                continue
            total = ZERO
            for fill in fills:
                total = add(total, fill.quantity)
            for fill in fills:
                if row.filled >= total:
                    self.confirm(fill.key)
                else:
                    outputs += self.owe(fill, mono_ms, until_filled=total)
        return outputs

    def _offer(self, fill: Fill) -> list[Outgoing]:
        key = fill.key
        if key in self._known or key in self.fills or key in self._offered:
            return []
        self._offered.add(key)
        return [Out(FILL, fill)]

    def confirm(self, key: str) -> None:
        """The ledger has this fill."""
        self._known[key] = None
        if len(self._known) > KEEP_KNOWN:
            del self._known[next(iter(self._known))]
        owed = self.fills.pop(key, None)
        if owed is not None:
            keys = self._of_order[owed.fill.order_id]
            keys.discard(key)
            if not keys:
                del self._of_order[owed.fill.order_id]

    # -- statuses --------------------------------------------------------------------------------------------------------

    def say(self, status: OrderStatus, mono_ms: int) -> list[Outgoing]:
        """A status to publish; empty when the same is owed already. The latest of an order replaces earlier ones."""
        owed = self.statuses.get(status.order_id)
        if owed is not None and (owed.status.status, owed.status.filled_quantity) == (
            status.status,
            status.filled_quantity,
        ):
            return []
        self.statuses[status.order_id] = _OwedStatus(status, mono_ms)
        return [Out(ORDER_STATUS, status)]

    # -- what the ledger shows ---------------------------------------------------------------------------------------------

    def order_row(self, row: OrderRow) -> None:
        """An order as the ledger shows it: what of it is no longer owed."""
        owed = self.statuses.get(row.order_id)
        if owed is not None and _shows(row, owed.status.status):
            del self.statuses[row.order_id]
        keys = self._of_order.get(row.order_id)
        if keys:
            for key in list(keys):
                until = self.fills[key].until_filled
                if until is not None and row.filled >= until:
                    self.confirm(key)

    def start_again(self, orders: Mapping[str, OrderRow]) -> None:
        """The view was loaded afresh: updates may have been missed, and the bus may have lost what was offered.

        The ledger may also have lost what it had: a backup was restored. So what it was known to have counts no more.
        """
        self._offered.clear()
        self._known.clear()
        for row in orders.values():
            self.order_row(row)
        for owed in self.fills.values():
            owed.uncertain = owed.fill.order_id not in orders
            owed.times = 1 if owed.uncertain else owed.times

    def agrees(self, symbol: str) -> None:
        """Venue and ledger hold the same of *symbol*: fills of ended orders that were published often enough are in it."""
        for key in [
            key
            for key, owed in self.fills.items()
            if owed.fill.symbol == symbol and owed.uncertain and owed.times >= SURE_AFTER
        ]:
            self.confirm(key)

    def offer_again(self, keys: Iterable[str]) -> None:
        """Forget that these were offered: the positions differ, so one of them may be missing."""
        self._offered.difference_update(keys)

    def symbols(self) -> frozenset[tuple[str, str, str]]:
        """(account, exchange, symbol) of every fill that is owed."""
        return frozenset(
            (owed.fill.account, owed.fill.exchange, owed.fill.symbol) for owed in self.fills.values()
        )

    def has_fill_of(self, order_id: str) -> bool:
        return order_id in self._of_order

    # -- time ------------------------------------------------------------------------------------------------------------

    def due(self, mono_ms: int, live: Mapping[str, OrderRow]) -> list[Outgoing]:
        """What to publish again. A status of an order that the ledger no longer shows live has done its work, or never will."""
        again: list[Outgoing] = []
        for owed in self.fills.values():
            if mono_ms - owed.published >= patience_ms(self._resend_after_ms, owed.times):
                owed.published, owed.times = mono_ms, owed.times + 1
                again.append(Out(FILL, owed.fill))
        for order_id, said in list(self.statuses.items()):
            if mono_ms - said.published < patience_ms(self._resend_after_ms, said.times):
                continue
            if order_id not in live and said.times >= SURE_AFTER:
                del self.statuses[order_id]
                continue
            said.published, said.times = mono_ms, said.times + 1
            again.append(Out(ORDER_STATUS, said.status))
        return again


_STATES: Mapping[StatusKind, frozenset[OrderState]] = {
    StatusKind.ACCEPTED: frozenset({OrderState.OPEN, OrderState.PARTIAL, OrderState.CANCELING}),
    StatusKind.UNKNOWN: frozenset({OrderState.UNKNOWN}),
}
"""States that show a status as taken in. Ended orders show every one."""


def _shows(row: OrderRow, kind: StatusKind) -> bool:
    if not row.is_live or row.state in _STATES.get(kind, ()):
        return True
    ends = kind not in _STATES
    return ends and row.state is OrderState.UNKNOWN and row.claimed is not None


__all__: Sequence[str] = ["Owed"]
