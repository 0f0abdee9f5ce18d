"""The ledger's store in a simulated world: the real SQLite, schema and transactions, with faults and points around them.

A transaction is begun, written and committed through a cursor that may fail as a disk or a lock does, before the commit or after
it. A process that dies loses its connection, so what it had not committed rolls back.
"""

import contextlib
import sqlite3
from collections.abc import Callable, Sequence
from functools import cache, partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from holdfast.runtime.faults import EXIT_HELD, Terminal
from holdfast.runtime.ids import Ids
from holdfast.runtime.locks import AlreadyHeld
from holdfast.store.opening import OpenStore, open_store, sqlite_path, taken
from holdfast.store.sqlite import SqliteDriver
from proving.sim.disk import LazyDisk, is_lazy
from proving.sim.process import Locks, Process


def sqlite_error(text: str, code: int) -> sqlite3.OperationalError:
    """The error that SQLite raises with this code."""
    error = sqlite3.OperationalError(text)
    error.sqlite_errorcode = code
    return error


def let_go(connection: sqlite3.Connection) -> None:
    """What becomes of the connection of a dead process. (Closing alone would wait for statements that are still referred to.)"""
    with contextlib.suppress(sqlite3.ProgrammingError):  # it was closed in good order before
        if connection.in_transaction:
            connection.rollback()
        connection.close()


class _Ids:
    """Ids for the empty store that every world begins with."""

    def new(self) -> str:
        return "template"


@cache
def template() -> bytes:
    """A migrated store without an owner, as the real migrations make it: made once, copied for every world."""
    with TemporaryDirectory() as folder:
        open_store(url="", directory=Path(folder), who="sim", ids=_Ids()).close()
        path = sqlite_path(Path(folder))
        with sqlite3.connect(path) as connection:
            connection.execute("DELETE FROM store")
        connection.close()
        return path.read_bytes()


class SimDriver(SqliteDriver):
    """The SQLite driver, with the seam in it."""

    def __init__(self, path: Path, process: Process, on_commit: Callable[[], None]) -> None:
        super().__init__(path)
        self._process, self._on_commit = process, on_commit
        if is_lazy(self._connection):
            disk = LazyDisk(self._connection, process.dice)
            self._on_commit = partial(_both, on_commit, disk.committed)
            process.owns(disk.lose_power)
        process.owns(lambda: let_go(self._connection))

    def cursor(self) -> Any:
        self._process.check()
        return SimCursor(super().cursor(), self._process, self._on_commit)

    def close(self) -> None:
        self._process.check()
        super().close()


def _both(first: Callable[[], None], second: Callable[[], None]) -> None:
    first()
    second()


class SimCursor:
    """A cursor. Statements that matter are points; any of them may fail."""

    def __init__(self, cursor: sqlite3.Cursor, process: Process, on_commit: Callable[[], None]) -> None:
        self._cursor, self._process, self._on_commit = cursor, process, on_commit

    @property
    def rowcount(self) -> int:
        return self._cursor.rowcount

    def execute(self, sql: str, parameters: Sequence[Any] = ()) -> Any:
        if sql.startswith("BEGIN"):
            return self._begin(sql)
        if sql == "COMMIT":
            return self._commit()
        self._process.check()
        return self._cursor.execute(sql, parameters)

    def _begin(self, sql: str) -> Any:
        process = self._process
        process.cross("store", "begin", "before")
        if process.loop.time() < process.outages.store_until_s:
            raise sqlite_error("database or disk is full", sqlite3.SQLITE_FULL)
        if process.strike("store.busy", "begin"):
            raise sqlite_error("database is locked", sqlite3.SQLITE_BUSY)
        return self._cursor.execute(sql)

    def executemany(self, sql: str, rows: Sequence[Sequence[Any]]) -> Any:
        process = self._process
        process.check()
        if process.strike("store.full", "write", 0.3):
            raise sqlite_error("database or disk is full", sqlite3.SQLITE_FULL)
        return self._cursor.executemany(sql, rows)

    def _commit(self) -> Any:
        process = self._process
        process.cross("store", "commit", "before")
        if process.strike("store.failing", "commit"):
            raise sqlite_error("disk I/O error", sqlite3.SQLITE_IOERR)
        done = self._cursor.execute("COMMIT")
        self._on_commit()
        process.cross("store", "commit", "after")
        if process.strike("store.ambiguous", "commit"):
            raise sqlite_error("disk I/O error", sqlite3.SQLITE_IOERR)
        return done

    def fetchone(self) -> Any:
        self._process.check()
        return self._cursor.fetchone()

    def fetchall(self) -> Any:
        self._process.check()
        return self._cursor.fetchall()

    def __iter__(self) -> Any:
        return iter(self._cursor)


def opener(process: Process, locks: Locks, on_commit: Callable[[], None]) -> Callable[..., OpenStore]:
    """`open_store` for *process*: its lock is the world's, its file a copy of the template when there is none."""

    def opening(*, url: str, directory: Path, who: str, ids: Ids, check: bool = True) -> OpenStore:  # noqa: ARG001
        path = sqlite_path(directory)
        try:
            lock = locks.take(str(path), process, who)
        except AlreadyHeld as held:
            raise Terminal(f"another ledger has this store: {held}", EXIT_HELD) from held
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(template())
        store = taken(SimDriver(path, process, on_commit), who, ids)
        store.lock = lock
        return store

    return opening
