"""The short run of `tests.chaos.run`: every service and the bus killed, Redis wiped and rewound, nothing lost."""

import asyncio
from pathlib import Path

import pytest

from tests.chaos.run import World, chaos, judge

FAULTS = {"kills": 6, "wipes": 1, "rewinds": 1}


@pytest.mark.redis
@pytest.mark.timeout(280)
def test_kills_wipes_and_rewinds_lose_and_double_nothing(tmp_path: Path) -> None:
    world = World(tmp_path / "chaos", "synthetic?seed=3&interval_ms=50", seed=8)
    try:
        asyncio.run(chaos(world, pause_s=0.2, **FAULTS))
    finally:
        world.stop()
    log = (tmp_path / "chaos.log").read_text(errors="replace")
    judge(tmp_path / "chaos", world.report, log)
    document = world.report.document()

    assert world.report.violations == [], document
    assert sum(world.report.faults.values()) == sum(FAULTS.values()), document
    assert world.report.counts["fills"] > 0, document
    assert world.report.counts["fills"] == sum(
        count for name, count in world.report.counts.items() if name.startswith("paper")
    ), document
