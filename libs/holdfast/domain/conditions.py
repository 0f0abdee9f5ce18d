"""What has to happen before a rule fires: small values that say "reached?", "why not?", and which event to wait for.

Every condition looks at a position and at what is *seen*: the last quote, market time, the predictions that count now.
What is not known (None) reaches nothing. `at_price` is the price at which a condition about prices would be reached, so
that distances can be told; `waits_for` are the simple conditions that an index can hold (`Level`, `Deadline`, `AtOnce`,
`Opposed`): none of them happens without this one being asked.

Each class says whether it fires *at* its threshold (>= or <=) or only beyond it (> or <).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Protocol

from holdfast.contracts.codes import PositionSide
from holdfast.contracts.exit_messages import Prediction
from holdfast.contracts.exit_terms import ExitTerms, TriggerPrice, parse_terms
from holdfast.contracts.money import ONE, add, canonical, divide, mul, sub
from holdfast.contracts.rows import PositionRow
from holdfast.domain.market import Quote

_SIXTY_THOUSAND = Decimal(60_000)


@dataclass(frozen=True, slots=True)
class Seen:
    """What is known at a moment: the symbol's quote, market time (ms), the fresh predictions for the symbol."""

    quote: Quote | None = None
    now_ms: int | None = None
    predictions: tuple[Prediction, ...] = ()


def terms_of(position: PositionRow) -> ExitTerms:
    """The terms in the position's row."""
    return parse_terms(position.terms)


def thresholds_of(position: PositionRow) -> dict[str, str]:
    """The thresholds in force, by policy key, as a trade keeps them."""
    pairs = (part.partition("=") for part in str(terms_of(position)).split())
    own = {"stop_loss": position.stop_loss_spec, "take_profit": position.take_profit_spec}
    if position.expires_at is not None:
        own["max_hold_s"] = canonical(
            divide(Decimal(position.expires_at - position.opened_at), Decimal(1000))
        )
    return own | {key: value for key, _, value in pairs}


def closing_price(position: PositionRow, quote: Quote) -> Decimal:
    """The price that the position's rules look at: what closing at market would get (bid for a long, ask for a short),
    the last trade, or the mark; a feed without the one asked for is read as quotes.
    """
    trigger = terms_of(position).trigger if position.terms else TriggerPrice.QUOTE
    if trigger is TriggerPrice.LAST and quote.last is not None:
        return quote.last
    if trigger is TriggerPrice.MARK and quote.mark is not None:
        return quote.mark
    return quote.bid if position.side is PositionSide.LONG else quote.ask


def price_name(position: PositionRow, quote: Quote) -> str:
    """What `closing_price` is: bid, ask, last or mark."""
    trigger = terms_of(position).trigger
    if trigger is not TriggerPrice.QUOTE and getattr(quote, trigger.value) is not None:
        return trigger.value
    return "bid" if position.side is PositionSide.LONG else "ask"


def is_long(position: PositionRow) -> bool:
    return position.side is PositionSide.LONG


def moved(entry_price: Decimal, percent: Decimal, *, up: bool) -> Decimal:
    """*entry_price* and *percent* of it more (or less)."""
    factor = add(ONE, percent.scaleb(-2)) if up else sub(ONE, percent.scaleb(-2))
    return divide(mul(entry_price, factor), ONE)


def price_of_move(position: PositionRow, percent: Decimal) -> Decimal:
    """The price at which the position is *percent* of its entry price ahead (negative: behind), fees not counted."""
    return moved(position.entry_price, percent, up=is_long(position))


def price_of_net(position: PositionRow, percent: Decimal) -> Decimal:
    """The price at which closing leaves *percent* of the entry value after a fee for the entry and one for the exit."""
    fee, net, long = terms_of(position).fee_pct.scaleb(-2), percent.scaleb(-2), is_long(position)
    kept = add(add(ONE, fee), net) if long else sub(sub(ONE, fee), net)
    return divide(mul(position.entry_price, kept), sub(ONE, fee) if long else add(ONE, fee))


