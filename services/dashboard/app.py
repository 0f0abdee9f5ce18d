"""Wiring of the dashboard: what it follows, and the web server beside it."""

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn

from holdfast.bus.app import Publish, ServiceApp
from holdfast.bus.client import Client
from holdfast.bus.seams import Seams
from holdfast.contracts import streams
from holdfast.contracts.codes import UpdateKind
from holdfast.contracts.messages import LedgerUpdated
from holdfast.domain.view import LedgerView
from holdfast.runtime.bounded_log import BoundedLog
from holdfast.runtime.faults import EXIT_CONFIG, EXIT_UNAVAILABLE, Terminal
from holdfast.runtime.front_door import Tokens, choose_port
from holdfast.runtime.settings import Settings
from services.dashboard.actions import Desk
from services.dashboard.auth import Door
from services.dashboard.events import Hub
from services.dashboard.screen import screen_of
from services.dashboard.service import Options, Watcher
from services.dashboard.stories import Teller
from services.dashboard.web import House, make_web

log = logging.getLogger("holdfast.dashboard")

TICKS_BACK, BEATS_BACK, BLOCKED_BACK, TRADES_BACK, DEAD_BACK, MODELS_BACK = 2_000, 200, 500, 1_000, 500, 500
EVALUATIONS_BACK, ALERTS_BACK = 2_000, 2_000
"""How many entries of each view are read again at start."""
UPDATES_BACK = 20_000
"""How many updates are looked through at start for changes of the trading state."""
LOOK_EVERY_S = 1.0
MOST_CONNECTIONS = 200


class _Server(uvicorn.Server):
    """Leaves signals to the service: it ends when that does."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def build(settings: Settings, seams: Seams | None = None) -> ServiceApp:
    """The dashboard, ready to run."""
    app = ServiceApp(streams.DASHBOARD, settings, seams)
    view = LedgerView()
    watcher = Watcher(view, app.clock, Options.of(settings))
    hub = Hub(
        lambda: screen_of(watcher, watcher.picture()),
        app.clock,
        settings.dashboard.refresh_ms,
        settings.dashboard.max_clients,
    )
    app.ledger(view, on_reset=watcher.on_reset, on_updates=watcher.on_updates)
    app.follow(streams.MARKET_TICK, watcher.on_ticks, last=TICKS_BACK)
    app.follow(streams.HEARTBEAT, watcher.on_heartbeats, last=BEATS_BACK)
    app.follow(streams.ORDER_BLOCKED, watcher.on_blocked, last=BLOCKED_BACK)
    app.follow(streams.LEDGER_TRADE, watcher.on_trades, last=TRADES_BACK)
    app.follow(streams.DEAD_LETTER, watcher.on_dead_letters, last=DEAD_BACK)
    app.follow(streams.ALERT, watcher.on_alerts, last=ALERTS_BACK)
    app.follow(streams.PREDICTION, watcher.on_predictions, last=MODELS_BACK)
    app.follow(streams.EXIT_EVALUATED, watcher.on_evaluated, last=EVALUATIONS_BACK)
    app.presence(watcher.on_presence)
    app.every(LOOK_EVERY_S, watcher.on_time)
    app.heartbeat(watcher.beat)

    servers: list[_Server] = []

    async def serve(_: Publish) -> None:
        client = Client(app.client, settings, app.clock, app.ids, app.publisher)
        await _remember_controls(client, watcher)
        servers.append(_server(app, client, settings, watcher, hub))
        await servers[0].serve()

    async def beats(_: Publish) -> None:
        await hub.run()

    async def stop() -> None:
        await hub.stop()
        for server in servers:
            if server.started:
                await server.shutdown()

    app.background(serve)
    app.background(beats)
    app.on_stop(stop)
    return app


def _server(app: ServiceApp, client: Client, settings: Settings, watcher: Watcher, hub: Hub) -> _Server:
    """The web server, ready to serve. Raises Terminal where the port or the tokens cannot be used."""
    folder, options = settings.dir / "dashboard", settings.dashboard
    try:
        port = choose_port(folder, options.host, options.port)
        tokens = Tokens(folder)
        for role, token in tokens.first().items():
            print(f"dashboard: the {role} token, shown only now: {token}", file=sys.stderr, flush=True)  # noqa: T201 - not into a log
    except ValueError as error:
        raise Terminal(str(error), EXIT_CONFIG if options.port else EXIT_UNAVAILABLE) from error
    desk = Desk(client, watcher, settings, BoundedLog(folder / "audit.log"))
    house = House(settings, watcher, hub, Door(tokens, options, app.clock), desk, Teller(client))
    log.info("listening on http://%s:%d/", options.host, port)
    return _Server(
        uvicorn.Config(
            make_web(house), host=options.host, port=port, log_config=None, access_log=False, server_header=False, proxy_headers=False,
            lifespan="off", limit_concurrency=MOST_CONNECTIONS, timeout_keep_alive=10, timeout_graceful_shutdown=2, ws="none",
        )
    )  # fmt: skip


async def _remember_controls(client: Client, watcher: Watcher) -> None:
    """Changes of the trading state that the bus still knows, for the charts."""
    looked = 0
    async for entry in client.backwards(streams.LEDGER_UPDATED):
        looked += 1
        if looked > UPDATES_BACK:
            return
        if entry.kind == UpdateKind.CONTROL and isinstance(entry.message, LedgerUpdated):
            watcher.note_control(entry.message)
