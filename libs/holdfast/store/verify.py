"""`holdfast ledger verify`: does the store hold together, from its first update to its last row?

The journal is read once, oldest first. Each update must continue the chain of hashes; its fills are folded again
(`store.refold`); and the last word it says about every row is noted in a scratch file. What the scratch file then holds must be
exactly the tables. So memory stays small however long the journal is, and nothing is believed because it is written twice.
"""

import sqlite3
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from functools import partial
from hashlib import blake2b
from typing import Any

import orjson
from pydantic import ValidationError
from sqlalchemy import CheckConstraint

from holdfast.contracts.base import Frozen, encode
from holdfast.contracts.codes import TERMINAL_STATES, ResultStatus
from holdfast.contracts.messages import Fill, Trade
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
from holdfast.domain.invariants import InvariantViolation, check_book
from holdfast.domain.settle import fill_digest
from holdfast.store import schema
from holdfast.store.batch import GENESIS, chain
from holdfast.store.evidence import problems
from holdfast.store.reading import LEARNS_SINCE, Reader, schema_of
from holdfast.store.rebuild import WITHOUT_KEY
from holdfast.store.refold import Refold, differing
from holdfast.store.scratch import Scratch

MOST_PROBLEMS = 5
"""Problems named per check; all are counted."""
EVERY = 10_000
"""Updates between two words about progress."""
_LIVE_ANSWERS = (ResultStatus.ACCEPTED.value, ResultStatus.UNKNOWN.value)
_TERMINAL = frozenset(state.value for state in TERMINAL_STATES)

KEYS: Mapping[str, tuple[str, ...]] = {
    "books": ("book_id",), "positions": ("position_id",), "orders": ("order_id",), "intents": ("intent_id",), "trades": ("position_id",),
    "control": ("scope", "target"), "totals": ("account", "exchange", "symbol"), "nav": ("account",), "quarantine": ("quarantine_id",),
    "learning": ("scope",), "thresholds": ("version",), "risk": ("account",),
}  # fmt: skip
"""Tables that are the last word of the journal about each key."""
COLUMNS: Mapping[str, tuple[str, ...]] = {
    "books": ("book_id", "account", "exchange", "symbol", "leg", "side"),
    "positions": ("position_id", "book_id", "side", "quantity", "entry_price", "take_profit", "stop_loss", "version"),
    "orders": ("order_id", "intent_id", "book_id", "role", "side", "state", "quantity", "filled"),
    "intents": ("intent_id", "digest", "status"), "trades": ("position_id",), "control": ("scope", "target"),
    "totals": ("account", "exchange", "symbol"), "nav": ("account",), "quarantine": ("quarantine_id",), "learning": ("scope",),
    "thresholds": ("version",), "risk": ("account",),
}  # fmt: skip
"""Columns that stand beside a row's body and must say the same."""
_ROWS: Mapping[str, type[Frozen]] = {
    "books": BookRow, "positions": PositionRow, "orders": OrderRow, "intents": IntentRow, "trades": Trade, "control": ControlRow,
    "totals": TotalRow, "nav": NavRow, "quarantine": QuarantineRow, "learning": LearningRow, "thresholds": ThresholdsRow,
    "risk": RiskRow,
}  # fmt: skip
_SINCE: Mapping[str, str] = {"learning": LEARNS_SINCE, "thresholds": LEARNS_SINCE, "risk": "0004"}
"""Tables that an older schema does not have, and the one that brought them."""
_AMOUNTS = frozenset({"quantity", "entry_price", "take_profit", "stop_loss", "filled"})

CHECKS: Mapping[str, str] = {
    "chain": "every update follows the one before it, from the first on",
    "tables": "the tables are exactly what the journal says last",
    "columns": "columns say the same as the rows beside them",
    "constraints": "the database finds its own constraints kept",
    "invariants": "every book has one side, exits for what it holds, and no more exits than that",
    "intents": "every intent has one end, or an order that is alive",
    "fills": "every fill is recorded once",
    "arithmetic": "every position is what its fills make of it",
    "orders": "every order is filled by what its fills sum to",
    "sums": "fills = positions + trades, in pieces and in money, to the last digit",
    "trades": "every trade is what its fills make of it",
    "reasons": "every trade's exit is explained by its reason",
    "totals": "profit, fees and counts add up per symbol",
    "inbox": "every message that changed something is remembered",
    "outcomes": "every outcome that is kept is one of a trade",
}


