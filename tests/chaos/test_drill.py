"""A short `holdfast drill`: real processes, all killed at once and restarted, a wiped and a rewound bus, a second ledger."""

from pathlib import Path

import pytest

from proving.drill.processes import Processes
from proving.drill.report import INVARIANTS
from proving.drill.run import drill

FEED = "synthetic?seed=3&interval_ms=100&volatility=0.05&symbols=BTC/USDT,ETH/USDT"
KINDS = {
    "kill -9 all at once",
    "wipe the bus",
    "rewind the bus",
    "restart in some order",
    "start a second one",
}


@pytest.mark.redis
@pytest.mark.timeout(280)
def test_kills_restarts_wipes_and_rewinds_break_no_promise(tmp_path: Path) -> None:
    world = Processes(tmp_path / "drill", FEED, plain=True)
    report = drill(world, seed=26, seconds=200, kinds=tuple(KINDS), faults=len(KINDS))

    document = report.document()
    assert report.tally.texts == [], document
    assert {one.kind for one in report.struck} == KINDS, document
    assert all(report.tally.checks[number] > 0 for number in INVARIANTS), document
    assert report.counts["fills"] == report.counts["trades of the venue"] > 0, document
    assert [
        one for one in report.struck if one.recovery_ms is None and one.kind != "start a second one"
    ] == []
