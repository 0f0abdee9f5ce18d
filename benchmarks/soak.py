"""`make soak`: an hour at half of the highest rate; does anything grow that should not?

    python -m benchmarks.soak [--minutes 60] [--rate INTENTS_PER_S] [--out docs/benchmarks]

First the highest rate is measured on the machine as busy as it is; then half of it is sent evenly, every service running,
while memory, file handles, lag and stream lengths are read every 10 s. Most streams fill up to a bound first (`market.tick`
20,000 entries, finished work an hour or 20,000, …), so a straight line is fitted through the second half of the time only.
What was measured is kept as JSON lines beside the report: `--plot FILE` draws it again.
"""

import argparse
import json
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path

import redis

from benchmarks import gauges, pipeline
from benchmarks.plot import lines
from benchmarks.traffic import Ends, Traffic, maximum, wait_for_ends
from holdfast.runtime.embedded_bus import embedded

ACCOUNTS = tuple(f"soak{number}" for number in range(8))
EVERY_S, ROUND_S = 10.0, 0.05
Sample = dict[str, float]


def soak(url: str, *, minutes: float, rate: float | None, keep: Path) -> list[Sample]:
    """Run it; every sample is appended to *keep* as soon as it is taken."""
    client = redis.Redis.from_url(url, protocol=2)
    data = keep.parent / "soak-data"
    more = {"HOLDFAST_ACCOUNTS": ",".join(("main", *ACCOUNTS)), "HOLDFAST_DIR": str(data)}
    with pipeline.services(url, pipeline.EVERYTHING, more) as running:
        market = pipeline.Market(url, 0.25)
        pids = {name: process.pid for name, process in running.items()}
        pids["bus"] = client.info("server")["process_id"]
        highest = rate * 2 if rate else maximum(client, url, ACCOUNTS, 30)
        say(f"highest rate {highest:.0f} intents/s; sending {highest / 2:.0f} for {minutes:g} minutes")
        samples = _send(client, url, highest / 2, minutes * 60, pids, keep)
        market.stop()
    shutil.rmtree(data)
    return samples


def _send(
    client: "redis.Redis[bytes]", url: str, rate: float, seconds: float, pids: dict[str, int], keep: Path
) -> list[Sample]:
    traffic, ends, samples = Traffic(client, "soak", ACCOUNTS), Ends(url, "soak"), []
    started, next_sample = time.perf_counter(), 0.0
    while (passed := time.perf_counter() - started) < seconds:
        due = int(passed * rate) - traffic.sent
        if due > 0:
            traffic.send(min(due, 1000))
        if passed >= next_sample:
            next_sample += EVERY_S
            samples.append(
                {"at": round(passed, 1), "sent": traffic.sent, "ends": ends.count, "rate": rate}
                | {"load of the machine": os.getloadavg()[0]}
                | {"store on disk, MB": gauges.on_disk_mb(keep.parent / "soak-data" / "ledger")}
                | gauges.sample(client, pids)
            )
            ends.forget()
            with keep.open("a") as file:
                file.write(json.dumps(samples[-1]) + "\n")
        time.sleep(ROUND_S)
    late = wait_for_ends(traffic, ends, 300)
    ends.stop()
    say(
        f"{traffic.sent} sent, {ends.count} ended, the last {late:.1f} s after the end: {dict(ends.by_status)}"
    )
    return samples


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


# -- the report --------------------------------------------------------------------------------------------------------


HEAD = """# Soak: half of the highest rate, for long

Written by `make soak` ([benchmarks/soak.py](../../benchmarks/soak.py)). First the highest rate was measured, on the machine as busy as it was: {highest} intents/s;
then half of it was sent evenly for {minutes} minutes with every service running: {sent} intents, {ended} of them ended when the last sample was taken. Half of them
open a position, half close one, over eight accounts and fifty symbols. A straight line is fitted through the second half of the time.

What may grow, and does: the store, which keeps every update. Streams grow to their bounds (`market.tick` 20,000 and `heartbeat` and `ledger.trade` 10,000 entries, `intent.result`
100,000; finished work an hour or 20,000 entries), so the longest take most of an hour to reach theirs. The executor's memory rises until the page caches of its nine records are full (2 MB each, 19 MB measured) and until it
remembers 50,000 confirmed fills (153 bytes each, 8 MB).

![soak](soak.svg)

"""


def page(samples: list[Sample]) -> str:
    """As Markdown: what was done, the plot, the table."""
    last = samples[-1]
    numbers = {
        "highest": 2 * last["rate"],
        "minutes": last["at"] / 60,
        "sent": last["sent"],
        "ended": last["ends"],
    }
    return HEAD.format(**{name: f"{value:,.0f}" for name, value in numbers.items()}) + table(samples) + "\n"


def table(samples: list[Sample]) -> str:
    """Of each figure: at the start, in the middle, at the end, the most, and the slope of the second half."""
    half = samples[len(samples) // 2 :]
    rows = [
        "| figure | start | half-time | end | most | slope of the second half, per hour |",
        "|---|---|---|---|---|---|",
    ]
    for name in samples[0]:
        if name in {"at", "sent", "ends", "rate"} or name.startswith("cpu ") or not samples[-1][name]:
            continue
        values = [entry[name] for entry in samples]
        steep = gauges.slope([(entry["at"], entry[name]) for entry in half]) * 3600
        cells = [values[0], values[len(values) // 2], values[-1], max(values), steep]
        rows.append(f"| {name} | " + " | ".join(number(cell) for cell in cells) + " |")
    return "\n".join(rows)


def number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.2f}".rstrip("0").rstrip(".")


def picture(samples: list[Sample]) -> str:
    """Memory, lag, handles and stream lengths over time."""
    at = [entry["at"] / 60 for entry in samples]

    def panel(title: str, prefix: str) -> tuple[str, dict[str, list[float]]]:
        names = [name for name in samples[0] if name.startswith(prefix) and max(s[name] for s in samples)]
        return title, {
            name.removeprefix(prefix).strip() or name: [s[name] for s in samples] for name in names
        }

    panels = [
        panel("resident memory, MB", "memory "),
        panel("entries not yet finished with (lag and pending)", "lag"),
        panel("open file handles", "handles "),
        panel("entries per stream", "length "),
    ]
    return lines(
        f"{samples[-1]['at'] / 60:.0f} minutes at {samples[0]['rate']:.0f} intents/s", at, panels, "minutes"
    )


def main() -> None:
    arguments = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    arguments.add_argument("--minutes", type=float, default=60)
    arguments.add_argument(
        "--rate", type=float, help="intents per second to send; half of the measured maximum else"
    )
    arguments.add_argument("--out", type=Path, default=Path("docs/benchmarks"))
    arguments.add_argument("--plot", type=Path, help="only draw what an earlier run has kept in this file")
    given = arguments.parse_args()
    keep = given.plot or given.out / "soak.jsonl"
    if given.plot is None:
        given.out.mkdir(parents=True, exist_ok=True)
        keep.write_text("")
        with tempfile.TemporaryDirectory() as folder, embedded(Path(folder)) as url:
            soak(url, minutes=given.minutes, rate=given.rate, keep=keep)
    samples = [json.loads(line) for line in keep.read_text().splitlines()]
    (given.out / "soak.md").write_text(page(samples))
    (given.out / "soak.svg").write_text(picture(samples))
    print(table(samples))


if __name__ == "__main__":
    main()
