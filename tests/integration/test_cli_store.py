"""`ledger verify|backup|republish`, `fold` and `adopt`, beside a running ledger."""

import json
import re
import sqlite3
from decimal import Decimal

import pytest

from tests.integration._cli import BTC, ETH, Desk

pytestmark = pytest.mark.redis


def test_verify_finds_a_running_ledger_whole(desk):
    desk.ok("intent", "buy", BTC, "1")
    desk.ok("close", BTC)
    desk.ok("intent", "sell", ETH, "3")
    checks = {row["check"]: row for row in desk.rows("ledger", "verify")}
    assert all(row["passed"] for row in checks.values()), checks
    assert checks["trades"]["count"] >= 1
    out = desk.ok("ledger", "verify")
    assert out.endswith("the ledger is whole\n")


def test_verify_says_what_is_broken_and_ends_with_1(desk, tmp_path):
    (tmp_path / "ledger").mkdir()
    desk.ok("ledger", "backup", tmp_path / "ledger" / "ledger.db")
    with sqlite3.connect(tmp_path / "ledger" / "ledger.db") as connection:
        connection.execute("UPDATE updates SET hash = 'x' WHERE seq = 1")
    connection.close()
    other = Desk(tmp_path, desk.url)
    result = other.run("ledger", "verify")
    assert result.exit_code == 1
    assert "chain: update 1: its hash does not follow" in result.stdout
    assert result.stdout.endswith("broken: chain\n")
    assert other.run("ledger", "verify", "--json").exit_code == 1


def test_without_a_store_verify_and_backup_say_so(tmp_path):
    desk = Desk(tmp_path, "redis://127.0.0.1:1/0")
    for words in (("ledger", "verify"), ("ledger", "backup", tmp_path / "copy.db")):
        result = desk.run(*words)
        assert result.exit_code == 1
        assert "no store at" in result.stderr
    assert not (tmp_path / "copy.db").exists()


def test_a_backup_is_a_whole_store_and_never_overwrites(desk, tmp_path):
    target = tmp_path / "ledger" / "ledger.db"
    target.parent.mkdir()
    assert "To go back" in desk.ok("ledger", "backup", target)
    assert Desk(tmp_path, desk.url).rows("ledger", "verify")[0]["count"] > 0
    again = desk.run("ledger", "backup", target)
    assert again.exit_code == 1
    assert "never overwrites" in again.stderr
    nowhere = desk.run("ledger", "backup", tmp_path / "no" / "such" / "folder.db")
    assert nowhere.exit_code == 1
    assert "could not be written" in nowhere.stderr


def test_republish_needs_a_stopped_ledger(desk):
    result = desk.run("ledger", "republish", "--yes")
    assert result.exit_code == 1
    assert "stop the ledger first" in result.stderr
    assert desk.redis.exists("ledger.updated")


def test_republish_removes_the_derived_streams_and_nothing_else(silent):
    for name in ("ledger.updated", "ledger.snapshot", "fill", "ledger.trade"):
        silent.redis.xadd(name, {"body": "{}"})
    unasked = silent.run("ledger", "republish")
    assert unasked.exit_code == 2
    assert silent.redis.exists("ledger.updated")
    assert "ledger.updated (1 entries)" in silent.ok("ledger", "republish", "--yes")
    assert silent.redis.exists("ledger.updated", "ledger.snapshot", "fill", "ledger.trade") == 2


# -- fold -----------------------------------------------------------------------------------------------------------------

LINES = '{"symbol":"BTC/USDT","side":"buy","quantity":"2","price":"100"}\n{"symbol":"BTC/USDT","side":"sell","quantity":"0.5","price":"110","fee":"0.1","fee_currency":"USDT"}\n'


def _fold(file, stdin=None):
    from typer.testing import CliRunner

    from holdfast.cli.main import app

    return CliRunner().invoke(app, ["fold", str(file)], input=stdin)


def test_fold_answers_each_line_from_a_file_and_from_standard_input(tmp_path):
    (tmp_path / "fills.jsonl").write_text(LINES)
    for result in (_fold(tmp_path / "fills.jsonl"), _fold("-", LINES)):
        assert result.exit_code == 0
        answers = [json.loads(line) for line in result.stdout.splitlines()]
        assert answers == [
            {"side": "long", "quantity": "2", "entry_price": "100", "realized_pnl": "0", "fees": {}},
            {
                "side": "long",
                "quantity": "1.5",
                "entry_price": "100",
                "realized_pnl": "4.9",
                "fees": answers[1]["fees"],
            },
        ]


