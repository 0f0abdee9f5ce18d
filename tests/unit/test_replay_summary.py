"""The figures of a run, against cases worked out by hand."""

import math
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from replay.outcome import Curve, Outcome, ReplayTrade
from replay.summary import daily_returns, expectancy_ratio, sharpe, sortino, summarize

D = Decimal

DAY = 86_400_000


def trade(profit: str) -> ReplayTrade:
    return ReplayTrade("BTC/USDT", "long", 0, 1, D(100), D(101), "close", D(profit), 0.0, D(1), D("0.1"))


def outcome(*equity: float, every_ms: int = DAY) -> Outcome:
    """Marked at these values, in turn."""
    made = Outcome(D(100))
    for number, value in enumerate(equity):
        made.capital = D(str(value))  # nothing is held: equity is what the account has
        made.mark(number * every_ms + DAY)
    made.capital = D(100)
    return made


def test_trades_are_counted_and_weighed():
    made = Outcome(D(1000))
    made.trades = [trade("30"), trade("-10"), trade("0"), trade("-10")]
    figures = summarize(made)
    assert {name: figures[name] for name in ("trades", "wins", "losses", "win_rate", "profit", "expectancy")} == {
        "trades": 4, "wins": 1, "losses": 2, "win_rate": 0.25, "profit": "10", "expectancy": "2.5",
    }  # fmt: skip
    assert (figures["profit_factor"], figures["profit_ratio"], figures["fees"]) == (1.5, 0.01, "0.4")
    # mean win 30 in a quarter, mean loss 10 in a half of the trades: (7.5 - 5) / 10
    assert figures["expectancy_ratio"] == 0.25


def test_without_trades_nothing_is_claimed():
    figures = summarize(Outcome(D(1000)))
    none = ("win_rate", "expectancy", "expectancy_ratio", "profit_factor", "sharpe", "sortino", "exposure")
    assert [figures[name] for name in none] == [None] * len(none)
    assert (figures["trades"], figures["profit"], figures["max_drawdown"]) == (0, "0", 0.0)


def test_without_a_losing_trade_there_is_no_profit_factor():
    made = Outcome(D(1000))
    made.trades = [trade("5")]
    assert summarize(made)["profit_factor"] is None
    assert expectancy_ratio(made.trades) is None


def test_drawdown_is_the_largest_fall_from_a_peak_before_it():
    made = outcome(100, 120, 90, 130, 104, 125)
    assert (made.drawdown, made.drawdown_ratio) == (30.0, 0.25)


def test_a_fall_from_the_start_counts_from_the_capital():
    made = Outcome(D(100))
    made.mark(DAY)
    made.capital = D(80)
    made.mark(2 * DAY)
    assert made.drawdown_ratio == pytest.approx(0.2)


def test_returns_are_daily_and_days_without_a_price_count_as_no_change():
    made = outcome(110, every_ms=1)
    made.capital = D(121)
    made.mark(4 * DAY)
    made.capital = D(100)
    assert daily_returns(made) == pytest.approx([0.1, 0.0, 0.0, 0.1])


def test_sharpe_and_sortino_by_hand():
    returns = [0.02, -0.01, 0.03, 0.0]
    # mean 0.01; squared distances 1, 4, 4, 1 (e-4), over 3: standard deviation sqrt(10e-4 / 3)
    assert sharpe(returns) == pytest.approx(0.01 / math.sqrt(10e-4 / 3) * math.sqrt(365), abs=1e-7)
    # one negative return of 0.01 among four: root of 1e-4 / 4 = 0.005
    assert sortino(returns) == pytest.approx(2 * math.sqrt(365), abs=1e-7)


@pytest.mark.parametrize("returns", [[], [0.1], [0.1, 0.1]])
def test_too_little_gives_no_ratio(returns):
    assert (sharpe(returns), sortino(returns)) == (None, None)


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=7000))
def test_a_curve_keeps_its_extremes_its_ends_and_few_points(values):
    curve = Curve()
    for at, value in enumerate(values):
        curve.add(at, value)
    points = curve.points
    assert (min(point.low for point in points), max(point.high for point in points)) == (
        min(values),
        max(values),
    )
    assert (points[-1].at, points[-1].last) == (len(values) - 1, values[-1])
    assert len(points) <= 2000
    assert [point.at for point in points] == sorted({point.at for point in points})
