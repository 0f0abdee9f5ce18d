"""Three live accounts of one executor, at three exchanges on their own wires: futures, and two kinds of spot. Each trades by itself."""

from contextlib import AsyncExitStack, asynccontextmanager

from holdfast.contracts.codes import Code, ResultStatus
from holdfast.domain.light import Beat
from holdfast.domain.view import LedgerView
from holdfast.domain.wallets import wallets_in
from holdfast.runtime.settings import Settings
from holdfast.venues.capabilities import CAPABILITIES
from holdfast.venues.ccxt_client import Clients, Credentials
from holdfast.venues.ccxt_venue import CcxtVenue
from services.executor.service import Executor
from tests.unit._executor import MemoryLedger, Numbers, World
from tests.unit._state import heartbeat
from tests.venue._stage import BITCOIN, KEY, D, quote, secret_of, venue
from tests.venue._world import LIVE, LiveClock
from venue_sim.faults import Fault, Kind

BTC = "BTC/USDT"
AT = {"main": "binanceusdm", "second": "kraken", "third": "binance"}
TAKEN = {"main": D("0.0005"), "second": D("0.004"), "third": D("0.001")}
"""Of the value, from who takes."""


class Three(World):
    """See the module. Reads are given up after a tenth of a second, so that silence costs little."""

    def __init__(self, servers, clients, clock, sections, own):
        self.servers, self.clients, self.clock = servers, clients, clock
        accounts = {
            name: LIVE | {"exchange": wire, "symbols": [BTC]} | own.get(name, {}) for name, wire in AT.items()
        }
        self.settings = Settings.model_validate(
            {"live": True, "accounts": [*AT], "account": accounts, **sections}
        )
        self.ledger = MemoryLedger(clock, self.settings)
        self.bus, self.acked, self.lives, self.entries = [], set(), 1, 0
        self.fullness = 0.0

    async def begin(self):
        self.view, self.venues = LedgerView(), {}
        for name, wire in AT.items():
            clients = self.clients[name]
            self.venues[name, wire] = CcxtVenue(
                name, CAPABILITIES[wire], clients, self.clock, symbols=[BTC], answer_ms=5_100
            )
            await self.venues[name, wire].open()
        self.executor = Executor(
            self.settings,
            self.clock,
            Numbers("x1-"),
            self.view,
            self.venues,
            "life1",
            bus_fullness_pct=lambda: self.fullness,
        )
        await self.reset()
        await self.price("42000")
        await self.time()
        await self.settle()
        return self

    def entry(self, *stream, account, **fields):
        return super().entry(*stream, account=account, exchange=AT[account], **fields)

    async def price(self, bid):
        for name, wire in AT.items():
            quote(self.servers[name], bid, str(D(bid) + D("0.1")), symbol=BITCOIN[wire])
        await self.tick(bid, str(D(bid) + D("0.1")))

    async def bought(self, account, quantity="0.1"):
        """The answer to an entry."""
        await self.give(self.buy(quantity, account=account))
        await self.settle()
        await self.pass_time(1_000)
        return list(self.ledger.known.intents.values())[-1]

    async def closed(self, account):
        await self.give_exits(self.close(account=account))
        await self.settle()
        await self.pass_time(2_000, step=500)

    def ours(self):
        return {row.account: row.quantity for row in self.ledger.state.positions.values() if row.is_open}

    def there(self):
        """What each exchange has traded for us in sum; on spot its fees are not in it."""
        sums = {}
        for name, server in self.servers.items():
            trades = server.venue.exchange.trades
            sums[name] = sum((one.quantity if one.side == "BUY" else -one.quantity for one in trades), D(0))
        return sums


@asynccontextmanager
async def three(own=None, *, begun=True, **sections):
    clock = LiveClock()
    async with AsyncExitStack() as stack:
        servers, clients = {}, {}
        for name, wire in AT.items():
            servers[name] = await stack.enter_async_context(venue(clock, dialect=wire))
            clients[name] = Clients(
                CAPABILITIES[wire],
                Credentials(KEY, secret_of(wire), url=servers[name].url),
                clock,
                timeout_ms=5_000,
                limited=False,
            )
            stack.push_async_callback(clients[name].close)
        dialect = servers["second"].venue.dialect
        dialect.adjust({"nonce_window": 60_000})
        dialect.door.calls.limit = 1_000_000  # the tests' time hardly moves
        world = Three(servers, clients, clock, sections, own or {})
        yield await world.begin() if begun else world


async def test_each_account_enters_and_leaves_at_its_own_exchange():
    async with three() as world:
        for account in AT:
            assert (await world.bought(account)).status is ResultStatus.FILLED
        ours = world.ours()
        assert ours.keys() == AT.keys()
        assert world.there() == dict.fromkeys(AT, D("0.1"))
        assert ours["main"] == D("0.1")
        assert ours["third"] == D("0.0999"), "Binance takes its fee in the coin"
        for account in AT:
            await world.price("42000")
            await world.closed(account)
            assert account not in world.ours()
        assert world.ours() == {}
        assert {name: abs(left) < D("0.001") for name, left in world.there().items()} == dict.fromkeys(
            AT, True
        )
        assert world.executor.heartbeat()["unreadable"] is None
        assert (
            world.executor.heartbeat()["details"]["live"]
            == "main at binanceusdm, second at kraken, third at binance"
        )


