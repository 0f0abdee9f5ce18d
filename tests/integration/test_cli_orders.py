"""Intents from the command line: the command returns when the ledger has answered, and says what it answered."""

import json

import pytest

from tests.integration._cli import BTC, ETH, Desk

pytestmark = pytest.mark.redis


def test_an_intent_is_filled_and_becomes_a_position_with_exits(desk):
    out = desk.ok(
        "intent", "buy", "BTCUSDT", "0.5", "--stop-loss", "5%", "--take-profit", "130", "--strategy", "mine"
    )
    assert out.startswith("buy BTCUSDT 0.5: filled 0.5 at 100 (order ")
    (row,) = desk.rows("positions")
    assert {name: row[name] for name in ("symbol", "side", "quantity", "entry_price", "take_profit", "stop_loss", "strategy")} == {
        "symbol": BTC, "side": "long", "quantity": "0.5", "entry_price": "100", "take_profit": "130", "stop_loss": "95", "strategy": "mine",
    }  # fmt: skip
    assert (row["mark_price"], row["unrealized_pnl"]) == ("100", "0")
    shown = desk.ok("positions")
    assert row["position_id"] in shown
    assert "take-profit" in shown


def test_with_json_the_answer_is_one_object(desk):
    result = json.loads(desk.ok("intent", "long", ETH, "1", "--id", "json-1", "--json"))
    assert (result["intent_id"], result["status"], result["filled_quantity"], result["average_price"]) == (
        "json-1",
        "filled",
        "1",
        "10",
    )


def test_the_same_id_again_is_the_same_intent(desk):
    first = desk.ok("intent", "buy", BTC, "0.1", "--id", "same")
    assert desk.ok("intent", "buy", BTC, "0.1", "--id", "same") == first
    (row,) = desk.rows("positions")
    assert row["quantity"] == "0.1"
    other = desk.run("intent", "buy", BTC, "0.2", "--id", "same")
    assert other.exit_code == 1
    assert "duplicate intent_id_reused" in other.stdout


def test_the_other_side_is_blocked_with_code_and_reason(desk):
    desk.ok("intent", "buy", BTC, "0.1")
    result = desk.run("intent", "sell", BTC, "1", "--id", "against")
    assert result.exit_code == 1
    assert "sell BTC/USDT 1: blocked opposed: " in result.stdout
    row = desk.rows("blocked", "--limit", 1)[0]
    assert (row["intent_id"], row["code"], row["attempted_side"], row["held_side"]) == (
        "against",
        "opposed",
        "sell",
        "long",
    )
    assert "opposed" in desk.ok("blocked")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("intent", "hold", BTC, "1"), "side"),
        (("intent", "buy", BTC, "-1"), "quantity: must be greater than zero"),
        (("intent", "buy", BTC, "0"), "quantity: must be greater than zero"),
        (("intent", "buy", BTC, "NaN"), "quantity: an amount is finite"),
        (("intent", "buy", BTC, "inf"), "quantity: an amount is finite"),
        (("intent", "buy", BTC, "a lot"), "quantity"),
        (("intent", "buy", BTC, "1", "--stop-loss", "off"), "stop_loss cannot be off"),
        (("intent", "buy", BTC, "1", "--take-profit", "-5"), "take_profit: must be greater than zero"),
        (("intent", "buy", BTC, "1", "--ttl", "soon"), "ttl_s"),
        (("intent", "buy", BTC, "1", "--type", "limit"), "price is required"),
        (("intent", "buy", BTC, "1", "--price", "5", "--tif", "never"), "time_in_force"),
        (("intent", "buy", BTC, "1", "--id", "two words"), "id"),
        (("close",), "SYMBOL or a --position"),
        (("close", BTC, "--position", "p-1"), "SYMBOL or a --position"),
        (("close", BTC, "--quantity", "-1"), "quantity"),
    ],
)
def test_what_is_wrong_is_named_and_nothing_is_published(services: Desk, words, said):
    before = services.redis.xlen("order.intent"), services.redis.xlen("order.intent.exit")
    result = services.run(*words)
    assert result.exit_code == 2
    assert said in result.stderr
    assert (services.redis.xlen("order.intent"), services.redis.xlen("order.intent.exit")) == before


