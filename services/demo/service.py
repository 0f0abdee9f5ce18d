"""A small moving-average signal that trades: above, it wants to be long; below, short, or flat where it cannot be short.

Its manners are the point, for whoever writes a strategy after it:

- one intent at a time: nothing is sent while an own intent is unanswered, or while orders of the book are on their way;
- stop-and-reverse in two steps: a close, its answer, the ledger's word that nothing is held, then the opening;
- an intent's id is a hash of the tick that caused it: sending it again, or living through the same tick twice, is the
  same intent, which the ledger answers and does not do twice. So an intent without an answer is simply sent again;
- an opening expires after 5 s, and a new life first waits that long: whatever an earlier life wished for has been
  answered by then, and is seen in the ledger, or it will never happen;
- a refusal ends the wish; the next crossing makes a new one.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from holdfast.contracts.codes import Action, Leg, PositionSide, ResultStatus, Role, Side
from holdfast.contracts.messages import IntentResult, LedgerUpdated, OrderIntent, Tick
from holdfast.contracts.rows import BookRow, PositionRow, book_id
from holdfast.contracts.streams import ORDER_INTENT
from holdfast.contracts.wire import Entry, Out, Outgoing, digest
from holdfast.domain.instruments import canonical, tick_of_book
from holdfast.domain.view import LedgerView
from holdfast.runtime.clock import Clock
from holdfast.runtime.settings import Settings
from services.demo.signal import Averages, Cross, Sampler

log = logging.getLogger("holdfast.demo")

EXCHANGE = "paper"
ENTRY_LIFETIME_MS = 5000
"""An opening expires this long after it was made, wall ms; a new life waits as long before its first wish."""
REPEAT_AFTER_MS = 5000
"""An intent without an answer is sent again after this, wall ms."""
SETTLE_MS = 1000
"""An answer that came before the ledger's rows waits for them at most this long, wall ms."""
REPLAY_SAMPLE_MS = 180_000
_ORDER_SIDE = {PositionSide.LONG: Side.BUY, PositionSide.SHORT: Side.SELL}


@dataclass(slots=True)
class Wish:
    """What the last crossing asks for; None is flat."""

    side: PositionSide | None
    tick_id: str
    has_closed: bool = False


@dataclass(slots=True)
class Pending:
    """An intent that was sent and whose end is not in the view yet. Times are monotonic ms."""

    intent: OrderIntent
    sent_ms: int
    told_ms: int | None = None


