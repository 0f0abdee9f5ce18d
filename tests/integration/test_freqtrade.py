"""A freqtrade bot moves in: its configuration is one of ours afterwards, its open trades are positions with the stops they had."""

import pytest

from holdfast.runtime.configuration import load
from tests.integration._cli import BTC, ETH, Desk
from tests.integration._freqtrade import CONFIG, make_database

pytestmark = pytest.mark.redis
OPEN = (
    {"pair": "BTC/USDT", "amount": 0.12345678, "open_rate": 98.5, "stop_loss": 96.53},
    {"pair": "ETH/USDT", "amount": 3.0, "open_rate": 8.0, "stop_loss": 9.87, "is_stop_loss_trailing": 1},
    {"pair": "SOL/USDT", "amount": 1.0, "open_rate": 20.0, "stop_loss": 18.0, "is_open": 0, "close_date": "2026-11-26 01:00:00.000000"},
)  # fmt: skip


@pytest.fixture
def bot(tmp_path):
    """The folder of a bot that runs dry."""
    (tmp_path / "config.json").write_text(CONFIG)
    make_database(tmp_path / "tradesv3.dryrun.sqlite", *OPEN)
    return tmp_path


def test_a_bot_moves_in_and_every_open_trade_is_protected(desk: Desk, bot):
    out = bot / "holdfast.toml"
    said = desk_less(desk, "import", "freqtrade", bot / "config.json", "--out", out)
    assert load(config=out, env={}, dotenv=bot / "none").limits.max_positions == 3
    assert "2 open trades. Stop freqtrade, start Holdfast, then: holdfast adopt" in said
    assert "stoploss_on_exchange: live a stop rests at the exchange where one can" in " ".join(said.split())
    database = bot / "tradesv3.dryrun.sqlite"
    assert "recorded 2" in desk.ok("adopt", database, "--yes")
    held = {row["symbol"]: row for row in desk.rows("positions")}
    assert {
        symbol: (row["quantity"], row["entry_price"], row["stop_loss"]) for symbol, row in held.items()
    } == {
        BTC: ("0.12345678", "98.5", "96.53"),
        ETH: ("3", "8", "9.87"),
    }
    desk.wait(lambda: all(row["take_profit"] for row in desk.rows("positions")))
    assert "everything is recorded already" in desk.ok("adopt", database, "--yes"), "twice records once"
    desk.prices[ETH] = "9.8"
    desk.wait(lambda: [row["symbol"] for row in desk.rows("positions")] == [BTC])
    assert desk.rows("trades", "--limit", 1)[0]["exit_reason"] == "stop_loss"


def desk_less(desk: Desk, *words: object) -> str:
    """A command that knows no --dir."""
    from typer.testing import CliRunner

    from holdfast.cli.main import app

    result = CliRunner().invoke(app, [*map(str, words)])
    assert result.exit_code == 0, result.output
    return result.stdout


def test_nothing_is_written_over_and_a_wrong_file_writes_nothing(desk, bot):
    from typer.testing import CliRunner

    from holdfast.cli.main import app

    out = bot / "holdfast.toml"
    words = ["import", "freqtrade", str(bot / "config.json"), "--out", str(out)]
    out.write_text("mine")
    refused = CliRunner().invoke(app, words)
    assert (refused.exit_code, out.read_text()) == (1, "mine")
    assert CliRunner().invoke(app, [*words, "--force"]).exit_code == 0
    (bot / "config.json").write_text("{}")
    wrong = CliRunner().invoke(app, [*words[:-1], str(bot / "other.toml")])
    assert (wrong.exit_code, (bot / "other.toml").exists()) == (1, False)


def test_trades_with_orders_at_the_exchange_are_not_adopted(desk, tmp_path):
    file = make_database(tmp_path / "tradesv3.sqlite", *OPEN, open_orders=(2,))
    result = desk.run("adopt", file, "--yes")
    assert result.exit_code == 1
    assert "orders of trades 2 are still open at the exchange; cancel them first" in result.stderr
    assert desk.rows("positions") == []


def test_another_database_is_refused(desk, tmp_path):
    import sqlite3
    from contextlib import closing

    file = tmp_path / "other.sqlite"
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.execute("CREATE TABLE trades (id INTEGER)")
    result = desk.run("adopt", file, "--yes")
    assert (result.exit_code, "no table of trades as freqtrade keeps it" in result.stderr) == (1, True)
