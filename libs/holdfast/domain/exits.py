"""When a position is to be closed, and for which reason: one ordered table of rules, three vetoes, and one function.

A rule is a reason and a *condition* (`domain.conditions`): what has to happen. `evaluate` asks them all; the hardest that
holds decides. Live, paper, replay and learner all end here, and `advance` (`domain.trailing`) is what they call for each
price before it, so that a stop which follows the price is where it should be.

    row = advance(row, closing_price(row, quote), quote.at, atr)    # what the ledger is told through exit.adjust
    decision = evaluate(row, quote, now_ms, predictions)            # Decision.fire is None: nothing fires

The thresholds are the row's own (`terms`, stop-loss, take-profit), fixed at its first fill; whoever wants to know what other
thresholds would have done changes them in a copy of the row.

Hard rules come first and are never vetoed. Soft ones (ROI, signal, stagnation) are held back by the first veto that holds:
the AI's confidence, the minimum hold, the minimum loss. A prediction that is stale or missing neither vetoes nor reverses:
callers hand on only what counts now. What has fired stays fired: whether to *send again* is `domain.pursuit`'s question.

To add a rule, add a row to `RULES`: in its place by hardness, which a test checks; between equals the earlier row wins.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from holdfast.contracts.codes import ExitReason, OrderState, OrderType, StopBy
from holdfast.contracts.exit_messages import Prediction
from holdfast.contracts.money import canonical
from holdfast.contracts.rows import OrderRow, PositionRow
from holdfast.contracts.wire import digest
from holdfast.domain.conditions import (
    AtOnce,
    Condition,
    Deadline,
    Level,
    Opposed,
    Roi,
    Seen,
    Stagnation,
    closing_price,
    is_long,
    price_of_move,
    terms_of,
)
from holdfast.domain.ladder import due_at, is_ladder
from holdfast.domain.liquidation import guard_price
from holdfast.domain.market import Quote
from holdfast.domain.policy import expiry
from holdfast.domain.vetoes import VETOES, Veto

R = ExitReason

HARDNESS: Mapping[ExitReason, int] = {
    # facts: the venue has done it already
    R.LIQUIDATION: 100,
    R.EXIT_ON_VENUE: 100,
    R.FLIPPED: 100,
    # hard: never vetoed
    R.LIQUIDATION_GUARD: 90,
    R.STOP_LOSS: 80,
    R.TRAILING_STOP: 80,
    R.BREAK_EVEN: 80,
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


def closing(position: PositionRow) -> Condition | None:
    """At once, for the reason in the row: it filled while its book was being closed."""
    return AtOnce(f"it is being closed: {position.closing.value}") if position.closing else None


def liquidation_guard(position: PositionRow) -> Condition | None:
    """Long: price <= the guard's. Short: price >= it. None on spot, at no leverage, and where it is off."""
    price = guard_price(position.kind, position.side, position.entry_price, terms_of(position))
    return None if price is None else Level(price, falling=is_long(position))


def stop_loss(position: PositionRow) -> Condition | None:
    """Long: price <= stop-loss. Short: price >= stop-loss."""
    return Level(position.stop_loss, falling=is_long(position))


def emergency_loss(position: PositionRow) -> Condition | None:
    """A loss of more than (>) so many percent of the price move; exactly that many is not enough."""
    percent = terms_of(position).emergency_loss_pct
    if percent is None:
        return None
    return Level(price_of_move(position, percent.copy_negate()), falling=is_long(position), beyond=True)


def take_profit(position: PositionRow) -> Condition | None:
    """Long: price >= take-profit (of a ladder: the next rung's). Short: price <= it. None where there is none."""
    if position.take_profit is None:
        return None
    if is_ladder(position.take_profit_spec):
        return Rung(position.take_profit, falling=not is_long(position))
    return Level(position.take_profit, falling=not is_long(position))


@dataclass(frozen=True, slots=True)
class Rung(Level):
    """The next rung of a ladder: reached at >= (long) where what is due is enough for an order."""

    def reached(self, position: PositionRow, seen: Seen) -> bool:
        if seen.quote is None or not Level.reached(self, position, seen):
            return False
        return due_at(position, closing_price(position, seen.quote)) > 0


def extraordinary_profit(position: PositionRow) -> Condition | None:
    """A profit of more than (>) so many percent of the price move; exactly that many is not enough."""
    percent = terms_of(position).extraordinary_profit_pct
    if percent is None:
        return None
    return Level(price_of_move(position, percent), falling=not is_long(position), beyond=True)


def ttl(position: PositionRow) -> Condition | None:
    """Market time >= the row's `expires_at`. None where no longest hold is set."""
    return None if position.expires_at is None else Deadline(position.expires_at)


def reversal(position: PositionRow) -> Condition | None:
    """A fresh prediction against the position with more (>) confidence than `reversal_confidence`."""
    confidence = terms_of(position).reversal_confidence
    return None if confidence is None else Opposed(confidence)


def roi(position: PositionRow) -> Condition | None:
    """Net profit >= that of the step in force; a step is in force from its minute on."""
    steps = terms_of(position).roi
    return Roi(steps) if steps else None


def signal(position: PositionRow) -> Condition | None:
    """At once, where a soft close stands on the row and the terms allow signal exits."""
    if position.signal_at is None or not terms_of(position).signal:
        return None
    return AtOnce("a soft close stands")


