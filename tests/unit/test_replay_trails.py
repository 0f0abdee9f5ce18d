"""The conventions of `--candles` for stops that move, ROI, ladders and vetoes: each sentence a case, long and short."""

from decimal import Decimal

import pytest

from tests.unit._replay import mirrored, run_candles, told

FLAT = (100, 100, 100, 100)
ENTER = (0, "enter_long")
TRAIL = {
    "stop_loss_pct": "10",
    "trailing": {"distance_pct": "3", "activation_pct": "5", "only_after_activation": True},
}
WIDE_TRAIL = {
    "stop_loss_pct": "10",
    "trailing": {"distance_pct": "8", "activation_pct": "5", "only_after_activation": True},
}
SURVIVES = (108, 110, 107, 109)
"""Its best price puts the stop of TRAIL at 106.7, which its worst stays ahead of."""

LONG = {
    "the best price of a candle raises the trail, then the worst is tested": (
        TRAIL, [FLAT, FLAT, (100, 110, 100, 101), FLAT], [("long", 1, 2, 100, "106.7", "trailing_stop")],
    ),
    "a stop that earlier candles have trailed fills at its level": (
        TRAIL, [FLAT, FLAT, SURVIVES, (108, 109, 105, 106), FLAT], [("long", 1, 3, 100, "106.7", "trailing_stop")],
    ),
    "a candle that opens beyond a trailed stop fills at its open": (
        TRAIL, [FLAT, FLAT, SURVIVES, (105, 108, 104, 107), FLAT], [("long", 1, 3, 100, 105, "trailing_stop")],
    ),
    "a trailed stop counts after a take-profit of the same candle": (
        TRAIL | {"take_profit_pct": "12"}, [FLAT, FLAT, SURVIVES, (108, 113, 105, 106), FLAT],
        [("long", 1, 3, 100, 112, "take_profit")],
    ),
    "a trailed stop counts after ROI of the same candle": (
        TRAIL | {"roi": {"0": "12"}}, [FLAT, FLAT, SURVIVES, (108, 113, 105, 106), FLAT], [("long", 1, 3, 100, 112, "roi")],
    ),
    "a stop that no candle has trailed yet comes first": (
        TRAIL | {"roi": {"0": "12"}}, [FLAT, FLAT, (100, 113, 89, 106), FLAT], [("long", 1, 2, 100, 90, "stop_loss")],
    ),
    "before its activation a trail leaves the stop alone": (
        TRAIL, [FLAT, FLAT, (100, 104, 97, 98), FLAT], [("long", 1, 3, 100, 100, "force_exit")],
    ),
    "a trail arms at exactly its activation": (
        TRAIL, [FLAT, FLAT, (102, 105, 101, 102), FLAT], [("long", 1, 2, 100, "101.85", "trailing_stop")],
    ),
    "in the entry candle a trail is armed at the lowest price that arms it": (
        TRAIL, [FLAT, (100, 110, 100, 104), FLAT], [("long", 1, 1, 100, "101.85", "trailing_stop")],
    ),
    "the entry candle's best price counts from the next candle on": (
        WIDE_TRAIL, [FLAT, (100, 110, 99, 104), (104, 105, 101, 102), FLAT], [("long", 1, 2, 100, "101.2", "trailing_stop")],
    ),
    "a trail without activation is armed at the entry": (
        {"stop_loss_pct": "10", "trailing": {"distance_pct": "3"}}, [FLAT, (100, 104, 96, 103), FLAT],
        [("long", 1, 1, 100, 97, "trailing_stop")],
    ),
}  # fmt: skip

