"""The exit scanner's handlers. What fires is decided in `domain.exits`, whom to ask in `domain.triggers`, what to send
and when in `domain.pursuit`; here they meet the ledger's view, the ticks and the clock.

Two tables are the whole state. `triggers` holds every open position. `pursuits` holds those whose exit has fired, until
they are closed; such a position stays in `triggers` with the rules that are harder than what has fired, so that a
stop-loss still gets past a take-profit in flight (INV-6). Both can be rebuilt from the view at any moment, and are.

No intent can count twice: its id is a hash of its content, and the ledger never lets exits sum to more than is held.
"""

import logging
from collections.abc import Iterable, Sequence
from typing import Any

from holdfast.contracts.codes import Code, ExitReason, Role
from holdfast.contracts.messages import LedgerUpdated, Tick
from holdfast.contracts.rows import PositionRow
from holdfast.contracts.streams import ORDER_INTENT_EXIT
from holdfast.contracts.wire import Entry, Out, Outgoing, entry_time_ms
from holdfast.domain.exits import HARDNESS, RULES, Decision, evaluate
from holdfast.domain.instruments import tick_of_book
from holdfast.domain.market import Markets, Quote
from holdfast.domain.pursuit import NEVER, Do, Pace, Pursuit, cancel_intent, close_intent, next_step
from holdfast.domain.triggers import NONE_FIRED, Triggers
from holdfast.domain.view import LedgerView
from holdfast.runtime.clock import Clock
from holdfast.runtime.ids import Ids
from holdfast.runtime.settings import ScannerSettings

log = logging.getLogger("holdfast.exit_scanner")

OWN_REASONS = frozenset(rule.reason for rule in RULES if rule.reason is not None)
"""An exit that the ledger has recorded for one of these, with a trigger, was fired here and is taken up again."""
LONGEST_BACKLOG_MS = 86_400_000
"""A tick is taken to be as old as its entry; one older than this says more about clocks than about prices."""
MOST_NAMED = 5
"""Ids and symbols named in one heartbeat line."""


