"""Prices of an exchange: websockets, REST while they are down, and clear words where neither can help."""

import asyncio
import builtins
from decimal import Decimal
from itertools import pairwise

import pytest

from holdfast.runtime.faults import EXIT_CONFIG, Terminal
from holdfast.venues.ccxt_feed import CcxtFeed, Opened, open_exchange
from services.market_feed.live import LiveSource
from services.market_feed.service import MarketFeed
from tests.unit._feed import Enough, FakeClock, Sink

D = Decimal


class PatientClock(FakeClock):
    """Time passes only when nothing else happens: whoever sleeps lets everybody else go first."""

    async def sleep(self, seconds: float) -> None:
        for _ in range(20):
            await asyncio.sleep(0)
        await super().sleep(seconds)


class Down(Exception):  # noqa: N818 - what this exchange raises
    pass


def ticker(symbol="BTC/USDT", bid=41999.5, ask=42000.5, last=42000.1):
    return {"symbol": symbol, "bid": bid, "ask": ask, "last": last, "info": {}}


class FakeExchange:
    """At the boundary of ccxt.pro: answers from a script; an exception in it is raised, "silence" never ends."""

    def __init__(
        self,
        watch=(),
        fetch=(),
        has=("watchTickers", "fetchTickers"),
        markets=("BTC/USDT", "ETH/USDT"),
        load=None,
    ):
        self.has, self.markets, self.closed = dict.fromkeys(has, True), None, 0
        self.tickers = {}
        self._watch, self._fetch, self._names, self._load = list(watch), list(fetch), markets, load
        self.watched, self.fetched = [], []

    async def load_markets(self):
        if self._load is not None:
            raise self._load
        self.markets = {name: {} for name in self._names}

    async def watch_tickers(self, symbols):
        self.watched.append(list(symbols))
        return await self._next(self._watch)

    async def watch_ticker(self, symbol):
        self.watched.append(symbol)
        if mine := next(
            (one for one in self._watch if isinstance(one, Exception) or one["symbol"] == symbol), None
        ):
            self._watch.remove(mine)
            return await self._next([mine])
        return await self._next(["silence"])

    async def fetch_tickers(self, symbols):
        self.fetched.append(list(symbols))
        return await self._next(self._fetch)

    async def fetch_ticker(self, symbol):
        self.fetched.append(symbol)
        return ticker(symbol)

    async def _next(self, script):
        await asyncio.sleep(0)
        answer = script.pop(0) if script else Down("nothing left")
        if isinstance(answer, Exception):
            raise answer
        if answer == "silence":
            await asyncio.Event().wait()
        return answer

    async def close(self):
        self.closed += 1


async def hear(*exchanges, symbols=("BTC/USDT",), most=1, clock=None):
    """(sink, source) after *most* ticks over one client after the other."""
    clock, clients = clock or PatientClock(), iter(exchanges)
    feed = CcxtFeed("fake", symbols, clock, lambda name: Opened(next(clients), (Down, TimeoutError)))
    sink, source = Sink(clock, most), LiveSource("fake", feed, clock, lambda: "r1")
    with pytest.raises(Enough):
        await MarketFeed(source).pump(sink)
    return sink, source


async def test_the_websocket_gives_ticks_in_wall_time():
    exchange = FakeExchange(
        [{"BTC/USDT": ticker()}, {"ETH/USDT": ticker("ETH/USDT", "2499.9", "2500.1", 2500)}]
    )
    sink, source = await hear(exchange, symbols=("BTC/USDT", "ETH/USDT"), most=2)
    one, two = sink.ticks
    assert (one.symbol, one.bid, one.ask, one.last) == ("BTC/USDT", D("41999.5"), D("42000.5"), D("42000.1"))
    assert (two.symbol, two.bid, two.last) == ("ETH/USDT", D("2499.9"), D(2500))
    assert (one.feed, one.live, one.run, one.id, two.id) == ("ccxt:fake", True, "r1", "r1:0", "r1:1")
    assert one.at == two.at == 1_700_000_000_000
    assert source.details() == {"state": "websocket"}
    assert source.warnings() == []
    await source.close()
    assert exchange.closed == 1


async def test_a_symbol_that_moves_all_the_time_hides_no_other():
    """The client answers with what moved first; what came right behind it is in no answer, and is kept beside."""

    class Busy(FakeExchange):
        async def watch_tickers(self, symbols):
            answer = await super().watch_tickers(symbols)
            for other in symbols[1:]:
                self.tickers[other] = ticker(other, last=2500 + len(self.watched))
            return answer

    exchange = Busy([{"BTC/USDT": ticker(last=1)}, {"BTC/USDT": ticker(last=2)}, "silence"])
    sink, _ = await hear(exchange, symbols=("BTC/USDT", "ETH/USDT"), most=4)
    told = [(tick.symbol, int(tick.last)) for tick in sink.ticks]
    assert told == [("BTC/USDT", 1), ("ETH/USDT", 2501), ("BTC/USDT", 2), ("ETH/USDT", 2502)]


