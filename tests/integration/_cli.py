"""The real services in a thread, on an embedded bus, and the command line beside them as a person uses it."""

import asyncio
import itertools
import json
import sqlite3
import threading
import time
from collections.abc import Callable
from contextlib import closing
from decimal import Decimal
from pathlib import Path

import redis
from typer.testing import CliRunner, Result

from holdfast.bus.app import ServiceApp
from holdfast.cli.main import app
from holdfast.contracts.messages import Tick
from holdfast.contracts.streams import MARKET_TICK
from holdfast.contracts.wire import Out, fields_of
from holdfast.runtime.clock import SystemClock
from holdfast.runtime.limit_settings import LimitSettings
from holdfast.runtime.settings import BusSettings, PaperSettings, Settings
from holdfast.store.opening import sqlite_path
from services.executor.app import build as build_executor
from services.exit_scanner.app import build as build_scanner
from services.ledger.app import build as build_ledger

BTC, ETH = "BTC/USDT", "ETH/USDT"
FREE = PaperSettings(fee_pct=Decimal(0), maker_fee_pct=Decimal(0), slippage_pct=Decimal(0), market="linear")


def settings_of(directory: Path, url: str, limits: dict[str, object] | None = None) -> Settings:
    return Settings(
        dir=directory, bus=BusSettings(url=url), paper=FREE, limits=LimitSettings.model_validate(limits or {})
    )


class Desk:
    """One installation under *directory* on the bus at *url*; `run` is the command `holdfast`."""

    def __init__(self, directory: Path, url: str, limits: dict[str, object] | None = None) -> None:
        self.directory, self.url, self.limits = directory, url, limits
        self.redis = redis.Redis.from_url(url)
        self.prices = {BTC: "100", ETH: "10"}
        self._apps: list[ServiceApp] = []
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True)
        self._stop = threading.Event()
        self.codes: list[int] = []

    # -- services -----------------------------------------------------------------------------------------------------

    def start(self) -> None:
        self._thread.start()
        self.wait(lambda: self.redis.exists("ledger.snapshot") and self.run("check").exit_code != 2)

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(20)
        assert set(self.codes) <= {0}, self.codes

    async def _serve(self) -> None:
        settings = settings_of(self.directory, self.url, self.limits)
        self._apps = [build(settings) for build in (build_ledger, build_executor, build_scanner)]
        running = [asyncio.create_task(one.serve()) for one in self._apps]
        numbers = itertools.count(1)
        while not self._stop.is_set():
            for symbol, price in self.prices.items():
                self._tick(symbol, price, next(numbers))
            await asyncio.sleep(0.02)
        for one in self._apps:
            one.stop()
        self.codes = list(await asyncio.gather(*running))

    def _tick(self, symbol: str, price: str, number: int) -> None:
        tick = Tick(
            id=f"t-{number}", at=SystemClock().wall_ms(), symbol=symbol, bid=price, ask=price, last=price, feed="test", run="r", live=True,
        )  # fmt: skip
        self.redis.xadd(MARKET_TICK.name, fields_of(tick), maxlen=5_000)

    # -- commands -----------------------------------------------------------------------------------------------------

    def run(self, *words: object, stdin: str | None = None) -> Result:
        """`holdfast WORDS --dir DIR`."""
        return CliRunner().invoke(app, [*map(str, words), "--dir", str(self.directory)], input=stdin)

    def ok(self, *words: object, stdin: str | None = None) -> str:
        """Standard output of a command that must succeed."""
        result = self.run(*words, stdin=stdin)
        assert result.exit_code == 0, (words, result.exit_code, result.output, result.exception)
        return result.stdout

    def rows(self, *words: object):
        """What a command prints with --json."""
        return json.loads(self.ok(*words, "--json"))

    def publish(self, out: Out) -> None:
        self.redis.xadd(out.stream.name, fields_of(out.message))

    def wait(self, holds: Callable[[], object], seconds: float = 15) -> None:
        """Returns when it holds. Looking with a command costs more than the services beside it: between two looks as long as a look takes."""
        begun = time.monotonic()
        end = begun + seconds
        while not holds():
            now = time.monotonic()
            assert now < end, "waited in vain"
            time.sleep(max(0.02, now - begun))
            begun = time.monotonic()

    def _stored(self, query: str) -> list[tuple[object, ...]]:
        with closing(sqlite3.connect(f"file:{sqlite_path(self.directory)}?mode=ro", uri=True)) as connection:
            return connection.execute(query).fetchall()

    def flat(self) -> None:
        """Whatever an earlier test left: no position, no entry, trading active, prices as at the start. The store says what there is to do."""
        self.prices.update({BTC: "100", ETH: "10"})
        if any(state != "active" for (state,) in self._stored("SELECT body ->> '$.state' FROM control")):
            self.ok("resume")
        if not self._stored("SELECT 1 FROM positions UNION ALL SELECT 1 FROM orders WHERE live = 1"):
            return
        self.wait(
            lambda: (
                self.run("flatten", "--wait", "5").exit_code == 0
                and not self.rows("positions") + self.rows("orders")
            )
        )
