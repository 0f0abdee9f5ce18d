"""Exits that have fired, until their positions are closed: what goes out for each, and what the ledger says about it.

The steps are decided in `domain.pursuit`; here they meet the view, the clock and the ids. No intent can count twice: its id is a hash of
its content, and the ledger never lets exits sum to more than is held.
"""

import logging

from holdfast.contracts.codes import Code, ExitReason, Role
from holdfast.contracts.messages import LedgerUpdated
from holdfast.contracts.money import ZERO, add
from holdfast.contracts.rows import PositionRow
from holdfast.contracts.streams import ORDER_INTENT_EXIT
from holdfast.contracts.wire import Out, Outgoing
from holdfast.domain.exits import HARDNESS, RULES, STOPS, Decision
from holdfast.domain.ladder import is_ladder, next_price
from holdfast.domain.market import Markets
from holdfast.domain.pursuit import NEVER, Do, Pace, Pursuit, cancel_intent, close_intent, next_step
from holdfast.domain.view import LedgerView
from holdfast.domain.watching import NONE_FIRED
from holdfast.runtime.clock import Clock
from holdfast.runtime.ids import Ids

log = logging.getLogger("holdfast.exit_scanner")

OWN_REASONS = frozenset({rule.reason for rule in RULES if rule.reason is not None} | set(STOPS.values()))
"""An exit that the ledger has recorded for one of these, with a trigger, was fired here and is taken up again."""


