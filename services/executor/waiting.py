"""What came for an account that cannot say anything yet: right after a start, and at a UTC midnight. It stays pending on the bus meanwhile.

Exits wait for as long as it takes, entries for `PATIENCE_MS`, and then they are refused; a cancel never waits.
"""

from collections.abc import Mapping, Sequence

from holdfast.contracts.codes import Action
from holdfast.contracts.messages import OrderIntent
from holdfast.contracts.wire import Entry
from services.executor.guard import Key
from services.executor.live_limits import LiveLimits

PATIENCE_MS = 5_000
"""Monotonic ms. An entry's own expiry counts as ever."""


class WaitingRoom:
    """See the module. *closed*: accounts whose exchange has not answered since the start."""

    def __init__(self, closed: Mapping[Key, str], live: LiveLimits) -> None:
        self._closed, self._live = closed, live
        self._entries: list[tuple[Entry, int]] = []

    def must_wait(self, intent: OrderIntent, since: int, now: int) -> bool:
        """Whether *intent*, which came at *since* (monotonic ms), is to wait."""
        closed = (intent.account, intent.exchange) in self._closed
        if intent.reduces or intent.action is Action.CANCEL:
            return closed and intent.reduces
        return (closed or self._live.is_unread(intent.account)) and now - since < PATIENCE_MS

    def enter(self, entry: Entry, since: int) -> None:
        self._entries.append((entry, since))

    def leave(self) -> Sequence[tuple[Entry, int]]:
        """All of them, in the order in which they came; who must wait on comes back."""
        entries, self._entries = self._entries, []
        return entries