def net_pct(position: PositionRow, price: Decimal) -> Decimal:
    """Profit of closing at *price*, percent of the entry value, after both fees."""
    entry = position.entry_price
    gain = sub(price, entry) if is_long(position) else sub(entry, price)
    fees = mul(terms_of(position).fee_pct.scaleb(-2), add(entry, price))
    return divide(sub(gain, fees).scaleb(2), entry)


class Condition(Protocol):
    """See the module."""

    def reached(self, position: PositionRow, seen: Seen) -> bool: ...

    def explain(self, position: PositionRow, seen: Seen) -> str:
        """How it stands, in words for a person."""
        ...

    def at_price(self, position: PositionRow, seen: Seen) -> Decimal | None: ...

    def waits_for(self, position: PositionRow, seen: Seen) -> "Sequence[Condition]": ...


@dataclass(frozen=True, slots=True)
class Level:
    """A price. `falling`: reached when the price is <= it, else when it is >= it; `beyond`: only when < or > it."""

    price: Decimal
    falling: bool
    beyond: bool = False

    def reached(self, position: PositionRow, seen: Seen) -> bool:
        if seen.quote is None:
            return False
        price = closing_price(position, seen.quote)
        if price == self.price:
            return not self.beyond
        return price < self.price if self.falling else price > self.price

    def explain(self, position: PositionRow, seen: Seen) -> str:
        if seen.quote is None:
            return "no price has come yet"
        price = canonical(closing_price(position, seen.quote))
        sign = ("<" if self.falling else ">") + ("" if self.beyond else "=")
        verb = "" if self.reached(position, seen) else "is not "
        return f"{price_name(position, seen.quote)} {price} {verb}{sign} {canonical(self.price)}"

    def at_price(self, position: PositionRow, seen: Seen) -> Decimal | None:  # noqa: ARG002 - one shape
        return self.price

    def waits_for(self, position: PositionRow, seen: Seen) -> Sequence[Condition]:  # noqa: ARG002 - one shape
        return (self,)


@dataclass(frozen=True, slots=True)
class Deadline:
    """A market time, ms. Reached when market time is >= it; not while market time is unknown."""

    at: int

    def reached(self, position: PositionRow, seen: Seen) -> bool:  # noqa: ARG002 - one shape
        return seen.now_ms is not None and seen.now_ms >= self.at

    def explain(self, position: PositionRow, seen: Seen) -> str:  # noqa: ARG002 - one shape
        if seen.now_ms is None:
            return "market time is not known yet"
        left_ms = self.at - seen.now_ms
        return (
            f"over by {-left_ms} ms of market time"
            if left_ms <= 0
            else f"{left_ms} ms of market time are left"
        )

    def at_price(self, position: PositionRow, seen: Seen) -> Decimal | None:  # noqa: ARG002 - one shape
        return None

    def waits_for(self, position: PositionRow, seen: Seen) -> Sequence[Condition]:  # noqa: ARG002 - one shape
        return (self,)


@dataclass(frozen=True, slots=True)
class AtOnce:
    """Reached as soon as it exists, whatever the price."""

    why: str

    def reached(self, position: PositionRow, seen: Seen) -> bool:  # noqa: ARG002 - one shape
        return True

    def explain(self, position: PositionRow, seen: Seen) -> str:  # noqa: ARG002 - one shape
        return self.why

    def at_price(self, position: PositionRow, seen: Seen) -> Decimal | None:  # noqa: ARG002 - one shape
        return None

    def waits_for(self, position: PositionRow, seen: Seen) -> Sequence[Condition]:  # noqa: ARG002 - one shape
        return (self,)


@dataclass(frozen=True, slots=True)
class Opposed:
    """A fresh prediction against the position, with a confidence > this; exactly this is not enough."""

    confidence: Decimal

    def reached(self, position: PositionRow, seen: Seen) -> bool:
        against = opposing(position, seen)
        return against is not None and against.confidence > self.confidence

    def explain(self, position: PositionRow, seen: Seen) -> str:
        against = opposing(position, seen)
        if against is None:
            return "no fresh prediction against it"
        verb = "" if self.reached(position, seen) else "is not "
        said = f"{against.model} says {against.direction} with {canonical(against.confidence)}"
        return f"{said}, which {verb or 'is '}> {canonical(self.confidence)}"

    def at_price(self, position: PositionRow, seen: Seen) -> Decimal | None:  # noqa: ARG002 - one shape
        return None

    def waits_for(self, position: PositionRow, seen: Seen) -> Sequence[Condition]:  # noqa: ARG002 - one shape
        return (self,)


