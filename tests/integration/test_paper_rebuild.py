"""A paper record that does not belong to the ledger blocks entries until a person rebuilds it."""

import subprocess
import sys
from decimal import Decimal as D  # noqa: N817
from pathlib import Path

from holdfast.contracts.codes import FillKind, Side
from holdfast.contracts.messages import Fill
from holdfast.contracts.streams import FILL
from holdfast.contracts.wire import Entry
from holdfast.runtime.clock import SystemClock
from holdfast.runtime.ids import SystemIds
from holdfast.runtime.settings import Settings
from holdfast.store.opening import open_store
from holdfast.venues.paper_record import PaperRecord
from services.ledger.app import rules_of
from services.ledger.service import Ledger

CLOCK = SystemClock()


def ledger_with_a_position(place: Path) -> str:
    """A store with one adopted position of 0.5 BTC; its id."""
    store = open_store(url="", directory=place, who="test", ids=SystemIds(CLOCK))
    ledger = Ledger(
        store, rules_of(Settings(dir=place)), clock=CLOCK, snapshot_every_updates=10, snapshot_every_ms=10
    )
    fill = Fill(
        id="f",
        at=1,
        account="main",
        exchange="paper",
        symbol="BTC/USDT",
        trade_id="a1",
        kind=FillKind.ADOPTION,
        side=Side.BUY,
        quantity=D("0.5"),
        price=D(40_000),
        executed_at=1,
    )
    ledger._apply([Entry(FILL, "1-0", fill.body(), fill)])
    ledger.close()
    return store.store_id


def rebuild(place: Path, *more: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "holdfast.cli.main", "paper", "rebuild", "--dir", str(place), *more],
        capture_output=True,
        text=True,
        check=False,
        timeout=40,
        env={"PYTHONPATH": "libs:."},
        stdin=subprocess.DEVNULL,
    )


def test_the_record_becomes_what_the_ledger_holds(tmp_path):
    store_id = ledger_with_a_position(tmp_path)
    record = PaperRecord(tmp_path / "paper" / "main.db", "main")
    record.bind_store("another-store")
    assert record.belongs_to(store_id, ledger_has_fills=True) is not None
    record.close()

    refused = rebuild(tmp_path)
    assert refused.returncode == 2
    assert "nothing was changed" in refused.stderr

    done = rebuild(tmp_path, "--yes")
    assert done.returncode == 0, done.stderr
    assert "BTC/USDT long 0.5 at 40000" in done.stdout
    record = PaperRecord(tmp_path / "paper" / "main.db", "main")
    assert record.belongs_to(store_id, ledger_has_fills=True) is None
    assert record.verify() == []
    record.close()


def test_a_running_executor_is_named(tmp_path):
    from holdfast.runtime.locks import hold

    ledger_with_a_position(tmp_path)
    with hold(tmp_path / "locks" / "executor-main.lock", "executor"):
        refused = rebuild(tmp_path, "--yes")
    assert refused.returncode == 1
    assert "stop the executor first" in refused.stderr
