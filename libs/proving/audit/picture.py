"""What the journal says so far: orders, intents, books, as plain values. Read by every check, changed by `journal` alone."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from proving.audit.arithmetic import ZERO, Holding, Terms, add, sub

Document = Mapping[str, Any]
ENDED = frozenset({"filled", "canceled", "rejected", "expired", "abandoned"})
"""States of an order in which nothing more is expected of it."""
OPEN_ANSWERS = frozenset({"accepted", "unknown"})
"""Answers to an intent that are not its end."""
FillKey = tuple[str, str, str, str, str]
"""(account, exchange, symbol, order id, trade id)"""


@dataclass(slots=True)
class Order:
    """An order as its last row shows it."""

    order_id: str
    intent_id: str
    book: str
    account: str
    exchange: str
    symbol: str
    leg: str
    role: str
    side: str
    type: str
    quantity: Decimal
    terms: Terms
    state: str
    reduce_only: bool
    epoch: int
    reason: str
    position_id: str
    displaced: bool
    replaces: str
    """Of an entry or a protective stop: the intent of the one whose place it takes."""
    shown_filled: Decimal
    """What the row says has filled; `filled` is the sum of the fills that the journal has of it."""
    filled: Decimal = ZERO

    @property
    def live(self) -> bool:
        return self.state not in ENDED

    @property
    def remaining(self) -> Decimal:
        return max(ZERO, sub(self.quantity, self.shown_filled))

    @property
    def opens(self) -> str:
        """The position side that its fills work towards."""
        return "long" if self.side == "buy" else "short"

    @classmethod
    def of(cls, row: Document) -> "Order":
        """Rows travel without fields at their default."""
        return cls(
            row["order_id"], row["intent_id"], row["book_id"], row["account"], row["exchange"], row["symbol"],
            row.get("leg", "net"), row["role"], row["side"], row.get("type", "market"), Decimal(row["quantity"]),
            Terms(row.get("kind", "spot"), Decimal(row["contract_size"]), row["settle"]), row.get("state", "reserved"),
            row.get("reduce_only", False), row["epoch"], row.get("reason", ""), row.get("position_id", ""),
            row.get("displaced", False), row.get("replaces", ""), Decimal(row.get("filled", 0)),
        )  # fmt: skip


@dataclass(slots=True)
class Book:
    """One (account, exchange, symbol, leg)."""

    book_id: str
    row: Document = field(default_factory=dict)
    """Its last row in `books`."""
    held: Holding | None = None
    """What its fills make: the auditor's own."""
    position: Document | None = None
    """The open position as the ledger's last row shows it."""
    live: dict[str, Order] = field(default_factory=dict)

    def exits(self) -> list[Order]:
        """Exits that work: live, and not displaced by a harder one."""
        return [order for order in self.live.values() if order.role == "exit" and not order.displaced]

    def stops(self) -> list[Order]:
        """Protective stops that are live, those whose cancel was asked for included."""
        return [order for order in self.live.values() if order.role == "protect"]

    def locking(self) -> list[Order]:
        """Those of them that are not reduce-only at their venue, on spot: they sell what they say, whatever is held."""
        return [order for order in self.stops() if order.terms.kind == "spot" and not order.displaced]

    def entries(self) -> list[Order]:
        """Entries that hold the book's side."""
        return [order for order in self.live.values() if order.role == "entry" and not order.displaced]

    def exiting(self) -> Decimal:
        """INV-5's sum of exits."""
        return _left(self.exits())

    def selling(self) -> Decimal:
        """INV-5's sum: exits, and on spot the stop."""
        return _left([*self.exits(), *self.locking()])

    def signed(self) -> Decimal:
        """What its fills sum to; negative for a short."""
        if self.held is None:
            return ZERO
        return self.held.quantity if self.held.side == "long" else self.held.quantity.copy_negate()


def _left(orders: list[Order]) -> Decimal:
    total = ZERO
    for order in orders:
        total = add(total, order.remaining)
    return total


@dataclass(slots=True)
class Fill:
    """One applied fill; `held_back` names the row in quarantine that stands for it, and then it is in no position."""

    side: str
    quantity: Decimal
    price: Decimal
    fee: Decimal
    kind: str
    book: str
    held_back: str = ""
    at: int = 0

    @property
    def folded(self) -> bool:
        return not self.held_back


@dataclass(slots=True)
class Picture:
    seq: int = 0
    hash: str = "0" * 32
    store_id: str = ""
    epoch: int = 0
    orders: dict[str, Order] = field(default_factory=dict)
    books: dict[str, Book] = field(default_factory=dict)
    answers: dict[str, tuple[str, str]] = field(default_factory=dict)
    """Intent id -> (status, order id)."""
    order_of_intent: dict[str, str] = field(default_factory=dict)
    fills: dict[FillKey, Fill] = field(default_factory=dict)
    executors: dict[str, int] = field(default_factory=dict)
    closed: set[str] = field(default_factory=set)
    """Ids of positions that have closed."""
    taken_in: set[str] = field(default_factory=set)
    """Rows of the quarantine that a person has taken in: a fill of its own has moved the position."""
    ended: list[str] = field(default_factory=list)
    """Orders that ended since the venues were last compared."""

    def book(self, book_id: str) -> Book:
        return self.books.setdefault(book_id, Book(book_id))


def book_id(account: str, exchange: str, symbol: str, leg: str) -> str:
    """As the ledger names its books."""
    return f"{account}/{exchange}/{symbol}" + ("" if leg == "net" else f"#{leg}")
