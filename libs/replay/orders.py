"""What a replay puts on the bus: prices, and the intents that signals stand for."""

from dataclasses import dataclass
from decimal import Decimal

from holdfast.contracts.codes import Action, ExitReason, PositionSide, Side
from holdfast.contracts.messages import OrderIntent, Tick
from holdfast.contracts.money import divide
from holdfast.contracts.rows import PositionRow
from replay.signals import Signal

FEED, STRATEGY = "replay", "replay"
SIGNAL_PREFIX = "signal-"
"""Of the ids of intents that signals stand for; their line follows."""


@dataclass(frozen=True, slots=True)
class Sizing:
    """How large an entry is whose signal names no quantity: *value*, in the quote currency, at the price it is made at."""

    value: Decimal
    inverse: frozenset[str] = frozenset()
    """Symbols of inverse contracts, which are counted in the quote currency themselves."""

    def quantity(self, symbol: str, price: Decimal) -> Decimal:
        return self.value if symbol in self.inverse else divide(self.value, price)


def tick_of(number: int, at: int, symbol: str, bid: Decimal, ask: Decimal, last: Decimal) -> Tick:
    """Price number *number* of the run at market time *at*. Prices come from a checked file, so they are not checked again."""
    return Tick.model_construct(
        id=f"{FEED}:{number}", at=at, symbol=symbol, bid=bid, ask=ask, last=last, feed=FEED, run=FEED
    )


def entry_of(signal: Signal, at: int, price: Decimal, sizing: Sizing) -> OrderIntent:
    """The wish to open that *signal* stands for, made at market time *at* and *price*."""
    return OrderIntent(
        id=f"{SIGNAL_PREFIX}{signal.line}",
        at=at,
        symbol=signal.symbol,
        side=Side.BUY if signal.action.side is PositionSide.LONG else Side.SELL,
        quantity=signal.quantity or sizing.quantity(signal.symbol, price),
        strategy=STRATEGY,
    )


def close_of(signal: Signal, position: PositionRow, at: int, *, soft: bool) -> OrderIntent:
    """The wish to close *position* that *signal* stands for: a command, or (*soft*) one that vetoes may hold back."""
    return OrderIntent(
        id=f"{SIGNAL_PREFIX}{signal.line}",
        at=at,
        action=Action.CLOSE,
        symbol=position.symbol,
        quantity=signal.quantity,
        soft=soft,
        strategy=STRATEGY,
    )


def forced_close(position: PositionRow, at: int) -> OrderIntent:
    """The tape has ended: close what is open."""
    return OrderIntent(
        id=f"end-{position.position_id}",
        at=at,
        action=Action.CLOSE,
        symbol=position.symbol,
        reason=ExitReason.FORCE_EXIT,
        strategy=STRATEGY,
    )


def cancel_of(symbol: str, at: int) -> OrderIntent:
    """The tape has ended: entries that found no price any more are canceled."""
    return OrderIntent(id=f"end-{symbol}", at=at, action=Action.CANCEL, symbol=symbol, strategy=STRATEGY)
