"""What the executor needs of a venue, and the three outcomes of a send.

Everything takes batches. `submit` never raises for an order's sake: each order gets an outcome, and whatever is not
proven accepted or rejected is UNKNOWN. Reads raise `VenueUnreadable`; "nothing" is an answer only when the venue gave it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from typing import Protocol

from holdfast.contracts.codes import Code, Leg, OrderState, Side
from holdfast.contracts.messages import Fill, Tick
from holdfast.contracts.rows import OrderRow
from holdfast.domain.instruments import Instrument


class VenueUnreadable(Exception):  # noqa: N818
    """The venue did not give a usable answer to a read. Unreadable is not empty (INV-7)."""


class OutcomeKind(StrEnum):
    ACCEPTED = "accepted"
    REJECTED = "rejected"
    UNKNOWN = "unknown"
    NOT_SENT = "not_sent"  # stopped before the wire, e.g. send_by had passed


@dataclass(frozen=True, slots=True)
class Outcome:
    """What is known of one order after the attempt to send or cancel it."""

    order_id: str
    kind: OutcomeKind
    code: Code | None = None
    reason: str = ""
    venue_order_id: str | None = None


@dataclass(frozen=True, slots=True)
class VenueOrder:
    """An order as the venue shows it."""

    order_id: str
    symbol: str
    side: Side
    state: OrderState
    quantity: Decimal
    filled: Decimal
    venue_order_id: str | None = None
    code: Code | None = None
    evidence: str = ""
    changed_at: int = 0
    """Venue time of its last change, ms; 0 where it does not say."""
    triggered: bool = False
    """Of a stop: its price has come, and it has become an ordinary order."""


@dataclass(frozen=True, slots=True)
class VenuePosition:
    symbol: str
    leg: Leg
    quantity: Decimal
    """Signed: long positive, short negative."""
    entry_price: Decimal | None = None
    changed_at: int = 0
    """Venue time, ms; 0 where it does not say."""


Rules = Instrument
"""An instrument at this venue: kind, currencies, steps and minimums."""


@dataclass(frozen=True, slots=True)
class Events:
    """What happened at the venue since the last call. Told once: whoever missed it looks up orders and trades."""

    fills: list[Fill] = field(default_factory=list)
    orders: list[VenueOrder] = field(default_factory=list)
    """Orders that ended other than by filling (canceled, expired, rejected after acceptance), and stops that have triggered."""


class Venue(Protocol):
    """One account at one exchange. Implementations: `venues.paper.PaperVenue`, `venues.ccxt_venue.CcxtVenue`."""

    account: str
    exchange: str

    def rules(self, symbol: str) -> Rules | None:
        """None when the venue has no such instrument."""
        ...

    async def submit(self, orders: Sequence[OrderRow], *, now_ms: int) -> list[Outcome]:
        """Send orders; `send_by` is checked against *now_ms* right before the wire. One outcome per order, in order."""
        ...

    async def cancel(self, orders: Sequence[OrderRow], *, now_ms: int) -> list[Outcome]:
        """Ask for cancellation. ACCEPTED means asked; that an order is canceled is told by events or look-up."""
        ...

    async def look_up(self, order_ids: Sequence[str]) -> dict[str, VenueOrder | None]:
        """By client order id, on every endpoint that may show it. None: it is absent. Left out: nothing is known of it yet."""
        ...

    async def open_orders(self) -> list[VenueOrder]: ...

    async def trades_since(self, executed_at: int) -> list[Fill]:
        """All executions at or after *executed_at* (venue time, ms), oldest first."""
        ...

    async def trades_of(self, order_ids: Sequence[str]) -> list[Fill]:
        """All executions of these orders."""
        ...

    async def positions(self) -> list[VenuePosition]: ...

    async def on_ticks(self, ticks: Sequence[Tick], *, now_ms: int) -> Events:
        """Prices moved (venues that match by themselves return nothing here)."""
        ...

    async def poll(self, *, now_ms: int) -> Events:
        """What happened meanwhile: fills and ends not yet told."""
        ...

    async def close(self) -> None: ...
