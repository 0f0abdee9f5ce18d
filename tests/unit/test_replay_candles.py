"""The conventions of `--candles`, one table: what a candle does to a position, long and short."""

import pytest

from services.market_feed.recorded import BadRecording
from tests.unit._replay import D, mirrored, run_candles, told

FLAT = (100, 100, 100, 100)
ENTER = (0, "enter_long")

CASES = {
    "a signal on a candle acts at the next candle's open": (
        {}, [FLAT, (101, 105, 99, 104), (104, 104, 104, 104)], [ENTER],
        [("long", 1, 2, 101, 104, "force_exit")],
    ),
    "what is open at the end closes at the last close": (
        {}, [FLAT, FLAT, (100, 104, 98, 103)], [ENTER], [("long", 1, 2, 100, 103, "force_exit")],
    ),
    "no entry on the last candle": ({}, [FLAT, FLAT, FLAT], [(1, "enter_long")], []),
    "an exit still acts on the last candle": (
        {}, [FLAT, FLAT, (102, 103, 101, 103)], [ENTER, (1, "exit_long")], [("long", 1, 2, 100, 102, "close")],
    ),
    "the entry candle counts: its stop": (
        {"stop_loss_pct": "5"}, [FLAT, (100, 101, 94, 96), FLAT], [ENTER], [("long", 1, 1, 100, 95, "stop_loss")],
    ),
    "the entry candle counts: its take-profit": (
        {"take_profit_pct": "5"}, [FLAT, (100, 106, 99, 101), FLAT], [ENTER], [("long", 1, 1, 100, 105, "take_profit")],
    ),
    "a stop inside the candle fills at the stop": (
        {"stop_loss_pct": "5"}, [FLAT, FLAT, (99, 99, 90, 92), FLAT], [ENTER], [("long", 1, 2, 100, 95, "stop_loss")],
    ),
    "a stop that is just touched fires": (
        {"stop_loss_pct": "5"}, [FLAT, FLAT, (99, 99, 95, 98), FLAT], [ENTER], [("long", 1, 2, 100, 95, "stop_loss")],
    ),
    "a candle that opens beyond the stop fills at its open": (
        {"stop_loss_pct": "5"}, [FLAT, FLAT, (93, 96, 90, 95), FLAT], [ENTER], [("long", 1, 2, 100, 93, "stop_loss")],
    ),
    "a stop comes before a take-profit of the same candle": (
        {"stop_loss_pct": "5", "take_profit_pct": "5"}, [FLAT, FLAT, (100, 106, 94, 105), FLAT], [ENTER],
        [("long", 1, 2, 100, 95, "stop_loss")],
    ),
    "a take-profit fills at its price": (
        {"take_profit_pct": "5"}, [FLAT, FLAT, (101, 109, 100, 108), FLAT], [ENTER], [("long", 1, 2, 100, 105, "take_profit")],
    ),
    "a candle wholly beyond the take-profit fills at the price of it that is nearest": (
        {"take_profit_pct": "5"}, [FLAT, FLAT, (110, 112, 107, 111), FLAT], [ENTER], [("long", 1, 2, 100, 107, "take_profit")],
    ),
    "an exit signal comes first, at the open": (
        {"stop_loss_pct": "5"}, [FLAT, FLAT, (93, 96, 90, 95), FLAT], [ENTER, (1, "exit_long")],
        [("long", 1, 2, 100, 93, "close")],
    ),
    "a longest hold ends at the open of the candle in which it is over": (
        {"max_hold_s": "120"}, [FLAT, FLAT, (101, 102, 101, 102), (103, 104, 102, 104), FLAT], [ENTER],
        [("long", 1, 3, 100, 103, "ttl")],
    ),
    "at the open a stop is harder than a longest hold": (
        {"max_hold_s": "120", "stop_loss_pct": "5"}, [FLAT, FLAT, FLAT, (90, 91, 89, 90), FLAT], [ENTER],
        [("long", 1, 3, 100, 90, "stop_loss")],
    ),
    "after an exit the next signal enters again": (
        {"take_profit_pct": "5"}, [FLAT, (100, 106, 100, 106), (104, 104, 104, 104), (104, 104, 104, 104)], [ENTER, (1, "enter_long")],
        [("long", 1, 1, 100, 105, "take_profit"), ("long", 2, 3, 104, 104, "force_exit")],
    ),
    "the other side is entered at the open at which this one is left": (
        {}, [FLAT, FLAT, (102, 103, 101, 102), (101, 101, 101, 101)],
        [ENTER, (1, "exit_long"), (1, "enter_short")],
        [("long", 1, 2, 100, 102, "close"), ("short", 2, 3, 102, 101, "force_exit")],
    ),
    "an entry that coincides with the opposite entry is ignored": (
        {}, [FLAT, FLAT, FLAT], [ENTER, (0, "enter_short")], [],
    ),
    "an entry that coincides with its own exit is ignored": ({}, [FLAT, FLAT, FLAT], [ENTER, (0, "exit_long")], []),
    "an exit of the other side leaves a position alone": (
        {}, [FLAT, FLAT, FLAT], [ENTER, (1, "exit_short")], [("long", 1, 2, 100, 100, "force_exit")],
    ),
}  # fmt: skip

