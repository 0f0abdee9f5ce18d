"""Every design in the same seeds, and Holdfast in its own worlds of the same seeds: in how many of 1,000 something was violated."""

import multiprocessing
import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from tempfile import mkdtemp

from proving.designs.incidents import DESIGNS
from proving.designs.world import KINDS, DesignWorld
from proving.sim.run import MEMORY, quiet, run_seed

SECONDS, STEPS = 60.0, 3_000
"""Of faults: virtual seconds of a bot, steps of Holdfast's services."""
HOLDFAST = "Holdfast"


@dataclass(slots=True)
class Row:
    """One design over all seeds."""

    name: str
    models: str
    seeds: int = 0
    violated: int = 0
    kinds: Counter[str] = field(default_factory=Counter)
    crashes: int = 0

    @property
    def per_thousand(self) -> int:
        """Seeds with a violation, of 1,000."""
        return round(1000 * self.violated / self.seeds)


Seen = tuple[frozenset[str], int]
"""(kinds of violations, crashes) of one seed."""


def run_design(index: int, seed: int) -> Seen:
    """One seed of the design with this number."""
    directory = Path(mkdtemp(prefix="holdfast-design-", dir=MEMORY if MEMORY.is_dir() else None))
    try:
        with quiet():
            outcome = DesignWorld(DESIGNS[index], seed, directory, SECONDS).run()
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    return frozenset(outcome.kinds), outcome.crashes


def run_holdfast(seed: int) -> Seen:
    """The same seed of Holdfast: every invariant is judged."""
    result = run_seed(seed, STEPS)
    return frozenset(found.number for found in result.violations), result.counts["process.crash"]


def compare(seeds: Sequence[int], jobs: int) -> Iterator[Row]:
    """A row per design, Holdfast last."""
    with ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn")) as pool:
        for index, design in enumerate(DESIGNS):
            yield _sum(
                Row(design.name, design.models), pool.map(partial(run_design, index), seeds, chunksize=4)
            )
        yield _sum(Row(HOLDFAST, "as it is"), pool.map(run_holdfast, seeds, chunksize=2))


def _sum(row: Row, seen: Iterator[Seen]) -> Row:
    for kinds, crashes in seen:
        row.seeds += 1
        row.violated += bool(kinds)
        row.kinds.update(kinds)
        row.crashes += crashes
    return row


def table(rows: Sequence[Row]) -> str:
    """As Markdown."""
    lines = ["| design | | seeds | violated, of 1,000 | what | crashes |", "|---|---|---|---|---|---|"]
    for row in rows:
        what = (
            "; ".join(f"{KINDS.get(kind, kind)} ({count})" for kind, count in sorted(row.kinds.items()))
            or "nothing"
        )
        lines.append(
            f"| {row.name} | {row.models} | {row.seeds} | {row.per_thousand} | {what} | {row.crashes} |"
        )
    return "\n".join(lines) + "\n"
