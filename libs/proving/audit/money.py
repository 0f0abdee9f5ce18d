"""Folds the journal's fills with the auditor's own arithmetic, and compares positions, trades and totals with what was recorded."""

from dataclasses import dataclass, field
from decimal import Decimal

from proving.audit.arithmetic import ONE, STEP, ZERO, Deal, Holding, Terms, add, average, mul, sub, take
from proving.audit.picture import Book, Document, Fill, Picture, book_id
from proving.audit.report import Findings, plain

Key = tuple[str, str, str]
_VALUES = {
    "cost": "cost",
    "realized": "realized_pnl",
    "entry_value": "entry_value",
    "exit_value": "exit_value",
}


@dataclass(slots=True)
class _Flow:
    """Money that knows nothing of positions: what came in and went out over all fills of one symbol of an account."""

    money: Decimal = ZERO
    """Contract size x (value sold - value bought) less fees, in the settlement currency."""
    realized: Decimal = ZERO
    fees: dict[str, Decimal] = field(default_factory=dict)
    fills: int = 0
    trades: int = 0
    wins: int = 0
    slack: Decimal = ZERO
    exact: bool = True
    """False once coins left as a fee or a price was not told: then cost leaves without a sale."""


class Money:
    """See the module."""

    def __init__(self, picture: Picture, findings: Findings) -> None:
        self._picture, self._findings = picture, findings
        self._flows: dict[Key, _Flow] = {}
        self._by_symbol: dict[Key, set[str]] = {}
        self._closed: dict[str, Holding] = {}

    def fold(self, update: Document) -> set[str]:
        """Apply the fills of *update*; the books they touched."""
        self._closed = {}
        for row in update.get("quarantine", ()):
            if row.get("resolved"):
                self._picture.taken_in.add(row["quarantine_id"])
        held_back = update["quarantine"][0]["quarantine_id"] if update["kind"] == "quarantined" else ""
        return {self._apply(fill, held_back) for fill in update.get("fills", ())}

    def _apply(self, document: Document, held_back: str) -> str:
        order = self._picture.orders.get(document.get("order_id", ""))
        leg = order.leg if order is not None else document.get("leg", "net")
        account, exchange, symbol = document["account"], document["exchange"], document["symbol"]
        name = book_id(account, exchange, symbol, leg)
        key = (account, exchange, symbol, document.get("order_id", ""), document["trade_id"])
        kind = document.get("kind", "trade")
        fill = Fill(
            document["side"], Decimal(document["quantity"]), Decimal(document["price"]), Decimal(document.get("fee", 0)),
            kind, name, held_back, document["executed_at"],
        )  # fmt: skip
        if key in self._picture.fills:
            self._findings.add(
                "INV-4", name, f"trade {key[4]} of order {key[3] or '(none)'} is applied twice"
            )
        self._picture.fills[key] = fill
        if held_back:
            return name
        if order is not None and kind != "funding":
            order.filled = add(order.filled, fill.quantity)
        terms = order.terms if order is not None else _terms(document)
        self._settle(name, (account, exchange, symbol), fill, terms, document.get("fee_currency") or "")
        return name

    def _settle(self, name: str, symbol: Key, fill: Fill, terms: Terms, currency: str) -> None:
        book = self._picture.book(name)
        now = book.held.terms if book.held is not None else terms
        deal = Deal(
            "long" if fill.side == "buy" else "short", fill.quantity, fill.price, fill.fee, currency or now.settle,
            symbol[2].partition("/")[0], fill.kind, fill.at,
        )  # fmt: skip
        before = book.held
        result = take(book.held, deal, terms)
        if result.closed is not None:
            self._closed[result.closed.position_id] = result.closed
        book.held = result.held
        self._by_symbol.setdefault(symbol, set()).add(name)
        flow = self._flows.setdefault(symbol, _Flow())
        _flow(flow, deal, now if before is not None else terms)
        flow.realized, flow.slack = add(flow.realized, result.realized), flow.slack + result.slack + STEP
        flow.trades += result.closed is not None

    # -- what was recorded -----------------------------------------------------------------------------------------------

    def compare_positions(self, update: Document, touched: set[str]) -> None:
        """Every position row of *update* against what its fills make; a book that a fill touched must be shown."""
        shown = {row["book_id"] for row in update.get("positions", ())}
        for name in sorted(touched - shown):
            book = self._picture.book(name)
            if book.held is not None or self._closed:
                self._findings.add(
                    "INV-8", name, f"update {update['seq']} does not show what its fill made of the position"
                )
        for row in update.get("positions", ()):
            self._compare(update, row, self._picture.book(row["book_id"]))

    def _compare(self, update: Document, row: Document, book: Book) -> None:
        name, where = row["position_id"], f"update {update['seq']}"
        mine = self._closed.get(name) if name in self._closed else book.held
        if Decimal(row["quantity"]) == 0:
            if mine is None or name not in self._closed:
                text = f"{where} closes {name}, its fills still make {plain(book.signed())}"
                self._findings.add("INV-8", book.book_id, text)
                return
        elif mine is None:
            text = f"{where} shows {name} with {row['quantity']}, its fills make nothing"
            self._findings.add("INV-8", book.book_id, text)
            return
        elif not mine.position_id:
            mine.position_id = name
            if name in self._picture.closed:
                self._findings.add(
                    "INV-4", book.book_id, f"{where} opens {name}, which has been closed before"
                )
        elif mine.position_id != name:
            text = f"{where} shows {name}, the open position is {mine.position_id}"
            self._findings.add("INV-8", book.book_id, text)
        for what, said, made in _differences(row, mine):
            text = f"{where}: {what} of {name} is {said}, its fills make {made}"
            self._findings.add("INV-8", book.book_id, text)

    def compare_trades(self, update: Document) -> None:
        """A position that closed has a trade with its sums; a trade has a position that closed."""
        told = {row["position_id"]: row for row in update.get("trades", ())}
        for name, mine in self._closed.items():
            row = told.pop(name, None)
            where = f"update {update['seq']}"
            if row is None:
                self._findings.add("INV-8", "", f"{where} closes {name} without a trade")
                continue
            book = book_id(row["account"], row["exchange"], row["symbol"], row.get("leg", "net"))
            flow = self._flows[row["account"], row["exchange"], row["symbol"]]
            flow.wins += Decimal(row["realized_pnl"]) > 0
            for what, said, made in _trade_differences(row, mine):
                self._findings.add("INV-8", book, f"{what} of trade {name} is {said}, its fills make {made}")
        for name in told:
            self._findings.add(
                "INV-8", "", f"update {update['seq']} has a trade of {name}, which no fill closes"
            )

    def compare_totals(self, update: Document) -> None:
        for row in update.get("totals", ()):
            key = (row["account"], row["exchange"], row["symbol"])
            flow = self._flows.get(key, _Flow())
            book, size = "/".join(key), self._size(key)
            said = Decimal(row.get("realized_pnl", 0))
            counts = (row.get("fills", 0), row.get("trades", 0), row.get("wins", 0))
            if counts != (flow.fills, flow.trades, flow.wins):
                text = f"totals count {counts} fills, trades and wins; there were {(flow.fills, flow.trades, flow.wins)}"
                self._findings.add("INV-8", book, text)
            if abs(sub(said, flow.realized)) > flow.slack * size:
                self._findings.add(
                    "INV-8", book, f"realised profit is {plain(said)}, its fills make {flow.realized:f}"
                )
            if {name: Decimal(fee) for name, fee in row.get("fees", {}).items()} != flow.fees:
                self._findings.add(
                    "INV-8", book, f"fees are {row.get('fees', {})}, its fills paid {flow.fees}"
                )
            if flow.exact:
                self._compare_law(key, book, said, flow)

    def _compare_law(self, key: Key, book: str, said: Decimal, flow: _Flow) -> None:
        """To the last digit: profit so far, less what is still tied up, is the money that went in and out."""
        tied = ZERO
        for name in self._by_symbol.get(key, ()):
            row = self._picture.book(name).position
            if row is not None:
                cost = mul(Decimal(row["contract_size"]), Decimal(row["cost"]))
                tied = add(tied, cost if row["side"] == "long" else cost.copy_negate())
        if sub(said, tied) != flow.money:
            text = f"realised profit {plain(said)} less {plain(tied)} tied up is not the {plain(flow.money)} that went in and out"
            self._findings.add("INV-8", book, text)

    def _size(self, key: Key) -> Decimal:
        sizes = [
            held.terms.size
            for name in self._by_symbol.get(key, ())
            if (held := self._picture.book(name).held)
        ]
        return max([ONE, *sizes])


