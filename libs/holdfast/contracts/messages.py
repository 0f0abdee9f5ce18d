"""Every message that travels on a stream. `contracts.streams` says who sends which where.

Wishes are named as wishes (OrderIntent, OrderReserve, SnapshotRequest), facts as facts (Fill, OrderBlocked,
LedgerUpdated). Times are milliseconds UTC; `at` is wall time, `executed_at` and `Tick.at` are market time.
"""

from typing import Annotated, Literal, Self

import orjson
from pydantic import Field, field_validator, model_validator

from holdfast.contracts.base import (
    ContractViolation,
    Frozen,
    Identifier,
    Message,
    Millis,
    Name,
    SymbolText,
    Text,
)
from holdfast.contracts.codes import (
    Action,
    Code,
    ExitReason,
    FillKind,
    Kind,
    Leg,
    OrderType,
    PositionSide,
    ResultStatus,
    Role,
    Scope,
    Side,
    StatusKind,
    TimeInForce,
    TradingState,
    UpdateKind,
)
from holdfast.contracts.exit_messages import Seconds
from holdfast.contracts.exit_terms import ExitKeys, exit_level
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
)
from holdfast.contracts.portfolio import RiskRow
from holdfast.contracts.rows import (
    BookRow,
    ControlRow,
    ExitLevel,
    IntentRow,
    LearningRow,
    NavRow,
    OrderRow,
    PositionRow,
    QuarantineRow,
    TakeProfit,
    ThresholdsRow,
    TotalRow,
)
from holdfast.contracts.sizes import Percent, Share, size_problem

_SIDE_WORDS = {"long": "buy", "short": "sell"}


class OrderIntent(Message):
    """A wish to open, close or cancel. Only `symbol` and, to open, `side` and a size must be given.

    The size is exactly one of `quantity`, `quote_amount`, `nav_pct`, `risk_pct`; of a close `quantity`, `fraction`, or nothing.

    `id` and `at` may be left out by whoever types it: the reader fills them from the entry (see `contracts.wire`).
    """

    action: Action = Action.OPEN
    symbol: SymbolText | None = None
    side: Side | None = None
    quantity: Positive | None = None
    """In contracts of the instrument; on spot, units of the base currency. More than is held closes what is held."""
    quote_amount: Positive | None = None
    """Value at the reference price, in the quote currency, without fees."""
    nav_pct: Positive | None = None
    """Value at the reference price, in percent of the account's NAV."""
    risk_pct: Percent | None = None
    """What would be lost at the stop-loss, fees of both orders included, in percent of the account's NAV."""
    fraction: Share | None = None
    """Of a close: this share of the position as the ledger holds it then."""
    type: OrderType = OrderType.MARKET
    price: Positive | None = None
    time_in_force: TimeInForce = TimeInForce.GTC
    post_only: bool = False
    good_till: Millis | None = None
    """Wall time at which a resting order is canceled."""
    take_profit: TakeProfit | None = None
    stop_loss: ExitLevel | None = None
    ttl_s: Seconds | None = None
    """Longest time the position may be held, in market seconds."""
    exits: ExitKeys | None = None
    """What to override of the exit policy, for a position that this intent opens."""
    reduce_only: bool = False
    soft: bool = False
    """A close that vetoes may hold back."""
    strategy: Name | None = None
    account: Name = "main"
    exchange: Name = "paper"
    expires_at: Millis | None = None
    """Wall time after which it is not acted upon; `at` + 60 s for entries, never for exits."""
    order_id: Identifier | None = None
    """For `cancel`: the one order meant; without it all entries of the book."""
    replaces: Identifier | None = None
    """The intent whose entry this one takes the place of: that is canceled first, and what it filled is taken off this size."""
    position_id: Identifier | None = None
    position_version: Annotated[int, Field(ge=1)] | None = None
    reason: ExitReason | None = None
    attempt: Annotated[int, Field(ge=0)] = 0
    trigger_price: Positive | None = None
    trigger_at: Millis | None = None
    trigger_level: Positive | None = None
    """The level that the trigger price reached, or had gone beyond."""
    thresholds: Identifier | None = None
    """Version of the terms that an exit was decided on."""

    @field_validator("side", mode="before")
    @classmethod
    def _any_word_for_a_side(cls, value: object) -> object:
        if isinstance(value, str):
            word = value.lower()
            return _SIDE_WORDS.get(word, word)
        return value

    @field_validator("take_profit", "stop_loss", mode="before")
    @classmethod
    def _canonical_level(cls, value: object) -> object:
        return exit_level(value)

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.action is Action.OPEN:
            for field in ("symbol", "side"):
                if getattr(self, field) is None:
                    raise ValueError(f'{field} is required to open; "action" may also be close or cancel')
        elif self.symbol is None and self.order_id is None:
            raise ValueError(f"symbol is required to {self.action.value}")
        problem = None if self.action is Action.CANCEL else size_problem(vars(self), reduces=self.reduces)
        if problem is not None:
            raise ValueError(problem)
        if self.replaces is not None and (
            self.action is not Action.OPEN or self.reduces or self.replaces == self.id
        ):
            raise ValueError("replaces names another entry, which an entry takes the place of")
        if self.type is OrderType.LIMIT and self.price is None:
            raise ValueError("price is required for a limit order")
        if self.type is OrderType.MARKET and self.price is not None:
            raise ValueError('price is only for type "limit"')
        if self.post_only and (self.type is OrderType.MARKET or self.time_in_force is not TimeInForce.GTC):
            raise ValueError("post_only needs a limit order that is good till canceled")
        if self.stop_loss == "off":
            raise ValueError("stop_loss cannot be off")
        return self

    @property
    def reduces(self) -> bool:
        """Whether it may only shrink a position."""
        return self.reduce_only or self.action is Action.CLOSE


