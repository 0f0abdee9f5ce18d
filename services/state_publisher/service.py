"""Turns the ledger's view, prices and heartbeats into the state files and the light.

Handlers only remember. `on_time` decides whether files are due (every second; on change; never again before five times
what the last write took), takes a picture of everything (shallow copies of frozen rows) and has it counted and
written in a thread, so that a slow disk delays the files and not the heartbeats.

No snapshot of the ledger yet, or one that is older than the files: the last good files stay as they are, and only
`status.json` is written, red, with the reason.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from decimal import Decimal
from typing import Any, Protocol, Self

from holdfast.contracts.messages import Heartbeat, LedgerUpdated, OrderBlocked, Tick, Trade
from holdfast.contracts.rows import (
    BookRow,
    ControlRow,
    NavRow,
    OrderRow,
    PositionRow,
    QuarantineRow,
    TotalRow,
)
from holdfast.contracts.streams import LEARNER, LEDGER
from holdfast.contracts.wire import Entry, Outgoing, entry_time_ms
from holdfast.domain import kpi
from holdfast.domain.instruments import tick_of_book
from holdfast.domain.learning_shown import exit_quality
from holdfast.domain.light import Beat, LightInputs, Limits, light
from holdfast.domain.portfolio_rules import Hold, Portfolio, all_holds
from holdfast.domain.protecting import resting_prices
from holdfast.domain.protection import ProtectionClock, sights
from holdfast.domain.registry import positions_ledger, positions_state
from holdfast.domain.valuation import Capital, Mark, Marks, Rates
from holdfast.domain.view import LedgerView
from holdfast.domain.wallets import wallets_in
from holdfast.domain.watch import Blocked, Changes, Seen, Services, Trades, watched
from holdfast.runtime.clock import Clock
from holdfast.runtime.faults import EXIT_UNAVAILABLE, Terminal
from holdfast.runtime.files import WriteFailed
from holdfast.runtime.limit_settings import portfolio_of
from holdfast.runtime.live_settings import capital_of
from holdfast.runtime.settings import Settings

log = logging.getLogger("holdfast.state_publisher")

LEAST_PAUSE_MS, PAUSE_FACTOR = 100, 5
BEHIND_MS = 3_000
"""A view that stays behind the ledger's own heartbeat for this long is late."""
SAMPLED_POSITIONS = 1_000
"""With more positions NAV is only counted when files are written, not at each five market minutes in between."""


class Files(Protocol):
    def last_written(self) -> tuple[int, str | None]: ...
    def write(
        self,
        *,
        header: Mapping[str, Any],
        positions: list[dict[str, Any]],
        ledger: Mapping[str, Any],
        kpis: Mapping[str, Any],
        rewound: bool,
    ) -> None: ...
    def write_status(self, status: Mapping[str, Any]) -> None: ...


