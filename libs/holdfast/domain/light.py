"""The light: is everything that is open protected, *provably*, right now?

🟢 consistent: every open position has its exits and the scanner has armed them (its heartbeat says through which
sequence), the scanner is alive, and prices are young. 🟡 partial: something is missing for a position, or late.
🔴 critical: positions and nothing armed, a disputed book, a refused exit, or a source that cannot be trusted.

Exits that are known are not exits that work: so the light asks for proof of life and never takes silence for consent.
What is not known is red, not green: no ledger is not "no positions".

A change is armed within one heartbeat. For `arming_grace_ms` after it the position counts as *being armed*: that is
said, but it does not change the colour; otherwise the light would flicker with every trade and nobody would look.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Self

from holdfast.contracts.codes import ExitReason
from holdfast.contracts.leases import APART, STANDBY
from holdfast.contracts.messages import Heartbeat
from holdfast.contracts.rows import BookRow, OrderRow, PositionRow, QuarantineRow
from holdfast.contracts.streams import EXECUTOR, EXIT_SCANNER, LEDGER, SERVICES
from holdfast.domain.invariants import profit_is_over

CONSISTENT, PARTIAL, CRITICAL = "consistent", "partial", "critical"
SYMBOLS = {CONSISTENT: "🟢", PARTIAL: "🟡", CRITICAL: "🔴"}
EXIT_CODES = {CONSISTENT: 0, PARTIAL: 1, CRITICAL: 2}
REQUIRED = (LEDGER, EXECUTOR, EXIT_SCANNER)
"""Services whose silence makes the light red."""
MAX_REASONS = 50
SOFT_EXITS = frozenset(
    {ExitReason.CLOSE, ExitReason.SIGNAL, ExitReason.STAGNATION, ExitReason.ROI, ExitReason.REVERSAL}
)
"""Exits that may take their time; any other that does not end is an alarm."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How old things may be, in wall ms."""

    max_tick_age_ms: int = 60_000
    max_heartbeat_age_ms: int = 5_000
    arming_grace_ms: int = 3_000
    gone_grace_ms: int = 700
    """A service that was connected to the bus and has not been for so long has ended; its last heartbeat proves nothing."""
    exit_alarm_ms: int = 60_000
    unknown_order_ms: int = 5_000


@dataclass(frozen=True, slots=True)
class Beat:
    """The newest heartbeat of a service and when it was heard (wall ms)."""

    message: Heartbeat
    heard_ms: int
    unarmed: frozenset[str] = frozenset()
    """Of the exit scanner: what it could not arm."""
    gone_ms: int | None = None
    """Wall time since which its connections to the bus have been closed; None while it is connected, or not known to be."""

    @classmethod
    def of(cls, message: Heartbeat, heard_ms: int) -> Self:
        return cls(message, heard_ms, frozenset(message.unarmed))

    @property
    def is_standby(self) -> bool:
        """An executor that waits beside another."""
        return STANDBY in self.message.details

    def is_gone(self, now_ms: int, limits: Limits) -> bool:
        """Whether its process has ended, as the bus saw its connections close."""
        return self.gone_ms is not None and now_ms - self.gone_ms > limits.gone_grace_ms

    def is_alive(self, now_ms: int, limits: Limits) -> bool:
        """Whether it is young enough, and its sender connected enough, to be a proof of life."""
        return now_ms - self.heard_ms <= limits.max_heartbeat_age_ms and not self.is_gone(now_ms, limits)


@dataclass(frozen=True, slots=True)
class Watched:
    """An open position, with what the light needs to know beside its row."""

    row: PositionRow
    changed_seq: int
    """Ledger sequence of its last change, or of the snapshot that first showed it."""
    changed_ms: int
    """Wall time of the same."""
    price_ms: int | None = None
    """Wall time at which its newest price was heard."""
    exit_since_ms: int | None = None
    """Wall time since which an exit of it is under way."""

    @property
    def name(self) -> str:
        return f"{self.row.symbol} {self.row.side.value} ({self.row.account}/{self.row.exchange})"


@dataclass(frozen=True, slots=True)
class LightInputs:
    """Everything the light is computed from. `positions` None: the ledger's state is not known yet."""

    now_ms: int
    started_ms: int
    positions: Sequence[Watched] | None
    beats: Mapping[str, Beat]
    limits: Limits = field(default_factory=Limits)
    view_seq: int = -1
    books: Sequence[BookRow] = ()
    quarantine: Sequence[QuarantineRow] = ()
    unknown_orders: Sequence[OrderRow] = ()
    untrusted: Sequence[str] = ()
    """Further reasons for red."""
    late: Sequence[str] = ()
    """Further reasons for yellow."""


