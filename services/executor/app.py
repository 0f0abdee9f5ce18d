"""Wiring of the executor: locks, one venue per account, and who is called for which stream."""

from collections.abc import Callable, Mapping
from functools import lru_cache

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
from holdfast.runtime.faults import EXIT_HELD, Terminal, Transient
from holdfast.runtime.live_settings import check_switch, live_accounts
from holdfast.runtime.locks import AlreadyHeld, Held
from holdfast.runtime.settings import Settings
from holdfast.venues.paper import PaperVenue
from holdfast.venues.paper_record import PaperRecord
from holdfast.venues.port import Rules, Venue, VenueUnreadable
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
        self.venues: dict[tuple[str, str], Venue] = {}

    async def open(self) -> None:
        """One executor per account (INV-9). May be called again after Transient, which says that an exchange did not answer.

        Raises Terminal when another one runs, a record cannot be read, or a live account is not as its settings say.
        """
        check_switch(self._settings)
        for account in self._settings.accounts:
            if account not in self._locks:
                self._locks[account] = self._lock(account)
            if not any(name == account for name, _ in self.venues):
                venue = await self._venue(account)
                self.venues[account, venue.exchange] = venue

    def _lock(self, account: str) -> Held:
        path = self._settings.dir / "locks" / f"executor-{account}.lock"
        try:
            return self._seams.hold(path, EXECUTOR, self._seams.clock)
        except AlreadyHeld as error:
            raise Terminal(str(error), EXIT_HELD) from error

    async def _venue(self, account: str) -> Venue:
        if account in self._live:
            from holdfast.venues.live import open_live

            try:
                return await open_live(self._settings, account, self._seams.clock)
            except VenueUnreadable as error:
                raise Transient(f"{account} at {self._live[account].exchange}: {error}") from error
        try:
            return self._open_venue(self._settings, account)
        except VenueUnreadable as error:
            raise Terminal(str(error)) from error

    async def close(self) -> None:
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
