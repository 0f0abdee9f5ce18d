"""The HTTP side: pages, the API, `/events`, `/health`, `/metrics`. It asks the watcher, the desk and the teller; it decides nothing.

Files are served by name from a list made at start; a path is never joined. `auth.Guard` stands before all of it.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import parse_qs

import orjson
from fastapi import APIRouter, FastAPI, Query, Request
from fastapi import Path as InPath
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from jinja2 import Environment, PackageLoader, StrictUndefined

from holdfast import __version__
from holdfast.contracts.money import canonical
from holdfast.contracts.streams import DASHBOARD
from holdfast.runtime.bounded_log import tail
from holdfast.runtime.settings import Settings
from services.dashboard import actions, api, pages
from services.dashboard.auth import COOKIE, Door, Guard, Throttled, who_of
from services.dashboard.events import EventStream, Hub
from services.dashboard.metrics import exposition
from services.dashboard.screen import screen_of
from services.dashboard.service import Watcher
from services.dashboard.stories import Teller

TYPES = {
    ".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml", ".txt": "text/plain; charset=utf-8",
    ".webmanifest": "application/manifest+json",
}  # fmt: skip
PROBLEM: dict[str, Any] = {
    "content": {
        "application/json": {"schema": {"type": "object", "properties": {"detail": {"type": "string"}}}}
    }
}
READING: dict[int | str, Any] = {
    401: {"description": "A login is needed.", **PROBLEM},
    421: {"description": "The Host is not on the list.", **PROBLEM},
}
OUTCOMES: dict[int | str, Any] = {
    403: {"description": "Not this page, or not the role.", **PROBLEM}, 409: {"description": "Refused.", "model": actions.Outcome},
    413: {"description": "Too large.", **PROBLEM}, 429: {"description": "Too many wrong tokens.", **PROBLEM},
    503: {"description": "Busy; try again.", "model": actions.Outcome}, 504: {"description": "No answer in time.", "model": actions.Outcome},
    **READING,
}  # fmt: skip
LOG_LINES = 300
PositionId = Annotated[str, InPath(min_length=1, max_length=128, pattern=r"^[\x21-\x7e]+$")]


class Plain(JSONResponse):
    """JSON in which an amount is a text of plain digits, as on the bus."""

    def render(self, content: Any) -> bytes:
        return orjson.dumps(content, default=_digits, option=orjson.OPT_NON_STR_KEYS)


def _digits(value: Any) -> str:
    if isinstance(value, Decimal):
        return canonical(value)
    raise TypeError(f"{type(value).__name__} has no place in an answer")


def _templates() -> Environment:
    return Environment(
        loader=PackageLoader("services.dashboard"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


@dataclass(slots=True)
class House:
    """Everything the routes use."""

    settings: Settings
    watcher: Watcher
    hub: Hub
    door: Door
    desk: actions.Desk
    teller: Teller
    templates: Environment = field(default_factory=_templates)

    def page(self, request: Request, name: str, status: int = 200, /, **values: Any) -> HTMLResponse:
        """The template *name*, with who asks and what every page shows."""
        who = who_of(request.scope)
        screen = screen_of(self.watcher, self.watcher.picture())
        text = self.templates.get_template(name).render(
            who=who,
            cells=screen.cells,
            lists=screen.lists,
            version=__version__,
            path=request.url.path,
            **values,
        )
        return HTMLResponse(text, status)

    @property
    def log_path(self) -> Path:
        return self.settings.dir / "log" / "up.log"


def static_files() -> Mapping[str, tuple[bytes, str]]:
    """Every file under static, by its name there: `app.js`, `vendor/uPlot.min.js`."""
    root = files("services.dashboard") / "static"
    found: dict[str, tuple[bytes, str]] = {}
    for folder, prefix in ((root, ""), (root / "vendor", "vendor/")):
        for item in folder.iterdir():
            kind = TYPES.get(Path(item.name).suffix)
            if item.is_file() and kind is not None:
                found[prefix + item.name] = (item.read_bytes(), kind)
    return found


def make_web(house: House) -> Callable[..., Any]:
    """The ASGI application."""
    app = FastAPI(
        title="Holdfast", version=__version__, docs_url=None, redoc_url=None, openapi_url="/api/openapi.json",
        summary="Reads what the bus shows; writes become messages on the bus, and the answer is the ledger's.",
    )  # fmt: skip
    app.include_router(_machine_routes(house))
    app.include_router(_read_routes(house))
    app.include_router(_write_routes(house))
    app.include_router(_page_routes(house), include_in_schema=False)
    app.include_router(_login_routes(house), include_in_schema=False)
    return Guard(app, house.door, open_metrics=house.settings.dashboard.open_metrics)


def _machine_routes(house: House) -> APIRouter:
    router, served = APIRouter(), static_files()

    @router.get(
        "/health",
        response_model=dict[str, str],
        responses={503: {"description": "It does not get on, and why."}, **READING},
    )
    async def health() -> Response:
        """200 while the ledger is followed and this service's own heartbeats come back to it over the bus."""
        trouble = house.watcher.trouble(DASHBOARD)
        return Plain({"status": trouble or "in progress"}, 503 if trouble else 200)

    @router.get(
        "/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}, **READING}
    )
    async def metrics() -> Response:
        """For Prometheus; every series is in docs/metrics.md."""
        return Response(
            exposition(house.watcher, house.hub), media_type="text/plain; version=0.0.4; charset=utf-8"
        )

    @router.get("/events", response_class=Response, responses={200: {"content": {"text/event-stream": {}}}, 503: {"description": "Too many open pages.", **PROBLEM}, **READING})  # fmt: skip
    async def events() -> Response:
        """What changed on the first screen, as server-sent events, at most once per `dashboard.refresh_ms`."""
        if not house.hub.enter():
            return Plain(
                {"detail": f"{house.hub.max_clients} pages are open already"}, 503, {"retry-after": "10"}
            )
        return EventStream(house.hub)

    @router.get("/static/{name:path}", include_in_schema=False)
    async def static(name: str) -> Response:
        found = served.get(name)
        return (
            Plain({"detail": "no such file"}, 404)
            if found is None
            else Response(found[0], media_type=found[1])
        )

    return router


