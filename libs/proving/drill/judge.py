"""Says after a drill whether a promise was broken, from what lies on the disk: the ledger's journal and the venue's record.

The journal is read once, update by update, as plain JSON, and the rows as they stood after each are kept; so "at no time"
is looked at, not only the end. Nothing of the domain is used: the venue's own trades say what must be held.
"""

import json
import re
import sqlite3
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

from proving.audit import STATEMENTS
from proving.audit.__main__ import open_audit
from proving.audit.__main__ import run as run_audit
from proving.drill.report import Tally

Row = dict[str, Any]
ENDED = frozenset({"filled", "canceled", "rejected", "expired", "abandoned"})
NO_END = frozenset({"accepted", "unknown"})
FAIR_REFUSALS = frozenset(
    {
        "nothing_to_close",
        "position_gone",
        "wrong_side",
        "exit_in_flight",
        "expired",
        "from_the_future",
        "intent_id_reused",
        "no_such_order",
    }
)
"""Why an exit may be refused: it has nothing to close, an exit is on its way, or its sender let it expire."""


EXITS = ("x-", "drill-close-")
"""What the ids of exits begin with: the scanner's, and the drill's own."""


_END = re.compile(r"^(?P<name>\w+) *\| ended with (?P<how>.+?) after ", re.MULTILINE)


class Journal:
    """The rows of the ledger as of some update, and the checks that each update must pass."""

    def __init__(self, tally: Tally) -> None:
        self._tally = tally
        self.positions: dict[str, Row] = {}
        self.orders: dict[str, Row] = {}
        """Live ones only."""
        self.known: dict[str, str] = {}
        """Order id -> intent id, of every order ever recorded."""
        self.ends: dict[str, list[str]] = defaultdict(list)
        self.fills: Counter[tuple[str, str]] = Counter()
        self._books: dict[str, dict[str, Row]] = defaultdict(dict)
        self._epoch = 0

    def take(self, update: Row) -> None:
        """Apply one update and look at the books that it touched."""
        touched: set[str] = set()
        for row in update.get("positions", ()):
            touched.add(row["book_id"])
            self._position(row)
        for row in update.get("orders", ()):
            touched.add(row["book_id"])
            self._order(row)
        for row in update.get("intents", ()):
            if row["status"] not in NO_END:
                self.ends[row["intent_id"]].append(row["status"])
        for row in update.get("fills", ()):
            self.fills[row["account"], row["trade_id"]] += 1
        for book in touched:
            self._check(book, update["seq"])
        self._tally.check("INV-9", update["epoch"] >= self._epoch, f"epoch fell at update {update['seq']}")
        self._epoch = update["epoch"]
        for refused in update.get("blocked", ()):
            self._refused(refused)

    def _position(self, row: Row) -> None:
        if Decimal(row["quantity"]) == 0:
            self.positions.pop(row["position_id"], None)
            return
        self.positions[row["position_id"]] = row
        covered = row.get("stop_loss") and (row.get("take_profit") or row.get("expires_at"))
        self._tally.check("INV-2", bool(covered), f"{row['position_id']} is bare")

    def _order(self, row: Row) -> None:
        is_new = row["order_id"] not in self.known
        self.known[row["order_id"]] = row["intent_id"]
        book = self._books[row["book_id"]]
        if is_new and row["role"] == "entry":
            unknown = [other["order_id"] for other in book.values() if other.get("state") == "unknown"]
            self._tally.check("INV-7", not unknown, f"entry {row['order_id']} beside UNKNOWN {unknown}")
        if row.get("state", "reserved") in ENDED:
            book.pop(row["order_id"], None)
        else:
            book[row["order_id"]] = row

    def _check(self, book: str, seq: int) -> None:
        held = [row for row in self.positions.values() if row["book_id"] == book]
        live = self._books[book].values()
        sides = {row["side"] for row in held} | {
            "long" if row["side"] == "buy" else "short" for row in live if row["role"] == "entry"
        }
        self._tally.check(
            "INV-1", len(sides) <= 1 and len(held) <= 1, f"{book} has both sides at update {seq}"
        )
        leaving = sum(
            (Decimal(row["quantity"]) - Decimal(row.get("filled", "0")))
            for row in live
            if row["role"] == "exit" and not row.get("displaced")
        )
        most = sum(Decimal(row["quantity"]) for row in held)
        self._tally.check("INV-5", leaving <= most, f"{book}: exits of {leaving} for {most} at update {seq}")

    def _refused(self, row: Row) -> None:
        if row["intent_id"].startswith(EXITS):
            text = f"exit {row['intent_id']} was refused: {row['code']}, {row['reason']}"
            self._tally.check("INV-6", row["code"] in FAIR_REFUSALS, text)


