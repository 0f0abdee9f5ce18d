"""`docs/bus-fidelity.md`, written from the cases and differences: `python -m tests.contract.fidelity_page` (`--check` only compares)."""

import sys
from pathlib import Path

from tests.contract._fidelity import CASES, Case
from tests.contract._fidelity_differences import COLUMNS, DIFFERENCES

FILE = Path(__file__).parents[2] / "docs" / "bus-fidelity.md"
HEAD = """\
# Bus fidelity

Holdfast leans on the stream commands and error texts below. One suite (`tests/contract/test_fidelity.py`) asks every server that
Holdfast runs or is tested on, through the client and the MULTI that the bus itself uses, and expects what Redis 7.0 answers. Where a
server answers otherwise, that is written down here by name, and the suite asserts that it is still so.
(Written by `python -m tests.contract.fidelity_page`.)

"""
MENDED = """
Two things of fakeredis are mended in `tests/contract/conftest.py` before it is asked, because no test would be worth anything
otherwise: XREADGROUP with COUNT and BLOCK returns at once instead of waiting, and its TCP server ends the connection at every error.
"""


def page() -> str:
    """The whole page."""
    servers = "".join(f"- *{name}*: {which}\n" for name, which in COLUMNS.items())
    counts = ", ".join(f"{len(DIFFERENCES.get(name, {}))} on {name}" for name in COLUMNS)
    table = "".join(_row(case) for case in CASES)
    return (
        f"{HEAD}{servers}\n{len(CASES)} cases; differences: {counts}.\n\n## Differences\n\n"
        f"| server | where | what it does instead |\n|---|---|---|\n{_differences()}{MENDED}\n## Cases\n\n"
        f"| case | what leans on it | {' | '.join(COLUMNS)} |\n|---|---|{'---|' * len(COLUMNS)}\n{table}"
    )


def _differences() -> str:
    return "".join(
        f"| {server} | {case} | {difference.words} |\n"
        for server, differences in DIFFERENCES.items()
        for case, difference in differences.items()
    )


def _row(case: Case) -> str:
    same = ["differs" if case.name in DIFFERENCES.get(name, {}) else "same" for name in COLUMNS]
    return f"| {case.name} | {case.why} | {' | '.join(same)} |\n"


def main(arguments: list[str]) -> int:
    if "--check" in arguments:
        return 0 if FILE.exists() and FILE.read_text(encoding="utf-8") == page() else 1
    FILE.write_text(page(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
