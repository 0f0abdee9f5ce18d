"""Closed trades for tests of the learner: from a list of prices, or of candles, and the thresholds they lived by."""

from collections.abc import Sequence
from decimal import Decimal as D  # noqa: N817
from typing import Any

from holdfast.contracts.codes import ExitReason, PositionSide
from holdfast.contracts.outcomes import PathPoint, SeenPrediction, TradeOutcome
from tests.unit._exits import LONG, T0, position

STEP = 1000
"""Market time between two prices, ms."""


def price_point(at: int, price: object) -> PathPoint:
    """A stretch of one price."""
    one = D(str(price))
    return PathPoint(at=at, first=one, low=one, high=one, last=one)


def candle_point(at: int, first: object, low: object, high: object, last: object) -> PathPoint:
    return PathPoint(at=at, first=D(str(first)), low=D(str(low)), high=D(str(high)), last=D(str(last)))


def outcome(
    prices: Sequence[object] = (),
    *,
    side: PositionSide = LONG,
    name: str = "p1",
    at: int = T0,
    row: dict[str, Any] | None = None,
    points: Sequence[PathPoint] | None = None,
    **fields: Any,
) -> TradeOutcome:
    """A trade opened at 100 with stop 90 and take-profit 120 (short: 110 and 80), whose market went by *prices*.

    Unless *fields* say otherwise it ended at the last price, in no way that says anything about thresholds.
    """
    path = (
        list(points)
        if points is not None
        else [price_point(at + n * STEP, one) for n, one in enumerate(prices)]
    )
    through = path[-1].at if path else at
    times = {"opened_at": at, "changed_at": at, "recorded_at": at}
    values: dict[str, Any] = {
        "id": f"o-{name}", "at": through, "position_id": name, "row": position(name, side, **(times | (row or {}))),
        "closed_at": through + 1, "exit_reason": ExitReason.STOP_LOSS, "exit_price": path[-1].last if path else D(100),
        "realized_pnl": D(0), "path": path, "through": through,
    }  # fmt: skip
    return TradeOutcome(**(values | fields))


def says(at: int, until: int, direction: str, confidence: object, model: str = "m") -> SeenPrediction:
    return SeenPrediction(
        at=at, expires_at=until, model=model, direction=direction, confidence=D(str(confidence))
    )