class Demo:
    """See the module. *view* is kept equal to the ledger by whoever wires this."""

    def __init__(self, settings: Settings, view: LedgerView, clock: Clock) -> None:
        self._settings, self._view, self._clock = settings.demo, view, clock
        self._account, self._symbol = settings.demo.account, canonical(settings.demo.symbol)
        self._can_short = ":" in settings.demo.symbol
        self._books = [book_id(self._account, EXCHANGE, self._symbol, leg) for leg in Leg]
        self._quiet_until = clock.monotonic_ms() + ENTRY_LIFETIME_MS
        self._averages, self._sampler = self._fresh(live=True)
        self._run, self._reached = "", 0
        self._wish: Wish | None = None
        self._pending: Pending | None = None

    def _fresh(self, *, live: bool) -> tuple[Averages, Sampler]:
        every_ms = int(self._settings.sample_s * 1000) or (0 if live else REPLAY_SAMPLE_MS)
        return Averages(self._settings.fast, self._settings.slow), Sampler(every_ms)

    # -- what comes in ------------------------------------------------------------------------------------------------

    async def on_ticks(self, batch: Sequence[Entry]) -> list[Outgoing]:
        """Prices moved."""
        for entry in batch:
            tick = tick_of_book(entry.message) if isinstance(entry.message, Tick) else None
            if tick is not None and tick.symbol == self._symbol:
                self._take(tick)
        return self._act()

    async def on_results(self, batch: Sequence[Entry]) -> list[Outgoing]:
        """Answers. One that is an end still waits for the ledger's rows, which another stream brings."""
        for entry in batch:
            if isinstance(entry.message, IntentResult) and self._ends(
                entry.message.intent_id, entry.message.status
            ):
                self._pending.told_ms = self._clock.monotonic_ms()  # type: ignore[union-attr]  # `_ends` looked
        return self._act()

    async def on_updates(self, updates: Sequence[LedgerUpdated]) -> list[Outgoing]:
        """The ledger moved, and the view with it: an end that stands in an update is an end whose rows are in."""
        for update in updates:
            for row in update.intents:
                if self._ends(row.intent_id, row.status):
                    self._pending = None
        return self._act()

    async def on_reset(self) -> list[Outgoing]:
        """The view was loaded from a snapshot: an end that was told is in it."""
        if self._pending is not None and self._pending.told_ms is not None:
            self._pending = None
        return self._act()

    async def on_timer(self) -> list[Outgoing]:
        """Send again what has no answer."""
        pending, now = self._pending, self._clock.monotonic_ms()
        if pending is not None and pending.told_ms is None and now - pending.sent_ms >= REPEAT_AFTER_MS:
            pending.sent_ms = now
            log.info("demo: no answer to %s yet, sending the same again", pending.intent.id)
            return [Out(ORDER_INTENT, pending.intent)]
        return self._act()

    # -- the signal ---------------------------------------------------------------------------------------------------

    def _take(self, tick: Tick) -> None:
        if tick.run != self._run:
            self._run, self._reached, self._wish = tick.run, 0, None
            self._averages, self._sampler = self._fresh(live=tick.live)
        if tick.at < self._reached or tick.last <= 0:
            return
        self._reached = tick.at
        if not self._sampler.takes(tick.at):
            return
        cross = self._averages.add(tick.last)
        if cross is not None:
            below = PositionSide.SHORT if self._can_short else None
            self._wish = Wish(PositionSide.LONG if cross is Cross.ABOVE else below, tick.id)

    # -- the manners --------------------------------------------------------------------------------------------------

    def _ends(self, intent_id: str, status: ResultStatus) -> bool:
        """Whether this is the end of the pending intent; anything but a fill ends the wish with it."""
        if self._pending is None or intent_id != self._pending.intent.id:
            return False
        if status in (ResultStatus.ACCEPTED, ResultStatus.UNKNOWN):
            return False
        if status is not ResultStatus.FILLED:
            log.info("demo: %s: %s", intent_id, status.value)
            if self._wish is not None and self._wish.tick_id == self._pending.intent.cause_id:
                self._wish = None
        return True

    def _act(self) -> list[Outgoing]:
        """The next step towards the wish, if one may be taken now."""
        wish = self._wish
        if wish is None or self._must_wait():
            return []
        held = self._held()
        if held is not None and held.side is not wish.side and not wish.has_closed:
            wish.has_closed = True
            return self._send(wish, self._closing(wish, held))
        self._wish = None
        if held is None and wish.side is not None:
            return self._send(wish, self._opening(wish, wish.side))
        return []

    def _must_wait(self) -> bool:
        now = self._clock.monotonic_ms()
        pending = self._pending
        if pending is not None and pending.told_ms is not None and now - pending.told_ms >= SETTLE_MS:
            self._pending = pending = None
        if pending is not None or now < self._quiet_until or not self._view.is_loaded:
            return True
        rows = [self._view.books.get(book) for book in self._books]
        return any(row is not None and self._is_moving(row) for row in rows)

    def _is_moving(self, book: BookRow) -> bool:
        """An exit, or an entry, of this book is on its way: what is held is about to change."""
        return book.exiting is not None or bool(self._view.live_orders(book.book_id, Role.ENTRY))

    def _held(self) -> PositionRow | None:
        return next((row for book in self._books if (row := self._view.position(book)) is not None), None)

    def _opening(self, wish: Wish, side: PositionSide) -> OrderIntent:
        now = self._clock.wall_ms()
        return OrderIntent(
            id=self._id(wish, Action.OPEN),
            cause_id=wish.tick_id,
            at=now,
            expires_at=now + ENTRY_LIFETIME_MS,
            symbol=self._settings.symbol,
            side=_ORDER_SIDE[side],
            quantity=self._settings.quantity,
            take_profit=self._settings.take_profit,
            stop_loss=self._settings.stop_loss,
            ttl_s=self._settings.ttl_s or None,
            strategy="demo",
            account=self._account,
            exchange=EXCHANGE,
        )

    def _closing(self, wish: Wish, held: PositionRow) -> OrderIntent:
        return OrderIntent(
            id=self._id(wish, Action.CLOSE),
            cause_id=wish.tick_id,
            at=self._clock.wall_ms(),
            action=Action.CLOSE,
            symbol=self._settings.symbol,
            position_id=held.position_id,
            strategy="demo",
            account=self._account,
            exchange=EXCHANGE,
        )

    def _id(self, wish: Wish, action: Action) -> str:
        return "demo-" + digest(wish.tick_id, action.value)

    def _send(self, wish: Wish, intent: OrderIntent) -> list[Outgoing]:
        self._pending = Pending(intent, self._clock.monotonic_ms())
        what = f"{intent.side.value} {intent.quantity}" if intent.side else intent.action.value
        log.info("demo: %s %s after tick %s", what, self._symbol, wish.tick_id)
        return [Out(ORDER_INTENT, intent)]

    def heartbeat(self) -> dict[str, Any]:
        """Fields for the heartbeat."""
        state = "ready" if self._averages.are_full else "its averages are filling"
        waits = self._pending.intent.id if self._pending else "nothing"
        return {
            "seq": max(0, self._view.seq),
            "details": {"symbol": self._symbol, "state": state, "waits_for": waits},
        }
