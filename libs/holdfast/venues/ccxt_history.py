"""Trades that were read before: a spot position is the sum of its trades, and they need not be read from its beginning every minute.

What is kept never decides alone: the latest `OVERLAP_MS` are read again each time, and everything at least each `ANEW_MS`, so that
a read that had said too little is made good.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from holdfast.venues.ccxt_rows import unique

Row = Mapping[str, Any]
OVERLAP_MS = 900_000
"""How late a trade may come to light."""
ANEW_MS = 3_600_000


@dataclass(slots=True)
class _Read:
    since: int
    until: int
    begun: int
    """When it was last read as a whole."""
    rows: list[Row] = field(default_factory=list)


class History:
    """By symbol; all times wall ms."""

    def __init__(self) -> None:
        self._read: dict[str, _Read] = {}

    def start(self, symbols: Sequence[str], since: int) -> tuple[int, bool]:
        """From when on to read so that everything since *since* is known; and whether that is all of it anew."""
        known = [self._read.get(symbol) for symbol in symbols]
        if any(one is None or since < one.since or one.until - one.begun > ANEW_MS for one in known):
            return since, True
        return max(since, min((one.until for one in known if one), default=since) - OVERLAP_MS), False

    def take(
        self, rows: Mapping[str, Sequence[Row]], since: int, now: int, *, anew: bool
    ) -> dict[str, list[Row]]:
        """*rows* are what was read; all that is known since *since*."""
        found: dict[str, list[Row]] = {}
        for symbol, news in rows.items():
            if anew:
                self._read[symbol] = _Read(since, now, now)
            read = self._read[symbol]
            read.rows, read.until = unique([*read.rows, *news]), now
            found[symbol] = [row for row in read.rows if (row.get("timestamp") or 0) >= since]
        return found

    def clear(self) -> None:
        """Everything is read anew."""
        self._read.clear()
