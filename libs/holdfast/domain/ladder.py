"""A take-profit in rungs: `5%:0.5,10%:0.25` closes half of the position at 5 % profit and a quarter at 10 %.

How far a ladder has come is not stored: it is what its rungs have taken out (`laddered`), against the sum of the fractions of
all that was ever entered. So a rung that filled in part goes on, one that was refused is tried again, an add makes each rung
larger, and no sequence of fills can take out more than the fractions say, or more than is held.

A rung, or what would be left beside it, below the venue's minimum joins the next one: what is due is always counted from
the bottom of the ladder, and what cannot be ordered yet stays due.
"""

from collections.abc import Sequence
from decimal import Decimal
from functools import lru_cache
from typing import NamedTuple

from holdfast.contracts.codes import PositionSide
from holdfast.contracts.money import ONE, ZERO, add, mul, parse_amount, round_down, sub
from holdfast.contracts.rows import PositionRow
from holdfast.domain.conditions import is_long, moved, terms_of


class Rung(NamedTuple):
    """One rung: its level as written (`5%` or a price), and the sum of fractions up to and with it."""

    level: str
    through: Decimal

    def price(self, side: PositionSide, entry_price: Decimal) -> Decimal:
        if not self.level.endswith("%"):
            return Decimal(self.level)
        return moved(entry_price, Decimal(self.level[:-1]), up=side is PositionSide.LONG)


def is_ladder(spec: str) -> bool:
    return ":" in spec


@lru_cache(maxsize=1024)
def rungs_of(spec: str) -> tuple[Rung, ...]:
    """The rungs, in the order written; empty for a text that is no ladder. Raises ValueError that says what is wrong."""
    if not is_ladder(spec):
        return ()
    rungs: list[Rung] = []
    total = ZERO
    for part in spec.split(","):
        level, _, share = part.partition(":")
        fraction = parse_amount(share)
        if fraction <= 0 or parse_amount(level.removesuffix("%")) <= 0:
            raise ValueError("levels and fractions are greater than zero")
        total = add(total, fraction)
        rungs.append(Rung(level, total))
    if total > ONE:
        raise ValueError("the fractions sum to more than 1")
    if len({rung.level.endswith("%") for rung in rungs}) > 1:
        raise ValueError("its levels are all in percent, or all prices")
    return tuple(rungs)


def in_order(rungs: Sequence[Rung], side: PositionSide, entry_price: Decimal) -> bool:
    """Whether each rung lies farther from the entry price than the one before."""
    prices = [rung.price(side, entry_price) for rung in rungs]
    return prices == sorted(set(prices), reverse=side is PositionSide.SHORT)


def leaves_rest(spec: str) -> bool:
    """Whether a ladder ends before the position does."""
    rungs = rungs_of(spec)
    return bool(rungs) and rungs[-1].through < ONE


def entered(position: PositionRow) -> Decimal:
    """All that was ever entered, whatever the side."""
    return position.bought if is_long(position) else position.sold


def _still_due(position: PositionRow, rung: Rung, last: Rung) -> Decimal:
    """What may still be taken out so that everything through *rung* is; a ladder that sums to 1 ends with all that is held."""
    if rung is last and rung.through == ONE:
        return position.quantity
    return max(ZERO, min(position.quantity, sub(mul(rung.through, entered(position)), position.laddered)))


def next_rung(position: PositionRow) -> Rung | None:
    """The first rung with something left to take out; None when the ladder is done, or there is none."""
    rungs = rungs_of(position.take_profit_spec)
    step = terms_of(position).quantity_step
    for rung in rungs:
        due = _still_due(position, rung, rungs[-1])
        if due and (not step or rung is rungs[-1] or round_down(due, step)):
            return rung
    return None


def next_price(position: PositionRow) -> Decimal | None:
    """The next rung's price."""
    rung = next_rung(position)
    return None if rung is None else rung.price(position.side, position.entry_price)


def due_at(position: PositionRow, price: Decimal) -> Decimal:
    """How much to close at *price*: through the highest rung it reaches, in steps of the instrument; zero: nothing, or
    not enough for an order yet. All that is held, where the rest would be too small to be closed on its own.
    """
    rungs, terms = rungs_of(position.take_profit_spec), terms_of(position)
    reached = [rung for rung in rungs if _reaches(position, rung, price)]
    if not reached:
        return ZERO
    due = _still_due(position, reached[-1], rungs[-1])
    if due < position.quantity and terms.quantity_step:
        due = round_down(due, terms.quantity_step)
    if _too_small(position, due, price):
        return ZERO
    rest = sub(position.quantity, due)
    return position.quantity if rest and _too_small(position, rest, price) else due


def _reaches(position: PositionRow, rung: Rung, price: Decimal) -> bool:
    level = rung.price(position.side, position.entry_price)
    return price >= level if is_long(position) else price <= level


def _too_small(position: PositionRow, quantity: Decimal, price: Decimal) -> bool:
    """Below what the venue takes as an order; all that is held is never too small to be tried."""
    if quantity >= position.quantity:
        return False
    terms = terms_of(position)
    worth = mul(mul(quantity, position.contract_size), ONE if position.kind == "inverse" else price)
    return quantity <= 0 or quantity < terms.min_quantity or worth < terms.min_notional
