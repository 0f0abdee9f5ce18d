"""What the dashboard has heard, and the picture that follows from it. No I/O; the clock is an argument.

Handlers only remember; `picture` counts when somebody wants to see. Everything that is kept is bounded.
"""

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Self

from holdfast.contracts.alarms import Alert
from holdfast.contracts.codes import AlertState
from holdfast.contracts.exit_messages import ExitEvaluated, Prediction
from holdfast.contracts.messages import DeadLetter, Heartbeat, LedgerUpdated, OrderBlocked, Tick, Trade
from holdfast.contracts.rows import OrderRow, PositionRow
from holdfast.contracts.streams import LEDGER
from holdfast.contracts.wire import Entry, Outgoing, entry_time_ms
from holdfast.domain import kpi
from holdfast.domain.instruments import tick_of_book
from holdfast.domain.learning_rules import LearningRules, own_values
from holdfast.domain.light import Beat, Light, LightInputs, Limits, armed_by, light
from holdfast.domain.portfolio_rules import Hold, Portfolio, all_holds
from holdfast.domain.protection import ProtectionClock, sights
from holdfast.domain.valuation import Capital, Marks, Rates
from holdfast.domain.view import LedgerView
from holdfast.domain.watch import Changes, Seen, Services, Trades, watched
from holdfast.runtime.clock import Clock
from holdfast.runtime.exit_settings import policy_table
from holdfast.runtime.learner_settings import learning_rules
from holdfast.runtime.limit_settings import portfolio_of
from holdfast.runtime.live_settings import capital_of
from holdfast.runtime.settings import Settings

BEHIND_MS = 3_000
"""A view that stays behind the ledger's own heartbeat for this long is late."""
RATE_WINDOW_MS = 300_000
"""Over how long the rate of refusals is counted."""
LAST_BLOCKED, LAST_DEAD, LAST_MARKS, LAST_EQUITY, LAST_ALERTS = 500, 500, 200, 8_640, 500
MOST_CLOSED_EVALUATED = 1_000
EQUITY_EVERY_MS = 10_000
"""A day of NAV at one point each ten seconds."""
PAUSE_FACTOR = 10
"""Looking takes at most a tenth of the time."""
LATENCY_BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0)


@dataclass(frozen=True, slots=True)
class Options:
    """What of the settings counts here."""

    limits: Limits = field(default_factory=Limits)
    accounts: tuple[str, ...] = ("main",)
    capital: Capital = field(default_factory=Capital)
    base_currency: str = "USDT"
    bad_print_pct: Decimal = Decimal(20)
    own: Mapping[str, Decimal] = field(default_factory=dict)
    """The policy's own thresholds."""
    learning: LearningRules = field(default_factory=LearningRules)
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
            limits, tuple(settings.accounts), capital_of(settings), settings.ledger.base_currency, settings.scanner.bad_print_pct,
            own_values(policy_table(settings).default), learning_rules(settings.learner), portfolio_of(settings),
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Mark:
    """Something that happened, for the charts: a restart, a change of the trading state."""

    at_ms: int
    kind: str
    text: str


@dataclass(frozen=True, slots=True)
class Point:
    """NAV at one moment, in the base currency."""

    at_ms: int
    nav: Decimal
    drawdown: Decimal


class Latencies:
    """A histogram of seconds, cumulative as Prometheus has it."""

    def __init__(self) -> None:
        self.counts = [0] * len(LATENCY_BUCKETS_S)
        self.count, self.sum_ms = 0, 0

    def take(self, milliseconds: int) -> None:
        self.count += 1
        self.sum_ms += milliseconds
        for index, bound in enumerate(LATENCY_BUCKETS_S):
            self.counts[index] += milliseconds <= bound * 1000


