"""Positions as other programs report them: any name of a symbol, any kind of number, one or two sides.

`position_invariant` reads its callers' data here. Nothing is repaired and nothing is guessed: what is no quantity
raises Unreadable, because whoever takes it for flat opens a position against one that exists.
"""

from collections.abc import Mapping
from decimal import Decimal
from functools import lru_cache
from numbers import Integral, Real

from holdfast.contracts.base import ContractViolation
from holdfast.contracts.money import ZERO, add, parse_amount
from holdfast.domain.instruments import MAX_LENGTH, fold

fold_cached = lru_cache(maxsize=16_384)(fold)


class Unreadable(Exception):  # noqa: N818 - a fact about the caller's data
    """What the caller reported for the symbol is no quantity. The text is a noun phrase: "the position of ..."."""


class Names:
    """Which of the names met so far mean the same symbol, so that a check need not read every held name again."""

    def __init__(self) -> None:
        self.key_of: dict[str, str] = {}
        self._names_of: dict[str, tuple[str, ...]] = {}

    def knows(self, positions: Mapping[str, object]) -> bool:
        """Whether every name in *positions* has been met."""
        return positions.keys() <= self.key_of.keys()

    def of(self, key: str) -> tuple[str, ...]:
        return self._names_of.get(key, ())

    def learn(self, positions: Mapping[str, object]) -> None:
        """One caller at a time. Raises Unreadable for a name that is no text: nobody knows what is held there."""
        for name in tuple(positions):
            if not isinstance(name, str) or not name:
                raise Unreadable(f"a position under the name {shown(name)}")
            if name not in self.key_of:
                key = fold_cached(name)
                self._names_of[key] = (*self._names_of.get(key, ()), name)
                self.key_of[name] = key  # last: whoever sees it here finds it above


def symbol_key(symbol: object) -> str:
    """The key that all names of one symbol share. Raises ContractViolation for what is no name."""
    if not isinstance(symbol, str) or not symbol:
        raise ContractViolation("symbol", f"{shown(symbol)} is no text, like BTCUSDT")
    if len(symbol) > MAX_LENGTH:
        raise ContractViolation("symbol", f"has {len(symbol)} characters; at most {MAX_LENGTH} are read")
    return fold_cached(symbol)


def number(value: object) -> Decimal:
    """An exact Decimal; of a float, the digits that it prints. Raises ValueError for anything else."""
    if isinstance(value, bool) or value is None:
        raise ValueError(f"{value} is no quantity")
    if isinstance(value, float):
        return parse_amount(float.__repr__(value))
    if isinstance(value, str):
        return parse_amount(value if value.isprintable() else ascii(value))
    if isinstance(value, Decimal):
        return parse_amount(value)
    if isinstance(value, Integral):
        return parse_amount(int(value))
    if isinstance(value, Real):
        return parse_amount(float.__repr__(float(value)))
    raise ValueError(f"a {type(value).__name__} is no quantity")


def order_quantity(quantity: object) -> Decimal:
    """A quantity greater than zero. Raises ContractViolation, which names the field."""
    try:
        amount = number(quantity)
    except ValueError as error:
        raise ContractViolation("quantity", str(error)) from None
    if amount <= 0:
        raise ContractViolation("quantity", f"{shown(quantity)} is not greater than zero")
    return amount


def quantities(value: object, name: str) -> tuple[Decimal, Decimal]:
    """Long and short quantity of what is reported under *name*. Raises Unreadable."""
    try:
        if isinstance(value, Mapping):
            return _both_sides(value)
        net = number(value)
    except ValueError as error:
        raise Unreadable(f"the position of {shown_text(name)} ({error})") from None
    return (net, ZERO) if net >= 0 else (ZERO, net.copy_negate())


def sides(names: tuple[str, ...], positions: Mapping[str, object]) -> tuple[Decimal, Decimal]:
    """Long and short quantity summed over those of *names* that are in *positions*. Raises Unreadable."""
    long = short = ZERO
    for name in names:
        if name in positions:
            more_long, more_short = quantities(positions[name], name)
            long, short = add(long, more_long), add(short, more_short)
    return long, short


def _both_sides(value: Mapping[object, object]) -> tuple[Decimal, Decimal]:
    if not value or not value.keys() <= {"long", "short"}:
        raise ValueError('both sides are written as {"long": quantity, "short": quantity}')
    long, short = (number(value.get(side, 0)) for side in ("long", "short"))
    if long < 0 or short < 0:
        raise ValueError("the quantity of a side is zero or more")
    return long, short


def shown(value: object) -> str:
    """*value* in a form that is safe to print: ASCII, at most 60 characters."""
    try:
        return ascii(value)[:60]
    except Exception:  # noqa: BLE001 - a value that cannot even be printed must not decide anything
        return f"<{type(value).__name__}>"


def shown_text(value: object) -> str:
    """As the caller wrote it, unless that would not be safe to print."""
    return value if isinstance(value, str) and len(value) <= 64 and value.isprintable() else shown(value)