def stagnation(position: PositionRow) -> Condition | None:
    """Held for >= `stagnation_after_s`, and the price within `stagnation_band_pct` of the entry price (edges count)."""
    terms = terms_of(position)
    if terms.stagnation_after_s is None:
        return None
    band = terms.stagnation_band_pct
    edges = price_of_move(position, band), price_of_move(position, band.copy_negate())
    return Stagnation(expiry(position.opened_at, terms.stagnation_after_s), min(edges), max(edges))


STOPS = {StopBy.SET: R.STOP_LOSS, StopBy.TRAILING: R.TRAILING_STOP, StopBy.BREAK_EVEN: R.BREAK_EVEN}


@dataclass(frozen=True, slots=True)
class Rule:
    """One row of the table."""

    name: str
    reason: ExitReason | None
    """None: the position's row names the reason (`closing`)."""
    trigger: Callable[[PositionRow], Condition | None]
    """None: the rule does not apply to this position."""
    key: str = ""
    """The policy key that sets it, or switches it off."""

    def reason_for(self, position: PositionRow) -> ExitReason:
        """What the exit would be called. Raises ValueError if the rule does not apply."""
        reason = self.reason or position.closing
        if reason is None:
            raise ValueError(f"rule {self.name} does not apply to {position.position_id}")
        return STOPS[position.stop_by] if reason is R.STOP_LOSS else reason

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
    Rule("liquidation_guard", R.LIQUIDATION_GUARD, liquidation_guard, "liquidation_guard_pct"),
    Rule("stop_loss", R.STOP_LOSS, stop_loss, "stop_loss_pct"),
    Rule("emergency_loss", R.EMERGENCY_LOSS, emergency_loss, "emergency_loss_pct"),
    Rule("take_profit", R.TAKE_PROFIT, take_profit, "take_profit_pct"),
    Rule("extraordinary_profit", R.EXTRAORDINARY_PROFIT, extraordinary_profit, "extraordinary_profit_pct"),
    Rule("ttl", R.TTL, ttl, "max_hold_s"),
    Rule("reversal", R.REVERSAL, reversal, "reversal_confidence"),
    Rule("roi", R.ROI, roi, "roi"),
    Rule("signal", R.SIGNAL, signal, "signal"),
    Rule("stagnation", R.STAGNATION, stagnation, "stagnation_after_s"),
)
"""Hardest first. Between rules of equal hardness the earlier row wins."""


@dataclass(frozen=True, slots=True)
class Held:
    """A soft exit that a veto holds back: which rule, which veto, why, and until what market time (None: open)."""

    rule: str
    veto: str
    why: str
    until_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether to close, why, and the closing price and market time at which it was decided (None: not known)."""

    fire: ExitReason | None
    price: Decimal | None = None
    at: int | None = None
    rule: str | None = field(default=None, compare=False)
    level: Decimal | None = field(default=None, compare=False)
    """The price level that was reached; where `price` lies beyond it, the market has jumped over it."""
    quantity: Decimal | None = field(default=None, compare=False)
    """How much to close: of a ladder what is due, None for all."""
    held: Held | None = field(default=None, compare=False)
    """Nothing fires, because this is held back."""


def evaluate(
    position: PositionRow,
    quote: Quote | None,
    now_ms: int | None,
    predictions: Sequence[Prediction] = (),
    *,
    rules: tuple[Rule, ...] = RULES,
) -> Decision:
    """Ask every rule; the hardest that holds and that no veto holds back decides.

    *now_ms* is market time; *predictions* are those for the symbol that count now.
    """
    seen = Seen(quote, now_ms, tuple(predictions))
    best: tuple[Rule, Condition] | None = None
    rank = -1
    for rule in rules:
        condition = rule.trigger(position)
        if condition is None or not condition.reached(position, seen):
            continue
        mine = HARDNESS[rule.reason_for(position)]
        if mine > rank:
            best, rank = (rule, condition), mine
    if best is None:
        return Decision(None)
    rule, condition = best
    if rank < SOFTEST_HARD and (veto := vetoed(position, seen)) is not None:
        held = Held(rule.name, veto.name, veto.explain(position, seen), veto.until_ms(position, seen))
        return Decision(None, held=held)
    return _decision(position, rule, condition, seen)


def _decision(position: PositionRow, rule: Rule, condition: Condition, seen: Seen) -> Decision:
    price = None if seen.quote is None else closing_price(position, seen.quote)
    quantity = None
    if isinstance(condition, Rung) and price is not None:
        due = due_at(position, price)
        quantity = due if due < position.quantity else None
    level = condition.at_price(position, seen)
    return Decision(rule.reason_for(position), price, seen.now_ms, rule.name, level, quantity)


def vetoed(position: PositionRow, seen: Seen) -> Veto | None:
    """The first veto that holds soft exits back now."""
    return next((veto for veto in VETOES if veto.holds(position, seen)), None)


def thresholds_version(position: PositionRow) -> str:
    """Names the thresholds that the position's exits are decided on: equal ones have equal names."""
    learned = terms_of(position).learned
    name = digest(position.terms, position.take_profit_spec, position.stop_loss_spec)[:12]
    return name if learned is None else f"v{canonical(learned)}.{name}"


def displaces(reason: ExitReason, other: OrderRow) -> bool:
    """Whether a market exit for *reason* takes the live exit order *other* out of its way (INV-6).

    It does if *other* is softer. It does, too, if *other* is just as hard but may never fill: a limit order that waits for
    its price, or an order that nobody knows the state of.
    """
    mine, theirs = HARDNESS[reason], HARDNESS[other.reason or R.CLOSE]
    doubtful = other.type is OrderType.LIMIT or other.state is OrderState.UNKNOWN
    return mine > theirs or (mine == theirs and doubtful)
