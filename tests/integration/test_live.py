"""The real executor, ledger and exit scanner live against the simulated venue through real ccxt, with keys that must show nowhere."""

import asyncio
import json
import logging
from contextlib import contextmanager
from decimal import Decimal

import pytest

from holdfast.runtime.clock import SystemClock
from holdfast.runtime.embedded_bus import embedded
from holdfast.runtime.secret_files import write_secret
from holdfast.runtime.settings import BusSettings, ExecutorSettings, Settings
from services.executor.app import build as build_executor
from services.exit_scanner.app import build as build_scanner
from services.ledger.app import build as build_ledger
from tests.integration._cli import BTC, Desk
from venue_sim.faults import Fault, Kind
from venue_sim.market import Quote
from venue_sim.server import Server

pytestmark = pytest.mark.redis
KEY, SECRET = "canary-key-4c1e9ab2", "canary-secret-77d0f3e5"
LIVE = ("--exchange", "binanceusdm")


class LiveDesk(Desk):
    """Account main trades at a simulated venue, whose prices are those of the feed."""

    exchange = "binanceusdm"

    def __init__(self, directory, url, **account):
        super().__init__(directory, url)
        self.prices, self.more = {BTC: "100"}, account
        for name, text in (("key", KEY), ("secret", SECRET)):
            write_secret(directory / "secrets" / name, text)

    def settings(self, url):
        account = {
            "mode": "live", "exchange": self.exchange, "symbols": [BTC], "max_notional": "5000", "daily_loss": "500",
            "key_file": str(self.directory / "secrets" / "key"), "secret_file": str(self.directory / "secrets" / "secret"), "url": url,
        } | ({"leverage": 3} if self.exchange == "binanceusdm" else {}) | self.more  # fmt: skip
        lines = ["[account.main]", *(f"{name} = {json.dumps(value)}" for name, value in account.items())]
        self.config.write_text("\n".join(lines))
        return Settings(
            dir=self.directory,
            bus=BusSettings(url=self.url),
            live=True,
            account={"main": account},
            executor=ExecutorSettings(
                reconcile_every_s=3600
            ),  # so that what is done by hand below stays to be seen
        )

    @property
    def config(self):
        """holdfast.toml, for commands that need the account's settings; without HOLDFAST_LIVE."""
        return self.directory / "holdfast.toml"

    async def _serve(self):
        self.server = Server(SystemClock(), key=KEY, secret=SECRET, dialect=self.exchange)
        await self.server.start()
        self._quote()
        settings = self.settings(self.server.url)
        self._apps = [build(settings) for build in (build_ledger, build_executor, build_scanner)]
        running = [asyncio.create_task(one.serve()) for one in self._apps]
        number = 0
        while not self._stop.is_set():
            number += 1
            self._quote()
            self._tick(BTC, self.prices[BTC], number)
            await asyncio.sleep(0.02)
        for one in self._apps:
            one.stop()
        self.codes = list(await asyncio.gather(*running))
        await self.server.stop()

    def _quote(self):
        bid = Decimal(self.prices[BTC])
        self.server.venue.exchange.quote("BTCUSDT", Quote(bid, bid + Decimal("0.1")))

    def shown(self):
        """Everything that the bus and the folder hold, but for the secrets' own folder."""
        for name in self.redis.keys("*"):
            if self.redis.type(name) == b"stream":
                yield f"stream {name}", repr(self.redis.xrange(name))
        for path in self.directory.rglob("*"):
            if path.is_file() and "secrets" not in path.parts:
                yield str(path), path.read_bytes().decode("latin-1")


@contextmanager
def desk_in(tmp_path, **account):
    with embedded(tmp_path / "bus") as url:
        desk = LiveDesk(tmp_path, url, **account)
        desk.start()
        yield desk
        desk.stop()


@pytest.fixture
def live(tmp_path, caplog):
    """Its exits are the scanner's."""
    caplog.set_level(logging.DEBUG)
    with desk_in(tmp_path, protect="scanner") as desk:
        yield desk


@pytest.fixture
def guarded(tmp_path):
    """Its stops are the exchange's."""
    with desk_in(tmp_path, protect="venue", escalate_after_s=60) as desk:
        yield desk


def reconciled(live):
    """Exit code of `holdfast reconcile`, and what it shows of each book."""
    result = live.run("reconcile", "--json", "--config", live.config)
    rows = json.loads(result.stdout)
    return result.exit_code, [(row["ledger"], row["venue"], row["verdict"]) for row in rows]


def key_of_main(live):
    """What `holdfast doctor` says of the account."""
    result = live.run("doctor", "--json", "--config", live.config)
    return next(
        (row["status"], row["found"]) for row in json.loads(result.stdout) if row["check"] == "account main"
    )


