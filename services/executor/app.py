"""Wiring of the executor: locks, one venue per account, lanes of the live ones, and who is called for which stream."""

from collections.abc import Callable, Mapping
from functools import lru_cache, partial

from holdfast.bus.app import ServiceApp
from holdfast.bus.seams import Seams
from holdfast.contracts.base import ContractViolation
from holdfast.contracts.streams import (
    EXECUTOR,
    INTENT_RESULT,
    MARKET_TICK,
    ORDER_INTENT,
    ORDER_INTENT_EXIT,
    intent_stream,
)
from holdfast.contracts.trusted import Tables
from holdfast.domain.instruments import resolve
from holdfast.domain.view import LedgerView
from holdfast.runtime.faults import EXIT_HELD, Terminal
from holdfast.runtime.live_settings import check_switch, live_accounts
from holdfast.runtime.locks import AlreadyHeld, Held
from holdfast.runtime.settings import Settings
from holdfast.venues.paper import PaperVenue
from holdfast.venues.paper_record import PaperRecord
from holdfast.venues.port import Rules, Venue, VenueUnreadable
from services.executor.guard import Key
from services.executor.lanes import Lane, first_answers
from services.executor.service import Executor

PAPER = "paper"
TICK_EVERY_S = 0.2
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
        self._live = live_accounts(settings)
        self._locks: dict[str, Held] = {}
        self.venues: dict[Key, Venue] = {}
        self.lanes: list[Lane] = []

    def lay(self, closed: dict[Key, str]) -> None:
        """A lane for each live account. *closed*: where it says that its exchange has not answered yet."""
        for account, one in self._live.items():
            connect = partial(self._open_live, account)
            self.lanes.append(Lane((account, one.exchange), connect, self._take, closed, self._seams.clock))

    async def open(self) -> None:
        """One executor per account (INV-9).

        Raises Terminal when another one runs, a record cannot be read, or a live account is not as its settings say, as far as its
        exchange answers at once.
        """
        check_switch(self._settings)
        for account in self._settings.accounts:
            self._locks[account] = self._lock(account)
        for account in self._settings.accounts:
            if account not in self._live:
                self._take(self._paper(account))
        await first_answers(self.lanes)

    def _take(self, venue: Venue) -> None:
        self.venues[venue.account, venue.exchange] = venue

    def _lock(self, account: str) -> Held:
        path = self._settings.dir / "locks" / f"executor-{account}.lock"
        try:
            return self._seams.hold(path, EXECUTOR, self._seams.clock)
        except AlreadyHeld as error:
            raise Terminal(str(error), EXIT_HELD) from error

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
        for lock in self._locks.values():
            lock.release()


def build(
    settings: Settings,
    seams: Seams | None = None,
    *,
    open_venue: Callable[[Settings, str], Venue] = paper_venue,
) -> ServiceApp:
    """The service, ready to run. *open_venue* opens the paper accounts; live ones go through `venues.live`."""
    app = ServiceApp(EXECUTOR, settings, seams)
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

    premises.lay(executor.guard.closed)
    executor.lanes.update({lane.key: lane.news for lane in premises.lanes})
    for lane in premises.lanes:
        app.background(partial(lane.open, executor=executor))
        app.background(partial(lane.send, executor=executor))
    app.on_start(premises.open)
    app.on_stop(premises.close)
    app.ledger(view, on_reset=executor.on_reset, on_updates=executor.on_updates)
    app.follow(INTENT_RESULT, executor.on_results, wanted=may_be_repeated)
    app.follow(MARKET_TICK, executor.on_ticks, last=TICKS_BEFORE_START)
    decode = executor.gate.decode
    app.on_start(executor.gate.open)
    app.work(ORDER_INTENT_EXIT, executor.on_exits, acks="handler", malformed="handler", decode=decode)
    for stream in (ORDER_INTENT, *map(intent_stream, settings.producers)):
        app.work(
            stream,
            executor.on_entries,
            acks="handler",
            malformed="handler",
            batch=settings.executor.entry_batch,
            decode=decode,
        )
    app.every(TICK_EVERY_S, executor.on_time)
    app.heartbeat(executor.heartbeat)
    return app
