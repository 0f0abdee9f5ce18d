"""Wiring of exit_scanner."""

import asyncio
import gc
import logging
from collections.abc import Sequence

from holdfast.bus.app import ServiceApp
from holdfast.bus.seams import Seams
from holdfast.contracts.codes import Role
from holdfast.contracts.streams import EXIT_SCANNER, MARKET_TICK, PREDICTION
from holdfast.contracts.trusted import Tables
from holdfast.contracts.wire import Entry, Outgoing
from holdfast.domain.view import LedgerView
from holdfast.runtime.live_settings import patience_of
from holdfast.runtime.settings import Settings
from services.exit_scanner.service import ExitScanner

log = logging.getLogger("holdfast.exit_scanner")

HISTORY = 20_000
"""Ticks read back at start: all that the bus keeps. So positions are judged at once, a first bad print has something to differ
from, and a stop that trails counts what it has missed."""
PREDICTIONS = 1_000
"""Predictions read back at start; those that have expired are not used."""
LOOK_BACK_S = 10.0
"""How long arming waits at most for the ticks that are read back. To a position that is armed already they would be news."""
LOOK_EVERY_S = 0.25
"""How often deadlines, retries and escalations are looked at without a tick."""


class _Past:
    """The ticks that were on the bus at the start: positions are armed when all of them have been counted."""

    def __init__(self) -> None:
        self._until, self._told = (0, 0), asyncio.Event()

    def reaches(self, entry_id: str | None) -> None:
        """Its last entry; None: there is none."""
        if entry_id is None:
            self._told.set()
        else:
            self._until = _place(entry_id)

    def heard(self, entry_id: str) -> None:
        if _place(entry_id) >= self._until:
            self._told.set()

    async def is_told(self) -> None:
        """Wait for its end, but not for ever: exits that are armed late are better than exits that are not."""
        try:
            await asyncio.wait_for(self._told.wait(), LOOK_BACK_S)
        except TimeoutError:
            log.warning(
                "the ticks of the past have not all come within %.0f s; arming without them", LOOK_BACK_S
            )
            self._told.set()


def _place(entry_id: str) -> tuple[int, int]:
    ms, _, number = entry_id.partition("-")
    return int(ms), int(number or 0)


def build(settings: Settings, seams: Seams | None = None) -> ServiceApp:
    """The service, ready to run.

    It reads every kind of update: any may carry a position or an exit order, and one left out would leave it bare. Of
    intents it needs the answers to its own, of orders the exits.
    """
    app = ServiceApp(EXIT_SCANNER, settings, seams)
    view = LedgerView(
        Tables(
            "positions",
            orders=lambda row: row["role"] != Role.ENTRY,
            intents=lambda row: scanner.awaits(row["intent_id"]),
        )
    )
    scanner = ExitScanner(settings.scanner, app.clock, app.ids, view, patience=patience_of(settings))

    past = _Past()

    async def look_back() -> None:
        newest = await app.newest(MARKET_TICK)
        past.reaches(newest[0] if newest else None)

    async def ticks(entries: Sequence[Entry]) -> list[Outgoing]:
        out = await scanner.on_ticks(entries)
        past.heard(entries[-1].entry_id)
        return out

    async def reset() -> list[Outgoing]:
        await past.is_told()
        out = await scanner.on_reset()
        gc.freeze()  # 100,000 rows that stay: walking through them all would hold up a stop for half a second
        return out

    app.on_start(look_back)
    app.follow(MARKET_TICK, ticks, last=HISTORY)
    app.follow(PREDICTION, scanner.on_predictions, last=PREDICTIONS)
    app.ledger(view, on_reset=reset, on_updates=scanner.on_updates)
    app.every(LOOK_EVERY_S, scanner.on_time)
    app.heartbeat(scanner.heartbeat)
    return app