@dataclass(frozen=True, slots=True)
class Options:
    """What of the settings counts here."""

    every_ms: int = 1_000
    patience_ms: int = 60_000
    limits: Limits = field(default_factory=Limits)
    accounts: tuple[str, ...] = ("main",)
    capital: Capital = field(default_factory=Capital)
    base_currency: str = "USDT"
    bad_print_pct: Decimal = Decimal(20)
    portfolio: Portfolio = field(default_factory=Portfolio)

    @classmethod
    def of(cls, settings: Settings) -> Self:
        state = settings.state
        limits = Limits(
            max_tick_age_ms=int(state.max_tick_age_s * 1000),
            max_heartbeat_age_ms=int(state.max_heartbeat_age_s * 1000),
            exit_alarm_ms=int(settings.scanner.alarm_after_s * 1000),
        )
        return cls(
            int(state.every_s * 1000), int(settings.bus.store_patience_s * 1000), limits, tuple(settings.accounts),
            capital_of(settings), settings.ledger.base_currency, settings.scanner.bad_print_pct, portfolio_of(settings),
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Picture:
    """Everything as it was at one moment; nothing in it changes any more."""

    now_ms: int
    is_loaded: bool
    view_seq: int
    held_back: str | None
    """Why the three files must not be written now."""
    rewound: bool
    header: dict[str, Any]
    positions: list[PositionRow]
    seen: dict[str, Seen]
    marks: dict[str, Mark]
    totals: list[TotalRow]
    navs: list[NavRow]
    books: list[BookRow]
    control: list[ControlRow]
    holds: list[Hold]
    quarantine: list[QuarantineRow]
    unknown_orders: list[OrderRow]
    beats: dict[str, Beat]
    late: list[str]
    trades: list[Trade]
    blocked: dict[str, Any]
    stops: dict[str, Decimal]  # position id -> price of its stop that rests at the venue


class StatePublisher:
    """See the module. *offload* runs a function beside the event loop."""

    def __init__(
        self,
        view: LedgerView,
        files: Files,
        clock: Clock,
        options: Options | None = None,
        offload: Callable[..., Awaitable[Any]] = asyncio.to_thread,
    ) -> None:
        self._view, self._files, self._clock, self._offload = view, files, clock, offload
        self._options = options or Options()
        self._started_ms = clock.wall_ms()
        self._marks, self._services, self._blocked, self._trades, self._changes = (
            Marks(self._options.bad_print_pct),
            Services(),
            Blocked(),
            Trades(),
            Changes(),
        )
        self._appraiser, self._history = kpi.Appraiser(), kpi.NavHistory()
        self._protection = ProtectionClock(self._started_ms)
        self._counting = asyncio.Lock()
        self._feed: tuple[str, str, int, int] | None = None
        self._is_dirty, self._written_at, self._not_before, self._write_ms = (
            True,
            -self._options.every_ms,
            0,
            0,
        )
        self._reset_ms, self._behind_since, self._failing_since = self._started_ms, None, None
        self._failure = ""
        self._writing: asyncio.Future[kpi.Kpis | None] | None = None

    _behind_since: int | None
    _failing_since: int | None

    # -- what is heard ------------------------------------------------------------------------------------------------

    async def on_reset(self) -> list[Outgoing]:
        """The view was loaded from a snapshot."""
        self._reset_ms = self._clock.wall_ms()
        self._changes.on_reset(self._view.positions.values(), self._view.seq, self._reset_ms)
        self._is_dirty = True
        return []

    async def on_updates(self, updates: Sequence[LedgerUpdated]) -> list[Outgoing]:
        self._changes.on_updates(updates, self._clock.wall_ms())
        self._protection.hear(updates)
        self._is_dirty = self._is_dirty or bool(updates)
        return []

    async def on_heartbeats(self, batch: Sequence[Entry]) -> list[Outgoing]:
        for entry in batch:
            if isinstance(entry.message, Heartbeat):
                self._services.hear(entry.message, self._heard(entry))
        return []

    def on_presence(self, incarnations: frozenset[str]) -> None:
        self._services.see(incarnations, self._clock.wall_ms())

    async def on_blocked(self, batch: Sequence[Entry]) -> list[Outgoing]:
        for entry in batch:
            if isinstance(entry.message, OrderBlocked):
                self._blocked.take(entry.message)
                self._is_dirty = True
        return []

    async def on_trades(self, batch: Sequence[Entry]) -> list[Outgoing]:
        for entry in batch:
            if isinstance(entry.message, Trade):
                self._trades.take(entry.message)
        return []

    async def on_ticks(self, batch: Sequence[Entry]) -> list[Outgoing]:
        for entry in batch:
            tick = tick_of_book(entry.message) if isinstance(entry.message, Tick) else None
            if tick is not None:
                heard = self._heard(entry)
                await self._follow_market_time(tick, heard)
                self._marks.take(tick, heard)
        return []

    def _heard(self, entry: Entry) -> int:
        """When the entry was written, wall ms: what stood in the stream for long is old, however late it is read."""
        return min(self._clock.wall_ms(), entry_time_ms(entry.entry_id))

    async def _follow_market_time(self, tick: Tick, heard: int) -> None:
        """One feed is the clock of the NAV history; another takes over when it has been silent for long."""
        if (
            self._feed is not None
            and self._feed[0] != tick.feed
            and heard - self._feed[3] <= self._options.limits.max_tick_age_ms
        ):
            return
        if self._feed is not None and self._feed[:2] == (tick.feed, tick.run):
            if tick.at < self._feed[2]:
                return
            if (
                tick.at // kpi.BUCKET_MS > self._feed[2] // kpi.BUCKET_MS
                and len(self._view.positions) <= SAMPLED_POSITIONS
                and self._view.is_loaded
            ):
                async with self._counting:
                    self._note_nav(self._appraiser.appraise(self._kpi_inputs(self._picture())))
        self._feed = (tick.feed, tick.run, tick.at, heard)

    def _note_nav(self, kpis: kpi.Kpis) -> None:
        if self._feed is not None and not kpis.nav_stale:
            feed, run, at_ms, _ = self._feed
            self._history.note(f"{feed}|{run}", at_ms, kpis.nav)

    # -- what is written ------------------------------------------------------------------------------------------------

    async def on_time(self) -> list[Outgoing]:
        """Write when it is due. Raises Terminal when nothing could be written for too long."""
        now = self._clock.monotonic_ms()
        if now < self._not_before or not (self._is_dirty or now - self._written_at >= self._options.every_ms):
            return []
        self._is_dirty, self._written_at = False, now
        async with self._counting:
            picture = self._picture()
            try:
                self._writing = asyncio.ensure_future(self._offload(self._publish, picture))
                kpis = await asyncio.shield(self._writing)
            except WriteFailed as error:
                self._on_failure(error, now)
            else:
                self._on_success(kpis)
        ended = self._clock.monotonic_ms()
        self._write_ms = ended - now
        self._not_before = ended + max(LEAST_PAUSE_MS, PAUSE_FACTOR * self._write_ms)
        return []

    async def close(self) -> None:
        """Wait for a write that is under way: the lock must not be given up before it has ended."""
        if self._writing is not None:
            await asyncio.wait([self._writing])

    def _on_success(self, kpis: kpi.Kpis | None) -> None:
        if self._failure:
            log.info("state files can be written again")
        self._failure, self._failing_since = "", None
        if kpis is not None:
            self._note_nav(kpis)

    def _on_failure(self, error: WriteFailed, now: int) -> None:
        if str(error) != self._failure:
            log.error("%s", error)
        self._failure, self._is_dirty = str(error), True
        self._failing_since = now if self._failing_since is None else self._failing_since
        if now - self._failing_since > self._options.patience_ms:
            raise Terminal(
                f"{error} (for {self._options.patience_ms / 1000:g} s)", EXIT_UNAVAILABLE
            ) from error

    def beat(self) -> dict[str, Any]:
        """Extra fields of this service's heartbeat."""
        return {"seq": max(0, self._view.seq), "warnings": [self._failure[:1000]] if self._failure else []}

    def _picture(self) -> Picture:
        view, now = self._view, self._clock.wall_ms()
        self._services.forget(now)
        held_back, rewound = self._order_of_files()
        last_seq = view.seq if view.is_loaded and held_back is None else self._files.last_written()[0]
        header: dict[str, Any] = {"seq": last_seq}
        if view.is_loaded:
            header |= {"store_id": view.store_id, "epoch": view.epoch}
        return Picture(
            now_ms=now, is_loaded=view.is_loaded, view_seq=view.seq, held_back=held_back, rewound=rewound, header=header,
            positions=list(view.positions.values()), seen=dict(self._changes.seen), marks=dict(self._marks.by_symbol),
            totals=list(view.totals.values()), navs=list(view.nav.values()), books=list(view.books.values()), control=list(view.control.values()),
            holds=all_holds(view.risk, view.books.values(), self._options.portfolio, now), quarantine=list(view.quarantine.values()), unknown_orders=view.unknown_orders(), beats=dict(self._services.beats),
            late=self._late(now), trades=list(self._trades.last), blocked=self._blocked.as_fields(), stops=resting_prices(view.positions.values(), view.orders.values()),
        )  # fmt: skip

    def _order_of_files(self) -> tuple[str | None, bool]:
        """Why the files must wait for the view (None: they need not), and whether their seq may go back.

        A rewound bus may show an old snapshot first: wait. A store restored from a backup is really there again: its
        ledger says so itself, in a heartbeat of now.
        """
        last_seq, last_store = self._files.last_written()
        if not self._view.is_loaded or self._view.seq >= last_seq:
            return None, False
        beat = self._services.beats.get(LEDGER)
        if last_store != self._view.store_id or (
            beat is not None and beat.heard_ms > self._reset_ms and beat.message.seq <= self._view.seq
        ):
            return None, True
        return (
            f"the ledger's view is at {self._view.seq}, before {last_seq}, which is already published; waiting for it",
            False,
        )

    def _late(self, now: int) -> list[str]:
        beat = self._services.beats.get(LEDGER)
        behind = beat.message.seq - self._view.seq if beat is not None and self._view.is_loaded else 0
        if behind <= 0:
            self._behind_since = None
            return []
        self._behind_since = now if self._behind_since is None else self._behind_since
        waited = now - self._behind_since
        return (
            [f"this view has been behind the ledger for {waited / 1000:.1f} s, now by {behind} changes"]
            if waited > BEHIND_MS
            else []
        )

    # -- beside the event loop ------------------------------------------------------------------------------------------

    def _publish(self, picture: Picture) -> kpi.Kpis | None:
        """Count and write everything of *picture*. What could not be written is said in status.json before it is raised."""
        kpis, failure = None, None
        try:
            if picture.is_loaded and picture.held_back is None:
                kpis = self._write(picture)
        except WriteFailed as error:
            failure = error
        self._files.write_status(self._status(picture, failure))
        if failure is not None:
            raise failure
        return kpis

    def _write(self, picture: Picture) -> kpi.Kpis:
        options, kpis = self._options, self._appraiser.appraise(self._kpi_inputs(picture))
        quality = kpi.trade_quality(picture.trades, Rates(picture.marks, options.base_currency))
        learner = picture.beats.get(LEARNER)
        more = {"exit_quality": exit_quality(learner.message.details if learner else {}), "wallets": wallets_in(picture.beats)}  # fmt: skip
        self._files.write(
            header=picture.header,
            positions=positions_state(picture.positions, picture.marks, picture.now_ms, options.limits.max_tick_age_ms),
            ledger=positions_ledger(picture.positions),
            kpis=kpi.document(kpis, self._history, quality, options.base_currency) | more,
            rewound=picture.rewound,
        )  # fmt: skip
        return kpis

    def _kpi_inputs(self, picture: Picture) -> kpi.Inputs:
        options = self._options
        return kpi.Inputs(
            positions=picture.positions, totals=picture.totals, navs=picture.navs, marks=picture.marks, now_ms=picture.now_ms,
            max_mark_age_ms=options.limits.max_tick_age_ms, accounts=options.accounts, capital=options.capital, base_currency=options.base_currency,
        )  # fmt: skip

    def _status(self, picture: Picture, failure: WriteFailed | None) -> dict[str, Any]:
        """The document of status.json; moves the protection clock."""
        limits, now = self._options.limits, picture.now_ms
        inputs = LightInputs(
            now_ms=now, started_ms=self._started_ms, limits=limits, beats=picture.beats, view_seq=picture.view_seq,
            positions=watched(picture.positions, picture.seen, picture.marks, picture.header["seq"], now) if picture.is_loaded else None,
            books=picture.books, quarantine=picture.quarantine, unknown_orders=picture.unknown_orders,
            untrusted=[str(why) for why in (picture.held_back, failure) if why is not None], late=picture.late,
        )  # fmt: skip
        if picture.is_loaded:
            self._protection.observe(now, sights(inputs))
        clock = self._protection
        return {
            **picture.header, "updated_ms": now, **light(inputs).as_fields(),
            "services": self._services.table(picture.beats, now, limits),
            "blocked": picture.blocked, "holds": [asdict(hold) for hold in picture.holds],
            "trading": [row.model_dump(mode="json") for row in picture.control],
            "time_unprotected_ms": {row.position_id: clock.unprotected_ms(row.position_id, now) for row in picture.positions},
            "stops_at_venue": picture.stops,
            "closed_unprotected_ms": {"positions": clock.closed, "total": clock.closed_total_ms, "worst": clock.closed_worst_ms},
            "prices": {symbol: {"mark_price": mark.price, "age_ms": max(0, now - mark.heard_ms)} for symbol, mark in sorted(picture.marks.items())},
            "limits": {
                "max_tick_age_ms": limits.max_tick_age_ms, "max_heartbeat_age_ms": limits.max_heartbeat_age_ms,
                "arming_grace_ms": limits.arming_grace_ms, "exit_alarm_ms": limits.exit_alarm_ms, "max_status_age_ms": limits.max_heartbeat_age_ms,
            },
            "write_ms": self._write_ms, "started_ms": self._started_ms,
        }  # fmt: skip
