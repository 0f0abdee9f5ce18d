"""INV-8: the tables are the fold of the journal. The rows an update touched are compared at once, whole tables on request."""

import sqlite3
from collections.abc import Mapping
from decimal import Decimal
from hashlib import blake2b
from typing import Any, NamedTuple

import orjson

from proving.audit.picture import ENDED, Document, FillKey
from proving.audit.report import Findings


class _Table(NamedTuple):
    """Where the rows of one list of an update are kept."""

    name: str
    keys: tuple[str, ...]
    columns: tuple[str, ...] = ()
    """Columns beside the body that must say what the body says."""


TABLES = (
    _Table(
        "positions",
        ("position_id",),
        ("book_id", "side", "quantity", "entry_price", "take_profit", "stop_loss", "version"),
    ),
    _Table("orders", ("order_id",), ("intent_id", "book_id", "role", "side", "state", "quantity", "filled")),
    _Table("books", ("book_id",), ("side",)),
    _Table("intents", ("intent_id",), ("status", "digest")),
    _Table("control", ("scope", "target")),
    _Table("totals", ("account", "exchange", "symbol")),
    _Table("nav", ("account",)),
    _Table("risk", ("account",)),
    _Table("quarantine", ("quarantine_id",)),
    _Table("trades", ("position_id",)),
    _Table("learning", ("scope",)),
    _Table("thresholds", ("version",)),
)
_DEFAULTS: Mapping[str, object] = {"state": "reserved", "filled": "0", "version": 1}
_AMOUNTS = frozenset({"quantity", "filled", "entry_price", "take_profit", "stop_loss"})
Key = tuple[str, ...]


class Tables:
    """Keeps a digest of the last row per key."""

    def __init__(self, findings: Findings) -> None:
        self._findings = findings
        self._kept: dict[str, dict[Key, bytes]] = {table.name: {} for table in TABLES}
        self._touched: dict[str, set[Key]] = {table.name: set() for table in TABLES}
        self._fills: dict[FillKey, int] = {}
        self._new_fills: list[FillKey] = []

    def take(self, update: Document) -> None:
        """Remember what *update* says each row is now."""
        for table in TABLES:
            for row in update.get(table.name, ()):
                key = tuple(str(row.get(name, "")) for name in table.keys)
                self._touched[table.name].add(key)
                if table.name == "positions" and Decimal(row["quantity"]) == 0:
                    self._kept[table.name].pop(key, None)
                else:
                    self._kept[table.name][key] = _digest(row)
        for fill in update.get("fills", ()):
            fill_key = (
                fill["account"],
                fill["exchange"],
                fill["symbol"],
                fill.get("order_id", ""),
                fill["trade_id"],
            )
            self._fills.setdefault(fill_key, update["seq"])
            self._new_fills.append(fill_key)

    def take_new_fills(self) -> list[FillKey]:
        """Keys of the fills since the last call."""
        new, self._new_fills = self._new_fills, []
        return new

    def compare_touched(self, db: sqlite3.Connection, new_fills: list[FillKey]) -> None:
        """Rows that changed since the last call, as the tables have them now."""
        for table in TABLES:
            touched, self._touched[table.name] = self._touched[table.name], set()
            where = " AND ".join(f"{name} = ?" for name in table.keys)
            for key in sorted(touched):
                row = db.execute(f"SELECT {_columns(table)} FROM {table.name} WHERE {where}", key).fetchone()
                self._compare(table, key, row)
        for fill in new_fills:
            sql = "SELECT seq FROM fills WHERE account = ? AND exchange = ? AND symbol = ? AND order_id = ? AND trade_id = ?"
            self._compare_fill(fill, db.execute(sql, fill).fetchone())

    def compare_all(self, db: sqlite3.Connection) -> None:
        """Every row of every table, and that there is none that the journal does not know."""
        for table in TABLES:
            missing = dict(self._kept[table.name])
            names = ", ".join(table.keys)
            for row in db.execute(f"SELECT {names}, {_columns(table)} FROM {table.name}"):
                key = tuple(map(str, row[: len(table.keys)]))
                missing.pop(key, None)
                self._compare(table, key, row[len(table.keys) :])
            for key in sorted(missing):
                self._compare(table, key, None)
        lost = dict(self._fills)
        for *key, seq in db.execute("SELECT account, exchange, symbol, order_id, trade_id, seq FROM fills"):
            fill: FillKey = (key[0], key[1], key[2], key[3], key[4])
            lost.pop(fill, None)
            self._compare_fill(fill, (seq,))
        for fill in sorted(lost):
            self._compare_fill(fill, None)

    def _compare(self, table: _Table, key: Key, row: Any) -> None:
        kept, name = self._kept[table.name].get(key), f"{table.name} {' '.join(key)}"
        if row is None or kept is None:
            if row is not None:
                self._findings.add("INV-8", "", f"{name} is in the table, by the journal it is not")
            elif kept is not None:
                self._findings.add("INV-8", "", f"{name} is not in the table, by the journal it is")
            return
        body, *columns = row
        document = orjson.loads(body)
        if _digest(document) != kept:
            self._findings.add("INV-8", "", f"{name} is not what the journal makes it")
        for column, value in zip(table.columns, columns[: len(table.columns)], strict=True):
            said = document.get(column, _DEFAULTS.get(column))
            if not _same(column, value, said):
                self._findings.add("INV-8", "", f"{name}: column {column} is {value}, its body says {said}")
        if table.name == "orders" and bool(columns[-1]) == (document.get("state", "reserved") in ENDED):
            text = f"{name}: column live is {columns[-1]} in state {document.get('state', 'reserved')}"
            self._findings.add("INV-8", "", text)

    def _compare_fill(self, fill: FillKey, row: Any) -> None:
        known = self._fills.get(fill)
        if known is None or row is None or row[0] != known:
            text = f"fill {'|'.join(fill)} is of update {known or 'none'}, the table says {row[0] if row else 'none'}"
            self._findings.add("INV-8", "", text)


def _columns(table: _Table) -> str:
    return ", ".join(("body", *table.columns, *(("live",) if table.name == "orders" else ())))


def _digest(document: Document) -> bytes:
    return blake2b(orjson.dumps(document, option=orjson.OPT_SORT_KEYS), digest_size=16).digest()


def _same(column: str, value: object, said: object) -> bool:
    if column in _AMOUNTS and value is not None and said is not None:
        return Decimal(str(value)) == Decimal(str(said))
    return value == said
