"""What a freqtrade configuration becomes, and that every key of it is carried over, explained, or named."""

import json
from decimal import Decimal

import pytest

from holdfast.contracts.base import ContractViolation
from holdfast.contracts.codes import Kind, PositionSide
from holdfast.domain.exit_policy import policy_for
from holdfast.domain.freqtrade import INSTEAD, SILENT, exact, moved, read_config, rows_of
from holdfast.domain.instruments import resolve
from holdfast.domain.moving_in import Places, arrivals
from holdfast.runtime.configuration import load
from holdfast.runtime.exit_settings import policy_table
from tests.integration._freqtrade import CONFIG

D = Decimal


def loaded(tmp_path, leverages=(), **changes):
    """The settings that CONFIG with *changes* becomes, and what is said; a change to None leaves the key out."""
    config = {key: value for key, value in {**read_config(CONFIG), **changes}.items() if value is not None}
    to = moved(read_config(json.dumps(config, default=float)), leverages)
    file = tmp_path / "holdfast.toml"
    file.write_text(to.toml("config.json"))
    return load(config=file, env={}, dotenv=tmp_path / "none"), dict(to.differences), file.read_text()


def test_money_exits_limits_and_pairs_are_carried_over(tmp_path):
    found, said, text = loaded(tmp_path)
    exits = found.exits
    assert (found.ledger.capital, found.ledger.base_currency, found.paper.market) == (1000, "USDT", "spot")
    assert (exits.stop_loss_pct, exits.take_profit_pct, exits.roi) == (
        10,
        "off",
        {"0": 4, "20": 2, "30": 1, "40": 0},
    )
    assert (
        exits.trailing.distance_pct,
        exits.trailing.activation_pct,
        exits.trailing.only_after_activation,
    ) == (1, 2, True)
    assert (exits.emergency_loss_pct, exits.min_hold_s, exits.signal) == ("off", "off", True)
    assert found.limits.max_positions == 3
    assert found.feed.spec == "ccxt:binance?symbols=BTC/USDT,ETH/USDT,SOL/USDT"
    assert 'symbols = ["BTC/USDT", "ETH/USDT", "SOL/USDT"]' in said["exchange.pair_whitelist"], (
        "DOGE is on the blacklist"
    )
    assert not found.producers, "a producer without a key would stop the executor"
    assert found.alerts.drawdown_pct == 20
    assert 'nav_pct="33"' in text, "unlimited is all of it, a third each"
    assert {"protections.MaxDrawdown", "protections.CooldownPeriod", "pairlists", "order_types.stoploss_on_exchange", "telegram", "leverage"} - set(said) == {"leverage"}  # fmt: skip


def test_no_secret_is_repeated(tmp_path):
    _, said, text = loaded(tmp_path)
    for secret in ("my-exchange-key", "my-exchange-secret", "my-telegram-token"):
        assert secret not in text + str(said)


def test_futures_count_in_margin_with_the_leverage_of_the_open_trades(tmp_path):
    found, said, _ = loaded(
        tmp_path,
        [D(3), D(5)],
        trading_mode="futures",
        margin_mode="isolated",
        stoploss=-0.30,
        trailing_stop=False,
    )
    policy, _ = policy_for(policy_table(found).of("main", "BTC/USDT"), Kind.LINEAR, None)
    assert (found.paper.market, found.exits.basis, found.paper.leverage) == ("linear", "margin", 5)
    assert policy.stop_loss_pct == 6, "30 % of the margin at 5 times are 6 % of the price"
    assert "for each trade" in said["leverage"]


@pytest.mark.parametrize(
    ("changes", "trailing", "take_profit"),
    [
        ({"trailing_stop": False}, ("off", "off", False), D("4.2")),
        ({"trailing_stop": False, "minimal_roi": {"10": 0.01}}, ("off", "off", False), D(1000)),
        ({"trailing_stop_positive": None, "trailing_stop_positive_offset": None}, (10, "off", False), "off"),
        ({"trailing_only_offset_is_reached": False}, (1, 2, False), "off"),
        ({"trailing_stop_positive_offset": 0.0}, (1, "off", False), "off"),
    ],
)  # fmt: skip
def test_each_kind_of_trail(tmp_path, changes, trailing, take_profit):
    found, _, _ = loaded(tmp_path, **changes)
    own = found.exits.trailing
    assert (own.distance_pct, own.activation_pct, own.only_after_activation) == trailing
    assert found.exits.take_profit_pct == take_profit