def test_fold_names_the_line_that_is_no_fill(tmp_path):
    result = _fold("-", LINES + '{"symbol":"BTC/USDT","side":"sell","quantity":-1,"price":"1"}\n')
    assert result.exit_code == 1
    assert len(result.stdout.splitlines()) == 2
    assert "line 3, quantity" in result.stderr
    assert _fold(tmp_path / "missing").exit_code == 1


# -- adopt ------------------------------------------------------------------------------------------------------------------


def _file(tmp_path, *rows, **more):
    path = tmp_path / "positions_state.json"
    path.write_text(json.dumps({"updated_at": "2025-01-01T00:00:00Z", "positions": rows, **more}))
    return path


LONG = {
    "symbol": "BTCUSDT",
    "side": "LONG",
    "qty": 0.01,
    "entry_price": 98.5,
    "mark_price": 100.0,
    "notional": 1.0,
}
SHORT = {"symbol": "ETH/USDT", "side": "SHORT", "qty": 1.5, "entry_price": 11, "tp": 8.25, "sl": 12}


def test_adopting_records_each_position_once_with_its_exits(desk, tmp_path):
    path = _file(tmp_path, LONG, SHORT, {"symbol": "SOLUSDT", "side": "LONG", "qty": 0, "entry_price": 0})
    shown = desk.run("adopt", path, stdin="n\n")
    assert shown.exit_code == 1
    assert "stop_loss: missing" in shown.stdout
    assert desk.rows("positions") == []
    assert "recorded 2" in desk.ok("adopt", path, stdin="y\n")
    rows = {row["symbol"]: row for row in desk.rows("positions")}
    assert {name: rows[BTC][name] for name in ("side", "quantity", "entry_price", "stop_loss")} == {
        "side": "long", "quantity": "0.01", "entry_price": "98.5", "stop_loss": "88.65",
    }  # fmt: skip
    assert (rows[ETH]["side"], rows[ETH]["take_profit"], rows[ETH]["stop_loss"]) == ("short", "8.25", "12")
    assert "everything is recorded already" in desk.ok("adopt", path, "--yes")
    assert len(desk.rows("positions")) == 2
    assert Decimal(rows[BTC]["quantity"]) == Decimal(desk.rows("positions")[0]["quantity"])
    desk.wait(lambda: desk.run("close", ETH).exit_code == 0)
    assert "everything is recorded already" in desk.ok("adopt", path, "--yes")
    assert all(row["passed"] for row in desk.rows("ledger", "verify"))


def test_the_auditor_reads_beside_the_running_ledger(desk, capfd):
    desk.ok("intent", "buy", BTC, "0.01")
    assert desk.run("audit").exit_code == 0, capfd.readouterr().out
    shown = capfd.readouterr().out
    assert "everything holds" in shown
    assert re.search(r"[1-9]\d* fills", shown)


def test_adopting_what_stands_against_an_open_position_records_nothing(desk, tmp_path):
    desk.ok("intent", "sell", ETH, "1")
    for row, why in (
        (SHORT, "would double the open short of 1"),
        (SHORT | {"side": "LONG"}, "opposes the open short of 1"),
    ):
        result = desk.run("adopt", _file(tmp_path, LONG, row | {"tp": None, "sl": None}), "--yes")
        assert result.exit_code == 1
        assert f"row 2 (ETH/USDT), side: {why}" in result.stderr
    assert [row["symbol"] for row in desk.rows("positions")] == [ETH]


def test_adopting_what_is_malformed_names_row_and_field_and_records_nothing(desk, tmp_path):
    result = desk.run("adopt", _file(tmp_path, LONG, SHORT | {"qty": "many"}), "--yes")
    assert result.exit_code == 1
    assert "row 2, qty" in result.stderr
    assert desk.rows("positions") == []
    noise = tmp_path / "noise.json"
    noise.write_text("[")
    assert desk.run("adopt", noise, "--yes").exit_code == 1
    assert desk.run("adopt", tmp_path / "missing.json", "--yes").exit_code == 1
    assert desk.run("adopt", noise, "--json").exit_code == 2


def test_adopting_into_silence_is_not_confirmed(silent, tmp_path):
    result = silent.run("adopt", _file(tmp_path, LONG), "--yes", "--wait", "0.3")
    assert result.exit_code == 1
    assert "the ledger does not answer" in result.stderr
