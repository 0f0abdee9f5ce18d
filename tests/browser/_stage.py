"""A stage for the dashboard: a bus of its own, the real services as processes, prices that the test sets, and Chromium."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import redis

from holdfast.contracts.base import Message
from holdfast.contracts.messages import Fill, Tick
from holdfast.contracts.streams import FILL, MARKET_TICK, Stream
from holdfast.contracts.wire import fields_of
from holdfast.runtime.clock import SystemClock
from holdfast.runtime.embedded_bus import embedded
from holdfast.runtime.front_door import Tokens

ROOT = Path(__file__).resolve().parents[2]
SERVICES = ("ledger", "executor", "exit_scanner", "dashboard")
CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")


def free_port() -> int:
    """A port that nobody else's dashboard would take while ours is down."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Stage:
    """See the module. Made by `staged`."""

    def __init__(
        self, directory: Path, bus_url: str, prices: dict[str, Decimal] | None = None, **settings: str
    ) -> None:
        self.directory, self.bus_url = directory, bus_url
        self.redis = redis.Redis.from_url(bus_url)
        self.prices = prices or {"BTC/USDT": Decimal(100), "ETH/USDT": Decimal(10)}
        self.tick_every_s = 0.1
        tokens = Tokens(directory / "dashboard").first()
        self.token, self.view_token = tokens["operate"], tokens["view"]
        kept = {name: value for name, value in os.environ.items() if not name.startswith("HOLDFAST_")}
        self._env = kept | {
            "PYTHONPATH": f"{ROOT / 'libs'}{os.pathsep}{ROOT}", "HOLDFAST_DIR": str(directory), "HOLDFAST_REDIS_URL": bus_url,
            "HOLDFAST_PAPER_MARKET": "linear", "HOLDFAST_PAPER_SLIPPAGE_PCT": "0", "HOLDFAST_PAPER_CAPITAL": "100000000",
            "HOLDFAST_DASHBOARD_REFRESH_MS": "200", "HOLDFAST_DASHBOARD_PORT": str(free_port()), "HOLDFAST_LOG_LEVEL": "warning", "HOLDFAST_EXECUTOR_RECONCILE_EVERY_S": "3600", **settings,
        }  # fmt: skip
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._numbers = 0
        self._over = threading.Event()
        self._market = threading.Thread(target=self._make_prices, daemon=True)

    # -- processes ------------------------------------------------------------------------------------------------------

    def start(self, *names: str) -> None:
        for name in names:
            log = (self.directory / f"{name}.log").open("ab")
            self._processes[name] = subprocess.Popen(
                [sys.executable, "-m", f"services.{name}"],
                env=self._env,
                cwd=self.directory,
                stdout=log,
                stderr=log,
            )
            log.close()

    def kill(self, name: str) -> None:
        """SIGKILL: no goodbye."""
        process = self._processes.pop(name)
        process.send_signal(signal.SIGKILL)
        process.wait(10)

    def signal(self, name: str, signum: signal.Signals) -> None:
        self._processes[name].send_signal(signum)

    def pid(self, name: str) -> int:
        return self._processes[name].pid

    def raise_curtain(self, *names: str) -> None:
        self._market.start()
        self.start(*(names or SERVICES))
        self.wait(self.is_well, "every service to be heard", 60)

    def drop_curtain(self) -> None:
        self._over.set()
        for process in self._processes.values():
            process.terminate()
        for process in self._processes.values():
            with suppress(subprocess.TimeoutExpired):
                process.wait(10)
            process.kill()
            process.wait(10)
        self.redis.close()

    # -- the dashboard from outside -----------------------------------------------------------------------------------------

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{(self.directory / 'dashboard' / 'port').read_text().strip()}"

    def get(self, path: str) -> Any:
        return httpx.get(self.url + path, timeout=10).json()

    def post(self, path: str, **wish: Any) -> httpx.Response:
        headers = {"authorization": f"Bearer {self.token}"}
        return httpx.post(f"{self.url}/api/{path}", json=wish, headers=headers, timeout=30)

    def is_well(self) -> bool:
        try:
            return self.get("/api/status")["status"] != "critical"
        except (httpx.HTTPError, FileNotFoundError, ValueError):
            return False

    # -- the world ------------------------------------------------------------------------------------------------------------

    def publish(self, stream: Stream, message: Message | None = None, **document: Any) -> None:
        fields: Any = fields_of(message) if message is not None else {"body": json.dumps(document)}
        self.redis.xadd(stream.name, fields)

    def new_id(self) -> str:
        self._numbers += 1
        return f"t-{time.time_ns()}-{self._numbers}"

    def adopt(
        self, symbol: str, side: str = "buy", quantity: str = "1", price: str = "100", **more: Any
    ) -> None:
        """A position from nowhere, with exits from policy."""
        self.prices.setdefault(symbol, Decimal(price))
        self.publish(
            FILL,
            Fill(
                id=self.new_id(), at=SystemClock().wall_ms(), account=more.pop("account", "main"), exchange="paper", symbol=symbol,
                trade_id=self.new_id(), kind="adoption", side=side, quantity=Decimal(quantity), price=Decimal(price),
                executed_at=SystemClock().wall_ms() - more.pop("held_ms", 0), instrument="linear", settle="USDT", **more,
            ),
        )  # fmt: skip

    def _make_prices(self) -> None:
        while not self._over.wait(self.tick_every_s):
            with self.redis.pipeline(transaction=False) as pipe, suppress(redis.RedisError):
                for symbol, price in list(self.prices.items()):
                    pipe.xadd(MARKET_TICK.name, fields_of(self.tick(symbol, price)), maxlen=20_000)
                pipe.execute()

    def tick(self, symbol: str, price: Decimal) -> Tick:
        return Tick(
            id=self.new_id(),
            at=SystemClock().wall_ms(),
            symbol=symbol,
            bid=price,
            ask=price,
            last=price,
            feed="stage",
            run="r",
            live=True,
        )

    def wait(self, holds: Callable[[], object], what: str, seconds: float = 20) -> None:
        end = time.monotonic() + seconds
        while not holds():
            dead = [name for name, process in self._processes.items() if process.poll() is not None]
            assert not dead, f"{dead} ended while waiting for: {what}\n{self.tails()}"
            assert time.monotonic() < end, f"waited {seconds:.0f} s for: {what}\n{self.tails()}"
            time.sleep(0.05)

    def tails(self) -> str:
        """The last lines of every service's log."""
        return "\n".join(
            f"{path.name}: {line}"
            for path in sorted(self.directory.glob("*.log"))
            for line in path.read_text(errors="replace").splitlines()[-8:]
        )


@contextmanager
def staged(directory: Path, prices: dict[str, Decimal] | None = None, **settings: str) -> Iterator[Stage]:
    """A stage on which every service is heard."""
    with embedded(directory / "bus") as url:
        stage = Stage(directory, url, prices, **settings)
        try:
            stage.raise_curtain()
            yield stage
        finally:
            stage.drop_curtain()
