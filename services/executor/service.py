"""The executor's handlers: entries, exits, the ledger's updates and answers, ticks, time.

One intent's way: `intake` turns it into a proposal (`order.reserve`), `desk` waits for the ledger's answer, `dispatch`
sends the order once the ledger shows it as RESERVED for this incarnation, `owed` keeps every fill and status until the
ledger shows it, `reconcile` compares the venue with the ledger. Here they are put together; nothing is decided here.
"""

import asyncio
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from holdfast.contracts.codes import Code, FillKind, ResultStatus, UpdateKind
from holdfast.contracts.leases import APART, EPOCHS
from holdfast.contracts.messages import IntentResult, LedgerUpdated, Tick
from holdfast.contracts.wire import Entry, Outgoing
from holdfast.domain.inflight import InFlight
from holdfast.domain.leases import written
from holdfast.domain.view import LedgerView
from holdfast.runtime.clock import Clock
from holdfast.runtime.faults import EXIT_HELD, Terminal
from holdfast.runtime.ids import Ids
from holdfast.runtime.settings import Settings
from holdfast.venues.paper import PaperVenue
from holdfast.venues.port import Venue
from services.executor.desk import Batch, Desk
from services.executor.dispatch import Dispatcher
from services.executor.gate import Gate
from services.executor.guard import Guard, Key
from services.executor.intake import Intake, passes_freely
from services.executor.keeper import Keeper
from services.executor.live_limits import LiveLimits
from services.executor.marking import Marking
from services.executor.owed import Owed
from services.executor.prices import Prices
from services.executor.reconcile import Reconciler
from services.executor.resting import Resting
from services.executor.taking_in import TakingIn
from services.executor.terms import stops_of, terms_of
from services.executor.way_out import WayOut
from services.executor.worth import means_of

log = logging.getLogger("holdfast.executor")
MOST_WARNINGS = 20
AFTER_A_DOUBT_MS = 1_500
"""Until the ledger has the end of the exit that was refused or cut: while it moves, nothing is compared."""
_NO_END = frozenset({ResultStatus.ACCEPTED, ResultStatus.UNKNOWN})