class Refusal(Frozen):
    code: Code
    reason: Text
    status: Literal[ResultStatus.BLOCKED, ResultStatus.INVALID, ResultStatus.EXPIRED, ResultStatus.REJECTED]


class OrderRequest(Frozen):
    """The exact order an executor wants to send, canonical symbol and rounding done."""

    order_id: Identifier
    kind: Kind
    contract_size: Positive = ONE
    settle: Name
    role: Role
    side: Side | None = None
    """None closes whatever side is held."""
    type: OrderType = OrderType.MARKET
    price: Positive | None = None
    quantity: Positive | None = None
    """None: all that is not yet exiting."""
    fraction: Share | None = None
    """Of an exit: this share of the position; the ledger makes the quantity of it."""
    sizing: Text | None = None
    """Of an entry that named no quantity: what the quantity was made of."""
    quantity_step: Positive
    min_quantity: NotNegative = ZERO
    """Less than this the venue does not take: for what is left when a replaced entry's fills are taken off, for exits that are `alone`, and
    for stops on spot."""
    alone: bool = False
    """Of an exit where the venue has no reduce-only orders: in whole steps, and never beside another exit that may still fill, or a stop."""
    replaces: Identifier | None = None
    time_in_force: TimeInForce = TimeInForce.GTC
    post_only: bool = False
    good_till: Millis | None = None
    reference_price: Positive | None = None
    """Bid or ask when it was decided: limits and percent exits are judged at it."""
    take_profit: TakeProfit | None = None
    stop_loss: ExitLevel | None = None
    ttl_s: Seconds | None = None
    exits: ExitKeys | None = None
    position_id: Identifier | None = None
    position_version: Annotated[int, Field(ge=1)] | None = None
    reason: ExitReason | None = None
    soft: bool = False
    attempt: Annotated[int, Field(ge=0)] = 0
    trigger_price: Positive | None = None
    trigger_at: Millis | None = None
    trigger_level: Positive | None = None
    thresholds: Identifier | None = None
    stop_price: Positive | None = None
    """Of a protective stop: the price that triggers it at the venue."""
    send_by: Millis


