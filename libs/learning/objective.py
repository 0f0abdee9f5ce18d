"""What a sample of results is worth: the mean net profit less a penalty for its losses.

    worth = mean(r) - risk_aversion x sqrt(mean(min(r, 0)^2))

r is a trade's net profit as a share of its entry value; the root is the downside semi-deviation about zero, so that only losses are
penalised, and large ones more. A risk aversion of zero counts profit alone. It is what the search ascends; what is adopted is decided
by profit (`walk_forward`), because on a market without any edge shorter trades always lose less: less risk alone proves nothing.
"""

from collections.abc import Iterable, Sequence
from decimal import Decimal

import numpy as np
import numpy.typing as npt

from holdfast.contracts.money import ZERO
from holdfast.contracts.outcomes import TradeOutcome
from holdfast.domain.thresholds import Values
from learning.counterfactual import Result, outcome_under
from learning.tape import Tape, tape_of

Floats = npt.NDArray[np.float64]

RISK_AVERSION = 0.25


def worth(profits: Floats, risk_aversion: float = RISK_AVERSION) -> float:
    """See the module. Zero for no trade."""
    if not profits.size:
        return 0.0
    losses = np.minimum(profits, 0.0)
    return float(profits.mean() - risk_aversion * np.sqrt(np.square(losses).mean()))


class Sample:
    """Closed trades in the order in which they were opened, ready to be tried on other thresholds."""

    def __init__(self, outcomes: Iterable[TradeOutcome], slippage_pct: Decimal = ZERO) -> None:
        self.tapes: Sequence[Tape] = [
            tape_of(one) for one in sorted(outcomes, key=lambda one: (one.row.opened_at, one.position_id))
        ]
        self._slippage = slippage_pct

    def __len__(self) -> int:
        return len(self.tapes)

    def results(self, values: Values, which: Iterable[int] | None = None) -> list[Result]:
        """What *which* trades (all) would have brought on *values*, in their order."""
        chosen = range(len(self.tapes)) if which is None else which
        return [outcome_under(self.tapes[number], values, slippage_pct=self._slippage) for number in chosen]

    def profits(self, values: Values, which: Iterable[int] | None = None) -> Floats:
        """Their net profit ratios."""
        return np.array([one.profit_ratio for one in self.results(values, which)], dtype=np.float64)
