"""Does it stay where it is when no exit is better than another? How often it does not, with the interval of that share."""

from concurrent.futures import ProcessPoolExecutor
from decimal import Decimal
from math import sqrt
from typing import Any

import numpy as np

from benchmarks.learner.markets import noise_trades
from benchmarks.plot import lines
from holdfast.domain.thresholds import DEFAULT_BOUNDS
from learning.walk_forward import Proposal, propose

D = Decimal
POLICY = {
    "stop_loss_pct": D(4),
    "take_profit_pct": D(6),
    "trail_distance_pct": D(2),
    "trail_activation_pct": D(2),
    "breakeven_trigger_pct": D(3),
    "emergency_loss_pct": D(20),
    "max_hold_s": D(6000),
}
BOUNDS = {name: bound for name, bound in DEFAULT_BOUNDS.items() if name in POLICY}
RUNS, TRADES = 200, 200


def run(runs: int = RUNS) -> dict[str, Any]:
    """Each run is another market, and one call."""
    answers = []
    with ProcessPoolExecutor(2) as pool:
        for answer in pool.map(one, range(runs)):
            answers.append(answer)
            print(
                f"noise: {len(answers)} of {runs}, adopted {sum(a['adopted'] for a in answers)}", flush=True
            )
    return summary(answers)


def summary(answers: list[dict[str, Any]]) -> dict[str, Any]:
    """The share that was adopted, with its interval."""
    adopted = sum(answer["adopted"] for answer in answers)
    low, high = wilson(adopted, len(answers))
    return {
        "runs": len(answers),
        "trades": TRADES,
        "adopted": adopted,
        "share": adopted / len(answers),
        "interval": [round(low, 4), round(high, 4)],
        "answers": answers,
    }


def one(seed: int) -> dict[str, Any]:
    """One market, one call."""
    trades = noise_trades(np.random.default_rng(5000 + seed), TRADES, POLICY)
    answer = propose(trades, POLICY, BOUNDS, POLICY, seed)
    evidence = answer.evidence
    return {
        "adopted": isinstance(answer, Proposal),
        "gain_pct": round(100 * evidence.gain, 4),
        "low_pct": round(100 * evidence.interval.low, 4),
        "high_pct": round(100 * evidence.interval.high, 4),
        "differ": evidence.different,
        "why": getattr(answer, "why", ""),
    }


def wilson(hits: int, of: int, z: float = 1.959964) -> tuple[float, float]:
    """The 95 % interval of a share (Wilson)."""
    share = hits / of
    middle, half = share + z * z / (2 * of), z * sqrt(share * (1 - share) / of + z * z / (4 * of * of))
    return (middle - half) / (1 + z * z / of), (middle + half) / (1 + z * z / of)


def plot(result: dict[str, Any]) -> str:
    """Every run's gain out of sample with its interval, by size."""
    answers = sorted(result["answers"], key=lambda answer: answer["gain_pct"])
    series = {
        "upper end": [answer["high_pct"] for answer in answers],
        "gain": [answer["gain_pct"] for answer in answers],
        "lower end": [answer["low_pct"] for answer in answers],
    }
    return lines(
        f"Noise: gain out of sample with its 95 % interval; {result['adopted']} of {result['runs']} adopted",
        [float(n + 1) for n in range(len(answers))],
        [("percent per trade; adopted where the lower end is above zero", series)],
        "runs, by gain",
    )
