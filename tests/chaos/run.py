"""Chaos on real processes: `holdfast up` with a replay, random `kill -9`s over all services and the bus, wiped and
rewound Redis; then everything is compared with the paper venue's own record.

    python -m tests.chaos.run --feed 'replay:FILE?symbol=BTC/USDT&speed=6000' --kills 100 --wipes 3 --rewinds 3 [--seed 1]

Prints one JSON document: what was done, what was found (every entry of `violations` is a broken promise), and the time
from each fault until every open position was armed again (p50, p99, ms). Exit code 1 when anything was violated.
"""

import argparse
import asyncio
import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from redis import Redis
from redis.exceptions import RedisError

from holdfast.contracts import streams
from holdfast.contracts.wire import digest

SERVICES = ("ledger", "executor", "exit_scanner", "state_publisher", "market_feed", "bus")
ACCOUNTS = ("main", "alt", "demo")
PATIENCE_S = 60.0


@dataclass
class Report:
    """What happened."""

    faults: Counter[str] = field(default_factory=Counter)
    recovery_ms: list[int] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    intents: int = 0

    def document(self) -> dict[str, Any]:
        times = sorted(self.recovery_ms)
        return {
            "faults": dict(self.faults),
            "intents_by_hand": self.intents,
            "counts": self.counts,
            "recovery_to_armed_ms": {
                "n": len(times),
                "p50": percentile(times, 0.5),
                "p99": percentile(times, 0.99),
                "max": times[-1] if times else None,
            },
            "violations": self.violations,
        }


def percentile(ordered: list[int], share: float) -> int | None:
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else None


