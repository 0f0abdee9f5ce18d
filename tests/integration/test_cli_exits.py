"""`explain`, `exits reseed`, `models`, soft closes and exit keys: as a person uses them, on running services."""

import json
from decimal import Decimal
from pathlib import Path

import pytest

from holdfast.contracts.exit_messages import ExitEvaluated, Prediction
from holdfast.contracts.streams import EXIT_EVALUATED, PREDICTION
from holdfast.contracts.wire import Out, decode
from tests.integration._cli import BTC, ETH, Desk

pytestmark = pytest.mark.redis
D = Decimal


def predict(
    desk: Desk, number: int, direction: str, confidence: str, lasts_ms: int = 60_000, model: str = "lstm"
) -> None:
    seconds, micros = desk.redis.time()
    now = seconds * 1000 + micros // 1000
    desk.publish(
        Out(
            PREDICTION,
            Prediction(
                id=f"v-{model}-{number}", at=now, symbol=BTC, direction=direction, confidence=D(confidence), model=model, expires_at=now + lasts_ms
            ),
        )
    )  # fmt: skip


def test_an_open_position_is_explained_rule_by_rule(desk: Desk) -> None:
    desk.ok("intent", "buy", BTC, "1", "--stop-loss", "5%", "--exit", "trailing.distance_pct=2")
    text = desk.ok("explain", BTC)
    assert "nothing fires; next: " in text
    for rule in ("liquidation_guard", "stop_loss", "emergency_loss", "take_profit", "reversal", "min_hold"):
        assert rule in text
    (told,) = desk.rows("explain", BTC)
    stop = next(rule for rule in told["rules"] if rule["rule"] == "stop_loss")
    assert (D(stop["at_price"]), D(stop["distance_pct"]), D(stop["profit_there"])) == (98, -2, -2)
    assert told["in_force"]["trailing.distance_pct"] == "2"
    assert told["next_down"] == "stop_loss"
    assert told["trade"] is None


def test_a_soft_close_that_a_veto_holds_back_says_which_and_until_when(desk: Desk) -> None:
    desk.ok("intent", "buy", BTC, "1", "--stop-loss", "5%")
    assert "noted: it leaves when no veto holds it back" in desk.ok("close", BTC, "--soft")
    (told,) = desk.rows("explain", BTC)
    assert (told["held_rule"], told["held_by"], told["fires"]) == ("signal", "min_hold", None)
    assert 100_000 < told["held_until"] - told["market_at"] <= 120_000
    assert "signal is held back by min_hold" in desk.ok("explain", BTC)
    assert desk.rows("positions")[0]["signal_at"] is not None


def test_a_soft_close_leaves_at_once_where_nothing_holds_it(desk: Desk) -> None:
    desk.ok(
        "intent",
        "buy",
        BTC,
        "1",
        "--stop-loss",
        "5%",
        "--exit",
        "min_hold_s=off",
        "--exit",
        "min_loss_pct=off",
    )
    desk.ok("close", BTC, "--soft")
    desk.wait(lambda: not desk.rows("positions"))
    assert desk.rows("trades")[0]["exit_reason"] == "signal"


def test_a_closed_position_says_what_fired_that_it_was_a_gap_and_what_the_others_said(desk: Desk) -> None:
    desk.ok("intent", "buy", ETH, "1", "--stop-loss", "5%")
    key = desk.rows("positions")[0]["position_id"]
    desk.prices[ETH] = "9.4"
    desk.wait(lambda: not desk.rows("positions"))
    (told,) = desk.rows("explain", key)
    trade = told["trade"]
    assert (trade["exit_reason"], trade["trigger_price"], trade["trigger_level"]) == (
        "stop_loss",
        "9.4",
        "9.5",
    )
    assert told["fires"] == "stop_loss"
    text = desk.ok("explain", key)
    assert "a gap: its level was 9.5, the price that fired it 9.4" in text
    assert "emergency_loss" in text


def test_a_trailing_stop_and_a_ladder_on_running_services(desk: Desk) -> None:
    """The price rises over the first rung and falls back: half is taken, the rest leaves by its trail."""
    desk.ok(
        "intent", "buy", ETH, "2", "--stop-loss", "5%", "--take-profit", "2%:0.5,50%:0.5", "--exit", "trailing.distance_pct=1",
    )  # fmt: skip
    desk.prices[ETH] = "10.3"
    desk.wait(lambda: desk.rows("positions")[0]["quantity"] == "1")
    row = desk.rows("positions")[0]
    assert (row["laddered"], row["take_profit"]) == ("1", "15")
    desk.wait(lambda: desk.rows("positions")[0]["stop_by"] == "trailing")
    desk.prices[ETH] = "10.1"
    desk.wait(lambda: not desk.rows("positions"))
    trade = desk.rows("trades")[0]
    assert (trade["exit_reason"], trade["trigger_level"], trade["quantity"]) == (
        "trailing_stop",
        "10.197",
        "2",
    )


