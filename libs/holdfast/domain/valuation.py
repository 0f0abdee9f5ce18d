"""What positions are worth: marks from ticks, profit at mark, and rates between currencies.

A *mark* is the middle of bid and ask of the last quote that counts (`domain.market`): one bad print must not raise the
high-water mark for ever, and a price that the exit scanner does not believe protects nobody.

Profit is exact, because a position stores its exact cost: linear `quantity x mark - cost` in the quote currency,
inverse `cost - quantity / mark` in the base currency, with the sign of the side, times the contract size.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal

from holdfast.contracts.codes import Kind, PositionSide
from holdfast.contracts.messages import Tick
from holdfast.contracts.money import ONE, ZERO, add, divide, mul, sub
from holdfast.contracts.rows import PositionRow
from holdfast.domain.market import Markets, Quote
from holdfast.domain.matching import notional, worth

TWO = Decimal(2)


@dataclass(frozen=True, slots=True)
class Capital:
    """What accounts began with, in the base currency: `each` of them, but for those that have their `own`. Of `unsaid` ones it is what
    the ledger has recorded, and nothing is known before.
    """

    each: Decimal = Decimal(100_000)
    own: Mapping[str, Decimal] = field(default_factory=dict)
    unsaid: frozenset[str] = frozenset()

    def of(self, account: str) -> Decimal:
        return ZERO if account in self.unsaid else self.before(account)

    def before(self, account: str) -> Decimal:
        """Of accounts that have traded before the ledger recorded what they began with: what it counted from."""
        return self.own.get(account, self.each)


@dataclass(frozen=True, slots=True)
class Mark:
    """A price, and when it was heard (wall ms)."""

    price: Decimal
    heard_ms: int


def price_of(quote: Quote) -> Decimal:
    """The mark that a good quote gives: its middle."""
    return middle(quote.bid, quote.ask)


def middle(bid: Decimal, ask: Decimal) -> Decimal:
    return bid if bid == ask else divide(add(bid, ask), TWO)


class Marks:
    """The newest mark of every symbol, by the same rules by which the exit scanner believes a quote."""

    def __init__(self, bad_print_pct: Decimal) -> None:
        self.by_symbol: dict[str, Mark] = {}
        self.markets = Markets(bad_print_pct)

    def take(self, tick: Tick, heard_ms: int) -> bool:
        """Take *tick* in; False when it is old, or a bad print that nothing has confirmed."""
        quote = self.markets.on_tick(tick, heard_ms, heard_ms)
        if quote is None:
            return False
        self.by_symbol[tick.symbol] = Mark(price_of(quote), heard_ms)
        return True


def value_in_settle(position: PositionRow, price: Decimal) -> Decimal:
    """What the position's quantity is worth at *price*, in its settlement currency."""
    return worth(position.kind, position.quantity, price, position.contract_size)


def notional_of(position: PositionRow, price: Decimal) -> Decimal:
    """The same in the quote currency: an inverse position is counted in it already."""
    return notional(position.kind, position.quantity, price, position.contract_size)


def unrealized_of(position: PositionRow, price: Decimal) -> Decimal:
    """Profit at *price* of what is still held, in the settlement currency."""
    gain = sub(value_in_settle(position, price), mul(position.cost, position.contract_size))
    return (
        gain
        if (position.side is PositionSide.LONG) is (position.kind is not Kind.INVERSE)
        else gain.copy_negate()
    )


@dataclass(frozen=True, slots=True)
class Rate:
    """How much of the base currency one unit is worth, and when the oldest price it is made of was heard (wall ms)."""

    factor: Decimal
    heard_ms: int | None = None
    """None: no price was needed."""


class Rates:
    """Rates into one currency, from marks: a pair either way round, or two pairs through one other currency."""

    def __init__(self, marks: Mapping[str, Mark], into: str) -> None:
        self.into = into
        self._known: dict[str, Rate | None] = {into: Rate(ONE)}
        self._pairs: dict[str, dict[str, Rate]] = {}
        for symbol, mark in sorted(marks.items()):
            base, _, quote = symbol.partition(":")[0].partition("/")
            self._pairs.setdefault(base, {}).setdefault(quote, Rate(mark.price, mark.heard_ms))
            self._pairs.setdefault(quote, {}).setdefault(base, Rate(divide(ONE, mark.price), mark.heard_ms))

    def of(self, currency: str) -> Rate | None:
        """The rate of *currency*; None when the ticks at hand do not lead there."""
        if currency not in self._known:
            self._known[currency] = self._find(currency)
        return self._known[currency]

    def _find(self, currency: str) -> Rate | None:
        pairs = self._pairs.get(currency, {})
        if self.into in pairs:
            return pairs[self.into]
        for other, first in sorted(pairs.items()):
            second = self._pairs.get(other, {}).get(self.into)
            if second is not None:
                return Rate(mul(first.factor, second.factor), _older(first.heard_ms, second.heard_ms))
        return None

    def convert(self, amounts: Mapping[str, Decimal]) -> tuple[Decimal, list[str]]:
        """The sum of *amounts* (by currency), and the currencies that could not be converted and are not in it."""
        total, missing = ZERO, []
        for currency, amount in amounts.items():
            rate = self.of(currency)
            if rate is not None:
                total = add(total, mul(amount, rate.factor))
            elif amount:
                missing.append(currency)
        return total, missing


def _older(one: int | None, other: int | None) -> int | None:
    known = [heard for heard in (one, other) if heard is not None]
    return min(known) if known else None


def sum_into(sums: dict[str, Decimal], amounts: Iterable[tuple[str, Decimal]]) -> None:
    """Add *amounts* (currency, amount) to *sums*, in place."""
    for currency, amount in amounts:
        sums[currency] = add(sums.get(currency, ZERO), amount)
