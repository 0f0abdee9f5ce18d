"""What is to be done about a position's stop at the venue: nothing, place one, replace it, take it away, or close instead.

Pure, and a function of the ledger's rows and of what the venue has shown: whoever asks again gets the same answer. The stop
stands at the position's stop-loss, rounded away from the price to a step, which is the same level on the venue's grid of
prices. It covers what is held, in whole steps of quantity.

    no stop is live                                   -> place
    it is larger or smaller than what is held         -> replace, at most once a second
    the stop-loss has moved by `step_pct` or more     -> replace, at most every `every_ms`
    one is in doubt, on its way, or being taken away  -> wait: it counts as live
    it has triggered and does not fill for so long    -> a market exit
    the venue refused it: the price is there already  -> a market exit
    the account protects otherwise                    -> take it away

On spot a stop is not reduce-only and locks the coins (`Locking`). So there is never a second one: to replace it, it gives way, is
proven gone, and then the next is placed. And none is placed while an exit waits for the coins, or is on its way.

Times are wall ms.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from enum import StrEnum

from holdfast.contracts.codes import Code, Kind, OrderState, OrderType, PositionSide, Role
from holdfast.contracts.money import HUNDRED, ZERO, add, canonical, divide, mul, round_down, sub
from holdfast.contracts.rows import BookRow, OrderRow, PositionRow
from holdfast.domain.invariants import MOST_STOPS
from holdfast.domain.precheck import Tradable, least_quantity

RESIZE_MS = 1_000
"""Between two replacements of a stop whose position has grown or shrunk."""


class Protect(StrEnum):
    """Who watches a position's stop-loss."""

    VENUE = "venue"
    """A stop at the venue; the scanner fires only when that has not worked in time."""
    SCANNER = "scanner"
    """The scanner alone; nothing rests at the venue."""
    BOTH = "both"
    """A stop at the venue, and the scanner fires at once."""


@dataclass(frozen=True, slots=True)
class ProtectTerms:
    """How an account's stops rest at its venue."""

    type: OrderType = OrderType.MARKET
    """What a stop becomes when it is triggered."""
    limit_pct: Decimal = Decimal(1)
    """Of a stop-limit: how much worse than the stop's price it may sell or buy."""
    step_pct: Decimal = Decimal("0.1")
    """How far the stop-loss must have moved, in percent of the resting stop's price, before that is replaced."""
    every_ms: int = 5_000
    """Least time between two replacements because the stop-loss has moved."""
    escalate_ms: int = 5_000
    """How long a stop may stay triggered and not filled before a market exit takes its place."""


class Do(StrEnum):
    NOTHING = "nothing"
    PLACE = "place"
    REPLACE = "replace"
    GIVE_WAY = "give way"
    """It is canceled; once it has provably ended another one is placed."""
    CANCEL = "cancel"
    EXIT = "exit"


@dataclass(frozen=True, slots=True)
class Locking:
    """What a stop on spot has to leave room for, because it locks the coins that it would sell."""

    exits: Sequence[OrderRow] = ()
    """Live ones of the book."""
    exit_waits: bool = False
    """An exit was proposed, and is not answered yet."""
    room: Decimal | None = None
    """How much of the position the account's free coins let be sold; None: not known as of now."""
    cut: bool = False
    """The last stop was placed smaller for want of free coins: it grows when they are seen to be free, and not before."""

    @property
    def busy(self) -> str:
        """Why no stop is to be touched now; empty: nothing stands in the way."""
        if self.exit_waits:
            return "an exit wants its coins"
        if any(row.state in _MOVING for row in self.exits):
            return "an exit is on its way"
        return ""

    def fits(self, held: Decimal, own: Sequence[OrderRow]) -> Decimal:
        """How much of *held* a stop should cover; *own*: the one that lives."""
        for row in self.exits:
            held = sub(held, row.remaining)
        if self.room is not None:
            held = min(held, self.room)
        elif self.cut and own:
            held = min(held, own[0].quantity)
        return max(held, ZERO)


_MOVING = frozenset({OrderState.RESERVED, OrderState.CANCELING, OrderState.UNKNOWN})


@dataclass(frozen=True, slots=True)
class Step:
    """What is to be done, and why. *stop*: the one that is replaced, taken away, or given up."""

    do: Do
    why: str
    stop: OrderRow | None = None
    quantity: Decimal | None = None
    price: Decimal | None = None
    """Of a new stop: what triggers it."""


def level_of(position: PositionRow, step: Decimal) -> Decimal:
    """The position's stop-loss as a price of the venue: on its grid the same level, so never earlier. Zero: there is none."""
    down = round_down(position.stop_loss, step)
    return down if down == position.stop_loss or position.side is PositionSide.LONG else add(down, step)


def limit_of(position: PositionRow, stop: Decimal, limit_pct: Decimal, step: Decimal) -> Decimal:
    """The worst price of a stop-limit that is triggered at *stop*, rounded towards filling."""
    offset = divide(mul(stop, limit_pct), HUNDRED)
    if position.side is PositionSide.LONG:
        return round_down(sub(stop, offset), step)
    worst = add(stop, offset)
    down = round_down(worst, step)
    return down if down == worst else add(down, step)


