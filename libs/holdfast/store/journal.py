"""The journal as a stream of updates, out of a store or out of an exported file, checked link by link as it is read.

Everything that the ledger knows is in its journal; only the inbox is beside it (ids and digests of messages that have no row of
their own), so it travels along with the update at which each was noted.

An exported file is JSON lines. The first says what is to come, down to the last hash, so a file that was cut short is known as
such: `{"holdfast": "journal", "version": 2, "store_id": …, "epoch": …, "seq": …, "hash": …, "outcomes": …, "inbox": […]}`. Then one line an
update: `{"seq", "kind", "at", "hash", "body", "inbox"}`, the body as text, because its very bytes are what the chain is made of. Last, one line
for each outcome of a closed trade that is kept: `{"outcome": [position, seq, closed_at, body]}`.
"""

import logging
import os
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import orjson

from holdfast.runtime.files import sync_folder
from holdfast.store.batch import GENESIS, BrokenChain, Journaled, check_chain
from holdfast.store.reading import LEARNS_SINCE, Reader, StoreMissing, schema_of

log = logging.getLogger("holdfast.store")
VERSION = 2
READS = frozenset({1, VERSION})
Outcome = tuple[str, int, int, str]
"""Position id, sequence at which it came, market time of the close, the outcome as JSON."""
Noted = list[tuple[str, str]]
"""Message ids with digests, as the inbox has them."""


class Unusable(Exception):  # noqa: N818 - reads as what is the case
    """The journal, or the file that should hold one, cannot be used; the text says where and why."""


@dataclass(frozen=True, slots=True)
class Head:
    """What a journal says of itself: whose it is, and where it ends."""

    store_id: str
    epoch: int
    seq: int
    hash: str


class Source(Protocol):
    """A journal to read once."""

    head: Head

    def updates(self) -> Iterator[tuple[Journaled | None, Noted]]:
        """Every update in order, with what the inbox noted at it; first None, with what was noted before any. Raises Unusable."""
        ...

    def outcomes(self) -> Iterator[Outcome]:
        """The outcomes of closed trades that lie beside the journal."""
        ...


def checked(source: Source) -> Iterator[tuple[Journaled | None, Noted]]:
    """The updates of *source*, each proven to follow from the one before it, down to the end it promised. Raises Unusable."""
    seq, hashed = 0, GENESIS
    for row, noted in source.updates():
        if row is not None:
            try:
                check_chain(seq, hashed, (row,))
            except BrokenChain as broken:
                raise Unusable(str(broken)) from broken
            seq, hashed = row.seq, row.hash
        yield row, noted
    if (seq, hashed) != (source.head.seq, source.head.hash):
        raise Unusable(
            f"the journal ends at update {seq}, and should end at {source.head.seq}: it was cut short"
        )


class StoreJournal:
    """The journal of a store, as of one moment."""

    def __init__(self, store: Reader) -> None:
        self._store = store
        names = _rows(store, "SELECT store_id, epoch FROM store")
        last = _rows(store, "SELECT seq, hash FROM updates ORDER BY seq DESC LIMIT 1")
        if not names:
            raise Unusable("the store has no name; an exported journal or a backup can still be used")
        seq, hashed = last[0] if last else (0, GENESIS)
        self.head = Head(str(names[0][0]), int(names[0][1]), int(seq), str(hashed))

    def updates(self) -> Iterator[tuple[Journaled | None, Noted]]:
        noted = _Inbox(self._store)
        yield None, noted.until(0)
        seq = 0
        try:
            for seq, kind, at, hashed, body in self._store.rows(
                "SELECT seq, kind, at, hash, body FROM updates ORDER BY seq"
            ):
                yield Journaled(seq, kind, at, hashed, body.encode()), noted.until(seq)
        except sqlite3.DatabaseError as error:
            raise Unusable(f"the journal cannot be read behind update {seq}: {error}") from error

    def outcomes(self) -> Iterator[Outcome]:
        """As far as they can be read: they are evidence, and a rebuilt store is whole without them."""
        if schema_of(self._store) < LEARNS_SINCE:
            return
        try:
            yield from self._store.rows("SELECT position_id, seq, closed_at, body FROM outcomes ORDER BY seq")
        except sqlite3.DatabaseError as error:
            log.warning("outcomes of closed trades cannot be read, and are left behind: %s", error)


