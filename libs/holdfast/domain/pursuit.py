"""What follows once an exit has fired: a pursuit that ends only when the position is closed.

A fired exit is a decision. It is not taken back because the price recovers: it stays until the position is gone, or until
a harder reason takes it over. A pursuit knows what it has sent last and what the ledger has said about it. `next_step`
compares that with the position and its live exit orders and says what to do now:

    nothing sent yet, or quantity is uncovered          -> send, at once, beside what is live
    the ledger says nothing for `retry`                 -> the same intent again (the same id: it cannot count twice),
                                                           at times a fresh one (the old may have ended long ago)
    it ended and nothing filled, or nobody knows        -> a new attempt, `retry` after the last
    ... because something else took out a part           -> a new attempt, at once, for what is left
    a working order fills nothing though prices flow,
    or one just as hard is in the way of ours           -> after `renew`, cancel it; a new attempt follows its end

Orders cover quantity as the ledger counts it (INV-5): live exits, not displaced, that a new exit of this reason could
not displace. An order in doubt (UNKNOWN) of the same hardness covers for `retry`, no longer. Exits are market orders from
the first attempt on; so "as a market order after 15 s" means: what is stuck by then makes room for a fresh one.

Pure. Times are ms of a steady clock, but for `wall_ms`, which is compared with what the ledger wrote.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from decimal import Decimal
from enum import Enum

from holdfast.contracts.codes import Action, Code, ExitReason, OrderState, OrderType, Role
from holdfast.contracts.messages import OrderIntent
from holdfast.contracts.money import ZERO, add, sub
from holdfast.contracts.rows import IntentRow, OrderRow, PositionRow
from holdfast.contracts.wire import digest
from holdfast.domain.exits import HARDNESS, displaces, thresholds_version

NEVER = -(10**15)
"""A steady time before all others."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How long each step waits, ms."""

    retry: int
    renew: int
    alarm: int


@dataclass(slots=True)
class Pursuit:
    """One fired exit until its position is closed."""

    reason: ExitReason
    trigger_price: Decimal | None
    trigger_at: int | None
    since: int
    """Steady time at which it fired; a harder reason does not set it back."""
    level: Decimal | None = None
    """The level that the trigger price reached."""
    goal: Decimal | None = None
    """Of rungs of a ladder: what all rungs are to have taken out when this has ended; None: the whole position."""
    intent: OrderIntent | None = None
    """What was sent last, to be sent again word for word."""
    ids: set[str] = field(default_factory=set)
    """All intents that went out for this attempt; more than one after long silence."""
    sent_at: int = NEVER
    quantity: Decimal = ZERO
    """Of the position, when it was sent."""
    answered: bool = False
    """The ledger has a row for `intent`."""
    ended: bool = False
    """... and that row is final."""
    filled: bool = False
    """... and something was filled."""
    code: Code | None = None
    silences: int = 0
    """How often the attempt was sent again because the ledger said nothing."""
    cancels: dict[str, int] = field(default_factory=dict)
    """Order id -> steady time at which its cancel was asked for."""
    look_at: int = NEVER
    """Steady time at which to ask for the next step, if nothing happens before."""

    def harden(
        self, reason: ExitReason, price: Decimal | None, at: int | None, level: Decimal | None = None
    ) -> None:
        """Go on for a harder *reason*, for all that is held; what was sent for the softer one no longer counts."""
        self.reason, self.trigger_price, self.trigger_at = reason, price, at
        self.level, self.goal = level, None
        self.forget_sent()

    def forget_sent(self) -> None:
        self.intent, self.sent_at, self.quantity = None, NEVER, ZERO
        self.answered = self.ended = self.filled = False
        self.code, self.silences = None, 0
        self.ids.clear()

    def sent(self, intent: OrderIntent, quantity: Decimal, now: int) -> None:
        """*intent*, a new attempt, goes out now, for a position of *quantity*."""
        self.forget_sent()
        self.intent, self.sent_at, self.quantity = intent, now, quantity
        self.ids.add(intent.id)

    @property
    def needs_fresh_id(self) -> bool:
        """Whether the next repetition should be a new intent.

        The ledger stays silent about an intent it has answered before (to a scanner that was then killed, perhaps).
        So at the 2nd, 4th, 8th … silence another id asks again. INV-5 keeps two of them from closing more than there is.
        """
        silences = self.silences + 1
        return silences >= 2 and silences & (silences - 1) == 0

    def repeated(self, intent: OrderIntent, now: int) -> None:
        """The attempt goes out once more, as *intent*."""
        self.intent, self.sent_at, self.silences = intent, now, self.silences + 1
        self.ids.add(intent.id)

    def hear(self, row: IntentRow) -> None:
        """What the ledger recorded for an intent; rows of other attempts are not for us."""
        if row.intent_id not in self.ids:
            return
        self.answered, self.ended = True, row.is_final
        self.filled = row.filled_quantity > 0
        self.code = row.code

    def catch_up(self, position: PositionRow, orders: Iterable[OrderRow]) -> None:
        """After a gap: an attempt that the ledger has counted in the meantime was answered, and ended if it is not live."""
        if self.intent is not None and position.exit_attempts >= self.intent.attempt:
            self.answered = True
            self.ended = not any(order.intent_id in self.ids for order in orders)


