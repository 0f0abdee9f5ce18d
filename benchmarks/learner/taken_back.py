"""Is a bad version taken back, and how soon; and how often is one taken back that is no worse? Looked at every ten trades."""

from decimal import Decimal
from statistics import median
from typing import Any

import numpy as np

from benchmarks.learner import converge, noise
from benchmarks.learner.markets import noise_trades, pullback_trades
from benchmarks.learner.noise import wilson
from learning.revert import LEAST_TRADES, judge

D = Decimal
RUNS, TRADES, EVERY = 200, 100, 10
GOOD = converge.POLICY | {"take_profit_pct": D(5), "stop_loss_pct": D(3)}
BAD = GOOD | {"take_profit_pct": D("1.5")}
OTHER = noise.POLICY | {"stop_loss_pct": D(2), "take_profit_pct": D(4)}


def run() -> dict[str, Any]:
    """*worse*: the best exits were replaced by a take-profit that is far too near. *no_worse*: other exits, on noise."""
    found = {}
    for name, make, new, old in (
        ("worse", pullback_trades, BAD, GOOD),
        ("no_worse", noise_trades, OTHER, noise.POLICY),
    ):
        after = [
            _one(make(np.random.default_rng(9000 + seed), TRADES, new), old, seed) for seed in range(RUNS)
        ]
        first = [one for one in after if one is not None]
        at_once = sum(one == LEAST_TRADES for one in first)
        found[name] = {
            "runs": RUNS,
            "trades": TRADES,
            "taken_back": len(first),
            "interval": [round(end, 4) for end in wilson(len(first), RUNS)],
            "median_trades": median(first) if first else None,
            "at_the_first_look": at_once,
            "at_the_first_look_interval": [round(end, 4) for end in wilson(at_once, RUNS)],
        }
        print(f"taken back: {name}: {found[name]}", flush=True)
    return found


def _one(trades: list[Any], old: Any, seed: int) -> int | None:
    """After how many trades it was taken back; None: never."""
    looks = range(LEAST_TRADES, TRADES + 1, EVERY)
    return next((count for count in looks if judge(trades[:count], old, seed).revert), None)
