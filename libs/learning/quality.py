"""How good exits were, in numbers for people. Time unprotected is not among them: `holdfast.domain.kpi` measures it live.

*Premature* is a soft exit (ROI, signal, stagnation) at a loss whose take-profit was reached afterwards, while the position could still have
been held: before its deadline, or as long as its market was watched where it had none. *Slip* is how much worse a stop's fill was than the
level it stood at.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import reduce

from holdfast.contracts.codes import ExitReason
from holdfast.contracts.money import ZERO, add, divide, mul, sub
from holdfast.contracts.outcomes import TradeOutcome
from holdfast.domain.conditions import is_long
from holdfast.domain.exits import HARDNESS, SOFTEST_HARD, STOPS

_STOPS = frozenset(STOPS.values())
_THOUSAND = Decimal(1000)
_HUNDRED = Decimal(100)


@dataclass(frozen=True, slots=True)
class ExitQuality:
    """None: no trade that it could be said of."""

    trades: int
    soft_losses: int
    """Soft exits at a loss whose position had a take-profit and whose market is known after the close."""
    premature: int
    average_hold_s: Decimal | None
    """Market seconds from the first fill to the close."""
    stops: int
    """Exits by a stop whose level is known."""
    average_slip_pct: Decimal | None
    worst_slip_pct: Decimal | None
    """Percent of the level; negative is better than the level."""

    @property
    def premature_share(self) -> Decimal | None:
        """0 to 1, of `soft_losses`."""
        return divide(Decimal(self.premature), Decimal(self.soft_losses)) if self.soft_losses else None


def exit_quality(outcomes: Sequence[TradeOutcome]) -> ExitQuality:
    """Over all of *outcomes*."""
    known = [found for one in outcomes if (found := premature(one)) is not None]
    holds = [Decimal(one.closed_at - one.row.opened_at) for one in outcomes]
    slips = [slip for one in outcomes if (slip := slip_pct(one)) is not None]
    return ExitQuality(
        trades=len(outcomes),
        soft_losses=len(known),
        premature=sum(known),
        average_hold_s=divide(_mean(holds), _THOUSAND) if holds else None,
        stops=len(slips),
        average_slip_pct=_mean(slips) if slips else None,
        worst_slip_pct=max(slips, default=None),
    )


def premature(outcome: TradeOutcome) -> bool | None:
    """Whether a soft losing exit gave away a take-profit that was still to come; None where the question does not arise."""
    row, take = outcome.row, outcome.row.take_profit
    soft = HARDNESS[outcome.exit_reason] < SOFTEST_HARD
    until = outcome.through if row.expires_at is None else min(row.expires_at, outcome.through)
    if not soft or outcome.realized_pnl >= 0 or take is None or until <= outcome.closed_at:
        return None
    after = [point for point in outcome.path if outcome.closed_at < point.at <= until]
    return any(point.high >= take if is_long(row) else point.low <= take for point in after)


def slip_pct(outcome: TradeOutcome) -> Decimal | None:
    """By how much the fill was worse than the stop's level, percent of it; None for other exits, or a level that is not known."""
    if outcome.exit_reason not in _STOPS:
        return None
    level = outcome.trigger_level
    if level is None and outcome.exit_reason is ExitReason.STOP_LOSS:
        level = outcome.row.stop_loss
    if level is None:
        return None
    worse = sub(level, outcome.exit_price) if is_long(outcome.row) else sub(outcome.exit_price, level)
    return divide(mul(worse, _HUNDRED), level)


def _mean(values: Sequence[Decimal]) -> Decimal:
    return divide(reduce(add, values, ZERO), Decimal(len(values)))