@dataclass(frozen=True, slots=True)
class Light:
    status: str
    sentence: str
    reasons: list[str]
    """The worst first, with ages."""
    open_positions: int | None
    """None: not known."""
    armed: int
    arming: int = 0
    """Changed so recently that the scanner's word may still be on its way."""
    live: str = ""
    """Which accounts trade real money, and where, by the executor's own word; empty on paper."""

    @property
    def mode(self) -> str:
        return "live" if self.live else "paper"

    @property
    def symbol(self) -> str:
        return SYMBOLS[self.status]

    @property
    def exit_code(self) -> int:
        return EXIT_CODES[self.status]

    def as_fields(self) -> dict[str, Any]:
        """For `status.json`."""
        return {
            "status": self.status, "symbol": self.symbol, "sentence": self.sentence, "reasons": self.reasons,
            "open_positions": self.open_positions, "armed": self.armed, "arming": self.arming, "exit_code": self.exit_code,
            "mode": self.mode, "live": self.live,
        }  # fmt: skip


@dataclass(slots=True)
class _Findings:
    """Reasons so far: red ones, yellow ones, each about one thing."""

    critical: list[str] = field(default_factory=list)
    partial: list[str] = field(default_factory=list)


def age(milliseconds: int) -> str:
    """An age that a person reads: `3.2 s`, `4 min`, `2.5 h`."""
    if milliseconds < 120_000:
        return f"{max(0, milliseconds) / 1000:.1f} s"
    if milliseconds < 7_200_000:
        return f"{milliseconds // 60_000} min"
    return f"{milliseconds / 3_600_000:.1f} h"


def light(inputs: LightInputs) -> Light:
    """The light, its reasons, how many positions are armed, and whether it is about real money."""
    executors = (beat for name, beat in sorted(inputs.beats.items()) if is_executor(name))
    said = (beat.message.details.get("live", "") for beat in executors if not beat.is_standby)
    return replace(_light(inputs), live=", ".join(filter(None, said)))


def is_executor(name: str) -> bool:
    return name.partition("/")[0] == EXECUTOR


def required(beats: Mapping[str, Beat]) -> tuple[str, ...]:
    """Who must be heard: one executor for each account that has its own, by the word of the one that serves all others."""
    executor = beats.get(EXECUTOR)
    apart = executor.message.details.get(APART, "") if executor is not None else ""
    return (*REQUIRED, *(f"{EXECUTOR}/{account}" for account in apart.split(",") if account))


def _light(inputs: LightInputs) -> Light:
    found = _Findings(critical=list(inputs.untrusted), partial=list(inputs.late))
    _judge_services(inputs, found)
    _judge_books(inputs, found)
    if inputs.positions is None:
        found.critical.insert(0, "no ledger snapshot yet")
        return _conclude(found, None, 0, 0)
    armed, arming = 0, 0
    for watched in inputs.positions:
        is_armed = armed_by(watched, inputs)
        is_young = inputs.now_ms - watched.changed_ms <= inputs.limits.arming_grace_ms
        armed += is_armed
        arming += not is_armed and is_young
        _judge_position(watched, inputs, is_armed, is_young, found)
    if inputs.positions and not armed and not arming:
        found.critical.insert(0, f"{_count(len(inputs.positions))}, none of them armed")
    elif inputs.positions and not armed and scanner_beat(inputs) is None:
        found.critical.insert(0, f"{_count(len(inputs.positions))}, and no scanner to arm them")
    _compare_counts(inputs, armed, found)
    return _conclude(found, len(inputs.positions), armed, arming)


def scanner_beat(inputs: LightInputs) -> Beat | None:
    """The exit scanner's heartbeat, if it is young enough to be a proof of life."""
    beat = inputs.beats.get(EXIT_SCANNER)
    return beat if beat is not None and beat.is_alive(inputs.now_ms, inputs.limits) else None


def missing_exits(row: PositionRow) -> str | None:
    """What a position lacks of its exits (INV-2); None when it has them."""
    if row.stop_loss <= 0:
        return "no stop-loss"
    if row.take_profit is None and not profit_is_over(row):
        return "no take-profit"
    return None


def armed_by(watched: Watched, inputs: LightInputs) -> bool:
    """Whether the scanner, alive, says that this position's triggers are in place as they now are."""
    beat = scanner_beat(inputs)
    if beat is None or beat.message.armed_through is None or missing_exits(watched.row) is not None:
        return False
    return beat.message.armed_through >= watched.changed_seq and watched.row.position_id not in beat.unarmed


def _judge_services(inputs: LightInputs, found: _Findings) -> None:
    needed = required(inputs.beats)
    for service in (*needed, *sorted(set(inputs.beats) - set(needed))):
        beat = inputs.beats.get(service)
        if beat is not None and beat.is_standby:
            continue  # nobody needs it, as long as another serves
        if beat is None:
            found.critical.append(
                f"{service} silent: not heard in the last {age(inputs.now_ms - inputs.started_ms)}"
            )
            continue
        if not beat.is_alive(inputs.now_ms, inputs.limits):
            if service in needed:
                found.critical.append(f"{service} {_silence(beat, inputs)}")
            elif service.partition("/")[0] in SERVICES:
                found.partial.append(f"{service} {_silence(beat, inputs)}")
            continue
        if beat.message.unreadable is not None:
            found.critical.append(f"{service} cannot trust what it reads: {beat.message.unreadable}")
        found.partial += [f"{service}: {warning}" for warning in beat.message.warnings]