def judge(
    directory: Path, accounts: Sequence[str], tally: Tally, pictures: Mapping[int, Mapping[str, str]]
) -> dict[str, int]:
    """Check the stopped installation under *directory*; returns counts worth showing.

    *pictures* are the open positions that the streams told, by sequence: the journal must say the same.
    """
    ledger = sqlite3.connect(f"file:{directory / 'ledger' / 'ledger.db'}?mode=ro", uri=True)
    journal, previous = Journal(tally), 0
    for seq, body in ledger.execute("SELECT seq, body FROM updates ORDER BY seq"):
        tally.check("INV-8", seq == previous + 1, f"update {seq} follows {previous}")
        previous = seq
        journal.take(json.loads(body))
        if seq in pictures:
            ours = {name: row["quantity"] for name, row in journal.positions.items()}
            tally.check(
                "INV-8",
                ours == pictures[seq],
                f"the streams told other positions at {seq}: {pictures[seq]}, not {ours}",
            )
    for intent, ends in journal.ends.items():
        tally.check("INV-4", len(ends) == 1, f"intent {intent} has the ends {ends}")
    per_intent = Counter(journal.known.values())
    for intent, count in per_intent.items():
        tally.check("INV-4", count == 1, f"intent {intent} has {count} orders")
    for key, count in journal.fills.items():
        tally.check("INV-4", count == 1, f"fill {key} was applied {count} times")
    rows = {row[0] for row in ledger.execute("SELECT position_id FROM positions")}
    tally.check("INV-8", rows == journal.positions.keys(), "the positions are not what the journal says last")
    counts = {"updates": previous, "fills": journal.fills.total(), "intents ended": len(journal.ends)}
    counts["closed trades"] = ledger.execute("SELECT count(*) FROM trades").fetchone()[0]
    counts["open at the end"] = len(journal.positions)
    ledger.close()
    for account in accounts:
        counts["trades of the venue"] = counts.get("trades of the venue", 0) + venue(
            directory / "paper" / f"{account}.db", account, journal, tally
        )
    return counts


def venue(path: Path, account: str, journal: Journal, tally: Tally) -> int:
    """Compare the venue's record of *account* with the ledger's journal; returns how many trades it has."""
    if not path.exists():
        return 0
    record = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    record.row_factory = sqlite3.Row
    orders = {row["order_id"]: row for row in record.execute("SELECT * FROM orders")}
    trades = list(record.execute("SELECT * FROM trades ORDER BY number"))
    record.close()
    for order_id in orders:
        tally.check(
            "INV-3", order_id in journal.known, f"{account}: {order_id} is at the venue, not in the ledger"
        )
    told = {trade_id for (name, trade_id) in journal.fills if name == account}
    there = {f"p{row['number']}" for row in trades}
    for name in there | told:
        where = "in the ledger" if name not in told else "at the venue"
        tally.check("INV-4", name in told and name in there, f"{account}: trade {name} is missing {where}")
    held: dict[str, Decimal] = defaultdict(Decimal)
    for row in trades:
        change = Decimal(row["quantity"]) * (1 if row["side"] == "buy" else -1)
        before, held[row["symbol"]] = held[row["symbol"]], held[row["symbol"]] + change
        if orders[row["order_id"]]["shrink_only"]:
            after = held[row["symbol"]]
            shrunk = abs(after) < abs(before) and before * after >= 0
            tally.check("INV-5", shrunk, f"{account}: exit trade p{row['number']} took {before} to {after}")
    ours: dict[str, Decimal] = defaultdict(Decimal)
    for row in journal.positions.values():
        if row["account"] == account:
            ours[row["symbol"]] += Decimal(row["quantity"]) * (1 if row["side"] == "long" else -1)
    for symbol in held.keys() | ours.keys():
        tally.check(
            "INV-4",
            held[symbol] == ours[symbol],
            f"{account} {symbol}: venue {held[symbol]}, ledger {ours[symbol]}",
        )
    return len(trades)


def verify(directory: Path, tally: Tally) -> int:
    """`holdfast ledger verify` on *directory*, counted for INV-8; returns how many single looks it took."""
    done = subprocess.run(
        [sys.executable, "-m", "holdfast.cli.main", "ledger", "verify", "--dir", str(directory), "--json"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    try:
        checks = json.loads(done.stdout)
    except json.JSONDecodeError:
        tally.check("INV-8", False, f"ledger verify did not answer: {done.stderr[-500:]}")
        return 0
    for check in checks:
        tally.check("INV-8", check["passed"], f"ledger verify, {check['check']}: {check['problems']}")
    return sum(check["count"] for check in checks)


def audit(directory: Path, tally: Tally) -> int:
    """The independent auditor's word, counted under its invariants; returns how many things had not come to rest."""
    looked = open_audit(directory)
    broken, restless = run_audit(looked)
    for number in STATEMENTS:
        if not any(found.number == number for found in broken):
            tally.check(number, True, "")
    for found in broken:
        tally.check(found.number, False, f"the auditor: {found}")
    return len(restless)


def log_of(text: str, asked: Mapping[str, int], tally: Tally) -> dict[str, int]:
    """INV-10 and INV-3 from what the services said: nobody ended as if all were well, nothing was sent twice.

    *asked* is how often each service was asked to end (SIGTERM): only then is code 0 the right answer.
    """
    ends = [(match["name"], match["how"]) for match in _END.finditer(text)]
    quiet = Counter(name for name, how in ends if how == "code 0")
    for name, _ in ends:
        tally.check(
            "INV-10",
            quiet[name] <= asked.get(name, 0),
            f"{name} ended {quiet[name]} times as if all were well",
        )
    tally.check("INV-3", "submitted twice" not in text, "an order was submitted twice")
    tally.check(
        "INV-10", "InvariantViolation" not in text, "a service met an invariant violation; see the log"
    )
    return {"ends of processes": len(ends)}


def ends_of(directory: Path, intents: Mapping[str, Any], tally: Tally) -> None:
    """Every intent that was sent, and sent again where a wipe had taken it unread, has come to one end."""
    ledger = sqlite3.connect(f"file:{directory / 'ledger' / 'ledger.db'}?mode=ro", uri=True)
    ended = dict(ledger.execute("SELECT intent_id, status FROM intents"))
    ledger.close()
    for intent in intents:
        tally.check("INV-4", ended.get(intent, "accepted") not in NO_END, f"{intent} was sent and has no end")
