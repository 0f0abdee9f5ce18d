"""Two real executor processes of one account, in directories of their own as on two machines, at one simulated venue: who trades?"""

import asyncio
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import orjson
import pytest

import holdfast
from holdfast.contracts.messages import OrderIntent
from holdfast.contracts.streams import HEARTBEAT, LEDGER_UPDATED, ORDER_INTENT
from holdfast.contracts.wire import fields_of
from holdfast.runtime.clock import SystemClock
from holdfast.runtime.embedded_bus import embedded
from holdfast.runtime.faults import EXIT_HELD
from holdfast.venues.capabilities import CAPABILITIES
from services.exit_scanner.app import build as build_scanner
from services.ledger.app import build as build_ledger
from tests.integration._cli import BTC
from tests.integration.test_live_accounts import Accounts

pytestmark = [pytest.mark.redis, pytest.mark.timeout(240)]
ROOT = Path(holdfast.__path__[0]).parents[1]
WINDOW_MS = CAPABILITIES["binanceusdm"].receive_window_ms
BURST = 12
"""More orders than the limiter of an exchange lets out at once: when the process is stopped, some have been sent and some wait for it."""


class Machines(Accounts):
    """`main` at a venue, `third` on paper; ledger and scanner here, executors as processes."""

    def __init__(self, directory, url):
        super().__init__(directory, url)
        self.wanted, self.seen = 0, []
        self.executors = {}

    def settings(self):
        settings = super().settings()
        account = {"main": settings.account["main"].model_copy(update={"max_notional": "1000000"})}
        limits = settings.limits.model_copy(update={"max_orders_per_minute": 100_000})
        return settings.model_copy(update={"accounts": ["main"], "account": account, "limits": limits})

    def write(self, name):
        """The configuration of a machine."""
        one = self.settings().account["main"]
        given = {
            key: getattr(one, key)
            for key in ("mode", "exchange", "symbols", "key_file", "secret_file", "url")
        }
        lines = ["[account.main]", *(f"{key} = {json.dumps(value)}" for key, value in given.items())]
        lines += [
            'max_notional = "1000000"',
            'daily_loss = "500000"',
            'protect = "scanner"',
            "[executor]",
            "lease_s = 3",
            "[limits]",
            "max_orders_per_minute = 100000",
        ]
        path = self.directory / f"{name}.toml"
        path.write_text("\n".join(lines))
        return path

    def begin(self, name, place=None):
        """An executor on the machine *name*."""
        env = {key: value for key, value in os.environ.items() if not key.startswith("HOLDFAST_")} | {
            "PYTHONPATH": f"{ROOT / 'libs'}{os.pathsep}{ROOT}", "HOLDFAST_CONFIG": str(self.write(name)), "HOLDFAST_REDIS_URL": self.url,
            "HOLDFAST_DIR": str(self.directory / (place or name)), "HOLDFAST_LIVE": "yes",
        }  # fmt: skip
        with (self.directory / f"{name}.log").open("ab") as log:
            self.executors[name] = subprocess.Popen(
                [sys.executable, "-m", "services.executor"],
                cwd=self.directory,
                env=env,
                stdout=log,
                stderr=log,
            )
        return self.executors[name]

    async def _serve(self):
        server = self.servers["main"]
        await server.start()
        settings = self.settings()
        self._apps = [build(settings) for build in (build_ledger, build_scanner)]
        running = [asyncio.create_task(one.serve()) for one in self._apps]
        number = 0
        while not self._stop.is_set():
            number += 1
            self._quote(server)
            self._tick(BTC, self.prices[BTC], number)
            await asyncio.sleep(0.02)
        for one in self._apps:
            one.stop()
        self.codes = list(await asyncio.gather(*running))
        await server.stop()

    def start(self):
        self._thread.start()
        self.wait(lambda: self.redis.exists("ledger.snapshot"))

    def stop(self):
        for process in self.executors.values():
            if process.poll() is None:
                process.send_signal(signal.SIGCONT)
                process.kill()
            process.wait()
        super().stop()

    # -- what is seen ------------------------------------------------------------------------------------------------------

    def beats(self):
        """The newest heartbeat of each executor, by its name."""
        found = {}
        for _, fields in reversed(self.redis.xrevrange(HEARTBEAT.name, count=200)):
            beat = orjson.loads(fields[b"body"])
            if beat["service"] == "executor":
                found[beat["instance"]] = beat
        return found

    def leader(self):
        """Epoch of main that the newest heartbeat of who serves says."""
        beat = self.beats().get("0")
        return int(beat["details"]["epochs"].rpartition(":")[2]) if beat is not None else 0

    def waits_for(self):
        beat = self.beats().get("standby")
        return beat["details"]["standby"] if beat is not None else ""

    def want(self, count=1):
        for _ in range(count):
            self.wanted += 1
            intent = OrderIntent(
                id=f"i-{self.wanted}",
                at=SystemClock().wall_ms(),
                symbol=BTC,
                side="buy",
                quantity="0.1",
                account="main",
                exchange="binanceusdm",
            )
            self.redis.xadd(ORDER_INTENT.name, fields_of(intent))

    def updates(self):
        """Every update so far; the bus forgets what its last snapshots stand for."""
        after = f"({self.seen[-1]['seq']}-0" if self.seen else "-"
        self.seen += [
            orjson.loads(fields[b"body"]) for _, fields in self.redis.xrange(LEDGER_UPDATED.name, after)
        ]
        return self.seen

    def orders(self):
        """Every order that the ledger has recorded, as it was last shown."""
        return {row["order_id"]: row for update in self.updates() for row in update.get("orders", ())}

    def ended(self):
        """Whether nothing that anybody wanted is still on its way."""
        intents = {row["intent_id"]: row for update in self.updates() for row in update.get("intents", ())}
        wanted = {f"i-{number + 1}" for number in range(self.wanted)}
        return wanted <= intents.keys() and all(
            row["status"] not in {"accepted", "unknown"} for row in intents.values()
        )

    def trades(self):
        """Whether the account takes entries."""
        self.want()
        self.wait(self.ended, 60)
        return self.arrived()

    def arrived(self):
        """Orders of ours in the venue's own record: when they arrived, by our id."""
        return {
            order.ask.client_id: order.at for order in self.servers["main"].venue.exchange.orders.values()
        }


