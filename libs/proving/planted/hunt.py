"""Seeds until a planted bug is killed: worlds with the bug in the code, one after the other, until one of them is violated.

The world in which it died is run once more without the bug, and must be clean: so what was found is the bug. Every world counts, also
those in which nothing of what the bug needs has happened.
"""

import multiprocessing
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

from proving.planted.bug import Bug
from proving.planted.catalogue import BUGS
from proving.sim.run import run_seed

STEPS, MOST_SEEDS = 4_000, 200
TIMES = 3.0
"""Faults that are named come so much more often than of themselves."""


@dataclass(frozen=True, slots=True)
class Hunted:
    """How a bug fared. *seed*: the first in which something was violated; None where *seeds* worlds were not enough."""

    name: str
    seeds: int
    seed: int | None = None
    steps: int = 0
    number: str = ""
    text: str = ""

    def as_row(self) -> dict[str, Any]:
        return asdict(self)


def hunt(bug: Bug, first: int = 1, most: int = MOST_SEEDS, steps: int = STEPS) -> Hunted:
    """Plant *bug*, and run worlds from seed *first* on."""
    walked = 0
    for number, seed in enumerate(range(first, first + most), 1):
        result = run_seed(seed, plant=bug.enter, **world_of(bug, steps))
        walked += result.steps
        if result.violations and is_clean(seed, bug, steps):
            found = result.violations[0]
            return Hunted(bug.name, number, seed, walked, found.number, found.text)
    return Hunted(bug.name, most, None, walked)


def world_of(bug: Bug, steps: int = STEPS) -> dict[str, Any]:
    """What the worlds of *bug* are like, besides the bug."""
    kinds = frozenset(bug.kinds) if bug.kinds else None
    return {"steps": bug.steps or steps, "kinds": kinds, "times": TIMES if bug.kinds else 1.0}


def is_clean(seed: int, bug: Bug, steps: int = STEPS) -> bool:
    """Whether the same world without the bug is clean: only then it is the bug that was found."""
    return not run_seed(seed, **world_of(bug, steps)).violations


def hunt_all(
    bugs: Iterable[Bug] = BUGS, *, first: int = 1, most: int = MOST_SEEDS, steps: int = STEPS, jobs: int = 1
) -> Iterator[Hunted]:
    """Hunt each, several at once where *jobs* says so; in the order of *bugs*. Those that no world can meet are left out."""
    names = [bug.name for bug in bugs if not bug.unseen]
    one = partial(_hunt_named, first=first, most=most, steps=steps)
    if jobs == 1:
        yield from map(one, names)
        return
    with ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn")) as pool:
        yield from pool.map(one, names)


def _hunt_named(name: str, *, first: int, most: int, steps: int) -> Hunted:
    return hunt(next(bug for bug in BUGS if bug.name == name), first, most, steps)


def median(counts: Sequence[int]) -> int:
    """The middle one of *counts*; the higher of two."""
    return sorted(counts)[len(counts) // 2]
