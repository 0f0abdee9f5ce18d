"""`python -m proving.planted`, which `holdfast sim --planted` starts: hunt every planted bug, and print how many seeds each took.

Exit code 0 when all were killed, 1 when one lives.
"""

import argparse
import sys
from collections.abc import Sequence

from proving.planted import measured
from proving.planted.catalogue import BUGS
from proving.planted.hunt import MOST_SEEDS, STEPS, Hunted, hunt_all, median


def main(arguments: Sequence[str] | None = None) -> int:
    """See the module."""
    options = _parser().parse_args(arguments)
    bugs = [bug for bug in BUGS if not options.only or options.only in bug.name]
    hunted = []
    for one in hunt_all(
        bugs, first=options.first, most=options.seeds, steps=options.steps, jobs=options.jobs
    ):
        print(line(one), flush=True)
        hunted.append(one)
        if options.write:
            measured.keep([one])
    for bug in bugs:
        if bug.unseen:
            print(f"{bug.name}: {bug.unseen}; a scenario kills it (tests/planted)")
    print(verdict(hunted))
    return 0 if all(one.seed is not None for one in hunted) else 1


def line(one: Hunted) -> str:
    """One bug's fate."""
    if one.seed is None:
        return f"LIVES   {one.name}: {one.seeds} seeds, {one.steps:,} steps"
    return f"killed  {one.name}: {one.seeds} seeds (seed {one.seed}), {one.steps:,} steps, by {one.number}: {one.text[:140]}"


def verdict(hunted: Sequence[Hunted]) -> str:
    """How many were killed, with the median and the worst number of seeds."""
    seeds = [one.seeds for one in hunted if one.seed is not None]
    told = f", seeds to kill: median {median(seeds)}, worst {max(seeds)}" if seeds else ""
    return f"planted bugs killed: {len(seeds)} of {len(hunted)}{told}"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m proving.planted")
    parser.add_argument(
        "--seeds", type=int, default=MOST_SEEDS, help="worlds a bug may survive before it is said to live"
    )
    parser.add_argument("--first", type=int, default=1, help="the first seed")
    parser.add_argument(
        "--steps", type=int, default=STEPS, help="steps of each world before it comes to rest"
    )
    parser.add_argument("--jobs", type=int, default=1, help="bugs hunted at once")
    parser.add_argument("--only", default="", help="bugs with this in their name")
    parser.add_argument("--write", action="store_true", help="keep the figures for docs/planted-bugs.md")
    return parser


if __name__ == "__main__":
    sys.exit(main())
