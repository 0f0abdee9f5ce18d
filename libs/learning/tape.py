"""A closed trade's market, ready to be walked through many times: which prices are shown to the rules, when, and in what order.

A stretch of the path (`PathPoint`) says where the price was, not in which order. The convention, the same for every stretch: its
first price, then the worst for the position, then the best, then the last. The first three are shown at its beginning, the last at
its end. A stretch of one price is shown once. From the first price to the worst and on to the best is one continuous movement, so
that a level on the way is met at the level. To the last price it is a jump, as between stretches, and what a jump has gone over exits at
the price it got: a stop that this stretch's own best price has raised is filled at its last price, never at the raised level. For nobody
knows how often the price turned round on its way up; filling a close trail right below the top would earn what no market pays.

Predictions and a soft close come at their own times: the rules are asked again then, at the stretch's last price.

`ahead` are the same prices as floats, turned so that up is good for the position; they only tell whom to ask, never decide.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal

import numpy as np
import numpy.typing as npt

from holdfast.contracts.codes import ExitReason
from holdfast.contracts.exit_messages import Prediction
from holdfast.contracts.outcomes import PathPoint, SeenPrediction, TradeOutcome
from holdfast.domain.conditions import is_long

COMMANDED = frozenset(
    {
        ExitReason.CLOSE,
        ExitReason.FLATTEN,
        ExitReason.FORCE_EXIT,
        ExitReason.FLIPPED,
        ExitReason.LIQUIDATION,
        ExitReason.EXIT_ON_VENUE,
    }
)
"""Reasons that no threshold has a say in: the trade would have ended then and there on any thresholds."""


@dataclass(frozen=True, slots=True)
class Shown:
    """One price that the rules are asked about."""

    at: int
    price: Decimal
    moved: bool
    """The price moved here from the one shown before, through everything between; otherwise it jumped."""


@dataclass(frozen=True, slots=True)
class Tape:
    """See the module."""

    outcome: TradeOutcome
    shown: tuple[Shown, ...]
    at: npt.NDArray[np.int64]
    ahead: npt.NDArray[np.float64]
    looks: tuple[int, ...]
    """The first price, and where predictions or the soft close change: the rules are asked there, whatever the price."""
    views: tuple[tuple[Prediction, ...], ...]
    """The predictions that count from each of `looks` on."""
    signal_at: int | None
    """When a soft close came to stand; of a trade that it closed, at the latest then."""


def tape_of(outcome: TradeOutcome) -> Tape:
    """Empty where no path is known."""
    long = is_long(outcome.row)
    voices = [_prediction(outcome, one) for one in sorted(outcome.predictions, key=lambda one: one.at)]
    signal_at = outcome.signal_at
    if signal_at is None and outcome.exit_reason is ExitReason.SIGNAL:
        signal_at = outcome.closed_at
    changes = {*(one.at for one in voices), *(one.expires_at for one in voices)}
    changes |= set() if signal_at is None else {signal_at}
    begin = outcome.path[0].at if outcome.path else 0
    times = deque(sorted(at for at in changes if at > begin))
    shown: list[Shown] = []
    looks = [0] if outcome.path else []
    for point, end in _stretches(outcome):
        several = not point.first == point.low == point.high == point.last
        shown.append(Shown(point.at, point.first, moved=False))
        if several:
            worst, best = (point.low, point.high) if long else (point.high, point.low)
            shown += (Shown(point.at, worst, moved=True), Shown(point.at, best, moved=True))
        while times and times[0] <= end:
            looks.append(len(shown))
            shown.append(Shown(max(times.popleft(), point.at), point.last, moved=False))
        if several:
            shown.append(Shown(end, point.last, moved=False))
    ahead = np.array([float(one.price) for one in shown], dtype=np.float64)
    return Tape(
        outcome=outcome,
        shown=tuple(shown),
        at=np.array([one.at for one in shown], dtype=np.int64),
        ahead=ahead if long else -ahead,
        looks=tuple(looks),
        views=tuple(_current(voices, shown[look].at) for look in looks),
        signal_at=signal_at,
    )


def _stretches(outcome: TradeOutcome) -> Iterator[tuple[PathPoint, int]]:
    """Each stretch with its end, ms: a moment before the next begins. None after a close that no threshold has a say in."""
    over = outcome.closed_at if outcome.exit_reason in COMMANDED else None
    for number, point in enumerate(outcome.path):
        if over is not None and point.at >= over:
            return
        later = number + 1 < len(outcome.path)
        end = outcome.path[number + 1].at - 1 if later else max(point.at, outcome.through)
        yield point, end if over is None else max(point.at, min(end, over - 1))


def _prediction(outcome: TradeOutcome, one: SeenPrediction) -> Prediction:
    return Prediction.trusted(
        id=f"{one.model}-{one.at}", cause_id=None, correlation_id=None, at=one.at, symbol=outcome.row.symbol,
        direction=one.direction, confidence=one.confidence, model=one.model, expires_at=one.expires_at,
    )  # fmt: skip


def _current(voices: Sequence[Prediction], now: int) -> tuple[Prediction, ...]:
    """The latest word of each model that has not expired: *voices* by time."""
    latest = {one.model: one for one in voices if one.at <= now}
    return tuple(latest[model] for model in sorted(latest) if latest[model].expires_at > now)
