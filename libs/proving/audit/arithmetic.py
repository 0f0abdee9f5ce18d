"""The auditor's own position arithmetic: what fills make of a book. Written from the documents, not from the product.

A position is quantity and cost; profit of a reduction is what it brought less its *exact* proportional share of the cost. The
ledger rounds such shares (18 places; values of inverse contracts 36), the auditor does not: it keeps 100 digits, and
with each position the most that rounding may have moved, its `slack`. Quantities have none: they agree to the last digit.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from decimal import ROUND_HALF_EVEN, Context, Decimal
from typing import NamedTuple

SUMS = Context(prec=600, rounding=ROUND_HALF_EVEN)
"""Exact for sums of products of amounts of 64 digits."""
SHARES = Context(prec=100, rounding=ROUND_HALF_EVEN)
ZERO, ONE = Decimal(0), Decimal(1)
STEP, INVERSE_STEP = Decimal("1e-18"), Decimal("1e-36")
LOWEST, HIGHEST = Decimal("1e-24"), Decimal(10**25 - 1)
"""Between these the ledger holds a price."""

add, sub, mul = SUMS.add, SUMS.subtract, SUMS.multiply


class Terms(NamedTuple):
    """What a fill's instrument is."""

    kind: str
    size: Decimal
    """Of one contract."""
    settle: str


class Deal(NamedTuple):
    """A fill as arithmetic sees it; *side* is the position side it works towards."""

    side: str
    quantity: Decimal
    price: Decimal
    fee: Decimal
    currency: str
    base: str
    kind: str
    at: int = 0


@dataclass(slots=True)
class Holding:
    """An open position, or the last word on a closed one (`quantity` 0)."""

    side: str
    terms: Terms
    opened_at: int = 0
    quantity: Decimal = ZERO
    cost: Decimal = ZERO
    realized: Decimal = ZERO
    fees: dict[str, Decimal] = field(default_factory=dict)
    entered: Decimal = ZERO
    left: Decimal = ZERO
    entry_value: Decimal = ZERO
    exit_value: Decimal = ZERO
    slack: Decimal = ZERO
    """The most that the ledger's rounding may have moved cost, values or profit."""
    position_id: str = ""


class Result(NamedTuple):
    """What one fill made: a position that closed, and the one that is open now."""

    closed: Holding | None
    held: Holding | None
    realized: Decimal
    slack: Decimal


def take(held: Holding | None, deal: Deal, terms: Terms) -> Result:
    """Fold *deal* into the open position of its book (None: flat)."""
    now = held.terms if held is not None else terms
    settled = deal.fee if deal.currency == now.settle else ZERO
    listed = {} if deal.currency == now.settle or not deal.fee else {deal.currency: deal.fee}
    quantity, coins = _moved(held, deal, now)
    price, slack = _price(held, deal)
    if deal.kind == "funding" or not quantity:
        if held is not None and (deal.kind != "funding" or deal.at >= held.opened_at):
            held = _charged(held, settled, listed)
        return Result(None, held, settled.copy_negate(), ZERO)
    if held is None or held.side == deal.side:
        fresh = held is None
        base = Holding(deal.side, terms, deal.at) if held is None else held
        value = _value(base.terms.kind, quantity, price)
        grown = replace(
            base, quantity=add(base.quantity, quantity), cost=add(base.cost, value),
            entered=add(base.entered, quantity), entry_value=add(base.entry_value, value),
            slack=base.slack + _step(base.terms.kind) + slack * quantity, position_id="" if fresh else base.position_id,
        )  # fmt: skip
        return Result(None, _charged(grown, settled, listed), settled.copy_negate(), grown.slack)
    if quantity <= held.quantity:
        shrunk, gain = _reduced(held, quantity, price, coins, slack)
        row = _charged(shrunk, settled, listed)
        return Result(
            None if row.quantity else row, row if row.quantity else None, sub(gain, settled), row.slack
        )
    return _flipped(held, deal, terms, quantity, price, slack)


