"""`holdfast drill`: break a running Holdfast in every way this machine allows, and say what became of its promises."""

import argparse
import json
import shutil
import sys
import tempfile
from pathlib import Path

from proving.drill.processes import Processes
from proving.drill.run import drill
from proving.drill.world import World

FEED = "synthetic?seed={seed}&interval_ms=100&volatility=0.05&symbols=BTC/USDT,ETH/USDT"


def main() -> int:
    """Run, print; 0 when no promise was broken, else 1."""
    arguments = argparse.ArgumentParser(prog="holdfast drill", description=(__doc__ or "").partition("\n")[0])
    arguments.add_argument("--minutes", type=float, default=2, help="how long it is broken (default 2)")
    arguments.add_argument("--seed", type=int, default=1, help="which faults come in which order (default 1)")
    arguments.add_argument(
        "--compose", action="store_true", help="in containers, with Docker Compose, instead of processes"
    )
    arguments.add_argument("--feed", help="prices; default: made-up ones that move a lot")
    arguments.add_argument(
        "--only", default="", help="kinds of faults by their first words, with commas: 'kill,wipe'"
    )
    arguments.add_argument("--dir", type=Path, help="keep the data here, a folder that does not exist yet")
    arguments.add_argument("--json", action="store_true", help="one JSON document instead of tables")
    given = arguments.parse_args()
    feed = given.feed or FEED.format(seed=given.seed)
    base = given.dir or Path(tempfile.mkdtemp(prefix="holdfast-drill-")) / "drill"
    report = drill(
        _world(base.resolve(), feed, compose=given.compose),
        seed=given.seed,
        seconds=given.minutes * 60,
        kinds=tuple(filter(None, given.only.split(","))),
        head={"where": "compose" if given.compose else "processes", "feed": feed},
    )
    sys.stdout.write((json.dumps(report.document(), indent=1) if given.json else report.text()) + "\n")
    if report.tally.violations:
        sys.stderr.write(f"what is left of it: {base}\n")
    elif given.dir is None:
        shutil.rmtree(base.parent)
    return 1 if report.tally.violations else 0


def _world(base: Path, feed: str, *, compose: bool) -> World:
    if compose:
        from proving.drill.compose import Compose

        return Compose(base, feed)
    return Processes(base, feed)


if __name__ == "__main__":
    sys.exit(main())