def test_what_only_the_executor_can_judge_is_refused_with_code_and_reason(desk):
    result = desk.run("intent", "buy", "FOO", "1")
    assert result.exit_code == 1
    assert "invalid unknown_symbol: " in result.stdout
    result = desk.run("intent", "buy", BTC, "1", "--account", "other")
    assert result.exit_code == 1
    assert "unknown_account" in result.stdout


@pytest.mark.parametrize("amount", ["1e-1", ".1", "0.10", "1E-1"])
def test_a_quantity_may_be_typed_in_any_way(desk, amount):
    desk.ok("intent", "buy", BTC, amount)
    assert desk.rows("positions")[0]["quantity"] == "0.1"


def test_a_resting_order_is_accepted_listed_and_canceled(desk):
    out = desk.ok("intent", "buy", BTC, "1", "--price", "50", "--wait", "0.5", "--id", "resting")
    assert "accepted, not filled yet" in out
    (row,) = desk.rows("orders")
    assert (row["symbol"], row["type"], row["price"], row["role"], row["intent_id"]) == (
        BTC,
        "limit",
        "50",
        "entry",
        "resting",
    )
    assert row["order_id"] in desk.ok("orders")
    assert "canceled" in desk.ok("cancel", row["order_id"])
    desk.wait(lambda: not desk.rows("orders"))
    assert "no live orders" in desk.ok("orders")
    missing = desk.run("cancel", row["order_id"])
    assert missing.exit_code == 1
    assert "no_such_order" in missing.stdout


def test_cancel_of_a_symbol_takes_all_its_entries(desk):
    for price in ("50", "51"):
        desk.ok("intent", "buy", BTC, "1", "--price", price, "--wait", "0.5")
    desk.ok("cancel", BTC)
    desk.wait(lambda: not desk.rows("orders"))


def test_close_by_symbol_in_part_and_whole(desk):
    desk.ok("intent", "buy", BTC, "1")
    assert "filled 0.4 at 100" in desk.ok("close", BTC, "--quantity", "0.4")
    assert desk.rows("positions")[0]["quantity"] == "0.6"
    assert "filled 0.6 at 100" in desk.ok("close", "btc-usdt")
    nothing = desk.run("close", BTC)
    assert nothing.exit_code == 1
    assert "blocked nothing_to_close" in nothing.stdout


def test_close_by_the_beginning_of_an_id_and_again_with_the_same_intent(desk):
    desk.ok("intent", "sell", ETH, "2")
    key = desk.rows("positions")[0]["position_id"]
    first = desk.ok("close", "--position", key[:12], "--id", "closing")
    assert "filled 2 at 10" in first
    trade = desk.rows("trades", "--limit", 1)[0]
    assert (trade["position_id"], trade["exit_reason"], trade["exit_price"], trade["realized_pnl"]) == (
        key,
        "close",
        "10",
        "0",
    )
    assert key in desk.ok("trades")
    assert desk.ok("close", "--position", key, "--id", "closing") == first
    assert desk.run("close", "--position", "p-nothing").exit_code == 1


def test_a_stop_that_fires_is_a_trade_with_its_reason(desk):
    desk.ok("intent", "buy", BTC, "1", "--stop-loss", "90")
    desk.prices[BTC] = "89"
    desk.wait(lambda: not desk.rows("positions"))
    trade = desk.rows("trades", "--limit", 1)[0]
    assert (trade["exit_reason"], trade["exit_price"], trade["realized_pnl"]) == ("stop_loss", "89", "-11")


def test_flatten_closes_everything_and_cancels_what_rests(desk):
    desk.ok("intent", "buy", BTC, "1")
    desk.ok("intent", "sell", ETH, "1")
    desk.ok("intent", "buy", BTC, "1", "--price", "50", "--wait", "0.5")
    out = desk.ok("flatten", "--id", "flat")
    assert out.count("close ") == 2
    assert out.count("\ncancel ") == 1
    desk.wait(lambda: not desk.rows("positions") + desk.rows("orders"))
    assert {row["exit_reason"] for row in desk.rows("trades", "--limit", 2)} == {"flatten"}
    assert "nothing to do" in desk.ok("flatten")
    assert desk.rows("flatten") == []


