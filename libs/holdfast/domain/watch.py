"""What has been seen of services, refusals, trades and positions: the memory between the streams and the state files.

Everything here is bounded, and everything tolerates hearing the same thing twice: the bus may rewind.
"""

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from holdfast.contracts.leases import STANDBY
from holdfast.contracts.messages import Heartbeat, LedgerUpdated, OrderBlocked, Trade
from holdfast.contracts.rows import PositionRow
from holdfast.domain.light import Beat, Limits, Watched, is_executor, required
from holdfast.domain.valuation import Mark

LAST_BLOCKED = 20
RECENT_IDS = 2_000
RECENT_TRADES = 1_000
FORGET_MS = 600_000
"""A service that is not required is forgotten after this silence."""
FORGET_STANDBY_MS = 10_000


class Services:
    """The newest heartbeat of every service, and how often each has started again."""

    def __init__(self) -> None:
        self.beats: dict[str, Beat] = {}
        self._restarts: dict[str, int] = {}
        self._were_connected: set[str] = set()
        """Incarnations that the bus has shown as connected."""

    def hear(self, message: Heartbeat, heard_ms: int) -> bool:
        """Take a heartbeat in; one that the bus had before the last of its service changes nothing. Whether the service is another life.

        The sender's own time counts only between two of the same moment and life: a service whose clock was ahead, and is
        right again, is alive now, not when its old clock says.
        """
        name = message.service if message.instance == "0" else f"{message.service}/{message.instance}"
        known = self.beats.get(name)
        if known is not None:
            is_same = known.message.incarnation == message.incarnation
            if heard_ms < known.heard_ms:
                return False
            if is_same and heard_ms == known.heard_ms and message.at < known.message.at:
                return False
            if not is_same:
                self._restarts[name] = self._restarts.get(name, 0) + 1
        if is_executor(name):  # the same life under another name: it waited, and serves now
            for other in [key for key in self.beats if key != name and is_executor(key)]:
                if self.beats[other].message.incarnation == message.incarnation:
                    del self.beats[other]
        self.beats[name] = Beat.of(message, heard_ms)
        if known is not None and known.gone_ms is not None and is_same and heard_ms <= known.gone_ms:
            self.beats[name] = replace(self.beats[name], gone_ms=known.gone_ms)
        return known is not None and not is_same

    def see(self, incarnations: frozenset[str], now_ms: int) -> bool:
        """Take in which lives of services are connected to the bus now. Returns whether anybody has left or come back.

        Only who has been seen connected can be seen to leave: a service behind a proxy that hides its name stays unjudged.
        """
        changed = False
        for name, beat in self.beats.items():
            incarnation = beat.message.incarnation
            if incarnation in incarnations:
                gone_ms = None
            elif incarnation in self._were_connected:
                gone_ms = now_ms if beat.gone_ms is None else beat.gone_ms
            else:
                continue
            if gone_ms != beat.gone_ms:
                self.beats[name], changed = replace(beat, gone_ms=gone_ms), True
        self._were_connected = {beat.message.incarnation for beat in self.beats.values()} & (
            self._were_connected | incarnations
        )
        return changed

    def forget(self, now_ms: int) -> None:
        """Forget those that are not required and have been silent for long; who only waited, soon."""
        needed = required(self.beats)
        for name in [
            name
            for name, beat in self.beats.items()
            if name not in needed
            and now_ms - beat.heard_ms > (FORGET_STANDBY_MS if beat.is_standby else FORGET_MS)
        ]:
            del self.beats[name]
            self._restarts.pop(name, None)

    def table(self, beats: Mapping[str, Beat], now_ms: int, limits: Limits) -> list[dict[str, Any]]:
        """One row per service, required ones that were never heard included."""
        needed = required(beats)
        return [
            self._row(name, beats.get(name), now_ms, limits)
            for name in (*needed, *sorted(set(beats) - set(needed)))
        ]

    def _row(self, name: str, beat: Beat | None, now_ms: int, limits: Limits) -> dict[str, Any]:
        if beat is None:
            return {"service": name, "alive": False, "beat_age_ms": None}
        message, silent_ms = beat.message, max(0, now_ms - beat.heard_ms)
        waits = [f"stand-by: {message.details[STANDBY]}"] if beat.is_standby else []
        return {
            "service": name, "alive": beat.is_alive(now_ms, limits), "beat_age_ms": silent_ms, "started_at_ms": message.started_at, "seq": message.seq,
            "lag": message.lag, "pending": message.pending, "oldest_pending_ms": message.oldest_pending_ms, "dead_letters": message.dead_letters,
            "restarts": self._restarts.get(name, 0), "armed": message.armed, "armed_through": message.armed_through, "unarmed": len(message.unarmed),
            "unreadable": message.unreadable, "warnings": [*waits, *message.warnings], "version": message.version,
        }  # fmt: skip