def test_a_new_policy_is_shown_and_then_applied_tighter_only(desk: Desk, tmp_path: Path) -> None:
    desk.ok("intent", "buy", BTC, "1", "--stop-loss", "5%")
    file = tmp_path / "new.toml"
    file.write_text("[exits]\nemergency_loss_pct = 15\nmin_hold_s = 600\n")
    before = desk.rows("positions")[0]["terms"]
    (shown,) = desk.rows("exits", "reseed", "--config", file)
    assert "+emergency_loss_pct=15" in shown["terms_change"]
    assert any("min_hold_s: 600 would loosen 120, kept" in note for note in shown["notes"])
    assert desk.rows("positions")[0]["terms"] == before
    desk.ok("exits", "reseed", "--config", file, "--apply")
    assert "emergency_loss_pct=15" in desk.rows("positions")[0]["terms"]
    assert "min_hold_s=120" in desk.rows("positions")[0]["terms"]
    desk.ok("exits", "reseed", "--config", file, "--apply", "--insist")
    assert "min_hold_s=600" in desk.rows("positions")[0]["terms"]
    assert "nothing to change" in desk.ok("exits", "reseed", "--config", file)


def test_models_are_judged_and_what_is_no_prediction_is_counted(desk: Desk) -> None:
    predict(desk, 1, "long", "0.9", lasts_ms=300)
    predict(desk, 2, "hold", "0.8", lasts_ms=300, model="calm")
    desk.redis.xadd(
        PREDICTION.name,
        {
            "body": '{"id":"x","at":1,"symbol":"BTC/USDT","direction":"up","confidence":"2","model":"m","expires_at":2}'
        },
    )
    desk.wait(lambda: {row["model"] for row in desk.rows("models") if row["judged"]} >= {"lstm", "calm"})
    rows = {row["model"]: row for row in desk.rows("models")}
    assert rows["lstm"]["hit_rate"] == "0.0000"
    assert rows["calm"]["hit_rate"] == "1.0000"
    assert rows["(unreadable)"]["refused"] == {"malformed": 1}
    assert "lstm" in desk.ok("models")


def test_a_reversal_closes_and_what_the_scanner_says_can_be_read(desk: Desk) -> None:
    desk.ok("intent", "buy", BTC, "1", "--stop-loss", "5%")
    key = desk.rows("positions")[0]["position_id"]

    def told() -> list[ExitEvaluated]:
        found = [
            decode(EXIT_EVALUATED, name.decode(), fields).message
            for name, fields in desk.redis.xrange(EXIT_EVALUATED.name)
        ]
        return [one for one in found if isinstance(one, ExitEvaluated) and one.position_id == key]

    desk.wait(told)  # it is said every few seconds, so of a position that lives for a moment perhaps never
    predict(desk, 3, "short", "0.75", lasts_ms=8_000, model="other")
    desk.wait(lambda: not desk.rows("positions"))
    assert desk.rows("trades")[0]["exit_reason"] == "reversal"
    assert all(len(one.rules) == 11 and len(one.vetoes) == 3 for one in told())
    desk.wait(
        lambda: {row["model"]: row["judged"] for row in desk.rows("models")}["other"] == 1
    )  # it has ended


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("explain", "p-nobody"), "no position, open or closed lately"),
        (("intent", "buy", BTC, "1", "--exit", "min_hold=3"), "min_hold: no such exit key"),
        (("intent", "buy", BTC, "1", "--take-profit", "5%:0.6,10%:x"), "take_profit"),
    ],
)
def test_a_mistake_is_answered_and_nothing_is_sent(desk: Desk, words: tuple[str, ...], said: str) -> None:
    result = desk.run(*words)
    assert result.exit_code != 0
    assert said in result.stderr
    assert desk.rows("positions") == []


def test_a_stop_beyond_liquidation_is_refused_with_its_code(desk: Desk) -> None:
    """Linear at leverage 5: liquidation at 80.4, and a fifth of the way back from there, at 84.3, the guard's band begins."""
    result = desk.run("intent", "buy", BTC, "1", "--stop-loss", "16%", "--json")
    assert json.loads(result.stdout)["code"] == "stop_beyond_liquidation"