def test_flatten_of_one_account_leaves_the_others(desk):
    desk.ok("intent", "buy", BTC, "1")
    assert desk.rows("flatten", "--account", "other") == []
    assert len(desk.rows("positions")) == 1


def test_halt_stops_entries_and_resting_orders_and_never_exits(desk):
    desk.ok("intent", "buy", BTC, "1")
    desk.ok("intent", "buy", ETH, "1", "--price", "5", "--wait", "0.5")
    assert desk.ok("halt", "--why", "lunch") == "halted: all, recorded by the ledger\n"
    desk.wait(lambda: not desk.rows("orders"))
    assert "trading is halted for all" in desk.ok("status")
    refused = desk.run("intent", "buy", ETH, "1")
    assert refused.exit_code == 1
    assert "blocked halted" in refused.stdout
    desk.ok("close", BTC)
    desk.ok("resume")
    desk.ok("intent", "buy", ETH, "1")


def test_reduce_only_of_one_account(desk):
    row = json.loads(desk.ok("reduce-only", "--account", "main", "--why", "careful", "--json"))
    assert (row["scope"], row["target"], row["state"], row["why"]) == (
        "account",
        "main",
        "reduce_only",
        "careful",
    )
    assert "reduce_only_state" in desk.run("intent", "buy", BTC, "1").stdout
    desk.ok("resume", "--account", "main")
    desk.ok("intent", "buy", BTC, "1")


@pytest.mark.parametrize("key", ["my-halt", "1a1fd089a8200000bd8f8aa5ff"])
def test_steering_again_with_the_same_id_is_answered_again(desk, key):
    first = desk.ok("reduce-only", "--id", key, "--why", "x")
    assert desk.ok("reduce-only", "--id", key, "--why", "x") == first
    desk.redis.delete("control")  # the bus forgot what was said; the ledger has not
    assert desk.ok("reduce-only", "--id", key, "--why", "x", "--wait", "2") == first
    desk.ok("resume")


def test_an_id_that_meant_another_state_is_refused(desk):
    desk.ok("reduce-only", "--id", "once")
    other = desk.run("halt", "--id", "once")
    assert other.exit_code == 1
    assert "was used before" in other.stderr
    assert desk.run("halt", "--account", "a", "--book", "b").exit_code == 2


@pytest.mark.parametrize(
    "words", [("intent", "buy", BTC, "1"), ("close", BTC), ("cancel", BTC), ("halt",), ("resume",)]
)
def test_without_an_answer_the_exit_code_is_3_and_repeating_is_safe(silent, words):
    result = silent.run(*words, "--wait", "0.3", "--id", "again")
    assert result.exit_code == 3
    assert "not confirmed; repeat with --id again is safe" in result.stderr
    assert result.stdout == ""


def test_a_bus_that_is_gone_is_said_in_one_line(tmp_path):
    desk = Desk(tmp_path, "redis://127.0.0.1:1/0")
    for words in (
        ("positions",),
        ("intent", "buy", BTC, "1"),
        ("trades",),
        ("tail",),
        ("halt",),
        ("status",),
    ):
        result = desk.run(*words)
        assert result.exit_code == 1, words
        assert result.stderr.count("\n") == 1
        assert "holdfast up" in result.stderr


def test_a_size_may_be_a_value_or_a_share_of_nav_and_a_close_a_share_of_the_position(desk):
    desk.ok("intent", "buy", BTC, "--quote", "250")
    assert [row["quantity"] for row in desk.rows("positions")] == ["2.5"]
    desk.ok("close", BTC, "--fraction", "0.2")
    desk.wait(lambda: [row["quantity"] for row in desk.rows("positions")] == ["2"])
    desk.ok("intent", "buy", ETH, "--risk-pct", "0.1", "--stop-loss", "9")
    sized = [row["quantity"] for row in desk.rows("positions") if row["symbol"] == ETH]
    assert len(sized) == 1
    assert 90 < float(sized[0]) <= 101, "about 100 of 100000 are lost when 10 becomes 9, 100 times"


def test_two_sizes_at_once_are_none(desk):
    result = desk.run("intent", "buy", BTC, "1", "--nav-pct", "5")
    assert result.exit_code == 2
    assert "a size is said once" in result.stderr
