"""Orders, conditional orders and trades, as this venue keeps them."""

from dataclasses import dataclass
from decimal import Decimal

from venue_sim.account import BOTH, ZERO
from venue_sim.errors import Refusal

OPEN = frozenset({"NEW", "PARTIALLY_FILLED"})
LIVE_ALGO = frozenset({"NEW"})
STOPS = frozenset({"STOP", "STOP_MARKET", "STOP_LOSS", "STOP_LOSS_LIMIT"})
CONDITIONAL = STOPS | {"TAKE_PROFIT", "TAKE_PROFIT_MARKET", "TAKE_PROFIT_LIMIT"}


@dataclass(frozen=True, slots=True)
class Ask:
    """What a client wants to trade. *trigger* only for conditional orders."""

    symbol: str
    side: str
    type: str
    client_id: str
    quantity: Decimal
    price: Decimal | None = None
    time_in_force: str = "GTC"
    reduce_only: bool = False
    close_position: bool = False
    position_side: str = BOTH
    trigger: Decimal | None = None
    till: int = 0
    """When the venue ends it by itself, ms; 0: never."""

    @property
    def buys(self) -> bool:
        return self.side == "BUY"


@dataclass(slots=True)
class Order:
    """One order; times in ms. No read shows it before `visible_from`."""

    number: int
    ask: Ask
    at: int
    updated: int
    status: str = "NEW"
    filled: Decimal = ZERO
    value: Decimal = ZERO
    visible_from: int = 0
    waiting: bool = False
    """A stop that is kept among the ordinary orders, and whose price has not come: open, and in no book."""
    triggered_at: int = 0
    """Of such a stop: when its price came."""
    reason: str = ""
    """Why it has ended, where a venue says so."""

    @property
    def is_open(self) -> bool:
        return self.status in OPEN

    @property
    def remaining(self) -> Decimal:
        return self.ask.quantity - self.filled


@dataclass(slots=True)
class Algo:
    """A conditional order, which becomes an ordinary one when its trigger is reached."""

    number: int
    ask: Ask
    at: int
    updated: int
    status: str = "NEW"
    order: int = 0
    """The ordinary order that it has become."""
    triggered_at: int = 0
    refused: Refusal | None = None
    """Why it came to nothing once its price had come."""
    visible_from: int = 0

    @property
    def is_open(self) -> bool:
        return self.status in LIVE_ALGO


@dataclass(frozen=True, slots=True)
class Income:
    """Funding that was paid (less than zero) or received."""

    number: int
    symbol: str
    asset: str
    amount: Decimal
    at: int


@dataclass(frozen=True, slots=True)
class Rate:
    """What funding was counted by: above zero who is long pays."""

    symbol: str
    rate: Decimal
    mark: Decimal
    at: int


@dataclass(frozen=True, slots=True)
class Trade:
    """One execution of our account."""

    number: int
    order: int
    client_id: str
    symbol: str
    side: str
    price: Decimal
    quantity: Decimal
    fee: Decimal
    realised: Decimal
    maker: bool
    at: int
    position_side: str = BOTH
    visible_from: int = 0
    liquidation: bool = False
    fee_asset: str = "USDT"