class CancelRequest(Frozen):
    """Cancel one order, or every live entry of the book."""

    order_id: Identifier | None = None
    code: Code = Code.ON_REQUEST


class OrderReserve(Message):
    """The executor's proposal for one intent: exactly one of an order, a cancel, a refusal."""

    intent_id: Identifier
    intent_digest: Identifier
    account: Name
    exchange: Name
    symbol: SymbolText
    leg: Leg = Leg.NET
    strategy: Name | None = None
    incarnation: Identifier
    epoch: Annotated[int, Field(ge=0)]
    order: OrderRequest | None = None
    cancel: CancelRequest | None = None
    refusal: Refusal | None = None
    attempted_side: Side | None = None
    attempted_quantity: Positive | None = None

    @model_validator(mode="after")
    def _one_proposal(self) -> Self:
        if sum(part is not None for part in (self.order, self.cancel, self.refusal)) != 1:
            raise ValueError("exactly one of order, cancel, refusal")
        return self


class OrderBlocked(Message):
    """`order.blocked_by_invariant`: an intent that was refused, why, what is held and what is in the way."""

    intent_id: Identifier
    code: Code
    reason: Text
    account: Name
    exchange: Name
    symbol: SymbolText
    attempted_side: Side | None = None
    attempted_quantity: Positive | None = None
    held_side: PositionSide | None = None
    held_quantity: NotNegativeSum = ZERO
    in_the_way: list[Identifier] = Field(default_factory=list, max_length=100)
    strategy: Name | None = None


class IntentResult(Message):
    """The answer to an intent. `accepted` and `unknown` may be followed by another; every other status is its one end."""

    intent_id: Identifier
    status: ResultStatus
    code: Code | None = None
    reason: Text | None = None
    order_id: Identifier | None = None
    filled_quantity: NotNegativeSum = ZERO
    average_price: Positive | None = None
    account: Name | None = None
    symbol: SymbolText | None = None
    repeated: bool = False
    """The intent was known; this is what was recorded for it."""


class OrderStatus(Message):
    """What the executor learned of one order at the venue, with the evidence."""

    order_id: Identifier
    account: Name
    exchange: Name
    status: StatusKind
    code: Code | None = None
    reason: Text | None = None
    venue_order_id: Identifier | None = None
    filled_quantity: NotNegative | None = None
    """What the venue says has filled; more than our fills sum to keeps the order UNKNOWN until the trades are read."""
    evidence: Text | None = None


class Fill(Message):
    """One execution at the venue. Its key (account, exchange, symbol, order, trade id) is applied exactly once."""

    account: Name
    exchange: Name
    symbol: SymbolText
    order_id: str = Field(default="", max_length=128)
    """Client order id; empty when the venue names none."""
    trade_id: Identifier
    kind: FillKind = FillKind.TRADE
    side: Side
    quantity: NotNegative
    price: NotNegative
    fee: Amount = ZERO
    fee_currency: Name | None = None
    executed_at: Millis
    leg: Leg = Leg.NET
    instrument: Kind = Kind.SPOT
    contract_size: Positive = ONE
    settle: Name | None = None
    take_profit: TakeProfit | None = None
    """Of an adoption: exits that came with the position."""
    stop_loss: ExitLevel | None = None
    ttl_s: Seconds | None = None

    @property
    def key(self) -> str:
        return f"{self.account}|{self.exchange}|{self.symbol}|{self.order_id}|{self.trade_id}"


