"""Reads the journal, update by update: numbering and hashes (INV-8), epochs (INV-9), and what each update may and may not do.

An update is one transaction of the ledger, so after each one every invariant of a book must hold: there is no "in between"
that could excuse a violation.
"""

from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal
from hashlib import blake2b
from typing import Any, NamedTuple

import orjson

from proving.audit.arithmetic import ZERO
from proving.audit.money import Money
from proving.audit.picture import OPEN_ANSWERS, Book, Document, Order, Picture
from proving.audit.report import Findings, plain

HARDNESS: Mapping[str, int] = {
    "liquidation_guard": 90, "stop_loss": 80, "close": 80, "flatten": 80, "force_exit": 80, "emergency_loss": 70,
    "take_profit": 60, "extraordinary_profit": 50, "ttl": 40, "reversal": 30, "roi": 10, "signal": 10, "stagnation": 10,
}  # fmt: skip
"""How hard an exit is; facts that the venue has made are harder than all."""
FACT = 100
MOST_STOPS = 2
"""Live protective stops of one book: one, and for a moment the one that replaces it."""
EXIT_REFUSALS = frozenset({"nothing_to_close", "position_gone", "wrong_side", "exit_in_flight"})
"""The only codes with which an exit may be blocked: there is nothing to close, or it is being closed already."""


class Row(NamedTuple):
    """One row of `updates`."""

    seq: int
    kind: str
    hash: str
    body: str


