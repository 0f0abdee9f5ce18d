"""Wiring of the executor: which accounts, their lease and locks, a venue each, lanes of the live ones, and who is called for which stream."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import lru_cache, partial
from pathlib import Path

from holdfast.bus.app import Publish, ServiceApp
from holdfast.bus.seams import Seams
from holdfast.contracts.base import ContractViolation
from holdfast.contracts.messages import LedgerUpdated, Trade
from holdfast.contracts.streams import (
    EXECUTOR,
    HEARTBEAT,
    INTENT_RESULT,
    LEDGER_TRADE,
    MARKET_TICK,
    ORDER_INTENT,
    ORDER_INTENT_EXIT,
    intent_stream,
)
from holdfast.contracts.trusted import Tables
from holdfast.contracts.wire import Entry, Outgoing
from holdfast.domain.instruments import resolve
from holdfast.domain.view import LedgerView
from holdfast.runtime.faults import Terminal
from holdfast.runtime.live_settings import check_switch
from holdfast.runtime.locks import AlreadyHeld, Held, place_of
from holdfast.runtime.settings import Settings
from holdfast.venues.paper import PaperVenue
from holdfast.venues.paper_record import PaperRecord
from holdfast.venues.port import Rules, Venue, VenueUnreadable
from services.executor.guard import Key
from services.executor.lanes import Lane, first_answers
from services.executor.lease import Lease
from services.executor.service import Executor
from services.executor.share import Share
from services.executor.terms import live_of

PAPER = "paper"
TICK_EVERY_S = 0.2
BEATS_BEFORE_START = 200
"""Entries of heartbeat that are read at start: every service's last ones."""
TRADES_BEFORE_START = 1_000
"""Entries of ledger.trade that are read at start: funding of what has closed may not be booked yet."""
TICKS_BEFORE_START = 500
"""Entries of market.tick that are read at start, so that entries need not wait for the next tick."""


def rules_of(settings: Settings) -> Callable[[str], Rules | None]:
    """What a name means at the paper venue; None for a name that means nothing."""

    @lru_cache(maxsize=4096)
    def find(text: str) -> Rules | None:
        try:
            found = resolve(text, market=settings.paper.market, overrides=settings.instruments)
        except ContractViolation:
            return None
        return Rules(
            found.symbol, found.kind, found.base, found.quote, found.settle, found.contract_size,
            found.quantity_step, found.price_step, found.min_quantity, found.min_notional,
        )  # fmt: skip

    return find


def may_be_repeated(fields: Mapping[bytes, bytes]) -> bool:
    """Whether an `intent.result` may be a repeated answer; the others come with `ledger.updated`, too."""
    return b'"repeated":false' not in fields.get(b"body", b"")


def paper_venue(settings: Settings, account: str) -> Venue:
    """The paper venue of *account*, on its own record under `settings.dir`. Raises VenueUnreadable."""
    record = PaperRecord(settings.dir / "paper" / f"{account}.db", account, PAPER)
    return PaperVenue(account, PAPER, settings=settings.paper, instruments=rules_of(settings), record=record)


class Premises:
    """The locks and the venues that they guard: taken at start, given back at the end. Which venue, the account's mode says."""

    def __init__(
        self, settings: Settings, seams: Seams, open_venue: Callable[[Settings, str], Venue]
    ) -> None:
        self._settings, self._seams, self._open_venue = settings, seams, open_venue
        self._accounts = settings.served()
        self._live = live_of(settings)
        self._locks: dict[str, Held] = {}
        self.venues: dict[Key, Venue] = {}
        self.lanes: list[Lane] = []

    def lay(self, closed: dict[Key, str]) -> None:
        """A lane for each live account. *closed*: where it says that its exchange has not answered yet."""
        for account, one in self._live.items():
            connect = partial(self._open_live, account)
            self.lanes.append(Lane((account, one.exchange), connect, self._take, closed, self._seams.clock))

    async def check(self) -> None:
        """What can be said of the settings before anybody is asked. Raises Terminal."""
        check_switch(self._settings)
        if self._live:
            from holdfast.venues.live import preflight

            preflight(self._settings, self._accounts)

    def lock(self) -> str:
        """One executor per account in this directory (INV-9): take every lock, or none; where they are. Raises AlreadyHeld."""
        try:
            for account in self._accounts:
                if account not in self._locks:
                    self._locks[account] = self._seams.hold(self._path(account), EXECUTOR, self._seams.clock)
        except AlreadyHeld:
            self._unlock()
            raise
        return place_of(self._path(self._accounts[0]))

    def _path(self, account: str) -> Path:
        return self._settings.dir / "locks" / f"executor-{account}.lock"

    def _unlock(self) -> None:
        while self._locks:
            self._locks.popitem()[1].release()

    async def open(self) -> None:
        """The venues. Raises Terminal when a record cannot be read, or a live account is not as its settings say, as far as its
        exchange answers at once.
        """
        for account in self._accounts:
            if account not in self._live:
                self._take(self._paper(account))
        await first_answers(self.lanes)

    def _take(self, venue: Venue) -> None:
        self.venues[venue.account, venue.exchange] = venue

    async def _open_live(self, account: str) -> Venue:
        from holdfast.venues.live import open_live

        return await open_live(self._settings, account, self._seams.clock)

    def _paper(self, account: str) -> Venue:
        try:
            return self._open_venue(self._settings, account)
        except VenueUnreadable as error:
            raise Terminal(str(error)) from error

    async def close(self) -> None:
        for lane in self.lanes:
            await lane.close()
        for venue in self.venues.values():
            await venue.close()
        self._unlock()


