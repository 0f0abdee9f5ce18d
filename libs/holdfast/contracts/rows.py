"""The ledger's rows, as followers see them: in `ledger.updated`, in snapshots, in `--json` listings.

A row says how a thing *is*, whole, never how it changed; so applying the same row twice is harmless.
"""

from typing import Annotated

from pydantic import Field

from holdfast.contracts.base import Frozen, Identifier, Millis, Name, SymbolText, Text
from holdfast.contracts.codes import (
    TERMINAL_STATES,
    Code,
    ExitReason,
    Kind,
    LearnMode,
    Leg,
    OrderState,
    OrderType,
    PositionSide,
    ResultStatus,
    Role,
    Scope,
    Side,
    StopBy,
    TimeInForce,
    TradingState,
)
from holdfast.contracts.exit_terms import MOST_CHARACTERS
from holdfast.contracts.money import (
    ONE,
    ZERO,
    Amount,
    Fees,
    NotNegative,
    NotNegativeSum,
    Positive,
    PositiveSum,
    Sum,
    sub,
)

_LEVEL = r"[0-9]+(\.[0-9]+)?%?"
ExitLevel = Annotated[str, Field(max_length=70, pattern=rf"^({_LEVEL}|off)$")]
"""A price ("43000"), a distance from the entry price in percent ("5%"), or "off" (take-profit only)."""
TakeProfit = Annotated[
    str, Field(max_length=500, pattern=rf"^({_LEVEL}|off|{_LEVEL}:[0-9.]+(,{_LEVEL}:[0-9.]+){{0,9}})$")
]
"""An ExitLevel, or a ladder: `5%:0.5,10%:0.25` closes half at 5 % and a quarter at 10 %; the fractions sum to at most 1."""
TermsText = Annotated[str, Field(max_length=MOST_CHARACTERS)]
"""See `contracts.exit_terms`."""


def book_id(account: str, exchange: str, symbol: str, leg: Leg = Leg.NET) -> str:
    """`main/paper/BTC/USDT`, and `main/paper/BTC/USDT#long` for one leg of a hedged book."""
    name = f"{account}/{exchange}/{symbol}"
    return name if leg is Leg.NET else f"{name}#{leg.value}"


class BookRow(Frozen):
    """One (account, exchange, symbol, leg): holds the one side that its position and live entries share (INV-1)."""

    book_id: Identifier
    account: Name
    exchange: Name
    symbol: SymbolText
    leg: Leg = Leg.NET
    side: PositionSide | None = None
    """None: neither a position nor a live entry."""
    exiting: ExitReason | None = None
    """Set while a full exit has not ended: no entry is reserved, and what still fills is closed for this reason."""
    disputed: Text | None = None
    """Why no entry is allowed until a person has looked; the light is red."""
    refused_exit: Text | None = None
    """The last hard exit that was refused and what stood in its way; the light is red until one passes."""
    lost_at: Millis | None = None
    """Wall time at which its last losing position closed; kept only while `limits.cooldown_s` is on."""


