"""Where a venue would liquidate a position bought on margin, and the band before it in which Holdfast closes it itself.

The price at which what is left of the margin equals the maintenance margin, for a position margined on its own (isolated),
funding not counted. With shared margin the venue liquidates later: so this is the careful side. With L the leverage and m
the maintenance margin as a fraction: linear long, entry x (1 - 1/L) / (1 - m); short, entry x (1 + 1/L) / (1 + m); inverse
contracts the other way up. At leverage 1 a long has no such price, and spot has none at all.
"""

from decimal import Decimal

from holdfast.contracts.codes import Kind, PositionSide
from holdfast.contracts.exit_terms import ExitTerms
from holdfast.contracts.money import HUNDRED, ONE, add, divide, mul, sub


def liquidation_price(
    kind: Kind, side: PositionSide, entry_price: Decimal, terms: ExitTerms
) -> Decimal | None:
    """None where there is none."""
    if kind is Kind.SPOT or terms.leverage is None:
        return None
    part, kept = divide(ONE, terms.leverage), terms.maintenance_pct.scaleb(-2)
    long = side is PositionSide.LONG
    at_entry = sub(ONE, part) if long == (kind is Kind.LINEAR) else add(ONE, part)
    at_price = sub(ONE, kept) if long == (kind is Kind.LINEAR) else add(ONE, kept)
    above, below = (at_entry, at_price) if kind is Kind.LINEAR else (at_price, at_entry)
    if above <= 0 or below <= 0:
        return None
    return divide(mul(entry_price, above), below)


def guard_price(kind: Kind, side: PositionSide, entry_price: Decimal, terms: ExitTerms) -> Decimal | None:
    """Where the guard closes: `liquidation_guard_pct` of the way from the liquidation price back to entry."""
    if terms.liquidation_guard_pct is None:
        return None
    price = liquidation_price(kind, side, entry_price, terms)
    if price is None:
        return None
    way = sub(entry_price, price)
    if (way <= 0) == (side is PositionSide.LONG):
        return entry_price  # the maintenance margin is not even covered by what was put down
    return add(price, divide(mul(way, terms.liquidation_guard_pct), HUNDRED))