class ExitScanner:
    """See the module. Handlers return what is to be published."""

    def __init__(self, settings: ScannerSettings, clock: Clock, ids: Ids, view: LedgerView) -> None:
        self._clock, self._ids, self._view = clock, ids, view
        self._pace = Pace(
            retry=_ms(settings.retry_after_s),
            renew=_ms(settings.market_after_s),
            alarm=_ms(settings.alarm_after_s),
        )
        self._max_tick_age_ms, self._log_every_ms = _ms(settings.max_tick_age_s), _ms(settings.log_every_s)
        self.markets = Markets(settings.bad_print_pct)
        self.triggers = Triggers()
        self.pursuits: dict[str, Pursuit] = {}
        """By position id."""
        self.armed_through: int | None = None
        """Ledger sequence through which positions are armed; None before the first snapshot."""
        self.unarmed: dict[str, str] = {}
        """Position id -> why its triggers could not be put in place."""
        self._awaited: dict[str, str] = {}
        """Intent id -> position id, for answers of the ledger."""
        self._logged_at, self._logged_count = NEVER, 0

    # -- handlers -----------------------------------------------------------------------------------------------------

    async def on_reset(self) -> list[Outgoing]:
        """A snapshot has replaced the view: arm everything, take up what had fired, look at everything once."""
        out: list[Outgoing] = []
        positions = self._view.positions
        for position_id in [key for key in self.pursuits if key not in positions]:
            self._forget(position_id)
        for position_id, pursuit in self.pursuits.items():
            pursuit.catch_up(positions[position_id], self._view.live_orders(positions[position_id].book_id))
        for position in positions.values():
            if position.exit_attempts and position.position_id not in self.pursuits:
                self._take_up(position)
        above = {position_id: HARDNESS[pursuit.reason] for position_id, pursuit in self.pursuits.items()}
        self.unarmed = self.triggers.arm_all(positions.values(), above)
        for position_id, why in self.unarmed.items():
            log.error("position %s cannot be armed: %s", position_id, why)
        for position_id in self._reached_now():
            self._look(position_id, None, out)
        for position_id in list(self.pursuits):
            self._drive(position_id, out)
        self.armed_through = self._view.seq
        self._log_count(changed=True)
        return out

    async def on_updates(self, updates: Sequence[LedgerUpdated]) -> list[Outgoing]:
        """Updates are in the view: arm what has changed, hear what became of our exits."""
        out: list[Outgoing] = []
        touched: dict[str, None] = {}
        for update in updates:
            for position in update.positions:
                touched[position.position_id] = None
            if self.pursuits:
                self._hear(update, touched)
        for position_id in touched:
            self._changed(position_id, out)
        self.armed_through = self._view.seq
        if len(self._view.positions) != self._logged_count:
            self._log_count(changed=True)
        return out

    async def on_ticks(self, entries: Sequence[Entry]) -> list[Outgoing]:
        """Every tick is looked at, in order: a level that was touched for one tick was touched."""
        out: list[Outgoing] = []
        wall, steady = self._clock.wall_ms(), self._clock.monotonic_ms()
        for entry in entries:
            tick = tick_of_book(entry.message) if isinstance(entry.message, Tick) else None
            if tick is None:
                continue
            behind = wall - entry_time_ms(entry.entry_id)
            seen = steady - behind if 0 < behind <= LONGEST_BACKLOG_MS else steady
            quote = self.markets.on_tick(tick, wall, seen)
            if quote is None:
                continue
            reached = self.triggers.on_price(tick.symbol, quote.bid, quote.ask)
            reached += self.triggers.due(tick.symbol, self.markets.now(tick.symbol, steady) or quote.at)
            for position_id in reached:
                self._look(position_id, quote, out)
        return out

    async def on_time(self) -> list[Outgoing]:
        """Deadlines of markets without ticks, retries, escalation, and a look at ourselves."""
        out: list[Outgoing] = []
        steady = self._clock.monotonic_ms()
        for position_id in self._missing() if len(self.triggers) != len(self._view.positions) else ():
            log.error("position %s was open and not armed; arming it now", position_id)
            self._changed(position_id, out)
        for symbol in self.triggers.symbols():
            now = self.markets.now(symbol, steady)
            for position_id in self.triggers.due(symbol, now) if now is not None else ():
                self._look(position_id, None, out)
        for position_id in [key for key, pursuit in self.pursuits.items() if steady >= pursuit.look_at]:
            self._drive(position_id, out)
        if steady - self._logged_at >= self._log_every_ms:
            self._log_count()
        return out

    def awaits(self, intent_id: str) -> bool:
        """Whether the answer to this intent is still of interest."""
        return intent_id in self._awaited

    def heartbeat(self) -> dict[str, Any]:
        """Its fields: what is armed, what is not, what is late."""
        steady = self._clock.monotonic_ms()
        unarmed = [*self.unarmed, *self._missing()]
        late = [key for key, one in self.pursuits.items() if steady - one.since > self._pace.alarm]
        alarm = f"exits fired more than {self._pace.alarm // 1000} s ago have not closed their positions: {_named(late)}"
        return {
            "seq": max(0, self._view.seq),
            "armed": None if self.armed_through is None else self._armed_count(),
            "armed_through": self.armed_through,
            "unarmed": unarmed[:1000],
            "unreadable": alarm if late else None,
            "warnings": self._late_prices(steady),
            "details": {
                "positions": str(len(self._view.positions)),
                "exiting": str(len(self.pursuits)),
                "bad_prints": str(self.markets.bad_prints),
            },
        }

    # -- positions ----------------------------------------------------------------------------------------------------

    def _hear(self, update: LedgerUpdated, touched: dict[str, None]) -> None:
        """Answers to our intents, and orders of positions that are being closed."""
        for row in update.intents:
            position_id = self._awaited.get(row.intent_id)
            if position_id is None:
                continue
            pursuit = self.pursuits[position_id]
            pursuit.hear(row)
            if pursuit.ended and not pursuit.filled:
                log.warning(
                    "exit of %s was not executed: %s %s %s", position_id, row.status, row.code, row.reason
                )
                if row.code is Code.POSITION_GONE and self._has_another_version(position_id, pursuit):
                    self._forget(position_id)  # its level may have moved: what fired counts no more
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

    def _changed(self, position_id: str, out: list[Outgoing]) -> None:
        """Bring triggers and pursuit in line with the position as it now is."""
        position = self._view.positions.get(position_id)
        if position is None:
            self._forget(position_id)
            return
        pursuit = self.pursuits.get(position_id)
        self._arm(position, NONE_FIRED if pursuit is None else HARDNESS[pursuit.reason])
        self._look(position_id, None, out)
        if pursuit is not None:
            self._drive(position_id, out)

    def _arm(self, position: PositionRow, above: int) -> None:
        try:
            self.triggers.arm(position, above)
        except ValueError as error:
            log.error("position %s cannot be armed: %s", position.position_id, error)  # noqa: TRY400 - the text says it
            self.unarmed[position.position_id] = str(error)
        else:
            self.unarmed.pop(position.position_id, None)

    def _forget(self, position_id: str) -> None:
        """The position is closed."""
        self.triggers.disarm(position_id)
        self.unarmed.pop(position_id, None)
        pursuit = self.pursuits.pop(position_id, None)
        for intent_id in pursuit.ids if pursuit is not None else ():
            self._awaited.pop(intent_id, None)

    def _take_up(self, position: PositionRow) -> None:
        """Go on with an exit that was fired before this process knew of it."""
        if (
            position.exit_reason not in OWN_REASONS
            or position.exit_reason is None
            or position.trigger_at is None
        ):
            return
        offset = self._clock.monotonic_ms() - self._clock.wall_ms()
        live = self._view.live_orders(position.book_id, Role.EXIT)
        reserved = [order.reserved_at + offset for order in live if order.reason is position.exit_reason]
        self.pursuits[position.position_id] = Pursuit(
            reason=position.exit_reason,
            trigger_price=position.trigger_price,
            trigger_at=position.trigger_at,
            since=min(reserved, default=self._clock.monotonic_ms()),
            sent_at=max(reserved, default=NEVER),
        )

    # -- firing -------------------------------------------------------------------------------------------------------

    def _reached_now(self) -> dict[str, None]:
        """Positions that the last known prices, times and rows concern."""
        steady = self._clock.monotonic_ms()
        reached = dict.fromkeys(self.triggers.at_once())
        for symbol in self.triggers.symbols():
            quote, now = self.markets.quote(symbol), self.markets.now(symbol, steady)
            if quote is not None:
                reached.update(dict.fromkeys(self.triggers.on_price(symbol, quote.bid, quote.ask)))
            if now is not None:
                reached.update(dict.fromkeys(self.triggers.due(symbol, now)))
        return reached

    def _look(self, position_id: str, quote: Quote | None, out: list[Outgoing]) -> None:
        """Ask the rules about one position: at *quote*, or at the last one that is not older than the position."""
        position = self._view.positions.get(position_id)
        if position is None:
            self._forget(position_id)
            return
        if quote is None:
            quote = self.markets.quote(position.symbol)
            if quote is not None and quote.at < position.opened_at:
                quote = None
        now = self.markets.now(position.symbol, self._clock.monotonic_ms())
        decision = evaluate(position, quote, now)
        if decision.fire is not None:
            self._fire(position, decision.fire, decision, out)

    def _fire(
        self, position: PositionRow, reason: ExitReason, decision: Decision, out: list[Outgoing]
    ) -> None:
        """Begin a pursuit, or harden the one there is; a softer reason changes nothing."""
        pursuit = self.pursuits.get(position.position_id)
        if pursuit is None:
            steady = self._clock.monotonic_ms()
            pursuit = self.pursuits[position.position_id] = Pursuit(
                reason, decision.price, decision.at, steady
            )
        elif HARDNESS[reason] > HARDNESS[pursuit.reason]:
            for intent_id in pursuit.ids:
                self._awaited.pop(intent_id, None)
            pursuit.harden(reason, decision.price, decision.at)
        else:
            return
        log.info(
            "%s of %s %s (%s) at %s",
            reason,
            position.symbol,
            position.side,
            position.position_id,
            decision.price,
        )
        self._arm(position, HARDNESS[reason])
        self._drive(position.position_id, out)

    def _drive(self, position_id: str, out: list[Outgoing]) -> None:
        """Do the next step of a pursuit."""
        pursuit, position = self.pursuits[position_id], self._view.positions.get(position_id)
        if position is None:
            self._forget(position_id)
            return
        steady, orders = self._clock.monotonic_ms(), self._view.live_orders(position.book_id)
        age = self.markets.age_ms(position.symbol, steady)
        flow = age is not None and age <= self._max_tick_age_ms
        step = next_step(
            pursuit, position, orders, self._pace, steady, self._clock.wall_ms(), prices_flow=flow
        )
        pursuit.look_at = step.until if step.do is Do.WAIT else steady + self._pace.retry
        if step.do is Do.SEND:
            salt = "" if pursuit.intent is None else self._ids.new()
            for intent_id in pursuit.ids:
                self._awaited.pop(intent_id, None)
            pursuit.sent(
                close_intent(position, pursuit, self._clock.wall_ms(), salt), position.quantity, steady
            )
        elif step.do is Do.REPEAT and pursuit.intent is not None:
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
            return
        if step.do is not Do.WAIT and pursuit.intent is not None:
            self._awaited[pursuit.intent.id] = position_id
            out.append(Out(ORDER_INTENT_EXIT, pursuit.intent))

    # -- what it says about itself --------------------------------------------------------------------------------------

    def _missing(self) -> list[str]:
        """Open positions that are in no table. There are none, unless we have a bug."""
        if self.armed_through is None:
            return []
        return [key for key in self._view.positions if key not in self.triggers and key not in self.unarmed]

    def _armed_count(self) -> int:
        return len(self.triggers) - sum(key in self.triggers for key in self.unarmed)

    def _late_prices(self, steady: int) -> list[str]:
        """One line per symbol that has positions and no fresh price."""
        lines = []
        for symbol in self.triggers.symbols():
            age = self.markets.age_ms(symbol, steady)
            if age is None:
                lines.append(f"{symbol}: no price yet; its exits wait for one")
            elif age > self._max_tick_age_ms:
                lines.append(f"{symbol}: the last price came {age // 1000} s ago")
        return lines[:99] + (
            [f"{len(lines) - 99} more symbols without a fresh price"] if len(lines) > 99 else []
        )

    def _log_count(self, *, changed: bool = False) -> None:
        """Every `log_every_s`, and when the count changed: at most once a second, but at once from none and to none."""
        steady, count = self._clock.monotonic_ms(), len(self._view.positions)
        soon = steady - self._logged_at < 1000 and count > 0 and self._logged_count > 0
        if changed and soon:
            return
        self._logged_at, self._logged_count = steady, count
        if self.armed_through is None:
            log.warning("exit evaluation: the ledger has not been read yet; nothing is armed")
        else:
            log.info("exit evaluation: %d positions, %d armed", count, self._armed_count())


def _ms(seconds: float) -> int:
    return round(seconds * 1000)


def _named(ids: Iterable[str]) -> str:
    listed = list(ids)
    more = f" and {len(listed) - MOST_NAMED} more" if len(listed) > MOST_NAMED else ""
    return ", ".join(listed[:MOST_NAMED]) + more
