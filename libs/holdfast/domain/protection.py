"""For how long was a position not provably protected? Measured for every position, in wall milliseconds.

Protected means: it has its exits, a living scanner says they are armed, and its price is young. And on spot, where a stop that rests
at the venue has to go before it can be replaced, or before an exit can sell: that one rests there. The clock is fed with looks and
with what the ledger tells, and never asks for the time itself.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from holdfast.contracts.codes import Code, Kind, OrderState, Role
from holdfast.contracts.messages import LedgerUpdated
from holdfast.contracts.rows import OrderRow
from holdfast.domain.light import LightInputs, armed_by, scanner_beat


@dataclass(frozen=True, slots=True)
class Sight:
    """One look at a position. *proof*: the older and the newer of (scanner's word, price), wall ms; None: unprotected."""

    position_id: str
    recorded_ms: int
    proof: tuple[int, int] | None


def sights(inputs: LightInputs) -> Iterable[Sight]:
    """How each open position stands: protected means armed by a living scanner that has young prices."""
    beat = scanner_beat(inputs)
    for watched in inputs.positions or ():
        price = watched.price_ms
        fresh = price is not None and inputs.now_ms - price <= inputs.limits.max_tick_age_ms
        proof = None
        if beat is not None and price is not None and fresh and armed_by(watched, inputs):
            proof = (min(beat.heard_ms, price), max(beat.heard_ms, price))
        yield Sight(watched.row.position_id, watched.row.recorded_at, proof)


@dataclass(slots=True)
class _Measured:
    total_ms: int = 0
    gap_since_ms: int | None = None
    """None: protected at the last look."""
    proven_ms: int = 0


@dataclass(slots=True)
class _Bare:
    """For how long no stop of a position was proven to rest at the venue, since the first was asked for; what the scanner's own gaps count
    is left out.
    """

    total_ms: int = 0
    since_ms: int | None = None
    counted: list[tuple[int, int]] = field(default_factory=list)
    """The latest gaps in the total."""

    def count(self, since: int, until: int) -> None:
        if until > since:
            self.total_ms += until - since
            self.counted = [*self.counted[-7:], (since, until)]

    def leave_out(self, since: int) -> None:
        """A gap of the scanner's has been noticed that began at *since*."""
        late = [(start, end) for start, end in self.counted if end > since]
        self.counted = [gap for gap in self.counted if gap not in late]
        for start, end in late:
            self.total_ms -= end - start
            self.count(start, since)


_AT_WORK = frozenset({OrderState.OPEN, OrderState.PARTIAL, OrderState.FILLED})


class ProtectionClock:
    """Measures for how long each position was not provably protected.

    From the moment the ledger recorded it until it is first seen armed, and every gap after that. A gap is noticed
    late (a heartbeat must first be missed), so it is counted from the last proof, not from the moment of noticing. Of
    positions older than *started_ms* nothing is known before it.
    """

    def __init__(self, started_ms: int) -> None:
        self._started_ms = started_ms
        self._measured: dict[str, _Measured] = {}
        self._bare: dict[str, _Bare] = {}
        """By position: those on spot that have had a stop at the venue."""
        self.closed, self.closed_total_ms, self.closed_worst_ms = 0, 0, 0

    def observe(self, now_ms: int, looks: Iterable[Sight]) -> None:
        """One look at all open positions; those no longer there have been closed."""
        seen = set()
        for look in looks:
            seen.add(look.position_id)
            known = self._measured.get(look.position_id)
            if known is None:
                since = min(now_ms, max(look.recorded_ms, self._started_ms))
                known = self._measured[look.position_id] = _Measured(gap_since_ms=since, proven_ms=since)
                if look.position_id in self._bare:
                    self._bare[look.position_id].leave_out(since)
            _look(known, look.proof, self._bare.get(look.position_id))
        for position_id in [key for key in self._measured if key not in seen]:
            self._close(position_id, now_ms)

    def hear(self, updates: Iterable[LedgerUpdated]) -> None:
        """What has become of stops on spot."""
        for update in updates:
            for row in update.orders:
                if row.role is Role.PROTECT and row.kind is Kind.SPOT and row.position_id is not None:
                    self._hear_stop(row.position_id, row)
            for position in update.positions:
                if not position.is_open and position.position_id in self._bare:
                    self._end_gap(position.position_id, update.at)
                    if position.position_id not in self._measured:  # closed before anybody looked
                        del self._bare[position.position_id]

    def _hear_stop(self, position_id: str, row: OrderRow) -> None:
        if position_id not in self._bare and (not row.is_live or row.code is Code.POSITION_GONE):
            return  # news of a position that is gone
        bare = self._bare.setdefault(position_id, _Bare())
        taken_away = row.state is OrderState.CANCELED and row.code is Code.ON_REQUEST
        if row.state in _AT_WORK or taken_away:
            self._end_gap(position_id, row.changed_at)
        elif bare.since_ms is None:
            bare.since_ms = row.changed_at

    def _end_gap(self, position_id: str, at_ms: int) -> None:
        bare, known = self._bare[position_id], self._measured.get(position_id)
        since, bare.since_ms = bare.since_ms, None
        if since is not None:  # what the scanner's own gap counts already is not counted twice
            counted = known.gap_since_ms if known is not None else None
            bare.count(since, at_ms if counted is None else min(at_ms, counted))

    def _close(self, position_id: str, now_ms: int) -> None:
        total = self.unprotected_ms(position_id, now_ms)
        del self._measured[position_id]
        self._bare.pop(position_id, None)
        self.closed += 1
        self.closed_total_ms += total
        self.closed_worst_ms = max(self.closed_worst_ms, total)

    def unprotected_ms(self, position_id: str, now_ms: int) -> int:
        """Of one open position, up to now; 0 for one that was never looked at."""
        known = self._measured.get(position_id)
        if known is None:
            return 0
        bare = self._bare.get(position_id, _Bare())
        running = [at for at in (known.gap_since_ms, bare.since_ms) if at is not None]
        return known.total_ms + bare.total_ms + max(0, now_ms - min(running, default=now_ms))


def _look(known: _Measured, proof: tuple[int, int] | None, bare: _Bare | None) -> None:
    if proof is None:
        if known.gap_since_ms is None:
            known.gap_since_ms = known.proven_ms
            if bare is not None:
                bare.leave_out(known.proven_ms)
        return
    older, newer = proof
    if known.gap_since_ms is not None:
        known.total_ms += max(0, newer - known.gap_since_ms)
        if bare is not None and bare.since_ms is not None:
            bare.count(bare.since_ms, known.gap_since_ms)
            bare.since_ms = max(bare.since_ms, newer)
        known.gap_since_ms = None
    known.proven_ms = max(known.proven_ms, older)
