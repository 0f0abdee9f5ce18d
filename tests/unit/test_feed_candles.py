"""A candle plays low first when it rises, high first when it falls; a price gets a bid and an ask around it."""

from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.domain.candles import DEFAULT_INTERVAL_MS, Candle, around, interval_of, middle, play

D = Decimal


@st.composite
def candles(draw, at=0):
    prices = sorted(draw(st.lists(st.integers(1, 10_000), min_size=4, max_size=4)))
    low, one, two, high = (D(price) / 100 for price in prices)
    first, last = draw(st.sampled_from([(one, two), (two, one)]))
    return Candle(at, first, high, low, last)


def test_a_rising_candle_goes_down_first():
    assert (D(10), D(8), D(15), D(12)) == Candle(0, D(10), D(15), D(8), D(12)).path()


def test_a_falling_candle_goes_up_first():
    assert (D(12), D(15), D(8), D(10)) == Candle(0, D(12), D(15), D(8), D(10)).path()


def test_a_candle_that_ends_where_it_began_counts_as_rising():
    assert (D(10), D(8), D(15), D(10)) == Candle(0, D(10), D(15), D(8), D(10)).path()


def test_the_four_prices_fill_the_minute():
    assert [(60_000, D(1)), (80_000, D(1)), (100_000, D(2)), (119_999, D(2))] == play(
        Candle(60_000, D(1), D(2), D(1), D(2)), 60_000
    )


@settings(max_examples=200)
@given(candles(), st.integers(1, 100_000_000))
def test_every_high_and_every_low_is_played_exactly_once(candle, interval_ms):
    """The prices played are the candle's four, each once, high and low between open and close, in time's order."""
    played = play(candle, interval_ms)
    moments = [at for at, _ in played]
    assert sorted([candle.open, candle.high, candle.low, candle.close]) == sorted(
        price for _, price in played
    )
    assert {candle.high, candle.low} == {price for _, price in played[1:3]}
    assert (candle.open, candle.close) == (played[0][1], played[3][1])
    assert sorted(moments) == moments
    assert candle.at == moments[0]
    assert moments[-1] < candle.at + interval_ms


@pytest.mark.parametrize(("high", "low"), [(D(9), D(8)), (D(15), D(11)), (D(7), D(8))])
def test_a_candle_that_contradicts_itself_is_refused(high, low):
    with pytest.raises(ValueError, match="lies"):
        Candle(0, D(10), high, low, D(12))


@pytest.mark.parametrize(
    ("moments", "expected"),
    [
        ([], DEFAULT_INTERVAL_MS),
        ([7], DEFAULT_INTERVAL_MS),
        ([0, 60_000, 120_000, 500_000], 60_000),
        ([0, 5, 20], 5),
        ([3, 3, 3], DEFAULT_INTERVAL_MS),
    ],
)
def test_the_interval_is_the_most_common_distance(moments, expected):
    assert expected == interval_of(moments)


@settings(max_examples=200)
@given(st.decimals("0.000000001", "1000000", places=9), st.decimals("0.0001", "10", places=4))
def test_a_price_lies_between_bid_and_ask(price, spread_pct):
    """... by half the spread, within the two digits that half a spread is rounded to."""
    bid, ask = around(price, spread_pct)
    assert D(0) < bid < price < ask
    assert abs((ask - bid) - price * spread_pct / 100) <= price * spread_pct / 100 / 10


def test_prices_do_not_grow_long_tails():
    assert (D("46316.7"), D("46321.3")) == around(D("46319.0"), D("0.01"))
    assert (D("0.001413349"), D("0.001413491")) == around(D("0.00141342"), D("0.01"))


@pytest.mark.parametrize(("price", "spread_pct"), [(D(0), D(1)), (D(-3), D(1)), (D(5), D(0))])
def test_without_a_spread_or_a_positive_price_bid_and_ask_are_the_price(price, spread_pct):
    assert (price, price) == around(price, spread_pct)


def test_the_middle_is_exact():
    assert D("39433.31") == middle(D("39432.99"), D("39433.63"))
    assert D("1.05") == middle(D("1.0"), D("1.1"))
    assert D(3) == middle(D(3), D(3))
