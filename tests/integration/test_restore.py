"""Back up, trade on, restore, start: the older store is told from the newer bus, and what the venue did since then comes back."""

import asyncio
import sqlite3
from contextlib import closing

import pytest

from holdfast.runtime.embedded_bus import embedded
from holdfast.runtime.faults import EXIT_TERMINAL
from services.ledger.app import build as build_ledger
from tests.contract._bus import ends
from tests.integration._cli import BTC, ETH, Desk, settings_of

pytestmark = pytest.mark.redis


@pytest.fixture
def bus(tmp_path):
    with embedded(tmp_path / "bus") as url:
        yield url


def at_work(directory, url):
    desk = Desk(directory, url)
    desk.start()
    return desk


def held(desk):
    return {(row["symbol"], row["side"], row["quantity"]) for row in desk.rows("positions")}


def asked(directory, sql):
    """Rows of the paper venue's record, read beside its executor."""
    path = directory / "paper" / "main.db"
    with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as record:
        return record.execute(sql).fetchall()


def at_the_venue(directory):
    rows = asked(directory, "SELECT symbol, quantity FROM holdings WHERE quantity <> '0'")
    return {(symbol, "short" if held[0] == "-" else "long", held.lstrip("-")) for symbol, held in rows}


def trades(directory):
    return asked(directory, "SELECT count(*) FROM trades")[0][0]


def surely(desk, *words):
    """A busy machine may let an order's time to be sent pass; then it is given again."""
    said = [desk.run(*words)]
    while said[-1].exit_code != 0:
        assert len(said) < 5, [(result.stdout, result.stderr) for result in said]
        said.append(desk.run(*words))


def test_a_restored_backup_catches_up_with_the_venue(tmp_path, bus, caplog):
    desk, backup = at_work(tmp_path, bus), tmp_path / "backup.db"
    surely(desk, "intent", "buy", BTC, "1")
    known = trades(tmp_path)
    assert "as of update" in desk.ok("ledger", "backup", backup)
    surely(desk, "close", BTC)
    surely(desk, "intent", "sell", ETH, "3")
    surely(desk, "intent", "buy", BTC, "0.5")
    surely(desk, "intent", "buy", BTC, "0.25")
    later = trades(tmp_path) - known
    running = desk.run("ledger", "restore", backup, "--yes")
    assert running.exit_code == 1
    assert "stop the ledger first" in running.stderr
    before = held(desk)
    assert before == at_the_venue(tmp_path)
    assert later >= 4
    desk.stop()

    unasked = desk.run("ledger", "restore", backup)
    assert unasked.exit_code == 2
    assert "nothing was changed" in unasked.stderr
    desk.ok("ledger", "restore", backup, "--yes")
    refused = build_ledger(settings_of(tmp_path, bus))
    assert asyncio.run(ends(refused)) == EXIT_TERMINAL
    assert "it was restored from a backup" in caplog.text
    assert "See `holdfast ledger republish`" in caplog.text
    desk.ok("ledger", "republish", "--yes")

    again = at_work(tmp_path, bus)
    again.wait(lambda: len(again.rows("quarantine")) == later, 30)
    assert held(again) == {(BTC, "long", "1")}
    assert again.run("check").exit_code != 0, "it says that something is not as it should be"
    nothing = again.run("adopt", "q-nothing", "--yes")
    assert (nothing.exit_code, "not in quarantine: q-nothing" in nothing.stderr) == (1, True)
    (eth,) = [row["quarantine_id"] for row in again.rows("quarantine") if row["symbol"] == ETH]
    assert "took 1 in" in again.ok("adopt", eth, "--yes")
    assert held(again) == {(BTC, "long", "1"), (ETH, "short", "3")}
    assert f"took {later - 1} in" in again.ok("quarantine", "--adopt", "--yes")
    again.wait(lambda: again.run("check").exit_code == 0, 30)
    assert held(again) == before == at_the_venue(tmp_path)
    assert all(row["passed"] for row in again.rows("ledger", "verify"))
    again.stop()


def test_what_is_in_quarantine_is_flattened_at_the_venue(tmp_path, bus):
    desk, backup = at_work(tmp_path, bus), tmp_path / "backup.db"
    desk.ok("ledger", "backup", backup)
    surely(desk, "intent", "buy", BTC, "0.5")
    surely(desk, "intent", "sell", ETH, "3")
    assert at_the_venue(tmp_path) == {(BTC, "long", "0.5"), (ETH, "short", "3")}
    desk.stop()
    desk.ok("ledger", "restore", backup, "--yes")
    desk.ok("ledger", "republish", "--yes")

    again = at_work(tmp_path, bus)
    again.wait(lambda: len(again.rows("quarantine")) >= 2, 30)
    said = again.ok("quarantine", "--flatten", "--yes")
    assert said.count("close ") == 2
    again.wait(lambda: again.run("check").exit_code == 0, 30)
    assert held(again) == at_the_venue(tmp_path) == set()
    assert sorted(row["exit_reason"] for row in again.rows("trades")) == ["flatten", "flatten"]
    again.stop()