def opposing(position: PositionRow, seen: Seen) -> Prediction | None:
    """The most confident fresh prediction against the position."""
    against = PositionSide.SHORT if is_long(position) else PositionSide.LONG
    return max(
        (one for one in seen.predictions if one.direction == against.value),
        key=lambda one: one.confidence,
        default=None,
    )


def supporting(position: PositionRow, seen: Seen) -> Prediction | None:
    """The most confident fresh prediction for holding, or for going on in the position's direction."""
    words = {position.side.value, "hold"}
    return max(
        (one for one in seen.predictions if one.direction in words),
        key=lambda one: one.confidence,
        default=None,
    )


@dataclass(frozen=True, slots=True)
class Roi:
    """A table of minutes since opening and net profits in percent: the step in force is the last that has begun.

    Reached when the net profit is >= that of the step. A step begins when market time is >= its minute.
    """

    steps: tuple[tuple[Decimal, Decimal], ...]

    def level(self, position: PositionRow, seen: Seen) -> Level | None:
        """The price of the step in force; None before the first."""
        now = position.opened_at if seen.now_ms is None else seen.now_ms
        begun = [profit for minutes, profit in self.steps if _begins(position, minutes) <= now]
        return Level(price_of_net(position, begun[-1]), falling=not is_long(position)) if begun else None

    def reached(self, position: PositionRow, seen: Seen) -> bool:
        if seen.now_ms is None or seen.quote is None:
            return False
        level = self.level(position, seen)
        return level is not None and level.reached(position, seen)

    def explain(self, position: PositionRow, seen: Seen) -> str:
        level = self.level(position, seen)
        return "its first step has not begun" if level is None else level.explain(position, seen)

    def at_price(self, position: PositionRow, seen: Seen) -> Decimal | None:
        level = self.level(position, seen)
        return None if level is None else level.price

    def waits_for(self, position: PositionRow, seen: Seen) -> Sequence[Condition]:
        now = position.opened_at if seen.now_ms is None else seen.now_ms
        next_at = min(
            (at for minutes, _ in self.steps if (at := _begins(position, minutes)) > now), default=None
        )
        level = self.level(position, seen)
        return [*([] if level is None else [level]), *([] if next_at is None else [Deadline(next_at)])]


def _begins(position: PositionRow, minutes: Decimal) -> int:
    return position.opened_at + int(mul(minutes, _SIXTY_THOUSAND))


@dataclass(frozen=True, slots=True)
class Stagnation:
    """Held for >= a time, and the price still within a band round the entry price (its edges count as within)."""

    at: int
    low: Decimal
    high: Decimal

    def reached(self, position: PositionRow, seen: Seen) -> bool:
        if seen.quote is None or not Deadline(self.at).reached(position, seen):
            return False
        return self.low <= closing_price(position, seen.quote) <= self.high

    def explain(self, position: PositionRow, seen: Seen) -> str:
        if not Deadline(self.at).reached(position, seen):
            return Deadline(self.at).explain(position, seen)
        if seen.quote is None:
            return "no price has come yet"
        price = canonical(closing_price(position, seen.quote))
        verb = "is" if self.reached(position, seen) else "is not"
        return f"{price_name(position, seen.quote)} {price} {verb} between {canonical(self.low)} and {canonical(self.high)}"

    def at_price(self, position: PositionRow, seen: Seen) -> Decimal | None:
        if seen.quote is None or not Deadline(self.at).reached(position, seen):
            return None
        return self.high if closing_price(position, seen.quote) > self.high else self.low

    def waits_for(self, position: PositionRow, seen: Seen) -> Sequence[Condition]:
        if not Deadline(self.at).reached(position, seen):
            return (Deadline(self.at),)
        if seen.quote is not None and closing_price(position, seen.quote) < self.low:
            return (Level(self.low, falling=False),)
        return (Level(self.high, falling=True),)