class World:
    """One `holdfast up` in a directory of its own."""

    def __init__(self, directory: Path, feed: str, seed: int) -> None:
        self.directory, self.random, self.report = directory, random.Random(seed), Report()
        root = Path(__file__).resolve().parents[2]
        self.log = (directory.parent / f"{directory.name}.log").open("wb")
        environment = os.environ | {
            "PYTHONPATH": f"{root / 'libs'}:{root}",
            "HOLDFAST_ACCOUNTS": ",".join(ACCOUNTS),
            "HOLDFAST_FEED_SPEC": feed,
        }
        self.up = subprocess.Popen(
            [sys.executable, "-m", "holdfast.cli.main", "up", "--dir", str(directory), "--demo", "--feed", feed],
            cwd=root, env=environment, stdout=self.log, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
        wait((directory / "bus" / "port").exists, "the bus")
        self.redis = Redis(
            port=int((directory / "bus" / "port").read_text().split()[0]),
            decode_responses=True,
            socket_timeout=5,
        )
        self._copies: list[Path] = []

    # -- looking ----------------------------------------------------------------------------------------------------

    def beats(self) -> dict[str, dict[str, Any]]:
        """The newest heartbeat of each service; empty while the bus is down."""
        try:
            rows = self.redis.xrevrange(streams.HEARTBEAT.name, count=60)
        except (RedisError, OSError):
            return {}
        found: dict[str, dict[str, Any]] = {}
        for _, fields in rows:
            beat = json.loads(fields["body"])
            found.setdefault(beat["service"], beat)
        return found

    def is_armed(self, since_ms: int) -> bool:
        """All services have beaten since, the scanner has armed every position the ledger knows, nobody distrusts a source."""
        beats = self.beats()
        needed = ("ledger", "executor", "exit_scanner", "state_publisher", "market_feed")
        if any(name not in beats or beats[name]["at"] < since_ms for name in needed):
            return False
        ledger, scanner = beats["ledger"], beats["exit_scanner"]
        if any(beats[name].get("unreadable") for name in needed) or scanner.get("unarmed"):
            return False
        return (
            scanner.get("armed") is not None
            and scanner.get("armed_through", -1) >= 0
            and abs(ledger["seq"] - scanner["armed_through"]) < 50
            and scanner["armed"] == int(scanner["details"]["positions"])
        )

    def pid(self, service: str) -> int | None:
        try:
            return int(json.loads((self.directory / "run" / f"{service}.json").read_text())["pid"])
        except (OSError, ValueError, KeyError):
            return None

    # -- faults -----------------------------------------------------------------------------------------------------

    def kill(self, service: str) -> None:
        pid = self.pid(service)
        if pid is None:
            return
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            return
        self.report.faults[f"kill -9 {service}"] += 1

    def wipe(self) -> None:
        try:
            self.redis.flushall()
        except (RedisError, OSError):
            return
        self.report.faults["wiped Redis"] += 1

    def copy_bus(self) -> None:
        """Keep what the bus has on disk now, to rewind to."""
        target = self.directory.parent / f"{self.directory.name}-bus-{len(self._copies)}"
        shutil.copytree(self.directory / "bus" / "appendonlydir", target)
        self._copies.append(target)

    def rewind(self) -> None:
        """Bring the bus back to an earlier moment: its append-only files are replaced while it is down."""
        pid = self.pid("bus")
        if not self._copies or pid is None:
            return
        os.kill(self.up.pid, signal.SIGSTOP)
        try:
            os.kill(pid, signal.SIGKILL)
            wait(lambda: not alive(pid), "the bus to end")
            folder = self.directory / "bus" / "appendonlydir"
            shutil.rmtree(folder)
            shutil.copytree(self._copies[-1], folder)
        finally:
            os.kill(self.up.pid, signal.SIGCONT)
        self.report.faults["rewound Redis"] += 1

    def noise(self) -> None:
        """Intents of a second producer, on another account: entries, opposite entries, closes, repeats of the same id."""
        kind = self.random.random()
        body: dict[str, Any] = {
            "symbol": "BTC/USDT:USDT",
            "account": "alt",
            "quantity": str(self.random.choice(["0.01", "0.02", "0.005"])),
        }
        if kind < 0.35:
            body |= {"side": "buy", "stop_loss": "0.4%", "take_profit": "0.4%"}
        elif kind < 0.7:
            body |= {"side": "sell", "stop_loss": "0.4%", "take_profit": "0.4%"}
        else:
            body = {"action": "close", "symbol": "BTC/USDT:USDT", "account": "alt"}
        body["id"] = f"noise-{self.report.intents}"
        try:
            for _ in range(2 if self.random.random() < 0.2 else 1):
                self.redis.xadd(streams.ORDER_INTENT.name, {"body": json.dumps(body)})
        except (RedisError, OSError):
            return
        self.report.intents += 1

    def stop(self) -> None:
        if self.up.poll() is None:
            self.up.send_signal(signal.SIGTERM)
            self.up.wait(30)
        self.log.close()


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def wait(condition: Callable[[], bool], what: str, seconds: float = PATIENCE_S) -> int:
    """Until *condition*; returns the time it took, ms. Raises TimeoutError."""
    started = time.monotonic()
    while not condition():
        if time.monotonic() - started > seconds:
            raise TimeoutError(f"waited {seconds} s for {what}")
        time.sleep(0.02)
    return int((time.monotonic() - started) * 1000)


# -- judging -----------------------------------------------------------------------------------------------------------


def judge(directory: Path, report: Report, log: str) -> None:
    """Compare the stopped ledger with the paper records, row by row; nothing here uses the domain's own code."""
    ledger = sqlite3.connect(directory / "ledger" / "ledger.db")
    recorded: dict[tuple[str, str, str], Counter[str]] = {}
    applied = Counter[tuple[str, str, str]]()
    for (body,) in ledger.execute("SELECT body FROM updates ORDER BY seq"):
        document = json.loads(body)
        for fill in document.get("fills", ()):
            applied[fill["account"], fill["symbol"], fill["trade_id"]] += 1
        for row in document.get("positions", ()):
            if float(row["quantity"]) > 0 and not (row.get("stop_loss") and row.get("take_profit")):
                report.violations.append(f"INV-2: {row['position_id']} was bare in update {document['seq']}")
        for row in document.get("intents", ()):
            recorded.setdefault(("intent", row["intent_id"], ""), Counter())[row["status"]] += 1
    for (_, intent, _), statuses in recorded.items():
        ends = [status for status in statuses.elements() if status not in {"accepted", "unknown"}]
        if len(ends) > 1:
            report.violations.append(f"INV-4: intent {intent} has the ends {ends}")
    report.counts |= {
        "updates": ledger.execute("SELECT count(*) FROM updates").fetchone()[0],
        "fills": sum(applied.values()),
    }
    report.counts |= {
        "trades": ledger.execute("SELECT count(*) FROM trades").fetchone()[0],
        "open": ledger.execute("SELECT count(*) FROM positions").fetchone()[0],
    }
    report.violations += [f"fill {key} applied {count} times" for key, count in applied.items() if count > 1]
    held = {
        (account, symbol): signed(side, quantity)
        for account, symbol, side, quantity in ledger.execute(
            "SELECT b.account, b.symbol, p.side, p.quantity FROM positions p JOIN books b USING (book_id)"
        )
    }
    for account in ACCOUNTS:
        _compare(directory / "paper" / f"{account}.db", account, applied, held, report)
    if "submitted twice" in log:
        report.violations.append("an order was submitted twice")
    if "INV-" in log and "InvariantViolation" in log:
        report.violations.append("a service met an invariant violation")


def signed(side: str, quantity: str) -> float:
    return float(quantity) if side == "long" else -float(quantity)


def _compare(
    path: Path,
    account: str,
    applied: "Counter[tuple[str, str, str]]",
    held: dict[tuple[str, str], float],
    report: Report,
) -> None:
    if not path.exists():
        return
    paper = sqlite3.connect(path)
    paper.row_factory = sqlite3.Row
    trades = [dict(row) for row in paper.execute("SELECT * FROM trades")]
    numbers = {f"p{row['number']}": row for row in trades}
    ours = {key[2] for key in applied if key[0] == account}
    report.counts[f"paper trades {account}"] = len(trades)
    report.violations += [
        f"{account}: paper trade {name} is missing in the ledger" for name in sorted(set(numbers) - ours)
    ]
    report.violations += [
        f"{account}: fill {name} is not in the paper record" for name in sorted(ours - set(numbers))
    ]
    position: dict[str, float] = {}
    for row in trades:
        position[row["symbol"]] = position.get(row["symbol"], 0.0) + (
            1 if row["side"] == "buy" else -1
        ) * float(row["quantity"])
    for symbol, quantity in position.items():
        if abs(quantity - held.get((account, symbol), 0.0)) > 1e-12:
            report.violations.append(
                f"{account} {symbol}: the venue holds {quantity}, the ledger {held.get((account, symbol), 0.0)}"
            )


async def chaos(world: World, *, kills: int, wipes: int, rewinds: int, pause_s: float) -> None:
    """Spread the faults at random, one after the other; measure each recovery."""
    plan = (
        [lambda: world.kill(world.random.choice(SERVICES))] * kills
        + [world.wipe] * wipes
        + [world.rewind] * rewinds
    )
    world.random.shuffle(plan)
    wait(lambda: world.is_armed(0), "the first light")
    world.copy_bus()
    for number, fault in enumerate(plan):
        for _ in range(3):
            world.noise()
            await asyncio.sleep(world.random.random() * pause_s)
        if number % 10 == 5:
            world.copy_bus()
        at = int(time.time() * 1000)
        fault()
        if world.random.random() < 0.8:  # the others meet the next fault while they still recover
            try:
                world.report.recovery_ms.append(wait(lambda at=at: world.is_armed(at), "all positions armed"))
            except TimeoutError as error:
                world.report.violations.append(
                    f"after fault {number}: {error}: {json.dumps(world.beats())[:1500]}"
                )
                return
    wait(lambda: world.is_armed(int(time.time() * 1000) - 3000), "all positions armed at the end")
    await asyncio.sleep(5)


def main() -> int:
    """Run, judge, print."""
    arguments = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    arguments.add_argument("--feed", default="synthetic?seed=3&interval_ms=50")
    arguments.add_argument("--kills", type=int, default=10)
    arguments.add_argument("--wipes", type=int, default=1)
    arguments.add_argument("--rewinds", type=int, default=1)
    arguments.add_argument("--seed", type=int, default=1)
    arguments.add_argument(
        "--pause", type=float, default=0.3, help="longest pause between two intents by hand, s"
    )
    arguments.add_argument("--dir", type=Path)
    given = arguments.parse_args()
    directory = given.dir or Path(tempfile.mkdtemp()) / "chaos"
    world = World(directory, given.feed, given.seed)
    try:
        asyncio.run(
            chaos(world, kills=given.kills, wipes=given.wipes, rewinds=given.rewinds, pause_s=given.pause)
        )
    finally:
        world.stop()
    log = (directory.parent / f"{directory.name}.log").read_text(errors="replace")
    judge(directory, world.report, log)
    document = world.report.document() | {
        "seed": given.seed,
        "feed": digest(given.feed)[:8],
        "directory": directory.name,
    }
    sys.stdout.write(json.dumps(document, indent=1) + "\n")
    return 1 if world.report.violations else 0


if __name__ == "__main__":
    sys.exit(main())
