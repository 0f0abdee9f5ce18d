"""All services in this process on one bus: ledger, executor, exit scanner, state publisher. Prices are typed by the test.

`Pipeline.start` and `stop` work on one service as `holdfast restart` does; `kill` ends it as SIGKILL would, as far as a
process can do that to a part of itself: nothing it was about to publish or acknowledge gets out any more.
"""

import asyncio
import itertools
from decimal import Decimal
from pathlib import Path
from typing import Any, Self

from holdfast.bus.app import ServiceApp
from holdfast.contracts.messages import IntentResult, Tick
from holdfast.contracts.rows import OrderRow, PositionRow
from holdfast.contracts.streams import (
    ALERTS,
    EXECUTOR,
    EXIT_SCANNER,
    HEARTBEAT,
    LEARNER,
    LEDGER,
    LEDGER_SNAPSHOT,
    LEDGER_TRADE,
    LEDGER_UPDATED,
    MARKET_TICK,
    ORDER_INTENT,
    STATE_PUBLISHER,
)
from holdfast.domain.view import LedgerView
from holdfast.runtime.clock import SystemClock
from services.alerts.app import build as build_alerts
from services.executor.app import build as build_executor
from services.exit_scanner.app import build as build_scanner
from services.learner.app import build as build_learner
from services.ledger.app import build as build_ledger
from services.state_publisher.app import build as build_publisher
from tests.contract._bus import Bus, settings_for
from tests.contract._wait import wait_until

BUILDERS = {
    LEDGER: build_ledger,
    EXECUTOR: build_executor,
    EXIT_SCANNER: build_scanner,
    STATE_PUBLISHER: build_publisher,
    ALERTS: build_alerts,
    LEARNER: build_learner,
}
TRADING = (LEDGER, EXECUTOR, EXIT_SCANNER, STATE_PUBLISHER)
"""What a pipeline runs where a test names nobody."""
SYMBOL, NAMED = "BTC/USDT", "BTC/USDT:USDT"
"""What prices and books are called; and a name that means the linear contract of it."""
PLAIN = {"fee_pct": "0", "maker_fee_pct": "0", "slippage_pct": "0"}


class Pipeline:
    """See the module. Use it with `async with`; at the end every service must stop with exit code 0."""

    def __init__(self, bus: Bus, directory: Path, *names: str, **sections: Any) -> None:
        self.bus, self.directory, self.names = bus, directory, names or TRADING
        sections = {"paper": PLAIN, "executor": {"resend_after_ms": 500}, **sections}
        self.settings = settings_for(bus.url, directory, **sections)
        self.apps: dict[str, ServiceApp] = {}
        self.tasks: dict[str, asyncio.Task[int]] = {}
        self._ticks = itertools.count(1)
        self.feed = SYMBOL
        """What ticks name their symbol."""
        self._time = SystemClock().wall_ms()

    async def __aenter__(self) -> Self:
        for name in self.names:
            self.start(name)
        return self

    async def __aexit__(self, *error: object) -> None:
        codes = {name: await self.stop(name) for name in list(self.tasks)}
        if error[0] is None:
            assert set(codes.values()) <= {0}, codes

    def start(self, name: str) -> ServiceApp:
        app = self.apps[name] = BUILDERS[name](self.settings)
        self.tasks[name] = asyncio.create_task(app.serve(), name=name)
        return app

    async def stop(self, name: str) -> int:
        """End *name* in good order; its exit code."""
        self.apps[name].stop()
        return await self.tasks.pop(name)

    async def kill(self, name: str) -> None:
        """End *name* with nothing more to be heard from it."""
        app = self.apps[name]

        async def silent(outputs: object, acks: object = ()) -> None:
            await asyncio.Event().wait()

        app.publisher.publish = silent  # type: ignore[method-assign]
        app.stop()
        await self.tasks.pop(name)

    # -- what a person does ---------------------------------------------------------------------------------------

    async def tick(self, bid: str, ask: str | None = None) -> None:
        number = next(self._ticks)
        await self.bus.add(
            MARKET_TICK,
            Tick(
                id=f"t-{number}", at=self._time + number * 1000, symbol=self.feed, bid=Decimal(bid), ask=Decimal(ask or bid), last=Decimal(bid),
                feed="hand", run="r1",
            ),
        )  # fmt: skip

    async def priced(self) -> bool:
        """Whether the executor has told that it serves, and knows a price."""
        beats = [
            beat for beat in await self.bus.of(HEARTBEAT) if beat.service == EXECUTOR and beat.instance == "0"
        ]
        return bool(beats) and beats[-1].details.get("prices") not in {None, "0"}

    async def intent(self, **document: Any) -> None:
        await self.bus.add(ORDER_INTENT, **document)

    async def answer(self, intent_id: str) -> IntentResult:
        """The end of an intent, once it has come to one."""

        async def final() -> IntentResult | None:
            result = await self.bus.result(intent_id)
            return result if result is not None and result.status not in {"accepted", "unknown"} else None

        return await wait_until(final, f"the end of intent {intent_id}")

    # -- what the bus shows -----------------------------------------------------------------------------------------

    async def view(self) -> LedgerView:
        """The ledger as anybody can know it: the newest snapshot and the updates behind it (INV-8)."""
        view = LedgerView()
        parts = await self.bus.of(LEDGER_SNAPSHOT)
        if parts:
            view.load([part for part in parts if part.snapshot_id == parts[-1].snapshot_id])
            for update in await self.bus.of(LEDGER_UPDATED):
                view.apply(update)
        return view

    async def positions(self) -> list[PositionRow]:
        return list((await self.view()).positions.values())

    async def orders(self) -> list[OrderRow]:
        return list((await self.view()).orders.values())

    async def trades(self) -> list[Any]:
        return await self.bus.of(LEDGER_TRADE)
