"""`python -m proving.audit DIR`: audits the data directory of a stopped or running installation, and changes nothing in it.

Exit codes: 0 all holds; 1 something has not come to rest (a fill on its way, an order without an answer); 2 an invariant
is broken, or there is nothing that could be read. A running installation is given some seconds to come to rest.
"""

import argparse
import json
import sqlite3
import sys
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from threading import Event

from proving.audit.audit import Audit
from proving.audit.report import STATEMENTS, Violation

LOOKS, PAUSE_S = 25, 0.2
"""How often, and after which pause, it is looked again at what has not come to rest."""


class Unreadable(Exception):  # noqa: N818 - reads as what is the case
    """There is no store there, or it cannot be read."""


def open_audit(directory: Path) -> Audit:
    """The audit of the installation under *directory*. Raises Unreadable."""
    ledger = directory / "ledger" / "ledger.db"
    if not ledger.is_file():
        raise Unreadable(f"no store at {ledger} (a store in PostgreSQL is not audited)")
    venues = {}
    for path in sorted((directory / "paper").glob("*.db")):
        record = _open(path)
        meta: dict[str, str] = dict(record.execute("SELECT key, value FROM meta"))
        venues[meta["account"], meta["exchange"]] = record
    return Audit(_open(ledger), venues)


def _open(path: Path) -> sqlite3.Connection:
    try:
        connection = sqlite3.connect(
            f"{path.resolve().as_uri()}?mode=ro", uri=True, isolation_level=None, timeout=5.0
        )
        connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    except sqlite3.Error as error:
        raise Unreadable(f"{path} cannot be read: {error}") from error
    return connection


def run(audit: Audit) -> tuple[list[Violation], list[Violation]]:
    """(what is broken, what has not come to rest)."""
    broken, pause = audit.whole(), Event()
    restless = audit.settled()
    for _ in range(LOOKS):
        if broken or not restless:
            break
        pause.wait(PAUSE_S)
        broken += audit.whole()
        restless = audit.settled()
    return broken, restless


def table(audit: Audit, broken: Sequence[Violation], restless: Sequence[Violation]) -> str:
    """The invariants with what was found, then each finding in a sentence."""
    picture = audit.picture
    looked_at = (
        f"{picture.seq:,} updates, {len(picture.orders):,} orders, {len(picture.fills):,} fills, {len(picture.books):,} books,"
        f" {len(audit.venues)} venue records; store {picture.store_id or '(empty)'}, epoch {picture.epoch}"
    )
    lines = [looked_at, ""]
    for number, statement in STATEMENTS.items():
        bad, open_ = (sum(found.number == number for found in group) for group in (broken, restless))
        mark = "✗" if bad else "…" if open_ else "✓"
        count = f"{bad} broken" if bad else f"{open_} not at rest" if open_ else ""
        lines.append(f"{mark} {number}  {statement:<64} {count}".rstrip())
    lines += ["", *(f"broken: {found}" for found in broken), *(f"not at rest: {found}" for found in restless)]
    lines.append(_verdict(broken, restless))
    return "\n".join(lines)


def _verdict(broken: Sequence[Violation], restless: Sequence[Violation]) -> str:
    if broken:
        return f"{len(broken)} violations"
    return f"no violation; {len(restless)} things have not come to rest" if restless else "everything holds"


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; its exit code."""
    parser = argparse.ArgumentParser(prog="python -m proving.audit", description=__doc__.partition("\n")[0])
    parser.add_argument("directory", type=Path, help="the data directory of the installation, as in --dir")
    parser.add_argument("--json", action="store_true", help="JSON instead of a table")
    given = parser.parse_args(arguments)
    try:
        audit = open_audit(given.directory)
        with closing(audit.ledger):
            broken, restless = run(audit)
    except (Unreadable, sqlite3.Error) as error:
        print(f"audit: {error}", file=sys.stderr)
        return 2
    if given.json:
        found = [
            {"state": state, "invariant": item.number, "book": item.book, "text": item.text}
            for state, group in (("broken", broken), ("not_at_rest", restless))
            for item in group
        ]
        print(json.dumps(found, ensure_ascii=False))
    else:
        print(table(audit, broken, restless))
    return 2 if broken else 1 if restless else 0


if __name__ == "__main__":
    sys.exit(main())
