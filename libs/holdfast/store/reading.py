"""The store, opened to be read beside its running ledger: it cannot write, and it sees one moment throughout.

SQLite in WAL mode lets a reader keep the state as of its first read while the ledger goes on; PostgreSQL does the same in one
repeatable-read transaction. Rows come as a stream, so that a journal of millions fits in little memory.
"""

import os
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, Self

from holdfast.runtime.files import sync_folder
from holdfast.store.opening import sqlite_path

PAGE = 2_000


class StoreMissing(Exception):  # noqa: N818 - reads as what is the case
    """There is no store there, or it cannot be read; the text says which."""


def _text(content: bytes) -> str:
    """What is no text any more is read all the same; no hash will fit it."""
    return content.decode(errors="replace")


class SqliteReader:
    """A read-only connection to a SQLite store."""

    by_bytes = ""
    """Behind a column of text in ORDER BY: as Python orders it."""

    def __init__(self, path: Path) -> None:
        if not path.is_file():
            raise StoreMissing(
                f"no store at {path}; `holdfast up` makes one, and --dir says where to look for it"
            )
        if not path.stat().st_size:
            raise StoreMissing(f"the store {path} is empty: its content is lost")
        self.path = path
        try:
            self._connection = sqlite3.connect(
                f"{path.resolve().as_uri()}?mode=ro", uri=True, isolation_level=None, timeout=5.0
            )
        except sqlite3.Error as error:
            raise StoreMissing(f"the store {path} cannot be read: {error}") from error
        self._connection.text_factory = _text
        try:
            self._connection.execute("PRAGMA query_only=ON")
            self._connection.execute("BEGIN")
            self._connection.execute("SELECT store_id FROM store").fetchall()
        except sqlite3.Error as error:
            self._connection.close()
            raise StoreMissing(f"the store {path} cannot be read: {error}") from error

    def rows(self, sql: str) -> Iterator[Any]:
        """Rows of a SELECT, as a stream."""
        cursor = self._connection.cursor()
        cursor.arraysize = PAGE
        yield from cursor.execute(sql)

    def integrity(self) -> list[str]:
        """What SQLite itself finds wrong: pages, NOT NULL, CHECK, UNIQUE, references."""
        found = [row[0] for row in self.rows("PRAGMA integrity_check(20)") if row[0] != "ok"]
        return found + [
            f"{row[0]} row {row[1]} refers to a missing {row[2]}"
            for row in self.rows("PRAGMA foreign_key_check")
        ]

    def constraints(self) -> set[str]:
        """Names of the constraints that the tables have."""
        declared = " ".join(row[0] or "" for row in self.rows("SELECT sql FROM sqlite_master"))
        return set(re.findall(r"\bCONSTRAINT (\w+)", declared))

    def copy_to(self, target: Path) -> None:
        """A whole, consistent, durable copy in *target*, which must not exist yet. Raises OSError or sqlite3.Error."""
        handle = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with closing(sqlite3.connect(target)) as copy:
                self._connection.backup(copy)
            os.fsync(handle)
        finally:
            os.close(handle)
        sync_folder(target.resolve().parent)

    def close(self) -> None:
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class PostgresReader:
    """A read-only, repeatable-read transaction of a PostgreSQL store."""

    by_bytes = ' COLLATE "C"'

    def __init__(self, url: str) -> None:
        try:
            import psycopg
        except ImportError as error:
            raise StoreMissing(
                'a postgresql:// store needs the extra: pip install "holdfast[postgres]"'
            ) from error
        try:
            self._connection = psycopg.connect(url, connect_timeout=5)
        except psycopg.Error as error:
            raise StoreMissing(f"the PostgreSQL store cannot be read: {error}") from error
        try:
            self._connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            self._connection.execute("SELECT store_id FROM store")
        except psycopg.Error as error:
            self._connection.close()
            raise StoreMissing(f"the PostgreSQL store cannot be read: {error}") from error
        self._cursors = 0

    def rows(self, sql: str) -> Iterator[Any]:
        """Rows of a SELECT, fetched page by page."""
        self._cursors += 1
        with self._connection.cursor(name=f"reading_{self._cursors}") as cursor:
            cursor.itersize = PAGE
            cursor.execute(sql.encode())
            yield from cursor

    def integrity(self) -> list[str]:
        """The server watches over its own files and constraints."""
        return []

    def constraints(self) -> set[str]:
        """Names of the constraints that the tables have."""
        return {
            row[0]
            for row in self.rows(
                "SELECT conname FROM pg_constraint WHERE connamespace = current_schema()::regnamespace"
            )
        }

    def close(self) -> None:
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


Reader = SqliteReader | PostgresReader

LEARNS_SINCE = "0003"
"""The schema that brought learned thresholds and outcomes; an older store, not opened by its ledger since, has no such tables."""


def schema_of(store: Reader) -> str:
    """The schema that the store has."""
    return str(next(iter(store.rows("SELECT version_num FROM alembic_version")))[0])


def open_reader(url: str, directory: Path) -> Reader:
    """The store of the settings (*url*, or SQLite under *directory*), to read. Raises StoreMissing."""
    return PostgresReader(url) if url else SqliteReader(sqlite_path(directory))