async def test_a_perpetual_is_asked_for_by_its_own_name_and_told_by_the_canonical_one():
    exchange = FakeExchange([{"x": ticker("BTC/USDT:USDT")}], markets=("BTC/USDT:USDT",))
    sink, _ = await hear(exchange, symbols=("BTC/USDT:USDT",))
    assert exchange.watched[0] == ["BTC/USDT:USDT"]
    assert sink.ticks[0].symbol == "BTC/USDT"


async def test_one_watch_per_symbol_where_there_is_none_for_all():
    script = [ticker("ETH/USDT"), ticker("BTC/USDT"), ticker("ETH/USDT")]
    exchange = FakeExchange(script, has=("watchTicker",))
    sink, _ = await hear(exchange, symbols=("BTC/USDT", "ETH/USDT"), most=3)
    assert sorted(tick.symbol for tick in sink.ticks) == ["BTC/USDT", "ETH/USDT", "ETH/USDT"]


async def test_while_the_websocket_is_down_prices_come_by_rest():
    broken = FakeExchange([{"a": ticker(last=1)}, Down("reset by peer")], [{"a": ticker(last=2)}] * 9)
    mended = FakeExchange([{"a": ticker(last=3)}, {"a": ticker(last=4)}])
    clock = PatientClock()
    sink, source = await hear(broken, mended, most=4, clock=clock)
    assert [int(tick.last) for tick in sink.ticks] == [1, 2, 3, 4]
    assert broken.closed == 1
    assert source.details() == {"state": "websocket"}


async def test_what_is_wrong_is_told_while_it_is():
    _, source = await hear(FakeExchange([Down("no route")], [{"a": ticker()}]))
    assert source.details() == {"state": "polling"}
    assert source.warnings() == ["fake: websocket: Down: no route"]


async def test_rest_without_a_call_for_all_asks_for_each():
    exchange = FakeExchange(has=())
    sink, _ = await hear(exchange, symbols=("BTC/USDT", "ETH/USDT"), most=2)
    assert exchange.fetched == ["BTC/USDT", "ETH/USDT"]
    assert len(sink.ticks) == 2


async def test_the_pause_before_connecting_again_doubles_up_to_a_minute():
    """Nothing answers: markets, websocket nor REST. Attempts come 1, 2, 4 … 60, 60 s apart, and in the end it works."""
    clock, opened = PatientClock(), []

    def exchange(number):
        return FakeExchange([{"a": ticker()}]) if number == 9 else FakeExchange(load=Down("no network"))

    def open_client(name):
        opened.append(clock.monotonic // 1000)
        return Opened(exchange(len(opened)), (Down,))

    feed = CcxtFeed("fake", ["BTC/USDT"], clock, open_client)
    source = LiveSource("fake", feed, clock, lambda: "r1")
    with pytest.raises(Enough):
        await MarketFeed(source).pump(Sink(clock, 1))
    waits = [after - before for before, after in pairwise(opened)]
    assert waits == [1, 2, 4, 8, 16, 32, 60, 60]
    await source.close()


async def test_a_websocket_that_says_nothing_counts_as_failed():
    clock = PatientClock()
    sink, source = await hear(FakeExchange(["silence"], [{"a": ticker()}]), clock=clock)
    assert len(sink.ticks) == 1
    assert "no price for 15 s" in source.warnings()[0]


async def test_silence_is_told_in_the_heartbeat():
    clock = PatientClock()
    source = LiveSource("fake", CcxtFeed("fake", ["BTC/USDT"], clock), clock, lambda: "r1")
    assert source.warnings() == []
    clock.move(16_000)
    assert source.warnings() == ["ccxt:fake: no price for 16 s"]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (ticker(bid=None, ask=None, last=5), (5, 5, 5)),
        (ticker(bid=4, ask=6, last=None), (4, 6, 5)),
        (ticker(bid=1e-8, ask=2e-8, last=1.5e-8), ("0.00000001", "0.00000002", "0.000000015")),
    ],
)
async def test_what_a_ticker_leaves_out_is_taken_from_the_rest(given, expected):
    sink, _ = await hear(FakeExchange([{"a": given}]))
    (tick,) = sink.ticks
    assert (tick.bid, tick.ask, tick.last) == tuple(map(D, expected))


async def test_a_ticker_without_a_price_is_left_out_and_told_once(caplog):
    useless = [
        {"a": ticker(bid=None, last=None)},
        {"a": ticker(last=float("nan"))},
        {"a": ticker("XRP/USDT")},
    ]
    sink, _ = await hear(FakeExchange([*useless, *useless, {"a": ticker()}]))
    assert len(sink.ticks) == 1
    assert caplog.text.count("a ticker without a price") == 1
    assert caplog.text.count("not a price") == 1


async def test_a_symbol_that_the_exchange_does_not_have_stops_the_service():
    with pytest.raises(Terminal, match="the exchange has no DOGE/USDT") as raised:
        await hear(FakeExchange(), symbols=("BTC/USDT", "DOGE/USDT"))
    assert raised.value.code == EXIT_CONFIG


def test_without_ccxt_it_says_what_to_install(monkeypatch):
    real = builtins.__import__

    def without(name, *rest):
        if name.startswith("ccxt"):
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(Terminal, match=r'pip install "holdfast\[exchange\]"'):
        open_exchange("binance")
