"""`make load`: more than Holdfast can take at once. Is memory bounded, does everybody wait, is every intent answered?

    python -m benchmarks.load [--intents 100000] [--only burst,consumer,disk,full] [--out docs/benchmarks]

- burst: that many intents at once, waited out to the last answer
- consumer: the executor stands still (SIGSTOP) for 30 s while producers go on
- disk: the ledger's writes are held down to `SLOW_WRITES` a second for 60 s (cgroup; else it is stopped 4/5 of the time)
- full: the bus reaches 70 % of its memory, then all of it: entries are refused, exits pass, then producers are refused, too

In every part each intent that the bus took must come to exactly one end. Each part runs services and bus of its own.
"""

import argparse
import json
import os
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import redis

from benchmarks import gauges, pipeline
from benchmarks.plot import lines
from benchmarks.traffic import Ends, Traffic, wait_for_ends
from holdfast.runtime.embedded_bus import embedded

ACCOUNTS = tuple(f"load{number}" for number in range(8))
SAMPLE_S = 0.5
SLOW_WRITES = 50
PATIENCE_S = 3600
CGROUPS = (("/sys/fs/cgroup/blkio", "blkio.throttle.write_iops_device", "{device} {rate}"), ("/sys/fs/cgroup", "io.max", "{device} wiops={rate}"))  # fmt: skip


@dataclass
class Rig:
    """Services and bus of one part, and what was seen of them."""

    url: str
    client: "redis.Redis[bytes]"
    pids: dict[str, int]
    folder: Path
    ends: Ends
    traffic: Traffic
    samples: list[dict[str, float]] = field(default_factory=list)
    before: dict[str, float] = field(default_factory=dict)
    lost: int = 0
    """Intents that the bus refused to take: its producer was told."""

    def watch(self, stopping: threading.Event) -> None:
        started = time.perf_counter()
        while not stopping.wait(SAMPLE_S):
            sample = gauges.sample(self.client, self.pids)
            self.samples.append({"at": time.perf_counter() - started, "ends": self.ends.count} | sample)

    def send_for(self, seconds: float, rate: float, accounts_only: Callable[[], None] | None = None) -> None:
        """*rate* intents per second for *seconds*; what the bus refuses is counted and not sent again."""
        started, due_from = time.perf_counter(), self.traffic.sent
        while (passed := time.perf_counter() - started) < seconds:
            due = due_from + int(passed * rate) - self.traffic.sent - self.lost
            if due > 0:
                try:
                    self.traffic.send(due)
                except redis.exceptions.OutOfMemoryError:
                    self.lost += due
            if accounts_only is not None:
                accounts_only()
            time.sleep(0.05)


@contextmanager
def rig(name: str) -> Iterator[Rig]:
    with tempfile.TemporaryDirectory() as folder, embedded(Path(folder)) as url:
        client = redis.Redis.from_url(url, protocol=2)
        data = Path(folder) / "data"
        more = {"HOLDFAST_ACCOUNTS": ",".join(("main", *ACCOUNTS)), "HOLDFAST_DIR": str(data)}
        with pipeline.services(url, pipeline.EVERYTHING, more) as running:
            market, stopping = pipeline.Market(url, 0.25), threading.Event()
            pids = {service: process.pid for service, process in running.items()}
            pids["bus"] = client.info("server")["process_id"]
            one = Rig(url, client, pids, data, Ends(url, name), Traffic(client, name, ACCOUNTS))
            for pid in pids.values():
                gauges.forget_peak(pid)
            one.before = {service: gauges.resident_mb(pid) for service, pid in pids.items()}
            watching = threading.Thread(target=one.watch, args=(stopping,), daemon=True)
            watching.start()
            try:
                yield one
            finally:
                stopping.set()
                watching.join()
                market.stop()
                one.ends.stop()


def result(one: Rig, **more: Any) -> dict[str, Any]:
    """What a part shows: nothing lost, nothing twice, memory, the longest streams."""
    memory = {
        service: [
            round(one.before[service], 1),
            round(gauges.peak_mb(pid), 1),
            round(gauges.resident_mb(pid), 1),
        ]
        for service, pid in one.pids.items()
    }
    longest = {
        name.removeprefix("length "): int(max(sample[name] for sample in one.samples))
        for name in one.samples[0]
        if name.startswith("length ")
    }
    return {
        "sent": one.traffic.sent, "ended": one.ends.count, "ended twice": len(one.ends.twice), "without an end": one.traffic.sent - one.ends.count,
        "refused by the bus": one.lost, "ends": dict(one.ends.by_status.most_common()), "most waiting": int(max(sample["lag"] for sample in one.samples)),
        "bus used at most, MB": round(max(sample["bus used"] for sample in one.samples), 1),
        "memory before, peak, after, MB": memory, "longest streams": {name: count for name, count in longest.items() if count > 1000},
    } | more  # fmt: skip


