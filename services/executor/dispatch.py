"""Between the ledger's orders and the venue: what is sent, canceled, looked up, and what is told about it.

The one rule that everything here serves: an order is sent once, by the incarnation that asked for it, before its
`send_by`, and only after it was read back from the ledger as RESERVED (INV-3, INV-4). It is taken out of `desk.asked`
*before* the send, so no failure in between can send it again. Every other live order is looked up by client order id
and never sent; that one is absent is believed only of look-ups later than `send_by` and the venue's own delays.
"""

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass

from holdfast.contracts.codes import Code, Kind, OrderState, OrderType, Role, StatusKind, TimeInForce
from holdfast.contracts.messages import OrderStatus
from holdfast.contracts.rows import OrderRow
from holdfast.contracts.wire import Outgoing
from holdfast.domain.orders import CANCEL_ASKED
from holdfast.domain.view import LedgerView
from holdfast.runtime.clock import Clock
from holdfast.runtime.ids import Ids
from holdfast.venues.capabilities import absent_after_ms
from holdfast.venues.port import Events, Outcome, OutcomeKind, VenueOrder
from services.executor.desk import Desk, patience_ms
from services.executor.guard import Guard, Key
from services.executor.owed import Owed

LAZY_MS = 250
"""How long an accepted market order is given to fill before its acceptance is told: a fill implies it."""
PAPER_ABSENCE_MS = 100
"""After `send_by`: how long an order may stay invisible at the paper venue. Others: `venues.capabilities`."""
LOOK_AGAIN_MS = 500
KEEP_SENT_MS = 600_000
"""Longer than any `send_by` may lie ahead: so long it is remembered that an order was sent."""
ENDS = {
    OrderState.CANCELED: StatusKind.CANCELED,
    OrderState.EXPIRED: StatusKind.EXPIRED,
    OrderState.REJECTED: StatusKind.REJECTED,
}
_UNPROVEN = frozenset({OrderState.RESERVED, OrderState.UNKNOWN, OrderState.CANCELING})


@dataclass(slots=True)
class _LookUp:
    due: int
    times: int = 0


