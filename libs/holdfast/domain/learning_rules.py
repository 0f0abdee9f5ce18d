"""What the configuration says of learning, how it stands, and which exit policy that makes."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field, replace
from decimal import Decimal
from functools import lru_cache
from typing import Protocol

from holdfast.contracts.codes import Kind, LearnMode
from holdfast.contracts.rows import LearningRow, ThresholdsRow
from holdfast.domain.exit_policy import ExitPolicy, policy_for
from holdfast.domain.thresholds import (
    DEFAULT_BOUNDS,
    Bound,
    Bounds,
    Values,
    clamped,
    learned_policy,
    of_policy,
)

SCOPE = "all"
"""Learned thresholds are everybody's: every account, every symbol."""
DAY_MS = 86_400_000
MOST_VERSIONS = 200
"""Versions among the live rows, beside the one in force; the store keeps them all."""


@dataclass(frozen=True, slots=True)
class LearningRules:
    """What the configuration says of learning."""

    mode: LearnMode = LearnMode.SHADOW
    """Until somebody says otherwise."""
    bounds: Bounds = field(default_factory=lambda: DEFAULT_BOUNDS)
    keep_outcomes: int = 500
    """Outcomes of closed trades that are kept; older ones are dropped."""


class Holder(Protocol):
    """The ledger's state, or a view of it."""

    learning: dict[str, LearningRow]
    thresholds: dict[int, ThresholdsRow]


def standing(holder: Holder, rules: LearningRules) -> LearningRow:
    """How learning stands; as the configuration says where nobody has said anything yet."""
    return holder.learning.get(SCOPE) or LearningRow(mode=rules.mode, by="configuration", why="", at=0)


def surplus(versions: Collection[int], rows: Iterable[LearningRow]) -> list[int]:
    """Those of *versions* that leave the live rows: neither in force nor among the newest."""
    if len(versions) <= MOST_VERSIONS:
        return []
    in_force = {row.version for row in rows}
    return [version for version in sorted(versions)[:-MOST_VERSIONS] if version not in in_force]


def own_values(policy: ExitPolicy) -> dict[str, Decimal]:
    """The thresholds of *policy* in percents of the price move; those of the margin as a contract would have them."""
    on_price, _ = policy_for(policy, Kind.LINEAR, None)
    return of_policy(on_price)


def values_in_force(holder: Holder, own: Values, rules: LearningRules) -> dict[str, Decimal]:
    """The thresholds of what is opened now, by name. *own*: the policy's."""
    row = standing(holder, rules)
    learned = holder.thresholds.get(row.version) if row.mode is LearnMode.APPLY else None
    return clamped({} if learned is None else learned.values, own, rules.bounds)


def day_began(holder: Holder, own: Values, rules: LearningRules, now_ms: int) -> dict[str, Decimal]:
    """The thresholds that were in force when the UTC day of *now_ms* began: where the day's steps count from."""
    midnight = now_ms - now_ms % DAY_MS
    before = [row for row in holder.thresholds.values() if row.adopted and row.at < midnight]
    values = max(before, key=lambda row: row.version).values if before else {}
    return clamped(values, own, rules.bounds)


def policy_in_force(holder: Holder, policy: ExitPolicy, kind: Kind, rules: LearningRules) -> ExitPolicy:
    """*policy* for an opening of that *kind*, under the learned thresholds where there are any in force.

    An intent's own keys still go over it. Learned percents are of the price move, so one of the margin is converted first.
    """
    row = holder.learning.get(SCOPE)
    if row is None or row.mode is not LearnMode.APPLY or not row.version:
        return policy
    values = tuple(holder.thresholds[row.version].values.items())
    return _under(policy, kind, row.version, values, tuple(rules.bounds.items()))


@lru_cache(maxsize=1024)
def _under(
    policy: ExitPolicy,
    kind: Kind,
    version: int,
    values: tuple[tuple[str, Decimal], ...],
    bounds: tuple[tuple[str, Bound], ...],
) -> ExitPolicy:
    on_price, _ = policy_for(policy, kind, None)
    return learned_policy(replace(on_price, on_margin=False), dict(values), version, dict(bounds))