SHORT = {
    "the best price of a candle lowers the trail, then the worst is tested": (
        TRAIL, [FLAT, FLAT, (100, 100, 90, 99), FLAT], [("short", 1, 2, 100, "92.7", "trailing_stop")],
    ),
    "a stop that earlier candles have trailed fills at its level": (
        TRAIL, [FLAT, FLAT, (92, "92.5", 90, 91), (92, 95, 91, 94), FLAT], [("short", 1, 3, 100, "92.7", "trailing_stop")],
    ),
    "a candle that opens beyond a trailed stop fills at its open": (
        TRAIL, [FLAT, FLAT, (92, "92.5", 90, 91), (95, 96, 92, 93), FLAT], [("short", 1, 3, 100, 95, "trailing_stop")],
    ),
    "a trailed stop counts after a take-profit of the same candle": (
        TRAIL | {"take_profit_pct": "12"}, [FLAT, FLAT, (92, "92.5", 90, 91), (92, 95, 87, 94), FLAT],
        [("short", 1, 3, 100, 88, "take_profit")],
    ),
    "in the entry candle a trail is armed at the highest price that arms it": (
        TRAIL, [FLAT, (100, 100, 90, 96), FLAT], [("short", 1, 1, 100, "97.85", "trailing_stop")],
    ),
    "the entry candle's best price counts from the next candle on": (
        WIDE_TRAIL, [FLAT, (100, 101, 90, 96), (96, 98, 95, 97), FLAT], [("short", 1, 2, 100, "97.2", "trailing_stop")],
    ),
    "a trail without activation is armed at the entry": (
        {"stop_loss_pct": "10", "trailing": {"distance_pct": "3"}}, [FLAT, (100, 104, 96, 97), FLAT],
        [("short", 1, 1, 100, 103, "trailing_stop")],
    ),
}  # fmt: skip


def expected(rows):
    """Prices that are no whole numbers stand as texts: they are exact."""
    return [(side, a, b, entry, Decimal(left), reason) for side, a, b, entry, left, reason in rows]


@pytest.mark.parametrize("name", LONG)
def test_a_trail_of_a_long_position(tmp_path, name):
    exits, candles, rows = LONG[name]
    assert told(run_candles(tmp_path, candles, [ENTER], exits=exits).trades) == expected(rows)


@pytest.mark.parametrize("name", SHORT)
def test_a_trail_of_a_short_position(tmp_path, name):
    """No mirror image: a distance in percent of the best price is smaller where that price is lower."""
    exits, candles, rows = SHORT[name]
    outcome = run_candles(tmp_path, candles, [(0, "enter_short")], exits=exits)
    assert told(outcome.trades) == expected(rows)


