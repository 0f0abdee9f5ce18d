"""Exits that an entry asks for, judged by where they lie: a long's stop below the price, its target above; a short's the other way."""

from decimal import Decimal

from holdfast.contracts.codes import PositionSide, Side
from holdfast.contracts.money import HUNDRED, canonical
from holdfast.domain.ladder import in_order, is_ladder, rungs_of

_OFF = "off"


def misplaced(take_profit: str | None, stop_loss: str | None, side: Side, reference: Decimal) -> str | None:
    """Why these levels cannot mean anything for an entry at *reference*; None: they can, or nothing is asked."""
    opened = PositionSide.LONG if side is Side.BUY else PositionSide.SHORT
    if take_profit is not None and is_ladder(take_profit):
        try:
            rungs = rungs_of(take_profit)
        except ValueError as error:
            return f"take_profit {take_profit}: {error}"
        if not in_order(rungs, opened, reference):
            return f"take_profit {take_profit}: each rung of a {opened.value} position lies farther from the entry than the one before"
        take_profit = rungs[0].level
    named = [("stop_loss", stop_loss), ("take_profit", take_profit)]
    (low, below), (high, above) = named if side is Side.BUY else named[::-1]
    if below is not None and below != _OFF:
        if below.endswith("%"):
            if Decimal(below[:-1]) >= HUNDRED:
                return f"{low} {below} of a {opened.value} position would lie at zero or below"
        elif Decimal(below) >= reference:
            return (
                f"{low} {below} of a {opened.value} position must lie below the price, {canonical(reference)}"
            )
    if above is not None and above != _OFF and not above.endswith("%") and Decimal(above) <= reference:
        return f"{high} {above} of a {opened.value} position must lie above the price, {canonical(reference)}"
    return None