def _flow(flow: _Flow, deal: Deal, terms: Terms) -> None:
    flow.fills += 1
    if deal.currency == terms.settle:
        flow.money = sub(flow.money, deal.fee)
    elif deal.fee:
        fees = flow.fees | {deal.currency: add(flow.fees.get(deal.currency, ZERO), deal.fee)}
        flow.fees = {name: fee for name, fee in fees.items() if fee}
    coins = terms.kind == "spot" and deal.fee and deal.currency == deal.base
    if coins or terms.kind == "inverse" or (deal.quantity and not deal.price):
        flow.exact = False  # inverse: values are rounded; its profit is compared with the fold instead
    if deal.kind != "funding":
        value = mul(terms.size, mul(deal.quantity, deal.price))
        flow.money = sub(flow.money, value) if deal.side == "long" else add(flow.money, value)


def _terms(document: Document) -> Terms:
    """Of a fill that no order of ours stands behind."""
    kind = document.get("instrument", "spot")
    base, _, quote = document["symbol"].partition("/")
    settle = document.get("settle") or (base if kind == "inverse" else quote or base)
    return Terms(kind, Decimal(document.get("contract_size", 1)), settle)


Differing = list[tuple[str, str, str]]


def _differences(row: Document, mine: Holding) -> Differing:
    """(field, what the ledger says, what fills make) of a position."""
    found: Differing = []
    quantity = Decimal(row["quantity"])
    if row["side"] != mine.side or quantity != mine.quantity:
        found.append(("quantity", f"{row['side']} {row['quantity']}", f"{mine.side} {plain(mine.quantity)}"))
    size = max(ONE, mine.terms.size)
    for own, name in _VALUES.items():
        said, made = Decimal(row.get(name, 0)), getattr(mine, own)
        if abs(sub(said, made)) > mine.slack * size:
            found.append((name, plain(said), f"{made:f}"))
    entered, left = ("bought", "sold") if mine.side == "long" else ("sold", "bought")
    for name, made in ((entered, mine.entered), (left, mine.left)):
        if Decimal(row.get(name, 0)) != made:
            found.append((name, row.get(name, "0"), plain(made)))
    if {
        key: Decimal(fee) for key, fee in row.get("fees", {}).items() if Decimal(fee)
    } != mine.fees and not _split(mine):
        found.append(("fees", str(row.get("fees", {})), str(mine.fees)))
    if quantity and not _near(
        Decimal(row["entry_price"]), mine.terms.kind, mine.cost, mine.quantity, mine.slack
    ):
        found.append(
            ("entry_price", row["entry_price"], f"{average(mine.terms.kind, mine.cost, mine.quantity):f}")
        )
    return found