class Trade(Message):
    """A closed position with its story."""

    position_id: Identifier
    account: Name
    exchange: Name
    symbol: SymbolText
    leg: Leg = Leg.NET
    side: PositionSide
    kind: Kind
    contract_size: Positive
    settle: Name
    quantity: PositiveSum
    """All that was ever entered."""
    entry_price: Positive
    exit_price: Positive
    opened_at: Millis
    closed_at: Millis
    realized_pnl: Sum
    fees: Fees = Field(default_factory=dict)
    exit_reason: ExitReason
    trigger_price: Positive | None = None
    trigger_at: Millis | None = None
    trigger_level: Positive | None = None
    """The level that fired. A trigger price beyond it is a gap: the exit got that price, not the level."""
    take_profit: Positive | None = None
    stop_loss: Positive
    exit_attempts: int = 0
    strategy: Name | None = None
    intent_id: Identifier | None = None
    highest_price: Positive | None = None
    lowest_price: Positive | None = None
    path: list[tuple[Millis, Positive]] = Field(default_factory=list, max_length=1000)
    """Prices of its fills in market time, oldest first."""
    thresholds: dict[str, str] = Field(default_factory=dict)
    """Exit policy in force when it closed."""


class LedgerUpdated(Message):
    """All rows that one message changed, as they now are. Its entry id is `<seq>-0`; `kind` and `hash` stand beside the body."""

    seq: Annotated[int, Field(ge=1)]
    store_id: Identifier
    epoch: Annotated[int, Field(ge=0)]
    kind: UpdateKind
    why: Text | None = None
    positions: list[PositionRow] = Field(default_factory=list)
    orders: list[OrderRow] = Field(default_factory=list)
    books: list[BookRow] = Field(default_factory=list)
    intents: list[IntentRow] = Field(default_factory=list)
    fills: list[Fill] = Field(default_factory=list)
    trades: list[Trade] = Field(default_factory=list)
    blocked: list[OrderBlocked] = Field(default_factory=list)
    control: list[ControlRow] = Field(default_factory=list)
    totals: list[TotalRow] = Field(default_factory=list)
    quarantine: list[QuarantineRow] = Field(default_factory=list)
    nav: list[NavRow] = Field(default_factory=list)
    learning: list[LearningRow] = Field(default_factory=list)
    thresholds: list[ThresholdsRow] = Field(default_factory=list)
    risk: list[RiskRow] = Field(default_factory=list)
    executors: dict[str, int] = Field(default_factory=dict)
    """Account -> epoch of the executor whose reservations count."""

    def body(self) -> bytes:
        """As every message's, without the tables that nothing changed in."""
        return self.body_with({name: [row_json(row) for row in getattr(self, name)] for name in ROW_TABLES})

    def body_with(self, rows: dict[str, list[bytes]]) -> bytes:
        """`body`, for whoever has the rows of each table as JSON already."""
        head = {name: value for name in _HEAD if (value := getattr(self, name)) is not None}
        parts = [orjson.dumps(head)[:-1]]
        parts += [b',"%b":[%b]' % (name.encode(), b",".join(rows[name])) for name in ROW_TABLES if rows[name]]
        if self.executors:
            parts.append(b',"executors":' + orjson.dumps(self.executors))
        return b"".join((*parts, b"}"))


def row_json(row: Frozen) -> bytes:
    """A row inside an update or a table; messages carried along (fills, trades, refusals) stay as they travel alone."""
    return row.body() if isinstance(row, Message) else row.json_bytes()


_HEAD = ("id", "cause_id", "correlation_id", "at", "seq", "store_id", "epoch", "kind", "why")
ROW_TABLES = ("positions", "orders", "books", "intents", "fills", "trades", "blocked", "control", "totals", "quarantine", "nav", "risk", "learning", "thresholds")  # fmt: skip


