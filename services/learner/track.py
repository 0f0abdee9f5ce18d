"""One position on its way: from its last entry fill until some time after its close, then an outcome."""

from collections import deque
from dataclasses import dataclass, field
from decimal import Decimal

from holdfast.contracts.codes import StopBy
from holdfast.contracts.exit_terms import parse_terms
from holdfast.contracts.messages import Trade
from holdfast.contracts.money import ZERO, mul
from holdfast.contracts.outcomes import MOST_PREDICTIONS, MarketConditions, SeenPrediction, TradeOutcome
from holdfast.contracts.rows import PositionRow, book_id
from holdfast.contracts.wire import digest
from holdfast.domain.conditions import is_long
from holdfast.domain.exit_policy import ExitPolicy
from holdfast.domain.market import Quote
from holdfast.domain.policy import expiry, seed_exits
from services.learner.path import Path

MOST_BYTES = 60_000
"""An outcome is one entry on the bus, whose body has at most 64 KiB."""
UNKNOWN = MarketConditions()
_STAND_IN = ExitPolicy(Decimal(10), Decimal(20))


def entered(row: PositionRow) -> Decimal:
    """All that ever entered the position."""
    return row.bought if is_long(row) else row.sold


@dataclass(slots=True)
class Track:
    """See the module. *row*: as it stood right after its last entry fill."""

    row: PositionRow
    path: Path
    heard_ms: int
    """Steady time at which its symbol was last heard of, or the position itself."""
    named: tuple[str, ...] = ()
    at_entry: MarketConditions = UNKNOWN
    at_exit: MarketConditions = UNKNOWN
    signal_at: int | None = None
    hole_ms: int = 0
    predictions: deque[SeenPrediction] = field(default_factory=lambda: deque(maxlen=MOST_PREDICTIONS))
    trade: Trade | None = None
    """None while it is open."""
    gone_ms: int | None = None
    """Steady time since which the ledger does not show it any more, and no trade has told why."""
    until: int = 0
    """Market time up to which it is watched, once it is closed."""

    def take(self, quote: Quote, steady_ms: int) -> None:
        """What closing would have got (bid for a long, ask for a short)."""
        self.heard_ms = steady_ms
        if quote.at >= self.row.changed_at:
            self.path.take(quote.at, quote.bid if is_long(self.row) else quote.ask)

    def see(self, one: SeenPrediction) -> None:
        """A prediction that counts for its symbol."""
        if one.expires_at > self.row.changed_at:
            self.predictions.append(one)

    def close(self, trade: Trade, conditions: MarketConditions, watch_after_ms: int) -> None:
        """It has closed; it is watched on for as long as it could have been held, and no longer than *watch_after_ms*."""
        self.trade, self.at_exit = trade, conditions
        longest = trade.closed_at + watch_after_ms
        held = self.row.expires_at
        self.until = longest if held is None else min(longest, max(held, trade.closed_at))

    def outcome(self, trade: Trade, at: int) -> TradeOutcome:
        """What there is to be said of it; the path is merged until it fits into one entry. *at*: wall time, ms."""
        made = self._outcome(trade, at)
        while len(made.body()) > MOST_BYTES and len(self.path) > 1:
            self.path.widen()
            made = self._outcome(trade, at)
        return made

    def _outcome(self, trade: Trade, at: int) -> TradeOutcome:
        through = max(self.path.through or 0, trade.closed_at)
        return TradeOutcome(
            id=outcome_id(trade.position_id), cause_id=trade.id, correlation_id=trade.correlation_id, at=at, position_id=trade.position_id,
            row=self.row, closed_at=trade.closed_at, exit_reason=trade.exit_reason, exit_price=trade.exit_price,
            trigger_level=trade.trigger_level, realized_pnl=trade.realized_pnl, named=list(self.named), signal_at=self.signal_at,
            path=self.path.points(), through=through, predictions=[one for one in self.predictions if one.at <= through],
            at_entry=self.at_entry, at_exit=self.at_exit, hole_ms=self.hole_ms,
        )  # fmt: skip


def outcome_id(position_id: str) -> str:
    """The one id that the outcome of a position can have."""
    return "oc-" + digest(position_id)


def as_entered(row: PositionRow) -> PositionRow:
    """A row that has lived for a while, as it was right after its last entry fill: levels as they were asked for, nothing moved or sold.

    When that fill was is not known any more once something has left; then the first fill stands for it.
    """
    left = row.sold if is_long(row) else row.bought
    exits = seed_exits(
        side=row.side, entry_price=row.entry_price, take_profit=row.take_profit_spec, stop_loss=row.stop_loss_spec, policy=_STAND_IN,
        has_deadline=True,
    )  # fmt: skip
    return row.evolve(
        quantity=entered(row), cost=row.entry_value or row.cost, take_profit=exits.take_profit, stop_loss=exits.stop_loss, stop_by=StopBy.SET,
        trail_active=False, high_water=None, high_water_at=None, atr=None, laddered=ZERO, exit_value=ZERO,
        changed_at=row.opened_at if left else row.changed_at, **{"sold" if is_long(row) else "bought": ZERO},
    )  # fmt: skip


def row_of(trade: Trade) -> PositionRow:
    """The row of a position that nobody here watched, as far as its trade tells: its thresholds, and levels as they were asked for."""
    thresholds = dict(trade.thresholds)
    take, stop = thresholds.pop("take_profit", None), thresholds.pop("stop_loss", None)
    hold = thresholds.pop("max_hold_s", None)
    exits = seed_exits(
        side=trade.side, entry_price=trade.entry_price, take_profit=take, stop_loss=stop, policy=_STAND_IN, has_deadline=True
    )  # fmt: skip
    side = "bought" if trade.side == "long" else "sold"
    value = mul(trade.quantity, trade.entry_price)
    return PositionRow(
        position_id=trade.position_id, book_id=book_id(trade.account, trade.exchange, trade.symbol, trade.leg), account=trade.account,
        exchange=trade.exchange, symbol=trade.symbol, leg=trade.leg, side=trade.side, kind=trade.kind, contract_size=trade.contract_size,
        settle=trade.settle, quantity=trade.quantity, cost=value, entry_price=trade.entry_price, **exits._asdict(), terms=_terms(thresholds),
        expires_at=None if hold is None else expiry(trade.opened_at, Decimal(hold)), opened_at=trade.opened_at, changed_at=trade.opened_at,
        recorded_at=trade.at, entry_value=value, strategy=trade.strategy, correlation_id=trade.correlation_id, intent_id=trade.intent_id,
        **{"bought": ZERO, "sold": ZERO, side: trade.quantity},
    )  # fmt: skip


def _terms(thresholds: dict[str, str]) -> str:
    text = " ".join(f"{key}={value}" for key, value in thresholds.items())
    try:
        return str(parse_terms(text))
    except ValueError:  # of a release that had other keys: nothing is known of its other exits
        return ""
