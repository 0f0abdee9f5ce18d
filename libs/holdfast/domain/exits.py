"""When a position is to be closed, and for which reason: one ordered table of rules, and one function that asks it.

A rule is a reason and a *trigger*: what has to happen. A trigger is a small value with two questions, `reached` ("does
it hold now?") and `explain` ("why, or why not?"). `domain.triggers` puts the same values into an index, so that a tick
touches only the positions it concerns; live, paper, replay and learner all end here, in `evaluate`.

A long position is closed by selling at the bid, a short one by buying at the ask: that price, the closing price, is what
every price rule looks at. "At" the level fires: rules say <= and >=, never < and >.

To add a rule, add a row to `RULES`: in its place by hardness, which a test checks. A new kind of condition is a new
trigger class. The order between rules is total: the hardest one that holds wins, so a stop-loss wins over a take-profit
when one tick reaches both. What has fired stays fired: whether to *send again* is `domain.pursuit`'s question, not ours.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Protocol

from holdfast.contracts.codes import ExitReason, OrderState, OrderType, PositionSide
from holdfast.contracts.money import canonical
from holdfast.contracts.rows import OrderRow, PositionRow
from holdfast.domain.market import Quote

R = ExitReason

HARDNESS: Mapping[ExitReason, int] = {
    # facts: the venue has done it already
    R.LIQUIDATION: 100,
    R.EXIT_ON_VENUE: 100,
    R.FLIPPED: 100,
    # hard: never vetoed
    R.LIQUIDATION_GUARD: 90,
    R.STOP_LOSS: 80,
    R.CLOSE: 80,
    R.FLATTEN: 80,
    R.FORCE_EXIT: 80,
    R.EMERGENCY_LOSS: 70,
    R.TAKE_PROFIT: 60,
    R.EXTRAORDINARY_PROFIT: 50,
    R.TTL: 40,
    R.REVERSAL: 30,
    # soft: vetoes may hold them back
    R.ROI: 10,
    R.SIGNAL: 10,
    R.STAGNATION: 10,
}
"""How hard an exit is. A harder one takes a softer one's place (INV-6); a person's close is as hard as a stop-loss."""

SOFTEST_HARD = HARDNESS[R.REVERSAL]
"""From here on nothing holds an exit back."""


def closing_price(position: PositionRow, quote: Quote) -> Decimal:
    """What closing *position* at market would get: the bid for a long, the ask for a short."""
    return quote.bid if position.side is PositionSide.LONG else quote.ask


class Trigger(Protocol):
    """What has to happen before a rule fires."""

    def reached(self, position: PositionRow, quote: Quote | None, now_ms: int | None) -> bool:
        """Whether it holds at *quote* and market time *now_ms*; what is not known (None) does not hold."""
        ...

    def explain(self, position: PositionRow, quote: Quote | None, now_ms: int | None) -> str:
        """How it stands, in words for a person."""
        ...


@dataclass(frozen=True, slots=True)
class Level:
    """A price. `falling`: reached when the closing price is <= it; otherwise when the closing price is >= it."""

    price: Decimal
    falling: bool

    def reached(self, position: PositionRow, quote: Quote | None, now_ms: int | None) -> bool:  # noqa: ARG002 - one shape
        if quote is None:
            return False
        price = closing_price(position, quote)
        return price <= self.price if self.falling else price >= self.price

    def explain(self, position: PositionRow, quote: Quote | None, now_ms: int | None) -> str:
        if quote is None:
            return "no price has come yet"
        name, price = _PRICE_NAMES[position.side], canonical(closing_price(position, quote))
        sign = "<=" if self.falling else ">="
        if self.reached(position, quote, now_ms):
            return f"{name} {price} {sign} {canonical(self.price)}"
        return f"{name} {price} is not {sign} {canonical(self.price)}"


@dataclass(frozen=True, slots=True)
class Deadline:
    """A market time, ms. Reached when market time is >= it; not while market time is unknown."""

    at: int

    def reached(self, position: PositionRow, quote: Quote | None, now_ms: int | None) -> bool:  # noqa: ARG002 - one shape
        return now_ms is not None and now_ms >= self.at

    def explain(self, position: PositionRow, quote: Quote | None, now_ms: int | None) -> str:  # noqa: ARG002 - one shape
        if now_ms is None:
            return "market time is not known yet"
        left_ms = self.at - now_ms
        return (
            f"over by {-left_ms} ms of market time"
            if left_ms <= 0
            else f"{left_ms} ms of market time are left"
        )


@dataclass(frozen=True, slots=True)
class AtOnce:
    """Reached as soon as it exists, whatever the price."""

    why: str

    def reached(self, position: PositionRow, quote: Quote | None, now_ms: int | None) -> bool:  # noqa: ARG002 - one shape
        return True

    def explain(self, position: PositionRow, quote: Quote | None, now_ms: int | None) -> str:  # noqa: ARG002 - one shape
        return self.why


_PRICE_NAMES = {PositionSide.LONG: "bid", PositionSide.SHORT: "ask"}


def closing(position: PositionRow) -> Trigger | None:
    """At once, for the reason in the row: it filled while its book was being closed."""
    return AtOnce(f"it is being closed: {position.closing.value}") if position.closing else None


def stop_loss(position: PositionRow) -> Trigger | None:
    """Long: bid <= stop-loss. Short: ask >= stop-loss."""
    return Level(position.stop_loss, falling=position.side is PositionSide.LONG)


def take_profit(position: PositionRow) -> Trigger | None:
    """Long: bid >= take-profit. Short: ask <= take-profit. None where it is switched off."""
    if position.take_profit is None:
        return None
    return Level(position.take_profit, falling=position.side is PositionSide.SHORT)


def ttl(position: PositionRow) -> Trigger | None:
    """Market time >= the row's `expires_at`. None where no longest hold is set."""
    return None if position.expires_at is None else Deadline(position.expires_at)


