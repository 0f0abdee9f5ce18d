"""Does it find exits that are known to be best? Pullbacks, several seeds, each from another start."""

from concurrent.futures import ProcessPoolExecutor
from decimal import Decimal
from typing import Any

import numpy as np

from benchmarks.learner.markets import brute_force, pullback_trades, pullbacks
from benchmarks.plot import lines
from holdfast.domain.thresholds import DEFAULT_BOUNDS, Bound
from learning.objective import RISK_AVERSION
from learning.walk_forward import Proposal, propose

D = Decimal
POLICY = {
    "stop_loss_pct": D(10),
    "take_profit_pct": D(12),
    "emergency_loss_pct": D(20),
    "max_hold_s": D(6000),
}
HELD = Bound(D(6000), D(6000), D(1))
"""Brute force looks at two thresholds, so the longest hold is no third."""
BOUNDS = {name: bound for name, bound in DEFAULT_BOUNDS.items() if name in POLICY} | {"max_hold_s": HELD}
STARTS = [("12", "10"), ("1", "10"), ("12", "1"), ("6", "6"), ("1.5", "2")]
"""(take-profit, stop) that each seed begins at."""
ROUNDS, TRADES, REMEMBERED = 24, 150, 900
BEST = "best (brute force)"
TAKES = [0.5 + 0.25 * n for n in range(39)]
STOPS = [0.5 + 0.25 * n for n in range(39)]


def run() -> dict[str, Any]:
    """A round is a day: `TRADES` more trades, one proposal, taken if there is one."""
    surface = brute_force(pullbacks(np.random.default_rng(0), 20_000), TAKES, STOPS, 100, RISK_AVERSION)
    best = max(surface, key=surface.__getitem__)
    with ProcessPoolExecutor(2) as pool:
        seeds = list(pool.map(one, range(len(STARTS))))
    for learned in seeds:
        for field, pair in (("first", learned["path"][0]), ("last", learned["path"][-1])):
            learned[f"{field}_worth_pct"] = round(_at(surface, pair), 4)
    return {
        "best": {
            "take_profit_pct": best[0],
            "stop_loss_pct": best[1],
            "worth_pct": round(surface[best], 4),
        },
        "nearly_best": _nearly(surface, best),
        "rounds": ROUNDS,
        "trades_per_round": TRADES,
        "seeds": seeds,
        "surface": {f"{take:g}/{stop:g}": round(worth, 4) for (take, stop), worth in surface.items()},
    }


def one(seed: int) -> dict[str, Any]:
    """One learner, from its start to its last round."""
    rng, start = np.random.default_rng(1000 + seed), STARTS[seed]
    current = dict(POLICY) | {"take_profit_pct": D(start[0]), "stop_loss_pct": D(start[1])}
    path = [(float(current["take_profit_pct"]), float(current["stop_loss_pct"]))]
    trades: list[Any] = []
    proposals, others = 0, set[str]()
    for number in range(ROUNDS):
        trades += pullback_trades(rng, TRADES, current, begin=number * TRADES)
        answer = propose(trades[-REMEMBERED:], current, BOUNDS, POLICY, seed=number)
        if isinstance(answer, Proposal):
            proposals += 1
            others |= set(answer.evidence.moved) - {"take_profit_pct", "stop_loss_pct"}
            current = dict(answer.values)
        path.append((float(current["take_profit_pct"]), float(current["stop_loss_pct"])))
        print(f"converge: seed {seed}, round {number + 1}: {path[-1]}", flush=True)
    return {"seed": seed, "path": path, "proposals": proposals, "others_that_moved": sorted(others)}


def _at(surface: Any, pair: tuple[float, float]) -> float:
    """The worth at the nearest point of the grid."""
    return surface[min(surface, key=lambda cell: abs(cell[0] - pair[0]) + abs(cell[1] - pair[1]))]


def _nearly(surface: Any, best: tuple[float, float]) -> dict[str, list[float]]:
    """Where each may lie, the other at its best, so that no more than a tenth of a percent of the trade's value is lost."""
    least = surface[best] - 0.1
    takes = [take for take in TAKES if surface[take, best[1]] >= least]
    stops = [stop for stop in STOPS if surface[best[0], stop] >= least]
    return {
        "take_profit_pct": [min(takes), max(takes)],
        "stop_loss_pct": [min(stops), max(stops)],
    }


def plot(result: dict[str, Any]) -> str:
    """The two thresholds by round, and what they are worth of what is possible."""
    at = [float(n) for n in range(result["rounds"] + 1)]
    surface = {
        tuple(float(part) for part in key.split("/")): worth for key, worth in result["surface"].items()
    }
    panels = []
    for index, name in enumerate(("take_profit_pct", "stop_loss_pct")):
        series = {f"seed {by['seed']}": [pair[index] for pair in by["path"]] for by in result["seeds"]}
        panels.append((name, series | {BEST: [result["best"][name]] * len(at)}))
    worth = {f"seed {by['seed']}": [_at(surface, pair) for pair in by["path"]] for by in result["seeds"]}
    panels.append(
        (
            "worth of a trade, % (net profit less penalty)",
            worth | {BEST: [result["best"]["worth_pct"]] * len(at)},
        )
    )
    return lines(
        "Pullbacks: learned thresholds by round, five seeds, five starts",
        at,
        panels,
        f"rounds of {result['trades_per_round']} trades",
        dashed=BEST,
    )