LADDER = [{"at_pct": "5", "fraction": "0.5"}, {"at_pct": "10", "fraction": "0.5"}]
BOTH = {
    "break-even moves the stop to the entry, and fires there": (
        {"stop_loss_pct": "10", "breakeven_trigger_pct": "4"}, [FLAT, FLAT, (101, 105, 101, 102), (101, 101, 98, 99), FLAT],
        [("long", 1, 3, 100, 100, "break_even")],
    ),
    "ROI fills at its price": (
        {"roi": {"0": "5"}}, [FLAT, FLAT, (101, 107, 100, 106), FLAT], [("long", 1, 2, 100, 105, "roi")],
    ),
    "ROI in a candle wholly beyond it fills at the nearest price there is": (
        {"roi": {"0": "5"}}, [FLAT, FLAT, (107, 109, 106, 108), FLAT], [("long", 1, 2, 100, 106, "roi")],
    ),
    "a ROI step that begins at this open and is exceeded there fills at the open": (
        {"roi": {"0": "5", "2": "2"}}, [FLAT, FLAT, (103, 104, 103, 104), (104, 104, 101, 102), FLAT],
        [("long", 1, 3, 100, 104, "roi")],
    ),
    "a ROI step that begins at this open and is reached later fills at its price": (
        {"roi": {"0": "5", "2": "2"}}, [FLAT, FLAT, (101, 101, 101, 101), (101, 103, 101, 102), FLAT],
        [("long", 1, 3, 100, 102, "roi")],
    ),
    "a ROI step that has not begun counts for nothing": (
        {"roi": {"2": "2"}}, [FLAT, FLAT, (103, 104, 103, 104), FLAT], [("long", 1, 3, 100, 100, "force_exit")],
    ),
    "a stop comes before ROI of the same candle": (
        {"stop_loss_pct": "5", "roi": {"0": "5"}}, [FLAT, FLAT, (100, 106, 94, 105), FLAT], [("long", 1, 2, 100, 95, "stop_loss")],
    ),
    "the nearer of ROI and take-profit is met first": (
        {"take_profit_pct": "4", "roi": {"0": "5"}}, [FLAT, FLAT, (100, 108, 100, 105), FLAT],
        [("long", 1, 2, 100, 104, "take_profit")],
    ),
    "the rungs of a ladder fill one after the other": (
        {"take_profit_ladder": LADDER}, [FLAT, FLAT, (100, 112, 100, 111), FLAT], [("long", 1, 2, 100, "107.5", "take_profit")],
    ),
    "a ladder goes on in a later candle": (
        {"take_profit_ladder": LADDER}, [FLAT, FLAT, (100, 106, 100, 104), (104, 111, 104, 110), FLAT],
        [("long", 1, 3, 100, "107.5", "take_profit")],
    ),
    "an extraordinary profit is more than its percent, and fills at it": (
        {"take_profit_pct": "off", "max_hold_s": "6000", "extraordinary_profit_pct": "50"},
        [FLAT, FLAT, (100, 150, 100, 150), (150, 160, 150, 155), FLAT], [("long", 1, 3, 100, 150, "extraordinary_profit")],
    ),
    "a soft exit waits for the minimum hold": (
        {"roi": {"0": "1"}, "min_hold_s": "120"}, [FLAT, FLAT, (103, 104, 103, 103), (103, 104, 102, 103), FLAT],
        [("long", 1, 3, 100, 102, "roi")],
    ),
    "what is held back does not stand before a harder exit": (
        {"roi": {"0": "1"}, "min_hold_s": "600", "take_profit_pct": "5"}, [FLAT, FLAT, (101, 106, 101, 103), FLAT],
        [("long", 1, 2, 100, 105, "take_profit")],
    ),
}  # fmt: skip
SIDES = {"long": "short", "short": "long"}


@pytest.mark.parametrize("name", BOTH)
def test_a_rule_does_what_is_agreed(tmp_path, name):
    exits, candles, rows = BOTH[name]
    assert told(run_candles(tmp_path, candles, [ENTER], exits=exits).trades) == expected(rows)


@pytest.mark.parametrize("name", BOTH)
def test_a_short_position_is_the_mirror_image(tmp_path, name):
    exits, candles, rows = BOTH[name]
    outcome = run_candles(tmp_path, mirrored(candles), [(0, "enter_short")], exits=exits)
    assert told(outcome.trades) == [
        (SIDES[side], opened, closed, 200 - entry, 200 - left, reason)
        for side, opened, closed, entry, left, reason in expected(rows)
    ]


def test_a_command_leaves_and_a_soft_signal_waits_for_a_loss_that_counts(tmp_path):
    candles = [FLAT, FLAT, ("99.8", "99.8", "99.8", "99.8"), ("99.4", "99.4", "99.4", "99.4"), FLAT]
    signals = [ENTER, (1, "exit_long")]
    exits = {"min_loss_pct": "0.5", "signal": True}
    hard = run_candles(tmp_path, candles, signals, exits=exits)
    soft = run_candles(tmp_path, candles, signals, exits=exits, soft_signals=True)
    assert told(hard.trades) == expected([("long", 1, 2, 100, "99.8", "close")])
    assert told(soft.trades) == expected([("long", 1, 3, 100, "99.4", "signal")])


def test_an_average_true_range_is_that_of_the_candles(tmp_path):
    """Fourteen candles of a range of 2 make an ATR of 2: a trail of 2 ATR follows 4 behind the best price."""
    quiet = [(100, 101, 99, 100)] * 14
    candles = [*quiet, (100, 101, 99, 101), (106, 108, 105, 107), (107, 107, 103, 104), FLAT]
    exits = {"stop_loss_pct": "10", "trailing": {"distance_atr": "2"}}
    outcome = run_candles(tmp_path, candles, [(13, "enter_long")], exits=exits)
    assert told(outcome.trades) == expected([("long", 14, 16, 100, 104, "trailing_stop")])
