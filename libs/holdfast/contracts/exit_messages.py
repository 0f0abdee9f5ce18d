"""Messages about exits: adjustments, predictions, learned thresholds, and what the scanner says about each position."""

from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from holdfast.contracts.base import Frozen, Identifier, Message, Millis, Name, SymbolText, Text
from holdfast.contracts.codes import ExitReason, LearnAction, LearnMode, PositionSide, StopBy
from holdfast.contracts.exit_terms import exit_level
from holdfast.contracts.money import Amount, NotNegative, Positive, Sum
from holdfast.contracts.rows import Evidence, ExitLevel, TakeProfit, TermsText, Thresholds, Version

Seconds = Annotated[NotNegative, Field(le=10_000_000)]


class ExitAdjust(Message):
    """New exits of a position. Only tighter ones are taken, unless a person insists."""

    position_id: Identifier
    position_version: Annotated[int, Field(ge=1)] | None = None
    take_profit: TakeProfit | None = None
    stop_loss: ExitLevel | None = None
    ttl_s: Seconds | None = None
    stop_by: StopBy = StopBy.SET
    """Trailing and break-even move the level and leave what was asked for as it is."""
    trail_active: bool = False
    high_water: Positive | None = None
    high_water_at: Millis | None = None
    atr: Positive | None = None
    """Taken where the position has none yet."""
    terms: TermsText | None = None
    """New terms of its other exits: each part is taken where it is tighter, the whole where a person insists."""
    insist: bool = False
    by: Text
    why: Text

    @field_validator("take_profit", "stop_loss", mode="before")
    @classmethod
    def _canonical_level(cls, value: object) -> object:
        return exit_level(value)


class Prediction(Message):
    """A model's view of a symbol."""

    symbol: SymbolText
    direction: Literal["long", "short", "hold"]
    confidence: Annotated[Amount, Field(ge=0, le=1)]
    model: Name
    expires_at: Millis


class ExitThresholds(Message):
    """What the exit thresholds shall be: a proposal with its evidence, or somebody's word about them. The ledger decides."""

    action: LearnAction = LearnAction.PROPOSE
    version: Version | None = None
    """Of a proposal: its number, one above the newest. To roll back or revert: the version to go back to; 0 is the policy."""
    values: Thresholds = Field(default_factory=dict)
    """Of a proposal: the thresholds by name, those left out as the policy has them."""
    based_on: Version = 0
    """Of a proposal or a revert: the version in force that it was measured against."""
    mode: LearnMode | None = None
    """Of `mode`: the new one."""
    evidence: Evidence = Field(default_factory=dict)
    by: Text
    why: Text = ""

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if (self.mode is not None) != (self.action is LearnAction.MODE):
            raise ValueError("mode is named to change the mode, and for nothing else")
        if (self.version is not None) != (self.action in _OF_A_VERSION):
            raise ValueError("version is named to propose, roll back or revert, and for nothing else")
        if self.action is LearnAction.PROPOSE and not self.version:
            raise ValueError("version: a proposal's number is 1 or more")
        if self.values and self.action is not LearnAction.PROPOSE:
            raise ValueError("values belong to a proposal")
        return self


_OF_A_VERSION = frozenset({LearnAction.PROPOSE, LearnAction.ROLLBACK, LearnAction.REVERT})


class RuleVerdict(Frozen):
    """How one rule, or one veto, stands."""

    rule: Name
    fires: bool
    """Of a veto: whether it would hold a soft exit back now."""
    hard: bool = True
    text: Text
    at_price: Positive | None = None
    """Where it would fire."""
    distance_pct: Amount | None = None
    """From the price now to there, percent; negative: the price has to fall."""
    distance_atr: Amount | None = None
    profit_there: Sum | None = None
    """Unrealized profit there, in the settlement currency, before fees."""
    due_at: Millis | None = None
    """Market time at which it fires, or ends, by itself."""


class ExitEvaluated(Message):
    """Why a position is still open, or why it is being closed: every rule in order, as it stood at one moment."""

    position_id: Identifier
    position_version: Annotated[int, Field(ge=1)]
    account: Name
    exchange: Name
    symbol: SymbolText
    side: PositionSide
    price: Positive | None = None
    """The price that its rules look at."""
    market_at: Millis | None = None
    atr: Positive | None = None
    thresholds: Identifier
    """Version of the terms that it was decided on."""
    fires: ExitReason | None = None
    held_rule: Name | None = None
    held_by: Name | None = None
    """The veto that holds `held_rule` back, why, and until when (None: not by time alone)."""
    held_why: Text | None = None
    held_until: Millis | None = None
    next_up: Name | None = None
    next_down: Name | None = None
    next_in_time: Name | None = None
    """The rule that would fire first if the price rose, if it fell, if only time passed."""
    rules: list[RuleVerdict] = Field(max_length=40)
    vetoes: list[RuleVerdict] = Field(max_length=10)
