"""The exit policy: what a position gets whose intent names nothing, and the terms of all its other exits.

Which one is in force for an account and a symbol, from general to particular: `[exits]`, `[exits."BTC/USDT"]`,
`[account.NAME.exits]`; each overrides the one before key by key, and an intent's own keys go over all of them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from functools import lru_cache

from holdfast.contracts.codes import Kind, PositionSide
from holdfast.contracts.exit_terms import ALL_OFF, ExitTerms, on_margin, overridden
from holdfast.contracts.money import HUNDRED, ZERO, canonical, divide
from holdfast.domain.ladder import in_order, leaves_rest, rungs_of


@dataclass(frozen=True, slots=True)
class ExitPolicy:
    """Seeds, in percent of the entry price, and the terms of all other exits.

    Take-profit None is "off", which needs a trail or a maximum hold (market seconds); *ladder* stands in its place.
    Raises ValueError, naming the keys, for a policy that contradicts itself.
    """

    stop_loss_pct: Decimal
    take_profit_pct: Decimal | None
    max_hold_s: Decimal | None = None
    ladder: str | None = None
    terms: ExitTerms = ALL_OFF
    on_margin: bool = False
    """Percents are of the margin: divided by the leverage for what is bought on margin."""

    def __post_init__(self) -> None:
        if self.stop_loss_pct <= 0:
            raise ValueError("stop_loss_pct must be greater than zero")
        emergency = self.terms.emergency_loss_pct
        if emergency is not None and self.stop_loss_pct > emergency:
            raise ValueError(
                f"stop_loss_pct {canonical(self.stop_loss_pct)} is wider than emergency_loss_pct {canonical(emergency)}: it would never be reached"
            )
        if self.take_profit_pct is not None and self.take_profit_pct <= 0:
            raise ValueError("take_profit_pct must be greater than zero")
        if self.ladder is not None:
            rungs = rungs_of(self.ladder)
            if not in_order(rungs, PositionSide.LONG, HUNDRED) or not all(
                r.level.endswith("%") for r in rungs
            ):
                raise ValueError(
                    "take_profit_ladder: each rung lies farther away than the one before, in percent"
                )
        if self.lets_go and not self.has_other_end:
            what = (
                "take_profit_pct can only be off"
                if self.ladder is None
                else "take_profit_ladder can only leave a rest"
            )
            raise ValueError(f"{what} where trailing or max_hold_s is set")

    @property
    def lets_go(self) -> bool:
        """Whether a position may be without take-profit."""
        return self.take_profit_pct is None if self.ladder is None else leaves_rest(self.ladder)

    @property
    def has_other_end(self) -> bool:
        return self.max_hold_s is not None or self.terms.trails


Overrides = Mapping[str, str]


def policy_for(policy: ExitPolicy, kind: Kind, overrides: Overrides | None) -> tuple[ExitPolicy, list[str]]:
    """The policy for one opening: percents on the price, facts of margin where there is one, the intent's own keys.

    Total: overrides that say nothing usable change nothing, and the note says so.
    """
    found, trouble = _policy_for(policy, kind, tuple(sorted((overrides or {}).items())))
    return found, [f"exits: {trouble}"] if trouble else []


@lru_cache(maxsize=1024)
def _policy_for(
    policy: ExitPolicy, kind: Kind, overrides: tuple[tuple[str, str], ...]
) -> tuple[ExitPolicy, str]:
    if kind is Kind.SPOT:
        policy = replace(
            policy,
            terms=replace(policy.terms, leverage=None, liquidation_guard_pct=None, maintenance_pct=ZERO),
        )
    elif policy.on_margin and policy.terms.leverage is not None:
        policy = _on_price(policy, policy.terms.leverage)
    if not overrides:
        return policy, ""
    try:
        terms = overridden(policy.terms, dict(overrides))
        stop = (
            policy.stop_loss_pct
            if terms.emergency_loss_pct is None
            else min(policy.stop_loss_pct, terms.emergency_loss_pct)
        )
        return replace(policy, terms=terms, stop_loss_pct=stop), ""
    except ValueError as error:
        return policy, str(error)


def _on_price(policy: ExitPolicy, leverage: Decimal) -> ExitPolicy:
    take, ladder = policy.take_profit_pct, None
    if policy.ladder is not None:
        rungs = (part.partition("%:") for part in policy.ladder.split(","))
        ladder = ",".join(f"{canonical(divide(Decimal(at), leverage))}%:{share}" for at, _, share in rungs)
    return replace(
        policy,
        stop_loss_pct=divide(policy.stop_loss_pct, leverage),
        take_profit_pct=None if take is None else divide(take, leverage),
        ladder=ladder,
        terms=on_margin(policy.terms, leverage),
    )


@dataclass(frozen=True, slots=True)
class PolicyTable:
    """Policies by (account, symbol); an empty account or symbol stands for any."""

    default: ExitPolicy
    special: Mapping[tuple[str, str], ExitPolicy] = field(default_factory=dict)

    def of(self, account: str, symbol: str) -> ExitPolicy:
        """The policy of the most particular entry there is."""
        for key in ((account, symbol), (account, ""), ("", symbol)):
            found = self.special.get(key)
            if found is not None:
                return found
        return self.default
