"""Whether what was applied does worse than what it replaced: live results against the shadow of the old thresholds.

On the same trades: what each really brought since the version was applied, less what the old thresholds would have made of it. Taking
a step back is safe, so it needs less proof than the step did: `CONFIDENCE` of the resamples below zero, and the mean below zero.

The shadow is filled without slippage unless `slippage_pct` says how much there is; `tracking` is what live results lack against the same
calculation for the thresholds that they really had. Where that alone is what is missing, the calculation is too kind and not the
version at fault: the shadow is given the same handicap before it is compared.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

import numpy as np

from holdfast.contracts.money import ZERO, divide, mul
from holdfast.contracts.outcomes import TradeOutcome
from holdfast.domain.thresholds import Values
from learning.bootstrap import Floats, interval_of_mean
from learning.objective import Sample

LEAST_TRADES = 30
CONFIDENCE = 0.9
_DIGITS = 9
"""A billionth of a position's value is nothing; floats differ by less."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Figures are net profit per trade, as a share of the entry value."""

    revert: bool
    why: str
    trades: int
    live: float = 0.0
    shadow: float = 0.0
    """Of the old thresholds, with the handicap."""
    tracking: float = 0.0
    """Live less calculated, for the thresholds that the trades had."""
    below: float = 0.0
    """Share of resamples in which live is below the shadow."""

    def __str__(self) -> str:
        """One line for people."""
        figures = f"{self.trades} trades, live {100 * self.live:+.4f} % each, shadow of the old {100 * self.shadow:+.4f} %"
        return f"{figures}, live is lower with {self.below:.0%}: {self.why}"


def judge(
    since: Sequence[TradeOutcome],
    old: Values,
    seed: int,
    *,
    slippage_pct: Decimal = ZERO,
    least_trades: int = LEAST_TRADES,
    confidence: float = CONFIDENCE,
) -> Verdict:
    """Live results on a version (*since* it was applied, its own trades alone) against the shadow of the *old* thresholds."""
    sample = Sample((one for one in since if one.path), slippage_pct)
    if len(sample) < least_trades:
        return Verdict(False, f"{least_trades} trades are needed", len(sample))
    live = np.array([realized_ratio(tape.outcome) for tape in sample.tapes])
    calculated = sample.profits({})
    tracking = float((live - calculated).mean())
    shadow = sample.profits(old)
    lacks = _less(live, shadow, calculated)
    below = 1.0 - interval_of_mean(lacks, np.random.default_rng(seed)).above_zero
    worse = float(lacks.mean()) < 0 and below >= confidence
    why = "it does worse than what it replaced" if worse else "it does not do worse with enough confidence"
    return Verdict(
        worse, why, len(sample), float(live.mean()), float(live.mean() - lacks.mean()), tracking, below
    )


def _less(live: Floats, shadow: Floats, calculated: Floats) -> Floats:
    """What live lacks against the shadow, trade by trade; the mean of what it lacks against its own calculation is not held against it."""
    lacks = live - shadow - min(0.0, float((live - calculated).mean()))
    return np.round(lacks, _DIGITS)


def realized_ratio(outcome: TradeOutcome) -> float:
    """Net profit as a share of the entry value, leverage not counted."""
    row = outcome.row
    value = mul(row.entry_value, row.contract_size)
    return float(divide(outcome.realized_pnl, value)) if value else 0.0
