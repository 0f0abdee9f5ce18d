"""Policies of a replay: what a file does not name is off, but for the stop; mistakes are told with line and key."""

from decimal import Decimal

import pytest

from holdfast.runtime.configuration import ConfigurationError
from holdfast.runtime.settings import Settings
from replay.policy import NO_END_S, exits_of
from replay.show import effective_policy

D = Decimal


def policy(folder, text):
    path = folder / "policy.toml"
    path.write_text(text)
    return path


def test_without_a_file_the_configuration_holds():
    base = Settings.model_validate({"exits": {"stop_loss_pct": "3"}})
    assert exits_of(base, None)["stop_loss_pct"] == 3
    assert exits_of(base, None)["emergency_loss_pct"] == 20


def test_what_a_file_does_not_name_is_off_but_for_the_stop(tmp_path):
    exits = exits_of(Settings(), policy(tmp_path, '[exits]\nroi = { "0" = "5" }\ntake_profit_pct = "7"\n'))
    shown = effective_policy(Settings.model_validate({"exits": exits}))
    on = {name for name, value in shown.items() if value != "off"}
    switches_nothing = {"basis", "trigger", "stagnation_band_pct", "breakeven_buffer_pct"}
    terms = {"fee_pct", "slippage_pct", "capital", "leverage"}
    assert on - switches_nothing - terms == {"stop_loss_pct", "roi", "take_profit_pct"}
    assert (shown["stop_loss_pct"], shown["roi"]) == ("10", "0: 5")


def test_a_stop_may_be_wider_than_an_emergency_loss_that_is_off(tmp_path):
    assert exits_of(Settings(), policy(tmp_path, '[exits]\nstop_loss_pct = "50"\n'))["stop_loss_pct"] == 50


def test_a_policy_without_any_end_holds_until_the_tape_ends(tmp_path):
    exits = exits_of(Settings(), policy(tmp_path, '[exits]\nstop_loss_pct = "5"\n'))
    assert (exits["take_profit_pct"], exits["max_hold_s"]) == ("off", NO_END_S)
    assert effective_policy(Settings.model_validate({"exits": exits}))["max_hold_s"] == "off"
    trailed = exits_of(Settings(), policy(tmp_path, '[exits.trailing]\ndistance_pct = "2"\n'))
    assert (trailed["trailing"]["distance_pct"], trailed["max_hold_s"]) == (2, "off")


def test_one_symbol_may_have_its_own(tmp_path):
    exits = exits_of(
        Settings(),
        policy(tmp_path, '[exits]\nstop_loss_pct = "5"\n[exits."BTC/USDT"]\nstop_loss_pct = "2"\n'),
    )
    assert exits["symbols"]["BTC/USDT"]["stop_loss_pct"] == 2


def test_soft_signals_are_reasons_to_leave_unless_the_policy_says_no(tmp_path):
    plain = policy(tmp_path, '[exits]\nstop_loss_pct = "5"\n')
    assert (exits_of(Settings(), plain)["signal"], exits_of(Settings(), plain, soft=True)["signal"]) == (
        False,
        True,
    )
    silent = policy(tmp_path, "[exits]\nsignal = false\n")
    assert exits_of(Settings(), silent, soft=True)["signal"] is False


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ('[exits]\nstop_loss_pct = "-1"\n', r"policy\.toml, line 2: exits\.stop_loss_pct"),
        ('[exits]\nstop_los_pct = "1"\n', r"unknown key stop_los_pct .*line 2; did you mean stop_loss_pct"),
        ("[exits]\n[bus]\nport = 1\n", r"\[bus\] is no exit rule; a policy file has \[exits\] and nothing else"),
        ("exits = 3\n", "exits is a section"),
        ("[exits\n", "not TOML"),
        (
            '[exits]\nstop_loss_pct = "30"\nemergency_loss_pct = "20"\n',
            "stop_loss_pct 30 is wider than emergency_loss_pct 20",
        ),
    ],
)  # fmt: skip
def test_a_mistake_is_told(tmp_path, text, complaint):
    with pytest.raises(ConfigurationError, match=complaint):
        exits_of(Settings(), policy(tmp_path, text))


def test_a_file_that_is_not_there_is_told(tmp_path):
    with pytest.raises(ConfigurationError, match="cannot be read"):
        exits_of(Settings(), tmp_path / "none.toml")