class PositionRow(Frozen):
    """An open position with its exits; `quantity` 0 is the last word on a closed one."""

    position_id: Identifier
    book_id: Identifier
    account: Name
    exchange: Name
    symbol: SymbolText
    leg: Leg = Leg.NET
    side: PositionSide
    kind: Kind = Kind.SPOT
    contract_size: Positive
    settle: Name
    """The currency that realised profit is counted in."""
    quantity: NotNegativeSum
    cost: NotNegativeSum
    """Exact: the sum of quantity x price (inverse: quantity / price) of what is still held."""
    entry_price: Positive
    """Derived from cost and quantity; harmonic for inverse contracts."""
    take_profit: Positive | None = None
    """A price; None only where take-profit is switched off in favour of a trail or a maximum hold."""
    stop_loss: Positive
    take_profit_spec: TakeProfit
    stop_loss_spec: ExitLevel
    """What was asked for: a percent follows the average, a price stays. Of a ladder, `take_profit` is the next rung."""
    terms: TermsText = ""
    """On which terms its other exits work (`contracts.exit_terms`), fixed at its first fill; empty: none of them is on."""
    laddered: NotNegativeSum = ZERO
    """What the rungs of its take-profit ladder have taken out so far."""
    stop_by: StopBy = StopBy.SET
    """What put the stop-loss where it is."""
    trail_active: bool = False
    """The price has reached the trail's activation; it stays so."""
    high_water: Positive | None = None
    """Best price (long: highest, short: lowest) that the trail has counted."""
    high_water_at: Millis | None = None
    """Market time up to which it has been counted; later ticks are still to be looked at."""
    atr: Positive | None = None
    """Average true range that its trail counts in, as it was when first known; it stays."""
    signal_at: Millis | None = None
    """Market time of the soft close that stands; None: no signal to leave."""
    expires_at: Millis | None = None
    """Market time at which the position is closed for its age (TTL)."""
    opened_at: Millis
    """Market time of the first fill."""
    changed_at: Millis
    """Market time of the last fill."""
    recorded_at: Millis
    """Wall time at which the ledger recorded the first fill."""
    realized_pnl: Sum = ZERO
    """In `settle`, net of fees paid in it, since the first fill."""
    fees: Fees = Field(default_factory=dict)
    """Paid in other currencies, by currency."""
    bought: NotNegativeSum = ZERO
    sold: NotNegativeSum = ZERO
    """Quantities that entered and left so far, whatever the side."""
    entry_value: NotNegativeSum = ZERO
    exit_value: NotNegativeSum = ZERO
    """Sums of quantity x price (inverse: quantity / price) of what entered and left; averages derive from them."""
    version: Annotated[int, Field(ge=1)] = 1
    seeded: list[Text] = Field(default_factory=list)
    """Which exits came from policy, and why: `stop_loss: missing`."""
    closing: ExitReason | None = None
    """It must be closed at once for this reason (it filled while the book was being closed)."""
    exit_attempts: Annotated[int, Field(ge=0)] = 0
    """Exit orders that the ledger has recorded for it."""
    trigger_price: Positive | None = None
    trigger_at: Millis | None = None
    """Price and market time that fired the last recorded exit."""
    trigger_level: Positive | None = None
    """The level that it reached; where the price had gone beyond it, the two differ: a gap."""
    exit_reason: ExitReason | None = None
    """Reason of the last recorded exit order."""
    protects: Annotated[int, Field(ge=0)] = 0
    """Protective stops that the ledger has recorded for it."""
    strategy: Name | None = None
    correlation_id: Identifier | None = None
    intent_id: Identifier | None = None

    @property
    def is_open(self) -> bool:
        return self.quantity > 0


class OrderRow(Frozen):
    """One order: reserved by the ledger before it is sent (INV-3)."""

    order_id: Identifier
    """The client order id: a hash of (account, intent id, leg). A look-up key; venues do not make it idempotent."""
    intent_id: Identifier
    book_id: Identifier
    account: Name
    exchange: Name
    symbol: SymbolText
    leg: Leg = Leg.NET
    kind: Kind = Kind.SPOT
    contract_size: Positive
    settle: Name
    role: Role
    side: Side
    type: OrderType = OrderType.MARKET
    price: Positive | None = None
    quantity: PositiveSum
    filled: NotNegativeSum = ZERO
    filled_value: NotNegativeSum = ZERO
    """Sum of quantity x price of its fills, for the average price."""
    state: OrderState = OrderState.RESERVED
    reduce_only: bool = False
    time_in_force: TimeInForce = TimeInForce.GTC
    post_only: bool = False
    good_till: Millis | None = None
    notional: NotNegativeSum = ZERO
    """At the reference price of the reservation, in the quote currency: what limits count."""
    take_profit_spec: TakeProfit | None = None
    stop_loss_spec: ExitLevel | None = None
    ttl_s: NotNegative | None = None
    exits: dict[str, str] | None = None
    """Of an entry: what its intent overrides of the exit policy, key by key."""
    position_id: Identifier | None = None
    reason: ExitReason | None = None
    attempt: Annotated[int, Field(ge=0)] = 0
    trigger_price: Positive | None = None
    trigger_at: Millis | None = None
    trigger_level: Positive | None = None
    thresholds: Identifier | None = None
    """Of an exit: version of the terms that it was decided on."""
    sizing: Text | None = None
    """Of an entry whose intent named no quantity: what the quantity was made of."""
    stop_price: Positive | None = None
    """Of a protective stop: the price that triggers it at the venue."""
    replaces: Identifier | None = None
    """Intent of the entry, or of the protective stop, that it took the place of."""
    replaced_by: Identifier | None = None
    """Intent of the entry, or of the protective stop, that takes its place."""
    filled_before: NotNegativeSum = ZERO
    """What the entry whose place it took, and those that had been replaced before it, had filled."""
    displaced: bool = False
    """A harder exit took it out of INV-5's sum."""
    code: Code | None = None
    """Why it ended, or is ending, other than by being filled."""
    evidence: Text | None = None
    venue_order_id: Identifier | None = None
    claimed: NotNegative | None = None
    """The filled quantity that a terminal status named while our fills sum to less: fills are still owed."""
    incarnation: Identifier
    epoch: Annotated[int, Field(ge=0)]
    send_by: Millis
    """Wall time after which the executor that asked for it may no longer send it."""
    strategy: Name | None = None
    correlation_id: Identifier | None = None
    reserved_at: Millis
    changed_at: Millis

    @property
    def is_live(self) -> bool:
        return self.state not in TERMINAL_STATES

    @property
    def remaining(self) -> Sum:
        """What may still fill."""
        return max(ZERO, sub(self.quantity, self.filled))


