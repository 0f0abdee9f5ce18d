"""The outcomes that the ledger keeps, as the learner holds them: asked for page by page at start, then as they come.

What the learner has published itself it owes until the ledger has told that it is kept.
"""

import logging
from collections.abc import Iterator

from holdfast.contracts.messages import SnapshotRequest, Trade
from holdfast.contracts.outcomes import KeptOutcome, TradeOutcome
from holdfast.contracts.streams import LEARNER, SNAPSHOT_REQUEST, TRADE_OUTCOME
from holdfast.contracts.wire import Out, Outgoing
from holdfast.runtime.ids import Ids

ASK_AGAIN_MS = 5_000
SEND_AGAIN_MS = 10_000
"""... the first time; each further time takes so much longer."""
MOST_TIMES = 6
"""A ledger that was restored from a backup may never have heard of the trade."""
MOST_OWED = 2_000

log = logging.getLogger("holdfast.learner")


class History:
    """See the module. `kept` is by position id, at most *most* of them."""

    def __init__(self, most: int, ids: Ids) -> None:
        self._most, self._ids = most, ids
        self.kept: dict[str, TradeOutcome] = {}
        self.owed: dict[str, tuple[TradeOutcome, int, int]] = {}
        """Position id -> what we published, the steady time of that, ms, and how often."""
        self.is_loaded = False
        self.news = 0
        """Outcomes that came in since it was last set to 0."""
        self._asked, self._asked_ms, self._skip = "", 0, 0

    def begin(self) -> None:
        """Forget everything, and ask anew: at start, and when the ledger has another store."""
        self.kept.clear()
        self.owed.clear()
        self.is_loaded, self._asked, self._skip = False, "", 0

    def hear(self, message: KeptOutcome) -> None:
        """News, or a part of an answer: also of one that somebody else has asked for."""
        outcome = message.outcome
        if outcome is not None:
            self.owed.pop(outcome.position_id, None)
            if outcome.position_id not in self.kept:
                self.kept[outcome.position_id] = outcome
                self.news += 1
                self._trim()
        if message.cause_id == self._asked and message.number >= message.last:
            self.is_loaded = message.outcome is None or message.last >= message.of
            self._skip, self._asked = message.last, ""

    def _trim(self) -> None:
        while len(self.kept) > self._most:
            oldest = min(self.kept.values(), key=lambda one: (one.closed_at, one.position_id))
            del self.kept[oldest.position_id]

    def is_known(self, position_id: str) -> bool:
        """Whether there is an outcome of that position, recorded or on its way."""
        return position_id in self.kept or position_id in self.owed

    def is_settled(self, trade: Trade) -> bool:
        """Whether nothing need be said of *trade*: its outcome is known, or it is so old that the ledger would have dropped it."""
        is_full = len(self.kept) >= self._most
        return self.is_known(trade.position_id) or (
            is_full and trade.at <= min(one.at for one in self.kept.values())
        )

    def owe(self, outcome: TradeOutcome, steady_ms: int) -> Out:
        """*outcome*, to be published, and again until it is kept."""
        if len(self.owed) >= MOST_OWED:
            del self.owed[next(iter(self.owed))]
        self.owed[outcome.position_id] = (outcome, steady_ms, 1)
        return Out(TRADE_OUTCOME, outcome)

    def turn(self, wall_ms: int, steady_ms: int) -> Iterator[Outgoing]:
        """The next question, and what was published in vain."""
        if not self.is_loaded and (not self._asked or steady_ms - self._asked_ms >= ASK_AGAIN_MS):
            self._asked, self._asked_ms = self._ids.new(), steady_ms
            why = "what was learned from closed trades"
            request = SnapshotRequest(
                id=self._asked, at=wall_ms, by=LEARNER, why=why, of="outcomes", skip=self._skip
            )
            yield Out(SNAPSHOT_REQUEST, request)
        for position_id, (outcome, since, times) in list(self.owed.items()):
            if steady_ms - since < SEND_AGAIN_MS * times:
                continue
            if times >= MOST_TIMES:
                log.warning("the ledger does not keep the outcome of %s: given up", position_id)
                del self.owed[position_id]
                continue
            self.owed[position_id] = (outcome, steady_ms, times + 1)
            yield Out(TRADE_OUTCOME, outcome)
