"""A dashboard driven by hand: a watcher that hears what the test says, a web application in this process, a desk that notes wishes."""

from pathlib import Path
from typing import Any

import httpx

from holdfast.contracts import streams
from holdfast.contracts.exit_messages import ExitAdjust
from holdfast.contracts.messages import IntentResult, OrderIntent
from holdfast.domain.view import LedgerView
from holdfast.runtime.bounded_log import BoundedLog
from holdfast.runtime.front_door import Tokens
from holdfast.runtime.settings import Settings
from services.dashboard.actions import Desk
from services.dashboard.auth import Door
from services.dashboard.events import Hub
from services.dashboard.screen import screen_of
from services.dashboard.service import Options, Watcher
from services.dashboard.stories import Teller
from services.dashboard.web import House, make_web
from tests.unit._state import T0, HandClock, entry, heartbeat, snapshot, tick, update

PAGE = "http://127.0.0.1:8480"


class Hand:
    """A watcher, and what it hears."""

    def __init__(self, clock: HandClock | None = None, **options: Any) -> None:
        self.clock = clock or HandClock()
        self.view = LedgerView()
        self.watcher = Watcher(self.view, self.clock, Options(**options))

    async def load(self, seq: int = 10, **tables: Any) -> None:
        self.view.load(snapshot(seq, **tables))
        await self.watcher.on_reset()

    async def update(self, *updates: Any) -> None:
        for change in updates:
            self.view.apply(change)
        await self.watcher.on_updates(updates)

    async def ticks(self, *ticks: Any) -> None:
        await self.watcher.on_ticks([entry(streams.MARKET_TICK, one, self.clock.now) for one in ticks])

    async def beats(self, *without: str, armed_through: int | None = None, unarmed: Any = ()) -> None:
        """A heartbeat of every service; the scanner has armed all that the view shows."""
        through = max(0, self.view.seq if armed_through is None else armed_through)
        said = {
            streams.LEDGER: {"seq": max(0, self.view.seq)}, streams.EXECUTOR: {}, streams.DASHBOARD: {},
            streams.EXIT_SCANNER: {"armed_through": through, "unarmed": list(unarmed)},
        }  # fmt: skip
        messages = [
            heartbeat(name, at=self.clock.now, **more) for name, more in said.items() if name not in without
        ]
        await self.watcher.on_heartbeats([entry(streams.HEARTBEAT, one, self.clock.now) for one in messages])

    def screen(self) -> Any:
        return screen_of(self.watcher, self.watcher.picture())

    async def well(self, *positions: Any, **tables: Any) -> "Hand":
        """Everything is there and alive; prices are the entry prices."""
        await self.load(positions=list(positions), **tables)
        await self.ticks(*(tick(row.symbol, str(row.entry_price), at=T0) for row in positions))
        await self.beats()
        return self


class FakeBus:
    """Notes what is asked, and answers as a ledger that agrees would; `silent` answers nothing."""

    def __init__(self, clock: HandClock) -> None:
        self.clock, self.sent, self.silent = clock, list[Any](), False
        self.answers: dict[str, Any] = {}
        self.requeued = list[Any]()
        self.found: dict[str, list[Any]] = {}
        self.ids = self
        self._numbers = 0

    def new(self) -> str:
        self._numbers += 1
        return f"id-{self._numbers}"

    async def ask(self, outs: Any, answers: Any, take: Any, seconds: float) -> bool:
        self.sent += outs
        if self.silent:
            return False
        taken = [take(self.answer(out.message)) for out in outs]
        return any(taken)

    def answer(self, message: Any) -> Any:
        if isinstance(message, OrderIntent | ExitAdjust):
            status = (
                "accepted"
                if isinstance(message, ExitAdjust)
                else "canceled"
                if message.action == "cancel"
                else "filled"
            )
            return IntentResult(
                **{"id": "a", "at": T0, "intent_id": message.id, "status": status, **self.answers}
            )
        return update(11, **self.answers).evolve(cause_id=message.id)

    async def containing(self, stream: Any, words: Any, most: int) -> list[Any]:
        return [
            one for one in self.found.get(stream.name, []) if any(word.encode() in one.body for word in words)
        ]

    async def requeue(self, letter: Any) -> str:
        self.requeued.append(letter)
        return "5-0"


class Front:
    """The whole application in this process, and clients of it."""

    def __init__(self, directory: Path, hand: Hand | None = None, **settings: Any) -> None:
        self.hand = hand or Hand()
        self.clock = self.hand.clock
        self.settings = Settings.model_validate({"dir": directory, "dashboard": settings})
        self.tokens = Tokens(directory / "dashboard")
        self.made = self.tokens.first()
        self.bus = FakeBus(self.clock)
        self.door = Door(self.tokens, self.settings.dashboard, self.clock)
        self.audit = directory / "dashboard" / "audit.log"
        desk = Desk(self.bus, self.hand.watcher, self.settings, BoundedLog(self.audit))  # type: ignore[arg-type]
        self.hub = Hub(self.hand.screen, self.clock, 100, self.settings.dashboard.max_clients)
        house = House(self.settings, self.hand.watcher, self.hub, self.door, desk, Teller(self.bus))  # type: ignore[arg-type]
        self.app = make_web(house)

    def client(self, address: str = "127.0.0.1", base: str = PAGE) -> httpx.AsyncClient:
        """Somebody at *address* who calls the page by *base*. Cookies are kept, redirects are not followed."""
        transport = httpx.ASGITransport(app=self.app, client=(address, 50_000))
        return httpx.AsyncClient(transport=transport, base_url=base)

    async def logged_in(self, role: str = "operate", **where: str) -> httpx.AsyncClient:
        """A client with a session, which sends what the page sends."""
        client = self.client(**where)
        origin = str(client.base_url).rstrip("/")
        reply = await client.post(
            "/login", data={"token": self.made[role], "name": "anna"}, headers={"origin": origin}
        )
        assert reply.status_code == 303, reply.text
        page = (await client.get("/", headers={"accept": "text/html"})).text
        csrf = page.partition('name="csrf" content="')[2].partition('"')[0]
        client.headers.update({"origin": origin, "x-csrf-token": csrf})
        return client
