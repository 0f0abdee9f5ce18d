"""Which orders a venue is asked about, and when next: soon after they were sent, later less often, no more once they have ended."""

from dataclasses import dataclass

from holdfast.contracts.codes import OrderState
from holdfast.contracts.rows import OrderRow

PAUSES_MS = (100, 200, 400, 800, 1_500, 3_000, 5_000)
MOST_AT_ONCE = 10
_AT_THE_VENUE = frozenset({OrderState.OPEN, OrderState.PARTIAL, OrderState.CANCELING})


@dataclass(slots=True)
class _Turn:
    due: int
    times: int = 0


class Watch:
    """Times are monotonic ms. `rows`: the latest of every order that the ledger shows live, or that was just sent."""

    def __init__(self) -> None:
        self.rows: dict[str, OrderRow] = {}
        self._turns: dict[str, _Turn] = {}

    def take(self, row: OrderRow, now: int) -> None:
        """An order as the ledger shows it."""
        if not row.is_live:
            self.rows.pop(row.order_id, None)
            self._turns.pop(row.order_id, None)
            return
        before = self.rows.get(row.order_id)
        self.rows[row.order_id] = row
        if row.state in _AT_THE_VENUE and (before is None or before.state is not row.state):
            self.soon(row.order_id, now)

    def clear(self) -> None:
        self.rows.clear()
        self._turns.clear()

    def sent(self, row: OrderRow) -> None:
        self.rows.setdefault(row.order_id, row)

    def soon(self, order_id: str, now: int) -> None:
        """It was accepted, canceled, or has moved: ask at once, and then often for a while."""
        if order_id in self.rows:
            self._turns[order_id] = _Turn(now)

    def due(self, now: int) -> list[OrderRow]:
        """Those whose turn has come, the longest overdue first; each gets its next turn."""
        waiting = sorted((turn.due, key) for key, turn in self._turns.items() if turn.due <= now)
        rows = []
        for _, key in waiting[:MOST_AT_ONCE]:
            turn = self._turns[key]
            turn.due = now + PAUSES_MS[min(turn.times, len(PAUSES_MS) - 1)]
            turn.times += 1
            rows.append(self.rows[key])
        return rows
