"""What has been heard becomes a picture, once a second; what is wrong in it goes to the desk; what the desk says goes out.

Handlers only remember, and everything remembered is bounded. The decisions are `domain.alerting`'s. Delivery runs beside
the event loop, one alert after the other, so that a webhook that hangs delays calls and never the looking; what could not be
delivered is told on the same stream and in the heartbeat, which turns the light yellow: the page says so.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Self

from holdfast.contracts.alarms import Alert, AlertAck
from holdfast.contracts.codes import AlertEvent, AlertState
from holdfast.contracts.messages import DeadLetter, Heartbeat, LedgerUpdated, OrderBlocked, Tick
from holdfast.contracts.streams import ALERT, ALERTS
from holdfast.contracts.wire import Entry, Out, Outgoing, entry_time_ms
from holdfast.domain import kpi
from holdfast.domain.alerting import (
    DayStart,
    Desk,
    Manners,
    Picture,
    Rate,
    Thresholds,
    Trouble,
    numbered,
    troubles,
)
from holdfast.domain.instruments import tick_of_book
from holdfast.domain.light import LightInputs, Limits, light
from holdfast.domain.valuation import Capital, Marks
from holdfast.domain.view import LedgerView
from holdfast.domain.watch import Changes, Services, watched
from holdfast.notify.courier import Courier
from holdfast.runtime.alert_settings import AlertSettings
from holdfast.runtime.clock import Clock
from holdfast.runtime.live_settings import capital_of
from holdfast.runtime.settings import Settings

log = logging.getLogger("holdfast.alerts")
Publish = Callable[[list[Outgoing]], Awaitable[None]]

DEAD_LETTER_OPEN_MS = 60_000
"""A dead letter is a moment, not a state: its alert recovers after this."""
MOST_WAITING = 1_000
READ_PAST_MS = 2_000
"""How long our own stream may show nothing before it counts as empty."""
UNDELIVERED_MS = 600_000
"""For so long the heartbeat says that an alert could not be delivered."""
DAY, DAY_NAV = "day", "day_nav"


@dataclass(frozen=True, slots=True)
class Options:
    """What of the settings counts here."""

    limits: Limits = field(default_factory=Limits)
    thresholds: Thresholds = field(default_factory=Thresholds)
    manners: Manners = field(default_factory=Manners)
    told: Mapping[AlertEvent, str] = field(default_factory=dict)
    blocked_window_ms: int = 300_000
    accounts: tuple[str, ...] = ("main",)
    capital: Capital = field(default_factory=Capital)
    base_currency: str = "USDT"
    bad_print_pct: Decimal = Decimal(20)

    @classmethod
    def of(cls, settings: Settings) -> Self:
        alerts, state = settings.alerts, settings.state
        limits = Limits(
            max_tick_age_ms=_ms(state.max_tick_age_s), max_heartbeat_age_ms=_ms(state.max_heartbeat_age_s),
            exit_alarm_ms=_ms(settings.scanner.alarm_after_s),
        )  # fmt: skip
        return cls(
            limits, _thresholds(alerts), _manners(alerts), {event: getattr(alerts, event.value) for event in AlertEvent},
            _ms(alerts.blocked_window_s), tuple(settings.accounts), capital_of(settings), settings.ledger.base_currency,
            settings.scanner.bad_print_pct,
        )  # fmt: skip


def _ms(seconds: float) -> int:
    return int(seconds * 1000)


def _thresholds(alerts: AlertSettings) -> Thresholds:
    return Thresholds(
        red_after_ms=_ms(alerts.red_after_s), yellow_after_ms=_ms(alerts.yellow_after_s), unknown_after_ms=_ms(alerts.unknown_after_s),
        down_after_ms=_ms(alerts.down_after_s), blocked_per_minute=alerts.blocked_per_minute, drawdown_pct=alerts.drawdown_pct,
        daily_loss_pct=alerts.daily_loss_pct,
    )  # fmt: skip


def _manners(alerts: AlertSettings) -> Manners:
    return Manners(
        repeat_ms=_ms(alerts.repeat_after_s), escalate_ms=_ms(alerts.escalate_after_s), calm_ms=_ms(alerts.calm_s),
        most_per_minute=alerts.most_per_minute,
    )  # fmt: skip


class Alerts:
    """See the module. *first*, *second*: who is called, and who else when an alert is escalated."""

    def __init__(
        self, view: LedgerView, clock: Clock, options: Options, first: Courier, second: Courier
    ) -> None:
        self._view, self._clock, self._options = view, clock, options
        self._first, self._second = first, second
        self._started_ms = clock.wall_ms()
        self._marks, self._services, self._changes = Marks(options.bad_print_pct), Services(), Changes()
        self._appraiser, self._day, self._blocked = (
            kpi.Appraiser(),
            DayStart(),
            Rate(options.blocked_window_ms),
        )
        self._dead: deque[tuple[int, str, str]] = deque(maxlen=500)
        self._seen_refusals: dict[str, None] = {}
        self.desk = Desk(options.thresholds, options.manners)
        self._past: list[Alert] = []
        self._resumed = False
        self._waiting: asyncio.Queue[Alert] = asyncio.Queue(MOST_WAITING)
        self._undelivered: tuple[int, str] = (0, "")

    # -- what is heard ----------------------------------------------------------------------------------------------------

    async def on_reset(self) -> list[Outgoing]:
        self._changes.on_reset(self._view.positions.values(), self._view.seq, self._clock.wall_ms())
        return []

    async def on_updates(self, updates: Sequence[LedgerUpdated]) -> list[Outgoing]:
        self._changes.on_updates(updates, self._clock.wall_ms())
        return []

    async def on_heartbeats(self, batch: Sequence[Entry]) -> list[Outgoing]:
        """Everybody's life; and of our own earlier life, what NAV the day began with."""
        for entry in batch:
            if isinstance(entry.message, Heartbeat):
                self._services.hear(entry.message, self._heard(entry))
                if entry.message.service == ALERTS:
                    self._day.resume(
                        entry.message.details.get(DAY, ""), entry.message.details.get(DAY_NAV, "")
                    )
        return []

    def on_presence(self, incarnations: frozenset[str]) -> None:
        self._services.see(incarnations, self._clock.wall_ms())

    async def on_ticks(self, batch: Sequence[Entry]) -> list[Outgoing]:
        for entry in batch:
            tick = tick_of_book(entry.message) if isinstance(entry.message, Tick) else None
            if tick is not None:
                self._marks.take(tick, self._heard(entry))
        return []

    async def on_blocked(self, batch: Sequence[Entry]) -> list[Outgoing]:
        for entry in batch:
            if isinstance(entry.message, OrderBlocked) and entry.message.id not in self._seen_refusals:
                self._seen_refusals[entry.message.id] = None
                if len(self._seen_refusals) > 10_000:
                    del self._seen_refusals[next(iter(self._seen_refusals))]
                self._blocked.take(self._heard(entry))
        return []

    async def on_dead_letters(self, batch: Sequence[Entry]) -> list[Outgoing]:
        for entry in batch:
            letter = entry.message
            if isinstance(letter, DeadLetter):
                what = f"{letter.service} could not use {letter.stream} {letter.entry_id}: {letter.error}"
                self._dead.append((self._heard(entry), letter.id, what))
        return []

    async def on_past(self, batch: Sequence[Entry]) -> list[Outgoing]:
        """Our own stream: before the first look, what an earlier life had open."""
        if not self._resumed:
            self._past += [entry.message for entry in batch if isinstance(entry.message, Alert)]
        return []

    async def on_acks(self, batch: Sequence[Entry]) -> list[Outgoing]:
        """`alert.ack`: somebody has seen it."""
        self._resume()
        said: list[Outgoing] = []
        for entry in batch:
            if isinstance(entry.message, AlertAck):
                seen = self.desk.acknowledge(entry.message.key, entry.message.by, self._clock.wall_ms())
                said += [Out(ALERT, numbered(alert)) for alert in seen]
        return said

    def _heard(self, entry: Entry) -> int:
        return min(self._clock.wall_ms(), entry_time_ms(entry.entry_id))

    # -- once a second ------------------------------------------------------------------------------------------------------

    async def on_time(self) -> list[Outgoing]:
        """Look at everything; say what is to be said."""
        now = self._clock.wall_ms()
        self._resume()
        self._services.forget(now)
        if not self._resumed:
            return []
        found = [
            trouble
            for trouble in troubles(self.picture(now), self._options.thresholds)
            if self._told(trouble) != "off"
        ]
        outputs: list[Outgoing] = []
        for said in self.desk.observe(found, now):
            alert = numbered(said).evolve(silent=self._options.told.get(said.event, "on") == "silent")
            outputs.append(Out(ALERT, alert))
            level = logging.INFO if alert.state is AlertState.RECOVERED else logging.WARNING
            log.log(level, "%s: %s: %s", alert.state.value, alert.key, alert.text)
            self._hand_over(alert, now)
        return outputs

    def _resume(self) -> None:
        """Take up what was open, once our own stream has been read, or has shown nothing for a while."""
        if not self._resumed and (self._past or self._clock.wall_ms() - self._started_ms >= READ_PAST_MS):
            self._resumed = True
            self.desk.resume(reversed(self._past), self._clock.wall_ms())
            self._past = []

    def _told(self, trouble: Trouble) -> str:
        return self._options.told.get(trouble.event, "on")

    def picture(self, now: int) -> Picture:
        """Everything as it is now."""
        view, options = self._view, self._options
        inputs = LightInputs(
            now_ms=now, started_ms=self._started_ms, limits=options.limits, beats=self._services.beats, view_seq=view.seq,
            positions=watched(view.positions.values(), self._changes.seen, self._marks.by_symbol, view.seq, now) if view.is_loaded else None,
            books=list(view.books.values()), quarantine=list(view.quarantine.values()), unknown_orders=view.unknown_orders(),
        )  # fmt: skip
        drawdown, loss = self._losses(now)
        return Picture(
            light=light(inputs), silent=self._silent(now), unknown=view.unknown_orders(), quarantine=list(view.quarantine.values()),
            dead_letters=[(key, what) for at, key, what in self._dead if now - at <= DEAD_LETTER_OPEN_MS],
            blocked_rate=self._blocked.per_minute(now), drawdown=drawdown, daily_loss=loss,
        )  # fmt: skip

    def _silent(self, now: int) -> dict[str, str]:
        """Services that are down. One that was never heard counts from our own start."""
        limit = self._options.limits.max_heartbeat_age_ms
        silent = {}
        for row in self._services.table(self._services.beats, now, self._options.limits):
            age = row["beat_age_ms"] if row["beat_age_ms"] is not None else now - self._started_ms
            if not row["alive"] and age > limit:
                known = "silent for" if row["beat_age_ms"] is not None else "not heard within"
                silent[row["service"]] = f"{known} {age / 1000:.0f} s"
        return silent

    def _losses(self, now: int) -> tuple[Decimal | None, Decimal | None]:
        """Drawdown, and what has been lost since midnight UTC, as shares; None while NAV is not known afresh."""
        view, options = self._view, self._options
        if not view.is_loaded:
            return None, None
        kpis = self._appraiser.appraise(
            kpi.Inputs(
                positions=list(view.positions.values()), totals=list(view.totals.values()), navs=list(view.nav.values()),
                marks=self._marks.by_symbol, now_ms=now, max_mark_age_ms=options.limits.max_tick_age_ms, accounts=options.accounts,
                capital=options.capital, base_currency=options.base_currency,
            )
        )  # fmt: skip
        return (None, None) if kpis.nav_stale else (kpis.dd_pct, self._day.loss(kpis.nav, now))

    # -- delivery -------------------------------------------------------------------------------------------------------------

    def _hand_over(self, alert: Alert, now: int) -> None:
        if alert.silent or not self.desk.may_deliver(now):
            return
        held = self.desk.take_held_back()
        try:
            self._waiting.put_nowait(
                alert.evolve(text=alert.text + (f" (and {held} more alerts, shown only)" if held else ""))
            )
        except asyncio.QueueFull:
            self._undelivered = (now, f"{MOST_WAITING} alerts wait for delivery; {alert.key} is only shown")

    async def deliver(self, publish: Publish) -> None:
        """Deliver what waits, one after the other, for ever; what cannot be delivered is published as such."""
        while True:
            await self.deliver_next(publish)

    async def deliver_next(self, publish: Publish) -> None:
        """Wait for an alert to deliver, and deliver it."""
        alert = await self._waiting.get()
        failures = await self._first.deliver(title_of(alert), alert.text, critical=alert.critical)
        if alert.state is AlertState.ESCALATED:
            failures += await self._second.deliver(title_of(alert), alert.text, critical=True)
        if not failures:
            self._undelivered = (0, "")
            return
        now = self._clock.wall_ms()
        log.error("%s could not be delivered: %s", alert.key, "; ".join(failures))
        self._undelivered = (now, f"an alert ({alert.key}) could not be delivered: {failures[0]}")
        reasons = [text[:1000] for text in failures][:20]
        lost = alert.evolve(state=AlertState.UNDELIVERABLE, at=now, undelivered=reasons)
        await publish([Out(ALERT, numbered(lost))])

    @property
    def waiting(self) -> int:
        """How many alerts wait to be delivered."""
        return self._waiting.qsize()

    def beat(self) -> dict[str, Any]:
        """Heartbeat fields; an alert that could not be delivered is a warning, so the light is yellow."""
        at, what = self._undelivered
        recent = what and self._clock.wall_ms() - at <= UNDELIVERED_MS
        day, nav = self._day.as_texts()
        return {
            "seq": max(0, self._view.seq),
            "warnings": [what[:1000]] if recent else [],
            "details": {
                "open": str(len(self.desk.open())),
                "waiting": str(self.waiting),
                DAY: day,
                DAY_NAV: nav,
            },
        }


def title_of(alert: Alert) -> str:
    """What a phone shows first."""
    if alert.state is AlertState.RECOVERED:
        return f"✅ Holdfast: {alert.event.value} recovered"
    mark = "🔴" if alert.critical else "🟡"
    word = {AlertState.REPEATED: " (still)", AlertState.ESCALATED: " (nobody has acknowledged it)"}.get(
        alert.state, ""
    )
    return f"{mark} Holdfast: {alert.event.value}{word}"
