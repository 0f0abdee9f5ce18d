"""A stop-loss that follows the price: trailing, and to break-even. It ratchets: no price and no setting ever loosens it.

*Trailing*: from its activation on (a move in percent or in ATR; at once where none is set) the stop stands a distance away
from the best price since, the high-water mark. Before the activation it stays where it is, or (`only_after_activation` off)
follows at the stop-loss's own distance. A distance in ATR is that of the ATR when it was first known to the position, written
into its row; later ones do not move it. So the stop is a function of the row and of the prices since `high_water_at`: whoever
restarts in the middle of a trail and looks at those prices comes to the same stop, to the tick.

*Break-even*: once the price is `breakeven_trigger_pct` ahead (>=), the stop goes to where closing leaves `breakeven_buffer_pct`
after both fees.

`advance` is what live, paper, replay and learner call for each price. `Trail` is the same for an index over many positions.
"""

from dataclasses import dataclass
from decimal import Decimal

from holdfast.contracts.codes import PositionSide, StopBy
from holdfast.contracts.exit_messages import ExitAdjust
from holdfast.contracts.exit_terms import ExitTerms
from holdfast.contracts.money import ONE, ZERO, add, canonical, divide, mul, sub
from holdfast.contracts.rows import PositionRow
from holdfast.contracts.wire import digest
from holdfast.domain.conditions import Level, is_long, moved, price_of_move, price_of_net, terms_of
from holdfast.domain.policy import nearest_stop


@dataclass(frozen=True, slots=True)
class Trail:
    """How far behind the best price a stop stands: percent of that price, or an absolute distance."""

    distance: Decimal
    relative: bool

    def level(self, side: PositionSide, best: Decimal) -> Decimal:
        """The stop for a best price of *best*; zero or less where the distance is larger than that."""
        if self.relative:
            return moved(best, self.distance, up=side is PositionSide.SHORT)
        return divide(
            add(best, self.distance) if side is PositionSide.SHORT else sub(best, self.distance), ONE
        )


def needs_atr(position: PositionRow) -> bool:
    """Whether its trail counts in ATR and does not know one yet."""
    terms = terms_of(position)
    in_atr = terms.trailing_distance_atr is not None or terms.trailing_activation_atr is not None
    return in_atr and position.atr is None


def activation(position: PositionRow) -> Level | None:
    """The price that activates the trail (reached at >=); None where it is active, or there is none, or no ATR is known."""
    terms = terms_of(position)
    if not terms.trails or position.trail_active or needs_atr(position):
        return None
    if terms.trailing_activation_pct is not None:
        price = price_of_move(position, terms.trailing_activation_pct)
    elif terms.trailing_activation_atr is not None:
        offset = mul(terms.trailing_activation_atr, position.atr or ZERO)
        price = (add if is_long(position) else sub)(position.entry_price, offset)
    else:
        return None
    return Level(price, falling=not is_long(position))


def _is_unconditional(terms: ExitTerms) -> bool:
    return terms.trailing_activation_pct is None and terms.trailing_activation_atr is None


def trail_of(position: PositionRow) -> Trail | None:
    """The trail in force; None where nothing follows the price (yet)."""
    terms = terms_of(position)
    if not terms.trails or needs_atr(position):
        return None
    if position.trail_active or _is_unconditional(terms):
        if terms.trailing_distance_atr is not None:
            return Trail(mul(terms.trailing_distance_atr, position.atr or ZERO), relative=False)
        return Trail(terms.trailing_distance_pct or ZERO, relative=True)
    return None if terms.trailing_only_after_activation else Trail(_own_distance(position), relative=True)


def _own_distance(position: PositionRow) -> Decimal:
    """The stop-loss's distance from the entry price, as it was asked for, in percent."""
    spec = position.stop_loss_spec
    if spec.endswith("%"):
        return Decimal(spec[:-1])
    return divide(abs(sub(position.entry_price, Decimal(spec))).scaleb(2), position.entry_price)


def break_even(position: PositionRow) -> Level | None:
    """The price that moves the stop to break-even (reached at >=); None where it is there already, or not wanted."""
    terms = terms_of(position)
    if terms.breakeven_trigger_pct is None:
        return None
    target = price_of_net(position, terms.breakeven_buffer_pct)
    if (position.stop_loss >= target) if is_long(position) else (position.stop_loss <= target):
        return None
    return Level(price_of_move(position, terms.breakeven_trigger_pct), falling=not is_long(position))


def advance(position: PositionRow, price: Decimal, at: int, atr: Decimal | None = None) -> PositionRow:
    """The position after its closing price was *price* at market time *at*; the same row where nothing follows the price.

    *atr*: the symbol's average true range, where it is known. Prices from before `high_water_at` count no more.
    """
    if not position.terms or (position.high_water_at is not None and at < position.high_water_at):
        return position
    return stepped(position, price, at, atr)


def stepped(position: PositionRow, price: Decimal, at: int, atr: Decimal | None = None) -> PositionRow:
    """`advance` without looking whether the trail has counted this price already; counting it twice changes nothing."""
    if atr is not None and needs_atr(position):
        position = position.evolve(atr=atr)
    trigger = break_even(position)
    if trigger is not None and _is_reached(trigger, price):
        target = price_of_net(position, terms_of(position).breakeven_buffer_pct)
        position = raised(position, target, StopBy.BREAK_EVEN)
    wanted = activation(position)
    if wanted is not None and _is_reached(wanted, price):
        position = position.evolve(trail_active=True)
    return marked(position, price, at)


def marked(position: PositionRow, price: Decimal, at: int) -> PositionRow:
    """The position once its trail, if it has one in force, has counted *price*."""
    trail = trail_of(position)
    if trail is None:
        return position
    best = price if position.high_water is None else better(position.side, position.high_water, price)
    position = position.evolve(high_water=best, high_water_at=max(at, position.high_water_at or 0))
    return raised(position, trail.level(position.side, best), StopBy.TRAILING)


def better(side: PositionSide, one: Decimal, other: Decimal) -> Decimal:
    """The better of two prices for a position of *side*."""
    return max(one, other) if side is PositionSide.LONG else min(one, other)


def raised(position: PositionRow, stop: Decimal, by: StopBy) -> PositionRow:
    """The position with its stop at *stop*, where that is tighter, is a price, and does not cross the take-profit."""
    if nearest_stop(position, stop) == position.stop_loss:
        return position
    return position.evolve(stop_loss=stop, stop_by=by)


def _is_reached(level: Level, price: Decimal) -> bool:
    return price <= level.price if level.falling else price >= level.price


def adjustment(row: PositionRow, now: PositionRow, at: int, by: str) -> ExitAdjust | None:
    """What to tell the ledger, whose row is *row*, about a stop that has come to stand as in *now*; None: nothing new.

    The id is a hash of what it says and when. *at*: wall time, ms.
    """
    fields = ("stop_loss", "trail_active", "high_water", "high_water_at", "atr")
    if all(getattr(row, name) == getattr(now, name) for name in fields):
        return None
    said = [str(getattr(now, name)) for name in fields]
    return ExitAdjust.trusted(
        id="j-" + digest(row.position_id, str(at), *said), cause_id=None, correlation_id=row.correlation_id, at=at, position_id=row.position_id,
        position_version=None, take_profit=None, stop_loss=None if now.stop_loss == row.stop_loss else canonical(now.stop_loss), ttl_s=None,
        stop_by=now.stop_by, trail_active=now.trail_active, high_water=now.high_water, high_water_at=now.high_water_at, atr=now.atr,
        terms=None, insist=False, by=by, why=now.stop_by.value,
    )  # fmt: skip