def test_the_doctor_says_what_a_key_may_do(live):
    off = "live, but HOLDFAST_LIVE is not yes: it trades nothing"
    assert key_of_main(live) == ("ok", f"{off}; its key at binanceusdm may not withdraw; clocks agree")
    live.server.venue.exchange.account.can_withdraw = True
    assert key_of_main(live) == ("failure", "its key at binanceusdm may withdraw")
    (live.directory / "secrets" / "key").chmod(0o644)
    status, found = key_of_main(live)
    assert (status, "key_file" in found, KEY in found) == ("failure", True, False)


def test_entries_a_lost_answer_an_exit_of_the_scanner_and_no_secret_anywhere(live, caplog):
    live.wait(
        lambda: "filled 1 at" in live.run("intent", "buy", BTC, "1", *LIVE).output
    )  # once the day's result is read
    live.server.venue.faults.arm(Fault(Kind.RESET, "POST", "/fapi/v1/order"))
    live.run("intent", "buy", BTC, "0.5", *LIVE)
    live.wait(lambda: [row["quantity"] for row in live.rows("positions")] in (["1.5"], [1.5]))
    assert "LIVE, real money: main at binanceusdm" in live.ok("status")
    live.wait(lambda: live.run("check").exit_code == 0, 30)  # the lost answer is found by looking

    assert reconciled(live) == (0, [("1.5", "1.5", "same")])
    live.server.venue.exchange.by_hand("BTCUSDT", "BUY", Decimal("0.5"))
    assert reconciled(live) == (1, [("1.5", "2", "differs")])
    nobody = live.run("reconcile", "--account", "second", "--config", live.config)
    assert (nobody.exit_code, "no live account; there are main" in nobody.output) == (2, True)
    live.server.venue.exchange.by_hand("BTCUSDT", "SELL", Decimal("0.5"))

    wallet = live.server.venue.exchange.account.wallet
    (account,) = json.loads(live.run("limits", "--json", "--config", live.config).stdout)["accounts"]
    assert abs(Decimal(account["nav"]) - wallet) < 10, (
        "NAV began with the wallet, and not with ledger.capital"
    )
    assert abs(Decimal(account["wallet"]) - wallet) < 1
    live.prices[BTC] = "85"  # below the stop-loss of 10 %
    live.wait(lambda: not live.rows("positions"), 30)
    (trade,) = live.rows("trades")
    assert (trade["exit_reason"], trade["account"], trade["exchange"]) == ("stop_loss", "main", "binanceusdm")
    exchange = live.server.venue.exchange
    ours = [ask.reduce_only for ask in exchange.received if not ask.client_id.startswith("web_")]
    assert ours == [False, False, True]
    assert exchange.account.of("BTCUSDT").quantity == 0

    live.server.venue.faults.arm(Fault(Kind.BAD_GATEWAY, "GET", "/fapi/v1/userTrades", times=3))
    live.wait(lambda: "signature=***" in caplog.text)  # an error with an address, which had a signature
    for where, text in [*live.shown(), ("the log", caplog.text), ("status", live.ok("status", "--json"))]:
        assert KEY not in text, where
        assert SECRET not in text, where
        assert "signature=" not in text.replace("signature=***", ""), where


def test_a_stop_rests_at_the_exchange_follows_and_closes_the_position(guarded):
    algos = guarded.server.venue.exchange.algos

    def resting():
        return [(str(one.ask.trigger), str(one.ask.quantity)) for one in algos.values() if one.is_open]

    guarded.wait(
        lambda: "filled 1 at" in guarded.run("intent", "buy", BTC, "1", "--stop-loss", "90", *LIVE).output
    )
    guarded.wait(lambda: resting() == [("90.0", "1.000")] or resting() == [("90", "1")], 30)
    both_show_it = [("1", "1", "same"), ("1", "1", "stop at 90")]
    guarded.wait(lambda: reconciled(guarded) == (0, both_show_it), 30)
    guarded.wait(lambda: [row["stop_at_venue"] for row in guarded.rows("positions")] == ["90"], 30)
    (position,) = guarded.rows("positions")
    assert f"{BTC} long (main/binanceusdm): its stop rests there at 90" in guarded.ok("status")
    assert "its stop rests at binanceusdm, at 90" in guarded.ok("explain", BTC)
    guarded.ok("exits", "set", position["position_id"], "--stop-loss", "95", "--why", "a test")
    guarded.wait(lambda: [price for price, _ in resting()] == ["95"], 30)
    guarded.prices[BTC] = "94"
    guarded.wait(lambda: not guarded.rows("positions"), 30)
    (trade,) = guarded.rows("trades")
    assert (trade["exit_reason"], Decimal(trade["trigger_level"])) == ("exit_on_venue", 95)
    assert [ask.reduce_only for ask in guarded.server.venue.exchange.received] == [False, True, True]
    guarded.wait(lambda: reconciled(guarded) == (0, []), 30)