async def test_limits_are_each_accounts_own_and_that_of_a_side_is_everybodys():
    own = {"second": {"max_notional": "5000"}}
    async with three(
        own, limits={"max_total_long_notional": "10000", "max_symbol_notional": "100000"}
    ) as world:
        refused = await world.bought("second", "0.2")
        assert (refused.code, "[account.second] max_notional" in refused.reason) == (
            Code.MAX_ACCOUNT_NOTIONAL,
            True,
        )
        for account in ("second", "third"):
            assert (await world.bought(account)).status is ResultStatus.FILLED
        refused = await world.bought("main")
        assert (refused.code, "max_total_long_notional" in refused.reason) == (Code.MAX_SIDE_NOTIONAL, True)
        await world.give(world.sell("0.1", account="main"))
        await world.settle()
        assert list(world.ledger.known.intents.values())[-1].code is None, "the other side is free"


async def test_an_exchange_that_falls_silent_holds_its_own_entries_back_and_nothing_else():
    async with three() as world:
        for account in AT:
            await world.bought(account)
        for client in (
            world.clients["second"].read,
            world.clients["second"].trade,
            world.clients["second"].leave,
        ):
            client.timeout = 50
        world.servers["second"].venue.faults.arm(Fault(Kind.SILENT_BEFORE, times=1_000_000))
        await world.pass_time(60_000, step=20_000)
        await world.price("42000")
        refused = await world.bought("second")
        assert refused.code is Code.VENUE_UNREADABLE
        assert "second/kraken" in world.executor.heartbeat()["unreadable"]
        assert "main" not in world.executor.heartbeat()["unreadable"]
        for account in ("main", "third"):
            assert (await world.bought(account)).status is ResultStatus.FILLED
            await world.closed(account)
        assert world.ours().keys() == {"second"}
        world.servers["second"].venue.faults.clear()
        await world.pass_time(60_000, step=20_000)
        await world.price("42000")
        await world.closed("second")
        assert world.ours() == {}


async def test_a_size_by_risk_counts_the_taker_fee_that_its_own_exchange_takes():
    """1 % of 10,000, with a stop 2 % away: what is lost there, fees of both orders included, is 100, missed by less than a step."""
    async with three({account: {"capital": "10000"} for account in AT}) as world:
        for account, wire in AT.items():
            await world.price("42000")
            await world.give(
                world.entry(account=account, symbol=BTC, side="buy", risk_pct="1", stop_loss="2%")
            )
            await world.settle()
            await world.pass_time(1_000)
            (trade,) = world.servers[account].venue.exchange.trades
            fee = trade.fee / trade.quantity / (1 if trade.fee_asset != "USDT" else trade.price)
            assert round(fee, 6) == TAKEN[account]
            stop = trade.price * D("0.98")

            def lost(quantity, price=trade.price, stop=stop, fee=TAKEN[account]):
                return quantity * (price - stop) + quantity * (price + stop) * fee

            step = world.venues[account, wire].rules(BTC).quantity_step
            assert lost(trade.quantity) <= 100 < lost(trade.quantity + step)


# -- what the accounts begin with ---------------------------------------------------------------------------------------------


def beat_of(world):
    return heartbeat("executor", **world.executor.heartbeat())


def navs(world):
    return {account: (row.began, row.cash) for account, row in world.ledger.state.nav.items()}


async def test_nav_counts_from_what_the_wallets_held_at_the_first_start_and_that_is_recorded_once():
    async with three({"third": {"capital": "777"}}) as world:
        million = D(1_000_000)
        assert navs(world) == {"main": (million, million), "second": (million, million)}
        for account in ("main", "second"):
            await world.bought(account)
        world.servers["main"].venue.exchange.account.wallet += 500
        world.servers["second"].venue.dialect.adjust({"coins": {"USDT": "5"}})
        await world.begin()
        await world.pass_time(65_000, step=5_000)
        assert {account: began for account, (began, _) in navs(world).items()} == {
            "main": million,
            "second": million,
        }
        paid = world.servers["main"].venue.exchange.trades[0].fee
        shown = wallets_in({"executor": Beat.of(beat_of(world), 0)})
        assert shown == {"main": million + 500 - paid, "second": D(5), "third": million}
        assert (
            beat_of(world)
            .warnings[-1]
            .startswith("[account.third] capital is 777, and the wallet at binance holds 1000000 USDT")
        )


async def test_an_account_whose_wallet_cannot_be_read_waits_with_its_entries_and_has_no_nav():
    async with three(begun=False) as world:
        world.servers["main"].venue.faults.arm(Fault(Kind.BAD_GATEWAY, "GET", "/account", times=1_000_000))
        await world.begin()
        assert navs(world).keys() == {"second", "third"}
        await world.give(world.buy("0.1", account="main"))
        await world.pass_time(6_000, step=1_000)
        refused = list(world.ledger.known.intents.values())[-1]
        assert (refused.code, "[account.main] capital is not set" in refused.reason) == (
            Code.VENUE_UNREADABLE,
            True,
        )
        await world.give(world.buy("0.1", account="main"))
        await world.pass_time(2_000, step=1_000)
        assert world.there()["main"] == 0
        world.servers["main"].venue.faults.clear()
        await world.pass_time(4_000, step=1_000)
        assert world.there()["main"] == D("0.1")
