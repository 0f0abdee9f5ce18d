"""What may hold a soft exit back, in this order: the AI's confidence, the minimum hold, the minimum loss.

A veto says whether it holds, why, until when, and which events could end it (`waits_for`), so that nobody has to ask again
before one of them. Hard exits never come here.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from holdfast.contracts.codes import PositionSide
from holdfast.contracts.money import ZERO, canonical
from holdfast.contracts.rows import PositionRow
from holdfast.domain.conditions import (
    Condition,
    Deadline,
    Level,
    Seen,
    closing_price,
    net_pct,
    price_of_net,
    supporting,
    terms_of,
)
from holdfast.domain.policy import expiry


class Veto(Protocol):
    """See the module."""

    @property
    def name(self) -> str: ...
    @property
    def key(self) -> str:
        """The policy key that sets it, or switches it off."""
        ...

    def holds(self, position: PositionRow, seen: Seen) -> bool: ...
    def explain(self, position: PositionRow, seen: Seen) -> str: ...
    def until_ms(self, position: PositionRow, seen: Seen) -> int | None:
        """Market time (of a prediction: the time in it) at which it ends by itself; None: not by time alone."""
        ...

    def waits_for(self, position: PositionRow, seen: Seen) -> Sequence[Condition]: ...


@dataclass(frozen=True, slots=True)
class OtherPredictions:
    """What ends the AI's veto: a new prediction for the symbol, or the end of the one that counts."""

    def reached(self, position: PositionRow, seen: Seen) -> bool:  # noqa: ARG002 - one shape
        return False

    def explain(self, position: PositionRow, seen: Seen) -> str:  # noqa: ARG002 - one shape
        return "until the prediction ends or another comes"

    def at_price(self, position: PositionRow, seen: Seen) -> None:  # noqa: ARG002 - one shape
        return None

    def waits_for(self, position: PositionRow, seen: Seen) -> Sequence[Condition]:  # noqa: ARG002 - one shape
        return (self,)


@dataclass(frozen=True, slots=True)
class AiConfidence:
    """A fresh prediction for holding, or for the position's direction, with more (>) confidence than the key says."""

    name: str = "ai_confidence"
    key: str = "ai_hold_confidence"

    def holds(self, position: PositionRow, seen: Seen) -> bool:
        bar, view = terms_of(position).ai_hold_confidence, supporting(position, seen)
        return bar is not None and view is not None and view.confidence > bar

    def explain(self, position: PositionRow, seen: Seen) -> str:
        bar, view = terms_of(position).ai_hold_confidence, supporting(position, seen)
        if bar is None:
            return "off"
        if view is None:
            return "no fresh prediction for it"
        verb = "is" if view.confidence > bar else "is not"
        return f"{view.model} says {view.direction} with {canonical(view.confidence)}, which {verb} > {canonical(bar)}"

    def until_ms(self, position: PositionRow, seen: Seen) -> int | None:
        view = supporting(position, seen)
        return None if view is None else view.expires_at

    def waits_for(self, position: PositionRow, seen: Seen) -> Sequence[Condition]:  # noqa: ARG002 - one shape
        return (OtherPredictions(),)


@dataclass(frozen=True, slots=True)
class MinimumHold:
    """Held for less (<) than `min_hold_s`; at exactly that time it ends. Market time that is not known holds it, too."""

    name: str = "min_hold"
    key: str = "min_hold_s"

    def holds(self, position: PositionRow, seen: Seen) -> bool:
        until = self.until_ms(position, seen)
        return until is not None and (seen.now_ms is None or seen.now_ms < until)

    def explain(self, position: PositionRow, seen: Seen) -> str:
        until = self.until_ms(position, seen)
        return "off" if until is None else Deadline(until).explain(position, seen)

    def until_ms(self, position: PositionRow, seen: Seen) -> int | None:  # noqa: ARG002 - one shape
        least = terms_of(position).min_hold_s
        return None if not least else expiry(position.opened_at, least)

    def waits_for(self, position: PositionRow, seen: Seen) -> Sequence[Condition]:
        until = self.until_ms(position, seen)
        return () if until is None else (Deadline(until),)


@dataclass(frozen=True, slots=True)
class MinimumLoss:
    """A net loss (< 0) that is smaller (<) than `min_loss_pct`; exactly that much passes. So does a gain, and no price."""

    name: str = "min_loss"
    key: str = "min_loss_pct"

    def holds(self, position: PositionRow, seen: Seen) -> bool:
        least = terms_of(position).min_loss_pct
        if least is None or seen.quote is None:
            return False
        price = closing_price(position, seen.quote)
        worst, even = price_of_net(position, least.copy_negate()), price_of_net(position, ZERO)
        return min(worst, even) < price < max(worst, even)

    def explain(self, position: PositionRow, seen: Seen) -> str:
        least = terms_of(position).min_loss_pct
        if least is None:
            return "off"
        if seen.quote is None:
            return "no price has come yet"
        net = net_pct(position, closing_price(position, seen.quote))
        verb = "is" if self.holds(position, seen) else "is not"
        return f"net profit {net:.4f} % {verb} between -{canonical(least)} % and 0"

    def until_ms(self, position: PositionRow, seen: Seen) -> int | None:  # noqa: ARG002 - one shape
        return None

    def waits_for(self, position: PositionRow, seen: Seen) -> Sequence[Condition]:  # noqa: ARG002 - one shape
        least, long = terms_of(position).min_loss_pct or ZERO, position.side is PositionSide.LONG
        worst, even = price_of_net(position, least.copy_negate()), price_of_net(position, ZERO)
        return Level(worst, falling=long), Level(even, falling=not long)


VETOES: tuple[Veto, ...] = (AiConfidence(), MinimumHold(), MinimumLoss())
"""In the order in which they are asked; the first that holds is the one that is named."""
