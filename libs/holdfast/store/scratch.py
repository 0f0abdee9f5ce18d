"""A scratch file for `verify`: the journal's last word per key, as digests, so that memory stays small whatever it says.

What was noted is crossed out as it is found in the tables; what is left then was in the journal alone.
"""

import sqlite3
import tempfile
from pathlib import Path
from typing import Self

FLUSH = 2_000
"""Notes kept in memory before they are written together."""


class Scratch:
    """A table name and a key -> a value, in a file that is gone when the block ends."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="holdfast-verify-")
        self._file = sqlite3.connect(Path(self._folder.name) / "scratch.db", isolation_level=None)
        self._file.executescript(
            "PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF; PRAGMA cache_size=-65536; BEGIN;"
            "CREATE TABLE last (name TEXT, key TEXT, value BLOB, PRIMARY KEY (name, key)) WITHOUT ROWID;"
            "CREATE TABLE ends (intent_id TEXT PRIMARY KEY) WITHOUT ROWID;"
        )
        self._waiting: dict[tuple[str, str], bytes | None] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        self._folder.cleanup()

    def put(self, table: str, key: str, value: bytes | None) -> None:
        """Note what *table* holds under *key* from now on; None: nothing."""
        self._waiting[table, key] = value
        if len(self._waiting) >= FLUSH:
            self._flush()

    def _flush(self) -> None:
        if not self._waiting:
            return
        kept = [(*key, value) for key, value in self._waiting.items() if value is not None]
        self._file.executemany("INSERT OR REPLACE INTO last VALUES (?, ?, ?)", kept)
        gone = [key for key, value in self._waiting.items() if value is None]
        self._file.executemany("DELETE FROM last WHERE name = ? AND key = ?", gone)
        self._waiting.clear()

    def is_first(self, table: str, key: str, value: bytes) -> bool:
        """Note something that may be said once only; False when it was said before."""
        row = self._file.execute("INSERT OR IGNORE INTO last VALUES (?, ?, ?)", (table, key, value))
        return row.rowcount == 1

    def is_first_end(self, intent_id: str) -> bool:
        """Note the end of an intent; False when it had one."""
        return self._file.execute("INSERT OR IGNORE INTO ends VALUES (?)", (intent_id,)).rowcount == 1

    def take(self, table: str, key: str, value: bytes) -> bool:
        """Whether exactly this is noted; it is crossed out then."""
        self._flush()
        found = self._file.execute(
            "DELETE FROM last WHERE name = ? AND key = ? AND value = ?", (table, key, value)
        )
        return found.rowcount == 1

    def left(self, table: str, most: int) -> tuple[int, list[str]]:
        """How much of *table* was not crossed out, and the first *most* keys of it."""
        self._flush()
        count = self._file.execute("SELECT count(*) FROM last WHERE name = ?", (table,)).fetchone()[0]
        rows = self._file.execute("SELECT key FROM last WHERE name = ? LIMIT ?", (table, most))
        return count, [row[0] for row in rows]
