"""PostgreSQL as the ledger's store, through psycopg: same schema, same statements, same tests.

The one writer holds a session advisory lock; the epoch in the `store` row is checked inside every transaction, because
a session can die while its process still believes that it holds the lock.
"""

from contextlib import suppress
from pathlib import Path
from typing import Any

from holdfast.runtime.faults import EXIT_CONFIG, Terminal, Transient
from holdfast.store.sql import Dialect
from holdfast.store.store import ConstraintBroken

LOCK_KEY = 0x486F6C64
"""Of the advisory lock: "Hold"."""


class PostgresDriver:
    """See `store.Driver`."""

    dialect = Dialect("%s")
    begin = "BEGIN"

    def __init__(self, url: str) -> None:
        try:
            import psycopg
        except ImportError as error:
            raise Terminal(
                'a postgresql:// store needs the extra: pip install "holdfast[postgres]"', EXIT_CONFIG
            ) from error
        self._psycopg, self._url = psycopg, url
        self._connection = self._connect()

    def _connect(self) -> Any:
        try:
            return self._psycopg.connect(self._url, autocommit=True, connect_timeout=5)
        except self._psycopg.OperationalError as error:
            raise Transient(f"store: {error}") from error

    def cursor(self) -> Any:
        return self._connection.cursor()

    def alive(self) -> None:
        if self._connection.closed:
            self._connection = self._connect()
            try:
                self.lock()
            except self._psycopg.Error as error:
                raise self.translate(error) from error

    def lock(self) -> bool:
        """Take the writer's lock for this session; False when another session has it."""
        row = self._connection.execute("SELECT pg_try_advisory_lock(%s)", (LOCK_KEY,)).fetchone()
        return bool(row[0])

    def holder(self) -> str:
        """Who holds the lock, as the store names its writer."""
        try:
            row = self._connection.execute("SELECT writer FROM store").fetchone()
        except self._psycopg.errors.UndefinedTable:
            row = None  # it is just being made
        return str(row[0]) if row else "one that has not written its name"

    def translate(self, error: Exception) -> Exception:
        if isinstance(error, self._psycopg.IntegrityError):
            return ConstraintBroken(str(error))
        if isinstance(error, self._psycopg.OperationalError | self._psycopg.InterfaceError):
            return Transient(f"store: {error}")
        return error

    def integrity(self) -> list[str]:
        return []  # the server's own business; `ledger verify` checks the content

    def backup(self, target: Path) -> None:
        raise Terminal(
            f"a PostgreSQL store is backed up by `holdfast ledger backup`, or with pg_dump; {target} was not written",
            EXIT_CONFIG,
        )

    def close(self) -> None:
        """The lock is given back first: a server notices the end of a connection only a moment later."""
        with suppress(self._psycopg.Error):  # a connection that is lost has lost its lock, too
            self._connection.rollback()
            self._connection.execute("SELECT pg_advisory_unlock_all()")
        self._connection.close()
