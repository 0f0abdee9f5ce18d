"""When somebody is to be called: what is wrong now, for how long it has been, and what has been said about it already.

`troubles` is the one list of things that are worth a call, a pure function of a picture of everything. `Desk` remembers what is
open: a trouble that lasts longer than its event's patience is *raised*, said again while nobody acknowledges it, *escalated*
to the second circle, and *recovered* when it has been gone for a while, so that a flicker is one alert and not twenty.

A trouble is known by its key (`service_down:executor`), never by its text: the text carries ages and changes each second.
"""

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from holdfast.contracts.alarms import Alert
from holdfast.contracts.codes import AlertEvent, AlertState
from holdfast.contracts.money import HUNDRED, ZERO, canonical, divide, mul, parse_sum, sub
from holdfast.contracts.rows import OrderRow, QuarantineRow
from holdfast.contracts.streams import LEDGER
from holdfast.contracts.wire import digest
from holdfast.domain.light import CONSISTENT, CRITICAL, Light

E = AlertEvent
DAY_MS = 86_400_000
MOST_NAMED = 20
"""Troubles of one kind that get an alert of their own; the rest are counted in one."""


@dataclass(frozen=True, slots=True)
class Thresholds:
    """From when on something is worth a call. Times in wall ms, shares in percent; None is off."""

    red_after_ms: int = 5_000
    yellow_after_ms: int = 60_000
    unknown_after_ms: int = 10_000
    down_after_ms: int = 3_000
    blocked_per_minute: Decimal | None = Decimal(10)
    drawdown_pct: Decimal | None = Decimal(10)
    daily_loss_pct: Decimal | None = Decimal(5)

    def patience_ms(self, trouble: "Trouble") -> int:
        """How long *trouble* must last before it is said."""
        if trouble.event is E.LIGHT:
            return self.red_after_ms if trouble.critical else self.yellow_after_ms
        return {
            E.UNKNOWN_ORDER: self.unknown_after_ms,
            E.SERVICE_DOWN: self.down_after_ms,
            E.LEDGER_STOPPED: self.down_after_ms,
        }.get(trouble.event, 0)


@dataclass(frozen=True, slots=True)
class Picture:
    """What is judged. `blocked_rate` is per minute over the window; shares are 0.05 for 5 %, None where not known."""

    light: Light
    silent: Mapping[str, str]
    """Services that count as down -> since when, in words."""
    unknown: Sequence[OrderRow] = ()
    quarantine: Sequence[QuarantineRow] = ()
    dead_letters: Sequence[tuple[str, str]] = ()
    """(id, what) of each that came lately."""
    blocked_rate: Decimal = ZERO
    drawdown: Decimal | None = None
    daily_loss: Decimal | None = None


@dataclass(frozen=True, slots=True)
class Trouble:
    """Something that is wrong now."""

    event: AlertEvent
    about: str
    """What it is about, within the event; empty where the event says it all."""
    text: str
    critical: bool = False

    @property
    def key(self) -> str:
        return f"{self.event.value}:{self.about}" if self.about else self.event.value


def troubles(picture: Picture, thresholds: Thresholds) -> list[Trouble]:
    """Everything that is wrong in *picture*."""
    found: list[Trouble] = []
    light = picture.light
    if light.status != CONSISTENT:
        found.append(Trouble(E.LIGHT, light.status, light.sentence, light.status == CRITICAL))
    for service, since in picture.silent.items():
        event = E.LEDGER_STOPPED if service == LEDGER else E.SERVICE_DOWN
        found.append(Trouble(event, "" if service == LEDGER else service, f"{service} is down: {since}", critical=True))  # fmt: skip
    found += _each(E.UNKNOWN_ORDER, [(row.order_id, _order(row)) for row in picture.unknown], critical=True)
    found += _each(E.QUARANTINE, [(row.quarantine_id, _stranger(row)) for row in picture.quarantine])
    found += _each(E.DEAD_LETTER, picture.dead_letters)
    found += _over(
        E.BLOCKED_RATE, picture.blocked_rate, thresholds.blocked_per_minute, "refused intents per minute"
    )
    found += _over(
        E.DRAWDOWN, _percent(picture.drawdown), thresholds.drawdown_pct, "% drawdown", critical=True
    )
    found += _over(
        E.DAILY_LOSS, _percent(picture.daily_loss), thresholds.daily_loss_pct, "% lost today", critical=True
    )
    return found