class Blocked:
    """How many intents were refused since the start, and the last of them."""

    def __init__(self) -> None:
        self.count = 0
        self._last: deque[dict[str, Any]] = deque(maxlen=LAST_BLOCKED)
        self._ids = _Recent()

    def take(self, message: OrderBlocked) -> None:
        if self._ids.is_new(message.id):
            self.count += 1
            self._last.append(
                {
                    "timestamp_ms": message.at,
                    **message.model_dump(mode="json", exclude={"id", "at", "cause_id", "correlation_id"}),
                }
            )

    def as_fields(self) -> dict[str, Any]:
        """Newest last."""
        return {"count": self.count, "last": list(self._last)}


class Trades:
    """The last closed positions, for the numbers that totals do not carry."""

    def __init__(self) -> None:
        self.last: deque[Trade] = deque(maxlen=RECENT_TRADES)
        self._ids = _Recent()

    def take(self, trade: Trade) -> None:
        if self._ids.is_new(trade.position_id):
            self.last.append(trade.evolve(path=[]))


class _Recent:
    """The last ids, oldest forgotten first."""

    def __init__(self) -> None:
        self._ids: dict[str, None] = {}

    def is_new(self, key: str) -> bool:
        if key in self._ids:
            return False
        self._ids[key] = None
        if len(self._ids) > RECENT_IDS:
            del self._ids[next(iter(self._ids))]
        return True


@dataclass(frozen=True, slots=True)
class Seen:
    """When a position last changed, by sequence and by wall time; since when an exit of it is under way."""

    version: int
    seq: int
    at_ms: int
    exit_since_ms: int | None = None


class Changes:
    """When each open position last changed. A snapshot does not say: then its own sequence stands for it."""

    def __init__(self) -> None:
        self.seen: dict[str, Seen] = {}

    def on_reset(self, rows: Iterable[PositionRow], seq: int, now_ms: int) -> None:
        """A whole new view, as of *seq*. What we saw change before keeps its place if it is the same version."""
        before, self.seen = self.seen, {}
        for row in rows:
            known = before.get(row.position_id)
            self.seen[row.position_id] = (
                known
                if known is not None and known.version == row.version and known.seq <= seq
                else Seen(row.version, seq, now_ms, _exit_since(row, None, now_ms))
            )

    def on_updates(self, updates: Sequence[LedgerUpdated], now_ms: int) -> None:
        for update in updates:
            for row in update.positions:
                if not row.is_open:
                    self.seen.pop(row.position_id, None)
                    continue
                at_ms = min(now_ms, update.at)
                self.seen[row.position_id] = Seen(
                    row.version, update.seq, at_ms, _exit_since(row, self.seen.get(row.position_id), at_ms)
                )


def _exit_since(row: PositionRow, known: Seen | None, at_ms: int) -> int | None:
    if row.exit_attempts == 0:
        return None
    return known.exit_since_ms if known is not None and known.exit_since_ms is not None else at_ms


def watched(
    rows: Iterable[PositionRow], seen: Mapping[str, Seen], marks: Mapping[str, Mark], seq: int, now_ms: int
) -> list[Watched]:
    """Each open position with what the light needs; one that was never seen to change counts as changed now."""
    out = []
    for row in rows:
        known, mark = seen.get(row.position_id), marks.get(row.symbol)
        if known is None:
            known = Seen(row.version, seq, now_ms)
        out.append(
            Watched(row, known.seq, known.at_ms, None if mark is None else mark.heard_ms, known.exit_since_ms)
        )
    return out