class Journal:
    """See the module. `take` one row at a time, in order."""

    def __init__(self, picture: Picture, findings: Findings) -> None:
        self._picture, self._findings = picture, findings
        self._money = Money(picture, findings)

    def take(self, row: Row) -> Document:
        """Check one update and add it to the picture; its document."""
        update: dict[str, Any] = orjson.loads(row.body)
        self._chain(row, update)
        self._epochs(update)
        orders = {order["order_id"]: order for order in update.get("orders", ())}
        for document in orders.values():
            if document["order_id"] not in self._picture.orders:
                self._reserved(update, Order.of(document))
        for refusal in update.get("blocked", ()):
            self._blocked(update, refusal)
        touched = self._money.fold(update)
        for document in orders.values():
            self._order(update, Order.of(document))
        for answer in update.get("intents", ()):
            self._answer(update, answer)
        for book in update.get("books", ()):
            self._book(update, book)
        self._money.compare_positions(update, touched)
        for position in update.get("positions", ()):
            self._position(update, position)
        self._money.compare_trades(update)
        self._money.compare_totals(update)
        touched |= {
            document["book_id"]
            for table in ("orders", "books", "positions")
            for document in update.get(table, ())
        }
        for name in sorted(touched):
            self._settled(update, self._picture.book(name))
        return update

    # -- numbering, hashes, epochs -----------------------------------------------------------------------------------------

    def _chain(self, row: Row, update: Document) -> None:
        picture, add = self._picture, self._findings.add
        if row.seq != picture.seq + 1:
            add("INV-8", "", f"update {row.seq} follows update {picture.seq}: there is a hole")
        if update["seq"] != row.seq or update["kind"] != row.kind:
            add(
                "INV-8",
                "",
                f"update {row.seq} ({row.kind}) has a body that says {update['seq']} ({update['kind']})",
            )
        body = row.body.encode()
        pieces = b"".join(len(part).to_bytes(4, "big") + part for part in (picture.hash.encode(), body))
        computed = blake2b(pieces, digest_size=16).hexdigest()
        if computed != row.hash:
            add("INV-8", "", f"update {row.seq} has hash {row.hash}, its chain makes {computed}")
        if picture.store_id and update["store_id"] != picture.store_id:
            add(
                "INV-8",
                "",
                f"the journal has updates of store {update['store_id']}, this is {picture.store_id}",
            )
        picture.seq, picture.hash, picture.store_id = (
            row.seq,
            row.hash,
            picture.store_id or update["store_id"],
        )

    def _epochs(self, update: Document) -> None:
        picture = self._picture
        if update["epoch"] < picture.epoch:
            text = f"update {update['seq']} was written in epoch {update['epoch']}, after one of epoch {picture.epoch}"
            self._findings.add("INV-9", "", text)
        picture.epoch = max(picture.epoch, update["epoch"])
        for account, epoch in update.get("executors", {}).items():
            before = picture.executors.get(account, 0)
            if epoch < before:
                self._findings.add("INV-9", "", f"executor of {account}: epoch {epoch} after {before}")
            picture.executors[account] = max(before, epoch)

    # -- orders and intents ------------------------------------------------------------------------------------------------

    def _reserved(self, update: Document, order: Order) -> None:
        """An order's first row, judged by what was before it."""
        picture, add, where = (
            self._picture,
            self._findings.add,
            f"order {order.order_id} (update {update['seq']})",
        )
        book = picture.book(order.book)
        known = picture.order_of_intent.setdefault(order.intent_id, order.order_id)
        if known != order.order_id:
            add(
                "INV-4", order.book, f"{where} is the second order of intent {order.intent_id}, after {known}"
            )
        if order.epoch < picture.executors.get(order.account, 0):
            text = f"{where} is of executor epoch {order.epoch}, {picture.executors[order.account]} had taken over"
            add("INV-9", order.book, text)
        if order.role == "entry":
            unknown = [other.order_id for other in book.live.values() if other.state == "unknown"]
            if unknown:
                add("INV-7", order.book, f"entry {where} was reserved while {unknown[0]} was UNKNOWN")
            if book.row.get("disputed"):
                add("INV-7", order.book, f"entry {where} was reserved on a disputed book")
            if book.row.get("exiting"):
                add("INV-6", order.book, f"entry {where} was reserved while the book was being closed")
        elif not order.reduce_only:
            add("INV-5", order.book, f"exit {where} is not reduce-only")
        if order.role == "protect":
            held = Decimal(book.position["quantity"]) if book.position is not None else ZERO
            if order.quantity > held:
                text = f"stop {where} is of {plain(order.quantity)}, held was {plain(held)}"
                add("INV-5", order.book, text)
        picture.orders[order.order_id] = replace(order, state="reserved")

    def _order(self, update: Document, order: Order) -> None:
        picture, where = self._picture, f"order {order.order_id} (update {update['seq']})"
        before = picture.orders[order.order_id]
        order.filled = before.filled
        if not before.live and order.state not in {before.state, "filled"}:
            self._findings.add(
                "INV-4", order.book, f"{where} is {order.state}, it had ended as {before.state}"
            )
        if (before.intent_id, before.side, before.quantity) != (order.intent_id, order.side, order.quantity):
            self._findings.add(
                "INV-4", order.book, f"{where} is not the order that was reserved under its id"
            )
        if order.shown_filled != order.filled:
            text = f"{where} says {plain(order.shown_filled)} filled, its fills sum to {plain(order.filled)}"
            self._findings.add("INV-4", order.book, text)
        if order.filled > order.quantity:
            text = f"{where} has fills of {plain(order.filled)}, it was for {plain(order.quantity)}"
            self._findings.add("INV-4", order.book, text)
        picture.orders[order.order_id] = order
        live = picture.book(order.book).live
        if order.live:
            live[order.order_id] = order
        else:
            live.pop(order.order_id, None)
            if before.live:
                picture.ended.append(order.order_id)

    def _answer(self, update: Document, answer: Document) -> None:
        intent_id, status = answer["intent_id"], answer["status"]
        before = self._picture.answers.get(intent_id)
        if before is not None and before[0] not in OPEN_ANSWERS:
            text = f"intent {intent_id} ended as {before[0]}, update {update['seq']} ends it as {status}"
            self._findings.add("INV-4", "", text)
        self._picture.answers[intent_id] = (status, answer.get("order_id") or "")

    def _book(self, update: Document, row: Document) -> None:
        book = self._picture.book(row["book_id"])
        refused = row.get("refused_exit")
        if refused and refused != book.row.get("refused_exit"):
            self._refused_exit(update, book, refused)
        book.row = row

    # -- exits that were refused -------------------------------------------------------------------------------------------

    def _blocked(self, update: Document, refusal: Document) -> None:
        """INV-6: an exit is blocked only where there is nothing left to close. Exits name neither quantity nor side, or are the
        scanner's; an entry always names a side, and no quantity where its size was a value or a share.
        """
        code, name = refusal["code"], refusal["intent_id"]
        is_exit = name.startswith("x-") or (
            refusal.get("attempted_quantity") is None and refusal.get("attempted_side") is None
        )
        if code not in EXIT_REFUSALS:
            if is_exit:
                text = f"exit {name} was refused as {code} (update {update['seq']})"
                self._findings.add(
                    "INV-6", f"{refusal['account']}/{refusal['exchange']}/{refusal['symbol']}", text
                )
            return
        if code == "nothing_to_close":
            net = self._picture.book(f"{refusal['account']}/{refusal['exchange']}/{refusal['symbol']}")
            if net.position is not None:
                text = f"exit {name} was told that nothing is open, the book holds {net.position['quantity']}"
                self._findings.add("INV-6", net.book_id, text)
        if code != "exit_in_flight":
            return
        ways = [
            self._picture.orders[way] for way in refusal.get("in_the_way", ()) if way in self._picture.orders
        ]
        book = self._picture.book(ways[0].book) if ways else None
        if book is None or book.held is None or book.exiting() < book.held.quantity:
            held = plain(book.held.quantity) if book is not None and book.held is not None else "0"
            exiting = plain(book.exiting()) if book is not None else "0"
            text = f"exit {name} was refused as in flight while exits of {exiting} worked against {held}"
            self._findings.add("INV-6", book.book_id if book is not None else "", text)

    def _refused_exit(self, update: Document, book: Book, refused: str) -> None:
        """`stop_loss: held by h12`: what holds must be as hard, and an answer must be known of it."""
        reason, _, holder = refused.partition(": held by ")
        order = self._picture.orders.get(holder)
        if order is None or not order.live:
            self._findings.add(
                "INV-6", book.book_id, f"{reason} was refused for {holder or 'nothing'}, which is not live"
            )
            return
        mine, theirs = (HARDNESS.get(word or "close", FACT) for word in (reason, order.reason))
        doubtful = order.type == "limit" or order.state == "unknown"
        if mine > theirs or (mine == theirs and doubtful):
            text = f"{reason} was refused for {holder}, an exit for {order.reason or 'close'} that it displaces (update {update['seq']})"
            self._findings.add("INV-6", book.book_id, text)

    # -- positions and books -----------------------------------------------------------------------------------------------

    def _position(self, update: Document, row: Document) -> None:
        book, before = self._picture.book(row["book_id"]), self._picture.book(row["book_id"]).position
        name, where = row["position_id"], f"{row['position_id']} (update {update['seq']})"
        if Decimal(row["quantity"]) == 0:
            self._picture.closed.add(name)
            if before is not None and before["position_id"] == name:
                book.position = None
            return
        self._bare(book.book_id, where, row)
        if before is not None and before["position_id"] == name and update["kind"] in {"filled", "adopted"}:
            self._loosened(book.book_id, where, before, row)
        if before is not None and before["position_id"] != name:
            self._findings.add("INV-1", book.book_id, f"{where} is open beside {before['position_id']}")
        book.position = row

    def _bare(self, book: str, where: str, row: Document) -> None:
        """INV-2."""
        stop, take_profit = row.get("stop_loss"), row.get("take_profit")
        if stop is None or Decimal(stop) <= 0:
            self._findings.add("INV-2", book, f"{where} has no stop-loss")
        elif take_profit is None:
            if row.get("take_profit_spec") != "off" or row.get("expires_at") is None:
                self._findings.add(
                    "INV-2", book, f"{where} has no take-profit, and it was not switched off for a deadline"
                )
        elif Decimal(take_profit) == Decimal(stop) or (Decimal(stop) < Decimal(take_profit)) != (
            row["side"] == "long"
        ):
            text = f"{where} is {row['side']} with stop-loss {stop} and take-profit {take_profit}: wrong sides of each other"
            self._findings.add("INV-2", book, text)

    def _loosened(self, book: str, where: str, before: Document, row: Document) -> None:
        old, new = Decimal(before.get("stop_loss", 0)), Decimal(row.get("stop_loss", 0))
        if (new < old) if row["side"] == "long" else (new > old):
            self._findings.add(
                "INV-2", book, f"{where}: a fill moved the stop-loss from {plain(old)} to {plain(new)}"
            )
        if before.get("expires_at") is not None and (row.get("expires_at") or 10**15) > before["expires_at"]:
            text = (
                f"{where}: a fill moved the deadline from {before['expires_at']} to {row.get('expires_at')}"
            )
            self._findings.add("INV-2", book, text)

    def _settled(self, update: Document, book: Book) -> None:
        """INV-1 and INV-5 of a book after an update."""
        sides = {order.opens for order in book.entries()}
        if book.position is not None:
            sides.add(book.position["side"])
        if len(sides) > 1:
            live = [f"{order.side} {plain(order.remaining)}" for order in book.entries()]
            held = (
                f"{book.position['side']} {book.position['quantity']}"
                if book.position is not None
                else "nothing"
            )
            text = f"holds {held} with live entries {', '.join(live) or 'none'} (update {update['seq']})"
            self._findings.add("INV-1", book.book_id, text)
        side = book.row.get("side")
        if sides and side not in sides:
            text = f"the book says {side or 'no side'}, it holds {' and '.join(sorted(sides))} (update {update['seq']})"
            self._findings.add("INV-1", book.book_id, text)
        quantity = Decimal(book.position["quantity"] if book.position is not None else 0)
        if book.selling() > quantity:
            beside = (
                f" and a stop of {plain(stop.remaining)}"
                if (stop := next(iter(book.locking()), None))
                else ""
            )
            text = f"exits of {plain(book.exiting())}{beside} work against a position of {plain(quantity)} (update {update['seq']})"
            self._findings.add("INV-5", book.book_id, text)
        piled = piled_up(book)
        if piled:
            self._findings.add("INV-5", book.book_id, f"{piled} (update {update['seq']})")


def piled_up(book: Book) -> str:
    """What of a book's protective stops is too much: more than two (on spot than one), or two of which neither replaces the other."""
    stops = book.stops()
    if len(stops) > (1 if any(stop.terms.kind == "spot" for stop in stops) else MOST_STOPS):
        return f"{len(stops)} protective stops are live"
    open_now = book.position["position_id"] if book.position is not None else ""
    own = [stop for stop in stops if stop.position_id == open_now]
    if len(own) == MOST_STOPS and own[0].intent_id != own[1].replaces and own[1].intent_id != own[0].replaces:
        return "two protective stops are live, and neither replaces the other"
    left = [stop for stop in stops if stop.position_id != open_now and not stop.displaced]
    return f"stop {left[0].order_id} guards {left[0].position_id}, which is gone" if left else ""
