"""One venue's own record against the ledger's journal: what was sent had been reserved, what was traded is applied once.

The record is SQLite (`orders`, `trades`, `holdings`, `meta`); the venue's word counts. Only what is new is read: orders and
trades number upwards and are never taken back. A *generation* begins when a person rebuilds the record from the ledger:
positions enter it as adopted trades, older trades stay as history.
"""

import sqlite3
from dataclasses import dataclass, field
from decimal import Decimal
from typing import NamedTuple

from proving.audit.arithmetic import ZERO, add, mul
from proving.audit.picture import FillKey, Picture, book_id
from proving.audit.report import Findings, plain

_ORDERS = "SELECT number, order_id, intent_id, symbol, leg, side, quantity, shrink_only FROM orders WHERE number > ? ORDER BY number"
_TRADES = (
    "SELECT number, generation, adopted, trade_id, order_id, symbol, leg, side, quantity, price, fee FROM trades"
    " WHERE number > ? ORDER BY number"
)


class _Trade(NamedTuple):
    number: int
    generation: int
    adopted: int
    trade_id: str
    order_id: str
    symbol: str
    leg: str
    side: str
    quantity: str
    price: str
    fee: str


@dataclass(slots=True)
class Venue:
    """See the module. `orders` is read before the journal, `trades` after it: so nothing on its way looks like a violation."""

    account: str
    exchange: str
    db: sqlite3.Connection
    picture: Picture
    findings: Findings
    last_order: int = 0
    last_trade: int = 0
    generation: int = 0
    epoch: int = 0
    net: dict[tuple[str, str], Decimal] = field(default_factory=dict)
    """(symbol, leg) -> signed quantity that its trades of this generation sum to."""
    value: dict[tuple[str, str], Decimal] = field(default_factory=dict)
    """... and the signed sum of quantity x price of reported ones."""
    owed: dict[FillKey, _Trade] = field(default_factory=dict)
    """Reported trades that the journal does not have yet."""
    told: set[FillKey] = field(default_factory=set)
    _sent: list[tuple[str, str, str, str, str, str, int]] = field(default_factory=list)
    _orders_of_intent: dict[str, str] = field(default_factory=dict)

    def meta(self) -> None:
        """INV-9 of the record; whose it is."""
        meta: dict[str, str] = dict(self.db.execute("SELECT key, value FROM meta"))
        epoch, owner = int(meta.get("epoch", 0)), meta.get("store_id")
        if epoch < self.epoch:
            self._say("INV-9", "", f"the record's epoch is {epoch}, it was {self.epoch}")
        if owner and self.picture.store_id and owner != self.picture.store_id:
            self._say(
                "INV-8", "", f"the record belongs to store {owner}, the ledger is {self.picture.store_id}"
            )
        self.epoch = max(epoch, self.epoch)

    # -- orders ------------------------------------------------------------------------------------------------------------

    def read_orders(self) -> None:
        """Keep the new orders at hand until the journal has been read as far as it was written by now."""
        for number, *order in self.db.execute(_ORDERS, (self.last_order,)).fetchall():
            self.last_order = number
            self._sent.append(tuple(order))

    def judge_orders(self) -> None:
        """INV-3, INV-4, INV-5 of what was sent. Call after the journal was read."""
        sent, self._sent = self._sent, []
        for order_id, intent_id, symbol, leg, side, quantity, shrink_only in sent:
            book, order = book_id(self.account, self.exchange, symbol, leg), self.picture.orders.get(order_id)
            first = self._orders_of_intent.setdefault(intent_id, order_id)
            if first != order_id:
                self._say(
                    "INV-4", book, f"intent {intent_id} has two orders at the venue, {first} and {order_id}"
                )
            if order is None:
                text = f"order {order_id} ({side} {quantity}) is at the venue, the ledger has not reserved it"
                self._say("INV-3", book, text)
                continue
            if order.side != side or order.quantity != Decimal(quantity) or order.book != book:
                text = f"order {order_id} is {side} {quantity} at the venue, reserved was {order.side} {plain(order.quantity)} of {order.book}"
                self._say("INV-3", book, text)
            if order.role != "entry" and not shrink_only:
                self._say("INV-5", book, f"exit {order_id} is at the venue without reduce-only")

    def judge_ends(self) -> None:
        """INV-7: an order that the ledger calls ended is not open at the venue, and one called never sent is not there."""
        for order_id, state, filled in self.db.execute(
            "SELECT order_id, state, filled FROM orders WHERE state IN ('open', 'partial')"
        ).fetchall():
            order = self.picture.orders.get(order_id)
            if order is not None and not order.live:
                text = f"order {order_id} has ended as {order.state} in the ledger, the venue has it {state} with {filled} filled"
                self._say("INV-7", order.book, text)
        for order_id in self.picture.ended:
            order = self.picture.orders[order_id]
            if (order.account, order.exchange) != (self.account, self.exchange):
                continue
            row = self.db.execute("SELECT state FROM orders WHERE order_id = ?", (order_id,)).fetchone()
            refused = order.state == "rejected" and row is not None and row[0] != "rejected"
            if refused or (order.state == "abandoned" and row is not None):
                text = f"order {order_id} is {order.state} in the ledger, the venue has it as {row[0]}"
                self._say("INV-7", order.book, text)

    # -- trades ------------------------------------------------------------------------------------------------------------

    def read_trades(self) -> None:
        """New trades of the venue, and whether what the journal applied is what happened. Call after the journal was read."""
        for row in map(_Trade._make, self.db.execute(_TRADES, (self.last_trade,)).fetchall()):
            self.last_trade = row.number
            if row.generation != self.generation:
                self.generation = row.generation
                for kept in (self.net, self.value, self.owed):
                    kept.clear()
            self._move(row)
            if not row.adopted:
                key = (self.account, self.exchange, row.symbol, row.order_id, row.trade_id)
                self.told.add(key)
                self.owed[key] = row
        for key in [key for key in self.owed if key in self.picture.fills]:
            self._applied(key, self.owed.pop(key))

    def _move(self, row: _Trade) -> None:
        """The venue's net position; INV-5: an exit never opens, enlarges or flips it."""
        key, quantity = (row.symbol, row.leg), Decimal(row.quantity)
        net = self.net.get(key, ZERO)
        move = quantity if row.side == "buy" else quantity.copy_negate()
        order = self.picture.orders.get(row.order_id)
        after = add(net, move)
        if order is not None and order.role != "entry" and (net * move >= 0 or after * net < 0):
            text = f"exit {row.order_id} traded {row.side} {row.quantity} against {plain(net)}: {plain(after)} is held now"
            self._say("INV-5", order.book, text)
        self.net[key] = after
        if not row.adopted:
            self.value[key] = add(self.value.get(key, ZERO), mul(move, Decimal(row.price)))

    def _applied(self, key: FillKey, row: _Trade) -> None:
        fill = self.picture.fills[key]
        theirs = (row.side, Decimal(row.quantity), Decimal(row.price), Decimal(row.fee))
        if theirs != (fill.side, fill.quantity, fill.price, fill.fee):
            ours = (
                f"{fill.side} {plain(fill.quantity)} at {plain(fill.price)} with a fee of {plain(fill.fee)}"
            )
            text = f"trade {row.trade_id} was {row.side} {row.quantity} at {row.price} with a fee of {row.fee}, applied is {ours}"
            self._say("INV-4", fill.book, text)

    def judge_fills(self, new: list[FillKey]) -> None:
        """INV-4: what the journal applied as a trade of this venue is one. Call after `read_trades`."""
        for key in new:
            fill = self.picture.fills[key]
            if (
                key[:2] == (self.account, self.exchange)
                and fill.kind == "trade"
                and key not in self.told
                and self.generation <= 1
            ):
                text = f"trade {key[4]} ({fill.side} {plain(fill.quantity)}) is applied, the venue has no such trade"
                self._say("INV-4", fill.book, text)

    # -- at rest -----------------------------------------------------------------------------------------------------------

    def settled(self, findings: Findings) -> None:
        """When nothing moves any more: every trade is applied, both hold the same, orders stand alike."""
        for row in self.owed.values():
            book = book_id(self.account, self.exchange, row.symbol, row.leg)
            findings.add(
                "INV-4",
                book,
                f"trade {row.trade_id} ({row.side} {row.quantity} at {row.price}) is not applied",
            )
        holdings = {
            (symbol, leg): Decimal(quantity)
            for symbol, leg, quantity in self.db.execute("SELECT symbol, leg, quantity FROM holdings")
        }
        ours, strange = self._ours(), self._strange()
        for symbol, leg in sorted(self.net.keys() | holdings.keys() | ours.keys()):
            key, book = (symbol, leg), book_id(self.account, self.exchange, symbol, leg)
            held, traded = holdings.get(key, ZERO), self.net.get(key, ZERO)
            if held != traded:
                findings.add(
                    "INV-8", book, f"the venue holds {plain(held)}, its trades sum to {plain(traded)}"
                )
            mine = add(ours.get(key, ZERO), strange.get(key, ZERO))
            if held != mine:
                findings.add("INV-4", book, f"the venue holds {plain(held)}, the ledger {plain(mine)}")
        if self.generation <= 1:
            self._sums(findings)
        self._orders_alike(findings)

    def _ours(self) -> dict[tuple[str, str], Decimal]:
        found: dict[tuple[str, str], Decimal] = {}
        for book in self.picture.books.values():
            row = book.position
            if row is not None and (row["account"], row["exchange"]) == (self.account, self.exchange):
                quantity = Decimal(row["quantity"])
                found[row["symbol"], row.get("leg", "net")] = (
                    quantity if row["side"] == "long" else quantity.copy_negate()
                )
        return found

    def _strange(self) -> dict[tuple[str, str], Decimal]:
        """What quarantined trades moved at the venue and not in the ledger."""
        found: dict[tuple[str, str], Decimal] = {}
        for key, fill in self.picture.fills.items():
            waits = not fill.folded and fill.held_back not in self.picture.taken_in
            if key[:2] == (self.account, self.exchange) and waits:
                at = (key[2], fill.book.partition("#")[2] or "net")
                move = fill.quantity if fill.side == "buy" else fill.quantity.copy_negate()
                found[at] = add(found.get(at, ZERO), move)
        return found

    def _sums(self, findings: Findings) -> None:
        """The sum of the venue's trades is the sum of the applied fills, in pieces times price."""
        applied: dict[tuple[str, str], Decimal] = {}
        for key, fill in self.picture.fills.items():
            if key[:2] == (self.account, self.exchange) and fill.kind == "trade":
                at = (key[2], fill.book.partition("#")[2] or "net")
                value = mul(fill.quantity, fill.price)
                applied[at] = add(applied.get(at, ZERO), value if fill.side == "buy" else value.copy_negate())
        for at in sorted(self.value.keys() | applied.keys()):
            theirs, ours = self.value.get(at, ZERO), applied.get(at, ZERO)
            if theirs != ours:
                text = f"the venue's trades are worth {plain(theirs)} in sum, the applied fills {plain(ours)}"
                findings.add("INV-4", book_id(self.account, self.exchange, *at), text)

    def _orders_alike(self, findings: Findings) -> None:
        states = dict(self.db.execute("SELECT order_id, state FROM orders").fetchall())
        for book in self.picture.books.values():
            for order in book.live.values():
                if (order.account, order.exchange) == (self.account, self.exchange):
                    state = states.get(order.order_id, "not there")
                    if state not in {"open", "partial"}:
                        text = f"order {order.order_id} is {order.state} in the ledger, at the venue it is {state}"
                        findings.add("INV-7", order.book, text)

    def _say(self, number: str, book: str, text: str) -> None:
        self.findings.add(number, book or f"{self.account}/{self.exchange}", text)
