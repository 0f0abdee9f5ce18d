"""Which thresholds of a position its intent named itself, where the order that opened it is not known any more.

Then the row is all there is: what differs from what policy and version would have given it was named. Where the policy has changed
since, that is too much, which only means that learned values are not tried on it.
"""

from collections.abc import Callable
from dataclasses import replace

from holdfast.contracts.exit_terms import parse_terms
from holdfast.contracts.rows import PositionRow
from holdfast.domain.exit_policy import PolicyTable, policy_for
from holdfast.domain.learning_rules import Holder, LearningRules
from holdfast.domain.thresholds import learned_policy, of_policy, of_row

Named = Callable[[PositionRow], tuple[str, ...]]


def named_in(
    row: PositionRow, policies: PolicyTable, holder: Holder, rules: LearningRules
) -> tuple[str, ...]:
    """Names of thresholds, in order. *holder*: where the versions are."""
    policy, _ = policy_for(policies.of(row.account, row.symbol), row.kind, None)
    learned = parse_terms(row.terms).learned
    version = None if learned is None else holder.thresholds.get(int(learned))
    if version is not None:
        policy = learned_policy(
            replace(policy, on_margin=False), version.values, version.version, rules.bounds
        )
    given, own = of_row(row), of_policy(policy)
    return tuple(sorted(name for name, value in given.items() if own.get(name) != value))