def next_step(
    position: PositionRow,
    book: BookRow | None,
    stops: Sequence[OrderRow],
    terms: ProtectTerms | None,
    rules: Tradable,
    now_ms: int,
    *,
    triggered_at: int | None = None,
    refused_there: bool = False,
    locking: Locking | None = None,
) -> Step:
    """*stops*: live protective orders of the book. *triggered_at*: since when the venue shows one of them as triggered.
    *refused_there*: the venue has refused the last stop because the price is there. *locking*: on spot.
    """
    if terms is None:
        return _take_away(stops)
    own = [row for row in stops if row.position_id == position.position_id]
    is_leaving = book is not None and book.exiting is not None
    if is_leaving and (locking is None or not locking.fits(position.quantity, own)):
        return Step(Do.NOTHING, "it is being closed")
    if locking is not None and locking.busy:
        return Step(Do.NOTHING, locking.busy)
    if triggered_at is not None and own:
        if now_ms - triggered_at < terms.escalate_ms:
            return Step(Do.NOTHING, "it has triggered")
        why = f"triggered {(now_ms - triggered_at) // 1000} s ago and not filled"
        return Step(Do.EXIT, why, own[-1], price=own[-1].stop_price)
    price = level_of(position, rules.price_step)
    most = position.quantity if locking is None else locking.fits(position.quantity, own)
    quantity = round_down(most, rules.quantity_step)
    least = rules.min_quantity
    if locking is not None and price:
        worst = limit_of(position, price, terms.limit_pct, rules.price_step)
        least = least_quantity(rules, worst if terms.type is OrderType.LIMIT and worst else price)
    if not price or not quantity or quantity < least:
        return Step(Do.NOTHING, f"{canonical(most)} is less than the venue takes")
    if refused_there:
        return Step(Do.EXIT, "the venue says that the price has reached the stop", price=price)
    if not own:
        if len(stops) >= (MOST_STOPS if locking is None else 1):
            return Step(Do.NOTHING, "stops of a closed position are still being taken away")
        return Step(Do.PLACE, "no stop rests", quantity=quantity, price=price)
    step = _keep(own, position, terms, price, quantity, now_ms)
    return step if locking is None or step.do is not Do.REPLACE else replace(step, do=Do.GIVE_WAY)


def _take_away(stops: Sequence[OrderRow]) -> Step:
    resting = [row for row in stops if row.state is OrderState.OPEN]
    if resting:
        return Step(Do.CANCEL, "this account's stops do not rest at the venue", resting[0])
    return Step(Do.NOTHING, "no stop is wanted")


def _keep(
    own: Sequence[OrderRow],
    position: PositionRow,
    terms: ProtectTerms,
    price: Decimal,
    quantity: Decimal,
    now_ms: int,
) -> Step:
    """The one that rests stays, or another one takes its place."""
    (stop, *rest) = own
    if rest or stop.state is not OrderState.OPEN or stop.filled or stop.stop_price is None:
        return Step(Do.NOTHING, "one is on its way, in doubt, or at work")
    age = now_ms - stop.reserved_at
    if stop.quantity != quantity and age >= RESIZE_MS:
        why = f"it covers {canonical(stop.quantity)} of {canonical(quantity)}"
        return Step(Do.REPLACE, why, stop, quantity, price)
    moved = divide(mul(abs(sub(price, stop.stop_price)), HUNDRED), stop.stop_price)
    if moved and moved >= terms.step_pct and age >= terms.every_ms:
        why = (
            f"the stop-loss is at {canonical(position.stop_loss)}, it stands at {canonical(stop.stop_price)}"
        )
        return Step(Do.REPLACE, why, stop, quantity, price)
    return Step(Do.NOTHING, "it rests")


def resting(stops: Sequence[OrderRow], position: PositionRow) -> OrderRow | None:
    """The stop that is proven to rest at the venue for *position*, the newest of two; None where none is.

    One that is replaced rests until its cancel is proven; on spot nothing has taken its place then, so it counts no longer.
    """
    proven = [
        row
        for row in stops
        if row.role is Role.PROTECT
        and row.position_id == position.position_id
        and (
            row.state is OrderState.OPEN
            or (row.state is OrderState.CANCELING and row.code is Code.REPLACED and row.kind is not Kind.SPOT)
        )
    ]
    return max(proven, key=lambda row: (row.code is None, row.reserved_at), default=None)


def resting_prices(positions: Iterable[PositionRow], orders: Iterable[OrderRow]) -> dict[str, Decimal]:
    """Position id -> price of the stop that is proven to rest at its venue; those without one are left out."""
    stops: dict[str, list[OrderRow]] = {}
    for row in orders:
        if row.role is Role.PROTECT and row.position_id is not None:
            stops.setdefault(row.position_id, []).append(row)
    found = {}
    for position in positions if stops else ():
        stop = resting(stops.get(position.position_id, ()), position)
        if stop is not None and stop.stop_price is not None:
            found[position.position_id] = stop.stop_price
    return found
