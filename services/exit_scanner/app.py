"""Wiring of exit_scanner."""

import gc

from holdfast.bus.app import ServiceApp
from holdfast.bus.seams import Seams
from holdfast.contracts.codes import Role
from holdfast.contracts.streams import EXIT_SCANNER, MARKET_TICK, PREDICTION
from holdfast.contracts.trusted import Tables
from holdfast.contracts.wire import Outgoing
from holdfast.domain.view import LedgerView
from holdfast.runtime.settings import Settings
from services.exit_scanner.service import ExitScanner

HISTORY = 20_000
"""Ticks read back at start: all that the bus keeps. So positions are judged at once, a first bad print has something to differ
from, and a stop that trails counts what it has missed."""
PREDICTIONS = 1_000
"""Predictions read back at start; those that have expired are not used."""
LOOK_EVERY_S = 0.25
"""How often deadlines, retries and escalations are looked at without a tick."""


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
    scanner = ExitScanner(settings.scanner, app.clock, app.ids, view)

    async def reset() -> list[Outgoing]:
        out = await scanner.on_reset()
        gc.freeze()  # 100,000 rows that stay: walking through them all would hold up a stop for half a second
        return out

    app.follow(MARKET_TICK, scanner.on_ticks, last=HISTORY)
    app.follow(PREDICTION, scanner.on_predictions, last=PREDICTIONS)
    app.ledger(view, on_reset=reset, on_updates=scanner.on_updates)
    app.every(LOOK_EVERY_S, scanner.on_time)
    app.heartbeat(scanner.heartbeat)
    return app