SWAPPED = {
    "enter_long": "enter_short",
    "enter_short": "enter_long",
    "exit_long": "exit_short",
    "exit_short": "exit_long",
}
SIDES = {"long": "short", "short": "long"}


@pytest.mark.parametrize("name", CASES)
def test_a_candle_does_what_is_agreed(tmp_path, name):
    exits, candles, signals, expected = CASES[name]
    assert told(run_candles(tmp_path, candles, signals, exits=exits).trades) == expected


@pytest.mark.parametrize("name", CASES)
def test_a_short_position_is_the_mirror_image(tmp_path, name):
    """Prices mirrored about 100, where every first entry but one is made: the same percents on the other side."""
    exits, candles, signals, expected = CASES[name]
    outcome = run_candles(
        tmp_path, mirrored(candles), [(when, SWAPPED[action]) for when, action in signals], exits=exits
    )
    assert told(outcome.trades) == [
        (SIDES[side], opened, closed, 200 - entry, 200 - left, reason)
        for side, opened, closed, entry, left, reason in expected
    ]


def test_what_was_not_acted_on_is_told(tmp_path):
    outcome = run_candles(
        tmp_path,
        [FLAT, FLAT, FLAT],
        [(-5, "enter_long"), (0, "exit_long"), (1, "enter_long"), (2, "enter_short")],
    )
    assert [(signal.line, why) for signal, why in outcome.ignored] == [
        (2, "it lies before the first candle"),
        (3, "nothing of that side is open"),
        (4, "no entry is made on the last candle"),
        (5, "no candle follows it"),
    ]


def test_a_quantity_is_taken_as_given_and_a_stake_buys_what_it_is_worth(tmp_path):
    outcome = run_candles(
        tmp_path, [(50, 50, 50, 50)] * 5, [(0, "enter_long", "0.3"), (1, "exit_long"), (2, "enter_long")]
    )
    assert [trade.quantity for trade in outcome.trades] == [D("0.3"), D(2)]


def test_leverage_multiplies_what_a_stake_buys(tmp_path):
    outcome = run_candles(tmp_path, [(50, 50, 50, 50)] * 3, [ENTER], leverage=D(3))
    assert [trade.quantity for trade in outcome.trades] == [D(6)]


def test_part_of_a_position_may_be_left(tmp_path):
    outcome = run_candles(
        tmp_path,
        [FLAT, FLAT, (110, 110, 110, 110), (120, 120, 120, 120)],
        [(0, "enter_long", "1"), (1, "exit_long", "0.5")],
    )
    (trade,) = outcome.trades
    assert (trade.quantity, trade.exit_price, trade.profit) == (D(1), D(115), D(15))


def test_fees_and_slippage_are_paid_on_both_sides(tmp_path):
    outcome = run_candles(
        tmp_path,
        [FLAT, FLAT, (110, 110, 110, 110)],
        [(0, "enter_long", "1")],
        fee_pct=D(1),
        slippage_pct=D(10),
    )
    (trade,) = outcome.trades
    assert (trade.entry_price, trade.exit_price) == (D(110), D(99))
    assert (trade.fees, trade.profit) == (D("2.09"), D("-13.09"))
    assert trade.profit_ratio == -0.119


def test_a_price_of_zero_is_none(tmp_path):
    with pytest.raises(BadRecording, match=r"btcusdt\.csv: the candle of 1700000100000 has a low of 0"):
        run_candles(tmp_path, [FLAT, (100, 100, 0, 100), FLAT], [ENTER])


def test_one_candle_alone_makes_no_trade(tmp_path):
    outcome = run_candles(tmp_path, [FLAT], [ENTER])
    assert (outcome.trades, [why for _, why in outcome.ignored]) == ([], ["no candle follows it"])
