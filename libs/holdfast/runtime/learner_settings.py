"""What is learned from closed trades, within which bounds, and what becomes of it: the section `learner` of the settings."""

from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import AfterValidator, Field, create_model

from holdfast.contracts.codes import LearnMode
from holdfast.contracts.money import Positive
from holdfast.domain.learning_rules import LearningRules
from holdfast.domain.thresholds import THRESHOLDS, Bound, Threshold, bounds_of
from holdfast.runtime.exit_settings import Confidence
from holdfast.runtime.section import Section


def _bound(name: str) -> Any:
    def checked(triple: list[Decimal]) -> list[Decimal]:
        bounds_of({name: Bound(*triple)})
        return triple

    return Annotated[list[Positive], Field(min_length=3, max_length=3), AfterValidator(checked)]


def _field(one: Threshold) -> Any:
    safety = "; never above the policy's" if one.safety else ""
    unit = {"%": "percent", "s": "market s"}.get(one.unit, one.unit)
    default = [one.bound.low, one.bound.high, one.bound.step]
    text = f"Lowest, highest{safety}, and how far it may move in one UTC day, in {unit}."
    return _bound(one.name), Field(default, description=text)


if TYPE_CHECKING:

    class LearnerBounds(Section):
        """Between what each of the twelve thresholds may be learned, and how far it may move within a day."""

else:
    LearnerBounds = create_model(
        "LearnerBounds", __base__=Section, **{one.name: _field(one) for one in THRESHOLDS}
    )


class LearnerSettings(Section):
    """What is learned, and what becomes of it."""

    mode: LearnMode = Field(
        LearnMode.SHADOW,
        description="off: nothing is proposed; shadow: proposals are recorded, nothing is applied; apply: new positions get them. Until `holdfast learn mode`.",
    )
    keep_outcomes: int = Field(
        500,
        ge=10,
        le=1000,
        description="Outcomes of closed trades that the ledger keeps; older ones are dropped.",
    )
    path_points: int = Field(
        200,
        ge=20,
        le=600,
        description="Most points in a price path; a longer one is merged into longer stretches.",
    )
    watch_after_s: Positive = Field(
        Decimal(14_400),
        le=2_592_000,
        description="How long prices are watched after a close, in market seconds; no longer than its longest hold would have lasted.",
    )
    feed_patience_s: float = Field(
        600.0, ge=1, description="A path whose prices have stopped ends as it is after this, in wall seconds."
    )
    least_trades: int = Field(
        100, ge=20, le=1000, description="Nothing is proposed with fewer outcomes than this."
    )
    propose_every: int = Field(25, ge=1, description="A proposal is looked for after so many new outcomes.")
    confidence: Confidence = Field(
        Decimal("0.95"),
        description="Confidence (bootstrap, out of sample) with which a proposal must be an improvement, 0 to 1.",
    )
    revert_after: int = Field(
        30,
        ge=10,
        le=1000,
        description="A version in force is judged against the one before it from so many trades on.",
    )
    revert_confidence: Confidence = Field(
        Decimal("0.9"), description="... and taken back with this confidence that it does worse, 0 to 1."
    )
    seed: int = Field(1, ge=0, description="Seed of the search and of the bootstrap.")
    bounds: LearnerBounds = Field(default_factory=LearnerBounds)


def learning_rules(learner: LearnerSettings) -> LearningRules:
    """The section as the domain's decisions take it."""
    given = {one.name: Bound(*getattr(learner.bounds, one.name)) for one in THRESHOLDS}
    return LearningRules(mode=learner.mode, bounds=bounds_of(given), keep_outcomes=learner.keep_outcomes)
