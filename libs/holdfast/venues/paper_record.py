"""The paper venue's durable record: one SQLite file per account, the truth of what "happened at the exchange".

One commit per batch (WAL, `synchronous=FULL`), so an order that was answered and a fill that was told survive any kill.
`meta` says whose record it is: account, exchange, and the id of the ledger's store it belongs to. `orders` and `trades`
are kept for good; `holdings` and `cash` are sums over the trades, kept beside them so that a start reads what is live
and nothing else. `verify` folds the trades again and compares.

Two counters matter. *Trade numbers* only go up; "p<number>" is the trade id. The *generation* goes up when a person
rebuilds the record from the ledger: sums and reports count trades of the current generation only, older ones stay as
history. Trades that the ledger told us (adoptions) are flagged and never reported back to it.

The *epoch* fences: each opening for writing raises it, and each commit checks it (INV-9). Whoever opened before finds his
next commit refused with `RecordTaken`.
"""

import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path

from holdfast.contracts.codes import Code
from holdfast.contracts.messages import Fill
from holdfast.contracts.money import ZERO, canonical
from holdfast.contracts.rows import PositionRow
from holdfast.domain.matching import Account, Holding, Terms, Working
from holdfast.venues.paper_rows import (
    adoption_of,
    changed_values,
    fill_of,
    holding_of,
    holding_values,
    order_of,
    order_values,
    shape_of,
    trade_number,
    trade_values,
)
from holdfast.venues.port import VenueUnreadable

