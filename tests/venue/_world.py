"""The executor against the simulated venue, over loopback and real ccxt, with the ledger's real decisions in memory.

Time is the test's; a fault that makes a client wait costs real milliseconds. A crash leaves requests on their way, as `kill -9` does.
"""

from contextlib import asynccontextmanager

from holdfast.contracts.exit_messages import ExitAdjust
from holdfast.domain.orders import is_ours
from holdfast.domain.steer import adjust
from holdfast.domain.view import LedgerView
from holdfast.runtime.settings import Settings
from holdfast.venues.capabilities import CAPABILITIES
from holdfast.venues.ccxt_client import Clients, Credentials
from holdfast.venues.ccxt_venue import CcxtVenue
from services.executor.service import Executor
from tests.unit._executor import MemoryLedger, Numbers, World
from tests.venue._stage import BITCOIN, KEY, D, HandClock, quote, secret_of, venue
from venue_sim.kraken_rows import named

FUTURES = "binanceusdm"
SYMBOLS = ("BTC/USDT", "ETH/USDT")
LIVE = {
    "mode": "live", "symbols": list(SYMBOLS), "max_notional": "10000000", "daily_loss": "1000000",
    "key_file": "unread", "secret_file": "unread", "protect": "scanner",
}  # fmt: skip


class LiveClock(HandClock):
    ahead = 0


class LiveWorld(World):
    """One executor after another against one ledger and one simulated venue."""

    def __init__(self, server, clients, clock, wire=FUTURES, sections=None, **account):
        self.server, self.clients, self.clock, self.wire = server, clients, clock, wire
        self.sections = sections or {}
        self.configure(**account)
        self.ledger = MemoryLedger(clock, self.settings)
        self.bus, self.acked, self.lives, self.entries = [], set(), 0, 0
        self.fullness = 0.0

    def configure(self, **account):
        """The account's settings, for the next incarnation."""
        given = LIVE | {"exchange": self.wire} | account
        self.settings = Settings.model_validate({"live": True, "account": {"main": given}, **self.sections})

    @property
    def exchange(self):
        """The simulated one."""
        return self.server.venue.exchange

    async def start(self):
        """A new incarnation: it knows what the ledger knows, and nothing else."""
        self.lives += 1
        self.view = LedgerView()
        self.venue = CcxtVenue(
            "main",
            CAPABILITIES[self.wire],
            self.clients,
            self.clock,
            symbols=SYMBOLS,
            answer_ms=self.clients.trade.timeout + 100,
        )
        await self.venue.open()
        self.executor = Executor(
            self.settings, self.clock, Numbers(f"x{self.lives}-"), self.view, {("main", self.wire): self.venue}, f"life{self.lives}",
            bus_fullness_pct=lambda: self.fullness,
        )  # fmt: skip
        await self.reset()
        return self

    def entry(self, *stream, **fields):
        return super().entry(*stream, **({} if "body" in fields else {"exchange": self.wire}) | fields)

    async def price(self, bid, symbol="BTC/USDT", size="10"):
        """The book moves, and the feed says so."""
        ask = D(bid) + D("0.1")
        quote(self.server, bid, str(ask), size, self.name(symbol))
        await self.tick(bid, str(ask), symbol)

    def name(self, symbol):
        """The venue's name of a canonical symbol."""
        return BITCOIN[self.wire] if symbol == "BTC/USDT" else symbol.replace("/", "")

    def of_ours(self, client_id):
        """Our id behind the name that the venue was given, or that it gave to what a stop became; None for an order of somebody else."""
        algos = getattr(self.exchange, "algos", {})
        became = {f"algo_{algo.number}": algo.ask.client_id for algo in algos.values()}
        found = self.venue._ways.ours(became.get(client_id, client_id))
        return found if is_ours(found) else None

    def move_of(self, position, level):
        """The ledger's change that moves a stop-loss, as somebody's or the scanner's word makes it."""
        said = ExitAdjust(
            id=f"x-{position.position_id}-{level}-{self.clock.now}", at=self.clock.now, by="a test", why="a test",
            position_id=position.position_id, stop_loss=level,
        )  # fmt: skip
        return adjust(self.ledger.state, said, self.clock.now)

    async def move_stop(self, position, level):
        update, _ = self.ledger.record(self.move_of(position, level))
        if update is not None:
            await self.hear([update])
            await self.settle()

    def held(self):
        """What the venue holds for us, by canonical symbol: on spot the coins that our own orders bought and did not sell."""
        if self.wire != FUTURES:
            return self._coins()
        return {
            symbol.removesuffix("USDT") + "/USDT": position.quantity
            for (symbol, _), position in self.exchange.account.positions.items()
            if position.quantity
        }

    def _coins(self):
        sums = {}
        for trade in self.exchange.trades:
            if self.of_ours(trade.client_id) is not None:
                spec, symbol = (
                    self.exchange.specs[trade.symbol],
                    "BTC/USDT" if trade.symbol == BITCOIN[self.wire] else "ETH/USDT",
                )
                change = trade.quantity if trade.side == "BUY" else -trade.quantity
                change -= trade.fee if trade.fee_asset == spec.base else 0
                sums[symbol] = sums.get(symbol, 0) + change
        return {symbol: quantity for symbol, quantity in sums.items() if quantity}

    def ours(self):
        """What the ledger holds."""
        return {
            row.symbol: row.quantity if row.side.value == "long" else -row.quantity
            for row in self.ledger.state.positions.values()
            if row.is_open
        }

    def recorded_trades(self):
        return {key.rpartition("|")[2] for key in self.ledger.known.fills}

    def venue_trades(self):
        """The venue's own record of what our orders traded: trade numbers as it names them."""
        trades = [trade for trade in self.exchange.trades if self.of_ours(trade.client_id) is not None]
        return {named("T", one.number) if self.wire == "kraken" else str(one.number) for one in trades}


@asynccontextmanager
async def bench(patience_ms=5_000, wire=FUTURES):
    """A server, ccxt clients of it, and the clock of both, for one world after another: making clients takes long.

    *patience_ms*: so long a send is waited for, in real time.
    """
    clock = LiveClock()
    async with venue(clock, dialect=wire) as server:
        clients = Clients(
            CAPABILITIES[wire],
            Credentials(KEY, secret_of(wire), url=server.url),
            clock,
            timeout_ms=10_000,
            limited=False,
        )
        clients.trade.timeout = clients.leave.timeout = patience_ms
        try:
            yield server, clients, clock
        finally:
            await clients.close()


async def started(server, clients, clock, wire=FUTURES, coins=None, **account):
    """A world with fresh prices, whose day's result has been read. *coins*: what the wallet has besides, by the venue's names."""
    server.reset()
    if wire == "kraken":
        server.venue.dialect.adjust({"nonce_window": 60_000})
        server.venue.dialect.door.calls.limit = 1_000_000  # the tests' time hardly moves
    server.venue.dialect.adjust({"coins": coins or {}})
    for symbol in server.venue.exchange.specs:
        if not symbol.startswith("ETH"):
            quote(server, "42000", "42000.1", symbol=symbol)
    world = await LiveWorld(server, clients, clock, wire, **account).start()
    await world.price("42000")
    await world.price("2500", "ETH/USDT")
    await world.time()
    await world.settle()
    return world


@asynccontextmanager
async def live_world(wire=FUTURES, **account):
    async with bench(wire=wire) as tools:
        yield await started(*tools, wire, **account)
