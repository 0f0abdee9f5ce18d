"""Wiring of hooks: the HTTP side, and the way onto the bus."""

import asyncio
import logging
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from holdfast.bus.app import Publish, ServiceApp
from holdfast.bus.seams import Seams
from holdfast.contracts.streams import HOOKS, ORDER_INTENT
from holdfast.contracts.wire import Out
from holdfast.domain.hooks import MOST_BYTES
from holdfast.runtime.faults import EXIT_CONFIG, EXIT_UNAVAILABLE, Terminal, Transient
from holdfast.runtime.hook_secrets import hook_secret
from holdfast.runtime.secret_files import SecretRefused
from holdfast.runtime.settings import Settings
from services.hooks.service import Hooks

log = logging.getLogger("holdfast.hooks")
MOST_CONNECTIONS = 50
SLOWEST_S = 5.0
"""How long a delivery may take to come in, and then to get onto the bus."""


class _Server(uvicorn.Server):
    """Leaves signals to the service: it ends when that does."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def build(settings: Settings, seams: Seams | None = None) -> ServiceApp:
    """The service, ready to run. Raises Terminal without a hook, or without a secret that can be used."""
    if not settings.hooks:
        raise Terminal("no hook is configured; write [hooks.NAME] into holdfast.toml", EXIT_CONFIG)
    app = ServiceApp(HOOKS, settings, seams)
    try:
        secrets = {name: hook_secret(settings, name) for name in settings.hooks}
    except SecretRefused as error:
        raise Terminal(str(error), EXIT_CONFIG) from error
    hooks = Hooks(settings.hooks, secrets, app.clock, settings.hook_door.most_wrong_per_minute)
    app.heartbeat(hooks.beat)
    servers: list[_Server] = []

    async def serve(publish: Publish) -> None:
        door = settings.hook_door
        servers.append(_server(make_web(hooks, publish), door.host, door.port))
        log.info("listening on http://%s:%d/hooks/", door.host, door.port)
        try:
            await servers[0].serve()
        except SystemExit as error:  # how uvicorn ends where it cannot listen
            raise Terminal(
                f"{door.host}:{door.port} (hook_door) cannot be listened on", EXIT_UNAVAILABLE
            ) from error

    async def stop() -> None:
        for server in servers:
            if server.started:
                await server.shutdown()

    app.background(serve)
    app.on_stop(stop)
    return app


def _server(web: Starlette, host: str, port: int) -> _Server:
    return _Server(
        uvicorn.Config(
            web, host=host, port=port, log_config=None, access_log=False, server_header=False, proxy_headers=False, lifespan="off",
            limit_concurrency=MOST_CONNECTIONS, timeout_keep_alive=5, timeout_graceful_shutdown=2, ws="none",
        )
    )  # fmt: skip


def make_web(hooks: Hooks, publish: Publish) -> Starlette:
    """The routes: POST /hooks/NAME, and GET /health for whoever watches the proxy before it."""

    async def deliver(request: Request) -> Response:
        try:
            body = await asyncio.wait_for(_body(request), SLOWEST_S)
        except (TimeoutError, ClientDisconnect):
            return JSONResponse({"detail": "too slow"}, 408)
        answer = hooks.deliver(request.path_params["name"], body)
        if answer.intent is None:
            return JSONResponse({"detail": answer.text}, answer.status)
        try:
            await asyncio.wait_for(publish([Out(ORDER_INTENT, answer.intent)]), SLOWEST_S)
        except (Transient, TimeoutError):
            return JSONResponse({"detail": "the bus cannot be used now; deliver it again"}, 503)
        return JSONResponse({"intent_id": answer.intent.id}, answer.status)

    async def health(_: Request) -> Response:
        return JSONResponse({"status": "listening"})

    return Starlette(
        routes=[Route("/hooks/{name}", deliver, methods=["POST"]), Route("/health", health, methods=["GET"])]
    )


async def _body(request: Request) -> bytes:
    """At most one byte more than is allowed; what is said of the length beforehand is not believed, nor is it read further."""
    found = b""
    async for part in request.stream():
        found += part
        if len(found) > MOST_BYTES:
            break
    return found
