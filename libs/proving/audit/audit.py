"""The audit: reads what is new in the ledger's store and in the venues' records, and says what must not be.

    audit = Audit(ledger, {("main", "paper"): record})
    audit.step()        # after every step of a simulation: only what is new, some tens of microseconds
    audit.quiescent()   # after faults have ended: whole tables, and everything that must agree at rest

Connections are only read; one transaction a call, so that the ledger may go on writing meanwhile.
"""

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from decimal import Decimal

from proving.audit.journal import Journal, Row
from proving.audit.picture import OPEN_ANSWERS, Picture
from proving.audit.report import Findings, Violation, plain
from proving.audit.tables import Tables
from proving.audit.venue import Venue

_NEW = "SELECT seq, kind, hash, body FROM updates WHERE seq > ? ORDER BY seq"
MOVING = frozenset({"reserved", "canceling", "unknown"})
"""States in which an order waits for an answer: at rest there is none."""


class Audit:
    """See the module. `ledger` may be set to another connection of the same store, after a restart."""

    def __init__(
        self, ledger: sqlite3.Connection, venues: Mapping[tuple[str, str], sqlite3.Connection]
    ) -> None:
        self.ledger = ledger
        self.picture = Picture()
        self._findings = Findings()
        self._journal, self._tables = Journal(self.picture, self._findings), Tables(self._findings)
        self._epoch = 0
        self.venues = {
            key: Venue(*key, db=record, picture=self.picture, findings=self._findings)
            for key, record in venues.items()
        }

    def step(self) -> list[Violation]:
        """What is new since the last call, and what of it must not be."""
        for venue in self.venues.values():
            with _reading(venue.db):
                venue.read_orders()
        with _reading(self.ledger):
            self._store()
            for row in map(Row._make, self.ledger.execute(_NEW, (self.picture.seq,)).fetchall()):
                self._tables.take(self._journal.take(row))
            new = self._tables.take_new_fills()
            self._tables.compare_touched(self.ledger, new)
        for venue in self.venues.values():
            with _reading(venue.db):
                venue.meta()
                venue.judge_orders()
                venue.read_trades()
                venue.judge_fills(new)
                venue.judge_ends()
        self.picture.ended.clear()
        return self._findings.take()

    def whole(self) -> list[Violation]:
        """`step`, and every row of every table. Holds at any moment."""
        found = self.step()
        with _reading(self.ledger):
            behind = self.ledger.execute("SELECT max(seq) FROM updates").fetchone()[0] or 0
            if behind == self.picture.seq:
                self._tables.compare_all(self.ledger)
        return found + self._findings.take()

    def settled(self, marks: Mapping[str, Decimal] | None = None) -> list[Violation]:
        """What holds only when nothing moves any more; *marks*: symbol -> price that every crossed stop has met by now."""
        findings, picture = Findings(), self.picture
        for venue in self.venues.values():
            with _reading(venue.db):
                venue.settled(findings)
        add = findings.add
        for book in picture.books.values():
            for order in book.live.values():
                if order.state in MOVING:
                    add("INV-7", book.book_id, f"order {order.order_id} is still {order.state}")
            if book.row.get("exiting") and not any(order.role == "exit" for order in book.live.values()):
                add(
                    "INV-6",
                    book.book_id,
                    f"the book is being closed for {book.row['exiting']}, and no exit is live",
                )
            if book.row.get("refused_exit"):
                add("INV-6", book.book_id, f"an exit is still refused: {book.row['refused_exit']}")
        self._unended(findings)
        for symbol, mark in (marks or {}).items():
            self._crossed(symbol, mark, findings)
        return findings.take()

    def quiescent(self, marks: Mapping[str, Decimal] | None = None) -> list[Violation]:
        """The whole comparison, after faults have ended and everything has come to rest."""
        return self.whole() + self.settled(marks)

    def _store(self) -> None:
        """The store's own row, and that nothing of the journal was taken back."""
        add, picture = self._findings.add, self.picture
        for store_id, epoch in self.ledger.execute("SELECT store_id, epoch FROM store"):
            if epoch < max(self._epoch, picture.epoch):
                add(
                    "INV-9", "", f"the store is in epoch {epoch}, it was in {max(self._epoch, picture.epoch)}"
                )
            if picture.store_id and store_id != picture.store_id:
                add("INV-8", "", f"this is store {store_id}, it was {picture.store_id}")
            picture.store_id, self._epoch = picture.store_id or store_id, max(self._epoch, epoch)
        if picture.seq:
            row = self.ledger.execute("SELECT hash FROM updates WHERE seq = ?", (picture.seq,)).fetchone()
            if row is None:
                last = self.ledger.execute("SELECT max(seq) FROM updates").fetchone()[0] or 0
                add(
                    "INV-8",
                    "",
                    f"the journal ends at update {last}, it was at {picture.seq}: commits are lost",
                )
            elif row[0] != picture.hash:
                add(
                    "INV-8",
                    "",
                    f"update {picture.seq} has hash {row[0]}, it was {picture.hash}: it was rewritten",
                )

    def _unended(self, findings: Findings) -> None:
        """INV-4: an intent has one end; until then an order of it is live."""
        for intent_id, (status, order_id) in self.picture.answers.items():
            order = self.picture.orders.get(order_id)
            if status in OPEN_ANSWERS and (order is None or not order.live):
                state = order.state if order is not None else "not there"
                findings.add("INV-4", "", f"intent {intent_id} is {status}, and its order is {state}")
        for order in self.picture.orders.values():
            if order.intent_id not in self.picture.answers:
                text = f"intent {order.intent_id} has order {order.order_id} and no answer"
                findings.add("INV-4", order.book, text)

    def _crossed(self, symbol: str, mark: Decimal, findings: Findings) -> None:
        for book in self.picture.books.values():
            row = book.position
            if row is None or row["symbol"] != symbol or not row.get("stop_loss"):
                continue
            stop = Decimal(row["stop_loss"])
            if (mark <= stop) if row["side"] == "long" else (mark >= stop):
                text = f"{row['position_id']} is open at {plain(mark)}, its stop-loss is {plain(stop)}"
                findings.add("INV-6", book.book_id, text)


@contextmanager
def _reading(db: sqlite3.Connection) -> Iterator[None]:
    """One moment of *db*, whatever its writer does meanwhile."""
    if db.in_transaction:
        yield
        return
    db.execute("BEGIN")
    try:
        yield
    finally:
        db.execute("ROLLBACK")