def _split(mine: Holding) -> bool:
    """Whether listed fees came from a fill through zero, which divides them: then they are rounded."""
    return any(fee.adjusted() - len(fee.as_tuple().digits) < -60 for fee in mine.fees.values())


def _trade_differences(row: Document, mine: Holding) -> Differing:
    found: Differing = []
    if row["side"] != mine.side or Decimal(row["quantity"]) != mine.entered:
        found.append(("quantity", f"{row['side']} {row['quantity']}", f"{mine.side} {plain(mine.entered)}"))
    realized = Decimal(row["realized_pnl"])
    if abs(sub(realized, mine.realized)) > mine.slack * max(ONE, mine.terms.size):
        found.append(("realized_pnl", plain(realized), f"{mine.realized:f}"))
    for name, value, quantity in (
        ("entry_price", mine.entry_value, mine.entered),
        ("exit_price", mine.exit_value, mine.left),
    ):
        if not _near(Decimal(row[name]), mine.terms.kind, value, quantity, mine.slack):
            found.append((name, row[name], f"{average(mine.terms.kind, value, quantity):f}"))
    return found


def _near(said: Decimal, kind: str, value: Decimal, quantity: Decimal, slack: Decimal) -> bool:
    """Whether *said* is the average to 18 places, given how far the value may be off."""
    made = average(kind, value, quantity)
    if not value or not quantity:
        return said == made
    off = made * slack / value if kind == "inverse" else slack / quantity
    return abs(sub(said, made)) <= STEP + off
