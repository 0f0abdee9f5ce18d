"""`exit.evaluated`: every rule of a position as it stands. Told when an exit fires, when a veto begins to hold one back, and of every
open position in turn: at most `MOST_AT_ONCE` in each look, four looks a second, whatever happens. What there is no room for is not
kept: the next turn tells it.
"""

from collections import deque
from collections.abc import Callable

from holdfast.contracts.exit_messages import ExitEvaluated
from holdfast.contracts.rows import PositionRow
from holdfast.contracts.streams import EXIT_EVALUATED
from holdfast.contracts.wire import Out, Outgoing
from holdfast.domain.conditions import Seen
from holdfast.domain.exits import Decision, Held
from holdfast.domain.explaining import evaluated
from holdfast.domain.view import LedgerView
from holdfast.runtime.clock import Clock
from services.exit_scanner.stops import Stops

MOST_AT_ONCE = 5
EVERY_MS = 5_000
"""Of one position, unless something happens to it."""


class Telling:
    """See the module."""

    def __init__(self, view: LedgerView, stops: Stops, seen: Callable[[str], Seen], clock: Clock) -> None:
        self._view, self._stops, self._seen, self._clock = view, stops, seen, clock
        self._news: deque[str] = deque(maxlen=100)
        self._held: dict[str, tuple[str, str]] = {}
        self._round: list[str] = []
        self._round_at = -EVERY_MS

    def fired(self, position: PositionRow, decision: Decision) -> None:
        """An exit of *position* has fired."""
        self._held.pop(position.position_id, None)
        if decision.fire is not None:
            self._news.append(position.position_id)

    def held(self, position_id: str, held: Held) -> None:
        """A veto holds an exit back; said when it begins, or another takes its place."""
        if self._held.get(position_id) != (held.rule, held.veto):
            self._held[position_id] = (held.rule, held.veto)
            self._news.append(position_id)

    def turn(self, steady_ms: int) -> list[Outgoing]:
        """What is to be told now: news first, then those whose turn it is."""
        out: list[Outgoing] = []
        if not self._round and steady_ms - self._round_at >= EVERY_MS:
            self._round, self._round_at = list(self._view.positions), steady_ms
            self._held = {key: what for key, what in self._held.items() if key in self._view.positions}
        while len(out) < MOST_AT_ONCE and (self._news or self._round):
            position_id = self._news.popleft() if self._news else self._round.pop()
            position = self._stops.row(position_id)
            if position is not None:
                out.append(Out(EXIT_EVALUATED, self._told(position)))
        return out

    def _told(self, position: PositionRow) -> ExitEvaluated:
        return evaluated(
            position, self._seen(position.symbol), self._stops.atr(position.symbol), self._clock.wall_ms()
        )
