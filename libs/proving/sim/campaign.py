"""Many worlds: seeds side by side on all processors, summed into one report. The report does not depend on who ran what."""

import multiprocessing
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any

from holdfast.runtime.clock import Clock
from proving.sim.menu import KINDS
from proving.sim.run import Result, run_seed
from proving.sim.sometimes import SOMETIMES

ENOUGH_STEPS = 3_000_000
"""From so many steps on, a rare situation that was never reached is a failure of the simulator."""


@dataclass(slots=True)
class Report:
    """The figures of a campaign."""

    seeds: int = 0
    steps: int = 0
    checks: int = 0
    intents: int = 0
    trades: int = 0
    virtual_s: float = 0.0
    wall_s: float = 0.0
    faults: Counter[str] = field(default_factory=Counter)
    sometimes: Counter[str] = field(default_factory=Counter)
    crossed: Counter[str] = field(default_factory=Counter)
    killed: Counter[str] = field(default_factory=Counter)
    exits: Counter[str] = field(default_factory=Counter)
    recoveries: list[float] = field(default_factory=list)
    failed: list[Result] = field(default_factory=list)
    hashes: list[tuple[int, str]] = field(default_factory=list)

    def add(self, result: Result) -> None:
        self.seeds += 1
        self.steps += result.steps
        self.checks += result.checks
        self.intents += result.intents
        self.trades += result.trades
        self.virtual_s += result.virtual_s
        self.faults += result.counts
        self.sometimes += result.sometimes
        self.crossed.update(result.points.crossed)
        self.killed.update(result.points.killed)
        self.exits.update(result.exits)
        self.recoveries += result.recoveries
        self.hashes.append((result.seed, result.hash))
        if not result.is_clean:
            self.failed.append(result)

    @property
    def hash(self) -> str:
        """Over the trace hashes of all seeds, in the order of the seeds."""
        whole = blake2b(digest_size=16)
        for seed, text in sorted(self.hashes):
            whole.update(f"{seed} {text}\n".encode())
        return whole.hexdigest()

    @property
    def never(self) -> list[str]:
        """Rare situations that were not reached."""
        return [name for name in SOMETIMES if not self.sometimes[name]]

    @property
    def is_good(self) -> bool:
        return not self.failed and not (self.steps >= ENOUGH_STEPS and self.never)

    def recovery_s(self, share: float) -> float | None:
        """The time from a death to everything armed again that this share of them did not exceed, virtual s."""
        ordered = sorted(self.recoveries)
        return round(ordered[min(len(ordered) - 1, int(share * len(ordered)))], 3) if ordered else None

    def as_fields(self) -> dict[str, Any]:
        """For programs."""
        return {
            "seeds": self.seeds,
            "steps": self.steps,
            "virtual_hours": round(self.virtual_s / 3600, 3),
            "wall_s": round(self.wall_s, 1),
            "steps_per_s": round(self.steps / self.wall_s) if self.wall_s else None,
            "intents": self.intents,
            "trades": self.trades,
            "checks": self.checks,
            "faults": {kind: self.faults[kind] for kind in KINDS},
            "faults_total": self.faults.total(),
            "points": {"covered": len(self.killed), "total": len(self.crossed)},
            "points_not_covered": sorted(self.crossed.keys() - self.killed.keys()),
            "sometimes": {name: self.sometimes[name] for name in SOMETIMES},
            "never": self.never,
            "exits": dict(sorted(self.exits.items())),
            "recovery_s": {
                "count": len(self.recoveries),
                "p50": self.recovery_s(0.5),
                "p99": self.recovery_s(0.99),
                "longest": self.recovery_s(1.0),
            },
            "violations": [
                {"seed": result.seed, "found": [str(one) for one in result.violations[:5]]}
                for result in sorted(self.failed, key=lambda one: one.seed)
            ],
            "hash": self.hash,
        }


def _one(seed: int, steps: int) -> Result:
    result = run_seed(seed, steps)
    result.lines, result.story = [], result.story[-60:]
    return result


def run(
    seeds: Sequence[int],
    steps: int,
    clock: Clock,
    *,
    jobs: int,
    seconds: float | None = None,
    tell: Callable[[Report, Result], None] = lambda _report, _result: None,
) -> Report:
    """Run all *seeds*; with *seconds*, none is begun after that time. *tell* hears of each."""
    report, began = Report(), clock.monotonic_ms()
    late = None if seconds is None else began + int(seconds * 1000)
    left = iter(seeds)
    if jobs == 1:
        for seed in _while_early(left, clock, late):
            result = _one(seed, steps)
            report.add(result)
            tell(report, result)
    else:
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(jobs, mp_context=context) as pool:
            _share(pool, _while_early(left, clock, late), steps, jobs, lambda done: _took(report, done, tell))
    report.wall_s = (clock.monotonic_ms() - began) / 1000
    return report


def _while_early(seeds: Iterator[int], clock: Clock, late: int | None) -> Iterator[int]:
    for seed in seeds:
        if late is not None and clock.monotonic_ms() >= late:
            return
        yield seed


def _took(report: Report, result: Result, tell: Callable[[Report, Result], None]) -> None:
    report.add(result)
    tell(report, result)


def _share(
    pool: ProcessPoolExecutor, seeds: Iterator[int], steps: int, jobs: int, took: Callable[[Result], None]
) -> None:
    """Keep all workers busy, with no more in line than they can begin at once."""
    running: set[Future[Result]] = set()
    for seed in seeds:
        running.add(pool.submit(_one, seed, steps))
        if len(running) > jobs:
            done, running = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                took(future.result())
    for future in running:
        took(future.result())