@pytest.fixture
def machines(tmp_path):
    with embedded(tmp_path / "bus") as url:
        found = Machines(tmp_path, url)
        found.start()
        yield found
        found.stop()


def serving(machines):
    """Both run: the first serves and has traded, the second waits beside it."""
    first = machines.begin("first")
    machines.wait(lambda: machines.leader() == 1, 30)
    second = machines.begin("second")
    machines.wait(lambda: "has main" in machines.waits_for(), 30)
    machines.wait(machines.trades, 90)  # once the day's result is read
    return first, second


@pytest.mark.long
def test_a_second_executor_waits_and_takes_over_within_seconds_of_the_firsts_death(machines):
    first, _ = serving(machines)
    machines.want(5)
    first.kill()
    machines.wait(lambda: machines.leader() == 2, 20)  # a second, and what it takes to meet the exchange
    machines.want(5)
    machines.wait(machines.ended, 90)
    assert sorted(machines.arrived()) == sorted(
        key for key, row in machines.orders().items() if row["state"] == "filled"
    )


def test_one_that_was_paused_is_refused_and_sends_nothing_late_and_nothing_that_was_declared_absent(machines):
    first, second = serving(machines)
    before = len(machines.arrived())
    machines.want(BURST)
    machines.wait(lambda: len(machines.arrived()) > before, 20)
    first.send_signal(signal.SIGSTOP)
    machines.wait(lambda: machines.leader() == 2, 30)
    machines.want(3)
    machines.wait(machines.ended, 90)
    absent = {key for key, row in machines.orders().items() if row.get("code") == "not_sent"}
    assert absent, "none was waiting for the limiter when it was stopped; the test shows nothing"
    first.send_signal(signal.SIGCONT)
    assert first.wait(30) == EXIT_HELD
    machines.want(3)
    machines.wait(machines.ended, 30)
    assert second.poll() is None
    orders, arrived = machines.orders(), machines.arrived()
    assert absent.isdisjoint(arrived)
    assert {
        key: at - orders[key]["send_by"]
        for key, at in arrived.items()
        if at > orders[key]["send_by"] + WINDOW_MS
    } == {}
    received = [ask.client_id for ask in machines.servers["main"].venue.exchange.received]
    assert len(received) == len(set(received)) == len(arrived)
    assert arrived.keys() == {key for key, row in orders.items() if row["state"] == "filled"}


@pytest.mark.long
def test_in_one_directory_the_lock_decides(machines):
    first = machines.begin("first")
    machines.wait(lambda: machines.leader() == 1, 30)
    machines.begin("second", place="first")
    machines.wait(lambda: "executor-main.lock is held" in machines.waits_for(), 30)
    first.kill()
    machines.wait(lambda: machines.leader() == 2, 20)
