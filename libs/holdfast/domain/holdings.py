"""What the open positions of each account are worth at market, kept as sums per symbol.

The profit of a symbol's positions is linear in what is held and what it cost, so a price needs one product per symbol, however
many positions there are. Sums are exact: a position that closes leaves nothing behind.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import NamedTuple

from holdfast.contracts.codes import Kind, PositionSide
from holdfast.contracts.money import ONE, ZERO, add, divide, mul, sub
from holdfast.contracts.rows import NavRow, PositionRow, TotalRow
from holdfast.domain.kpi import Appraiser, Inputs
from holdfast.domain.valuation import Capital, Mark, Rates, sum_into


class _Key(NamedTuple):
    account: str
    symbol: str
    is_inverse: bool
    settle: str


class _Part(NamedTuple):
    """What one position adds: signed by its side, times the contract size."""

    key: _Key
    quantity: Decimal
    cost: Decimal


@dataclass(frozen=True, slots=True)
class Basis:
    """What NAV is counted from beside the positions. `capital` is what the accounts started with, in `base_currency`."""

    totals: Iterable[TotalRow]
    navs: Iterable[NavRow]
    marks: Mapping[str, Mark]
    now_ms: int
    max_mark_age_ms: int
    capital: Capital
    base_currency: str


class Holdings:
    """See the module."""

    def __init__(self) -> None:
        self._parts: dict[str, _Part] = {}
        self._sums: dict[str, dict[_Key, tuple[Decimal, Decimal, int]]] = {}
        """Account -> symbol -> (quantity, cost, positions)."""

    def load(self, positions: Iterable[PositionRow]) -> None:
        """Begin anew, with these."""
        self._parts, self._sums = {}, {}
        for row in positions:
            self.take(row)

    def take(self, row: PositionRow) -> None:
        """How a position now stands; a closed one is forgotten."""
        before = self._parts.pop(row.position_id, None)
        if before is not None:
            self._add(before.key, before.quantity.copy_negate(), before.cost.copy_negate(), -1)
        if row.is_open:
            key = _Key(row.account, row.symbol, row.kind is Kind.INVERSE, row.settle)
            quantity, cost = mul(row.quantity, row.contract_size), mul(row.cost, row.contract_size)
            if row.side is PositionSide.SHORT:
                quantity, cost = quantity.copy_negate(), cost.copy_negate()
            self._parts[row.position_id] = _Part(key, quantity, cost)
            self._add(key, quantity, cost, 1)

    def _add(self, key: _Key, quantity: Decimal, cost: Decimal, count: int) -> None:
        sums = self._sums.setdefault(key.account, {})
        held, paid, positions = sums.get(key, (ZERO, ZERO, 0))
        if positions + count:
            sums[key] = (add(held, quantity), add(paid, cost), positions + count)
        else:
            del sums[key]

    def unrealized(
        self, account: str, marks: Mapping[str, Mark], now_ms: int, max_age_ms: int
    ) -> tuple[dict[str, Decimal], list[str]]:
        """Profit at market by currency, and why it is not known whole (empty where it is)."""
        profit, why = dict[str, Decimal](), list[str]()
        for key, (quantity, cost, _) in self._sums.get(account, {}).items():
            mark = marks.get(key.symbol)
            if mark is None:
                why.append(f"no price of {key.symbol} yet")
                continue
            if now_ms - mark.heard_ms > max_age_ms:
                why.append(f"the price of {key.symbol} is older than {max_age_ms / 1000:g} s")
            worth = mul(quantity, divide(ONE, mark.price) if key.is_inverse else mark.price)
            sum_into(profit, [(key.settle, sub(cost, worth) if key.is_inverse else sub(worth, cost))])
        return profit, why

    def nav_of(self, account: str, basis: Basis) -> Decimal | str:
        """NAV of *account* in the base currency; or why it is not known."""
        inputs = Inputs(
            positions=(), totals=[row for row in basis.totals if row.account == account],
            navs=[row for row in basis.navs if row.account == account], marks=basis.marks, now_ms=basis.now_ms,
            max_mark_age_ms=basis.max_mark_age_ms, accounts=(account,), capital=basis.capital, base_currency=basis.base_currency,
        )  # fmt: skip
        cash = Appraiser().appraise(inputs)
        profit, why = self.unrealized(account, basis.marks, basis.now_ms, basis.max_mark_age_ms)
        rates = Rates(basis.marks, basis.base_currency)
        for currency in profit:
            rate = rates.of(currency)
            if rate is None:
                why.append(f"no price leads from {currency} to {basis.base_currency}")
            elif rate.heard_ms is not None and basis.now_ms - rate.heard_ms > basis.max_mark_age_ms:
                why.append(f"the rate of {currency} to {basis.base_currency} is too old")
        why += cash.nav_stale
        return "; ".join(dict.fromkeys(why)) if why else add(cash.nav, rates.convert(profit)[0])
