"""Where the venue comes first (`protect = "venue"`): a stop-loss that has fired waits while a stop that rests there may do it.

It waits for so many seconds and no longer, and not at all where no stop is proven to rest: what has fired stays fired. Every
other exit, and every account that is not protected this way, passes at once.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from holdfast.contracts.codes import Kind, Role
from holdfast.contracts.rows import PositionRow
from holdfast.domain.exits import STOPS, Decision
from holdfast.domain.protecting import resting
from holdfast.domain.view import LedgerView

_STOPS = frozenset(STOPS.values())


@dataclass(frozen=True, slots=True)
class _Waiting:
    decision: Decision
    until: int


class Grace:
    """See the module. *patience*: account and kind -> ms; times are steady ms."""

    def __init__(self, view: LedgerView, patience: Mapping[tuple[str, Kind], int]) -> None:
        self._view, self._patience = view, patience
        self._waiting: dict[str, _Waiting] = {}

    def holds(self, position: PositionRow, decision: Decision, steady: int) -> bool:
        """Whether *decision* is to wait now. The first one that waits is the one that counts."""
        patience = self._patience.get((position.account, position.kind))
        if patience is None or decision.fire not in _STOPS:
            return False
        stops = self._view.live_orders(position.book_id, Role.PROTECT)
        if resting(stops, position) is None:
            return False
        known = self._waiting.setdefault(position.position_id, _Waiting(decision, steady + patience))
        return steady < known.until

    def waiting(self) -> list[tuple[str, Decision]]:
        """Positions whose stop-loss waits, and how it was decided."""
        return [(position_id, one.decision) for position_id, one in self._waiting.items()]

    def forget(self, position_id: str) -> None:
        """It has fired, or its position is closed."""
        self._waiting.pop(position_id, None)