class LedgerSnapshot(Message):
    """One part of everything live as of `seq`. A snapshot is whole when all `parts` are there and `checksum` fits."""

    snapshot_id: Identifier
    seq: Annotated[int, Field(ge=0)]
    chain: str = Field(max_length=64)
    """The chain hash of entry `seq`."""
    store_id: Identifier
    epoch: Annotated[int, Field(ge=0)]
    part: Annotated[int, Field(ge=1)]
    parts: Annotated[int, Field(ge=1)]
    checksum: str = Field(max_length=64)
    """Hash over (table, key, version) of every row of all parts, in order."""
    positions: list[PositionRow] = Field(default_factory=list)
    orders: list[OrderRow] = Field(default_factory=list)
    books: list[BookRow] = Field(default_factory=list)
    control: list[ControlRow] = Field(default_factory=list)
    totals: list[TotalRow] = Field(default_factory=list)
    quarantine: list[QuarantineRow] = Field(default_factory=list)
    nav: list[NavRow] = Field(default_factory=list)
    learning: list[LearningRow] = Field(default_factory=list)
    thresholds: list[ThresholdsRow] = Field(default_factory=list)
    risk: list[RiskRow] = Field(default_factory=list)
    executors: dict[str, int] = Field(default_factory=dict)


class SnapshotRequest(Message):
    by: Name
    why: Text = ""
    of: Literal["state", "outcomes"] = "state"
    """Everything live, on `ledger.snapshot`; or the outcomes of closed trades that are kept, on `ledger.outcome`."""
    skip: Annotated[int, Field(ge=0)] = 0
    """Of outcomes: so many of the newest are known already. An answer is a page of the next ones."""


class Tick(Message):
    """A price. `at` is market time: within a `run` it never goes back."""

    symbol: SymbolText
    bid: Amount
    ask: Amount
    last: Amount
    mark: Positive | None = None
    """The venue's mark price, where it has one."""
    feed: Name
    run: Identifier
    live: bool = False
    """Whether this feed's market time goes on with the wall clock when ticks stop."""


class Control(Message):
    """Set the trading state of a scope. Exits pass in every state."""

    state: TradingState
    scope: Scope = Scope.ALL
    target: str = Field(default="", max_length=200)
    by: Text
    why: Text = ""

    @model_validator(mode="after")
    def _target_fits_scope(self) -> Self:
        if (self.scope is Scope.ALL) != (self.target == ""):
            raise ValueError("target names the account or book; it is empty for scope all")
        return self


class Heartbeat(Message):
    """Proof of life and of progress of one service."""

    service: Name
    instance: Name
    incarnation: Identifier
    started_at: Millis
    seq: Annotated[int, Field(ge=0)] = 0
    """Last ledger sequence that it has applied."""
    lag: Annotated[int, Field(ge=0)] = 0
    """Entries of its work streams not yet delivered to it."""
    pending: Annotated[int, Field(ge=0)] = 0
    oldest_pending_ms: Annotated[int, Field(ge=0)] = 0
    dead_letters: Annotated[int, Field(ge=0)] = 0
    armed: Annotated[int, Field(ge=0)] | None = None
    """exit_scanner: positions with all triggers in place."""
    armed_through: Annotated[int, Field(ge=0)] | None = None
    """exit_scanner: sequence through which positions are armed."""
    unarmed: list[Identifier] = Field(default_factory=list, max_length=1000)
    unreadable: Text | None = None
    """Why what this service reads cannot be trusted; the light is red."""
    warnings: list[Text] = Field(default_factory=list, max_length=100)
    """Things that are late or missing; the light is yellow."""
    details: dict[str, str] = Field(default_factory=dict)
    version: str = Field(default="", max_length=40)


class DeadLetter(Message):
    """An entry that a service could not use, kept whole for a person."""

    service: Name
    stream: Name
    entry_id: str = Field(max_length=64)
    payload: str = Field(max_length=200_000)
    truncated: bool = False
    error: Text
    deliveries: Annotated[int, Field(ge=0)] = 1


__all__ = [
    name for name, value in list(globals().items()) if isinstance(value, type) and issubclass(value, Frozen)
] + ["ContractViolation"]