@dataclass(slots=True)
class Check:
    """One promise: how often it was looked at, how often it was broken, and the first broken ones."""

    check: str
    what: str
    count: int = 0
    failures: int = 0
    problems: list[str] = field(default_factory=list)

    @property
    def passed(self) -> bool:
        return not self.failures

    def broken(self, problem: str) -> None:
        self.failures += 1
        if len(self.problems) < MOST_PROBLEMS:
            self.problems.append(problem)

    def as_row(self) -> dict[str, Any]:
        return {
            "check": self.check, "what": self.what, "passed": self.passed, "count": self.count,
            "failures": self.failures, "problems": self.problems,
        }  # fmt: skip


def verify(store: Reader, progress: Callable[[int], None] | None = None) -> list[Check]:
    """All checks of *store*, in the order of `CHECKS`. *progress* is told now and then how many updates were read."""
    with Scratch() as scratch:
        return _Verifier(store, scratch, progress or (lambda _: None)).run()


class _Verifier:
    def __init__(self, store: Reader, scratch: Scratch, progress: Callable[[int], None]) -> None:
        self._store, self._scratch, self._progress = store, scratch, progress
        self._refold = Refold()
        self._checks = {name: Check(name, what) for name, what in CHECKS.items()}

    def run(self) -> list[Check]:
        steps: list[Callable[[], None]] = [self._read_journal, self._compare_executors]
        found = schema_of(self._store)
        steps += [partial(self._compare_table, table) for table in KEYS if found >= _SINCE.get(table, "")]
        steps += [self._compare_fills, self._compare_inbox, self._look_at_live_rows]
        steps += [self._look_at_intents, self._look_at_sums]
        steps += [self._look_at_outcomes] if found >= LEARNS_SINCE else []
        for step in [*steps, self._look_at_constraints]:
            try:
                step()
            except sqlite3.DatabaseError as error:
                self._checks["constraints"].broken(f"the database cannot be read: {error}")
        return list(self._checks.values())

    # -- the journal --------------------------------------------------------------------------------------------------

    def _read_journal(self) -> None:
        check, before, hashed, epoch = self._checks["chain"], 0, GENESIS, 0
        store_id, store_epoch = next(iter(self._store.rows("SELECT store_id, epoch FROM store")))
        for seq, kind, at, given, text in self._store.rows(
            "SELECT seq, kind, at, hash, body FROM updates ORDER BY seq"
        ):
            check.count += 1
            body = text.encode()
            hashed = chain(hashed, body)
            if hashed != given:
                check.broken(f"update {seq}: its hash does not follow from the one before it and its body")
                hashed = given  # judge each of the rest for itself
            try:
                update = orjson.loads(body)
                said = (update["seq"], update["kind"], update["at"], update["store_id"])
            except (orjson.JSONDecodeError, KeyError, TypeError) as error:
                check.broken(f"update {seq} cannot be read: {error!r}")
                before = seq
                continue
            if seq != before + 1 or said != (seq, kind, at, store_id) or update["epoch"] < epoch:
                check.broken(f"update {seq} after {before} says {said}, epoch {update['epoch']}")
            before, epoch = seq, max(epoch, update["epoch"])
            try:
                self._take(update)
            except (KeyError, TypeError, ValueError, ArithmeticError) as error:
                check.broken(f"update {seq} cannot be followed: {error!r}")
            if not check.count % EVERY:
                self._progress(check.count)
        if epoch > store_epoch:
            check.broken(f"the journal was written in epoch {epoch}, the store says {store_epoch}")

    def _take(self, update: dict[str, Any]) -> None:
        for table in KEYS:
            for row in update.get(table, ()):
                gone = table == "positions" and Decimal(row["quantity"]) == 0
                self._scratch.put(table, _key(table, row), None if gone else _digest(row))
        for account, epoch in update.get("executors", {}).items():
            self._scratch.put("executors", account, str(epoch).encode())
        if update["kind"] in WITHOUT_KEY and update.get("cause_id"):
            self._scratch.put("inbox", update["cause_id"], str(update["seq"]).encode())
        for intent in update.get("intents", ()):
            if intent["status"] not in _LIVE_ANSWERS and not self._scratch.is_first_end(intent["intent_id"]):
                self._checks["intents"].broken(
                    f"intent {intent['intent_id']} ends a second time in update {update['seq']}"
                )
        self._take_fills(update)

    def _take_fills(self, update: dict[str, Any]) -> None:
        fills = []
        for row in update.get("fills", ()):
            self._checks["fills"].count += 1
            try:
                fill = Fill.model_validate(row)
            except ValidationError as error:
                self._checks["fills"].broken(f"a fill in update {update['seq']} cannot be read: {error}")
                continue
            if not self._scratch.is_first("fills", fill.key, f"{fill_digest(fill)} {update['seq']}".encode()):
                self._checks["fills"].broken(f"fill {fill.key} is in the journal twice")
            fills.append(fill)
        for check, problem in self._refold.take(update, fills):
            self._checks[check].broken(problem)

    # -- the tables -----------------------------------------------------------------------------------------------------

    def _compare_table(self, table: str) -> None:
        tables, columns = self._checks["tables"], self._checks["columns"]
        names = COLUMNS[table]
        for *values, body in self._store.rows(f"SELECT {', '.join(names)}, body FROM {table}"):
            tables.count += 1
            columns.count += 1
            try:
                row = orjson.loads(body)
            except orjson.JSONDecodeError as error:
                columns.broken(f"{table} {values[0]}: its body cannot be read: {error}")
                continue
            for name, value in zip(names, values, strict=True):
                if not _is_same(name, value, _said(table, row, name)):
                    columns.broken(
                        f"{table} {values[0]}: column {name} is {value}, its body says {row.get(name)}"
                    )
            if not self._scratch.take(table, _key(table, row), _digest(row)):
                tables.broken(f"{table} {values[0]} is not what the journal says of it last")
        self._complain_of_left(table)

    def _compare_executors(self) -> None:
        for account, epoch in self._store.rows("SELECT account, epoch FROM executors"):
            self._checks["tables"].count += 1
            if not self._scratch.take("executors", account, str(epoch).encode()):
                self._checks["tables"].broken(
                    f"the executor epoch of {account} is not what the journal says last"
                )
        self._complain_of_left("executors")

    def _compare_fills(self) -> None:
        for account, exchange, symbol, order_id, trade_id, digest, seq in self._store.rows(
            "SELECT account, exchange, symbol, order_id, trade_id, digest, seq FROM fills"
        ):
            self._checks["tables"].count += 1
            key = f"{account}|{exchange}|{symbol}|{order_id}|{trade_id}"
            if not self._scratch.take("fills", key, f"{digest} {seq}".encode()):
                self._checks["fills"].broken(f"fill {key} is not what the journal says of it")
        self._complain_of_left("fills", "fills")

    def _compare_inbox(self) -> None:
        """A message that changed nothing is in the inbox alone; one that changed something stands there with its update."""
        check, last = self._checks["inbox"], self._checks["chain"].count
        for message_id, seq in self._store.rows("SELECT message_id, seq FROM inbox"):
            check.count += 1
            self._scratch.take("inbox", message_id, str(seq).encode())
            if not 0 <= seq <= last:
                check.broken(f"message {message_id} was noted at update {seq}, which is not there")
        for key in self._scratch.left("inbox", MOST_PROBLEMS)[1]:
            check.broken(f"message {key} changed something, and is not remembered with its update")

    def _complain_of_left(self, table: str, check: str = "tables") -> None:
        count, keys = self._scratch.left(table, MOST_PROBLEMS)
        for number in range(count):
            name = keys[number] if number < len(keys) else "more"
            self._checks[check].broken(f"{table} {name} is in the journal, not in the table")

    # -- what must hold together ------------------------------------------------------------------------------------------

    def _look_at_live_rows(self) -> None:
        check, arithmetic = self._checks["invariants"], self._checks["arithmetic"]
        arithmetic.count = self._checks["orders"].count = self._refold.folded
        positions = self._rows(PositionRow, "SELECT body FROM positions")
        orders: dict[str, list[OrderRow]] = {}
        for order in self._rows(OrderRow, "SELECT body FROM orders WHERE live = 1"):
            orders.setdefault(order.book_id, []).append(order)
        held = {row.book_id: row for row in positions}
        for book in self._rows(BookRow, "SELECT body FROM books"):
            check.count += 1
            try:
                check_book(book, held.get(book.book_id), orders.get(book.book_id, []))
            except InvariantViolation as violation:
                check.broken(str(violation))
        for name in sorted(held.keys() | self._refold.open.keys()):
            mine, theirs = self._refold.open.get(name), held.get(name)
            if mine is None or theirs is None or mine.position_id != theirs.position_id:
                arithmetic.broken(f"{name}: the fills leave {_name(mine)}, the store holds {_name(theirs)}")
            elif wrong := list(differing(mine, theirs.model_dump(mode="json"))):
                arithmetic.broken(
                    f"{name}: {', '.join(wrong)} of {mine.position_id} is not what its fills make"
                )

    def _rows(self, model: Any, sql: str) -> Iterator[Any]:
        for (body,) in self._store.rows(sql):
            try:
                yield model.model_validate_json(body)
            except ValidationError as error:
                self._checks["columns"].broken(f"a row of {model.__name__} cannot be read: {error}")

    def _look_at_constraints(self) -> None:
        """What the database says of itself, and every CHECK anew: SQLite leaves those out where it may only read."""
        check = self._checks["constraints"]
        check.count = 1
        for problem in self._store.integrity():
            check.broken(problem)
        there = self._store.constraints()
        for table in schema.metadata.sorted_tables:
            for rule in sorted(table.constraints, key=lambda rule: str(rule.name)):
                if rule.name is not None and rule.name not in there:
                    check.broken(f"{table.name}: its constraint {rule.name} is missing")
                if isinstance(rule, CheckConstraint):
                    check.count += 1
                    sql = f"SELECT count(*) FROM {table.name} WHERE NOT ({rule.sqltext})"
                    if broken := next(iter(self._store.rows(sql)))[0]:
                        check.broken(f"{table.name}: {rule.name} is broken by {broken} rows")

    def _look_at_intents(self) -> None:
        check = self._checks["intents"]
        check.count = next(iter(self._store.rows("SELECT count(*) FROM intents")))[0]
        for intent_id, status in self._store.rows(
            "SELECT i.intent_id, i.status FROM intents i LEFT JOIN orders o ON o.intent_id = i.intent_id AND o.live = 1"
            " WHERE i.status IN ('accepted', 'unknown') AND o.order_id IS NULL"
        ):
            check.broken(f"intent {intent_id} is {status}, and no live order is left to end it")
        for order_id, intent_id in self._store.rows(
            "SELECT o.order_id, o.intent_id FROM orders o LEFT JOIN intents i ON i.intent_id = o.intent_id WHERE i.intent_id IS NULL"
        ):
            check.broken(f"order {order_id} belongs to intent {intent_id}, which is not recorded")
        for order_id, live, state in self._store.rows(
            f"SELECT order_id, live, state FROM orders WHERE {_MISMATCH}"
        ):
            self._checks["columns"].broken(f"orders {order_id}: live is {live} in state {state}")

    def _look_at_outcomes(self) -> None:
        check = self._checks["outcomes"]
        for problem in problems(self._store):
            check.count += 1
            if problem is not None:
                check.broken(problem)

    def _look_at_sums(self) -> None:
        sums, trades, totals = self._checks["sums"], self._checks["trades"], self._checks["totals"]
        trades.count = self._checks["reasons"].count = self._refold.trades
        sums.count = sum(book.counts for book in self._refold.books.values())
        for problem in self._refold.sums():
            sums.broken(problem)
        mine = dict(self._refold.totals)
        for row in self._rows(TotalRow, "SELECT body FROM totals"):
            totals.count += 1
            total = mine.pop(row.key, None)
            fees = {currency: fee for currency, fee in row.fees.items() if fee}
            said = (row.realized_pnl, fees, row.trades, row.wins, row.fills)
            if total is None or said != (
                total.realized_pnl,
                total.fees,
                total.trades,
                total.wins,
                total.fills,
            ):
                totals.broken(f"{'/'.join(row.key)}: the totals are not what its fills add up to")
        for key in mine:
            totals.broken(f"{'/'.join(key)}: fills, and no totals")


_MISMATCH = (
    f"live <> CASE WHEN state IN ({', '.join(repr(state) for state in sorted(_TERMINAL))}) THEN 0 ELSE 1 END"
)


def _said(table: str, row: Mapping[str, Any], name: str) -> Any:
    """What the document says in a field; rows travel without their defaults."""
    if name in row:
        return row[name]
    default = _ROWS[table].model_fields[name].default
    return default.value if isinstance(default, StrEnum) else default


def _key(table: str, row: Mapping[str, Any]) -> str:
    return "\x1f".join(str(_said(table, row, name)) for name in KEYS[table])


def _digest(row: Mapping[str, Any]) -> bytes:
    return blake2b(encode(row), digest_size=16).digest()


def _is_same(name: str, column: Any, said: Any) -> bool:
    if name in _AMOUNTS and column is not None and said is not None:
        try:
            return Decimal(column) == Decimal(said)
        except InvalidOperation:
            return False
    return bool(column == said)


def _name(row: PositionRow | None) -> str:
    return "nothing" if row is None else row.position_id