def _read_routes(house: House) -> APIRouter:
    router = APIRouter(prefix="/api", responses=READING, tags=["read"])
    watcher = house.watcher

    def reads(path: str, make: Callable[[Watcher], Any], says: str, kind: Any) -> None:
        async def read() -> Response:
            return Plain(make(watcher))

        read.__doc__ = says
        router.add_api_route(path, read, name=path.strip("/"), response_model=kind)

    for path, make, says in api.DOCUMENTS:
        reads(path, make, says, dict[str, Any])
    for path, make, says in api.LISTS:
        reads(path, make, says, list[dict[str, Any]])

    @router.get("/timeline/{position_id}", response_model=list[dict[str, Any]])
    async def timeline(position_id: PositionId) -> Response:
        """Everything the bus still holds about one position, oldest first, with the raw entries."""
        return Plain(await pages.timeline(watcher, house.teller, position_id))

    @router.get("/logs", response_model=list[dict[str, Any]])
    async def logs(words: Annotated[str, Query(max_length=200)] = "") -> Response:
        """Lines of the services' logs that contain *words*, newest first; empty where `holdfast up` does not run them."""
        return Plain(await asyncio.to_thread(tail, house.log_path, LOG_LINES, words))

    return router


def _write_routes(house: House) -> APIRouter:
    router = APIRouter(prefix="/api", responses=OUTCOMES, tags=["write"])

    def action(path: str, kind: type[actions.Wish], says: str) -> None:
        async def act(request: Request, wish: kind) -> Response:  # type: ignore[valid-type]
            outcome = await house.desk.do(wish, who_of(request.scope).name)
            return Plain(outcome.model_dump(), actions.HTTP[outcome.status])

        act.__doc__ = says
        router.add_api_route(
            path, act, methods=["POST"], name=path.strip("/"), response_model=actions.Outcome
        )

    action(
        "/control",
        actions.ControlWish,
        "Set the trading state of everything, an account or a book. Exits pass in every state.",
    )
    action("/close", actions.CloseWish, "Close one position at market.")
    action("/flatten", actions.FlattenWish, "Close every position at market and cancel every resting entry.")
    action("/cancel", actions.CancelWish, "Cancel one live order.")
    action("/exits", actions.ExitsWish, "New exits of a position; looser ones only with the symbol typed.")
    action(
        "/quarantine",
        actions.QuarantineWish,
        "Adopt what is in quarantine, with exits; or adopt and close it.",
    )
    action(
        "/alerts/ack",
        actions.AckWish,
        "Say that an alert has been seen: no reminders until it has recovered.",
    )
    action("/requeue", actions.RequeueWish, "Put a dead letter back onto its stream.")
    return router