def _order(row: OrderRow) -> str:
    return f"order {row.order_id} ({row.side.value} {canonical(row.quantity)} {row.symbol}) has no clear answer from {row.exchange}"


def _stranger(row: QuarantineRow) -> str:
    side = row.side.value if row.side is not None else "unknown side,"
    return f"{side} {canonical(row.quantity)} {row.symbol} on {row.account}/{row.exchange} is in quarantine: {row.why}"


def _percent(share: Decimal | None) -> Decimal | None:
    return None if share is None else mul(share, HUNDRED)


def _each(
    event: AlertEvent, named: Sequence[tuple[str, str]], *, critical: bool = False
) -> Iterable[Trouble]:
    for about, text in named[:MOST_NAMED]:
        yield Trouble(event, about, text, critical)
    if len(named) > MOST_NAMED:
        yield Trouble(event, "more", f"and {len(named) - MOST_NAMED} more of {event.value}", critical)


def _over(
    event: AlertEvent, value: Decimal | None, limit: Decimal | None, unit: str, *, critical: bool = False
) -> Iterable[Trouble]:
    """More than (>) the limit; exactly the limit is not enough."""
    if value is not None and limit is not None and value > limit:
        yield Trouble(
            event,
            "",
            f"{canonical(value.quantize(Decimal('0.01')))} {unit}, more than {canonical(limit)}",
            critical,
        )


# -- what has been said -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Manners:
    """How often somebody is called. Times in wall ms."""

    repeat_ms: int = 600_000
    escalate_ms: int = 900_000
    """A critical alert that nobody has acknowledged for this long goes to the second circle, too."""
    calm_ms: int = 10_000
    """A trouble that is gone for this long has recovered; one that comes back before goes on."""
    most_per_minute: int = 10
    """More are kept and shown, but not delivered; the next one says how many."""


@dataclass(slots=True)
class _Open:
    """A trouble that has been seen, and how it stands."""

    alert: Alert
    raised: bool = False
    seen_ms: int = 0
    said_ms: int = 0
    escalated: bool = False
    acknowledged: bool = False


@dataclass(slots=True)
class Desk:
    """See the module. Give it everything that is wrong, each second; it says what is to be published."""

    thresholds: Thresholds
    manners: Manners = field(default_factory=Manners)
    _open: dict[str, _Open] = field(default_factory=dict)
    _delivered: deque[int] = field(default_factory=deque)
    _held_back: int = 0

    def resume(self, newest_first: Iterable[Alert], now_ms: int) -> None:
        """Take up what an earlier life had said: the last word on each key counts. A life that begins says nothing twice."""
        seen: set[str] = set()
        for alert in newest_first:
            if alert.key in seen or alert.state is AlertState.UNDELIVERABLE:
                continue
            seen.add(alert.key)
            if alert.state is not AlertState.RECOVERED:
                self._open[alert.key] = _Open(
                    alert, raised=True, seen_ms=now_ms, said_ms=alert.at,
                    escalated=alert.state is AlertState.ESCALATED, acknowledged=alert.state is AlertState.ACKNOWLEDGED,
                )  # fmt: skip

    def observe(self, now: Sequence[Trouble], now_ms: int) -> list[Alert]:
        """What is to be said, the gravest first: new troubles, reminders, escalations, recoveries."""
        said: list[Alert] = []
        for trouble in now:
            known = self._open.get(trouble.key)
            if known is None:
                known = self._open[trouble.key] = _Open(_first(trouble, now_ms))
            known.seen_ms = now_ms
            known.alert = known.alert.evolve(text=trouble.text[:1000])
            said += self._word_on(known, trouble, now_ms)
        for key in [
            key for key, known in self._open.items() if now_ms - known.seen_ms > self._patience_of(known)
        ]:
            gone = self._open.pop(key)
            if gone.raised:
                said.append(gone.alert.evolve(state=AlertState.RECOVERED, at=now_ms))
        return sorted(said, key=lambda alert: (not alert.critical, alert.key))

    def _patience_of(self, known: _Open) -> int:
        return self.manners.calm_ms if known.raised else 0

    def _word_on(self, known: _Open, trouble: Trouble, now_ms: int) -> Iterable[Alert]:
        if not known.raised:
            if now_ms - known.alert.opened_at >= self.thresholds.patience_ms(trouble):
                known.raised = True
                yield self._say(known, AlertState.RAISED, now_ms)
        elif known.acknowledged:
            return
        elif (
            known.alert.critical
            and not known.escalated
            and now_ms - known.alert.opened_at >= self.manners.escalate_ms
        ):
            known.escalated = True
            yield self._say(known, AlertState.ESCALATED, now_ms)
        elif now_ms - known.said_ms >= self.manners.repeat_ms:
            yield self._say(known, AlertState.ESCALATED if known.escalated else AlertState.REPEATED, now_ms)

    def _say(self, known: _Open, state: AlertState, now_ms: int) -> Alert:
        known.said_ms = now_ms
        known.alert = known.alert.evolve(state=state, at=now_ms, times=known.alert.times + 1)
        return known.alert

    def acknowledge(self, key: str, by: str, now_ms: int) -> list[Alert]:
        """Somebody has seen *key* (empty: all): no reminders and no escalation until it has recovered."""
        said = []
        for known in self._open.values():
            if known.raised and not known.acknowledged and key in {"", known.alert.key}:
                known.acknowledged = True
                known.alert = known.alert.evolve(state=AlertState.ACKNOWLEDGED, at=now_ms, by=by)
                said.append(known.alert)
        return said

    def open(self) -> list[Alert]:
        """The last word on everything that is raised and has not recovered."""
        return [known.alert for known in self._open.values() if known.raised]

    def may_deliver(self, now_ms: int) -> bool:
        """Whether one more may go out this minute; what may not is counted for the next one."""
        while self._delivered and now_ms - self._delivered[0] >= 60_000:
            self._delivered.popleft()
        if len(self._delivered) >= self.manners.most_per_minute:
            self._held_back += 1
            return False
        self._delivered.append(now_ms)
        return True

    def take_held_back(self) -> int:
        """How many were held back since the last that went out."""
        held, self._held_back = self._held_back, 0
        return held


