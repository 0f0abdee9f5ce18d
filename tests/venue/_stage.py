"""A simulated venue on a socket, with prices, and a plain ccxt client of it: nothing of ours in between."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal

import ccxt.async_support as ccxt

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
        import asyncio

        await asyncio.sleep(seconds / 100)


@asynccontextmanager
async def venue(clock, *, bid="42000", ask="42000.1", size="10", wallet="1000000") -> AsyncIterator[Server]:
    """A server with a price of BTCUSDT and ETHUSDT."""
    server = Server(clock, key=KEY, secret=SECRET, wallet=D(wallet))
    await server.start()
    quote(server, bid, ask, size)
    quote(server, "2500", "2500.01", size, "ETHUSDT")
    try:
        yield server
    finally:
        await server.stop()


def quote(server, bid, ask, size="10", symbol="BTCUSDT"):
    server.venue.exchange.quote(symbol, Quote(D(bid), D(ask), server.venue.clock(), D(size)))


@asynccontextmanager
async def client(server, clock, *, secret=SECRET, key=KEY, timeout_ms=150):
    """ccxt as it is installed; only its addresses and its clock are ours."""
    exchange = ccxt.binanceusdm(
        {"apiKey": key, "secret": secret, "enableRateLimit": False, "timeout": timeout_ms}
    )
    exchange.number = str
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