class Executor:
    """See the module. *venues* by (account, exchange) may be filled until the first view is loaded."""

    def __init__(
        self,
        settings: Settings,
        clock: Clock,
        ids: Ids,
        view: LedgerView,
        venues: Mapping[tuple[str, str], Venue],
        incarnation: str,
        *,
        bus_fullness_pct: Callable[[], float | None] = lambda: None,
    ) -> None:
        self._clock, self._view, self._venues = clock, view, venues
        self._bus_fullness_pct, self._full_pct = bus_fullness_pct, settings.bus.full_pct
        resend = settings.executor.resend_after_ms
        self.guard, self.owed, self.prices = Guard(venues), Owed(resend), Prices()
        self.desk = Desk(resend, settings.executor.send_within_ms)
        self.inflight, self.gate = InFlight(), Gate(settings, clock)
        self.dispatcher = Dispatcher(
            clock=clock, ids=ids, view=view, guard=self.guard, desk=self.desk, owed=self.owed, incarnation=incarnation,
            resend_after_ms=resend,
        )  # fmt: skip
        self.reconciler = Reconciler(
            clock=clock, view=view, guard=self.guard, owed=self.owed, inflight=self.inflight, dispatcher=self.dispatcher,
            every_ms=int(settings.executor.reconcile_every_s * 1000),
        )  # fmt: skip
        self.resting = Resting(settings, clock, view, self.guard, self.dispatcher, self.reconciler)
        coins, notional = self.reconciler.coins, self.inflight.exposure.account_notional
        self.live = LiveLimits(settings, clock, view, self.guard, coins, notional)
        self.way_out = WayOut(clock, view, venues, coins, self.inflight, self.prices, self.owed, self.desk)
        self.intake = Intake(
            terms=terms_of(settings), clock=clock, view=view, venues=venues, inflight=self.inflight, desk=self.desk, prices=self.prices,
            incarnation=incarnation, closed=self.guard.closed, objection=self._objection, bus_objection=self._bus_objection, was_sent=self.dispatcher.was_sent,
            gate=self.gate, live=self.live, means=means_of(settings, view, self.prices, clock), way_out=self.way_out,
        )  # fmt: skip
        self.keeper = Keeper(
            terms=stops_of(settings), clock=clock, view=view, venues=venues, desk=self.desk, way_out=self.way_out, epoch=self.intake.epoch, incarnation=incarnation, triggered=self.dispatcher.triggered,
        )  # fmt: skip
        self.taking_in = TakingIn(self.live.accounts, clock, view, self.guard, self.owed, self.desk, incarnation)  # fmt: skip
        self.marking = Marking(settings, clock, ids, view, lambda: (account for account, _ in self._keys()), self.live.wallets.began)  # fmt: skip
        self.lanes: dict[Key, asyncio.Event] = {}
        """Venues that are served by a lane of their own (`services.executor.lanes`), and what wakes it; not by the handlers below."""
        self._loaded = asyncio.Event()
        self._started_ms = 0
        self._unseen: dict[str, Tick] = {}
        self._apart = "" if settings.executor.account else ",".join(settings.executor.apart)
        self._recognised: set[str] = set()
        """Accounts for which the ledger has shown our epoch."""
        self._held_back: list[Outgoing] = []
        """Proposals of exits that came in one batch with entries which must wait: the next handler that returns takes them along."""

    # -- intents ------------------------------------------------------------------------------------------------------------------

    async def on_entries(self, batch: Sequence[Entry]) -> list[Outgoing]:
        """`order.intent`, and each producer's own. Waits while two batches are unanswered; exits among the entries do not."""
        await self._loaded.wait()
        free = [entry for entry in batch if passes_freely(entry)]
        waiting = [entry for entry in batch if not passes_freely(entry)]
        outputs = self.intake.take(free, None)
        if waiting:
            if self.desk.is_full:
                self._held_back += outputs
                outputs = []
                await self.desk.room()
            outputs += self.intake.take(waiting, Batch())
        return outputs

    async def on_exits(self, batch: Sequence[Entry]) -> list[Outgoing]:
        """`order.intent.exit`, the express lane: never waits for anything but the first view."""
        await self._loaded.wait()
        return self._take_held_back() + self.intake.take(batch, None)

    def _take_held_back(self) -> list[Outgoing]:
        held, self._held_back = self._held_back, []
        return held

    def _keys(self) -> set[Key]:
        """Every venue of this executor, those that have not answered yet included."""
        return {*self._venues, *self.guard.closed}

    def _here(self) -> list[Key]:
        """The venues without a lane of their own."""
        return [key for key in self._venues if key not in self.lanes]

    def _wake_lanes(self) -> None:
        for news in self.lanes.values():
            news.set()

    def _objection(self, key: tuple[str, str], book: str) -> tuple[Code, str] | None:
        return self.guard.objection(key) or self.reconciler.objection(book) or self.taking_in.objection(key, book)  # fmt: skip

    def _bus_objection(self) -> tuple[Code, str] | None:
        full = self._bus_fullness_pct()
        if full is None or full < self._full_pct:
            return None
        return (
            Code.BUS_FULL,
            f"the bus uses {full:.0f} % of its memory; from bus.full_pct = {self._full_pct} on only exits pass",
        )

    # -- the ledger ---------------------------------------------------------------------------------------------------------------

    async def on_reset(self) -> list[Outgoing]:
        """The view was loaded from a snapshot: at start, and after a gap, a wipe, a rewind."""
        view = self._view
        self._started_ms = self._started_ms or self._clock.wall_ms()
        for account in {account for account, _ in self._keys()}:
            self.intake.epochs.setdefault(account, 1 + view.executors.get(account, 0))
        self._check_epochs(view.executors, None)
        self.guard.bind(view)
        self.inflight.load(view)
        self.marking.load()
        self.keeper.load()
        self.owed.start_again(view.orders)
        self.guard.start_again()
        self.desk.start_again()
        self.reconciler.start_again()
        for row in list(view.orders.values()):
            self.dispatcher.take_row(row, fresh=True)
        self._wake_lanes()
        here = self._here()
        outputs = self._take_held_back() + await self._send(here)
        outputs += await self.dispatcher.look_up_due(here)
        await self.live.refresh(here)
        self._loaded.set()
        return outputs

    async def on_updates(self, updates: Sequence[LedgerUpdated]) -> list[Outgoing]:
        """Rows that changed: confirm what is owed, acknowledge what is answered, send what is reserved, cancel what is to end."""
        outputs = self._take_held_back()
        mono = self._clock.monotonic_ms()
        for update in updates:
            if update.executors:
                self._check_epochs(update.executors, update.at)
            self.reconciler.coins.hear(update)
            for row in update.orders:
                self.inflight.take_order(row)
                self.owed.order_row(row)
                self.dispatcher.take_row(row)
            self.keeper.hear(update)
            for position in update.positions:
                self.inflight.take_position(position)
            self.marking.take_positions(update.positions)
            for fill in update.fills:
                self.owed.confirm(fill.key)
            for intent in update.intents:
                if intent.is_final:
                    self._withdraw(intent.intent_id)
                outputs += self.desk.answered(intent.intent_id, mono)
            if update.kind is UpdateKind.ADOPTED:
                await self._adopt(update)
        ended = [row for update in updates for row in update.orders if not row.is_live]
        outputs += self.desk.ended(ended, mono)
        outputs += self.keeper.run()
        self._wake_lanes()
        return outputs + await self._send(self._here())

    async def _send(self, keys: Sequence[Key]) -> list[Outgoing]:
        outputs = await self.dispatcher.send(keys) + await self.dispatcher.cancel_due(keys)
        return outputs + await self.way_out.look(keys)

    def _withdraw(self, intent_id: str) -> None:
        """The intent has ended; if its order was never recorded, its claim on the book goes."""
        pending = self.desk.pending.get(intent_id)
        order = pending.reserve.order if pending is not None else None
        if order is not None and order.order_id not in self._view.orders:
            self.desk.asked.pop(order.order_id, None)
            self.inflight.withdraw(order.order_id)

    async def _adopt(self, update: LedgerUpdated) -> None:
        """Positions that a person brought in exist at the paper venue from now on, too."""
        for key, venue in self._venues.items():
            fills = [
                fill
                for fill in update.fills
                if fill.kind is FillKind.ADOPTION and (fill.account, fill.exchange) == key
            ]
            if fills and isinstance(venue, PaperVenue):
                await self.guard.read(key, "adopt", venue.adopt(fills, now_ms=self._clock.wall_ms()))

    def entitled(self, epochs: Mapping[str, int]) -> None:
        """The ledger has given us these: whoever shows a higher one has come after us."""
        self.intake.epochs.update(epochs)
        self._recognised.update(epochs)

    def _check_epochs(self, executors: Mapping[str, int], at: int | None) -> None:
        """Be above every executor that came before, and stop when one came after (INV-9).

        A snapshot (*at* None) may be older than the executors before us, whom only the updates behind it name: what was
        recorded before we started is history, and our epoch goes above it, until the ledger has shown our own.
        """
        for account, epoch in executors.items():
            mine = self.intake.epochs.get(account)
            if mine is None:
                continue
            if account not in self._recognised and (at is None or at < self._started_ms):
                if epoch >= mine:
                    self.intake.epochs[account] = epoch + 1
                    self.desk.raise_epoch(account, epoch + 1)
            elif epoch > mine:
                raise Terminal(
                    f"another executor has taken over account {account} (epoch {epoch}, this one has {mine})",
                    EXIT_HELD,
                )
            elif epoch == mine:
                self._recognised.add(account)

    async def on_results(self, batch: Sequence[Entry]) -> list[Outgoing]:
        """`intent.result`: repeated answers, which change nothing in the ledger and so appear nowhere else."""
        outputs: list[Outgoing] = []
        mono = self._clock.monotonic_ms()
        for entry in batch:
            result = entry.message
            if not isinstance(result, IntentResult) or not result.repeated:
                continue
            pending = self.desk.pending.get(result.intent_id)
            if pending is None:
                continue
            if result.cause_id == pending.reserve.id and result.status not in _NO_END:
                self._withdraw(result.intent_id)
            outputs += self.desk.answered(result.intent_id, mono)
        return outputs

    # -- prices and time ------------------------------------------------------------------------------------------------------------

    async def on_ticks(self, batch: Sequence[Entry]) -> list[Outgoing]:
        """`market.tick`: the pre-check's prices; and what the venue does at them."""
        now = self._clock.wall_ms()
        self.marking.take_ticks(batch)
        ticks = self.prices.take((entry.message for entry in batch if isinstance(entry.message, Tick)), now)
        outputs = self._take_held_back()
        if not self._started_ms:
            self._unseen.update({tick.symbol: tick for tick in ticks})
        return outputs + await self._show(ticks, now)

    async def catch_up(self) -> list[Outgoing]:
        """The newest prices from before the start, for venues that have no others."""
        unseen, self._unseen = self._unseen, {}
        return await self._show(list(unseen.values()), self._clock.wall_ms())

    async def _show(self, ticks: Sequence[Tick], now: int) -> list[Outgoing]:
        venues, here = self._venues, self._here()
        found = [await self.guard.read(key, "ticks", venues[key].on_ticks(ticks, now_ms=now)) for key in here]
        return [out for events in found for out in self.dispatcher.take_events(events)]

    async def on_time(self) -> list[Outgoing]:
        """Each 200 ms: publish again what nobody has confirmed, ask about what is unproven, compare."""
        if not self._loaded.is_set():
            return []
        mono, wall = self._clock.monotonic_ms(), self._clock.wall_ms()
        outputs = self._take_held_back() + self.desk.due(mono, wall) + self.owed.due(mono, self._view.orders)
        for order_id in self.desk.overdue(mono):
            self.inflight.withdraw(order_id)
        outputs += self.dispatcher.tell_accepted()
        if self.dispatcher.compare_soon:
            self.dispatcher.compare_soon = False
            self.reconciler.soon(AFTER_A_DOUBT_MS)
        outputs += await self._ask(self._here())
        await self.resting.run(self._here())
        outputs += self.intake.release() + self.keeper.run() + self.marking.due()
        self.dispatcher.forget_old()
        return outputs

    async def _ask(self, keys: Sequence[Key]) -> list[Outgoing]:
        """What happened at *keys*, and whether it is as the ledger says."""
        outputs = await self._poll(keys) + await self.dispatcher.cancel_due(keys)
        outputs += await self.dispatcher.look_up_due(keys)
        await self.live.refresh(keys)
        outputs += await self.reconciler.run(keys)
        await self.live.wallets.refresh(keys)
        outputs += self.way_out.due(keys) + self.taking_in.due(keys, self.intake.epochs)
        return outputs + await self.way_out.look(keys)

    async def _poll(self, keys: Sequence[Key]) -> list[Outgoing]:
        now, venues = self._clock.wall_ms(), self._venues
        found = [await self.guard.read(key, "poll", venues[key].poll(now_ms=now)) for key in keys]
        return [out for events in found for out in self.dispatcher.take_events(events)]

    # -- lanes --------------------------------------------------------------------------------------------------------------------

    def admit(self, key: Key) -> list[Outgoing]:
        """The exchange of a lane is open: what waited for it goes on."""
        self.guard.admit(key)
        if not self._started_ms:
            return []  # the first view will show everything
        for row in list(self._view.orders.values()):
            if (row.account, row.exchange) == key:
                self.dispatcher.take_row(row, fresh=True)
        self.lanes[key].set()
        return self.intake.release()

    async def send_in_lane(self, key: Key) -> list[Outgoing]:
        """Orders and cancels of a lane: at once when it is woken."""
        return await self.dispatcher.send([key]) + await self.dispatcher.cancel_due([key], poll=False)

    async def look_in_lane(self, key: Key) -> list[Outgoing]:
        """What is read right after that: what became of cancels, and what exits wait for."""
        return await self._poll([key]) + await self.way_out.look([key])

    async def ask_in_lane(self, key: Key) -> list[Outgoing]:
        """Reads of a lane, each 200 ms; its sends never wait for them."""
        return await self._ask([key]) if self._loaded.is_set() else []

    # -- the light ----------------------------------------------------------------------------------------------------------------

    def heartbeat(self) -> dict[str, Any]:
        """Fields of this service's heartbeat."""
        complaints = [*self._unwatched(), *self.guard.complaints(), *self.reconciler.complaints()]
        return {
            "seq": max(self._view.seq, 0),
            "unreadable": "; ".join(complaints)[:1000] or None,
            "warnings": [text[:1000] for text in self._warnings()][:MOST_WARNINGS],
            "details": {
                "live": ", ".join(f"{name} at {one.exchange}" for name, one in self.live.accounts.items()),
                "unanswered": str(len(self.desk.pending)),
                "unconfirmed_fills": str(len(self.owed.fills)),
                "unconfirmed_statuses": str(len(self.owed.statuses)),
                "live_orders": str(len(self._view.orders)),
                "looked_up": str(len(self.dispatcher.lookups)),
                "prices": str(len(self.prices)),
                "dead_man": self.resting.dead_man.told()[:1000],
                EPOCHS: written(self.intake.epochs),
                APART: self._apart,
                **self.live.wallets.told(),
            },
        }

    def _unwatched(self) -> Iterator[str]:
        """Exchanges that have not answered since the start, and where something of ours is."""
        for key, why in self.guard.closed.items():
            held = sum((row.account, row.exchange) == key for row in self._view.positions.values())
            orders = sum((row.account, row.exchange) == key for row in self._view.orders.values())
            if held or orders:
                yield f"{'/'.join(key)} is not ready yet, nobody watches {held} positions and {orders} orders there: {why}"

    def _warnings(self) -> list[str]:
        closed = [f"{'/'.join(key)} is not ready yet: {why}" for key, why in self.guard.closed.items()]
        warnings = [
            *closed,
            *self.dispatcher.missing.values(),
            *self.reconciler.warnings(),
            *self.keeper.warnings(),
            *self.resting.dead_man.warnings(),
            *self.live.wallets.warnings(),
            *self.desk.warnings(self._clock.monotonic_ms()),
        ]
        if unknown := len(self._view.unknown_orders()):
            warnings.append(f"{unknown} orders have no clear answer from the venue yet")
        return warnings
