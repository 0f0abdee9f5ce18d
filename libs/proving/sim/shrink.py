"""From a failing seed to the few faults that it needs: leave out halves, then quarters, then single ones, as long as it still fails.

Each decision to do harm has a key that is the same in every run of its seed, so a run can be repeated with only some of them.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from proving.sim.run import Plant, Result, run_seed

MOST_RUNS = 80


@dataclass(frozen=True, slots=True)
class Shrunk:
    """The shortest failing run that was found."""

    result: Result
    before: int
    """Faults in the run that failed first."""
    runs: int

    @property
    def keys(self) -> list[str]:
        return [fault.key for fault in self.result.faults]


def shrink(
    failed: Result,
    steps: int,
    plant: Plant | None = None,
    *,
    kinds: frozenset[str] | None = None,
    most_runs: int = MOST_RUNS,
) -> Shrunk:
    """Run the seed of *failed* again and again with fewer faults; it must break the same invariant to count."""
    number, best, runs = failed.violations[0].number, failed, 0

    def fails(keys: Sequence[str]) -> Result | None:
        nonlocal runs
        runs += 1
        result = run_seed(failed.seed, steps, plant, only=frozenset(keys), kinds=kinds)
        same = result.violations and result.violations[0].number == number
        return result if same else None

    keys = [fault.key for fault in failed.faults]
    best = _smaller(keys, best, fails, lambda: runs < most_runs)
    return Shrunk(best, len(failed.faults), runs)


def _smaller(
    keys: list[str],
    best: Result,
    fails: Callable[[Sequence[str]], Result | None],
    may_go_on: Callable[[], bool],
) -> Result:
    """Delta debugging: *best* with as few of *keys* as the bounded number of runs allows."""
    size = max(1, len(keys))
    while keys and may_go_on():
        kept_all = True
        for start in range(0, len(keys), size):
            if not may_go_on():
                break
            fewer = keys[:start] + keys[start + size :]
            smaller = fails(fewer)
            if smaller is not None:
                best, kept_all = smaller, False
                happened = {fault.key for fault in smaller.faults}
                keys = [key for key in fewer if key in happened]
                break
        if kept_all:
            if size == 1:
                break
            size = max(1, size // 2)
        size = min(size, max(1, len(keys)))
    return best
