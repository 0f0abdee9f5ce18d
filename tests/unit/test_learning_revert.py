"""Taking a step back: when live results fall below the shadow of what was replaced, and only then."""

from decimal import Decimal as D  # noqa: N817

import numpy as np
import pytest

from holdfast.contracts.codes import ExitReason as R
from holdfast.contracts.outcomes import TradeOutcome
from learning.counterfactual import outcome_under
from learning.revert import judge, realized_ratio
from tests.unit._exits import T0
from tests.unit._learning import outcome

OLD = {"stop_loss_pct": D(10)}


def lived(prices: list[float], number: int, *, stop: int, worse_by: float = 0.0) -> TradeOutcome:
    """A trade that ended as its thresholds say, or a little worse."""
    at = T0 + number * 100_000
    row = {"stop_loss_spec": f"{stop}%", "stop_loss": D(100 - stop), "terms": "fee_pct=0.1"}
    unknown = outcome(prices, name=f"p{number}", at=at, row=row | {"expires_at": at + 9_000})
    ended = outcome_under(unknown)
    pnl = D(f"{(ended.profit_ratio - worse_by) * 200:.12f}")
    return unknown.evolve(
        closed_at=ended.closed_at, exit_reason=ended.reason, exit_price=ended.price, realized_pnl=pnl
    )


def dips(count: int, *, recover: float, stop: int = 3, worse_by: float = 0.0) -> list[TradeOutcome]:
    """Every market dips by five percent; a share of them recovers to three percent ahead, the others fall further."""
    rng = np.random.default_rng(7)
    found = []
    for number in range(count):
        end = 103 if rng.random() < recover else 91
        noise = rng.normal(0, 0.3, 10)
        prices = [100, 98, 95, *np.linspace(96, end, 7)]
        found.append(
            lived(
                [round(float(p + n), 3) for p, n in zip(prices, noise, strict=True)],
                number,
                stop=stop,
                worse_by=worse_by,
            )
        )
    return found


def test_a_stop_that_cuts_off_what_recovers_is_taken_back():
    verdict = judge(dips(60, recover=0.9), OLD, seed=1)
    assert verdict.revert
    assert verdict.live < verdict.shadow
    assert verdict.below > 0.9
    assert verdict.tracking == pytest.approx(0.0, abs=1e-9)
    assert "60 trades" in str(verdict)


def test_a_stop_that_saves_from_what_falls_stays():
    verdict = judge(dips(60, recover=0.1), OLD, seed=1)
    assert not verdict.revert
    assert verdict.live > verdict.shadow


def test_few_trades_prove_nothing():
    verdict = judge(dips(29, recover=0.9), OLD, seed=1)
    assert (verdict.revert, verdict.why) == (False, "30 trades are needed")


def test_the_same_thresholds_are_never_below_themselves():
    assert not judge(dips(60, recover=0.5, stop=10), OLD, seed=1).revert


def test_fills_that_are_worse_than_calculated_are_not_held_against_the_version():
    verdict = judge(dips(60, recover=0.5, stop=10, worse_by=0.01), OLD, seed=1)
    assert not verdict.revert
    assert verdict.tracking == pytest.approx(-0.01)
    assert judge(dips(60, recover=0.9, worse_by=0.01), OLD, seed=1).revert


def test_the_same_seed_gives_the_same_verdict():
    trades = dips(60, recover=0.6)
    assert judge(trades, OLD, seed=3) == judge(trades[::-1], OLD, seed=3)


def test_profit_is_a_share_of_what_was_entered():
    trade = outcome([100], realized_pnl=D(-5), exit_reason=R.STOP_LOSS)
    assert realized_ratio(trade) == -0.025