SCHEMA = 1
_TABLES = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
CREATE TABLE orders (
  number INTEGER PRIMARY KEY, order_id TEXT NOT NULL UNIQUE, intent_id TEXT NOT NULL, correlation_id TEXT,
  symbol TEXT NOT NULL, leg TEXT NOT NULL, kind TEXT NOT NULL, contract_size TEXT NOT NULL, settle TEXT NOT NULL,
  side TEXT NOT NULL, type TEXT NOT NULL, price TEXT, quantity TEXT NOT NULL, shrink_only INTEGER NOT NULL,
  time_in_force TEXT NOT NULL, post_only INTEGER NOT NULL, good_till INTEGER,
  quantity_step TEXT NOT NULL, price_step TEXT NOT NULL, filled TEXT NOT NULL, hold TEXT NOT NULL,
  resting INTEGER NOT NULL, run TEXT NOT NULL, after INTEGER NOT NULL, state TEXT NOT NULL, code TEXT, reason TEXT NOT NULL
) STRICT;
CREATE INDEX live_orders ON orders (number) WHERE state IN ('open', 'partial');
CREATE TABLE trades (
  number INTEGER PRIMARY KEY, generation INTEGER NOT NULL, adopted INTEGER NOT NULL, trade_id TEXT NOT NULL,
  order_id TEXT NOT NULL, symbol TEXT NOT NULL, leg TEXT NOT NULL, side TEXT NOT NULL, quantity TEXT NOT NULL,
  price TEXT NOT NULL, fee TEXT NOT NULL, executed_at INTEGER NOT NULL, at INTEGER NOT NULL, kind TEXT NOT NULL,
  contract_size TEXT NOT NULL, settle TEXT NOT NULL, intent_id TEXT, correlation_id TEXT
) STRICT;
CREATE INDEX trades_by_order ON trades (order_id);
CREATE INDEX trades_by_time ON trades (executed_at);
CREATE UNIQUE INDEX adopted_once ON trades (generation, trade_id) WHERE adopted = 1;
CREATE TABLE holdings (
  symbol TEXT NOT NULL, leg TEXT NOT NULL, kind TEXT NOT NULL, contract_size TEXT NOT NULL, settle TEXT NOT NULL,
  quantity TEXT NOT NULL, cost TEXT NOT NULL, PRIMARY KEY (symbol, leg)
) STRICT;
CREATE TABLE cash (settle TEXT PRIMARY KEY, opening TEXT NOT NULL, amount TEXT NOT NULL) STRICT;
"""
_NEW_ORDER = "INSERT INTO orders VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)"
_CHANGED_ORDER = (
    "UPDATE orders SET filled=?, hold=?, resting=?, run=?, after=?, state=?, code=?, reason=? WHERE number=?"
)
_NEW_TRADE = "INSERT INTO trades VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)"
_PUT_HOLDING = "INSERT INTO holdings VALUES (?,?,?,?,?,?,?) ON CONFLICT DO UPDATE SET quantity=excluded.quantity, cost=excluded.cost"
_NO_HOLDING = "DELETE FROM holdings WHERE symbol=? AND leg=?"
_PUT_CASH = "INSERT INTO cash VALUES (?, '0', ?) ON CONFLICT DO UPDATE SET amount=excluded.amount"
_REPORTED = "SELECT * FROM trades WHERE adopted = 0 AND generation = ?"
_CHUNK = 500


class RecordUnreadable(VenueUnreadable):
    """The file is not a paper record, is damaged, or belongs to another account."""


class RecordTaken(Exception):  # noqa: N818
    """Another process has opened this record for writing since (INV-9): this one must stop."""


class PaperRecord:
    """One account's record. All calls block, for about as long as one fsync takes where they write."""

    def __init__(
        self,
        path: Path | str,
        account: str,
        exchange: str = "paper",
        *,
        read_only: bool = False,
        durable: bool = True,
    ) -> None:
        """*durable* False: nothing waits for the disk, so a power cut may damage the file. For what is thrown away."""
        self.path, self.account, self.exchange, self._durable = Path(path), account, exchange, durable
        try:
            self._db = self._open(read_only)
        except sqlite3.Error as error:
            raise RecordUnreadable(f"the paper record {self.path} cannot be read: {error}") from error

    def _open(self, read_only: bool) -> sqlite3.Connection:
        if not read_only:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        uri = f"{self.path.absolute().as_uri()}?mode={'ro' if read_only else 'rwc'}"
        db = sqlite3.connect(uri, uri=True, isolation_level=None, timeout=2.0)
        try:
            if not read_only:
                self._prepare(db)
            self._read_meta(db)
        except BaseException:
            db.close()
            raise
        return db

    def _prepare(self, db: sqlite3.Connection) -> None:
        synchronous = "synchronous=FULL" if self._durable else "synchronous=OFF"
        for pragma in ("journal_mode=WAL", synchronous, "temp_store=MEMORY"):
            db.execute(f"PRAGMA {pragma}")
        db.execute("BEGIN IMMEDIATE")
        if not db.execute("SELECT 1 FROM sqlite_schema WHERE name = 'meta'").fetchone():
            for statement in _TABLES.strip().split(";\n"):
                db.execute(statement.rstrip(";"))
            first = {
                "schema": SCHEMA,
                "account": self.account,
                "exchange": self.exchange,
                "generation": 1,
                "epoch": 0,
                "last_trade": 0,
            }
            db.executemany(
                "INSERT INTO meta VALUES (?, ?)", [(key, str(value)) for key, value in first.items()]
            )
        db.execute("UPDATE meta SET value = CAST(value AS INTEGER) + 1 WHERE key = 'epoch'")
        db.execute("COMMIT")

    def _read_meta(self, db: sqlite3.Connection) -> None:
        meta: dict[str, str] = dict(db.execute("SELECT key, value FROM meta"))
        if meta.get("schema") != str(SCHEMA):
            raise RecordUnreadable(
                f"the paper record {self.path} has schema {meta.get('schema')}; this version reads {SCHEMA}"
            )
        if (meta["account"], meta["exchange"]) != (self.account, self.exchange):
            raise RecordUnreadable(
                f"the paper record {self.path} is of {meta['account']}/{meta['exchange']}, not {self.account}/{self.exchange}"
            )
        self.store_id: str | None = meta.get("store_id")
        self.generation, self.epoch = int(meta["generation"]), int(meta["epoch"])
        last = db.execute("SELECT MAX(number) FROM trades").fetchone()[0]
        self.last_trade_number = max(last or 0, int(meta["last_trade"]))
        self.last_order_number: int = db.execute("SELECT MAX(number) FROM orders").fetchone()[0] or 0

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        """All or nothing, and only for the latest opener."""
        self._db.execute("BEGIN IMMEDIATE")
        try:
            epoch = self._db.execute("SELECT value FROM meta WHERE key = 'epoch'").fetchone()[0]
            if int(epoch) != self.epoch:
                raise RecordTaken(
                    f"the paper record {self.path} was opened by another process (epoch {epoch}, ours is {self.epoch})"
                )
            yield self._db
            self._db.execute("COMMIT")
        except BaseException:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise

    def commit(
        self,
        *,
        new: Sequence[Working] = (),
        changed: Iterable[Working] = (),
        fills: Sequence[Fill] = (),
        holdings: Iterable[Holding] = (),
        cash: Mapping[str, Decimal] | None = None,
        adopted: bool = False,
    ) -> None:
        """Write one batch: all of it, or (sqlite3.Error, RecordTaken) nothing. Fills number on from `last_trade_number`."""
        first = self.last_trade_number + 1
        with self._transaction() as db:
            if new:
                db.executemany(_NEW_ORDER, [order_values(order) for order in new])
            db.executemany(_CHANGED_ORDER, [changed_values(order) for order in changed])
            if fills:
                db.executemany(
                    _NEW_TRADE,
                    [trade_values(fill, first + n, self.generation, adopted) for n, fill in enumerate(fills)],
                )
            for holding in holdings:
                if holding.quantity:
                    db.execute(_PUT_HOLDING, holding_values(holding))
                else:
                    db.execute(_NO_HOLDING, (holding.symbol, holding.leg.value))
            db.executemany(
                _PUT_CASH, [(settle, canonical(amount)) for settle, amount in (cash or {}).items()]
            )
        self.last_trade_number += len(fills)
        self.last_order_number += len(new)

    def live_orders(self) -> list[Working]:
        """Orders that may still fill, in order of arrival."""
        return [
            order_of(row)
            for row in self._db.execute(
                "SELECT * FROM orders WHERE state IN ('open', 'partial') ORDER BY number"
            )
        ]

    def orders(self, order_ids: Sequence[str]) -> dict[str, Working]:
        """The orders of these ids that the record knows, whatever their state."""
        rows = self._by_ids("SELECT * FROM orders WHERE order_id IN", order_ids)
        return {order.order_id: order for order in map(order_of, rows)}

    def holdings(self) -> list[Holding]:
        return [holding_of(row) for row in self._db.execute("SELECT * FROM holdings ORDER BY symbol, leg")]

    def cash(self) -> dict[str, Decimal]:
        """Settlement currency -> what trades brought less what they cost, on top of the capital."""
        return {
            settle: Decimal(amount) for settle, amount in self._db.execute("SELECT settle, amount FROM cash")
        }

    def trades_since(self, executed_at: int) -> list[Fill]:
        """Executions at or after this market time, in the order they happened; adoptions are not among them."""
        return self._fills(
            f"{_REPORTED} AND executed_at >= ? ORDER BY number", (self.generation, executed_at)
        )

    def trades_after(self, number: int, limit: int = 10_000) -> list[Fill]:
        """Executions with a higher trade number, in order, at most *limit*: exact where market time is not (a new run)."""
        return self._fills(
            f"{_REPORTED} AND number > ? ORDER BY number LIMIT ?", (self.generation, number, limit)
        )

    def trades_of(self, order_ids: Sequence[str]) -> list[Fill]:
        """All executions of these orders, in the order they happened."""
        query = "SELECT * FROM trades WHERE adopted = 0 AND order_id IN"
        rows = [row for row in self._by_ids(query, order_ids) if row[1] == self.generation]
        return [fill_of(row, self.account, self.exchange) for row in sorted(rows)]

    def has_trades(self) -> bool:
        return bool(
            self._db.execute(
                "SELECT 1 FROM trades WHERE generation = ? LIMIT 1", (self.generation,)
            ).fetchone()
        )

    def _fills(self, query: str, arguments: tuple[int, ...]) -> list[Fill]:
        return [fill_of(row, self.account, self.exchange) for row in self._db.execute(query, arguments)]

    def _by_ids(self, query: str, ids: Sequence[str]) -> Iterator[tuple[object, ...]]:
        for start in range(0, len(ids), _CHUNK):
            chunk = ids[start : start + _CHUNK]
            yield from self._db.execute(f"{query} ({','.join('?' * len(chunk))})", chunk)

    def bind_store(self, store_id: str) -> None:
        """Record, the first time, which ledger store this record belongs to. ValueError when it belongs to another."""
        if self.store_id == store_id:
            return
        if self.store_id is not None:
            raise ValueError(f"the record belongs to store {self.store_id}, not {store_id}")
        with self._transaction() as db:
            db.execute("INSERT INTO meta VALUES ('store_id', ?)", (store_id,))
        self.store_id = store_id

    def belongs_to(self, store_id: str, ledger_has_fills: bool, last_trade: str | None = None) -> str | None:
        """Why this record and that ledger cannot be of one history; None when they can.

        *last_trade* is the newest of this account's trade ids that the ledger has applied. A record that is ahead of the
        ledger is fine (its trades are owed and will be read); one that is behind has forgotten what happened.
        """
        if self.store_id is not None and self.store_id != store_id:
            return f"the paper record of {self.account} belongs to ledger store {self.store_id}, this ledger is {store_id}"
        if self.store_id is None and self.has_trades():
            return f"the paper record of {self.account} has trades but names no ledger store"
        if ledger_has_fills and not self.has_trades() and not self.last_trade_number:
            return f"the paper record of {self.account} is empty, but the ledger has fills of it"
        if trade_number(last_trade) > self.last_trade_number:
            return f"the paper record of {self.account} ends at trade p{self.last_trade_number}, but the ledger has {last_trade}: an older copy"
        return None

    def rebuild_from_ledger(
        self,
        positions: Sequence[PositionRow],
        store_id: str,
        *,
        now_ms: int,
        last_trade: str | None = None,
        opening_cash: Mapping[str, Decimal] | None = None,
    ) -> None:
        """Take the ledger's open positions of this account as the truth, on a person's word; one commit.

        A new generation begins: the positions enter as adopted trades at their average price, live orders end silently,
        trade numbers go on above *last_trade*. *opening_cash* (settlement currency -> realised profit less fees so far)
        is the money it starts with besides the capital; by default none.
        """
        opening = dict(opening_cash or {})
        mine = [
            row
            for row in positions
            if (row.account, row.exchange) == (self.account, self.exchange) and row.is_open
        ]
        fills = [adoption_of(row, now_ms) for row in mine]
        account = Account(Terms())
        account.restore([], opening)
        held = [account.apply(shape_of(fill), fill.side, fill.quantity, fill.price, ZERO) for fill in fills]
        first = max(self.last_trade_number, trade_number(last_trade)) + 1
        with self._transaction() as db:
            db.execute("DELETE FROM holdings")
            db.execute("DELETE FROM cash")
            ended = "UPDATE orders SET state='canceled', code=?, hold='0', reason='the record was rebuilt from the ledger' WHERE state IN ('open', 'partial')"
            db.execute(ended, (Code.RECORD_MISMATCH.value,))
            db.executemany(
                _NEW_TRADE,
                [
                    trade_values(fill, first + n, self.generation + 1, adopted=True)
                    for n, fill in enumerate(fills)
                ],
            )
            db.executemany(_PUT_HOLDING, [holding_values(holding) for holding in held])
            money = [
                (settle, canonical(opening.get(settle, ZERO)), canonical(amount))
                for settle, amount in account.cash.items()
            ]
            db.executemany("INSERT INTO cash VALUES (?, ?, ?)", money)
            meta = {"store_id": store_id, "generation": self.generation + 1, "last_trade": first - 1}
            db.executemany(
                "INSERT INTO meta VALUES (?, ?) ON CONFLICT DO UPDATE SET value=excluded.value",
                [(k, str(v)) for k, v in meta.items()],
            )
        self._read_meta(self._db)

    def knows_adoption(self, trade_id: str) -> bool:
        query = "SELECT 1 FROM trades WHERE adopted = 1 AND generation = ? AND trade_id = ?"
        return bool(self._db.execute(query, (self.generation, trade_id)).fetchone())

    def verify(self) -> list[str]:
        """Fold all trades of this generation again; one sentence for each sum that differs from what is kept."""
        account = Account(Terms())
        opening = {
            settle: Decimal(amount) for settle, amount in self._db.execute("SELECT settle, opening FROM cash")
        }
        account.restore([], opening)
        for row in self._db.execute(
            "SELECT * FROM trades WHERE generation = ? ORDER BY number", (self.generation,)
        ):
            fill = fill_of(row, self.account, self.exchange)
            account.apply(shape_of(fill), fill.side, fill.quantity, fill.price, fill.fee)
        kept = {(holding.symbol, holding.leg): holding for holding in self.holdings()}
        wrong = [
            f"holding {key}: kept {kept.get(key)}, trades say {account.holdings.get(key)}"
            for key in kept.keys() | account.holdings.keys()
            if kept.get(key) != account.holdings.get(key)
        ]
        cash = self.cash()
        return wrong + [
            f"cash {key}: kept {cash.get(key)}, trades say {account.cash.get(key)}"
            for key in cash.keys() | account.cash.keys()
            if cash.get(key) != account.cash.get(key)
        ]

    def close(self) -> None:
        self._db.close()
