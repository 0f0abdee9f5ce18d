"""`make bench`: every figure of the speed table as a ratio taken in one run, a table, and a plot.

    python -m benchmarks.run [--quick] [--only NAME,...] [--out docs/benchmarks]

Absolute times on a shared machine mean nothing; the floor (`floor.py`: the same hops and the same durability, with
nothing on them) runs against the same server, in turn with Holdfast, and the ratio of each pair is what counts.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import redis

from benchmarks import inside, pipeline
from benchmarks.plot import plot
from holdfast.runtime.embedded_bus import embedded

Row = dict[str, object]


def throughput(url: str, *, quick: bool, names: tuple[str, ...], label: str) -> list[Row]:
    """Rows 1 and 2: rounds of floor and Holdfast in turn."""
    intents, probes, rounds = (5_000, 60, 1) if quick else (20_000, 200, 3)
    client = redis.Redis.from_url(url, protocol=2)
    pairs, latencies, rates, floors = [], [], [], []
    for round_number in range(rounds):
        base = pipeline.floor(url, intents, probes)
        client.flushdb()
        with pipeline.services(url, names):
            market = pipeline.Market(url, 0.5)
            taken = pipeline.one_in_flight(client, market, probes)
            market.stop()
            market = pipeline.Market(url, 0.1)
            seconds = pipeline.burst(client, intents, f"round{round_number}")
            market.stop()
        client.flushdb()
        median = taken[len(taken) // 2]
        pairs.append(intents / seconds / base["intents_per_s"])
        latencies.append(median / base["latency_us_p50"])
        rates.append(round(intents / seconds))
        floors.append(base)
        print(
            f"  {label} round {round_number}: {rates[-1]}/s, p50 {median:.0f} us; floor {base}",
            file=sys.stderr,
        )
    return [
        row(
            "intents per second, intent to durable position" + label,
            statistics.median(pairs),
            ">= 0.25",
            ">= 0.5",
            ratios=pairs,
            rates=rates,
            floor=floors,
        ),
        row(
            "latency, one intent in flight, p50" + label,
            statistics.median(latencies),
            "<= 4",
            "<= 2.5",
            ratios=latencies,
            floor=floors,
        ),
    ]


def stop_in_a_burst(url: str, *, quick: bool) -> list[Row]:
    """Row 3: a stop while entry intents queue up, against the same when nothing else happens."""
    count, probes = (10_000, 4) if quick else (100_000, 12)
    client = redis.Redis.from_url(url, protocol=2)
    client.flushdb()
    with pipeline.services(url):
        market = pipeline.Market(url, 0.05)
        idle = [pipeline.stop_latency(client, market, f"idle-{number}", number) for number in range(probes)]
        for number in range(probes):
            pipeline.stop_latency_prepare(client, market, f"busy-{number}", 1000 + number)
        pipe = client.pipeline(transaction=False)
        for number in range(count):
            pipe.xadd(pipeline.INTENT, pipeline.intent(f"burst-{number}", number))
            if number % 1000 == 999:
                pipe.execute()
        busy = [pipeline.stop_latency_cross(client, market, 1000 + number) for number in range(probes)]
        left = int(client.xinfo_groups(pipeline.INTENT)[0]["lag"] or 0)
        market.stop()
    client.flushdb()
    return [
        row(
            "a stop during a burst of entry intents, against idle",
            statistics.median(busy) / statistics.median(idle),
            "<= 10",
            "<= 5",
            idle_ms=idle,
            busy_ms=busy,
            still_queued=left,
            burst=count,
        )
    ]


def row(what: str, ratio: float, first: str, goal: str, **details: object) -> Row:
    bound = float(first.split()[1])
    reached = ratio >= bound if first.startswith(">=") else ratio <= bound
    return {
        "what": what,
        "ratio": round(ratio, 3),
        "first": first,
        "goal": goal,
        "first_reached": reached,
        "details": details,
    }


PARTS: dict[str, Callable[..., list[Row]]] = {
    "core": lambda url, quick: throughput(url, quick=quick, names=pipeline.CORE, label=""),
    "everything": lambda url, quick: throughput(
        url, quick=quick, names=pipeline.EVERYTHING, label=", everything running"
    ),
    "stop": lambda url, quick: stop_in_a_burst(url, quick=quick),
    "ticks": lambda url, quick: inside.ticks(quick=quick),  # noqa: ARG005
    "rules": lambda url, quick: inside.ticks_with_every_rule(quick=quick),  # noqa: ARG005
    "arming": lambda url, quick: inside.arming(quick=quick),  # noqa: ARG005
    "check": lambda url, quick: inside.check(quick=quick),  # noqa: ARG005
    "history": lambda url, quick: inside.history(quick=quick),  # noqa: ARG005
}


def main() -> None:
    """Run the parts, print the table, write JSON and plot."""
    arguments = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    arguments.add_argument(
        "--quick", action="store_true", help="small numbers: shows that it runs, its figures mean little"
    )
    arguments.add_argument("--only", default=",".join(PARTS))
    arguments.add_argument("--out", type=Path)
    given = arguments.parse_args()
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as folder, embedded(Path(folder)) as url:
        for name in given.only.split(","):
            started = time.perf_counter()
            rows += PARTS[name](url, given.quick)
            print(f"{name}: {time.perf_counter() - started:.0f} s", file=sys.stderr)
    print(table(rows))
    if given.out:
        given.out.mkdir(parents=True, exist_ok=True)
        (given.out / "results.json").write_text(json.dumps(rows, indent=1) + "\n")
        (given.out / "results.md").write_text(table(rows) + "\n")
        (given.out / "plot.svg").write_text(plot(rows))


def table(rows: list[Row]) -> str:
    """As Markdown."""
    lines = ["| what | measured | first | goal | first reached |", "|---|---|---|---|---|"]
    lines += [
        f"| {entry['what']} | {entry['ratio']} | {entry['first']} | {entry['goal']} | {'yes' if entry['first_reached'] else 'NO'} |"
        for entry in rows
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