class Refusals:
    """The last refused intents, how many by code since the start, and how many a minute lately."""

    def __init__(self) -> None:
        self.last: deque[OrderBlocked] = deque(maxlen=LAST_BLOCKED)
        self.by_code: dict[str, int] = {}
        self._times: deque[int] = deque(maxlen=100_000)
        self._ids: dict[str, None] = {}

    def take(self, message: OrderBlocked) -> None:
        if message.id in self._ids:
            return
        self._ids[message.id] = None
        if len(self._ids) > 2 * LAST_BLOCKED:
            del self._ids[next(iter(self._ids))]
        self.last.append(message)
        self.by_code[message.code.value] = self.by_code.get(message.code.value, 0) + 1
        self._times.append(message.at)

    @property
    def count(self) -> int:
        return sum(self.by_code.values())

    def per_minute(self, now_ms: int) -> float:
        """Refusals a minute over the last five."""
        while self._times and now_ms - self._times[0] > RATE_WINDOW_MS:
            self._times.popleft()
        return len(self._times) * 60_000 / RATE_WINDOW_MS


@dataclass(frozen=True, slots=True)
class Picture:
    """Everything as it is at one moment."""

    now_ms: int
    light: Light
    inputs: LightInputs
    positions: list[PositionRow]
    armed: frozenset[str]
    unprotected_ms: dict[str, int]
    orders: list[OrderRow]
    seen: Mapping[str, Seen]
    services: list[dict[str, Any]]
    kpis: kpi.Kpis | None
    """None while the ledger is not known."""