def test_what_stands_in_the_strategy_and_not_here_is_said(tmp_path):
    found, said, _ = loaded(tmp_path, stoploss=None, minimal_roi=None, trailing_stop=False)
    assert found.exits.stop_loss_pct == 10
    assert "in your strategy" in said["minimal_roi"] or "take-profit" in said["minimal_roi"]


def test_a_roi_that_closes_anything_is_a_longest_hold(tmp_path):
    found, said, _ = loaded(tmp_path, minimal_roi={"0": 0.04, "1440": -1})
    assert (found.exits.roi, found.exits.max_hold_s) == ({"0": 4}, 86_400)
    assert "max_hold_s" in said["minimal_roi"]


def test_live_trading_there_is_paper_here_and_said(tmp_path):
    found, said, _ = loaded(tmp_path, dry_run=False)
    assert not found.live
    assert "stays on paper until" in said["dry_run"]


def test_every_key_is_carried_over_explained_or_named(tmp_path):
    _, said, _ = loaded(tmp_path, my_own_key=5, position_adjustment_enable=True)
    assert said["my_own_key"] == "is not known here; it changes nothing"
    assert said["position_adjustment_enable"] == INSTEAD["position_adjustment_enable"]
    assert not INSTEAD.keys() & SILENT


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "not JSON"), ("[]", "no configuration of freqtrade"), ('{"a": 1}', "no configuration of freqtrade"), ('{"stoploss": NaN}', "not JSON"),
    ],
)  # fmt: skip
def test_what_is_no_configuration_of_freqtrade_is_refused(text, says):
    with pytest.raises(ContractViolation, match=says):
        read_config(text)


@pytest.mark.parametrize(("key", "value"), [("stoploss", "ten"), ("minimal_roi", {"soon": 0.1}), ("minimal_roi", [1]), ("trailing_stop_positive", [1])])  # fmt: skip
def test_a_value_that_means_nothing_is_refused_with_its_key(key, value):
    with pytest.raises(ContractViolation) as caught:
        moved({**read_config(CONFIG), key: value})
    assert caught.value.field.startswith(key)


def test_comments_and_commas_are_read_over_but_not_inside_texts():
    config = read_config(
        '{"stoploss": -0.1, // as ever\n "bot_name": "a//b, }", /* and\n so on */ "x": [1, 2,],}'
    )
    assert (config["bot_name"], config["x"]) == ("a//b, }", [1, 2])


# -- open trades ------------------------------------------------------------------------------------------------------


def arrived(policy, **trade):
    base = {
        "id": 1,
        "pair": "BTC/USDT",
        "is_open": 1,
        "amount": 0.5,
        "open_rate": 100.0,
        "stop_loss": 90.0,
        "is_short": 0,
    }
    places = Places("main", "paper", resolve, lambda _: False, policy)
    (arrival,) = arrivals(rows_of([{**base, **trade}]), places, lambda _: 1, 1)
    return arrival


@pytest.mark.parametrize(
    ("side", "stop"), [("long", 90.0), ("long", 99.5), ("long", 110.0), ("long", 250.0), ("short", 110.0), ("short", 95.0), ("short", 40.0)]
)  # fmt: skip
def test_a_stop_arrives_where_it_was_however_far_it_was_trailed(tmp_path, side, stop):
    found, _, _ = loaded(tmp_path, trailing_stop=False)
    arrival = arrived(policy_table(found), is_short=side == "short", stop_loss=stop)
    assert arrival.side is PositionSide(side)
    assert arrival.exits.stop_loss == D(str(stop))
    beyond = arrival.exits.take_profit - arrival.exits.stop_loss
    assert beyond > 0 if side == "long" else beyond < 0


def test_numbers_come_over_as_they_are_shown():
    assert (exact(0.1), exact(1e-7), exact(12345.678)) == (D("0.1"), D("1E-7"), D("12345.678"))
