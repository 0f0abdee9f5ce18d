"""What would it have changed on recorded prices, and what was that worth? Trades from one simple, stated signal; prices are not ours.

Signal: a candle that closes above the highest high of the `LOOKBACK` candles before it buys at the next open, one that closes below
their lowest low sells; then nothing for as many candles. It is not tuned, and not expected to earn anything.

The learner is asked every `EVERY` trades, with the trades that were over and watched to their end by then; its step is taken, and what
opens later lives by it. So every figure is out of sample. The comparison is the same trades on the policy, as it was set.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.learner.markets import trade
from benchmarks.plot import lines
from holdfast.contracts.codes import PositionSide
from holdfast.contracts.outcomes import MOST_POINTS, PathPoint, TradeOutcome
from holdfast.domain.candles import Candle
from holdfast.domain.thresholds import DEFAULT_BOUNDS
from learning.bootstrap import interval_of_mean
from learning.counterfactual import outcome_under
from learning.walk_forward import Method, Proposal, propose
from replay.run import recordings_of

D = Decimal
FEE_PCT = D("0.1")
SLIPPAGE_PCT = D("0.02")
EVERY, REMEMBERED = 40, 300


@dataclass(frozen=True, slots=True)
class Market:
    """One recording and how it is traded."""

    file: str
    symbol: str
    lookback: int
    """Candles."""
    hold: int
    """Candles that a position is held at most."""


MARKETS = (
    Market("binance_btcusdt_1h_2021-01_2023-08.csv", "BTC/USDT", 24, 168),
    Market("btc_perp_1m_2021-12-31_2022-02-01.csv", "BTC/USDT", 120, 720),
)
POLICIES = {
    "the defaults": {
        "stop_loss_pct": D(10),
        "take_profit_pct": D(20),
        "emergency_loss_pct": D(20),
        "extraordinary_profit_pct": D(50),
    },
    "close exits with a trail": {
        "stop_loss_pct": D(2),
        "take_profit_pct": D(4),
        "trail_distance_pct": D("1.5"),
        "trail_activation_pct": D("1.5"),
        "breakeven_trigger_pct": D("1.5"),
        "emergency_loss_pct": D(20),
    },
}


def run(folder: Path) -> list[dict[str, Any]]:
    """Every market with every policy. *folder*: where the recordings are; those that are missing are left out."""
    found = []
    for market in MARKETS:
        file = folder / market.file
        if not file.exists():
            print(f"recorded: {file} is not there")
            continue
        candles = list(recordings_of([file], [market.symbol], [], candles=True)[0].candles())
        for name, policy in POLICIES.items():
            found.append(_one(market, candles, name, policy))
            last = found[-1]
            print(
                f"recorded: {market.file}, {name}: {last['proposals']} proposals, {last['gain_pct']} %",
                flush=True,
            )
    return found


def _one(market: Market, candles: Sequence[Candle], name: str, policy: dict[str, Decimal]) -> dict[str, Any]:
    step = candles[1].at - candles[0].at
    whole = policy | {"max_hold_s": D(market.hold * step // 1000)}
    trades = breakouts(market, candles, whole)
    bounds = {key: bound for key, bound in DEFAULT_BOUNDS.items() if key in whole}
    method = Method(slippage_pct=SLIPPAGE_PCT)
    current, proposals, before, after, last = dict(whole), [], [], [], ""
    for number, one in enumerate(trades):
        if number and number % EVERY == 0:
            known = [past for past in trades[:number] if past.through <= one.row.opened_at]
            answer = propose(known[-REMEMBERED:], current, bounds, whole, number, method=method)
            last = str(answer.evidence)
            if isinstance(answer, Proposal):
                proposals.append((number, last))
                current = dict(answer.values)
        before.append(100 * outcome_under(one, whole, slippage_pct=SLIPPAGE_PCT).profit_ratio)
        after.append(100 * outcome_under(one, current, slippage_pct=SLIPPAGE_PCT).profit_ratio)
    gain = np.array(after) - np.array(before)
    interval = interval_of_mean(gain, np.random.default_rng(0))
    return {
        "file": market.file, "policy": name, "candles": len(candles), "trades": len(trades), "proposals": len(proposals),
        "first_proposals": proposals[:3], "last_evidence": last,
        "changed": {key: [str(whole[key]), str(value)] for key, value in current.items() if value != whole[key]},
        "policy_pct": round(float(np.mean(before)), 4), "learned_pct": round(float(np.mean(after)), 4),
        "gain_pct": round(float(gain.mean()), 4), "interval_pct": [round(interval.low, 4), round(interval.high, 4)],
        "sum_before": np.cumsum(before).round(3).tolist(), "sum_after": np.cumsum(after).round(3).tolist(),
    }  # fmt: skip


def breakouts(market: Market, candles: Sequence[Candle], values: dict[str, Decimal]) -> list[TradeOutcome]:
    """A trade for every signal whose market is known to the end of its longest hold."""
    high, low = (np.array([float(getattr(one, name)) for one in candles]) for name in ("high", "low"))
    close = np.array([float(one.close) for one in candles])
    step, merged = candles[1].at - candles[0].at, -(-market.hold // (MOST_POINTS - 1))
    found, next_at = [], market.lookback
    for number in range(market.lookback, len(candles) - market.hold - 1):
        if number < next_at:
            continue
        before = slice(number - market.lookback, number)
        up, down = close[number] > high[before].max(), close[number] < low[before].min()
        if not (up or down):
            continue
        next_at = number + market.lookback
        held = candles[number + 1 : number + 1 + market.hold]
        path = [_merged(held[n : n + merged]) for n in range(0, len(held), merged)]
        side = PositionSide.LONG if up else PositionSide.SHORT
        name = f"{market.file}-{number}"
        found.append(
            trade(name, path[0].at, path, path[0].at + market.hold * step, side, values, fee_pct=FEE_PCT)
        )
    return found


def _merged(candles: Sequence[Candle]) -> PathPoint:
    return PathPoint(
        at=candles[0].at,
        first=candles[0].open,
        low=min(one.low for one in candles),
        high=max(one.high for one in candles),
        last=candles[-1].close,
    )


def plot(results: list[dict[str, Any]]) -> str:
    """Profit summed over the trades, on the policy and on what was learned."""
    panels = [
        (
            f"{one['file'].removesuffix('.csv')}, {one['policy']}: sum of profits, % of a trade",
            {"learned": _thinned(one["sum_after"]), "policy": _thinned(one["sum_before"])},
        )
        for one in results
    ]
    return lines(
        "Recorded prices: the policy, and what was learned from it",
        [n / 2 for n in range(201)],
        panels,
        "% of the trades",
    )


def _thinned(values: Sequence[float]) -> list[float]:
    return [0.0, *(values[(len(values) - 1) * n // 199] for n in range(200))]
