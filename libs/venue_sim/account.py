"""The money and the positions of the one account: what trades do to them, margin, liquidation prices.

One-way mode keeps one signed quantity a symbol, hedge mode one for each side. Cost is exact; the average is derived.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal

from venue_sim.market import Spec

ZERO = Decimal(0)
BOTH, LONG, SHORT = "BOTH", "LONG", "SHORT"


@dataclass(slots=True)
class Position:
    """Signed quantity and what it cost; `at`: ms of the last change."""

    quantity: Decimal = ZERO
    cost: Decimal = ZERO
    at: int = 0

    @property
    def entry(self) -> Decimal:
        return abs(self.cost / self.quantity) if self.quantity else ZERO

    def profit(self, price: Decimal) -> Decimal:
        return self.quantity * price - self.cost

    def apply(self, quantity: Decimal, price: Decimal, at: int) -> Decimal:
        """Take in a signed trade; the profit that it realised."""
        self.at = at
        if self.quantity == 0 or (self.quantity > 0) == (quantity > 0):
            self.quantity += quantity
            self.cost += quantity * price
            return ZERO
        closing = min(abs(quantity), abs(self.quantity))
        share = self.cost * closing / abs(self.quantity)
        signed = closing if self.quantity > 0 else -closing
        realised = signed * price - share
        self.quantity -= signed
        self.cost = self.cost - share if self.quantity else ZERO
        rest = quantity + signed
        if rest:
            self.quantity, self.cost = rest, rest * price
        return realised


@dataclass(slots=True)
class Account:
    """See the module. *mark* gives a symbol's price, None where there is none yet."""

    wallet: Decimal
    mark: Callable[[str], Decimal | None]
    specs: dict[str, Spec]
    hedged: bool = False
    can_withdraw: bool = False
    positions: dict[tuple[str, str], Position] = field(default_factory=dict)
    leverage: dict[str, int] = field(default_factory=dict)
    fees_paid: Decimal = ZERO

    def of(self, symbol: str, side: str = BOTH) -> Position:
        return self.positions.setdefault((symbol, side), Position())

    def leverage_of(self, symbol: str) -> int:
        return self.leverage.get(symbol, 20)

    def unrealised(self) -> Decimal:
        """Profit of all that is open, at the mark."""
        total = ZERO
        for (symbol, _), position in self.positions.items():
            mark = self.mark(symbol)
            if mark is not None:
                total += position.profit(mark)
        return total

    def margin(self) -> Decimal:
        """Bound by what is open."""
        return sum(
            (
                abs(position.quantity) * (self.mark(symbol) or position.entry) / self.leverage_of(symbol)
                for (symbol, _), position in self.positions.items()
            ),
            ZERO,
        )

    def equity(self) -> Decimal:
        return self.wallet + self.unrealised()

    def available(self) -> Decimal:
        return max(ZERO, self.equity() - self.margin())

    def is_doomed(self) -> bool:
        """Whether what is left no longer covers the maintenance margin."""
        needed = sum(
            (
                abs(position.quantity)
                * (self.mark(symbol) or position.entry)
                * self.specs[symbol].maintenance
                for (symbol, _), position in self.positions.items()
            ),
            ZERO,
        )
        return needed > 0 and self.equity() <= needed
