"""Public prices of the simulated venue, through ccxt's own websockets and the feed that a user runs."""

import asyncio
from functools import partial

import pytest

from holdfast.runtime.clock import SystemClock
from holdfast.venues.ccxt_feed import CcxtFeed, open_exchange
from services.market_feed.spec import BadSpec, parse
from tests.venue._stage import KEY, SECRET, D
from venue_sim.market import Quote
from venue_sim.server import Server


async def test_the_feed_hears_the_simulated_prices_by_websocket():
    clock = SystemClock()
    server = Server(clock, key=KEY, secret=SECRET)
    await server.start()
    feed = CcxtFeed(
        "binanceusdm",
        ["BTC/USDT:USDT", "ETH/USDT:USDT"],
        clock,
        partial(open_exchange, url=server.url),
    )
    heard, said = {}, 0
    quotes = feed.quotes()
    try:
        await server.price("BTCUSDT", Quote(D(42000), D("42000.1"), clock.wall_ms()))
        while heard.keys() != {"BTC/USDT", "ETH/USDT"}:
            said += 1
            speaking = _speak(server, clock, said)
            for quote in await _next(quotes, speaking):
                assert feed.trouble is None
                heard[quote.symbol] = quote.last
        assert heard["BTC/USDT"] > 42000
        assert heard["ETH/USDT"] > 2500
    finally:
        await quotes.aclose()
        await feed.close()
        await server.stop()


async def _speak(server, clock, start):
    """Prices that move until whoever waits has heard one."""
    number = start * 1000
    while True:
        number += 1
        for symbol, price in (("BTCUSDT", 42000), ("ETHUSDT", 2500)):
            bid = D(price) + D(number) / 10
            await server.price(symbol, Quote(bid, bid + D("0.1"), clock.wall_ms()))
        await clock.sleep(0.02)


async def _next(quotes, speaking):
    task = asyncio.ensure_future(speaking)
    try:
        return await asyncio.wait_for(anext(quotes), 20)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def test_a_feed_goes_to_a_simulated_venue_or_to_the_exchange_and_nowhere_else():
    spec = parse("ccxt:binanceusdm?symbols=BTC/USDT:USDT&url=http://venue-sim:8490")
    assert (spec.url, parse("ccxt:binanceusdm").url) == ("http://venue-sim:8490", "")
    with pytest.raises(BadSpec, match=r"url: .*evil.* is no simulated venue"):
        parse("ccxt:binanceusdm?url=http://evil.example:8490")
