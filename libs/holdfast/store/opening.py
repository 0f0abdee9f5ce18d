"""Opening the store: lock, look, migrate, raise the epoch. A second ledger on the same store is told who holds it.

The epoch goes up with every take-over and is checked inside every transaction, so a ledger that was paused for an hour
and wakes beside its successor cannot write (INV-9).

What is there is looked at before it is used (`store.soundness`): a store is made only where there never was one.
"""

from pathlib import Path

import orjson
from sqlalchemy import Connection, create_engine, inspect, text

from holdfast.runtime.faults import EXIT_HELD, EXIT_TERMINAL, Terminal
from holdfast.runtime.files import sync_folder
from holdfast.runtime.ids import Ids
from holdfast.runtime.locks import AlreadyHeld, Held, Lock, hold
from holdfast.store import schema, soundness
from holdfast.store.batch import GENESIS
from holdfast.store.postgres import PostgresDriver
from holdfast.store.sqlite import SqliteDriver
from holdfast.store.store import WHAT_TO_DO, Store

HEAD = "0004"
"""The schema this code is written for."""
MIGRATIONS = Path(__file__).parent / "migrations"


class OpenStore(Store):
    """A store with the lock that makes this process its one writer."""

    lock: Held | None = None
    path: Path | None = None

    def leave_mark(self, *, closed: bool) -> None:
        """Say beside the store where it ends (`store.soundness`); not where another ledger has taken it over."""
        if self.path is not None and isinstance(self.lock, Lock) and self.lock.is_held:
            seq, hashed = self.last()
            soundness.leave(self.path, soundness.Mark(self.store_id, seq, hashed, closed))

    def close(self) -> None:
        try:
            self.leave_mark(closed=True)
        finally:
            super().close()
            if self.lock is not None:
                self.lock.release()


def sqlite_path(directory: Path) -> Path:
    """Where the default store lives."""
    return directory / "ledger" / "ledger.db"


def lock_of(path: Path) -> Path:
    """The lock of the one writer of a SQLite store."""
    return path.with_suffix(".lock")


def open_store(
    *, url: str, directory: Path, who: str, ids: Ids, check: bool = True, durable: bool = True
) -> OpenStore:
    """The store, ready for its one writer. Raises Terminal: held by another (with its name), damaged, or too new.

    *durable* False is for a store that is thrown away after its run (SQLite only): nothing waits for the disk.
    """
    if url:
        return _open_postgres(url, who, ids, check=check)
    return _open_sqlite(sqlite_path(directory), who, ids, check=check, durable=durable)


def _open_sqlite(path: Path, who: str, ids: Ids, *, check: bool, durable: bool) -> OpenStore:
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        lock = hold(lock_of(path), who)
    except AlreadyHeld as held:
        raise Terminal(f"another ledger has this store: {held}", EXIT_HELD) from held
    try:
        if soundness.look(path):
            migrate_sqlite(path)
        else:
            create_sqlite(path)
        driver = SqliteDriver(path, durable=durable)
        if check and (found := driver.integrity()):
            driver.close()
            raise Terminal(
                f"the store {path} is damaged: {'; '.join(found[:5])}. {WHAT_TO_DO}", EXIT_TERMINAL
            )
        store = taken(driver, who, ids, path=path, check=check)
    except BaseException:
        lock.release()
        raise
    store.lock, store.path = lock, path
    store.leave_mark(closed=False)
    return store


def taken(
    driver: SqliteDriver | PostgresDriver, who: str, ids: Ids, *, path: Path | None = None, check: bool = True
) -> OpenStore:
    """The store of an open and migrated database, looked at, its epoch raised. The connection is closed where that fails."""
    try:
        _check_end(driver, path, check=check)
        return _take_over(driver, who, ids)
    except Exception as error:
        driver.close()
        raise driver.translate(error) from error


def _check_end(driver: SqliteDriver | PostgresDriver, path: Path | None, *, check: bool) -> None:
    """Before the epoch is raised: a store that is refused stays as it is."""
    cursor = driver.cursor()
    cursor.execute("SELECT store_id, epoch FROM store")
    row = cursor.fetchone()
    store = Store(driver, store_id=row[0] if row else "", epoch=int(row[1]) if row else 0)
    if row is None and store.last()[0]:
        raise Terminal(f"the store is damaged: it has a journal, and no name. {WHAT_TO_DO}")
    if check and row is not None:
        store.check_end()
    mark = soundness.left(path) if path is not None else None
    if path is not None and mark is not None:
        found = driver.cursor()
        found.execute(f"SELECT hash FROM updates WHERE seq = {driver.dialect.mark}", (mark.seq,))
        there = found.fetchone()
        hashed = there[0] if there else GENESIS if not mark.seq else None
        soundness.check(path, store.store_id, store.last()[0], hashed)