# -- the parts ---------------------------------------------------------------------------------------------------------


def burst(intents: int) -> tuple[dict[str, Any], list[dict[str, float]]]:
    with rig("burst") as one:
        started = time.perf_counter()
        while one.traffic.sent < intents:
            one.traffic.send(min(1000, intents - one.traffic.sent))
        published = time.perf_counter() - started
        wait_for_ends(one.traffic, one.ends, PATIENCE_S)
        taken = time.perf_counter() - started
        time.sleep(12)  # what is finished with is trimmed each 10 s
        about = {
            "published in, s": round(published, 1),
            "all answered after, s": round(taken, 1),
            "intents per s": round(intents / taken),
        }
        return result(one, **about), one.samples


def consumer(rate: float) -> tuple[dict[str, Any], list[dict[str, float]]]:
    with rig("consumer") as one:
        one.send_for(10, rate)
        os.kill(one.pids["executor"], signal.SIGSTOP)
        try:
            one.send_for(30, rate)
        finally:
            os.kill(one.pids["executor"], signal.SIGCONT)
        one.send_for(20, rate)
        drained = wait_for_ends(one.traffic, one.ends, PATIENCE_S)
        return result(
            one,
            rate=rate,
            **{"executor stood still, s": 30, "last answer after the last intent, s": round(drained, 1)},
        ), one.samples


def disk(rate: float) -> tuple[dict[str, Any], list[dict[str, float]]]:
    with rig("disk") as one:
        one.send_for(10, rate)
        with slow_disk(one.pids["ledger"], one.folder) as how:
            one.send_for(60, rate)
        one.send_for(10, rate)
        drained = wait_for_ends(one.traffic, one.ends, PATIENCE_S)
        return result(
            one,
            rate=rate,
            how=how,
            **{"slow for, s": 60, "last answer after the last intent, s": round(drained, 1)},
        ), one.samples


@contextmanager
def slow_disk(pid: int, folder: Path) -> Iterator[str]:
    """Few writes a second for one process, by whichever cgroup there is; else by stopping it 4/5 of the time. Says which."""
    number = folder.stat().st_dev
    for root, name, words in CGROUPS:
        group = Path(root) / f"holdfast-load-{os.getpid()}"
        try:
            group.mkdir()
            (group / name).write_text(
                words.format(device=f"{os.major(number)}:{os.minor(number)}", rate=SLOW_WRITES)
            )
            (group / "cgroup.procs").write_text(str(pid))
        except OSError:
            if group.exists():
                group.rmdir()
            continue
        try:
            yield f"{name}: {SLOW_WRITES} writes/s"
        finally:
            (Path(root) / "cgroup.procs").write_text(str(pid))
            group.rmdir()
        return
    stopping = threading.Event()
    thread = threading.Thread(target=_stutter, args=(pid, stopping), daemon=True)
    thread.start()
    try:
        yield "stopped 0.2 s of every 0.25 s (no cgroup for writes here)"
    finally:
        stopping.set()
        thread.join()


def _stutter(pid: int, stopping: threading.Event) -> None:
    while not stopping.wait(0.05):
        os.kill(pid, signal.SIGSTOP)
        try:
            stopping.wait(0.2)
        finally:
            os.kill(pid, signal.SIGCONT)


def full(rate: float) -> tuple[dict[str, Any], list[dict[str, float]]]:
    """The limit is lowered onto what is used, rather than the bus filled up: the same for everybody who writes to it."""
    with rig("full") as one:
        one.send_for(15, rate)
        limit = one.client.config_get("maxmemory")["maxmemory"]
        phases: dict[str, Any] = {}
        for name, share in (("80 % full", 0.8), ("wholly full", 1.0), ("80 % full again", 0.8)):
            before, refused = dict(one.ends.by_status), one.lost
            one.client.config_set("maxmemory", int(gauges.used_mb(one.client) * 1e6 / share))
            one.send_for(10, rate, lambda share=share: _keep(one, share))
            phases[name] = {"refused by the bus": one.lost - refused} | {
                status: count - before.get(status, 0) for status, count in one.ends.by_status.items() if count > before.get(status, 0)
            }  # fmt: skip
        one.client.config_set("maxmemory", limit)
        one.send_for(10, rate)
        drained = wait_for_ends(one.traffic, one.ends, PATIENCE_S)
        return result(
            one, rate=rate, phases=phases, **{"last answer after the last intent, s": round(drained, 1)}
        ), one.samples


