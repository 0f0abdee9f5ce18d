"""The canonical store, opened by one writer.

`open_store` takes the lock (a second ledger is told who holds it), migrates, raises the epoch. `commit` writes one batch
in one transaction, checks the epoch inside it, and reads back what it wrote. SQLite in WAL mode with `synchronous=FULL`
by default, PostgreSQL by URL; both through their plain DB-API connection.

Failures are told apart: Transient (full, busy, gone: nothing was changed, or `landed` says that it was), ConstraintBroken
(a row the schema refuses: held against the message), Terminal (fenced, read-back differs: stop).
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import orjson

from holdfast.contracts.messages import Fill, Trade
from holdfast.contracts.outcomes import TradeOutcome
from holdfast.contracts.portfolio import RiskRow
from holdfast.contracts.rows import (
    BookRow,
    ControlRow,
    IntentRow,
    LearningRow,
    NavRow,
    OrderRow,
    PositionRow,
    QuarantineRow,
    ThresholdsRow,
    TotalRow,
)
from holdfast.domain.ledger_state import Known
from holdfast.runtime.faults import Terminal, Transient
from holdfast.store import schema
from holdfast.store.batch import COLUMNS_OF, GENESIS, Batch, BrokenChain, Journaled, check_chain
from holdfast.store.sql import Cursor, Dialect

CHECKED_AT_START = 10_000
"""Updates at the end of the journal whose chain is checked when the store is opened; `ledger verify` checks them all."""
WHAT_TO_DO = "Restore a backup, or rebuild the tables from the journal: see docs/backup-and-restore.md"


class ConstraintBroken(Exception):  # noqa: N818
    """The schema refuses a row of the batch; the transaction was rolled back."""


class Driver(Protocol):
    """One open connection and what differs between databases."""

    dialect: Dialect
    begin: str

    def cursor(self) -> Cursor: ...
    def translate(self, error: Exception) -> Exception:
        """*error* as Transient, ConstraintBroken, or itself."""
        ...

    def alive(self) -> None:
        """Reconnect where the server went away. Raises Transient."""
        ...

    def integrity(self) -> list[str]:
        """What the database itself finds wrong with its file."""
        ...

    def backup(self, target: Path) -> None: ...
    def close(self) -> None: ...


class Store:
    """See the module. Not thread-safe: one thread uses it at a time."""

    def __init__(self, driver: Driver, *, store_id: str, epoch: int) -> None:
        self._driver, self.store_id, self.epoch = driver, store_id, epoch
        dialect = driver.dialect
        self._fence = f"UPDATE store SET epoch = epoch WHERE one = 1 AND epoch = {dialect.mark}"
        tables = (
            schema.books, schema.positions, schema.orders, schema.intents, schema.fills, schema.trades, schema.inbox, schema.control,
            schema.totals, schema.nav, schema.risk, schema.quarantine, schema.executors, schema.updates, schema.learning, schema.thresholds, schema.outcomes,
        )  # fmt: skip
        self._upsert = {table.name: dialect.upsert(table) for table in tables}
        self._upsert["orders"] = dialect.upsert(schema.orders, fixed="intent_id")
        self._insert = {table.name: dialect.insert(table) for table in tables}
        self._close_position = dialect.delete(schema.positions)
        self._drop_outcomes = (
            "DELETE FROM outcomes WHERE position_id NOT IN"
            f" (SELECT position_id FROM outcomes ORDER BY seq DESC, closed_at DESC, position_id LIMIT {dialect.mark})"
        )

    # -- reading ------------------------------------------------------------------------------------------------------

    def rows(self) -> Iterator[Any]:
        """Everything live: what LedgerState.load takes. Raises Terminal for a row that says two things, ValueError for one that says none."""
        for table, model, where in (
            (schema.books, BookRow, ""),
            (schema.positions, PositionRow, ""),
            (schema.orders, OrderRow, " WHERE live = 1"),
            (schema.control, ControlRow, ""),
            (schema.totals, TotalRow, ""),
            (schema.nav, NavRow, ""),
            (schema.learning, LearningRow, ""),
            (schema.thresholds, ThresholdsRow, ""),
            (schema.risk, RiskRow, ""),
            (schema.quarantine, QuarantineRow, " WHERE resolved = 0"),
        ):
            names = ", ".join(column.name for column in table.columns)
            for found in self.query(f"SELECT {names} FROM {table.name}{where}"):
                row = model.model_validate_json(found[-1])
                if tuple(found) != COLUMNS_OF[model](row, found[-1]):
                    raise Terminal(
                        f"the store is damaged: the columns of {table.name} {found[0]} do not say what its body says. {WHAT_TO_DO}"
                    )
                yield row

    def executors(self) -> dict[str, int]:
        """Account -> epoch of the executor whose reservations count."""
        return dict(self.query("SELECT account, epoch FROM executors"))

    def last(self) -> tuple[int, str]:
        """Sequence and hash of the newest update; (0, GENESIS) of an empty store."""
        rows = self.query("SELECT seq, hash FROM updates ORDER BY seq DESC LIMIT 1")
        return (rows[0][0], rows[0][1]) if rows else (0, GENESIS)

    def updates_after(self, seq: int, limit: int) -> list[Journaled]:
        """Journal entries behind *seq*, oldest first, each checked to follow from the one before it. Raises Terminal."""
        mark = self._driver.dialect.mark
        rows = self.query(
            f"SELECT seq, kind, at, hash, body FROM updates WHERE seq >= {mark} ORDER BY seq LIMIT {mark}",
            (seq, limit + (seq > 0)),
        )
        found = [Journaled(row[0], row[1], row[2], row[3], row[4].encode()) for row in rows]
        before = found.pop(0).hash if found and found[0].seq == seq else GENESIS if seq <= 0 else ""
        try:
            check_chain(max(seq, 0), before, found)
        except BrokenChain as broken:
            raise Terminal(f"the store is damaged: {broken}. {WHAT_TO_DO}") from broken
        return found[:limit]

    def query(self, sql: str, parameters: Sequence[Any] = ()) -> list[Any]:
        """Rows of a read. Raises Transient."""
        self._driver.alive()
        try:
            cursor = self._driver.cursor()
            cursor.execute(sql, parameters)
            return cursor.fetchall()
        except Exception as error:
            raise self._driver.translate(error) from error

    def outcomes(self, skip: int, limit: int) -> tuple[list[TradeOutcome], int]:
        """What is kept of closed trades, newest first, without the first *skip*, and how many are kept. Raises Transient."""
        mark = self._driver.dialect.mark
        rows = self.query(
            f"SELECT body FROM outcomes ORDER BY seq DESC, closed_at DESC, position_id LIMIT {mark} OFFSET {mark}",
            (limit, skip),
        )
        count = self.query("SELECT count(*) FROM outcomes")[0][0]
        return [TradeOutcome.model_validate_json(body) for (body,) in rows], int(count)

    def look_up(
        self,
        *,
        intents: Sequence[str] = (),
        orders: Sequence[str] = (),
        fills: Sequence[Fill] = (),
        messages: Sequence[str] = (),
        outcomes: Sequence[str] = (),
    ) -> Known:
        """What the store holds of the things a batch names. Raises Transient."""
        known, select = Known(), self._driver.dialect.select_in
        self._driver.alive()
        try:
            cursor = self._driver.cursor()
            if intents:
                for (body,) in select(cursor, schema.intents, ("body",), "intent_id", intents):
                    row = IntentRow.model_validate_json(body)
                    known.intents[row.intent_id] = row
            if orders:
                for (body,) in select(cursor, schema.orders, ("body",), "order_id", orders):
                    order = OrderRow.model_validate_json(body)
                    known.orders[order.order_id] = order
            if fills:
                trade_ids = list({fill.trade_id for fill in fills})
                for row in select(
                    cursor,
                    schema.fills,
                    ("account", "exchange", "symbol", "order_id", "trade_id", "digest"),
                    "trade_id",
                    trade_ids,
                ):
                    known.fills["|".join(row[:5])] = row[5]
            if outcomes:
                for (body,) in select(cursor, schema.trades, ("body",), "position_id", outcomes):
                    trade = Trade.model_validate_json(body)
                    known.trades[trade.position_id] = trade
                for (body,) in select(cursor, schema.outcomes, ("body",), "position_id", outcomes):
                    outcome = TradeOutcome.model_validate_json(body)
                    known.outcomes[outcome.position_id] = outcome
            if messages:
                known.messages.update(
                    select(cursor, schema.inbox, ("message_id", "digest"), "message_id", messages)
                )
        except Exception as error:
            raise self._driver.translate(error) from error
        return known

    # -- writing ------------------------------------------------------------------------------------------------------

    def commit(self, batch: Batch) -> None:
        """Write *batch* in one transaction. Raises Transient, ConstraintBroken or Terminal; nothing is changed then,
        unless the answer of the COMMIT itself was lost: `last` tells.
        """
        self._driver.alive()
        cursor = self._driver.cursor()
        try:
            cursor.execute(self._driver.begin)
            cursor.execute(self._fence, (self.epoch,))
            if cursor.rowcount != 1:
                raise Terminal(f"another ledger has taken over this store (our epoch is {self.epoch})")
            for key in batch.closed:
                cursor.execute(self._close_position, (key,))
            for table, may_exist, rows in batch.writes():
                if rows:
                    cursor.executemany((self._upsert if may_exist else self._insert)[table.name], rows)
            if batch.outcomes:
                cursor.execute(self._drop_outcomes, (batch.keep_outcomes,))
            cursor.execute("COMMIT")
        except Exception as error:
            self._roll_back(cursor)
            raise self._driver.translate(error) from error
        try:
            self._read_back(cursor, batch)
        except Exception as error:
            raise self._driver.translate(error) from error

    def _roll_back(self, cursor: Cursor) -> None:
        try:
            cursor.execute("ROLLBACK")
        except Exception as error:
            translated = self._driver.translate(error)
            if "no transaction" not in str(error) and not isinstance(translated, Transient):
                raise translated from error

    def _read_back(self, cursor: Cursor, batch: Batch) -> None:
        """Seed 001's verification after save: what the store holds is what was meant. Raises Terminal."""
        select = self._driver.dialect.select_in
        for table, key, meant in (
            (schema.positions, "position_id", batch.positions),
            (schema.orders, "order_id", batch.orders),
        ):
            if not meant and not (table is schema.positions and batch.closed):
                continue
            wanted = [*meant, *(batch.closed if table is schema.positions else ())]
            found = dict(select(cursor, table, (key, "body"), key, wanted))
            if found != {name: row[-1] for name, row in meant.items()}:
                raise Terminal(f"INV-8: the store does not hold what was committed to {table.name}")

    # -- care ---------------------------------------------------------------------------------------------------------

    def integrity(self) -> list[str]:
        """What the database itself finds wrong; empty when it is sound."""
        return self._driver.integrity()

    def check_end(self) -> None:
        """The end of the journal follows from what is before it, and was not written after the store's own epoch. Raises Terminal."""
        last = self.updates_after(self.last()[0] - CHECKED_AT_START, CHECKED_AT_START)[-1:]
        epoch = orjson.loads(last[0].body)["epoch"] if last else 0
        if epoch > self.epoch:
            raise Terminal(
                f"the store is damaged: its journal was written in epoch {epoch}, the store says {self.epoch}. {WHAT_TO_DO}"
            )

    def backup(self, target: Path) -> None:
        """A consistent copy in *target*, made while the store is in use. Raises FileExistsError."""
        if target.exists():
            raise FileExistsError(f"{target} exists; a backup never overwrites")
        self._driver.backup(target)

    def close(self) -> None:
        self._driver.close()