def _open_postgres(url: str, who: str, ids: Ids, *, check: bool) -> OpenStore:
    driver = PostgresDriver(url)
    try:
        if not driver.lock():
            raise Terminal(f"another ledger has this store: {driver.holder()}", EXIT_HELD)
        migrate_postgres(url)
    except BaseException:
        driver.close()
        raise
    return taken(driver, who, ids, check=check)


def create_sqlite(path: Path) -> None:
    """A new, empty store at *path*: whole, or not there. Raises Terminal."""
    making = path.with_suffix(".making")
    making.unlink(missing_ok=True)
    making.touch(mode=0o600)
    migrate_sqlite(making)
    making.replace(path)
    sync_folder(path.parent)


def migrate_sqlite(path: Path) -> None:
    """Bring the file's schema to HEAD. Raises Terminal for a store written by newer code, or for a file that is no store."""
    _migrate(f"sqlite:///{path}", str(path))


def migrate_postgres(url: str) -> None:
    """As `migrate_sqlite`."""
    _migrate(url.replace("postgresql://", "postgresql+psycopg://", 1), "in PostgreSQL")


def _migrate(url: str, what: str) -> None:
    engine = create_engine(url)
    try:
        with engine.begin() as connection:
            found = _version(connection, what)
            if found == HEAD:
                return
            from alembic.command import upgrade
            from alembic.config import Config

            config = Config()
            config.set_main_option("script_location", str(MIGRATIONS))
            config.attributes["connection"] = connection
            upgrade(config, "head")
    except Exception as error:
        if isinstance(error, Terminal):
            raise
        raise Terminal(
            f"the store {what} cannot be opened: {error.__cause__ or error}. {WHAT_TO_DO}"
        ) from error
    finally:
        engine.dispose()


def _version(connection: Connection, what: str) -> str | None:
    """The schema that is there, None where there is nothing of ours. Raises Terminal: newer, or somebody else's."""
    tables = set(inspect(connection).get_table_names())
    ours = set(schema.metadata.tables)
    if "alembic_version" not in tables:
        if tables & ours or (tables and connection.dialect.name == "sqlite"):
            raise Terminal(
                f"the store {what} is not one of Holdfast's: it has tables ({', '.join(sorted(tables)[:5])}) and no schema version of ours. "
                "Put it elsewhere, and restore a backup if there was a store"
            )
        return None
    row = connection.execute(text("SELECT version_num FROM alembic_version")).first()
    found = str(row[0]) if row else "(none)"
    if found.isdigit() and found > HEAD:
        raise Terminal(
            f"the store has schema {found}; this is Holdfast for schema {HEAD}. Use the newer version"
        )
    if not found.isdigit() or "store" not in tables:
        raise Terminal(f"the store {what} is not one of Holdfast's: its schema is {found}. Put it elsewhere")
    if found == HEAD and (missing := ours - tables):
        raise Terminal(
            f"the store {what} is damaged: table {', '.join(sorted(missing))} is missing. {WHAT_TO_DO}"
        )
    return found


def _take_over(driver: SqliteDriver | PostgresDriver, who: str, ids: Ids) -> OpenStore:
    mark, cursor = driver.dialect.mark, driver.cursor()
    cursor.execute(driver.begin)
    cursor.execute("SELECT store_id, epoch FROM store")
    row = cursor.fetchone()
    writer = orjson.dumps({"service": who}).decode()
    if row is None:
        store_id, epoch = "s" + ids.new(), 1
        cursor.execute(
            f"INSERT INTO store (one, store_id, epoch, writer) VALUES (1, {mark}, {mark}, {mark})",
            (store_id, epoch, writer),
        )
    else:
        store_id, epoch = row[0], int(row[1]) + 1
        cursor.execute(f"UPDATE store SET epoch = {mark}, writer = {mark}", (epoch, writer))
    cursor.execute("COMMIT")
    return OpenStore(driver, store_id=store_id, epoch=epoch)
