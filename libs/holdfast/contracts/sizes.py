"""What an intent says about its size: how much of something, never two things at once.

To open: exactly one of `quantity`, `quote_amount`, `nav_pct`, `risk_pct`. To close: `quantity`, `fraction`, or nothing, which
is all. The size becomes a quantity once, when the order is reserved; see `domain.sizing`.
"""

from collections.abc import Mapping
from decimal import Decimal
from typing import Annotated

from pydantic import AfterValidator

from holdfast.contracts.money import HUNDRED, ONE, Positive

TO_OPEN = ("quantity", "quote_amount", "nav_pct", "risk_pct")
TO_CLOSE = ("quantity", "fraction")
EVERY = (*TO_OPEN, "fraction")


def _at_most(most: Decimal, what: str) -> AfterValidator:
    def check(value: Decimal) -> Decimal:
        if value > most:
            raise ValueError(f"must be at most {most}, {what}")
        return value

    return AfterValidator(check)


Percent = Annotated[Positive, _at_most(HUNDRED, "because it is in percent")]
"""Greater than 0, at most 100."""
Share = Annotated[Positive, _at_most(ONE, "which is everything")]
"""Greater than 0, at most 1."""


def size_problem(given: Mapping[str, Decimal | None], *, reduces: bool) -> str | None:
    """What is wrong with the sizes that are *given* by name; None when nothing is."""
    named = [name for name in EVERY if given.get(name) is not None]
    allowed = TO_CLOSE if reduces else TO_OPEN
    for name in named:
        if name not in allowed:
            return f"{name} is for {'entries' if reduces else 'closes'}; here it may be {', '.join(allowed)}"
    if len(named) > 1:
        return f"{' and '.join(named)}: a size is said once, in one way"
    if not named and not reduces:
        others = ", ".join(TO_OPEN[1:])
        return f'quantity is required to open (or {others}); "action" may also be close or cancel'
    return None
