"""`python -m proving.sim`, which `holdfast sim` starts: run worlds, print the figures, shrink and explain what failed.

Exit codes: 0 nothing violated (and, in a long run, every rare situation reached), 1 otherwise, 2 wrong usage.
"""

import argparse
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import orjson

from holdfast import __version__
from holdfast.runtime.clock import SystemClock
from proving.sim.campaign import Report, run
from proving.sim.run import STEPS, Result, run_seed
from proving.sim.shrink import shrink
from proving.sim.text import explained, table

TOLD_EVERY = 10


def main(arguments: Sequence[str] | None = None) -> int:
    """See the module."""
    options = _parser().parse_args(arguments)
    if options.seed is not None:
        return _replay(options)
    seeds = range(options.first, options.first + options.seeds)
    report = run(
        seeds,
        options.steps,
        SystemClock(),
        jobs=options.jobs,
        seconds=options.seconds,
        tell=_telling(options),
    )
    if options.json:
        sys.stdout.write(orjson.dumps(report.as_fields(), option=orjson.OPT_INDENT_2).decode() + "\n")
    else:
        sys.stdout.write(table(report))
    if report.failed:
        _explain(min(report.failed, key=lambda one: one.seed), options)
    return 0 if report.is_good else 1


def _telling(options: argparse.Namespace) -> "Teller":
    return Teller(silent=options.json)


class Teller:
    """Says on standard error how far a campaign is."""

    def __init__(self, *, silent: bool) -> None:
        self._silent = silent

    def __call__(self, report: Report, result: Result) -> None:
        if not result.is_clean:
            sys.stderr.write(f"seed {result.seed}: {result.violations[0]}\n")
        if not self._silent and report.seeds % TOLD_EVERY == 0:
            sys.stderr.write(f"{report.seeds} seeds, {report.steps:,} steps, {len(report.failed)} failed\n")


def _replay(options: argparse.Namespace) -> int:
    """One seed, with its whole trace where that is asked for."""
    only = None if options.only is None else frozenset(options.only.split(","))
    result = run_seed(options.seed, options.steps, only=only, keep_lines=None if options.trace else 200)
    if options.trace:
        sys.stdout.write("\n".join([*result.lines, ""]))
    sys.stdout.write(f"seed {result.seed}: {result.steps:,} steps, trace {result.hash}\n")
    for found in result.violations:
        sys.stdout.write(f"{found}\n")
    if result.violations and not options.trace:
        _explain(result, options)
    return 0 if result.is_clean else 1


def _explain(result: Result, options: argparse.Namespace) -> None:
    shrunk = shrink(result, options.steps)
    text = explained(shrunk, options.steps, f"{__version__} {_commit()}")
    (sys.stderr if options.json else sys.stdout).write(text)


def _commit() -> str:
    """The commit of this source tree, where it has one."""
    try:
        asked = subprocess.run(
            ["git", "rev-parse", "--short", "HEAD"], cwd=Path(__file__).parent, capture_output=True, text=True, check=True
        )  # fmt: skip
    except (OSError, subprocess.CalledProcessError):
        return "(no commit)"
    return asked.stdout.strip()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="holdfast sim", description="Run simulated worlds with faults.")
    parser.add_argument("--seeds", type=int, default=20, help="how many worlds")
    parser.add_argument("--first", type=int, default=1, help="the first seed")
    parser.add_argument(
        "--steps", type=int, default=STEPS, help="steps of each world before it comes to rest"
    )
    parser.add_argument("--seed", type=int, help="run this one alone")
    parser.add_argument("--trace", action="store_true", help="with --seed: print every step")
    parser.add_argument("--only", help="with --seed: let only these faults happen (keys, comma between)")
    parser.add_argument("--for", dest="seconds", type=float, help="begin no seed after so many seconds")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="worlds at once")
    parser.add_argument("--json", action="store_true", help="figures for programs")
    return parser


if __name__ == "__main__":
    sys.exit(main())