def _keep(one: Rig, share: float) -> None:
    """The limit follows what is used, so that the share stays: streams are trimmed and grow meanwhile."""
    if share < 1:
        one.client.config_set("maxmemory", int(gauges.used_mb(one.client) * 1e6 / share))


# -- the report --------------------------------------------------------------------------------------------------------


HEAD = """# Load: more than it can take at once

Written by `make load` ([benchmarks/load.py](../../benchmarks/load.py)). Every service runs, on a bus and a store of its own; half of the intents open
a position, half close one, over eight accounts and fifty symbols. Absolute figures are those of the machine and of what else ran on it; what counts is
that memory comes to a bound, that everybody waits for who is slower, and that every intent which the bus took has exactly one end.
Half of the highest rate for long: [soak.md](soak.md).
"""
WHAT = {
    "burst": "That many intents at once, waited out to the last answer. Entries wait in `order.intent`, because the executor has at most two rounds of 25 outstanding; so nothing behind it grows.",
    "consumer": "The executor stands still (SIGSTOP) for 30 s while producers go on: what they send waits on the bus.",
    "disk": "The ledger's disk takes few writes a second for a minute. Its batches grow to what has come meanwhile, so that one slow commit carries more.",
    "full": "The bus's limit is lowered onto what it uses: from 70 % on the executor refuses entries (`bus_full`) and closes pass; at 100 % the bus refuses its producers, and the services wait, holding what they have.",
}


def page(found: dict[str, dict[str, Any]]) -> str:
    """As Markdown: each part with what it is, a plot, what came of it, and memory."""
    out = [HEAD]
    for name, part in sorted(found.items()):
        out += [f"## {name}", "", WHAT[name], "", f"![{name}](load-{name}.svg)", "", "| | |", "|---|---|"]
        for key, value in part.items():
            if key != "memory before, peak, after, MB":
                out.append(f"| {key} | {_told(value)} |")
        out += ["", "| memory, MB | before | peak | after |", "|---|---|---|---|"]
        memory = part["memory before, peak, after, MB"]
        out += [f"| {service} | {a} | {b} | {c} |" for service, (a, b, c) in memory.items()]
        out.append("")
    return "\n".join(out)


def _told(value: Any) -> str:
    if isinstance(value, dict):
        return "; ".join(f"{key}: {_told(inner)}" for key, inner in value.items())
    return f"{value:,}" if isinstance(value, int) else str(value)


def picture(title: str, samples: list[dict[str, float]]) -> str:
    at = [sample["at"] for sample in samples]

    def of(prefix: str, least: float = 0) -> dict[str, list[float]]:
        names = [
            name for name in samples[0] if name.startswith(prefix) and max(s[name] for s in samples) > least
        ]
        return {name.removeprefix(prefix) or name: [s[name] for s in samples] for name in names}

    panels = [("resident memory, MB", of("memory ")), ("entries waiting (lag and pending)", of("lag")), ("entries per stream", of("length ", 1000)), ("intents answered", of("ends"))]  # fmt: skip
    return lines(title, at, panels, "s")


def main() -> None:
    arguments = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    arguments.add_argument("--intents", type=int, default=100_000)
    arguments.add_argument("--rate", type=float, default=100, help="intents per second of the other parts")
    arguments.add_argument("--only", default="consumer,disk,full,burst")
    arguments.add_argument("--out", type=Path, default=Path("docs/benchmarks"))
    given = arguments.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    kept = given.out / "load.json"
    found = json.loads(kept.read_text()) if kept.exists() else {}
    parts = {"burst": lambda: burst(given.intents), "consumer": lambda: consumer(given.rate), "disk": lambda: disk(given.rate), "full": lambda: full(given.rate)}  # fmt: skip
    for name in given.only.split(","):
        started = time.perf_counter()
        found[name], samples = parts[name]()
        print(f"{name}: {time.perf_counter() - started:.0f} s: {found[name]}", file=sys.stderr, flush=True)
        kept.write_text(json.dumps(found, indent=1) + "\n")
        (given.out / f"load-{name}.svg").write_text(picture(name, samples))
        (given.out / "load.md").write_text(page(found))
    print(page(found))


if __name__ == "__main__":
    main()