class Watcher:
    """See the module."""

    def __init__(self, view: LedgerView, clock: Clock, options: Options | None = None) -> None:
        self.view, self.clock, self.options = view, clock, options or Options()
        self.started_ms = clock.wall_ms()
        self.marks = Marks(self.options.bad_print_pct)
        self.services, self.refusals, self.trades, self.changes = Services(), Refusals(), Trades(), Changes()
        self.dead: dict[str, DeadLetter] = {}
        """By the id of its entry on dead.letter, oldest first."""
        self.dead_count = 0
        self.predictions: dict[tuple[str, str], Prediction] = {}
        self.evaluated: dict[str, ExitEvaluated] = {}
        """By position id: how every exit rule stood lately, as the scanner says."""
        self.alarms: dict[str, Alert] = {}
        """Open alerts by key: the last word on each."""
        self.undelivered: dict[str, str] = {}
        """Why the alert of this key reached nobody, while it is open."""
        self.events: deque[Mark] = deque(maxlen=LAST_MARKS)
        self.equity: deque[Point] = deque(maxlen=LAST_EQUITY)
        self.order_latency = {"entry": Latencies(), "exit": Latencies()}
        self.view_delay = Latencies()
        self.protection = ProtectionClock(self.started_ms)
        self.appraiser = kpi.Appraiser()
        self.version = 0
        """Rises with everything that is heard."""
        self._behind_since: int | None = None
        self._sampled_ms = 0
        self._not_before = 0

    # -- what is heard ------------------------------------------------------------------------------------------------

    async def on_reset(self) -> list[Outgoing]:
        """The view was loaded from a snapshot."""
        self.changes.on_reset(self.view.positions.values(), self.view.seq, self.clock.wall_ms())
        self.version += 1
        return []

    async def on_updates(self, updates: Sequence[LedgerUpdated]) -> list[Outgoing]:
        """The view has taken *updates* in."""
        now = self.clock.wall_ms()
        self.changes.on_updates(updates, now)
        self.protection.hear(updates)
        for update in updates:
            self.note_control(update)
            self.view_delay.take(max(0, now - update.at))
            for order in update.orders:
                if not order.is_live and order.filled and order.role.value in self.order_latency:
                    self.order_latency[order.role.value].take(max(0, order.changed_at - order.reserved_at))
        self.version += 1
        return []

    def note_control(self, update: LedgerUpdated) -> None:
        """Remember a change of the trading state, for the charts."""
        for row in update.control:
            where = f"{row.scope.value} {row.target}".strip()
            event = Mark(row.at, "control", f"{row.state.value} ({where}) by {row.by}: {row.why}")
            if event not in self.events:
                self.events.append(event)

    async def on_heartbeats(self, batch: Sequence[Entry]) -> list[Outgoing]:
        for entry in batch:
            message = entry.message
            if isinstance(message, Heartbeat) and self.services.hear(message, self._heard(entry)):
                self.events.append(Mark(message.started_at, "restart", f"{message.service} started again"))
        self.version += 1
        return []

    def on_presence(self, incarnations: frozenset[str]) -> None:
        self.version += self.services.see(incarnations, self.clock.wall_ms())

    async def on_blocked(self, batch: Sequence[Entry]) -> list[Outgoing]:
        for entry in batch:
            if isinstance(entry.message, OrderBlocked):
                self.refusals.take(entry.message)
        self.version += 1
        return []

    async def on_trades(self, batch: Sequence[Entry]) -> list[Outgoing]:
        for entry in batch:
            if isinstance(entry.message, Trade):
                self.trades.take(entry.message)
        self.version += 1
        return []

    async def on_dead_letters(self, batch: Sequence[Entry]) -> list[Outgoing]:
        for entry in batch:
            if isinstance(entry.message, DeadLetter) and entry.entry_id not in self.dead:
                self.dead[entry.entry_id] = entry.message
                self.dead_count += 1
                if len(self.dead) > LAST_DEAD:
                    del self.dead[next(iter(self.dead))]
        self.version += 1
        return []

    async def on_alerts(self, batch: Sequence[Entry]) -> list[Outgoing]:
        for entry in batch:
            alert = entry.message
            if not isinstance(alert, Alert):
                continue
            if alert.state is AlertState.UNDELIVERABLE:
                if alert.key in self.alarms:
                    self.undelivered[alert.key] = "; ".join(alert.undelivered)
                continue
            self.alarms.pop(alert.key, None)
            if alert.state is AlertState.RECOVERED:
                self.undelivered.pop(alert.key, None)
                continue
            self.alarms[alert.key] = alert
            if len(self.alarms) > LAST_ALERTS:
                oldest = next(iter(self.alarms))
                del self.alarms[oldest]
                self.undelivered.pop(oldest, None)
        self.version += 1
        return []

    async def on_predictions(self, batch: Sequence[Entry]) -> list[Outgoing]:
        for entry in batch:
            if isinstance(entry.message, Prediction):
                key = (entry.message.model, entry.message.symbol)
                self.predictions.pop(key, None)
                self.predictions[key] = entry.message
                if len(self.predictions) > LAST_BLOCKED:
                    del self.predictions[next(iter(self.predictions))]
        return []

    async def on_evaluated(self, batch: Sequence[Entry]) -> list[Outgoing]:
        for entry in batch:
            message = entry.message
            if isinstance(message, ExitEvaluated):
                self.evaluated[message.position_id] = message
        if len(self.evaluated) > MOST_CLOSED_EVALUATED + len(self.view.positions):
            self.evaluated = {key: one for key, one in self.evaluated.items() if key in self.view.positions}
        return []

    async def on_ticks(self, batch: Sequence[Entry]) -> list[Outgoing]:
        for entry in batch:
            tick = tick_of_book(entry.message) if isinstance(entry.message, Tick) else None
            if tick is not None:
                self.marks.take(tick, self._heard(entry))
        self.version += 1
        return []

    def _heard(self, entry: Entry) -> int:
        """When the entry was written, wall ms: what stood in the stream for long is old, however late it is read."""
        return min(self.clock.wall_ms(), entry_time_ms(entry.entry_id))

    async def on_time(self) -> list[Outgoing]:
        """Each second: look at the protection of every position; each ten: note NAV.

        A look that takes long, because there are many positions, is taken less often.
        """
        started = self.clock.monotonic_ms()
        if started < self._not_before:
            return []
        self.services.forget(self.clock.wall_ms())
        picture = self.picture()
        self._not_before = started + PAUSE_FACTOR * (self.clock.monotonic_ms() - started)
        if (
            picture.kpis is not None
            and not picture.kpis.nav_stale
            and picture.now_ms - self._sampled_ms >= EQUITY_EVERY_MS
        ):
            self._sampled_ms = picture.now_ms
            self.equity.append(Point(picture.now_ms, picture.kpis.nav, picture.kpis.dd_pct))
        return []

    # -- what is seen ---------------------------------------------------------------------------------------------------

    def picture(self) -> Picture:
        """Count everything as of now; moves the protection clock."""
        view, now, limits = self.view, self.clock.wall_ms(), self.options.limits
        beats = dict(self.services.beats)
        positions = list(view.positions.values())
        inputs = LightInputs(
            now_ms=now, started_ms=self.started_ms, limits=limits, beats=beats, view_seq=view.seq,
            positions=watched(positions, self.changes.seen, self.marks.by_symbol, view.seq, now) if view.is_loaded else None,
            books=list(view.books.values()), quarantine=list(view.quarantine.values()), unknown_orders=view.unknown_orders(),
            late=self._late(now),
        )  # fmt: skip
        if view.is_loaded:
            self.protection.observe(now, sights(inputs))
        return Picture(
            now_ms=now, light=light(inputs), inputs=inputs, positions=positions,
            armed=frozenset(one.row.position_id for one in inputs.positions or () if armed_by(one, inputs)),
            unprotected_ms={row.position_id: self.protection.unprotected_ms(row.position_id, now) for row in positions},
            orders=list(view.orders.values()), seen=self.changes.seen,
            services=self.services.table(beats, now, limits), kpis=self._kpis(positions, now),
        )  # fmt: skip

    def holds(self, now: int) -> list[Hold]:
        """The rules of the portfolio that hold entries back at *now*, wall ms."""
        return all_holds(self.view.risk, self.view.books.values(), self.options.portfolio, now)

    def _kpis(self, positions: list[PositionRow], now: int) -> kpi.Kpis | None:
        if not self.view.is_loaded:
            return None
        options = self.options
        return self.appraiser.appraise(
            kpi.Inputs(
                positions=positions, totals=list(self.view.totals.values()), navs=list(self.view.nav.values()), marks=self.marks.by_symbol,
                now_ms=now, max_mark_age_ms=options.limits.max_tick_age_ms, accounts=options.accounts, capital=options.capital,
                base_currency=options.base_currency,
            )
        )  # fmt: skip

    def quality(self) -> dict[str, Any]:
        """Profit factor and expectancy of the trades that are remembered."""
        return kpi.trade_quality(self.trades.last, Rates(self.marks.by_symbol, self.options.base_currency))

    def _late(self, now: int) -> list[str]:
        beat = self.services.beats.get(LEDGER)
        behind = beat.message.seq - self.view.seq if beat is not None and self.view.is_loaded else 0
        if behind <= 0:
            self._behind_since = None
            return []
        self._behind_since = now if self._behind_since is None else self._behind_since
        waited = now - self._behind_since
        if waited <= BEHIND_MS:
            return []
        return [f"this page has been behind the ledger for {waited / 1000:.1f} s, now by {behind} changes"]

    # -- progress --------------------------------------------------------------------------------------------------------

    def trouble(self, own: str) -> str | None:
        """Why this service does not get on; None when it does.

        It does when the ledger's view is loaded, and its own heartbeats (*own*) come back to it over the bus.
        """
        beat: Beat | None = self.services.beats.get(own)
        if beat is None:
            return "no heartbeat of this service has come back over the bus yet"
        silent = self.clock.wall_ms() - beat.heard_ms
        if silent > self.options.limits.max_heartbeat_age_ms:
            return f"the bus has been silent for {silent / 1000:.1f} s"
        if not self.view.is_loaded:
            return "no snapshot of the ledger has been read yet"
        return None

    def beat(self) -> dict[str, Any]:
        """Extra fields of this service's heartbeat."""
        return {"seq": max(0, self.view.seq)}