class Dispatcher:
    """See the module. Methods return what is to be published."""

    def __init__(
        self,
        *,
        clock: Clock,
        ids: Ids,
        view: LedgerView,
        guard: Guard,
        desk: Desk,
        owed: Owed,
        incarnation: str,
        resend_after_ms: int,
    ) -> None:
        self._clock, self._ids, self._view, self._guard = clock, ids, view, guard
        self._desk, self._owed = desk, owed
        self._incarnation, self._resend_after_ms = incarnation, resend_after_ms
        self._ready: dict[str, Key] = {}
        self._sent: dict[str, int] = {}
        self._quiet: dict[str, tuple[int, str | None]] = {}
        """Accepted, not told yet: order id -> (when to tell, venue order id)."""
        self._cancels: dict[str, int] = {}
        self.lookups: dict[str, _LookUp] = {}
        self.explained: Callable[[OrderRow, VenueOrder], VenueOrder] = lambda _, order: order
        """What else is known of an order's end than the venue says."""
        self.compare_soon = False
        """An exchange has refused or cut an exit: perhaps there is less left to close than we believe."""
        self.missing: dict[str, str] = {}
        """Orders that the venue had shown and shows no more."""
        self.triggered: dict[str, int] = {}
        """Live stops that the venue shows as triggered -> since when we know, wall ms."""

    # -- what the ledger shows --------------------------------------------------------------------------------------------

    def take_row(self, row: OrderRow, *, fresh: bool = False) -> None:
        """An order as the ledger shows it now; *fresh*: in a view that was loaded anew, so nothing is taken for told."""
        key, order_id = (row.account, row.exchange), row.order_id
        if key not in self._guard.venues:
            return
        self._guard.take_row(row)
        if not row.is_live:
            self._forget(order_id)
            return
        if row.state is not OrderState.RESERVED:
            self._quiet.pop(order_id, None)
        asked = self._desk.asked.get(order_id)
        if asked is not None and row.incarnation == self._incarnation and order_id not in self._sent:
            self._ready[order_id] = key
            return
        self._desk.asked.pop(order_id, None)
        now = self._clock.monotonic_ms()
        if row.state is OrderState.CANCELING or (
            row.state is OrderState.UNKNOWN and row.code in CANCEL_ASKED
        ):
            self._cancels.setdefault(order_id, now)
        if fresh or order_id not in self._sent or row.state is OrderState.UNKNOWN:
            self.look_up_soon(order_id)

    def _forget(self, order_id: str) -> None:
        """The order has ended. That it was sent is remembered: a rewound bus may show it as RESERVED once more."""
        tables = self._quiet, self._cancels, self.lookups, self.missing, self.triggered, self._desk.asked
        for table in tables:
            table.pop(order_id, None)

    def cancel(self, order_id: str) -> None:
        """Ask the venue for it, until the order has ended."""
        self._cancels.setdefault(order_id, self._clock.monotonic_ms())

    def look_up_soon(self, order_id: str) -> None:
        self.lookups.setdefault(order_id, _LookUp(self._clock.monotonic_ms()))

    # -- sending ---------------------------------------------------------------------------------------------------------

    async def send(self, keys: Collection[Key]) -> list[Outgoing]:
        """Send, at *keys*, what the ledger has shown as RESERVED for us: exits first."""
        ready = [order_id for order_id, key in self._ready.items() if key in keys]
        for order_id in ready:
            del self._ready[order_id]
        outputs: list[Outgoing] = []
        lanes: tuple[dict[Key, list[OrderRow]], dict[Key, list[OrderRow]]] = ({}, {})
        deadlines: dict[str, int] = {}
        for order_id in ready:
            asked = self._desk.asked.pop(order_id, None)
            row = self._view.orders.get(order_id)
            if asked is None or row is None or order_id in self._sent:
                continue
            if row.state is not OrderState.RESERVED:
                outputs += self._never_sent(row, "its cancel was asked for before it was sent")
                continue
            deadlines[order_id] = asked.deadline
            lanes[row.role is Role.ENTRY].setdefault((row.account, row.exchange), []).append(row)
        for lane in lanes:
            for key, rows in lane.items():
                outputs += await self._submit(key, rows, deadlines)
        return outputs

    async def _submit(self, key: Key, rows: Sequence[OrderRow], deadlines: dict[str, int]) -> list[Outgoing]:
        wall, mono = self._clock.wall_ms(), self._clock.monotonic_ms()
        outputs: list[Outgoing] = []
        batch = []
        for row in rows:
            if wall > row.send_by or mono > deadlines[row.order_id]:
                outputs += self._never_sent(row, "send_by passed before the wire")
            else:
                self._sent[row.order_id] = mono
                batch.append(row)
        if batch:
            outcomes = {outcome.order_id: outcome for outcome in await self._guard.send(key, batch, wall)}
            for row in batch:
                outputs += self._outcome(row, outcomes.get(row.order_id))
        return outputs

    def _never_sent(self, row: OrderRow, evidence: str) -> list[Outgoing]:
        """Proven absent: only this incarnation could have sent it, and it did not."""
        return self._say(row, StatusKind.ABSENT, code=Code.NOT_SENT, evidence=evidence)

    def _outcome(self, row: OrderRow, outcome: Outcome | None) -> list[Outgoing]:
        if outcome is None or outcome.kind is OutcomeKind.UNKNOWN:
            reason = outcome.reason if outcome is not None else "the venue's answer does not name the order"
            self.look_up_soon(row.order_id)
            return self._say(row, StatusKind.UNKNOWN, evidence=reason or "no clear answer to the send")
        if outcome.kind is OutcomeKind.REJECTED:
            self.compare_soon |= (
                row.role is not Role.ENTRY and (row.account, row.exchange) in self._guard.remotes
            )
            return self._say(
                row,
                StatusKind.REJECTED,
                code=outcome.code or Code.VENUE_REJECTED,
                evidence=outcome.reason,
                venue_order_id=outcome.venue_order_id,
            )
        if outcome.kind is OutcomeKind.NOT_SENT:
            return self._never_sent(row, outcome.reason or "send_by passed before the wire")
        if row.role is Role.PROTECT:  # it counts as resting once it was read back from where it lives
            self.look_up_soon(row.order_id)
            return []
        if row.type is OrderType.LIMIT and row.time_in_force is TimeInForce.GTC:
            return self._say(row, StatusKind.ACCEPTED, venue_order_id=outcome.venue_order_id)
        self._quiet[row.order_id] = (self._clock.monotonic_ms() + LAZY_MS, outcome.venue_order_id)
        return []

    def _doubt(self, row: OrderRow) -> None:
        self.compare_soon |= row.role is not Role.ENTRY and (row.account, row.exchange) in self._guard.remotes

    def _say(
        self,
        row: OrderRow,
        kind: StatusKind,
        *,
        code: Code | None = None,
        evidence: str = "",
        venue_order_id: str | None = None,
        filled: VenueOrder | None = None,
    ) -> list[Outgoing]:
        self._quiet.pop(row.order_id, None)
        status = OrderStatus.trusted(
            id=self._ids.new(),
            cause_id=row.intent_id,
            correlation_id=row.correlation_id,
            at=self._clock.wall_ms(),
            order_id=row.order_id,
            account=row.account,
            exchange=row.exchange,
            status=kind,
            code=code,
            reason=None,
            venue_order_id=venue_order_id,
            filled_quantity=filled.filled if filled is not None else None,
            evidence=evidence[:1000] or None,
        )
        return self._owed.say(status, self._clock.monotonic_ms())

    # -- what the venue tells ----------------------------------------------------------------------------------------------

    def take_events(self, events: Events | None) -> list[Outgoing]:
        """Fills and ends that the venue has told."""
        if events is None:
            return []
        mono = self._clock.monotonic_ms()
        outputs: list[Outgoing] = []
        for fill in events.fills:
            self._quiet.pop(fill.order_id, None)
            outputs += self._owed.owe(fill, mono)
        for order in events.orders:
            row = self._view.orders.get(order.order_id)
            if row is not None:
                self._note(order)
                outputs += self._end(row, order)
        return outputs

    def _note(self, order: VenueOrder) -> None:
        if order.triggered:
            self.triggered.setdefault(order.order_id, self._clock.wall_ms())

    def _end(self, row: OrderRow, order: VenueOrder) -> list[Outgoing]:
        order = self.explained(row, order)
        kind = ENDS.get(order.state)
        if kind is None:
            return []
        if order.code is Code.UNFILLED:
            self._doubt(row)
        return self._say(
            row,
            kind,
            code=order.code,
            evidence=order.evidence,
            venue_order_id=order.venue_order_id,
            filled=order,
        )

    # -- time -------------------------------------------------------------------------------------------------------------

    def tell_accepted(self) -> list[Outgoing]:
        """Acceptances of orders that did not fill at once."""
        now = self._clock.monotonic_ms()
        outputs: list[Outgoing] = []
        for order_id in [key for key, (due, _) in self._quiet.items() if due <= now]:
            _, venue_order_id = self._quiet.pop(order_id)
            row = self._view.orders.get(order_id)
            if row is not None and row.state is OrderState.RESERVED and not self._owed.has_fill_of(order_id):
                outputs += self._say(row, StatusKind.ACCEPTED, venue_order_id=venue_order_id)
        return outputs

    def forget_old(self) -> None:
        """Drop what was sent so long ago that no `send_by` can still lie ahead."""
        before = self._clock.monotonic_ms() - KEEP_SENT_MS
        while (
            self._sent
            and (oldest := next(iter(self._sent.items())))[1] < before
            and oldest[0] not in self._view.orders
        ):
            del self._sent[oldest[0]]

    async def cancel_due(self, keys: Collection[Key], *, poll: bool = True) -> list[Outgoing]:
        """Ask the venues *keys* for the cancels that the ledger wants; again while the order stays CANCELING. *poll*: and what became of them."""
        now = self._clock.monotonic_ms()
        groups: dict[Key, list[OrderRow]] = {}
        for order_id in [key for key, due in self._cancels.items() if due <= now]:
            row = self._view.orders.get(order_id)
            if row is None:
                del self._cancels[order_id]
            elif (key := (row.account, row.exchange)) in keys:
                self._cancels[order_id] = now + self._resend_after_ms
                groups.setdefault(key, []).append(row)
        self._guard.asked_no_more("cancel", lambda: self._venues_of(self._cancels))
        outputs: list[Outgoing] = []
        for key, rows in groups.items():
            venue, wall = self._guard.venues[key], self._clock.wall_ms()
            outcomes = await self._guard.read(key, "cancel", venue.cancel(rows, now_ms=wall))
            for outcome in outcomes or ():
                if outcome.kind is not OutcomeKind.ACCEPTED:
                    self.look_up_soon(outcome.order_id)
            if poll:
                outputs += self.take_events(await self._guard.read(key, "poll", venue.poll(now_ms=wall)))
        return outputs

    async def look_up_due(self, keys: Collection[Key]) -> list[Outgoing]:
        """Ask the venues *keys* about every order whose state is not proven."""
        now = self._clock.monotonic_ms()
        groups: dict[Key, list[str]] = {}
        for order_id in [key for key, look in self.lookups.items() if look.due <= now]:
            row, look = self._view.orders.get(order_id), self.lookups[order_id]
            if row is None:
                del self.lookups[order_id]
            elif (key := (row.account, row.exchange)) in keys:
                look.times += 1
                look.due = now + min(patience_ms(LOOK_AGAIN_MS, look.times), 5_000)
                groups.setdefault(key, []).append(order_id)
        self._guard.asked_no_more("look-up", lambda: self._venues_of(self.lookups))
        outputs: list[Outgoing] = []
        for key, order_ids in groups.items():
            outputs += await self._look_up(key, order_ids)
        return outputs

    def _venues_of(self, order_ids: Iterable[str]) -> set[Key]:
        rows = (self._view.orders.get(order_id) for order_id in order_ids)
        return {(row.account, row.exchange) for row in rows if row is not None}

    async def _look_up(self, key: Key, order_ids: Sequence[str]) -> list[Outgoing]:
        venue = self._guard.venues[key]
        asked_at, asked_mono = self._clock.wall_ms(), self._clock.monotonic_ms()
        shown = await self._guard.read(key, "look-up", venue.look_up(order_ids))
        if shown is None:
            return []
        found = [order_id for order_id in order_ids if shown.get(order_id) is not None]
        trades = await self._guard.read(key, "look-up", venue.trades_of(found)) if found else []
        if trades is None:
            return []
        outputs = self._owed.history(trades, self._view.orders, self._clock.monotonic_ms())
        for order_id in order_ids:
            row = self._view.orders.get(order_id)
            if row is not None and order_id in shown:
                order = shown[order_id]
                outputs += (
                    self._absent(row, asked_at, asked_mono) if order is None else self._found(row, order)
                )
        return outputs

    def _found(self, row: OrderRow, order: VenueOrder) -> list[Outgoing]:
        self._sent.setdefault(row.order_id, self._clock.monotonic_ms())
        self.missing.pop(row.order_id, None)
        self._note(order)
        if order.state in ENDS:
            return self._end(row, order)
        if order.state is OrderState.FILLED:
            return []
        if row.state in {OrderState.RESERVED, OrderState.UNKNOWN}:
            return self._say(
                row,
                StatusKind.ACCEPTED,
                evidence=f"found by look-up: {order.evidence}",
                venue_order_id=order.venue_order_id,
            )
        self.lookups.pop(row.order_id, None)
        return []

    def _absent(self, row: OrderRow, asked_at: int, asked_mono: int) -> list[Outgoing]:
        """The venue answered and does not show it. Proof only when it is late enough, and nothing says it was there.

        Late enough by the wall clock, which `send_by` is in; and, of an order that we have sent ourselves, by the steady one
        too: a wall clock that is put forward while the send is on its way proves nothing.
        """
        was_there = row.filled > 0 or row.venue_order_id is not None or row.state not in _UNPROVEN
        if was_there and (row.role is not Role.PROTECT or row.kind is Kind.SPOT):
            self.missing[row.order_id] = (
                f"the venue does not show order {row.order_id} of {row.symbol}, which it had accepted"
            )
            return []
        after = PAPER_ABSENCE_MS if row.exchange == "paper" else absent_after_ms(row.exchange)
        sent = self._sent.get(row.order_id)
        early = row.send_by + after + 1 - asked_at
        if sent is not None:
            early = max(early, sent + self._desk.send_within_ms + after + 1 - asked_mono)
        if early > 0:
            look = self.lookups.get(row.order_id)
            if look is not None:
                look.due = self._clock.monotonic_ms() + min(early, 5_000)
            return []
        evidence = (
            f"look-up at {asked_at}, {asked_at - row.send_by} ms after send_by: the venue does not show it"
        )
        if was_there:  # a stop that was taken away so long ago that the venue has forgotten it: another one takes its place
            return self._say(row, StatusKind.CANCELED, evidence=f"{evidence} any more")
        return self._say(row, StatusKind.ABSENT, code=Code.NOT_SENT, evidence=evidence)

    def is_asked(self, order_id: str) -> bool:
        """Whether the order is waiting for the ledger's word to be sent."""
        return order_id in self._desk.asked

    def was_sent(self, order_id: str) -> bool:
        """Whether this incarnation has sent it, or found it at the venue."""
        return order_id in self._sent
