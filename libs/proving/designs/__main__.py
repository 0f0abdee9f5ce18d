"""`python -m proving.designs`, which `holdfast sim --designs` starts: the table, and with --write its section of docs/simulation.md."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from proving.designs.compare import Row, compare, table

PAGE = Path(__file__).parents[3] / "docs" / "simulation.md"
BEGIN, END = "<!-- designs: begin -->\n", "<!-- designs: end -->\n"


def main(arguments: Sequence[str] | None = None) -> int:
    """See the module. Exit code 1 when Holdfast was violated."""
    parser = argparse.ArgumentParser(prog="python -m proving.designs")
    parser.add_argument("--seeds", type=int, default=1000)
    parser.add_argument("--first", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--write", action="store_true", help=f"replace the table in {PAGE.name}")
    given = parser.parse_args(arguments)
    rows: list[Row] = []
    for row in compare(range(given.first, given.first + given.seeds), given.jobs):
        rows.append(row)
        sys.stderr.write(f"{row.name} ({row.models}): {row.violated} of {row.seeds}\n")
    print(table(rows), end="")
    if given.write:
        PAGE.write_text(placed(PAGE.read_text(), table(rows)))
    return 1 if rows[-1].violated else 0


def placed(page: str, text: str) -> str:
    """*page* with *text* between its marks."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return before + BEGIN + text + END + after


if __name__ == "__main__":
    sys.exit(main())
