"""Amounts: Decimal in memory, one canonical string everywhere else.

The canonical form is plain digits: no exponent, no plus sign, no trailing zeros, `0` never `-0`. So two equal
amounts are two equal strings, and a hash over a message is a hash over its meaning.

Arithmetic that must be exact goes through `mul`, `add`, `sub`: methods of a context of 60 digits, because
Python's default of 28 would silently round a cost of 18 + 18 decimals.
"""

from decimal import ROUND_DOWN, ROUND_HALF_EVEN, Context, Decimal, DivisionByZero, InvalidOperation, Overflow
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field, PlainSerializer

MAX_DIGITS = 64
"""Longest amount accepted, sign and point included."""

EXACT = Context(prec=60, rounding=ROUND_HALF_EVEN, traps=[InvalidOperation, DivisionByZero, Overflow])
mul, add, sub = EXACT.multiply, EXACT.add, EXACT.subtract

ZERO = Decimal(0)
ONE = Decimal(1)
HUNDRED = Decimal(100)
PRICE_PLACES = Decimal("1e-18")
"""Averages and shares of a cost that do not divide evenly are rounded to this many places, half to even."""

_EXPONENT_LIMIT = 24


def canonical(amount: Decimal) -> str:
    """The one way to write *amount*: `Decimal("1.50E+3")` becomes `1500`, `Decimal("-0.0")` becomes `0`."""
    if not amount:
        return "0"
    text = format(amount, "f")
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return text


def parse_amount(value: object) -> Decimal:
    """A finite Decimal from a string, an int or a Decimal; ValueError for anything else (floats, NaN, infinity).

    A JSON number with a point arrives as a float, which has already lost digits: it is refused, not repaired.
    """
    if type(value) is str:
        if len(value) > MAX_DIGITS:
            raise ValueError(f"an amount has at most {MAX_DIGITS} characters")
        try:
            amount = Decimal(value)
        except InvalidOperation:
            raise ValueError(f'"{value[:20]}" is not a decimal number') from None
    elif type(value) is Decimal:
        amount = value
    elif type(value) is int:
        amount = Decimal(value)
    elif isinstance(value, float):
        raise ValueError('write amounts as strings, like "0.01": a JSON number loses digits')  # noqa: TRY004 - pydantic wants ValueError
    else:
        raise ValueError('an amount is a string, like "0.01"')
    if not amount.is_finite():
        raise ValueError("an amount is finite: NaN and infinity are refused")
    if amount and not -_EXPONENT_LIMIT <= amount.adjusted() <= _EXPONENT_LIMIT:
        raise ValueError("an amount lies between 1e-24 and 1e24")
    return amount


def _positive(amount: Decimal) -> Decimal:
    if amount <= 0:
        raise ValueError("must be greater than zero")
    return amount


def _not_negative(amount: Decimal) -> Decimal:
    if amount < 0:
        raise ValueError("must not be negative")
    return amount


_as_text = PlainSerializer(canonical, return_type=str, when_used="json")

Amount = Annotated[Decimal, BeforeValidator(parse_amount), _as_text]
"""Any finite amount."""
Positive = Annotated[Decimal, BeforeValidator(parse_amount), AfterValidator(_positive), _as_text]
"""An amount greater than zero: a price, a quantity."""
NotNegative = Annotated[Decimal, BeforeValidator(parse_amount), AfterValidator(_not_negative), _as_text]
"""An amount of zero or more."""
Fees = dict[Annotated[str, Field(max_length=20)], Amount]
"""Currency -> amount paid; a rebate is negative."""


def round_down(amount: Decimal, step: Decimal) -> Decimal:
    """*amount* rounded towards zero to a multiple of *step* (> 0): a quantity never grows by rounding."""
    return mul((amount / step).to_integral_value(rounding=ROUND_DOWN), step)


def divide(amount: Decimal, by: Decimal) -> Decimal:
    """*amount* / *by*, rounded to `PRICE_PLACES`, half to even. For averages and shares, never for sums."""
    return EXACT.quantize(EXACT.divide(amount, by), PRICE_PLACES)


def percent_of(amount: Decimal, percent: Decimal) -> Decimal:
    """*percent* of *amount*, rounded to `PRICE_PLACES`."""
    return EXACT.quantize(EXACT.divide(mul(amount, percent), HUNDRED), PRICE_PLACES)
