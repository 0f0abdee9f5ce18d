"""Why is it still open? Every rule and veto in order: how it stands, how far away it is, what would fire next.

For a closed position the same, at the price and time it left at: what fired, and what each other rule would have done.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from holdfast.contracts.exit_messages import ExitEvaluated, Prediction, RuleVerdict
from holdfast.contracts.money import EXACT, divide, sub
from holdfast.contracts.rows import PositionRow
from holdfast.contracts.wire import digest
from holdfast.domain.conditions import Condition, Deadline, Seen, closing_price
from holdfast.domain.exits import RULES, Decision, Rule, evaluate, thresholds_version
from holdfast.domain.market import Quote
from holdfast.domain.position import unrealized
from holdfast.domain.vetoes import VETOES

_SIX_PLACES = Decimal("1e-6")


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one rule (or veto) says about one position. Distances are from the price now to where it would fire."""

    rule: str
    fires: bool
    text: str
    hard: bool = field(default=True, compare=False)
    key: str = field(default="", compare=False)
    at_price: Decimal | None = field(default=None, compare=False)
    distance_pct: Decimal | None = field(default=None, compare=False)
    """Percent of the price now; negative: the price has to fall."""
    distance_atr: Decimal | None = field(default=None, compare=False)
    profit_there: Decimal | None = field(default=None, compare=False)
    """Unrealized profit at that price, in the settlement currency, before fees."""
    due_at: int | None = field(default=None, compare=False)
    """Market time at which it would fire by itself."""


@dataclass(frozen=True, slots=True)
class Story:
    """Everything about a position's exits at one moment."""

    decision: Decision
    rules: tuple[Verdict, ...]
    vetoes: tuple[Verdict, ...]
    next_up: Verdict | None
    """The unfired rule that is nearest above the price, and nearest below."""
    next_down: Verdict | None
    next_in_time: Verdict | None


def explain(
    position: PositionRow,
    quote: Quote | None,
    now_ms: int | None,
    predictions: Sequence[Prediction] = (),
    *,
    rules: tuple[Rule, ...] = RULES,
    atr: Decimal | None = None,
) -> list[Verdict]:
    """What every rule says, hardest first: why the position is closed, and why it is not."""
    seen = Seen(quote, now_ms, tuple(predictions))
    verdicts = []
    for rule in rules:
        condition = rule.trigger(position)
        if condition is None:
            verdicts.append(
                Verdict(
                    rule.name, fires=False, text="not set for this position", hard=rule.hard, key=rule.key
                )
            )
        else:
            verdicts.append(_verdict(position, rule, condition, seen, atr))
    return verdicts


def _verdict(
    position: PositionRow, rule: Rule, condition: Condition, seen: Seen, atr: Decimal | None
) -> Verdict:
    level = condition.at_price(position, seen)
    due = min(
        (one.at for one in condition.waits_for(position, seen) if isinstance(one, Deadline)), default=None
    )
    distance = per_atr = profit = None
    if level is not None and level > 0 and seen.quote is not None:
        price = closing_price(position, seen.quote)
        distance = divide(sub(level, price).scaleb(2), price)
        per_atr = divide(sub(level, price), atr) if atr else None
        profit = unrealized(position, level) if position.is_open else None
    return Verdict(
        rule.name, condition.reached(position, seen), condition.explain(position, seen), rule.hard, rule.key, level, distance, per_atr, profit, due,
    )  # fmt: skip


def story(
    position: PositionRow,
    quote: Quote | None,
    now_ms: int | None,
    predictions: Sequence[Prediction] = (),
    *,
    atr: Decimal | None = None,
) -> Story:
    """Rules, vetoes, the decision, and what would fire next if the price rose, if it fell, and if only time passed."""
    seen = Seen(quote, now_ms, tuple(predictions))
    verdicts = explain(position, quote, now_ms, predictions, atr=atr)
    waiting = [one for one in verdicts if not one.fires]
    up = [one for one in waiting if one.distance_pct is not None and one.distance_pct > 0]
    down = [one for one in waiting if one.distance_pct is not None and one.distance_pct <= 0]
    timed = [one for one in waiting if one.due_at is not None and (now_ms is None or one.due_at > now_ms)]
    vetoes = tuple(
        Verdict(
            veto.name,
            veto.holds(position, seen),
            veto.explain(position, seen),
            hard=False,
            key=veto.key,
            due_at=veto.until_ms(position, seen),
        )
        for veto in VETOES
    )
    return Story(
        evaluate(position, quote, now_ms, predictions), tuple(verdicts), vetoes,
        min(up, key=lambda one: one.distance_pct or 0, default=None), max(down, key=lambda one: one.distance_pct or 0, default=None),
        min(timed, key=lambda one: one.due_at or 0, default=None),
    )  # fmt: skip


def evaluated(position: PositionRow, seen: Seen, atr: Decimal | None, at: int) -> ExitEvaluated:
    """The story as a message, told at wall time *at*, ms."""
    told = story(position, seen.quote, seen.now_ms, seen.predictions, atr=atr)
    held = told.decision.held
    return ExitEvaluated(
        id="e-" + digest(position.position_id, str(at), str(seen.now_ms)), correlation_id=position.correlation_id, at=at,
        position_id=position.position_id, position_version=position.version, account=position.account, exchange=position.exchange,
        symbol=position.symbol, side=position.side, price=None if seen.quote is None else closing_price(position, seen.quote),
        market_at=seen.now_ms, atr=atr or None, thresholds=thresholds_version(position), fires=told.decision.fire,
        held_rule=held.rule if held else None, held_by=held.veto if held else None, held_why=held.why if held else None,
        held_until=held.until_ms if held else None, next_up=told.next_up.rule if told.next_up else None,
        next_down=told.next_down.rule if told.next_down else None, next_in_time=told.next_in_time.rule if told.next_in_time else None,
        rules=[_said(one) for one in told.rules], vetoes=[_said(one) for one in told.vetoes],
    )  # fmt: skip


def _said(one: Verdict) -> RuleVerdict:
    return RuleVerdict(
        rule=one.rule, fires=one.fires, hard=one.hard, text=one.text[:1000], at_price=one.at_price if one.at_price and one.at_price > 0 else None,
        distance_pct=_short(one.distance_pct), distance_atr=_short(one.distance_atr), profit_there=one.profit_there, due_at=one.due_at,
    )  # fmt: skip


def _short(amount: Decimal | None) -> Decimal | None:
    """To six places: for people."""
    return None if amount is None else EXACT.quantize(amount, _SIX_PLACES)
