"""What the scanner says about itself: a line in the log now and then, warnings about prices in its heartbeat."""

import logging
from collections.abc import Iterable

from holdfast.domain.market import Markets
from holdfast.domain.pursuit import NEVER

log = logging.getLogger("holdfast.exit_scanner")

MOST_NAMED = 5
"""Ids and symbols named in one heartbeat line."""


def named(ids: Iterable[str]) -> str:
    listed = list(ids)
    more = f" and {len(listed) - MOST_NAMED} more" if len(listed) > MOST_NAMED else ""
    return ", ".join(listed[:MOST_NAMED]) + more


def late_prices(symbols: Iterable[str], markets: Markets, steady: int, max_age_ms: int) -> list[str]:
    """One line per symbol that has positions and no fresh price."""
    lines = []
    for symbol in symbols:
        age = markets.age_ms(symbol, steady)
        if age is None:
            lines.append(f"{symbol}: no price yet; its exits wait for one")
        elif age > max_age_ms:
            lines.append(f"{symbol}: the last price came {age // 1000} s ago")
    return lines[:99] + ([f"{len(lines) - 99} more symbols without a fresh price"] if len(lines) > 99 else [])


class CountLog:
    """`exit evaluation: N positions, M armed`: now and then, and when the count has changed."""

    def __init__(self, every_ms: int) -> None:
        self._every_ms = every_ms
        self._at, self.count = NEVER, 0

    def say(self, steady: int, count: int, armed: int | None, *, changed: bool = False) -> None:
        """Every so often; when the count changed, at most once a second, but at once from none and to none."""
        if changed:
            if steady - self._at < 1000 and count > 0 and self.count > 0:
                return
        elif steady - self._at < self._every_ms:
            return
        self._at, self.count = steady, count
        if armed is None:
            log.warning("exit evaluation: the ledger has not been read yet; nothing is armed")
        else:
            log.info("exit evaluation: %d positions, %d armed", count, armed)