def _silence(beat: Beat, inputs: LightInputs) -> str:
    if beat.gone_ms is not None and beat.is_gone(inputs.now_ms, inputs.limits):
        return f"has ended: its connection to the bus was closed {age(inputs.now_ms - beat.gone_ms)} ago"
    return f"silent for {age(inputs.now_ms - beat.heard_ms)}"


def _judge_books(inputs: LightInputs, found: _Findings) -> None:
    for book in inputs.books:
        if book.disputed is not None:
            found.critical.append(f"book {book.book_id} is disputed: {book.disputed}")
        if book.refused_exit is not None:
            found.critical.append(f"an exit of book {book.book_id} was refused: {book.refused_exit}")
    for item in inputs.quarantine:
        found.partial.append(
            f"{item.symbol} ({item.account}/{item.exchange}) in quarantine for {age(inputs.now_ms - item.at)}: {item.why}"
        )
    for order in inputs.unknown_orders:
        if inputs.now_ms - order.changed_at > inputs.limits.unknown_order_ms:
            found.partial.append(
                f"order {order.order_id} of {order.symbol} has been unknown for {age(inputs.now_ms - order.changed_at)}"
            )


def _judge_position(
    watched: Watched, inputs: LightInputs, is_armed: bool, is_young: bool, found: _Findings
) -> None:
    limits, missing = inputs.limits, missing_exits(watched.row)
    beat = scanner_beat(inputs)
    if missing is not None:
        found.partial.append(f"{watched.name}: {missing}")
    elif not is_armed and beat is not None and not is_young:
        refused = watched.row.position_id in beat.unarmed
        why = (
            "the scanner could not arm it"
            if refused
            else f"not armed {age(inputs.now_ms - watched.changed_ms)} after its last change"
        )
        found.partial.append(f"{watched.name}: {why}")
    if watched.price_ms is None:
        if not is_young:
            found.partial.append(f"{watched.name}: no price yet")
    elif inputs.now_ms - watched.price_ms > limits.max_tick_age_ms:
        found.partial.append(f"{watched.name}: its price is {age(inputs.now_ms - watched.price_ms)} old")
    if (
        watched.exit_since_ms is not None
        and watched.row.exit_reason not in SOFT_EXITS
        and inputs.now_ms - watched.exit_since_ms > limits.exit_alarm_ms
    ):
        reason = watched.row.exit_reason.value if watched.row.exit_reason is not None else "exit"
        found.critical.append(
            f"{watched.name}: its {reason} has been under way for {age(inputs.now_ms - watched.exit_since_ms)}"
        )


def _compare_counts(inputs: LightInputs, armed: int, found: _Findings) -> None:
    """Where scanner and publisher stand at the same sequence, they must count the same."""
    beat = scanner_beat(inputs)
    if (
        beat is None
        or beat.message.armed is None
        or beat.message.seq != inputs.view_seq
        or beat.message.armed_through != inputs.view_seq
    ):
        return
    if beat.message.armed < armed:
        found.partial.append(
            f"the scanner counts {beat.message.armed} armed positions, the ledger shows {armed} that it should have armed"
        )


def _count(positions: int) -> str:
    return "1 open position" if positions == 1 else f"{positions} open positions"


def _conclude(found: _Findings, positions: int | None, armed: int, arming: int) -> Light:
    status = CRITICAL if found.critical else PARTIAL if found.partial else CONSISTENT
    reasons = found.critical + found.partial
    more = len(reasons) - 1
    if status == CONSISTENT:
        sentence = _all_well(positions or 0, arming)
    else:
        sentence = reasons[0] + (f" (and {more} more)" if more else "")
    if len(reasons) > MAX_REASONS:
        reasons = [*reasons[:MAX_REASONS], f"and {len(reasons) - MAX_REASONS} more"]
    return Light(status, sentence, reasons, positions, armed, arming)


def _all_well(positions: int, arming: int) -> str:
    if not positions:
        return "no open positions; everything is alive"
    return (
        f"{_count(positions)}, all with working exits"
        if not arming
        else f"{_count(positions)}, all with exits; {arming} changed just now and being armed"
    )


def from_status(status: Mapping[str, Any], now_ms: int, max_age_ms: int) -> Light:
    """The light as `status.json` tells it, for readers of the file: a file that is missing or old is red, whatever it says."""
    if not status:
        return Light(
            CRITICAL, "no status file: the state publisher has not written one", ["no status file"], None, 0
        )
    old_ms = now_ms - int(status["updated_ms"])
    if old_ms > max_age_ms:
        why = f"the status file is {age(old_ms)} old: the state publisher is not running, or cannot write"
        return Light(CRITICAL, why, [why, *status["reasons"]], status["open_positions"], 0)
    return Light(
        status["status"],
        status["sentence"],
        list(status["reasons"]),
        status["open_positions"],
        status["armed"],
        status["arming"],
    )
