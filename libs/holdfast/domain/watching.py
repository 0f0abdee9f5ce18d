"""What to wait for, of a position: the simple conditions that no rule, and no stop that follows the price, can do without.

An index (`domain.triggers`) holds these; when one happens, the position is asked (`evaluate`), and if nothing fires, what to
wait for is worked out anew. So what has been held back by a veto is not asked at every tick: it waits for what ends the veto.
"""

from collections.abc import Sequence

from holdfast.contracts.codes import ExitReason
from holdfast.contracts.rows import PositionRow
from holdfast.domain.conditions import Condition, Seen
from holdfast.domain.exits import HARDNESS, RULES, SOFTEST_HARD, Rule, vetoed
from holdfast.domain.trailing import activation, break_even

NONE_FIRED = -1
"""As *above*: every rule is armed."""


def watches(
    position: PositionRow, seen: Seen, above: int = NONE_FIRED, rules: tuple[Rule, ...] = RULES
) -> list[Condition]:
    """The conditions to wait for, of rules harder than *above*: the hardness of what has already fired."""
    waits: list[Condition] = []
    soft: list[Condition] = []
    for rule in rules:
        condition = rule.trigger(position)
        if condition is None:
            continue
        rank = HARDNESS[rule.reason_for(position)]
        if rank <= above:
            continue
        if rank < SOFTEST_HARD:
            soft.append(condition)
        else:
            waits += condition.waits_for(position, seen)
    waits += _soft(position, seen, soft)
    if HARDNESS[ExitReason.STOP_LOSS] > above and position.terms:
        waits += [one for one in (activation(position), break_even(position)) if one is not None]
    return waits


def _soft(position: PositionRow, seen: Seen, soft: Sequence[Condition]) -> list[Condition]:
    """While a veto holds what has been reached: what ends the veto. Otherwise what the rules wait for."""
    if any(condition.reached(position, seen) for condition in soft):
        veto = vetoed(position, seen)
        if veto is not None:
            return list(veto.waits_for(position, seen))
    return [one for condition in soft for one in condition.waits_for(position, seen)]
