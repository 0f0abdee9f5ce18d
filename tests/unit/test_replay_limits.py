"""A replay keeps to the limits of the configuration, rules that need NAV included: its wall time is the tape's."""

import asyncio

import pytest

from holdfast.runtime.settings import Settings
from replay.policy import completed
from replay.run import by_symbol, kinds_of, play, recordings_of, settings_of
from replay.signals import read_signals
from tests.unit._replay import WIDE, terms_of, write_candles, write_signals

FALLS = [(100, 100, 100, 100)] * 4 + [(90, 90, 90, 90)] * 8
"""Bought at 100 in the second minute, sold at 90; then wishes to buy again each minute."""
WISHES = [(1, "enter_long"), (5, "exit_long"), (7, "enter_long"), (9, "enter_long")]


def trades_with(folder, limits):
    file = write_candles(folder / "btcusdt.csv", FALLS)
    signals = write_signals(folder / "signals.csv", WISHES)
    given = read_signals(signals)
    recordings = recordings_of([file], (), given, candles=True)
    terms = terms_of()
    base = Settings.model_validate({"limits": limits})
    settings = settings_of(base, terms, kinds_of(recordings, ()), completed(WIDE), candles=True)
    outcome = asyncio.run(
        play(settings, terms, recordings, by_symbol(given, recordings, signals), candles=True)
    )
    return len(outcome.trades)


@pytest.mark.parametrize(
    ("limits", "trades"),
    [
        ({}, 2),
        ({"cooldown_s": "120"}, 2),
        ({"cooldown_s": "3600"}, 1),
        ({"loss_streak": 1, "loss_streak_pause_s": "3600"}, 1),
        ({"max_daily_loss": "9"}, 1),
        ({"max_daily_loss": "11"}, 2),
        ({"max_total_drawdown_pct": "0.009"}, 1),
        ({"max_drawdown_pct": "0.011"}, 2),
    ],
    ids=str,
)
def test_a_rule_holds_the_second_entry_back(tmp_path, limits, trades):
    assert trades_with(tmp_path, limits) == trades
