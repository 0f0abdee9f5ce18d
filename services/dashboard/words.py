"""How amounts, shares and ages look on the page: the one place that formats."""

from decimal import Decimal

from holdfast.contracts.money import ZERO, canonical
from holdfast.domain.light import age

Cells = dict[str, str]
"""Name -> text; see `services.dashboard.screen`."""
NONE = "–"


def price(amount: Decimal | None) -> str:
    """Seven significant digits at most, plain."""
    if amount is None:
        return NONE
    return canonical(_significant(amount, 7))


def money(amount: Decimal | None) -> str:
    """Two places, thousands apart: `12,345.60`; more where the amount is small."""
    if amount is None:
        return NONE
    if amount and abs(amount) < 1:
        return canonical(_significant(amount, 3))
    return f"{amount:,.2f}"


def signed(amount: Decimal | None) -> str:
    text = money(amount)
    return f"+{text}" if amount is not None and amount > 0 else text


def percent(share: Decimal | None, places: int = 2) -> str:
    """`0.05` as `5.00 %`."""
    return NONE if share is None else f"{share * 100:.{places}f} %"


def _significant(amount: Decimal, digits: int) -> Decimal:
    if not amount:
        return ZERO
    return (
        amount
        if -amount.adjusted() + digits - 1 < -20
        else round(amount, max(0, digits - 1 - amount.adjusted()))
    )


def tone(amount: Decimal | None) -> str:
    return "" if not amount else "good" if amount > 0 else "bad"


def short_age(milliseconds: int | None) -> str:
    """`now`, `5 s`, `3 min`: only what changes slowly enough to read."""
    if milliseconds is None:
        return "never"
    if milliseconds < 2_000:
        return "now"
    return f"{milliseconds // 1000} s" if milliseconds < 120_000 else age(milliseconds)


def duration(milliseconds: int) -> str:
    """`0 s`, `1.4 s`, `3 min`."""
    return "0 s" if milliseconds < 50 else age(milliseconds)