def _page_routes(house: House) -> APIRouter:
    router, watcher = APIRouter(), house.watcher

    @router.get("/")
    async def first(request: Request) -> Response:
        return house.page(request, "index.html", scopes=pages.scopes(watcher))

    @router.get("/position/{position_id}")
    async def position(request: Request, position_id: PositionId) -> Response:
        steps = await pages.timeline(watcher, house.teller, position_id)
        found = pages.about(watcher, position_id)
        status = 200 if steps or found["state"] != "unknown" else 404
        return house.page(request, "position.html", status, steps=steps, about=found, position_id=position_id)

    @router.get("/performance")
    async def performance(request: Request) -> Response:
        return house.page(request, "performance.html", **pages.performance(watcher))

    @router.get("/learning")
    async def learning(request: Request) -> Response:
        return house.page(request, "learning.html", **pages.learning(watcher))

    @router.get("/dead-letters")
    async def dead_letters(request: Request) -> Response:
        return house.page(
            request, "dead_letters.html", letters=pages.dead_letters(watcher, house.desk.requeued)
        )

    @router.get("/logs")
    async def logs(request: Request, words: Annotated[str, Query(max_length=200)] = "") -> Response:
        lines = await asyncio.to_thread(tail, house.log_path, LOG_LINES, words)
        return house.page(request, "logs.html", lines=lines, words=words, exists=house.log_path.exists())

    return router


def _login_routes(house: House) -> APIRouter:
    router = APIRouter()
    secure = house.settings.dashboard.behind_tls

    def ask(request: Request, status: int, trouble: str) -> Response:
        template = house.templates.get_template("login.html")
        return HTMLResponse(
            template.render(trouble=trouble, version=__version__, path=request.url.path), status
        )

    @router.get("/login")
    async def form(request: Request) -> Response:
        return ask(request, 200, "")

    @router.post("/login")
    async def log_in(request: Request) -> Response:
        fields = parse_qs((await request.body()).decode("utf-8", "replace"), max_num_fields=10)
        token, name = (fields.get(key, [""])[0].strip() for key in ("token", "name"))
        address = request.client.host if request.client is not None else ""
        try:
            entered = await house.door.log_in(token, name[:40], address)
        except Throttled:
            return ask(request, 429, "Too many wrong tokens. Wait a minute.")
        house.desk.note(
            name[:40] or "(no name)",
            "login",
            {"address": address},
            "done" if entered else "refused",
            entered[1].role if entered else "wrong token",
        )
        if entered is None:
            return ask(request, 401, "That token opens nothing.")
        answer = RedirectResponse("/", 303)
        lasts = int(house.settings.dashboard.session_h * 3600)
        answer.set_cookie(
            COOKIE, entered[0], max_age=lasts, path="/", secure=secure, httponly=True, samesite="strict"
        )
        return answer

    @router.post("/logout")
    async def log_out(request: Request) -> Response:
        house.door.log_out(request.cookies.get(COOKIE, ""))
        answer = Plain({"status": "done", "text": "logged out"})
        answer.delete_cookie(COOKIE, path="/", secure=secure, httponly=True, samesite="strict")
        return answer

    return router
