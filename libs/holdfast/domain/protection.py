"""For how long was a position not provably protected? Measured for every position, in wall milliseconds.

Protected means: it has its exits, a living scanner says they are armed, and its price is young. The clock is fed with
looks and never asks for the time itself.
"""

from collections.abc import Iterable
from dataclasses import dataclass

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


class ProtectionClock:
    """Measures for how long each position was not provably protected.

    From the moment the ledger recorded it until it is first seen armed, and every gap after that. A gap is noticed
    late (a heartbeat must first be missed), so it is counted from the last proof, not from the moment of noticing. Of
    positions older than *started_ms* nothing is known before it.
    """

    def __init__(self, started_ms: int) -> None:
        self._started_ms = started_ms
        self._measured: dict[str, _Measured] = {}
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
            _look(known, look.proof)
        for position_id in [key for key in self._measured if key not in seen]:
            self._close(position_id, now_ms)

    def _close(self, position_id: str, now_ms: int) -> None:
        total = self.unprotected_ms(position_id, now_ms)
        del self._measured[position_id]
        self.closed += 1
        self.closed_total_ms += total
        self.closed_worst_ms = max(self.closed_worst_ms, total)

    def unprotected_ms(self, position_id: str, now_ms: int) -> int:
        """Of one open position, up to now; 0 for one that was never looked at."""
        known = self._measured.get(position_id)
        if known is None:
            return 0
        return known.total_ms + (0 if known.gap_since_ms is None else max(0, now_ms - known.gap_since_ms))


def _look(known: _Measured, proof: tuple[int, int] | None) -> None:
    if proof is None:
        if known.gap_since_ms is None:
            known.gap_since_ms = known.proven_ms
        return
    older, newer = proof
    if known.gap_since_ms is not None:
        known.total_ms += max(0, newer - known.gap_since_ms)
        known.gap_since_ms = None
    known.proven_ms = max(known.proven_ms, older)
