"""The few statements of the hot path, written once for both dialects from the tables' own columns.

SQLAlchemy compiles schema and migrations; here its Table objects only supply names, because an `executemany` of a ready
string costs a tenth of a compiled expression.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Protocol

from sqlalchemy import Table

CHUNK = 400
"""Most keys in one IN list."""


class Cursor(Protocol):
    """What both DB-API drivers offer."""

    rowcount: int

    def execute(self, sql: str, parameters: Sequence[Any] = ...) -> Any: ...
    def executemany(self, sql: str, rows: Iterable[Sequence[Any]]) -> Any: ...
    def fetchall(self) -> list[Any]: ...
    def fetchone(self) -> Any: ...


class Dialect:
    """Placeholders of one driver: `?` for sqlite3, `%s` for psycopg."""

    def __init__(self, mark: str) -> None:
        self.mark = mark

    def upsert(self, table: Table, fixed: str = "") -> str:
        """Insert a row, or replace what its primary key holds. A row whose *fixed* column would change breaks NOT NULL."""
        keys = [column.name for column in table.primary_key.columns]
        rest = [column.name for column in table.columns if column.name not in keys]
        same = f"CASE WHEN {table.name}.{fixed} = excluded.{fixed} THEN excluded.{fixed} END"
        changes = ", ".join(f"{name} = {same if name == fixed else f'excluded.{name}'}" for name in rest)
        return f"{self.insert(table)} ON CONFLICT ({', '.join(keys)}) DO UPDATE SET {changes}"

    def insert(self, table: Table) -> str:
        """Insert a row; a key that is there already is an error."""
        names = [column.name for column in table.columns]
        return f"INSERT INTO {table.name} ({', '.join(names)}) VALUES ({', '.join([self.mark] * len(names))})"

    def delete(self, table: Table) -> str:
        """Delete by primary key."""
        keys = " AND ".join(f"{column.name} = {self.mark}" for column in table.primary_key.columns)
        return f"DELETE FROM {table.name} WHERE {keys}"

    def select_in(
        self, cursor: Cursor, table: Table, columns: Sequence[str], key: str, values: Sequence[str]
    ) -> Iterator[Any]:
        """Rows of *columns* whose *key* is one of *values*."""
        for start in range(0, len(values), CHUNK):
            chunk = values[start : start + CHUNK]
            sql = f"SELECT {', '.join(columns)} FROM {table.name} WHERE {key} IN ({', '.join([self.mark] * len(chunk))})"
            cursor.execute(sql, chunk)
            yield from cursor.fetchall()
