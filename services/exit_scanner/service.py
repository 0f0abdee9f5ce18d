"""The exit scanner's handlers. What fires is decided in `domain.exits`, whom to ask in `domain.triggers`, what to send
and when in `domain.pursuit`; here they meet the ledger's view, the ticks and the clock.

Two tables are the whole state. `triggers` holds every open position. `pursuits` holds those whose exit has fired, until
they are closed; such a position stays in `triggers` with the rules that are harder than what has fired, so that a
stop-loss still gets past a take-profit in flight (INV-6). Both can be rebuilt from the view at any moment, and are.

No intent can count twice: its id is a hash of its content, and the ledger never lets exits sum to more than is held.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from holdfast.contracts.codes import Kind, StopBy
from holdfast.contracts.exit_messages import Prediction
from holdfast.contracts.messages import LedgerUpdated, Tick
from holdfast.contracts.rows import PositionRow
from holdfast.contracts.streams import EXIT_ADJUST
from holdfast.contracts.wire import Entry, Out, Outgoing, entry_time_ms
from holdfast.domain.conditions import Seen
from holdfast.domain.exits import RULES, Decision, evaluate
from holdfast.domain.instruments import canonical_or, tick_of_book
from holdfast.domain.market import Markets, Quote
from holdfast.domain.predictions import Predictions
from holdfast.domain.pursuit import Pace
from holdfast.domain.triggers import Triggers
from holdfast.domain.view import LedgerView
from holdfast.runtime.clock import Clock
from holdfast.runtime.ids import Ids
from holdfast.runtime.settings import ScannerSettings
from services.exit_scanner.chase import Chase
from services.exit_scanner.grace import Grace
from services.exit_scanner.report import CountLog, late_prices, named
from services.exit_scanner.stops import Stops
from services.exit_scanner.telling import Telling

log = logging.getLogger("holdfast.exit_scanner")

LONGEST_BACKLOG_MS = 86_400_000
"""A tick is taken to be as old as its entry; one older than this says more about clocks than about prices."""
_STOP_ALONE = tuple(rule for rule in RULES if rule.name == "stop_loss")


class ExitScanner:
    """See the module. Handlers return what is to be published."""

    def __init__(
        self,
        settings: ScannerSettings,
        clock: Clock,
        ids: Ids,
        view: LedgerView,
        *,
        patience: Mapping[tuple[str, Kind], int] = MappingProxyType({}),
    ) -> None:
        self._clock, self._ids, self._view = clock, ids, view
        self._pace = Pace(
            retry=_ms(settings.retry_after_s),
            renew=_ms(settings.market_after_s),
            alarm=_ms(settings.alarm_after_s),
        )
        self._max_tick_age_ms = _ms(settings.max_tick_age_s)
        self.markets = Markets(settings.bad_print_pct)
        self.triggers = Triggers()
        self.stops = Stops(view, self.triggers)
        self.predictions = Predictions()
        self.grace = Grace(view, patience)
        self.armed_through: int | None = None
        """Ledger sequence through which positions are armed; None before the first snapshot."""
        self.unarmed: dict[str, str] = {}
        """Position id -> why its triggers could not be put in place."""
        self.chase = Chase(view, self.markets, clock, ids, self._pace, self._max_tick_age_ms)
        self._count = CountLog(_ms(settings.log_every_s))
        self._telling = Telling(self._view, self.stops, self._seen, clock)

    # -- handlers -----------------------------------------------------------------------------------------------------

    async def on_reset(self) -> list[Outgoing]:
        """A snapshot has replaced the view: arm everything, take up what had fired, look at everything once."""
        out: list[Outgoing] = []
        positions = self._view.positions
        gone = [key for key in self.chase.pursuits if key not in positions]
        self.chase.catch_up()
        for position_id in gone:
            self._forget(position_id)
        self.stops.begin()
        rows = [self.stops.heard(position) for position in positions.values()]
        above = {position_id: self.chase.above(position_id) for position_id in self.chase.pursuits}
        seen = {symbol: self._seen(symbol) for symbol in {row.symbol for row in rows}}
        self.unarmed = self.triggers.arm_all((self.chase.pursued(row) for row in rows), above, seen)
        for position_id, why in self.unarmed.items():
            log.error("position %s cannot be armed: %s", position_id, why)
        for row in rows:
            self._catch_up(row, out)
        for position_id in self._reached_now():
            self._look(position_id, None, out)
        for position_id in list(self.chase.pursuits):
            self._drive(position_id, out)
        self.armed_through = self._view.seq
        self._say_count(changed=True)
        return out

    async def on_updates(self, updates: Sequence[LedgerUpdated]) -> list[Outgoing]:
        """Updates are in the view: arm what has changed, hear what became of our exits."""
        out: list[Outgoing] = []
        touched: dict[str, None] = {}
        for update in updates:
            for position in update.positions:
                touched[position.position_id] = None
                if position.version == 1:
                    self.predictions.opened(position.symbol, position.side.value, position.recorded_at)
            if self.chase.pursuits:
                self.chase.hear(update, touched)
        for position_id in touched:
            self._changed(position_id, out)
        self.armed_through = self._view.seq
        if len(self._view.positions) != self._count.count:
            self._say_count(changed=True)
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
            for position_id in self.stops.count(tick.symbol, quote):
                self._changed(position_id, out)
            reached = self.triggers.on_price(tick.symbol, quote)
            reached += self.triggers.due(tick.symbol, self.markets.now(tick.symbol, steady) or quote.at)
            for position_id in dict.fromkeys(reached):
                self._look(position_id, quote, out)
        return out

    async def on_predictions(self, entries: Sequence[Entry]) -> list[Outgoing]:
        """Those that count are asked about at once; the others are counted, and said once each."""
        out: list[Outgoing] = []
        wall, touched = self._clock.wall_ms(), dict[str, None]()
        for entry in entries:
            if not isinstance(entry.message, Prediction):
                continue
            symbol = canonical_or(entry.message.symbol)
            code = self.predictions.hear(entry.message, symbol, wall)
            if code is not None:
                log.info("prediction %s of %s is not used: %s", entry.message.id, entry.message.model, code)
            touched[symbol] = None
        for symbol in touched:
            self._ask_of_views(symbol, out)
        return out

    def _ask_of_views(self, symbol: str, out: list[Outgoing]) -> None:
        views = self.predictions.current(symbol, self._clock.wall_ms())
        for position_id in dict.fromkeys(self.triggers.on_predictions(symbol, views)):
            self._look(position_id, None, out)

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
        for symbol in dict.fromkeys(self.predictions.expire(self._clock.wall_ms())):
            self._ask_of_views(symbol, out)
        for position_id, decision in self.grace.waiting():
            row = self.stops.row(position_id)
            if row is None:
                self.grace.forget(position_id)
            else:
                self._fire(row, decision, out)
        for position_id in [key for key, one in self.chase.pursuits.items() if steady >= one.look_at]:
            self._drive(position_id, out)
        out += [Out(EXIT_ADJUST, said) for said in self.stops.turn(steady, self._clock.wall_ms())]
        out += self._telling.turn(steady)
        self._say_count()
        return out

    def awaits(self, intent_id: str) -> bool:
        """Whether the answer to this intent is still of interest."""
        return intent_id in self.chase.awaited

    def heartbeat(self) -> dict[str, Any]:
        """Its fields: what is armed, what is not, what is late."""
        steady = self._clock.monotonic_ms()
        unarmed = [*self.unarmed, *self._missing()]
        late = [key for key, one in self.chase.pursuits.items() if steady - one.since > self._pace.alarm]
        alarm = f"exits fired more than {self._pace.alarm // 1000} s ago have not closed their positions: {named(late)}"
        return {
            "seq": max(0, self._view.seq),
            "armed": None if self.armed_through is None else self._armed_count(),
            "armed_through": self.armed_through,
            "unarmed": unarmed[:1000],
            "unreadable": alarm if late else None,
            "warnings": late_prices(self.triggers.symbols(), self.markets, steady, self._max_tick_age_ms),
            "details": {
                "positions": str(len(self._view.positions)),
                "exiting": str(len(self.chase.pursuits)),
                "bad_prints": str(self.markets.bad_prints),
            },
        }

    # -- positions ----------------------------------------------------------------------------------------------------

    def _changed(self, position_id: str, out: list[Outgoing]) -> None:
        """Bring triggers and pursuit in line with the position as it now is."""
        position = self._view.positions.get(position_id)
        if position is None:
            self._forget(position_id)
            return
        row = self.stops.heard(position)
        known = position_id in self.triggers
        self._arm(row)
        if not known:
            self._catch_up(row, out)
        self._look(position_id, None, out)
        if position_id in self.chase.pursuits:
            self._drive(position_id, out)

    def _catch_up(self, position: PositionRow, out: list[Outgoing]) -> None:
        """Count for its stop what came between its mark and now; a stop that was reached on the way has fired."""
        for moved, quote in self.stops.catch_up(position):
            decision = evaluate(moved, quote, quote.at, rules=_STOP_ALONE)
            if decision.fire is not None and moved.stop_by is not StopBy.SET:
                self._fire(moved, decision, out)
                return
        row = self.stops.row(position.position_id)
        if row is not None and row is not position:
            self._arm(row)

    def _seen(self, symbol: str, quote: Quote | None = None) -> Seen:
        """What is known of *symbol* now."""
        now = self.markets.now(symbol, self._clock.monotonic_ms())
        views = self.predictions.current(symbol, self._clock.wall_ms())
        return Seen(quote or self.markets.quote(symbol), now, views)

    def _arm(self, position: PositionRow, quote: Quote | None = None) -> None:
        above = self.chase.above(position.position_id)
        try:
            self.triggers.arm(self.chase.pursued(position), above, self._seen(position.symbol, quote))
        except ValueError as error:
            log.error("position %s cannot be armed: %s", position.position_id, error)  # noqa: TRY400 - the text says it
            self.unarmed[position.position_id] = str(error)
        else:
            self.unarmed.pop(position.position_id, None)

    def _forget(self, position_id: str) -> None:
        """The position is closed."""
        self.triggers.disarm(position_id)
        self.stops.forget(position_id)
        self.grace.forget(position_id)
        self.unarmed.pop(position_id, None)
        self.chase.drop(position_id)

    # -- firing -------------------------------------------------------------------------------------------------------

    def _reached_now(self) -> dict[str, None]:
        """Positions that the last known prices, times and rows concern."""
        steady = self._clock.monotonic_ms()
        reached = dict.fromkeys(self.triggers.at_once())
        for symbol in self.triggers.symbols():
            quote, now = self.markets.quote(symbol), self.markets.now(symbol, steady)
            if quote is not None:
                reached.update(dict.fromkeys(self.triggers.on_price(symbol, quote)))
            if now is not None:
                reached.update(dict.fromkeys(self.triggers.due(symbol, now)))
        return reached

    def _look(self, position_id: str, quote: Quote | None, out: list[Outgoing]) -> None:
        """Ask the rules about one position: at *quote*, or at the last one that is not older than the position."""
        position = self.stops.row(position_id)
        if position is None:
            self._forget(position_id)
            return
        seen = self._seen(position.symbol, quote)
        if seen.quote is not None and seen.quote.at < position.opened_at:
            seen = replace(seen, quote=None)
        if seen.quote is not None:
            position = self.stops.advanced(position, seen.quote)
        decision = evaluate(self.chase.pursued(position), seen.quote, seen.now_ms, seen.predictions)
        if decision.fire is not None:
            self._fire(position, decision, out)
        elif decision.held is not None:
            self._telling.held(position_id, decision.held)
        self._arm(position, seen.quote)

    def _fire(self, position: PositionRow, decision: Decision, out: list[Outgoing]) -> None:
        """Begin a pursuit, or harden the one there is; a softer reason changes nothing."""
        if self.grace.holds(position, decision, self._clock.monotonic_ms()):
            return
        self.grace.forget(position.position_id)
        if not self.chase.begin(position, decision):
            return
        log.info(
            "%s of %s %s (%s) at %s",
            decision.fire,
            position.symbol,
            position.side,
            position.position_id,
            decision.price,
        )
        said = self.stops.owed(position.position_id, self._clock.wall_ms())
        if said is not None:
            out.append(Out(EXIT_ADJUST, said))  # before the exit that relies on it
        self._telling.fired(position, decision)
        self._arm(position)
        self._drive(position.position_id, out)

    def _drive(self, position_id: str, out: list[Outgoing]) -> None:
        """Do the next step of a pursuit; when a rung is done, all rules are armed again."""
        if position_id not in self._view.positions:
            self._forget(position_id)
        elif self.chase.drive(position_id, out):
            self._look(position_id, None, out)

    # -- what it says about itself --------------------------------------------------------------------------------------

    def _missing(self) -> list[str]:
        """Open positions that are in no table. There are none, unless we have a bug."""
        if self.armed_through is None:
            return []
        return [key for key in self._view.positions if key not in self.triggers and key not in self.unarmed]

    def _armed_count(self) -> int:
        return len(self.triggers) - sum(key in self.triggers for key in self.unarmed)

    def _say_count(self, *, changed: bool = False) -> None:
        armed = None if self.armed_through is None else self._armed_count()
        self._count.say(self._clock.monotonic_ms(), len(self._view.positions), armed, changed=changed)


def _ms(seconds: float) -> int:
    return round(seconds * 1000)
