"""What became of a closed trade, and of its market afterwards: what exit thresholds are judged by.

The learner watches a position's prices from its opening until some time after its close, and hands one `TradeOutcome` to
the ledger, which keeps it with the trade. Other thresholds are tried on it by sending its path through the exit rules.
"""

from typing import Annotated, Literal

from pydantic import Field

from holdfast.contracts.base import Frozen, Identifier, Message, Millis, Name
from holdfast.contracts.codes import ExitReason
from holdfast.contracts.money import Amount, Positive, Sum
from holdfast.contracts.rows import PositionRow

MOST_POINTS = 600
MOST_PREDICTIONS = 200


class PathPoint(Frozen):
    """A stretch of market time: the prices that closing would have got in it (bid for a long, ask for a short)."""

    at: Millis
    """Its beginning, market time; it lasts until the next point's."""
    first: Positive
    low: Positive
    high: Positive
    last: Positive


class SeenPrediction(Frozen):
    """A prediction as it counted for the position's symbol while the path lasted."""

    at: Millis
    expires_at: Millis
    model: Name
    direction: Literal["long", "short", "hold"]
    confidence: Annotated[Amount, Field(ge=0, le=1)]


class MarketConditions(Frozen):
    """How the market was at one moment. None: not known."""

    atr: Positive | None = None
    spread_pct: Annotated[Amount, Field(ge=0)] | None = None
    """Ask minus bid, percent of their middle."""
    volatility_pct: Annotated[Amount, Field(ge=0)] | None = None
    """Standard deviation of the last minutes' returns, percent."""


class TradeOutcome(Message):
    """See the module."""

    position_id: Identifier
    row: PositionRow
    """As it stood right after its last entry fill: its thresholds (`terms`) and its exits before anything moved them."""
    closed_at: Millis
    exit_reason: ExitReason
    exit_price: Positive
    trigger_level: Positive | None = None
    """The price level that the exit reached, where it reached one: what the exit price is to be compared with."""
    realized_pnl: Sum
    """Net of fees, in the row's `settle`."""
    named: Annotated[list[Name], Field(max_length=12)] = Field(default_factory=list)
    """Thresholds that the intent named itself (`domain.thresholds.named_by`): learned values do not take their place."""
    signal_at: Millis | None = None
    """Market time at which a soft close came to stand on it, if one did while it was open."""
    path: Annotated[list[PathPoint], Field(max_length=MOST_POINTS)] = Field(default_factory=list)
    """From the row's moment to after the close, oldest first; merged into longer stretches where there were too many."""
    through: Millis
    """Market time up to which the path is known."""
    predictions: Annotated[list[SeenPrediction], Field(max_length=MOST_PREDICTIONS)] = Field(
        default_factory=list
    )
    at_entry: MarketConditions = MarketConditions()
    at_exit: MarketConditions = MarketConditions()
    hole_ms: Annotated[int, Field(ge=0)] = 0
    """Market time of the path, ms, in which nobody watched: the learner was down, and the bus keeps no ticks of it."""


class KeptOutcome(Message):
    """An outcome that the ledger has recorded: as it comes in, and page by page for who asks (`cause_id`), newest first."""

    number: Annotated[int, Field(ge=0)] = 0
    """Which it is in the order of the answer, from 1; 0: news."""
    last: Annotated[int, Field(ge=0)] = 0
    """Number of the last one on its page."""
    of: Annotated[int, Field(ge=0)] = 0
    """How many are kept in all."""
    outcome: TradeOutcome | None = None
    """None: an answer that has none (left)."""
