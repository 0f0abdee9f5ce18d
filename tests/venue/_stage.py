"""A simulated venue on a socket, with prices, and a plain ccxt client of it: nothing of ours in between."""

import asyncio
import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from urllib.parse import urlsplit

import ccxt.async_support as ccxt

from holdfast.contracts.rows import OrderRow
from holdfast.venues.capabilities import CAPABILITIES
from holdfast.venues.ccxt_client import Clients, Credentials
from holdfast.venues.ccxt_venue import CcxtVenue
from venue_sim.market import Quote
from venue_sim.server import Server

D = Decimal
KEY, SECRET = "test-key-of-the-venue", "test-secret-of-the-venue"
START = 1_700_000_000_000


class HandClock:
    """Both clocks are moved by the test; sleeping takes real time, a hundredth of what was asked for."""

    def __init__(self, now=START):
        self.now = now

    def wall_ms(self):
        return self.now

    def monotonic_ms(self):
        return self.now - START + 1

    async def sleep(self, seconds):
        await _pause(seconds / 100)


async def _pause(seconds):
    """The simulated venue's own waiting: for a client to go away, or for a request that is on its way."""
    await asyncio.sleep(seconds)


async def until(condition, seconds=10.0):
    """Returns when *condition* holds; fails when it does not in time."""
    end = asyncio.get_running_loop().time() + seconds
    while not condition():
        assert asyncio.get_running_loop().time() < end, "it never came true"
        await asyncio.sleep(0.005)


BITCOIN = {"binanceusdm": "BTCUSDT", "binance": "BTCUSDT", "kraken": "XBTUSDT"}
"""What each venue calls BTC/USDT."""


def secret_of(dialect):
    """Of the form that the venue gives out."""
    return base64.b64encode(SECRET.encode()).decode() if dialect == "kraken" else SECRET


@asynccontextmanager
async def venue(
    clock, *, bid="42000", ask="42000.1", size="10", wallet="1000000", dialect="binanceusdm"
) -> AsyncIterator[Server]:
    """A server with a price of BTC/USDT and ETH/USDT."""
    server = Server(clock, key=KEY, secret=secret_of(dialect), wallet=D(wallet), dialect=dialect)
    await server.start()
    quote(server, bid, ask, size, BITCOIN[dialect])
    quote(server, "2500", "2500.01", size, "ETHUSDT")
    try:
        yield server
    finally:
        await server.stop()


def quote(server, bid, ask, size="10", symbol="BTCUSDT"):
    server.venue.exchange.quote(symbol, Quote(D(bid), D(ask), server.venue.clock(), D(size)))


def moved(addresses, url):
    """ccxt's addresses at *url*: the same paths, sockets where it has sockets."""
    new = {}
    for name, address in addresses.items():
        if isinstance(address, dict):
            new[name] = moved(address, url)
        else:
            parts = urlsplit(address)
            new[name] = (url.replace("http", "ws") if parts.scheme == "wss" else url) + parts.path
    return new


@asynccontextmanager
async def plain_client(server, clock, name, *, library=ccxt, secret=None, key=KEY, timeout_ms=150):
    """ccxt as it is installed, and all that it does by default; only its addresses and its clock are ours."""
    exchange = getattr(library, name)(
        {"apiKey": key, "secret": secret or secret_of(name), "enableRateLimit": False, "timeout": timeout_ms}
    )
    exchange.number, exchange.timeout_on_exit = str, 0
    exchange.milliseconds = clock.wall_ms
    exchange.urls["api"] = moved(exchange.urls["api"], server.url)
    try:
        yield exchange
    finally:
        await exchange.close()


@asynccontextmanager
async def client(server, clock, *, secret=SECRET, key=KEY, timeout_ms=10_000):
    """ccxt as it is installed; only its addresses and its clock are ours."""
    exchange = ccxt.binanceusdm(
        {"apiKey": key, "secret": secret, "enableRateLimit": False, "timeout": timeout_ms}
    )
    exchange.number, exchange.timeout_on_exit = str, 0
    exchange.milliseconds = clock.wall_ms
    exchange.urls["api"] = {
        name: server.url + url[url.index(f"/{part}/") :]
        for name, url in exchange.urls["api"].items()
        if isinstance(url, str)
        for part in ("fapi", "sapi")
        if f"/{part}/" in url
    }
    try:
        yield exchange
    finally:
        await exchange.close()


# -- the adapter --------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def ccxt_venue(server, clock, *, symbols=("BTC/USDT", "ETH/USDT"), hedged=False, dialect="binanceusdm"):
    """Our venue over real ccxt, on *server*. Its limiter is off: the tests' orders are few, and their time is not."""
    capability = CAPABILITIES[dialect]
    clients = Clients(
        capability,
        Credentials(KEY, secret_of(dialect), url=server.url),
        clock,
        timeout_ms=10_000,
        limited=False,
    )
    adapter = CcxtVenue("main", capability, clients, clock, symbols=symbols, answer_ms=10_000, hedged=hedged)
    try:
        await adapter.open()
        yield adapter
    finally:
        await adapter.close()


def impatient(adapter, ms=150):
    """Sends are given up so soon from now on: for faults that never answer."""
    adapter._answer_ms = adapter.clients.trade.timeout = adapter.clients.leave.timeout = ms


def row(order_id="h1", *, clock, side="buy", quantity="0.1", send_in=2000, **fields):
    """An order as the ledger reserves it."""
    now = clock.wall_ms()
    given = {
        "order_id": order_id, "intent_id": f"i-{order_id}", "book_id": "main/binanceusdm/BTC/USDT", "account": "main",
        "exchange": "binanceusdm", "symbol": "BTC/USDT", "kind": "linear", "contract_size": "1", "settle": "USDT", "role": "entry",
        "side": side, "quantity": quantity, "incarnation": "life1", "epoch": 1, "send_by": now + send_in, "reserved_at": now, "changed_at": now,
    }  # fmt: skip
    return OrderRow.model_validate(given | fields)


KINDS = {
    "market entry": {},
    "limit entry": {"type": "limit", "price": "41000"},
    "crossing limit entry": {"type": "limit", "price": "42100"},
    "ioc entry": {"type": "limit", "price": "42100", "time_in_force": "ioc"},
    "post-only entry": {"type": "limit", "price": "41000", "post_only": True},
    "market exit": {"side": "sell", "role": "exit", "reduce_only": True, "position_id": "p1"},
    "limit exit": {"side": "sell", "role": "exit", "reduce_only": True, "position_id": "p1", "type": "limit", "price": "43000"},
    "stop": {"side": "sell", "role": "protect", "reduce_only": True, "position_id": "p1", "stop_price": "41000"},
    "stop-limit": {"side": "sell", "role": "protect", "reduce_only": True, "position_id": "p1", "stop_price": "41000", "type": "limit", "price": "40590"},
}  # fmt: skip
"""Every kind of order that Holdfast sends."""
