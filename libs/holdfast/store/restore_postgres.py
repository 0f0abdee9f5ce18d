"""`store.restore` for PostgreSQL: the tables are built in a schema of their own, proven whole, and swapped in by one transaction.

What was there is kept, in a schema named `holdfast_before_TIME`.
"""

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

from holdfast.store import schema
from holdfast.store.journal import FileJournal, Head, StoreJournal, Unusable
from holdfast.store.opening import migrate_postgres
from holdfast.store.postgres import PostgresDriver
from holdfast.store.reading import PostgresReader, SqliteReader, StoreMissing
from holdfast.store.rebuild import fill_tables
from holdfast.store.verify import verify

STAGE = "holdfast_restoring"
_TABLES = (*schema.metadata.tables, "alembic_version")


def restore(url: str, file: Path, agree: Callable[[Head, Head | None], None], stamp: str) -> str | None:
    """Put *file* (a SQLite store, or an exported journal) in the place of the store at *url*; the schema that keeps what was there.

    *agree* is given both ends and raises whatever shall stop it. Raises Unusable, Terminal, Transient, OSError.
    """
    driver = PostgresDriver(url)
    try:
        if not driver.lock():
            raise Unusable(f"stop the ledger first: {driver.holder()} has this store")
        cursor = driver.cursor()
        cursor.execute(f"DROP SCHEMA IF EXISTS {STAGE} CASCADE")
        cursor.execute(f"CREATE SCHEMA {STAGE}")
        try:
            staged = f"{url}{'&' if '?' in url else '?'}options={quote(f'-csearch_path={STAGE}')}"
            migrate_postgres(staged)
            _fill(staged, file)
            now = _head(url)
            agree(_proven(staged), now)
            return _swap(cursor, now, stamp)
        finally:
            cursor.execute(f"DROP SCHEMA IF EXISTS {STAGE} CASCADE")
    finally:
        driver.close()


def _fill(staged: str, file: Path) -> None:
    with file.open("rb") as content:
        is_store = content.read(6) == b"SQLite"
    writer = PostgresDriver(staged)
    try:
        if not is_store:
            fill_tables(writer, FileJournal(file))
            return
        try:
            with SqliteReader(file) as store:
                fill_tables(writer, StoreJournal(store))
        except (StoreMissing, sqlite3.Error) as error:
            raise Unusable(f"it cannot be read: {error}") from error
    finally:
        writer.close()


def _proven(staged: str) -> Head:
    with PostgresReader(staged) as store:
        broken = [check for check in verify(store) if not check.passed]
        if broken:
            told = "; ".join(f"{check.check}: {check.problems[0]}" for check in broken)
            raise Unusable(f"it is not whole ({told})")
        return StoreJournal(store).head


def _head(url: str) -> Head | None:
    try:
        with PostgresReader(url) as store:
            return StoreJournal(store).head
    except (StoreMissing, Unusable):
        return None


def _swap(cursor: Any, now: Head | None, stamp: str) -> str | None:
    """All in one transaction: what is there into a schema of its own, what is staged into its place, in a new epoch."""
    cursor.execute("SELECT current_schema()")
    here = cursor.fetchone()[0]
    cursor.execute("SELECT tablename FROM pg_tables WHERE schemaname = %s", (here,))
    there = {row[0] for row in cursor.fetchall()} & set(_TABLES)
    kept = f"holdfast_before_{stamp}" if there else None
    cursor.execute("BEGIN")
    try:
        cursor.execute(
            f"UPDATE {STAGE}.store SET epoch = GREATEST(epoch, %s) + 1", (0 if now is None else now.epoch,)
        )
        if kept is not None:
            cursor.execute(f"CREATE SCHEMA {kept}")
        for table in sorted(there):
            cursor.execute(f'ALTER TABLE "{here}".{table} SET SCHEMA {kept}')
        for table in _TABLES:
            cursor.execute(f'ALTER TABLE {STAGE}.{table} SET SCHEMA "{here}"')
        cursor.execute("COMMIT")
    except BaseException:
        cursor.execute("ROLLBACK")
        raise
    return kept
