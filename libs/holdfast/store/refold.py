"""Every recorded fill once more through the position arithmetic, and the result against what the ledger recorded then.

Two accounts are kept. One is the fold itself, position by position. The other knows nothing of positions: it only adds up
what was bought, sold and paid per book, and in the end must agree to the last digit:

    bought - sold              = what is held
    sold value - bought value  = (realized profit + fees) / contract size - signed cost of what is held

The second law counts spot and linear books without coin fees and without fills that named no price; the fold counts all.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from holdfast.contracts.codes import ExitReason, FillKind, Kind, Leg, PositionSide, Role, Side, UpdateKind
from holdfast.contracts.messages import Fill, Trade
from holdfast.contracts.money import ONE, ZERO, add, canonical, mul, sub
from holdfast.contracts.rows import PositionRow, book_id
from holdfast.domain.exit_policy import ExitPolicy
from holdfast.domain.position import Folded, Opening, add_fees, apply_fill, base_of, signed

SAME = (
    "quantity",
    "cost",
    "entry_price",
    "realized_pnl",
    "fees",
    "bought",
    "sold",
    "entry_value",
    "exit_value",
)
"""What the arithmetic says of a position; everything else in its row is somebody's decision."""
SAME_TRADE = ("quantity", "entry_price", "exit_price", "realized_pnl", "fees", "side", "closed_at")
_POLICY = ExitPolicy(stop_loss_pct=Decimal(10), take_profit_pct=Decimal(20))
_VENUE_DID_IT = frozenset({ExitReason.FLIPPED, ExitReason.LIQUIDATION, ExitReason.EXIT_ON_VENUE})

Document = Mapping[str, Any]


@dataclass(slots=True)
class _Book:
    """The account that knows nothing of positions."""

    quantity: Decimal = ZERO
    value: Decimal = ZERO
    """Sold minus bought, price x quantity."""
    charged: Decimal = ZERO
    realized: Decimal = ZERO
    contract_size: Decimal = ONE
    counts: bool = True

    def take(self, fill: Fill, opening: Opening, realized: Decimal) -> None:
        self.realized, self.contract_size = add(self.realized, realized), opening.contract_size
        paid_in_coins = (
            opening.kind is Kind.SPOT and bool(fill.fee) and fill.fee_currency == base_of(fill.symbol)
        )
        if opening.kind is Kind.INVERSE or paid_in_coins or (fill.quantity and not fill.price):
            self.counts = False
        if (fill.fee_currency or opening.settle) == opening.settle:
            self.charged = add(self.charged, fill.fee)
        if fill.kind is FillKind.FUNDING:
            return
        move = fill.quantity if fill.side is Side.BUY else fill.quantity.copy_negate()
        self.quantity = add(self.quantity, move)
        self.value = sub(self.value, mul(move, fill.price))

    def agrees(self, held: PositionRow | None) -> bool:
        """Whether what is held now is what was bought minus what was sold, in pieces and in money."""
        cost = (
            ZERO if held is None else held.cost if held.side is PositionSide.LONG else held.cost.copy_negate()
        )
        money = add(self.realized, self.charged)
        return self.quantity == signed(held) and money == mul(self.contract_size, add(self.value, cost))


@dataclass(slots=True)
class Totals:
    """Sums of one (account, exchange, symbol), as the ledger's `totals` have them."""

    realized_pnl: Decimal = ZERO
    fees: dict[str, Decimal] = field(default_factory=dict)
    trades: int = 0
    wins: int = 0
    fills: int = 0


class Refold:
    """See the module. `take` gives problems as it finds them; memory grows with open positions and books, not with fills."""

    def __init__(self) -> None:
        self.open: dict[str, PositionRow] = {}
        """Book id -> its open position."""
        self.books: dict[str, _Book] = {}
        self.totals: dict[tuple[str, str, str], Totals] = {}
        self.fills = self.folded = self.trades = 0
        self._filled: dict[str, Decimal] = {}
        """Order id -> what its fills sum to, until it is full."""

    def take(self, update: Document, fills: list[Fill]) -> Iterator[tuple[str, str]]:
        """Fold the fills of one update; (check, problem) for whatever the update recorded differently."""
        orders = {row["order_id"]: row for row in update.get("orders", ())}
        closed = {row["position_id"] for row in update.get("trades", ())}
        for fill in fills:
            self.fills += 1
            if update["kind"] == UpdateKind.QUARANTINED.value:
                continue
            self.folded += 1
            order = orders.get(fill.order_id)
            yield from self._count(update, fill, order)
            opening = opening_of(fill, order)
            held = self.open.get(opening.book_id)
            folded = apply_fill(held, fill, opening, _POLICY, exit_reason=ExitReason.CLOSE)
            self._keep(opening, fill, folded)
            yield from _compare(update, folded)
            if folded.trade is not None:
                self.trades += 1
                closed.discard(folded.trade.position_id)
                yield from _compare_trade(update, folded.trade, fill, order)
        for key in closed:
            yield "trades", f"update {update['seq']} has a trade of {key}, which no fill in it closes"

    def _count(self, update: Document, fill: Fill, order: Document | None) -> Iterator[tuple[str, str]]:
        """An order's filled sum is that of its fills. Orders that are full are forgotten; one that fills on then was full before."""
        if order is None or fill.kind is FillKind.FUNDING:
            return
        key, said, wanted = fill.order_id, Decimal(order.get("filled", 0)), Decimal(order["quantity"])
        before = self._filled.pop(key, wanted if said > wanted else ZERO)
        total = add(before, fill.quantity)
        if total != wanted:
            self._filled[key] = total
        if said != total:
            yield (
                "orders",
                f"update {update['seq']}: order {key} is filled {canonical(said)}, its fills sum to {canonical(total)}",
            )

    def _keep(self, opening: Opening, fill: Fill, folded: Folded) -> None:
        for row in folded.rows:
            if row.is_open:
                self.open[opening.book_id] = row
            else:
                self.open.pop(opening.book_id, None)
        if fill.kind is not FillKind.DUST or folded.trade is not None:
            self.books.setdefault(opening.book_id, _Book()).take(fill, opening, folded.realized)
        total = self.totals.setdefault((fill.account, fill.exchange, fill.symbol), Totals())
        total.realized_pnl = add(total.realized_pnl, folded.realized)
        total.fees = add_fees(total.fees, folded.fees)
        total.fills += 1
        if folded.trade is not None:
            total.trades += 1
            total.wins += folded.trade.realized_pnl > 0

    def sums(self) -> Iterator[str]:
        """Problems of the account that knows nothing of positions."""
        for name, book in self.books.items():
            if book.counts and not book.agrees(self.open.get(name)):
                held = signed(self.open.get(name))
                yield f"{name}: fills sum to {canonical(book.quantity)}, held is {canonical(held)}, or the money differs"


