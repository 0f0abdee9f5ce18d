"""Three accounts in one pipeline: two live ones at two simulated venues, one on paper. What happens to one is no matter of the others,
whether one executor serves all of them, or the second account has its own."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import pytest

import holdfast
from holdfast.contracts.streams import ORDER_INTENT_EXIT
from holdfast.runtime.clock import SystemClock
from holdfast.runtime.embedded_bus import embedded
from holdfast.runtime.secret_files import write_secret
from holdfast.runtime.settings import Settings
from services.executor.app import build as build_executor
from services.exit_scanner.app import build as build_scanner
from services.ledger.app import build as build_ledger
from tests.integration._cli import BTC, FREE, Desk
from venue_sim.faults import Fault, Kind
from venue_sim.market import Quote
from venue_sim.server import Server

pytestmark = [pytest.mark.redis, pytest.mark.timeout(240)]
LIVE = ("main", "second")
ROOT = Path(holdfast.__path__[0]).parents[1]
KEY, SECRET = "a-key", "a-secret"


class Accounts(Desk):
    """`main` and `second` at a venue each, `third` on paper. *silent*: the second one does not answer from the beginning."""

    def __init__(self, directory, url, *, silent=False, servers=None, apart=(), **second):
        super().__init__(directory, url)
        self.apart, self.lost = list(apart), asyncio.Event()
        self.prices = {BTC: "100"}
        self.is_silent, self.second = silent, second
        self.servers = servers or {name: Server(SystemClock(), key=KEY, secret=SECRET) for name in LIVE}
        for name, text in (("key", KEY), ("secret", SECRET)):
            write_secret(directory / "secrets" / name, text)

    def settings(self):
        account = {
            name: {
                "mode": "live", "exchange": "binanceusdm", "symbols": [BTC], "max_notional": "5000", "daily_loss": "500",
                "protect": "scanner", "key_file": str(self.directory / "secrets" / "key"), "secret_file": str(self.directory / "secrets" / "secret"),
                "url": self.servers[name].url,
            }
            for name in LIVE
        }  # fmt: skip
        account["second"] |= self.second
        return Settings.model_validate(
            {
                "dir": self.directory, "bus": {"url": self.url}, "paper": FREE, "live": True, "accounts": [*LIVE, "third"], "account": account,
                "executor": {"apart": self.apart},
            }
        )  # fmt: skip

    def own(self, settings, account):
        """The same settings, in the process of the executor that *account* has."""
        executor = settings.executor.model_copy(update={"account": account})
        return settings.model_copy(update={"executor": executor})

    async def _serve(self):
        for server in self.servers.values():
            await server.start()
        if self.is_silent:
            self.hush("second")
        settings = self.settings()
        self._apps = [build(settings) for build in (build_ledger, build_executor, build_scanner)]
        running = [asyncio.create_task(one.serve()) for one in self._apps]
        apart = [build_executor(self.own(settings, account)) for account in self.apart]
        running += [asyncio.create_task(one.serve()) for one in apart]
        number = 0
        while not self._stop.is_set():
            number += 1
            for server in self.servers.values():
                self._quote(server)
            self._tick(BTC, self.prices[BTC], number)
            await asyncio.sleep(0.02)
            if self.lost.is_set():
                for one in apart:
                    one.stop()
        for one in (*self._apps, *apart):
            one.stop()
        self.codes = list(await asyncio.gather(*running))
        for server in self.servers.values():
            await server.stop()

    def _quote(self, server):
        bid = Decimal(self.prices[BTC])
        server.venue.exchange.quote("BTCUSDT", Quote(bid, bid + Decimal("0.1")))

    def hush(self, name):
        """From now on this venue takes requests, and does not answer."""
        self.servers[name].venue.faults.arm(Fault(Kind.SILENT_BEFORE, times=1_000_000))

    def speak(self, name):
        self.servers[name].venue.faults.clear()

    def intent(self, account, *words):
        exchange = "binanceusdm" if account in LIVE else "paper"
        return self.run("intent", *words, "--account", account, "--exchange", exchange).output

    def opened(self, account, quantity="1"):
        """Opens *quantity*, as soon as the account may."""
        self.wait(lambda: f"filled {quantity} at" in self.intent(account, "buy", BTC, quantity), 90)

    def held(self):
        """By account: what the ledger shows, and what the venue does."""
        shown = {row["account"]: Decimal(str(row["quantity"])) for row in self.rows("positions")}
        there = {
            name: server.venue.exchange.account.of("BTCUSDT").quantity
            for name, server in self.servers.items()
        }
        return shown, there

    def reasons(self):
        return self.run("check", "--json").output


@pytest.fixture
def desk_of(tmp_path):
    with embedded(tmp_path / "bus") as url:
        started = []

        def make(**how):
            desk = Accounts(tmp_path, url, **how)
            started.append(desk)
            desk.start()
            return desk

        yield make
        started[-1].stop()


def test_each_account_trades_at_its_own_venue_within_its_own_limits_and_one_has_an_executor_of_its_own(
    desk_of,
):
    desk = desk_of(max_notional="150", apart=["second"])
    for account in (*LIVE, "third"):
        desk.opened(account)
    one = Decimal(1)
    assert desk.held() == ({"main": one, "second": one, "third": one}, {"main": one, "second": one})
    assert "[account.second] max_notional" in desk.intent("second", "buy", BTC, "1")
    assert (
        "no executor serves third/binanceusdm"
        in desk.run("intent", "buy", BTC, "1", "--account", "third", "--exchange", "binanceusdm").output
    )
    shown = desk.ok("status")
    assert "executor/second" in shown
    assert "main at binanceusdm" in shown
    assert "second at binanceusdm" in shown
    desk.lost.set()
    desk.opened("main", "2")
    assert desk.held()[1] == {"main": 3, "second": 1}
    desk.wait(lambda: desk.run("check").exit_code == 2)
    silent = [reason for reason in json.loads(desk.reasons())["reasons"] if " silent for " in reason]
    assert len(silent) == 1, silent
    assert silent[0].startswith("executor/second ")
    desk.prices[BTC] = "85"  # below everybody's stop-loss
    desk.wait(lambda: desk.held() == ({"second": 1}, {"main": 0, "second": 1}), 30)


@pytest.mark.long
def test_a_venue_that_falls_silent_stops_its_own_entries_and_nobody_elses_exits(desk_of):
    desk = desk_of()
    for account in (*LIVE, "third"):
        desk.opened(account)
    desk.hush("second")
    desk.wait(lambda: "unreadable" in desk.intent("second", "buy", BTC, "1"), 40)
    desk.prices[BTC] = "85"  # below everybody's stop-loss
    desk.wait(lambda: desk.held()[0].keys() == {"second"}, 12)
    desk.prices[BTC] = "100"
    desk.opened("main")
    desk.speak("second")
    desk.wait(lambda: desk.held()[1]["second"] == 0 and "second" not in desk.held()[0], 60)


@pytest.mark.long
def test_a_venue_that_is_silent_from_the_start_holds_up_nobody_and_its_exits_wait_for_it(desk_of):
    before = desk_of()
    before.opened("second")
    before.stop()
    desk = desk_of(silent=True, servers=before.servers)
    desk.opened("main")
    desk.opened("third")
    refused = desk.intent("second", "buy", BTC, "1")
    assert "venue_unreadable" in refused
    assert "second/binanceusdm is not ready yet" in refused
    desk.wait(lambda: "nobody watches 1 positions and 0 orders there" in desk.reasons())
    desk.prices[BTC] = "85"
    desk.wait(lambda: desk.held()[0].keys() == {"second"}, 10)
    assert desk.redis.xpending(ORDER_INTENT_EXIT.name, "executor")["pending"] >= 1
    desk.speak("second")
    desk.wait(lambda: desk.held() == ({}, {"main": 0, "second": 0}), 90)
    asked = desk.servers["second"].venue.exchange.received
    assert [ask.reduce_only for ask in asked] == [False, True]


class Venues(Accounts):
    """The two simulated venues, and nothing else: the services are those of `holdfast up`."""

    def start(self):
        self._thread.start()
        self.wait(lambda: all(server.port for server in self.servers.values()))

    async def _serve(self):
        for server in self.servers.values():
            await server.start()
        while not self._stop.is_set():
            for server in self.servers.values():
                bid = Decimal(self.prices[BTC])
                await server.price("BTCUSDT", Quote(bid, bid + Decimal("0.1")))
            await asyncio.sleep(0.05)
        for server in self.servers.values():
            await server.stop()

    def write(self):
        """holdfast.toml."""
        lines = ['accounts = ["main", "second"]', "[executor]", 'apart = ["second"]']
        for name in LIVE:
            one = self.settings().account[name].model_dump(mode="json", exclude_unset=True)
            lines += [f"[account.{name}]", *(f"{key} = {json.dumps(value)}" for key, value in one.items())]
        path = self.directory / "holdfast.toml"
        path.write_text("\n".join(lines))
        return path

    def intent(self, account, *words):
        where = (
            "--account",
            account,
            "--exchange",
            "binanceusdm",
            "--config",
            self.directory / "holdfast.toml",
        )
        return self.run("intent", *words, *where).output


@pytest.mark.long
def test_holdfast_up_runs_both_executors_and_one_that_stands_still_or_dies_is_no_matter_of_the_other(
    tmp_path,
):
    desk = Venues(tmp_path, "redis://unused")
    desk.start()
    config, feed = desk.write(), f"ccxt:binanceusdm?symbols=BTC/USDT:USDT&url={desk.servers['main'].url}"
    env = {key: value for key, value in os.environ.items() if not key.startswith("HOLDFAST_")}
    env |= {"PYTHONPATH": f"{ROOT / 'libs'}{os.pathsep}{ROOT}", "HOLDFAST_LIVE": "yes", "COLUMNS": "200"}
    command = [
        sys.executable,
        "-m",
        "holdfast.cli.main",
        "up",
        "--dir",
        str(tmp_path),
        "--config",
        str(config),
        "--feed",
        feed,
    ]
    with (tmp_path / "up.log").open("wb") as log:
        up = subprocess.Popen(command, cwd=tmp_path, env=env, stdout=log, stderr=log)

    def pid():
        return json.loads((tmp_path / "run" / "executor-second.json").read_text())["pid"]

    def reasons():
        return json.loads(desk.run("check", "--json", "--config", config).output)["reasons"]

    try:
        desk.wait((tmp_path / "run" / "executor-second.json").exists, 60)
        for account in LIVE:
            desk.opened(account)
        desk.wait(lambda: desk.run("check", "--config", config).exit_code == 0, 60)
        assert "executor/second" in desk.ok("status", "--config", config)
        os.kill(pid(), signal.SIGSTOP)
        desk.wait(lambda: any(one.startswith("executor/second ") for one in reasons()), 30)
        assert not any(one.startswith("executor ") for one in reasons())
        desk.opened("main")
        os.kill(pid(), signal.SIGCONT)
        before = pid()
        os.kill(before, signal.SIGKILL)
        desk.wait(lambda: pid() != before, 30)
        desk.opened("second")
        desk.wait(lambda: desk.held()[0] == desk.held()[1], 30)
        assert min(desk.held()[1].values()) >= 2
    finally:
        up.terminate()
        up.wait(30)
        desk.stop()
