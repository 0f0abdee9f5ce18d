"""Back up, trade on, restore, start: the older store is told from the newer bus, and what the venue did since then comes back."""

import asyncio

import pytest

from holdfast.runtime.embedded_bus import embedded
from holdfast.runtime.faults import EXIT_TERMINAL
from holdfast.venues.paper_record import PaperRecord
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


def at_the_venue(directory):
    record = PaperRecord(directory / "paper" / "main.db", "main")
    try:
        return {
            (row.symbol, "long" if row.quantity > 0 else "short", str(abs(row.quantity)))
            for row in record.holdings()
        }
    finally:
        record.close()


def trades(directory):
    record = PaperRecord(directory / "paper" / "main.db", "main")
    try:
        return len(record.trades_since(0))
    finally:
        record.close()


def surely(desk, *words):
    """A busy machine may let an order's time to be sent pass; then it is given again."""
    desk.wait(lambda: desk.run(*words).exit_code == 0, 30)


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
    assert f"took {later} in" in again.ok("quarantine", "--adopt", "--yes")
    again.wait(lambda: again.run("check").exit_code == 0, 30)
    assert held(again) == before == at_the_venue(tmp_path)
    assert all(row["passed"] for row in again.rows("ledger", "verify"))
    again.stop()
