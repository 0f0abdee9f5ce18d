"""What the learner would do, asked of the mathematics in `learning`: pure, slow, and run beside the event loop."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

from holdfast.contracts.codes import LearnAction
from holdfast.contracts.exit_terms import parse_terms
from holdfast.contracts.money import ZERO, canonical, sub
from holdfast.contracts.outcomes import TradeOutcome
from holdfast.contracts.rows import LearningRow, ThresholdsRow
from holdfast.domain.learning_rules import LearningRules
from holdfast.domain.thresholds import clamped
from learning.revert import Verdict, judge
from learning.walk_forward import Evidence, Method, NoProposal, propose


@dataclass(frozen=True, slots=True)
class Aims:
    """What of the settings counts here."""

    least_trades: int
    confidence: float
    revert_after: int
    revert_confidence: float
    slippage_pct: Decimal
    seed: int


@dataclass(frozen=True, slots=True)
class Question:
    """Everything that an answer depends on. The same question has the same answer, to the last digit."""

    outcomes: tuple[TradeOutcome, ...]
    standing: LearningRow
    in_force: ThresholdsRow | None
    """The version in force; None: the policy."""
    before: ThresholdsRow | None
    """The version that it took the place of; None: the policy."""
    current: Mapping[str, Decimal]
    own: Mapping[str, Decimal]
    day_began: Mapping[str, Decimal]
    newest: int
    """Number of the newest version."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What the ledger is asked for."""

    action: LearnAction
    version: int
    values: Mapping[str, Decimal]
    evidence: dict[str, str]
    why: str


@dataclass(frozen=True, slots=True)
class Answer:
    """*wish*: None, to leave everything as it is; *why* says so for people."""

    wish: Wish | None
    why: str


def think(question: Question, rules: LearningRules, aims: Aims) -> Answer:
    """First whether to go back, then whether there is a step worth taking."""
    back = _back(question, rules, aims)
    return back if back is not None and back.wish is not None else _forward(question, rules, aims)


def _back(question: Question, rules: LearningRules, aims: Aims) -> Answer | None:
    """Whether what is in force does worse than what it replaced; None where there is nothing to go back from.

    A version that somebody went back to was judged by a person, or by this.
    """
    version = question.in_force
    if version is None or version.restores is not None:
        return None
    old = clamped({} if question.before is None else question.before.values, question.own, rules.bounds)
    since = [one for one in question.outcomes if parse_terms(one.row.terms).learned == version.version]
    verdict = judge(
        since, old, aims.seed, slippage_pct=aims.slippage_pct, least_trades=aims.revert_after, confidence=aims.revert_confidence
    )  # fmt: skip
    if not verdict.revert:
        return Answer(None, str(verdict))
    wish = Wish(LearnAction.REVERT, version.based_on, {}, _of_verdict(verdict), str(verdict))
    return Answer(wish, str(verdict))


def _forward(question: Question, rules: LearningRules, aims: Aims) -> Answer:
    limits = {
        name: max(ZERO, sub(bound.step, abs(sub(question.current[name], question.day_began[name]))))
        for name, bound in rules.bounds.items()
        if name in question.current
    }
    found = propose(
        question.outcomes, question.current, rules.bounds, question.own, aims.seed, limits=limits,
        method=Method(least_trades=aims.least_trades, confidence=aims.confidence, slippage_pct=aims.slippage_pct),
    )  # fmt: skip
    if isinstance(found, NoProposal):
        return Answer(None, found.why)
    evidence = _of_evidence(found.evidence)
    wish = Wish(LearnAction.PROPOSE, question.newest + 1, found.values, evidence, str(found.evidence))
    return Answer(wish, str(found.evidence))


def _of_evidence(evidence: Evidence) -> dict[str, str]:
    """As figures by name. Gains are percent of the entry value, per trade, net of fees."""
    low, high = evidence.interval[:2]
    moved = {f"moved.{name}": f"{canonical(a)} -> {canonical(b)}" for name, (a, b) in evidence.moved.items()}
    return {
        "trades": str(evidence.trades), "out_of_sample": str(evidence.out_of_sample), "different": str(evidence.different),
        "gain_out_of_sample_pct": _percent(evidence.gain), "interval_pct": f"{_percent(low)} to {_percent(high)}",
        "confidence": f"{evidence.interval.confidence:g}", "gain_of_step_pct": _percent(evidence.step_gain), "gain_in_sample_pct": _percent(evidence.in_sample_gain), **moved,
    }  # fmt: skip


def _of_verdict(verdict: Verdict) -> dict[str, str]:
    return {
        "trades": str(verdict.trades), "live_pct": _percent(verdict.live), "shadow_of_the_old_pct": _percent(verdict.shadow),
        "below": f"{verdict.below:.3f}",
    }  # fmt: skip


def _percent(share: float) -> str:
    return f"{100 * share:+.4f}"
