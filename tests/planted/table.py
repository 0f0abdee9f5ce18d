"""`docs/planted-bugs.md`, written from the table of planted bugs: `python -m tests.planted.table` (`--check` only compares)."""

import sys
from pathlib import Path

from tests.planted.bugs import BUGS

FILE = Path(__file__).parents[2] / "docs" / "planted-bugs.md"
HEAD = """\
# Planted bugs

Each of these bugs is put into the real code by `tests/planted/test_planted.py`; the scenario beside it must then fail, and
passes without it. So the tests are known to see them. (Written by `python -m tests.planted.table`.)

| bug | breaks | what it restores | what the scenario shows |
|---|---|---|---|
"""


def page() -> str:
    return HEAD + "".join(
        f"| {bug.name} | {bug.breaks or '—'} | {bug.restores} | {(bug.scenario.__doc__ or '').strip()} |\n"
        for bug in BUGS
    )


def main(arguments: list[str]) -> int:
    if "--check" in arguments:
        return 0 if FILE.exists() and FILE.read_text() == page() else 1
    FILE.write_text(page())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