class Do(Enum):
    WAIT = "wait"
    SEND = "send"
    REPEAT = "repeat"
    CANCEL = "cancel"
    END = "end"  # what it was for has been done, and the position is still open: a rung of a ladder


@dataclass(frozen=True, slots=True)
class Step:
    """What to do; for WAIT, until when at the latest (steady ms); for CANCEL, which order."""

    do: Do
    until: int = NEVER
    order_id: str | None = None


def next_step(
    pursuit: Pursuit,
    position: PositionRow,
    orders: Iterable[OrderRow],
    pace: Pace,
    now: int,
    wall_ms: int,
    *,
    prices_flow: bool,
) -> Step:
    """See the module. *orders* are the live orders of the position's book; *prices_flow*: its symbol has fresh prices."""
    wanted = wanted_of(pursuit, position)
    if wanted <= 0:
        return Step(Do.END)
    retry_at = pursuit.sent_at + pace.retry
    if pursuit.intent is not None and not pursuit.answered:
        return Step(Do.REPEAT) if now >= retry_at else Step(Do.WAIT, retry_at)
    exits = [order for order in orders if order.role is Role.EXIT and order.is_live and not order.displaced]
    working = [order for order in exits if not displaces(pursuit.reason, order) and _counts(pursuit, order)]
    doubtful = [order for order in exits if _is_doubtful(pursuit.reason, order)]
    uncovered = sub(wanted, _remaining(working))
    if uncovered > 0:
        if pursuit.code is Code.EXIT_IN_FLIGHT and now >= pursuit.since + pace.renew:
            step = _renew(pursuit, exits, pace, now, wall_ms)
            if step.do is Do.CANCEL:
                return step
        at_once = _may_hurry(pursuit, position, exits) and uncovered > _remaining(doubtful)
        return Step(Do.SEND) if at_once or now >= retry_at else Step(Do.WAIT, retry_at)
    return _renew(pursuit, working, pace, now, wall_ms) if prices_flow else Step(Do.WAIT, now + pace.renew)


def wanted_of(pursuit: Pursuit, position: PositionRow) -> Decimal:
    """How much is still to be closed: all that is held, or what the rungs that fired still owe."""
    if pursuit.goal is None:
        return position.quantity
    return min(position.quantity, sub(pursuit.goal, position.laddered))


def _counts(pursuit: Pursuit, order: OrderRow) -> bool:
    """Whether *order* covers what is pursued: for rungs only the orders of rungs do."""
    return pursuit.goal is None or order.reason is ExitReason.TAKE_PROFIT