def opening_of(fill: Fill, order: Document | None) -> Opening:
    """What the ledger knew when it folded *fill*: its order's terms, or what the fill itself says."""
    leg = Leg(order.get("leg", "net")) if order is not None else fill.leg
    base, _, quote = fill.symbol.partition("/")
    kind = Kind(order.get("kind", "spot")) if order is not None else fill.instrument
    settle = order["settle"] if order is not None else fill.settle
    return Opening(
        book_id=book_id(fill.account, fill.exchange, fill.symbol, leg), account=fill.account, exchange=fill.exchange, symbol=fill.symbol,
        leg=leg, kind=kind, settle=settle or (base if kind is Kind.INVERSE else quote or base), recorded_at=0,
        contract_size=Decimal(order["contract_size"]) if order is not None else fill.contract_size,
    )  # fmt: skip


def _compare(update: Document, folded: Folded) -> Iterator[tuple[str, str]]:
    recorded = {row["position_id"]: row for row in update.get("positions", ())}
    for row in folded.rows:
        found = recorded.get(row.position_id)
        if found is None:
            yield (
                "arithmetic",
                f"update {update['seq']} does not show position {row.position_id}, which its fill changed",
            )
            continue
        for name in differing(row, found):
            yield (
                "arithmetic",
                f"update {update['seq']}: {name} of {row.position_id} is {found.get(name)}, its fills make {getattr(row, name)}",
            )


def differing(row: PositionRow, found: Document) -> Iterator[str]:
    """Fields in which a recorded position is not what its fills make."""
    for name in SAME:
        mine, theirs = getattr(row, name), found.get(name)
        if isinstance(mine, dict):
            if mine != {key: Decimal(amount) for key, amount in (theirs or {}).items() if Decimal(amount)}:
                yield name
        elif mine != Decimal(theirs or 0):
            yield name


def _compare_trade(
    update: Document, trade: Trade, fill: Fill, order: Document | None
) -> Iterator[tuple[str, str]]:
    found = next((row for row in update.get("trades", ()) if row["position_id"] == trade.position_id), None)
    if found is None:
        yield "trades", f"update {update['seq']} closes {trade.position_id} without a trade"
        return
    mine = trade.model_dump(mode="json", include=set(SAME_TRADE))
    for name in SAME_TRADE:
        theirs = found.get(name, {} if name == "fees" else None)
        if name == "fees":
            theirs = {key: amount for key, amount in theirs.items() if amount != "0"}
        if mine[name] != theirs:
            yield "trades", f"{name} of trade {trade.position_id} is {theirs}, its fills make {mine[name]}"
    why = unexplained(found, fill, order)
    if why:
        yield "reasons", f"trade {trade.position_id} ({found['exit_reason']}): {why}"


def unexplained(trade: Document, fill: Fill, order: Document | None) -> str:
    """Why the closing fill does not explain the trade's exit reason; empty where it does."""
    reason = ExitReason(trade["exit_reason"])
    if reason in _VENUE_DID_IT:
        return ""
    if order is None:
        return "" if fill.kind is not FillKind.TRADE else "no order of ours closed it"
    if order["role"] == Role.ENTRY.value:
        return ""  # it filled while its book was being closed; the row says for what
    if order.get("reason") != reason.value:
        return f"its exit order {order['order_id']} was for {order.get('reason')}"
    return _level_missed(reason, trade, order)


def _level_missed(reason: ExitReason, trade: Document, order: Document) -> str:
    """A stop-loss or take-profit must have been reached by the price that fired it."""
    level = {ExitReason.STOP_LOSS: "stop_loss", ExitReason.TAKE_PROFIT: "take_profit"}.get(reason)
    if level is None:
        return ""
    trigger, wanted = order.get("trigger_price"), trade.get(level)
    if trigger is None or wanted is None:
        return f"no {'trigger price' if trigger is None else level} is recorded"
    falls = (trade["side"] == "long") == (reason is ExitReason.STOP_LOSS)
    reached = Decimal(trigger) <= Decimal(wanted) if falls else Decimal(trigger) >= Decimal(wanted)
    return "" if reached else f"it fired at {trigger}, its {level} was {wanted}"
