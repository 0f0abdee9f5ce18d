"""INV-1 and the shrinking half of INV-5: what an order may do to the side that its book holds.

One pure rule for everybody: `PositionInvariantEnforcer`, the executor's pre-check and the ledger all call `judge`.

The trick is to ask for the *intention* and not for the sign. An order that opens may never oppose what is held or in
flight; an order that reduces may only shrink it, so a close is never taken for an opposing entry, and a close that is
too large is cut instead of flipping the book. What could not be read is `None`, and `None` is never flat (INV-7).
"""

from dataclasses import dataclass
from decimal import Decimal
from typing import Self

from holdfast.contracts.base import ContractViolation
from holdfast.contracts.codes import Code, PositionSide, Side
from holdfast.contracts.money import ZERO, canonical

_SIDE_OF_WORD = {"buy": Side.BUY, "long": Side.BUY, "sell": Side.SELL, "short": Side.SELL}


def parse_side(word: object) -> Side:
    """buy, sell, long or short in any case, as the side of an order. Raises ContractViolation for anything else."""
    if isinstance(word, str):
        side = _SIDE_OF_WORD.get(word) or _SIDE_OF_WORD.get(word.lower())
        if side is not None:
            return side
    raise ContractViolation("side", f"{repr(word)[:40]} is not buy, sell, long or short")


def opens(side: Side) -> PositionSide:
    """The side of the position that an order of *side* opens or enlarges."""
    return PositionSide.LONG if side is Side.BUY else PositionSide.SHORT


def closes(side: Side) -> PositionSide:
    """The side of the position that an order of *side* reduces."""
    return PositionSide.SHORT if side is Side.BUY else PositionSide.LONG


@dataclass(frozen=True, slots=True)
class Held:
    """What one book holds, both amounts zero or more, and the sides of its live entries (UNKNOWN ones are live).

    A netted book has at most one of `long` and `short`. Both at once is what hedging allows, and without hedging it is
    the very accident this file is against: then entries are blocked and exits of either side pass.
    """

    long: Decimal = ZERO
    short: Decimal = ZERO
    in_flight: tuple[PositionSide, ...] = ()

    @classmethod
    def of(cls, net: Decimal, in_flight: PositionSide | None = None) -> Self:
        """From a signed net quantity (long is positive) and the one side of the book's live entries."""
        entries = () if in_flight is None else (in_flight,)
        return cls(net, ZERO, entries) if net >= 0 else cls(ZERO, net.copy_negate(), entries)

    def quantity(self, side: PositionSide) -> Decimal:
        return self.long if side is PositionSide.LONG else self.short


FLAT = Held()


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether the order may go on. *reason* is one sentence for a person, empty when allowed."""

    allowed: bool
    code: Code | None = None
    reason: str = ""
    cut_to: Decimal | None = None
    """For an allowed reduce-only order that asked for more than is held, or for everything: the quantity to send."""


ALLOWED = Verdict(allowed=True)


def judge(
    *,
    attempted: Side,
    quantity: Decimal | None,
    held: Held | None,
    reduce_only: bool,
    hedging: bool,
    spot: bool = False,
    spot_short: bool = False,
) -> Verdict:
    """May an order of side *attempted* be sent, given what its book holds? `held=None`: unreadable, which blocks.

    *quantity* None closes everything, and is only good for a reduce-only order. *spot*: a sell needs something to
    sell, unless *spot_short*. *hedging*: both sides may be open at once.
    """
    if quantity is not None and not quantity > 0:
        return Verdict(False, Code.MALFORMED, "quantity: must be greater than zero")
    if held is None:
        return Verdict(False, Code.POSITIONS_UNREADABLE, unreadable(attempted, reduce_only))
    if reduce_only:
        return _judge_exit(closes(attempted), attempted, quantity, held)
    if quantity is None:
        return Verdict(False, Code.MALFORMED, "quantity: required to open")
    return _judge_entry(attempted, held, hedging, spot and not spot_short)


def unreadable(attempted: Side, reduce_only: bool, what: str = "what is held") -> str:
    """The sentence for a book that could not be read (INV-7)."""
    wish = f"close with {attempted.name}" if reduce_only else f"open {opens(attempted).name}"
    return f"Cannot {wish}: {what} could not be read, and unreadable is not flat"


def _judge_entry(attempted: Side, held: Held, hedging: bool, needs_something_to_sell: bool) -> Verdict:
    opposite = closes(attempted)
    if not hedging:
        opposed = held.quantity(opposite)
        if opposed:
            existing = f"existing {opposite.name} position of {canonical(opposed)}"
            return Verdict(False, Code.OPPOSED, f"Cannot open {opens(attempted).name}: {existing}")
        if opposite in held.in_flight:
            in_flight = f"an entry that opens {opposite.name} is in flight"
            return Verdict(False, Code.OPPOSED, f"Cannot open {opens(attempted).name}: {in_flight}")
    if needs_something_to_sell and attempted is Side.SELL:
        return Verdict(False, Code.SPOT_SHORT, "Cannot open SHORT: on spot a sell needs something to sell")
    return ALLOWED


def _judge_exit(reduces: PositionSide, attempted: Side, quantity: Decimal | None, held: Held) -> Verdict:
    available = held.quantity(reduces)
    if available:
        too_much = quantity is None or quantity > available
        return Verdict(True, cut_to=available) if too_much else ALLOWED
    grows = held.quantity(opens(attempted))
    if grows:
        what = f"{attempted.name} would enlarge the {opens(attempted).name} position of {canonical(grows)}"
        return Verdict(False, Code.WRONG_SIDE, f"Cannot close with {attempted.name}: {what}")
    return Verdict(False, Code.NOTHING_TO_CLOSE, f"Cannot close with {attempted.name}: no position is open")
