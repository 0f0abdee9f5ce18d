"""`docs/planted-bugs.md`, written from the planted bugs, their scenarios and the last hunt: `python -m tests.planted.table`.

`--check` only compares. The hunt is `holdfast sim --planted --write`.
"""

import sys
from pathlib import Path

from proving.planted import measured
from proving.planted.bug import Bug
from proving.planted.catalogue import BUGS
from proving.planted.hunt import Hunted, median
from tests.planted.bugs import SCENARIOS

FILE = Path(__file__).parents[2] / "docs" / "planted-bugs.md"
HEAD = """\
# Planted bugs

Each of these bugs is put into the real code, for the time of a run, to see whether the proofs notice: the simulator (`holdfast sim
--planted`: worlds of faults with the bug in the code, one seed after the other, until one of them is violated; without the bug the same
worlds are clean), or a scenario of its own (`tests/planted`), which must fail while the bug is there and passes without it; the first
{scenarios} have both. *Worlds* names the faults that such a world has; *any* leaves them to the seed.
(Written by `python -m tests.planted.table` from `holdfast sim --planted --write`.)

{verdict}

| bug | breaks | what it restores | worlds | seeds | what killed it | scenario |
|---|---|---|---|---|---|---|
"""


def page() -> str:
    found = measured.load()
    seen = [bug for bug in BUGS if not bug.unseen]
    killed = [found[bug.name].seeds for bug in seen if bug.name in found and found[bug.name].seed is not None]
    verdict = (
        f"**{len(killed)} of {len(BUGS)} are killed by simulated worlds** (seeds to kill: median {median(killed)}, worst {max(killed)}), the other "
        f"{len(BUGS) - len(killed)} by their scenarios: {len(BUGS) - len(seen)} cannot happen in a simulated world, the rest did not in so many."
    )
    rows = "".join(_row(bug, found.get(bug.name)) for bug in BUGS)
    return HEAD.format(scenarios=len(SCENARIOS), verdict=verdict) + rows


def _row(bug: Bug, hunted: Hunted | None) -> str:
    worlds, seeds, killer = ", ".join(bug.kinds) or "any", "—", bug.unseen or "not hunted yet"
    if hunted is not None and not bug.unseen:
        seeds = str(hunted.seeds) if hunted.seed is not None else f"> {hunted.seeds}"
        killer = (
            f"{hunted.number}: {_plain(hunted.text)}"
            if hunted.seed is not None
            else "none of these worlds; its scenario"
        )
    shown = (SCENARIOS[bug.name].__doc__ or "").strip() if bug.name in SCENARIOS else "—"
    return f"| {bug.name} | {bug.breaks or '—'} | {bug.restores} | {'—' if bug.unseen else worlds} | {seeds} | {killer} | {shown} |\n"


def _plain(text: str) -> str:
    """One cell of a table."""
    short = text if len(text) <= 160 else text[:157] + "…"
    return short.replace("|", "/")


def main(arguments: list[str]) -> int:
    if "--check" in arguments:
        return 0 if FILE.exists() and FILE.read_text() == page() else 1
    FILE.write_text(page())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
