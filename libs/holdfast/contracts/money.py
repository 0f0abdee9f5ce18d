"""Amounts: Decimal in memory, one canonical string everywhere else.

The canonical form is plain digits: no exponent, no plus sign, no trailing zeros, `0` never `-0`. So two equal
amounts are two equal strings, and a hash over a message is a hash over its meaning.

Arithmetic that must be exact goes through `mul`, `add`, `sub`: methods of a context of 400 digits, because
Python's default of 28 would silently round a cost of 18 + 18 decimals. 400 hold any sum of products of three amounts.

What comes in is an `Amount` (1e-24 to 1e24). What is summed up from it (a cost, a profit) may lie outside and is a `Sum`,
so that every row the ledger can compute can also be read.
"""

from decimal import ROUND_HALF_EVEN, Context, Decimal, DivisionByZero, InvalidOperation, Overflow
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field, PlainSerializer

MAX_DIGITS = 64
"""Longest amount accepted, sign and point included."""
MAX_SUM_DIGITS = 400
"""Longest sum accepted."""

EXACT = Context(prec=400, rounding=ROUND_HALF_EVEN, traps=[InvalidOperation, DivisionByZero, Overflow])
mul, add, sub = EXACT.multiply, EXACT.add, EXACT.subtract

ZERO = Decimal(0)
ONE = Decimal(1)
HUNDRED = Decimal(100)
PRICE_PLACES = Decimal("1e-18")
"""Averages and shares of a cost that do not divide evenly are rounded to this many places, half to even."""
MIN_DIGITS = 12
"""... but never to fewer significant digits than this, so that dust keeps its value and nothing rounds to nothing."""

_EXPONENT_LIMIT = 24
_QUOTIENT = Context(prec=120, rounding=ROUND_HALF_EVEN, traps=[InvalidOperation, DivisionByZero, Overflow])
_FEW = Context(prec=MIN_DIGITS, rounding=ROUND_HALF_EVEN, traps=[InvalidOperation, DivisionByZero, Overflow])


def canonical(amount: Decimal) -> str:
    """The one way to write *amount*: `Decimal("1.50E+3")` becomes `1500`, `Decimal("-0.0")` becomes `0`."""
    if not amount:
        return "0"
    text = str(amount)
    if "E" in text:
        text = format(amount, "f")
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return text


def parse_amount(value: object) -> Decimal:
    """A finite Decimal from a string, an int or a Decimal; ValueError for anything else (floats, NaN, infinity).

    A JSON number with a point arrives as a float, which has already lost digits: it is refused, not repaired.
    """
    amount = _decimal(value, MAX_DIGITS)
    if amount and not -_EXPONENT_LIMIT <= amount.adjusted() <= _EXPONENT_LIMIT:
        raise ValueError("an amount lies between 1e-24 and 1e24")
    if type(value) is str and "E" in value.upper() and len(canonical(amount)) > MAX_DIGITS:
        raise ValueError(f"an amount has at most {MAX_DIGITS} characters when it is written out")
    return amount


def parse_sum(value: object) -> Decimal:
    """Like `parse_amount`, for what was added up from amounts: it may be longer, smaller and larger than one of them."""
    amount = _decimal(value, MAX_SUM_DIGITS)
    if abs(amount.adjusted()) > MAX_SUM_DIGITS:
        raise ValueError("a sum lies between 1e-400 and 1e400")
    return amount


def _decimal(value: object, max_digits: int) -> Decimal:
    """A finite Decimal; zero in its plain form, whatever exponent or sign it came with."""
    if type(value) is str:
        if len(value) > max_digits:
            raise ValueError(f"an amount has at most {max_digits} characters")
        try:
            amount = Decimal(value)
        except InvalidOperation:
            raise ValueError(f'"{value[:20]}" is not a decimal number') from None
    elif type(value) is Decimal:
        amount = value
    elif type(value) is int:
        amount = Decimal(value)
    elif isinstance(value, float):
        raise ValueError('write amounts as strings, like "0.01": a JSON number loses digits')
    else:
        raise ValueError('an amount is a string, like "0.01"')
    if not amount.is_finite():
        raise ValueError("an amount is finite: NaN and infinity are refused")
    return amount or ZERO


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
Sum = Annotated[Decimal, BeforeValidator(parse_sum), _as_text]
"""Any finite amount that was added up from others: a profit."""
PositiveSum = Annotated[Decimal, BeforeValidator(parse_sum), AfterValidator(_positive), _as_text]
NotNegativeSum = Annotated[Decimal, BeforeValidator(parse_sum), AfterValidator(_not_negative), _as_text]
"""A sum of zero or more: a quantity held, a cost."""
Fees = dict[Annotated[str, Field(max_length=64)], Sum]
"""Currency -> amount paid; a rebate is negative."""


def round_down(amount: Decimal, step: Decimal) -> Decimal:
    """*amount* rounded towards zero to a multiple of *step* (> 0): a quantity never grows by rounding."""
    return mul(EXACT.divide_int(amount, step), step)


def divide(amount: Decimal, by: Decimal, places: Decimal = PRICE_PLACES) -> Decimal:
    """*amount* / *by*, rounded to *places*, half to even, but to no fewer than `MIN_DIGITS` significant digits.

    For averages and shares, never for sums.
    """
    return _rounded(_QUOTIENT.divide(amount, by), places)


def percent_of(amount: Decimal, percent: Decimal) -> Decimal:
    """*percent* of *amount*, rounded like a quotient."""
    return _rounded(EXACT.divide(mul(amount, percent), HUNDRED), PRICE_PLACES)


def _rounded(amount: Decimal, places: Decimal) -> Decimal:
    if amount.adjusted() < places.adjusted() + MIN_DIGITS - 1:
        return _FEW.plus(amount)
    return EXACT.quantize(amount, places)