def build(
    settings: Settings,
    seams: Seams | None = None,
    *,
    open_venue: Callable[[Settings, str], Venue] = paper_venue,
) -> ServiceApp:
    """The service, ready to run. *open_venue* opens the paper accounts; live ones go through `venues.live`."""
    share = Share(settings)
    app = ServiceApp(EXECUTOR, settings, seams, group=share.group)
    premises = Premises(settings, app.seams, open_venue)
    view = LedgerView(
        Tables(
            "positions", "orders", "books", "fills", "control", "totals", "nav", "quarantine",
            intents=lambda row: row["intent_id"] in executor.desk.pending,
        )
    )  # fmt: skip
    executor = Executor(
        settings,
        app.clock,
        app.ids,
        view,
        premises.venues,
        app.incarnation,
        bus_fullness_pct=lambda: app.bus_fullness_pct,
    )

    lease = Lease(
        share.accounts, app.incarnation, clock=app.clock, ids=app.ids, view=view,
        lease_ms=int(settings.executor.lease_s * 1000), lock=premises.lock,
    )  # fmt: skip
    app.on_start(premises.check)
    app.on_start(executor.gate.open)
    app.on_stop(premises.close)
    _wait_for_the_lease(app, lease, premises, executor)
    _follow(app, lease, view, executor)
    _lay_lanes(app, lease, premises, executor)
    _read_intents(app, share, executor)
    app.every(TICK_EVERY_S, executor.on_time)
    app.heartbeat(lambda: lease.beat(executor.heartbeat(), share.instance))
    return app


def _read_intents(app: ServiceApp, share: Share, executor: Executor) -> None:
    decode = share.decoded(executor.gate.decode)
    app.work(
        ORDER_INTENT_EXIT, share.only(executor.on_exits), acks="handler", malformed="handler", decode=decode
    )
    for stream in (ORDER_INTENT, *map(intent_stream, app.settings.producers)):
        app.work(
            stream,
            share.only(executor.on_entries),
            acks="handler",
            malformed="handler",
            batch=app.settings.executor.entry_batch,
            decode=decode,
        )


def _wait_for_the_lease(app: ServiceApp, lease: Lease, premises: Premises, executor: Executor) -> None:
    """No intent is read, and no venue opened, before the accounts are ours."""

    async def open_venues() -> None:
        executor.entitled(lease.epochs)
        await premises.open()

    async def begin() -> list[Outgoing]:
        app.beat_soon()
        return await executor.on_reset() + await executor.catch_up()

    app.background(partial(lease.run, open_venues=open_venues, begin=begin))
    app.follow(HEARTBEAT, lease.on_heartbeats, last=BEATS_BEFORE_START)
    app.presence(lease.on_presence)
    app.before_work(lease.serving.wait)


def _follow(app: ServiceApp, lease: Lease, view: LedgerView, executor: Executor) -> None:
    """The views: who only waits keeps them, too, so that it can go on at once."""

    async def on_reset() -> list[Outgoing]:
        if lease.held:
            return await executor.on_reset()
        lease.on_reset()
        return []

    async def on_updates(updates: Sequence[LedgerUpdated]) -> list[Outgoing]:
        if lease.held:
            return await executor.on_updates(updates)
        lease.on_updates(updates)
        return []

    app.ledger(view, on_reset=on_reset, on_updates=on_updates)
    app.follow(INTENT_RESULT, executor.on_results, wanted=may_be_repeated)
    app.follow(MARKET_TICK, executor.on_ticks, last=TICKS_BEFORE_START)

    async def on_trades(batch: Sequence[Entry]) -> list[Outgoing]:
        executor.reconciler.funding.hear(entry.message for entry in batch if isinstance(entry.message, Trade))
        return []

    if live_of(app.settings):
        app.follow(LEDGER_TRADE, on_trades, last=TRADES_BEFORE_START)


def _lay_lanes(app: ServiceApp, lease: Lease, premises: Premises, executor: Executor) -> None:
    premises.lay(executor.guard.closed)
    executor.lanes.update({lane.key: lane.news for lane in premises.lanes})

    async def serve(publish: Publish, *, part: Callable[[Publish, Executor], Awaitable[None]]) -> None:
        await lease.serving.wait()
        await part(publish, executor)

    for lane in premises.lanes:
        app.background(partial(serve, part=lane.open))
        app.background(partial(serve, part=lane.send))
        app.background(partial(serve, part=lane.rest))
