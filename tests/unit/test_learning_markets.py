"""The experiments' markets are what they say: the known optimum is the rules' own, and noise has none."""

from decimal import Decimal as D  # noqa: N817

import numpy as np
import pytest

from benchmarks.learner.converge import POLICY
from benchmarks.learner.markets import brute_force, noise_trades, point, pullbacks, trade
from benchmarks.learner.noise import wilson
from holdfast.contracts.codes import PositionSide
from learning.objective import Sample, worth
from tests.unit._exits import T0

MINUTE = 60_000


@pytest.mark.parametrize(("take", "stop"), [(5.0, 3.0), (1.5, 8.0)])
def test_brute_force_without_the_rules_comes_to_what_the_rules_come_to(take, stop):
    paths = pullbacks(np.random.default_rng(1), 40)
    values = POLICY | {"take_profit_pct": D(str(take)), "stop_loss_pct": D(str(stop))}
    trades = []
    for number, moves in enumerate(paths):
        at = T0 + number * 10_000_000
        path = [point(at + n * MINUTE, [100 + move] * 4) for n, move in enumerate(moves)]
        trades.append(trade(f"p{number}", at, path, path[-1].at, PositionSide.LONG, POLICY))
    for aversion in (0.0, 0.25):
        by_rules = 100 * worth(Sample(trades).profits(values), aversion)
        assert brute_force(paths, [take], [stop], 100, aversion)[take, stop] == pytest.approx(
            by_rules, abs=1e-4
        )


def test_noise_is_fair_but_for_its_fees():
    trades = noise_trades(np.random.default_rng(2), 60, POLICY)
    fees = 0.001
    ends = np.array([float(one.path[-1].last / one.path[0].first - 1) for one in trades])
    assert abs(ends.mean()) < 3 * ends.std() / np.sqrt(60 / 4)  # four are open at once
    assert {one.row.side for one in trades} == set(PositionSide)
    profits = Sample(trades).profits({})
    assert abs(profits.mean() + fees) < 3 * profits.std() / np.sqrt(60 / 4)


def test_the_interval_of_a_share_is_wilsons():
    low, high = wilson(5, 200)
    assert (round(low, 4), round(high, 4)) == (0.0107, 0.0572)
    assert wilson(0, 200)[0] == pytest.approx(0.0, abs=1e-12)
