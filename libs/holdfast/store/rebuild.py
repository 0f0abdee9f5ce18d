"""All tables anew from the journal, into a file of its own; and what differs between two stores.

Each update is taken as the ledger takes it (`store.batch`), so the tables of a rebuilt store are those that the ledger would have
written. A message of the journal whose inbox row is lost is known again by its id alone, with an empty digest.
"""

from collections.abc import Iterator
from pathlib import Path

import orjson
from pydantic import ValidationError
from sqlalchemy import Table, Text

from holdfast.contracts.codes import UpdateKind
from holdfast.contracts.messages import LedgerUpdated
from holdfast.domain.settle import fill_digest
from holdfast.runtime.faults import Transient
from holdfast.store import schema
from holdfast.store.batch import Batch, encoded
from holdfast.store.journal import Source, Unusable, checked
from holdfast.store.opening import create_sqlite
from holdfast.store.reading import Reader
from holdfast.store.sqlite import SqliteDriver
from holdfast.store.store import ConstraintBroken, Driver

AT_ONCE = 500
"""Updates in one transaction."""
WITHOUT_KEY = frozenset({UpdateKind.STATUS, UpdateKind.CONTROL, UpdateKind.ADJUSTED, UpdateKind.LEARNED})
"""Updates caused by messages that the inbox remembers."""
_COMPARED = tuple(table for table in schema.metadata.sorted_tables if table is not schema.store)


def rebuild_sqlite(source: Source, target: Path) -> None:
    """A whole new store in *target* out of *source*. Raises FileExistsError, or Unusable: then *target* is gone again."""
    if target.exists():
        raise FileExistsError(f"{target} exists; nothing is overwritten")
    create_sqlite(target)
    driver = SqliteDriver(target)
    try:
        fill_tables(driver, source)
    except BaseException:
        driver.close()
        target.unlink(missing_ok=True)
        raise
    driver.close()


def fill_tables(driver: Driver, source: Source) -> None:
    """Write every table of an empty store from *source*, and the store's name. Raises Unusable."""
    dialect, cursor = driver.dialect, driver.cursor()
    upsert = {
        table.name: dialect.upsert(table)
        for table in schema.metadata.sorted_tables
        if table is not schema.store
    }
    insert = {table.name: dialect.insert(table) for table in schema.metadata.sorted_tables}
    gone = dialect.delete(schema.positions)
    try:
        cursor.execute(driver.begin)
        head = source.head
        writer = orjson.dumps({"service": "rebuilt from the journal"}).decode()
        cursor.execute(insert["store"], (1, head.store_id, head.epoch, writer))
        for batch in _batches(source):
            cursor.executemany(gone, [(key,) for key in batch.closed])
            for table, may_exist, rows in batch.writes():
                if rows:
                    cursor.executemany((upsert if may_exist else insert)[table.name], rows)
        cursor.executemany(insert["outcomes"], source.outcomes())
        cursor.execute("COMMIT")
    except Exception as error:
        translated = driver.translate(error)
        if isinstance(translated, ConstraintBroken | Transient):
            raise Unusable(f"the tables cannot be written from this journal: {translated}") from error
        raise translated from error


def _batches(source: Source) -> Iterator[Batch]:
    batch = Batch()
    for row, noted in checked(source):
        seq = row.seq if row is not None else 0
        batch.inbox += [(message_id, digest, seq) for message_id, digest in noted]
        if row is None:
            continue
        try:
            update = LedgerUpdated.model_validate_json(row.body)
        except ValidationError as error:
            raise Unusable(
                f"update {seq} of the journal cannot be read: {error.errors()[0]['msg']}"
            ) from error
        batch.take(update, row, encoded(update), {fill.key: fill_digest(fill) for fill in update.fills})
        cause = update.cause_id
        if update.kind in WITHOUT_KEY and cause is not None and cause not in {key for key, _ in noted}:
            batch.inbox.append((cause, "", seq))
        if len(batch.updates) >= AT_ONCE:
            yield batch
            batch = Batch()
    yield batch


# -- comparing ----------------------------------------------------------------------------------------------------------


def differences(mine: Reader, theirs: Reader) -> dict[str, int]:
    """Table -> how many of its rows are in one store only, or differ. Bodies are compared as documents."""
    counts = {table.name: sum(1 for _ in _unlike(mine, theirs, table)) for table in _COMPARED}
    return {name: count for name, count in counts.items() if count}


def _unlike(mine: Reader, theirs: Reader, table: Table) -> Iterator[str]:
    """Keys of rows that are not the same in both; the two are read side by side, in the order of the key."""
    left, right = _keyed(mine, table), _keyed(theirs, table)
    one, other = next(left, None), next(right, None)
    while one is not None or other is not None:
        if other is None or (one is not None and one[0] < other[0]):
            yield str(one[0] if one else "")
            one = next(left, None)
        elif one is None or other[0] < one[0]:
            yield str(other[0])
            other = next(right, None)
        else:
            if one[1] != other[1]:
                yield str(one[0])
            one, other = next(left, None), next(right, None)


def _keyed(store: Reader, table: Table) -> Iterator[tuple[tuple[object, ...], tuple[object, ...]]]:
    names = [column.name for column in table.columns]
    keys = [column.name for column in table.primary_key.columns]
    order = ", ".join(
        f"{column.name}{store.by_bytes if isinstance(column.type, Text) else ''}"
        for column in table.primary_key.columns
    )
    at = [names.index(key) for key in keys]
    for row in store.rows(f"SELECT {', '.join(names)} FROM {table.name} ORDER BY {order}"):
        values = tuple(
            _document(value) if name == "body" else value for name, value in zip(names, row, strict=True)
        )
        yield tuple(row[index] for index in at), values


def _document(body: str) -> object:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return body