def _is_doubtful(reason: ExitReason, order: OrderRow) -> bool:
    """Displaced by a new attempt, but worth waiting for: as hard as *reason*, and nobody knows how it stands."""
    same = HARDNESS[order.reason or ExitReason.CLOSE] == HARDNESS[reason]
    return same and order.state is OrderState.UNKNOWN


def _remaining(orders: Iterable[OrderRow]) -> Decimal:
    total = ZERO
    for order in orders:
        total = add(total, order.remaining)
    return total


def _may_hurry(pursuit: Pursuit, position: PositionRow, exits: Iterable[OrderRow]) -> bool:
    """Whether uncovered quantity is news: not the same failure over again, and not dust that a live order left out.

    An attempt that ended unfilled while something else reduced the position is news, too: a softer exit that it had displaced
    filled all the same, so the attempt was for more than is held and the ledger took it back (INV-5).
    """
    intent = pursuit.intent
    if intent is None or position.quantity > pursuit.quantity:
        return True
    if not pursuit.ended:
        return False
    if pursuit.code is Code.POSITION_GONE:
        return intent.position_version != position.version
    if not pursuit.filled and position.quantity < pursuit.quantity:
        return True
    return pursuit.filled and not any(order.intent_id in pursuit.ids for order in exits)


def _renew(pursuit: Pursuit, orders: Iterable[OrderRow], pace: Pace, now: int, wall_ms: int) -> Step:
    """Cancel the first of *orders* that has stood still at the venue for too long."""
    until = now + pace.renew
    for order in orders:
        if order.state not in {OrderState.OPEN, OrderState.PARTIAL}:
            continue
        stuck_at = now + order.changed_at + pace.renew - wall_ms
        asked = pursuit.cancels.get(order.order_id)
        if asked is not None:
            stuck_at = max(stuck_at, asked + pace.renew)
        if now >= stuck_at:
            return Step(Do.CANCEL, order_id=order.order_id)
        until = min(until, stuck_at)
    return Step(Do.WAIT, until)


def close_intent(position: PositionRow, pursuit: Pursuit, at: int, salt: str = "") -> OrderIntent:
    """A market order for all that is not yet exiting, or for what rungs still owe. *at*: wall time, ms.

    Its id is a hash of what it says and of *salt*: two scanners that see the same send the same intent, and no id is
    ever used for two contents. It never expires.
    """
    attempt = position.exit_attempts + 1
    content = (
        position.position_id, str(position.version), pursuit.reason, str(attempt),
        str(pursuit.trigger_price), str(pursuit.trigger_at), salt,
    )  # fmt: skip
    part = None if pursuit.goal is None else wanted_of(pursuit, position)
    return OrderIntent(
        id="x-" + digest(*content),
        at=at,
        correlation_id=position.correlation_id or position.position_id,
        action=Action.CLOSE,
        symbol=position.symbol,
        account=position.account,
        exchange=position.exchange,
        type=OrderType.MARKET,
        quantity=None if part is None or part >= position.quantity else part,
        reduce_only=True,
        strategy=position.strategy,
        position_id=position.position_id,
        position_version=position.version,
        reason=pursuit.reason,
        attempt=attempt,
        trigger_price=pursuit.trigger_price,
        trigger_at=pursuit.trigger_at,
        trigger_level=pursuit.level,
        thresholds=thresholds_version(position),
    )


def cancel_intent(position: PositionRow, pursuit: Pursuit, order_id: str, at: int, salt: str) -> OrderIntent:
    """Take back an exit order that stands still and holds what has to be closed. *at*: wall time, ms."""
    return OrderIntent(
        id="x-" + digest("cancel", order_id, salt),
        at=at,
        correlation_id=position.correlation_id or position.position_id,
        action=Action.CANCEL,
        symbol=position.symbol,
        account=position.account,
        exchange=position.exchange,
        reduce_only=True,
        order_id=order_id,
        reason=pursuit.reason,
    )