def _first(trouble: Trouble, now_ms: int) -> Alert:
    return Alert(
        id="al-" + digest(trouble.key, str(now_ms)), at=now_ms, key=trouble.key[:128], event=trouble.event, critical=trouble.critical,
        state=AlertState.RAISED, text=trouble.text[:1000], opened_at=now_ms,
    )  # fmt: skip


def numbered(alert: Alert) -> Alert:
    """*alert* with an id of its own: one trouble is told several times."""
    return alert.evolve(id="al-" + digest(alert.key, str(alert.opened_at), alert.state.value, str(alert.at)))


class Rate:
    """Events per minute over a window, wall ms."""

    def __init__(self, window_ms: int) -> None:
        self._window_ms, self._times = window_ms, deque[int](maxlen=100_000)

    def take(self, at_ms: int) -> None:
        self._times.append(at_ms)

    def per_minute(self, now_ms: int) -> Decimal:
        while self._times and now_ms - self._times[0] > self._window_ms:
            self._times.popleft()
        return divide(mul(Decimal(len(self._times)), Decimal(60_000)), Decimal(self._window_ms))


class DayStart:
    """NAV at the first look of each UTC day, and what has been lost since. A restart goes on with the same day's."""

    def __init__(self) -> None:
        self._day, self._nav = -1, Decimal(0)

    def loss(self, nav: Decimal, now_ms: int) -> Decimal | None:
        """The share of the day's first NAV that is gone; zero while nothing is. None where it cannot be said."""
        day = now_ms // DAY_MS
        if day != self._day:
            self._day, self._nav = day, nav
        if self._nav <= 0:
            return None
        return max(ZERO, divide(sub(self._nav, nav), self._nav))

    def as_texts(self) -> tuple[str, str]:
        """The day and its NAV, for whoever comes after us; empty before the first look."""
        return ("", "") if self._day < 0 else (str(self._day), canonical(self._nav))

    def resume(self, day: str, nav: str) -> None:
        """Take up what an earlier life said; what cannot be read, or comes after our own first look, changes nothing."""
        if self._day < 0 and day.isdecimal() and nav:
            try:
                self._nav = parse_sum(nav)
            except ValueError:
                return
            self._day = int(day)