@dataclass(frozen=True, slots=True)
class Rule:
    """One row of the table."""

    name: str
    reason: ExitReason | None
    """None: the position's row names the reason (`closing`)."""
    trigger: Callable[[PositionRow], Trigger | None]
    """None: the rule does not apply to this position."""

    def reason_for(self, position: PositionRow) -> ExitReason:
        """What the exit would be called. Raises ValueError if the rule does not apply."""
        reason = self.reason or position.closing
        if reason is None:
            raise ValueError(f"rule {self.name} does not apply to {position.position_id}")
        return reason

    @property
    def rank(self) -> int:
        """Its hardness; the largest stands for a reason that the row names."""
        return HARDNESS[self.reason] if self.reason else max(HARDNESS.values())

    @property
    def hard(self) -> bool:
        """Whether no veto may hold it back."""
        return self.rank >= SOFTEST_HARD


RULES: tuple[Rule, ...] = (
    Rule("closing", None, closing),
    Rule("stop_loss", R.STOP_LOSS, stop_loss),
    Rule("take_profit", R.TAKE_PROFIT, take_profit),
    Rule("ttl", R.TTL, ttl),
)
"""Hardest first. Between rules of equal hardness the earlier row wins."""


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether to close, why, and the closing price and market time at which it was decided (None: not known)."""

    fire: ExitReason | None
    price: Decimal | None = None
    at: int | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one rule says about one position."""

    rule: str
    fires: bool
    text: str


def evaluate(
    position: PositionRow, quote: Quote | None, now_ms: int | None, rules: tuple[Rule, ...] = RULES
) -> Decision:
    """Ask every rule; the hardest that holds decides. *now_ms* is market time."""
    fire: ExitReason | None = None
    for rule in rules:
        trigger = rule.trigger(position)
        if trigger is not None and trigger.reached(position, quote, now_ms):
            reason = rule.reason_for(position)
            if fire is None or HARDNESS[reason] > HARDNESS[fire]:
                fire = reason
    if fire is None:
        return Decision(None)
    return Decision(fire, None if quote is None else closing_price(position, quote), now_ms)


def explain(
    position: PositionRow, quote: Quote | None, now_ms: int | None, rules: tuple[Rule, ...] = RULES
) -> list[Verdict]:
    """What every rule says, hardest first: why the position is closed, and why it is not."""
    verdicts = []
    for rule in rules:
        trigger = rule.trigger(position)
        if trigger is None:
            verdicts.append(Verdict(rule.name, fires=False, text="not set for this position"))
        else:
            holds = trigger.reached(position, quote, now_ms)
            verdicts.append(Verdict(rule.name, holds, trigger.explain(position, quote, now_ms)))
    return verdicts


def displaces(reason: ExitReason, other: OrderRow) -> bool:
    """Whether a market exit for *reason* takes the live exit order *other* out of its way (INV-6).

    It does if *other* is softer. It does, too, if *other* is just as hard but may never fill: a limit order that waits for
    its price, or an order that nobody knows the state of.
    """
    mine, theirs = HARDNESS[reason], HARDNESS[other.reason or R.CLOSE]
    doubtful = other.type is OrderType.LIMIT or other.state is OrderState.UNKNOWN
    return mine > theirs or (mine == theirs and doubtful)