class IntentRow(Frozen):
    """How an intent stands: the recorded answer, repeated whenever it is asked for again."""

    intent_id: Identifier
    digest: Identifier
    status: ResultStatus
    code: Code | None = None
    reason: Text | None = None
    order_id: Identifier | None = None
    filled_quantity: NotNegativeSum = ZERO
    average_price: Positive | None = None
    account: Name | None = None
    symbol: SymbolText | None = None
    at: Millis
    correlation_id: Identifier | None = None

    @property
    def is_final(self) -> bool:
        return self.status not in (ResultStatus.ACCEPTED, ResultStatus.UNKNOWN)


class ControlRow(Frozen):
    """The trading state of a scope, with who set it, when and why."""

    scope: Scope
    target: str = Field(default="", max_length=200)
    """Empty for all; an account; or a book id."""
    state: TradingState
    by: Text
    why: Text
    at: Millis


class TotalRow(Frozen):
    """Sums over closed and open positions of one (account, exchange, symbol)."""

    account: Name
    exchange: Name
    symbol: SymbolText
    settle: Name
    realized_pnl: Sum = ZERO
    fees: Fees = Field(default_factory=dict)
    trades: Annotated[int, Field(ge=0)] = 0
    wins: Annotated[int, Field(ge=0)] = 0
    fills: Annotated[int, Field(ge=0)] = 0
    last_executed_at: Millis = 0
    """Venue time of the latest fill: where the executor starts reading the venue's trades."""

    @property
    def key(self) -> tuple[str, str, str]:
        return (self.account, self.exchange, self.symbol)


class QuarantineRow(Frozen):
    """Something at the venue that Holdfast did not open, or could not apply. Nothing is sent for it."""

    quarantine_id: Identifier
    account: Name
    exchange: Name
    symbol: SymbolText
    side: PositionSide | None = None
    quantity: NotNegative = ZERO
    price: Positive | None = None
    why: Text
    resolved: bool = False
    at: Millis
    fee: Amount = ZERO
    """Of the fill that is held here, as all that follows: what adopting it needs."""
    fee_currency: Name | None = None
    executed_at: Millis = 0
    leg: Leg = Leg.NET
    instrument: Kind = Kind.SPOT
    contract_size: Positive = ONE
    settle: Name | None = None


Version = Annotated[int, Field(ge=0, le=9_999_999_999_999)]
"""Of the learned thresholds; 0 is the policy itself."""
Thresholds = Annotated[dict[Name, Amount], Field(max_length=40)]
"""By name (`domain.thresholds`)."""
Evidence = Annotated[dict[Name, Text], Field(max_length=60)]
"""What a version rests on, in figures: `{"trades": "412", "out_of_sample_gain": "0.031"}`."""


class LearningRow(Frozen):
    """How learning stands: what becomes of proposals, and which thresholds are in force."""

    scope: Identifier = "all"
    mode: LearnMode
    frozen: bool = False
    """A person has said that the thresholds stay as they are."""
    version: Version = 0
    """In force in mode `apply`, for positions opened from then on."""
    by: Text
    why: Text
    at: Millis


class ThresholdsRow(Frozen):
    """One version of the learned thresholds, with what it rests on. Never changed once it is written."""

    version: Annotated[Version, Field(ge=1)]
    values: Thresholds
    based_on: Version = 0
    """The version that was in force when it was made."""
    restores: Version | None = None
    """The version whose values it brings back: a rollback, or a revert."""
    adopted: bool
    """Whether it came into force; false: what would have been done, in mode `shadow`."""
    evidence: Evidence = Field(default_factory=dict)
    by: Text
    why: Text
    at: Millis


class NavRow(Frozen):
    """The account's money in its base currency; the high-water mark survives restarts."""

    account: Name
    currency: Name
    cash: Sum
    nav: Sum
    high_water: Sum
    at: Millis
    began: Sum | None = None
    """What the account began with; None in rows that are older than this field: it is what the settings say."""
