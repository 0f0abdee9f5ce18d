"""Runs worlds: one seed, or many, with every figure that is worth telling.

`run_seed` is what others build on: planted bugs patch the product for the time of one run.
"""

import logging
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import mkdtemp

from proving.sim.dice import Fault
from proving.sim.inspector import Found
from proving.sim.loop import Stalled
from proving.sim.process import Points
from proving.sim.world import Setup, Violated, World

Plant = Callable[[ExitStack], None]
"""Patches product code; what it enters on the stack is undone after the run."""
STEPS = 10_000
MEMORY = Path("/dev/shm")  # noqa: S108 - a world's files are gone with it; where this is missing, any temporary folder does


@dataclass(slots=True)
class Result:
    """What one world has shown."""

    seed: int
    steps: int
    hash: str
    virtual_s: float
    violations: list[Found]
    faults: list[Fault]
    counts: Counter[str]
    sometimes: Counter[str]
    points: Points
    checks: int
    recoveries: list[float]
    exits: dict[str, int]
    intents: int
    trades: int
    lines: list[str] = field(default_factory=list)
    story: list[str] = field(default_factory=list)

    @property
    def is_clean(self) -> bool:
        return not self.violations


def run_seed(
    seed: int,
    steps: int = STEPS,
    plant: Plant | None = None,
    *,
    only: frozenset[str] | None = None,
    kinds: frozenset[str] | None = None,
    keep_lines: int | None = 200,
    times: float = 1.0,
) -> Result:
    """Run the world of *seed* for *steps* steps and to its rest.

    *plant* patches product code for this run; *only* leaves out every fault whose key is not in it; *kinds* replaces the seed's
    own choice of kinds of faults; *keep_lines* limits the trace that is kept, None keeps all; *times* multiplies every
    rate.
    """
    root = MEMORY if MEMORY.is_dir() else None
    directory = Path(mkdtemp(prefix="holdfast-sim-", dir=root))
    try:
        with quiet(), ExitStack() as patches:
            if plant is not None:
                plant(patches)
            return _run(seed, Setup(directory, steps, only, kinds, keep_lines, times))
    finally:
        shutil.rmtree(directory, ignore_errors=True)


@contextmanager
def quiet() -> Iterator[None]:
    """No log line meanwhile: a world's services complain a lot, and rightly."""
    before = logging.getLogger().manager.disable
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(before)


def _run(seed: int, setup: Setup) -> Result:
    world = World(seed, setup, Points())
    try:
        world.run()
    except Violated:
        pass  # it is in the inspector's list
    except Stalled:
        world.inspector.report(
            "INV-10", "nothing is ready and nothing is scheduled: everybody waits for ever"
        )
    if world.faults.counts["store.ambiguous"]:
        world.sometimes.note("ambiguous commit")
    return Result(
        seed=seed, steps=world.trace.steps, hash=world.trace.hash, virtual_s=world.loop.time(), violations=world.inspector.found,
        faults=world.faults.happened, counts=world.faults.counts, sometimes=world.sometimes.seen, points=world.points,
        checks=world.inspector.checks, recoveries=world.inspector.recoveries, exits=world.ends.exits, intents=len(world.producer.wishes),
        trades=world.sometimes.trades, lines=list(world.trace.lines), story=world.trace.story,
    )  # fmt: skip