class Chase:
    """See the module."""

    def __init__(
        self, view: LedgerView, markets: Markets, clock: Clock, ids: Ids, pace: Pace, max_tick_age_ms: int
    ) -> None:
        self._view, self._markets, self._clock, self._ids = view, markets, clock, ids
        self._pace, self._max_tick_age_ms = pace, max_tick_age_ms
        self.pursuits: dict[str, Pursuit] = {}
        """By position id."""
        self.awaited: dict[str, str] = {}
        """Intent id -> position id, for answers of the ledger."""

    def above(self, position_id: str) -> int:
        """Which rules stay armed beside what has fired: the harder ones; beside a rung the next rung, too."""
        pursuit = self.pursuits.get(position_id)
        return NONE_FIRED if pursuit is None else HARDNESS[pursuit.reason] - (pursuit.goal is not None)

    def pursued(self, position: PositionRow) -> PositionRow:
        """The position as it will be when the rungs that have fired are done: the next rung is what to wait for."""
        pursuit = self.pursuits.get(position.position_id)
        if pursuit is None or pursuit.goal is None or pursuit.goal <= position.laddered:
            return position
        done = position.evolve(laddered=pursuit.goal)
        return done.evolve(take_profit=next_price(done))

    def begin(self, position: PositionRow, decision: Decision) -> bool:
        """Begin a pursuit, or harden the one there is, or add a rung to it; a softer reason changes nothing (False)."""
        reason, pursuit = decision.fire, self.pursuits.get(position.position_id)
        if reason is None:
            return False
        goal = None if decision.quantity is None else add(self.pursued(position).laddered, decision.quantity)
        if pursuit is None:
            self.pursuits[position.position_id] = Pursuit(
                reason, decision.price, decision.at, self._clock.monotonic_ms(), decision.level, goal
            )
        elif HARDNESS[reason] > HARDNESS[pursuit.reason]:
            self._unawait(pursuit)
            pursuit.harden(reason, decision.price, decision.at, decision.level)
        elif reason is pursuit.reason and pursuit.goal is not None and (goal is None or goal > pursuit.goal):
            self._unawait(pursuit)
            pursuit.forget_sent()  # another rung, at once, beside the order of the one before
            pursuit.goal, pursuit.trigger_price, pursuit.level = goal, decision.price, decision.level
        else:
            return False
        return True

    def drop(self, position_id: str) -> None:
        """Nothing is pursued for this position any more."""
        pursuit = self.pursuits.pop(position_id, None)
        if pursuit is not None:
            self._unawait(pursuit)

    def _unawait(self, pursuit: Pursuit) -> None:
        for intent_id in pursuit.ids:
            self.awaited.pop(intent_id, None)

    def catch_up(self) -> None:
        """A snapshot has come: pursuits of positions that are gone end, the others learn how they stand."""
        for position_id in list(self.pursuits):
            position = self._view.positions.get(position_id)
            if position is None:
                self.drop(position_id)
            else:
                self.pursuits[position_id].catch_up(position, self._view.live_orders(position.book_id))
        for position in self._view.positions.values():
            if position.exit_attempts and position.position_id not in self.pursuits:
                self.take_up(position)

    def take_up(self, position: PositionRow) -> None:
        """Go on with an exit that was fired before this process knew of it."""
        if (
            position.exit_reason not in OWN_REASONS
            or position.exit_reason is None
            or position.trigger_at is None
        ):
            return
        offset = self._clock.monotonic_ms() - self._clock.wall_ms()
        live = self._view.live_orders(position.book_id, Role.EXIT)
        goal = None
        if position.exit_reason is ExitReason.TAKE_PROFIT and is_ladder(position.take_profit_spec):
            rungs = [order.remaining for order in live if order.reason is ExitReason.TAKE_PROFIT]
            if not rungs:
                return  # a rung that was done, or came to nothing: its rule will say
            goal = add(position.laddered, sum(rungs, ZERO))
        reserved = [order.reserved_at + offset for order in live if order.reason is position.exit_reason]
        self.pursuits[position.position_id] = Pursuit(
            reason=position.exit_reason,
            trigger_price=position.trigger_price,
            trigger_at=position.trigger_at,
            since=min(reserved, default=self._clock.monotonic_ms()),
            sent_at=max(reserved, default=NEVER),
            level=position.trigger_level,
            goal=goal,
        )

    def hear(self, update: LedgerUpdated, touched: dict[str, None]) -> None:
        """Answers to our intents, and orders of positions that are being closed."""
        for row in update.intents:
            position_id = self.awaited.get(row.intent_id)
            if position_id is None:
                continue
            pursuit = self.pursuits[position_id]
            pursuit.hear(row)
            if pursuit.ended and not pursuit.filled:
                log.warning(
                    "exit of %s was not executed: %s %s %s", position_id, row.status, row.code, row.reason
                )
                if row.code is Code.POSITION_GONE and self._has_another_version(position_id, pursuit):
                    self.drop(position_id)  # its level may have moved: what fired counts no more
            touched[position_id] = None
        for order in update.orders:
            if order.position_id in self.pursuits:
                touched[order.position_id] = None

    def _has_another_version(self, position_id: str, pursuit: Pursuit) -> bool:
        """Whether the position has changed since the pursuit's last intent was made for it."""
        position = self._view.positions.get(position_id)
        return (
            position is not None
            and pursuit.intent is not None
            and pursuit.intent.position_version != position.version
        )

    def drive(self, position_id: str, out: list[Outgoing]) -> bool:
        """Do the next step of a pursuit. True when it has ended and the position goes on: a rung of a ladder was done."""
        pursuit, position = self.pursuits[position_id], self._view.positions.get(position_id)
        if position is None:
            self.drop(position_id)
            return False
        steady, orders = self._clock.monotonic_ms(), self._view.live_orders(position.book_id)
        age = self._markets.age_ms(position.symbol, steady)
        flow = age is not None and age <= self._max_tick_age_ms
        step = next_step(
            pursuit, position, orders, self._pace, steady, self._clock.wall_ms(), prices_flow=flow
        )
        if step.do is Do.END:
            self.drop(position_id)
            return True
        pursuit.look_at = step.until if step.do is Do.WAIT else steady + self._pace.retry
        if step.do is Do.SEND:
            salt = "" if pursuit.intent is None else self._ids.new()
            for intent_id in pursuit.ids:
                self.awaited.pop(intent_id, None)
            pursuit.sent(
                close_intent(position, pursuit, self._clock.wall_ms(), salt), position.quantity, steady
            )
        elif step.do is Do.REPEAT and pursuit.intent is not None:
            if (
                pursuit.silences & (pursuit.silences + 1) == 0
            ):  # one that waits on spot may stay unanswered for long
                log.warning("exit of %s: no answer from the ledger; sent again", position_id)
            again = pursuit.intent
            if pursuit.needs_fresh_id:
                again = close_intent(position, pursuit, self._clock.wall_ms(), self._ids.new())
            pursuit.repeated(again, steady)
        elif step.do is Do.CANCEL and step.order_id is not None:
            pursuit.cancels[step.order_id] = steady
            pursuit.look_at = steady
            log.warning("exit order %s of %s stands still; asking for its cancel", step.order_id, position_id)
            asked = cancel_intent(position, pursuit, step.order_id, self._clock.wall_ms(), self._ids.new())
            out.append(Out(ORDER_INTENT_EXIT, asked))
            return False
        if step.do is not Do.WAIT and pursuit.intent is not None:
            self.awaited[pursuit.intent.id] = position_id
            out.append(Out(ORDER_INTENT_EXIT, pursuit.intent))
        return False
