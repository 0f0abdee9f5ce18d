"""Keeps score: trades, money and the account's value over time, from what the ledger publishes and where prices stand.

Trades and fees are exact, as the ledger has them. Equity is a curve for the eye and for ratios: floats are good enough.
"""

from collections import Counter
from dataclasses import dataclass, field
from decimal import Decimal

from holdfast.contracts.codes import Kind, PositionSide, ResultStatus
from holdfast.contracts.messages import Fill, LedgerUpdated, Trade
from holdfast.contracts.money import ZERO, add, canonical, divide, mul
from holdfast.contracts.rows import PositionRow
from replay.orders import SIGNAL_PREFIX
from replay.signals import Signal

_REFUSED = {ResultStatus.BLOCKED, ResultStatus.INVALID, ResultStatus.EXPIRED, ResultStatus.REJECTED}
_RATIO_PLACES = 10
_DAY_MS = 86_400_000
_MOST_POINTS = 2_000
"""Of the curves that are kept for drawing; two neighbours become one when there are more."""


@dataclass(frozen=True, slots=True)
class ReplayTrade:
    """One closed position. Times are market times, ms; money is in the settlement currency."""

    symbol: str
    side: str
    opened_ms: int
    closed_ms: int
    entry_price: Decimal
    exit_price: Decimal
    exit_reason: str
    profit: Decimal
    """Net of fees."""
    profit_ratio: float
    """Profit as a share of what the position cost at entry, leverage not counted."""
    quantity: Decimal
    fees: Decimal

    def as_row(self) -> dict[str, object]:
        """Ready for JSON: amounts as texts, ratios and times as numbers."""
        return {
            "symbol": self.symbol,
            "side": self.side,
            "opened_ms": self.opened_ms,
            "closed_ms": self.closed_ms,
            "entry_price": canonical(self.entry_price),
            "exit_price": canonical(self.exit_price),
            "exit_reason": self.exit_reason,
            "profit_ratio": self.profit_ratio,
            "quantity": canonical(self.quantity),
            "fees": canonical(self.fees),
            "profit": canonical(self.profit),
        }


@dataclass(slots=True)
class _Book:
    """What is known of one symbol."""

    position: PositionRow | None = None
    fees: Decimal = ZERO
    realized: float = 0.0
    """Of closed positions, in the settlement currency."""
    inverse: bool = False
    price: float = 0.0
    opened_ms: int = 0

    def value(self) -> float:
        """Profit so far, open and closed, at `price`, in the quote currency."""
        total = self.realized
        row = self.position
        if row is not None:
            total += float(row.realized_pnl) + _unrealized(row, self.price)
        return total * self.price if self.inverse else total


def _unrealized(row: PositionRow, price: float) -> float:
    held, entry = float(row.quantity) * float(row.contract_size), float(row.entry_price)
    sign = 1 if row.side is PositionSide.LONG else -1
    return sign * held * ((1 / entry - 1 / price) if row.kind is Kind.INVERSE else (price - entry))


@dataclass(slots=True)
class Point:
    """The account at one market time: lowest and highest equity since the point before, and the last."""

    at: int
    low: float
    high: float
    last: float


class Curve:
    """Equity over time, as few points as drawing needs; extremes are never lost."""

    def __init__(self) -> None:
        self.points: list[Point] = []
        self._every, self._in_last = 1, 0
        """How many values a point stands for, and how many the last one stands for so far."""

    def add(self, at: int, value: float) -> None:
        if self.points and self._in_last < self._every:
            last = self.points[-1]
            last.at, last.last = at, value
            last.low, last.high = min(last.low, value), max(last.high, value)
            self._in_last += 1
            return
        self.points.append(Point(at, value, value, value))
        self._in_last = 1
        if len(self.points) > _MOST_POINTS:
            self._halve()

    def _halve(self) -> None:
        pairs = zip(self.points[::2], self.points[1::2], strict=False)
        odd = self.points[-1:] if len(self.points) % 2 else []
        self._in_last += 0 if odd else self._every
        self._every *= 2
        self.points = [
            Point(two.at, min(one.low, two.low), max(one.high, two.high), two.last) for one, two in pairs
        ] + odd


