"""Three accounts in one pipeline: two live ones at two simulated venues, one on paper. What happens to one is no matter of the others."""

import asyncio
from decimal import Decimal

import pytest

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
KEY, SECRET = "a-key", "a-secret"


class Accounts(Desk):
    """`main` and `second` at a venue each, `third` on paper. *silent*: the second one does not answer from the beginning."""

    def __init__(self, directory, url, *, silent=False, servers=None, **second):
        super().__init__(directory, url)
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
            {"dir": self.directory, "bus": {"url": self.url}, "paper": FREE, "live": True, "accounts": [*LIVE, "third"], "account": account}
        )  # fmt: skip

    async def _serve(self):
        for server in self.servers.values():
            await server.start()
        if self.is_silent:
            self.hush("second")
        settings = self.settings()
        self._apps = [build(settings) for build in (build_ledger, build_executor, build_scanner)]
        running = [asyncio.create_task(one.serve()) for one in self._apps]
        number = 0
        while not self._stop.is_set():
            number += 1
            for server in self.servers.values():
                self._quote(server)
            self._tick(BTC, self.prices[BTC], number)
            await asyncio.sleep(0.02)
        for one in self._apps:
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


def test_each_account_trades_at_its_own_venue_within_its_own_limits(desk_of):
    desk = desk_of(max_notional="150")
    for account in (*LIVE, "third"):
        desk.opened(account)
    one = Decimal(1)
    assert desk.held() == ({"main": one, "second": one, "third": one}, {"main": one, "second": one})
    assert "[account.second] max_notional" in desk.intent("second", "buy", BTC, "1")
    desk.opened("main", "2")
    assert desk.held()[1] == {"main": 3, "second": 1}
    assert (
        "no executor serves third/binanceusdm"
        in desk.run("intent", "buy", BTC, "1", "--account", "third", "--exchange", "binanceusdm").output
    )
    desk.prices[BTC] = "85"  # below everybody's stop-loss
    desk.wait(lambda: desk.held() == ({}, {"main": 0, "second": 0}), 30)


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
