"""`trace`, `dlq`, `doctor`, `top`: what somebody types who has to find out what happened."""

import json
import re

import pytest
import typer

from holdfast.cli.main import app
from holdfast.contracts.streams import DEAD_LETTER, FILL, ORDER_INTENT
from tests.integration._cli import BTC, Desk

pytestmark = pytest.mark.redis


def finding(rows, check):
    return next(row for row in rows if row["check"] == check)


# -- trace -----------------------------------------------------------------------------------------------------------------


def test_a_trace_goes_from_the_wish_to_the_exit_and_back(desk):
    desk.ok("intent", "buy", BTC, "1", "--id", "wish-for-trace")
    (position,) = desk.rows("positions")
    desk.ok("close", BTC, "--id", "close-for-trace")
    lines = [json.loads(line) for line in desk.ok("trace", "wish-for-trace", "--json").splitlines()]
    streams = [line["stream"] for line in lines]
    assert streams[0] == ORDER_INTENT.name
    assert {"order.reserve", "fill", "ledger.updated", "intent.result", "ledger.trade"} <= set(streams)
    from_position = desk.ok("trace", position["position_id"])
    assert "close-for-trace" in from_position
    assert "wish-for-trace" in from_position


def test_a_trace_does_not_wander_to_other_positions(desk):
    desk.ok("intent", "buy", BTC, "1", "--id", "wish-one-alone")
    desk.ok("intent", "buy", "ETH/USDT", "1", "--id", "wish-two-alone")
    assert "wish-two-alone" not in desk.ok("trace", "wish-one-alone")


def test_an_id_that_nothing_names_is_said_to_be_unknown(desk):
    result = desk.run("trace", "no-such-id-anywhere")
    assert result.exit_code == 1
    assert "nothing on the bus names no-such-id-anywhere" in result.stderr
    assert desk.run("trace", "BTC").exit_code == 2


# -- dead letters ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def letter(desk):
    """A fill that no ledger can use, as a dead letter; its row."""
    before = {row["id"] for row in desk.rows("dlq", "list")}
    desk.redis.xadd(FILL.name, {"body": '{"id": "f-bad", "quantity": "many"}'})
    desk.wait(lambda: {row["id"] for row in desk.rows("dlq", "list")} - before)
    row = next(row for row in desk.rows("dlq", "list") if row["id"] not in before)
    yield row
    desk.redis.delete(DEAD_LETTER.name)


def test_a_dead_letter_is_listed_and_shown_whole(desk, letter):
    assert (letter["service"], letter["stream"]) == ("ledger", "fill")
    shown = desk.ok("dlq", "show", letter["id"])
    assert '"quantity": "many"' in shown
    assert "error:" in shown


def test_a_dead_letter_is_put_back_as_it_was_and_comes_again(desk, letter):
    assert desk.ok("dlq", "requeue", letter["id"]).startswith("put back as fill ")
    desk.wait(
        lambda: len([row for row in desk.rows("dlq", "list") if row["payload"] == letter["payload"]]) > 1
    )


def test_a_dropped_letter_is_gone(desk, letter):
    assert desk.ok("dlq", "drop", letter["id"]) == f"dropped {letter['id']}\n"
    result = desk.run("dlq", "show", letter["id"])
    assert (result.exit_code, "no dead letter" in result.stderr) == (1, True)


# -- doctor ------------------------------------------------------------------------------------------------------------------


def test_the_doctor_finds_a_healthy_installation_healthy(desk):
    desk.wait(lambda: desk.run("check").exit_code == 0)
    rows = desk.rows("doctor")
    assert [row for row in rows if row["status"] == "failure"] == []
    for check in (
        "holdfast",
        "SQLite",
        "disk",
        "store",
        "locks",
        "bus",
        "bus eviction",
        "clock",
        "light",
        "ledger",
    ):
        assert finding(rows, check)["status"] in {"ok", "warning"}
    assert "noeviction" in finding(rows, "bus eviction")["found"]


def test_the_doctor_sees_a_bus_that_throws_streams_away(desk):
    desk.redis.config_set("maxmemory-policy", "allkeys-lru")
    try:
        result = desk.run("doctor")
    finally:
        desk.redis.config_set("maxmemory-policy", "noeviction")
    assert result.exit_code == 1
    assert "others throw streams away" in result.stdout


def test_the_doctor_works_where_nothing_runs(tmp_path, monkeypatch):
    monkeypatch.setenv("HOLDFAST_REDIS_URL", "redis://127.0.0.1:9/0")
    result = Desk(tmp_path, "redis://127.0.0.1:9/0").run("doctor", "--json")
    rows = json.loads(result.stdout)
    assert result.exit_code == 1
    assert "no bus answers" in finding(rows, "bus")["found"]
    assert finding(rows, "store")["status"] == "ok"


# -- top -----------------------------------------------------------------------------------------------------------------------


def test_top_shows_the_light_and_what_is_held(desk):
    desk.ok("intent", "buy", BTC, "1")
    desk.wait(lambda: "1/1 positions armed" in desk.ok("top", "--times", "1"))
    shown = desk.ok("top", "--times", "1")
    assert "CONSISTENT" in shown
    assert BTC in shown
    assert "exit_scanner" in shown


def test_a_test_message_says_that_there_is_nobody_to_call(desk):
    assert "HOLDFAST_ALERTS_URLS" in desk.ok("alerts", "test")


def test_no_help_has_words_that_its_markup_would_swallow():
    """`[exits]` is taken for a style, and not shown."""

    def texts(command, name):
        yield name, command.help or ""
        for parameter in command.params:
            yield f"{name} {parameter.name}", getattr(parameter, "help", None) or ""
        for word, inner in getattr(command, "commands", {}).items():
            yield from texts(inner, f"{name} {word}")

    found = dict(texts(typer.main.get_command(app), "holdfast"))
    assert len(found) > 100
    assert {name: text for name, text in found.items() if re.search(r"\[[a-z]", text)} == {}


def test_the_help_names_the_exit_codes():
    from typer.testing import CliRunner

    shown = CliRunner().invoke(app, ["--help"]).stdout
    assert "Exit codes" in shown
    assert "not confirmed" in shown