def _flipped(
    held: Holding, deal: Deal, terms: Terms, quantity: Decimal, price: Decimal, slack: Decimal
) -> Result:
    """Through zero: the old position closes with its share of the fee, a new one opens with the rest."""
    fee = SHARES.divide(mul(deal.fee, held.quantity), quantity)
    first = deal._replace(quantity=held.quantity, price=price, fee=fee, base="")
    rest = deal._replace(quantity=sub(quantity, held.quantity), price=price, fee=sub(deal.fee, fee), base="")
    ended, opened = take(held, first, held.terms), take(None, rest, terms)
    for row in (ended.closed, opened.held):
        if row is not None:
            row.slack += STEP + slack * quantity
    return Result(ended.closed, opened.held, add(ended.realized, opened.realized), ended.slack + opened.slack)


def _moved(held: Holding | None, deal: Deal, terms: Terms) -> tuple[Decimal, Decimal]:
    """(what the quantity moves by, coins that leave a long beside it): on spot a fee in the base coin is paid in coins.

    Dust is the whole of what is held, or nothing at all.
    """
    if deal.kind == "dust" and (held is None or held.side != "long" or deal.quantity != held.quantity):
        return ZERO, ZERO
    if terms.kind != "spot" or not deal.fee or deal.currency != deal.base:
        return deal.quantity, ZERO
    coins = deal.fee if terms.size == ONE else SHARES.divide(deal.fee, terms.size).quantize(STEP)
    if deal.side == "long":
        return max(ZERO, sub(deal.quantity, coins)), ZERO
    if held is not None and held.side == "long":
        return deal.quantity, max(ZERO, coins)
    return max(ZERO, add(deal.quantity, coins)), ZERO


def _price(held: Holding | None, deal: Deal) -> tuple[Decimal, Decimal]:
    """(the price, how far the ledger's may be off): where none is told, the average stands in."""
    told = held is None or held.terms.kind != "inverse"
    if deal.price or (told and deal.kind in {"trade", "liquidation"}):
        return deal.price, ZERO
    if held is None:
        return LOWEST, ZERO
    return average(held.terms.kind, held.cost, held.quantity), STEP + _off(held)


def _off(held: Holding) -> Decimal:
    return SHARES.divide(held.slack, held.quantity) if held.quantity else ZERO


def _reduced(
    held: Holding, quantity: Decimal, price: Decimal, coins: Decimal, slack: Decimal
) -> tuple[Holding, Decimal]:
    worth = _value(held.terms.kind, quantity, price)
    rest = sub(held.quantity, quantity)
    taken = _share(held.cost, quantity, held.quantity)
    cost = sub(held.cost, taken) if rest else ZERO
    coins = min(coins, rest)
    coin_cost = _share(cost, coins, rest) if coins else ZERO
    longs = (held.side == "long") != (held.terms.kind == "inverse")
    gain = mul(held.terms.size, sub(worth, taken) if longs else sub(taken, worth))
    row = replace(
        held, quantity=sub(rest, coins), cost=sub(cost, coin_cost), entry_value=sub(held.entry_value, coin_cost),
        exit_value=add(held.exit_value, worth), entered=sub(held.entered, coins), left=add(held.left, quantity),
        realized=add(held.realized, gain), slack=held.slack + 3 * _step(held.terms.kind) + slack * quantity,
        fees=dict(held.fees),
    )  # fmt: skip
    return row, gain


def _charged(held: Holding, settled: Decimal, listed: Mapping[str, Decimal]) -> Holding:
    fees = dict(held.fees)
    for currency, amount in listed.items():
        fees[currency] = add(fees.get(currency, ZERO), amount)
    return replace(
        held, realized=sub(held.realized, settled), fees={key: fee for key, fee in fees.items() if fee}
    )


def _share(total: Decimal, part: Decimal, whole: Decimal) -> Decimal:
    return total if part == whole else SHARES.divide(mul(total, part), whole)


def _value(kind: str, quantity: Decimal, price: Decimal) -> Decimal:
    return SHARES.divide(quantity, price) if kind == "inverse" else mul(quantity, price)


def _step(kind: str) -> Decimal:
    return INVERSE_STEP if kind == "inverse" else STEP


def average(kind: str, value: Decimal, quantity: Decimal) -> Decimal:
    """The price at which *quantity* has this *value*; harmonic for inverse contracts."""
    if not value or not quantity:
        return LOWEST
    price = SHARES.divide(quantity, value) if kind == "inverse" else SHARES.divide(value, quantity)
    return min(max(price, LOWEST), HIGHEST)
