"""Wiring of the state publisher."""

from holdfast.bus.app import ServiceApp
from holdfast.bus.seams import Seams
from holdfast.contracts import streams
from holdfast.domain.view import LedgerView
from holdfast.runtime.faults import EXIT_HELD, EXIT_UNAVAILABLE, Terminal
from holdfast.runtime.locks import AlreadyHeld
from holdfast.runtime.settings import Settings
from holdfast.state import StateFiles
from services.state_publisher.service import Options, StatePublisher

LOOK_EVERY_S = 0.1
"""How often it is asked whether files are due: the least distance between two writes."""
TICKS_BACK, BEATS_BACK, BLOCKED_BACK, TRADES_BACK = 2_000, 200, 20, 1_000
"""How many entries of each view are read again at start."""


def build(settings: Settings, seams: Seams | None = None) -> ServiceApp:
    """The state publisher, ready to run. It takes the lock of the state directory when it starts."""
    app = ServiceApp(streams.STATE_PUBLISHER, settings, seams)
    view, files = LedgerView(), StateFiles(settings.state_directory(), app.clock, app.seams.hold)
    publisher = StatePublisher(view, files, app.clock, Options.of(settings))

    async def take() -> None:
        try:
            files.take(streams.STATE_PUBLISHER)
        except AlreadyHeld as error:
            raise Terminal(str(error), EXIT_HELD) from error
        except OSError as error:
            raise Terminal(
                f"the state directory {files.directory} cannot be used: {error}", EXIT_UNAVAILABLE
            ) from error

    async def release() -> None:
        await publisher.close()
        files.release()

    app.on_start(take)
    app.ledger(view, on_reset=publisher.on_reset, on_updates=publisher.on_updates)
    app.follow(streams.MARKET_TICK, publisher.on_ticks, last=TICKS_BACK)
    app.follow(streams.HEARTBEAT, publisher.on_heartbeats, last=BEATS_BACK)
    app.follow(streams.ORDER_BLOCKED, publisher.on_blocked, last=BLOCKED_BACK)
    app.follow(streams.LEDGER_TRADE, publisher.on_trades, last=TRADES_BACK)
    app.presence(publisher.on_presence)
    app.every(LOOK_EVERY_S, publisher.on_time)
    app.heartbeat(publisher.beat)
    app.on_stop(release)
    return app
