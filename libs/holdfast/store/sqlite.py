"""SQLite as the ledger's store: WAL, `synchronous=FULL`, one connection.

One connection is also what keeps clear of the WAL-reset fault of SQLite before 3.51.3, which needs two writers.
"""

import sqlite3
from pathlib import Path
from typing import Any

from holdfast.runtime.faults import Terminal, Transient
from holdfast.store.sql import Dialect
from holdfast.store.store import WHAT_TO_DO, ConstraintBroken

_PASSING = (
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_READONLY,
)
_DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


class SqliteDriver:
    """See `store.Driver`."""

    dialect = Dialect("?")
    begin = "BEGIN IMMEDIATE"

    def __init__(self, path: Path, *, durable: bool = True) -> None:
        """*durable* False: nothing waits for the disk, so a power cut may damage the file. For what is thrown away."""
        self.path = path
        self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=2.0)
        for pragma in (
            "journal_mode=WAL",
            "synchronous=FULL" if durable else "synchronous=OFF",
            "foreign_keys=ON",
            "trusted_schema=OFF",
            "cache_size=-65536",
            "wal_autocheckpoint=4000",
        ):
            self._connection.execute(f"PRAGMA {pragma}")

    def cursor(self) -> Any:
        return self._connection.cursor()

    def alive(self) -> None:
        """A file does not go away."""

    def translate(self, error: Exception) -> Exception:
        if isinstance(error, sqlite3.IntegrityError):
            return ConstraintBroken(str(error))
        code = getattr(error, "sqlite_errorcode", None)
        if isinstance(error, sqlite3.OperationalError) and code is not None and (code & 0xFF) in _PASSING:
            return Transient(f"store {self.path.name}: {error}")
        if (code is not None and (code & 0xFF) in _DAMAGED) or "decode to UTF-8" in str(error):
            return Terminal(f"the store {self.path} is damaged: {error}. {WHAT_TO_DO}")
        return error

    def integrity(self) -> list[str]:
        try:
            found = [row[0] for row in self._connection.execute("PRAGMA quick_check(20)").fetchall()]
            broken = self._connection.execute("PRAGMA foreign_key_check").fetchall()
        except sqlite3.DatabaseError as error:
            return [str(error)]
        return [text for text in found if text != "ok"] + [
            f"{row[0]} row {row[1]} refers to a missing {row[2]}" for row in broken
        ]

    def backup(self, target: Path) -> None:
        self._connection.execute("VACUUM INTO ?", (str(target),))

    def close(self) -> None:
        self._connection.close()
