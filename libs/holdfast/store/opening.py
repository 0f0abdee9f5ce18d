"""Opening the store: lock, migrate, raise the epoch. A second ledger on the same store is told who holds it.

The epoch goes up with every take-over and is checked inside every transaction, so a ledger that was paused for an hour
and wakes beside its successor cannot write (INV-9).
"""

from pathlib import Path

import orjson
from sqlalchemy import create_engine, text

from holdfast.runtime.faults import EXIT_HELD, EXIT_TERMINAL, Terminal
from holdfast.runtime.ids import Ids
from holdfast.runtime.locks import AlreadyHeld, Held, hold
from holdfast.store.postgres import PostgresDriver
from holdfast.store.sqlite import WHAT_TO_DO, SqliteDriver
from holdfast.store.store import Store

HEAD = "0002"
"""The schema this code is written for."""
MIGRATIONS = Path(__file__).parent / "migrations"


class OpenStore(Store):
    """A store with the lock that makes this process its one writer."""

    lock: Held | None = None

    def close(self) -> None:
        super().close()
        if self.lock is not None:
            self.lock.release()


def sqlite_path(directory: Path) -> Path:
    """Where the default store lives."""
    return directory / "ledger" / "ledger.db"


def open_store(*, url: str, directory: Path, who: str, ids: Ids, check: bool = True) -> OpenStore:
    """The store, ready for its one writer. Raises Terminal: held by another (with its name), damaged, or too new."""
    return (
        _open_postgres(url, who, ids) if url else _open_sqlite(sqlite_path(directory), who, ids, check=check)
    )


def _open_sqlite(path: Path, who: str, ids: Ids, *, check: bool) -> OpenStore:
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        lock = hold(path.with_suffix(".lock"), who)
    except AlreadyHeld as held:
        raise Terminal(f"another ledger has this store: {held}", EXIT_HELD) from held
    try:
        _migrate(f"sqlite:///{path}", path)
        driver = SqliteDriver(path)
        if check and (found := driver.integrity()):
            driver.close()
            raise Terminal(
                f"the store {path} is damaged: {'; '.join(found[:5])}. {WHAT_TO_DO}", EXIT_TERMINAL
            )
        store = taken(driver, who, ids)
    except BaseException:
        lock.release()
        raise
    store.lock = lock
    return store


def taken(driver: SqliteDriver | PostgresDriver, who: str, ids: Ids) -> OpenStore:
    """The store of an open and migrated database, its epoch raised. The connection is closed where that fails."""
    try:
        return _take_over(driver, who, ids)
    except Exception as error:
        driver.close()
        raise driver.translate(error) from error


def _open_postgres(url: str, who: str, ids: Ids) -> OpenStore:
    driver = PostgresDriver(url)
    try:
        if not driver.lock():
            raise Terminal(f"another ledger has this store: {driver.holder()}", EXIT_HELD)
        _migrate(url.replace("postgresql://", "postgresql+psycopg://", 1), None)
    except BaseException:
        driver.close()
        raise
    return taken(driver, who, ids)


def _migrate(url: str, path: Path | None) -> None:
    """Bring the schema to HEAD. Raises Terminal for a store written by newer code, or for a file that is no store."""
    if path is not None and not path.exists():
        path.touch(mode=0o600)
    engine = create_engine(url)
    try:
        with engine.begin() as connection:
            found = _version(connection)
            if found == HEAD:
                return
            if found is not None and found > HEAD:
                raise Terminal(
                    f"the store has schema {found}; this is Holdfast for schema {HEAD}. Use the newer version"
                )
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
            f"the store {path or 'in PostgreSQL'} cannot be opened: {error.__cause__ or error}"
        ) from error
    finally:
        engine.dispose()


def _version(connection: object) -> str | None:
    from sqlalchemy import Connection, inspect

    assert isinstance(connection, Connection)
    if not inspect(connection).has_table("alembic_version"):
        return None
    row = connection.execute(text("SELECT version_num FROM alembic_version")).first()
    return str(row[0]) if row else None


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