@dataclass(slots=True)
class Outcome:
    """See the module. `moment` is the market time at which what the ledger says is noted."""

    capital: Decimal
    moment: int = 0
    trades: list[ReplayTrade] = field(default_factory=list)
    ignored: list[tuple[Signal, str]] = field(default_factory=list)
    """Signals that no intent was made of, and why."""
    refused: Counter[str] = field(default_factory=Counter)
    """Code -> how many intents of signals the system refused."""
    equity: Curve = field(default_factory=Curve)
    prices: dict[str, Curve] = field(default_factory=dict)
    days: dict[int, float] = field(default_factory=dict)
    """Day since 1970 -> equity at its end."""
    first_ms: int = 0
    last_ms: int = 0
    held_ms: int = 0
    """Market time during which at least one position was open."""
    peak: float = 0.0
    drawdown: float = 0.0
    """Largest fall from a peak, in money; `drawdown_ratio` as a share of that peak."""
    drawdown_ratio: float = 0.0
    fills: int = 0
    _books: dict[str, _Book] = field(default_factory=dict)
    _open: int = 0
    _held_since_mark: bool = False

    def hear(self, update: LedgerUpdated) -> None:
        """One update of the ledger."""
        for fill in update.fills:
            self._fill(fill)
        for position in update.positions:
            self._position(position)
        for trade in update.trades:
            self._trade(trade)
        for intent in update.intents:
            if (
                intent.status in _REFUSED
                and intent.code is not None
                and intent.intent_id.startswith(SIGNAL_PREFIX)
            ):
                self.refused[intent.code.value] += 1

    def _fill(self, fill: Fill) -> None:
        book = self._books.setdefault(fill.symbol, _Book())
        book.fees = add(book.fees, fill.fee)
        book.inverse = fill.instrument is Kind.INVERSE
        self.fills += 1

    def _position(self, row: PositionRow) -> None:
        book = self._books.setdefault(row.symbol, _Book())
        if row.is_open and book.position is None:
            book.opened_ms = self.moment
            self._open += 1
            self._held_since_mark = True
        elif not row.is_open and book.position is not None:
            self._open -= 1
        book.position = row if row.is_open else None

    def _trade(self, trade: Trade) -> None:
        book = self._books[trade.symbol]
        units = mul(trade.quantity, trade.contract_size)
        value = (
            divide(units, trade.entry_price) if trade.kind is Kind.INVERSE else mul(units, trade.entry_price)
        )
        self.trades.append(
            ReplayTrade(
                symbol=trade.symbol,
                side=trade.side.value,
                opened_ms=book.opened_ms,
                closed_ms=self.moment,
                entry_price=trade.entry_price,
                exit_price=trade.exit_price,
                exit_reason=trade.exit_reason.value,
                profit=trade.realized_pnl,
                profit_ratio=round(float(divide(trade.realized_pnl, value)), _RATIO_PLACES),
                quantity=trade.quantity,
                fees=book.fees,
            )
        )
        book.fees = ZERO
        book.realized += float(trade.realized_pnl)

    def price(self, symbol: str, price: Decimal) -> None:
        """Where the symbol stands now; `mark` says what that makes of the account."""
        book = self._books.get(symbol)
        if book is None:
            book = self._books[symbol] = _Book()
        book.price = float(price)
        curve = self.prices.get(symbol)
        if curve is None:
            curve = self.prices[symbol] = Curve()
        curve.add(self.moment, book.price)

    def mark(self, at: int) -> None:
        """All prices of market time *at* are known: the account's value."""
        if not self.first_ms:
            self.first_ms = self.last_ms = at
            self.peak = float(self.capital)
        if self._open or self._held_since_mark:
            self.held_ms += at - self.last_ms
        self._held_since_mark = self._open > 0
        self.last_ms = at
        equity = self.value()
        self.equity.add(at, equity)
        self.days[at // _DAY_MS] = equity
        self.peak = max(self.peak, equity)
        fall = self.peak - equity
        self.drawdown = max(self.drawdown, fall)
        if self.peak > 0:
            self.drawdown_ratio = max(self.drawdown_ratio, fall / self.peak)

    def value(self) -> float:
        """Capital and profit so far, at the last prices."""
        return float(self.capital) + sum(book.value() for book in self._books.values())
