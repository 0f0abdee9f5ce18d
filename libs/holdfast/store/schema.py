"""The tables. A coarse net under the domain's exact rules: what must never be is made unrepresentable where SQL can say it.

- Amounts are canonical decimal *text*, never REAL; CHECKs look at them through CAST, which is enough to catch a zero.
- `books` holds the one side that a position and the live entries of the book share: both reference (book_id, side) by a
  composite key, so a long and a short cannot be recorded side by side (INV-1).
- A position cannot be written without its stop-loss, nor with exits on the wrong sides of each other (INV-2).
- `body` is the row as followers see it, one JSON document; the columns beside it are what constraints and queries need.
- `updates` is outbox and journal in one: `seq` is the entry id on `ledger.updated`, `hash` chains each body to the last.
"""

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    ForeignKeyConstraint,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
)

metadata = MetaData()


def _text(name: str, *, key: bool = False, null: bool = False) -> Column[str]:
    return Column(name, Text, primary_key=key, nullable=null)


def _big(name: str, *, key: bool = False) -> Column[int]:
    return Column(
        name,
        BigInteger().with_variant(Integer, "sqlite"),
        primary_key=key,
        nullable=False,
        autoincrement=False,
    )


store = Table(
    "store",
    metadata,
    Column("one", Integer, primary_key=True, autoincrement=False),
    _text("store_id"),
    _big("epoch"),
    _text("writer"),
    CheckConstraint("one = 1", name="store_is_one_row"),
)

books = Table(
    "books",
    metadata,
    _text("book_id", key=True),
    _text("account"),
    _text("exchange"),
    _text("symbol"),
    _text("leg"),
    _text("side", null=True),
    _text("body"),
    UniqueConstraint("book_id", "side", name="books_side"),
    CheckConstraint("side IN ('long','short')", name="books_side_word"),
)

positions = Table(
    "positions",
    metadata,
    _text("position_id", key=True),
    _text("book_id"),
    _text("side"),
    _text("quantity"),
    _text("entry_price"),
    _text("take_profit", null=True),
    _text("stop_loss"),
    _big("version"),
    _text("body"),
    UniqueConstraint("book_id", name="positions_one_per_book"),
    ForeignKeyConstraint(
        ["book_id", "side"],
        ["books.book_id", "books.side"],
        name="positions_side_of_book",
        deferrable=True,
        initially="DEFERRED",
    ),
    CheckConstraint("CAST(quantity AS DOUBLE PRECISION) > 0", name="positions_quantity"),
    CheckConstraint("CAST(entry_price AS DOUBLE PRECISION) > 0", name="positions_entry_price"),
    CheckConstraint("CAST(stop_loss AS DOUBLE PRECISION) > 0", name="positions_stop_loss"),
    CheckConstraint(
        "take_profit IS NULL OR CAST(take_profit AS DOUBLE PRECISION) > 0", name="positions_take_profit"
    ),
    CheckConstraint(
        "take_profit IS NULL OR (side = 'long' AND CAST(stop_loss AS DOUBLE PRECISION) <= CAST(take_profit AS DOUBLE PRECISION))"
        " OR (side = 'short' AND CAST(take_profit AS DOUBLE PRECISION) <= CAST(stop_loss AS DOUBLE PRECISION))",
        name="positions_exits_apart",
    ),
    CheckConstraint("version > 0", name="positions_version"),
)

orders = Table(
    "orders",
    metadata,
    _text("order_id", key=True),
    _text("intent_id"),
    _text("book_id"),
    _text("role"),
    _text("side"),
    _text("state"),
    _text("quantity"),
    _text("filled"),
    Column("reduce_only", Integer, nullable=False),
    Column("live", Integer, nullable=False),
    _text("entry_book", null=True),
    _text("entry_side", null=True),
    _text("body"),
    UniqueConstraint("intent_id", name="orders_one_per_intent"),
    ForeignKeyConstraint(
        ["entry_book", "entry_side"],
        ["books.book_id", "books.side"],
        name="orders_entry_side_of_book",
        deferrable=True,
        initially="DEFERRED",
    ),
    CheckConstraint("role IN ('entry','exit','protect')", name="orders_role"),
    CheckConstraint("role = 'entry' OR reduce_only = 1", name="orders_exits_reduce_only"),
    CheckConstraint(
        "state IN ('reserved','open','partial','filled','canceling','canceled','rejected','expired','unknown','abandoned')",
        name="orders_state",
    ),
    CheckConstraint("CAST(quantity AS DOUBLE PRECISION) > 0", name="orders_quantity"),
    Index(
        "orders_live",
        "live",
        sqlite_where=Column("live", Integer) == 1,
        postgresql_where=Column("live", Integer) == 1,
    ),
    Index(  # for the foreign key: without it, every change of a book's side reads all orders there ever were
        "orders_entry_of_book",
        "entry_book",
        "entry_side",
        sqlite_where=Column("entry_book", Text).is_not(None),
        postgresql_where=Column("entry_book", Text).is_not(None),
    ),
)

intents = Table(
    "intents",
    metadata,
    _text("intent_id", key=True),
    _text("digest"),
    _text("status"),
    _text("body"),
)

fills = Table(
    "fills",
    metadata,
    _text("trade_id", key=True),
    _text("order_id", key=True),
    _text("account", key=True),
    _text("exchange", key=True),
    _text("symbol", key=True),
    _text("digest"),
    _big("seq"),
    CheckConstraint("trade_id <> ''", name="fills_trade_id"),
)

trades = Table("trades", metadata, _text("position_id", key=True), _big("seq"), _text("body"))
inbox = Table("inbox", metadata, _text("message_id", key=True), _text("digest"), _big("seq"))

updates = Table(
    "updates",
    metadata,
    _big("seq", key=True),
    _text("kind"),
    _big("at"),
    _text("hash"),
    _text("body"),
)

quarantine = Table(
    "quarantine",
    metadata,
    _text("quarantine_id", key=True),
    Column("resolved", Integer, nullable=False),
    _text("body"),
)
control = Table("control", metadata, _text("scope", key=True), _text("target", key=True), _text("body"))
totals = Table(
    "totals",
    metadata,
    _text("account", key=True),
    _text("exchange", key=True),
    _text("symbol", key=True),
    _text("body"),
)
nav = Table("nav", metadata, _text("account", key=True), _text("body"))
learning = Table("learning", metadata, _text("scope", key=True), _text("body"))
thresholds = Table("thresholds", metadata, _big("version", key=True), _text("body"))
outcomes = Table(  # evidence, not truth: beside the journal, bounded, and nothing else depends on it
    "outcomes", metadata, _text("position_id", key=True), _big("seq"), _big("closed_at"), _text("body")
)
risk = Table("risk", metadata, _text("account", key=True), _text("body"))
executors = Table("executors", metadata, _text("account", key=True), _big("epoch"))