class _Inbox:
    """The inbox in the order of the updates at which its messages were noted."""

    def __init__(self, store: Reader) -> None:
        self._rows = iter(store.rows("SELECT seq, message_id, digest FROM inbox ORDER BY seq, message_id"))
        self._next = self._read()

    def _read(self) -> Any:
        try:
            return next(self._rows, None)
        except sqlite3.DatabaseError as error:
            raise Unusable(f"the inbox cannot be read: {error}") from error

    def until(self, seq: int) -> Noted:
        found: Noted = []
        while self._next is not None and self._next[0] <= seq:
            found.append((self._next[1], self._next[2]))
            self._next = self._read()
        return found


def _rows(store: Reader, sql: str) -> list[Any]:
    try:
        return list(store.rows(sql))
    except sqlite3.DatabaseError as error:
        raise Unusable(f"the store cannot be read: {error}") from error


class FileJournal:
    """An exported journal."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with path.open("rb") as lines:
            self._first = self._document(next(lines, b""), 1)
        first = self._first
        if first.get("holdfast") != "journal":
            raise Unusable(f"{path} is no exported journal: its first line does not say so")
        if first.get("version") not in READS:
            raise Unusable(
                f"{path} is of version {first.get('version')}; this Holdfast reads {sorted(READS)}"
            )
        try:
            self.head = Head(
                str(first["store_id"]), int(first["epoch"]), int(first["seq"]), str(first["hash"])
            )
        except (KeyError, TypeError, ValueError) as error:
            raise Unusable(f"{path}, line 1: {error!r}") from error

    def _document(self, line: bytes, number: int) -> dict[str, Any]:
        try:
            document = orjson.loads(line)
        except orjson.JSONDecodeError as error:
            raise Unusable(f"{self.path}, line {number}: not JSON, or cut short ({error})") from error
        if not isinstance(document, dict):
            raise Unusable(f"{self.path}, line {number}: a JSON object is expected")
        return document

    def updates(self) -> Iterator[tuple[Journaled | None, Noted]]:
        with self.path.open("rb") as lines:
            for number, line in enumerate(lines, 1):
                document = self._first if number == 1 else self._document(line, number)
                if "outcome" in document:
                    continue
                try:
                    noted = [(str(key), str(digest)) for key, digest in document.get("inbox", ())]
                    yield (None if number == 1 else _journaled(document)), noted
                except (KeyError, TypeError, ValueError, AttributeError) as error:
                    raise Unusable(f"{self.path}, line {number}: {error!r}") from error

    def outcomes(self) -> Iterator[Outcome]:
        found = 0
        with self.path.open("rb") as lines:
            for number, line in enumerate(lines, 1):
                if line.startswith(_OUTCOME):
                    found += 1
                    yield self._outcome(line, number)
        if found != self._first.get("outcomes", 0):
            raise Unusable(
                f"{self.path} has {found} outcomes of trades, and should have {self._first['outcomes']}"
            )

    def _outcome(self, line: bytes, number: int) -> Outcome:
        try:
            position_id, seq, closed_at, body = self._document(line, number)["outcome"]
            return str(position_id), int(seq), int(closed_at), str(body)
        except (TypeError, ValueError) as error:
            raise Unusable(f"{self.path}, line {number}: {error!r}") from error


_OUTCOME = b'{"outcome":'


def _journaled(document: dict[str, Any]) -> Journaled:
    return Journaled(
        int(document["seq"]), str(document["kind"]), int(document["at"]), str(document["hash"]), document["body"].encode()
    )  # fmt: skip


def export(store: Reader, target: Path) -> Head:
    """Write the journal of *store* to *target*, durable, which must not exist. Raises FileExistsError, OSError, Unusable."""
    source = StoreJournal(store)
    head, outcomes = source.head, list(source.outcomes())
    handle = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(handle, "wb") as file:
            for row, noted in checked(source):
                file.write(orjson.dumps(_line(head, row, noted, len(outcomes))) + b"\n")
            for outcome in outcomes:
                file.write(orjson.dumps({"outcome": outcome}) + b"\n")
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        target.unlink(missing_ok=True)
        raise
    sync_folder(target.resolve().parent)
    return head


def _line(head: Head, row: Journaled | None, noted: Noted, outcomes: int) -> dict[str, Any]:
    line: dict[str, Any] = (
        {
            "holdfast": "journal", "version": VERSION, "store_id": head.store_id, "epoch": head.epoch, "seq": head.seq, "hash": head.hash,
            "outcomes": outcomes,
        }
        if row is None
        else {"seq": row.seq, "kind": row.kind, "at": row.at, "hash": row.hash, "body": row.body.decode()}
    )  # fmt: skip
    return line | ({"inbox": noted} if noted else {})


__all__ = ["FileJournal", "Head", "Source", "StoreJournal", "StoreMissing", "Unusable", "checked", "export"]
