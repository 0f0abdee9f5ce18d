"""Prices of a real exchange, from its public side: websockets, with REST while they are down. No keys, no orders.

Beside `ccxt_client` this is the only module that imports ccxt, and only when such a feed is asked for. The shape of its life:

    connect -> watch until something fails or stays silent -> poll by REST for a while -> connect -> ...

The while is the backoff: 1 s after the first failure, doubling up to a minute, 1 s again once the websocket has spoken.
So prices go on, a little slower, while the websocket is being mended. Market time is wall time.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Protocol

from holdfast.contracts.money import parse_amount
from holdfast.domain.candles import Quote, middle
from holdfast.domain.instruments import canonical
from holdfast.runtime.clock import Clock
from holdfast.runtime.faults import EXIT_CONFIG, Terminal
from holdfast.venues.ccxt_client import moved

log = logging.getLogger("holdfast.feed")

FIRST_BACKOFF_S, LONGEST_BACKOFF_S = 1.0, 60.0
POLL_EVERY_S = 2.0
SILENT_AFTER_S = 15.0
"""A websocket that says nothing for this long counts as failed, wall s."""


class Exchange(Protocol):
    """What is used of a `ccxt.pro` exchange."""

    has: Mapping[str, Any]
    urls: dict[str, Any]
    markets: Mapping[str, Any] | None
    tickers: Mapping[str, Mapping[str, Any]] | None
    """The latest of each symbol, whoever has waited for it."""

    async def load_markets(self) -> Any: ...
    async def watch_tickers(self, symbols: list[str]) -> Mapping[str, Any]: ...
    async def watch_ticker(self, symbol: str) -> Mapping[str, Any]: ...
    async def fetch_tickers(self, symbols: list[str]) -> Mapping[str, Any]: ...
    async def fetch_ticker(self, symbol: str) -> Mapping[str, Any]: ...
    async def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Opened:
    """A client of an exchange, and what it raises when the exchange or the way to it fails."""

    exchange: Exchange
    errors: tuple[type[Exception], ...]


def open_exchange(name: str, *, url: str = "") -> Opened:
    """A client without keys; *url* replaces its addresses, for a simulated venue. Raises Terminal when ccxt is not installed or does not know *name*."""
    try:
        import ccxt.pro
    except ImportError as error:
        raise Terminal(
            f'feed ccxt:{name} needs ccxt: pip install "holdfast[exchange]"', EXIT_CONFIG
        ) from error
    if name not in ccxt.pro.exchanges:
        raise Terminal(f"feed ccxt:{name}: ccxt knows no websockets of an exchange of that name", EXIT_CONFIG)
    exchange: Exchange = getattr(ccxt.pro, name)({"enableRateLimit": True, "newUpdates": True})
    if url:
        exchange.urls["api"] = moved(exchange.urls["api"], url)
    return Opened(exchange, (ccxt.BaseError, OSError, TimeoutError))


class CcxtFeed:
    """See the module. *open_client* is the seam at which tests put an exchange of their own."""

    def __init__(
        self,
        name: str,
        symbols: Sequence[str],
        clock: Clock,
        open_client: Callable[[str], Opened] = open_exchange,
    ) -> None:
        self._name, self._symbols, self._clock, self._open = name, list(symbols), clock, open_client
        self._opened: Opened | None = None
        self._told: set[str] = set()
        self.trouble: str | None = None
        """Why prices come by REST, or not at all; None while the websocket works."""
        self.heard_at: int | None = None
        """Wall ms of the last price."""

    async def quotes(self) -> AsyncGenerator[list[Quote], None]:
        """What the exchange says, for ever. Raises Terminal for an exchange or a symbol that does not exist."""
        backoff = FIRST_BACKOFF_S
        while True:
            opened = self._client()
            try:
                await self._load(opened.exchange)
                async with aclosing(self._watch(opened.exchange)) as heard:
                    async for quotes in heard:
                        self.trouble, backoff = None, FIRST_BACKOFF_S
                        yield quotes
            except opened.errors as error:
                self.trouble = f"{self._name}: websocket: {type(error).__name__}: {error}"[:500]
                log.warning("%s; polling for %.0f s, then connecting again", self.trouble, backoff)
            async with aclosing(self._poll(opened, backoff)) as heard:
                async for quotes in heard:
                    yield quotes
            backoff = min(backoff * 2, LONGEST_BACKOFF_S)
            await self.close()

    def _client(self) -> Opened:
        if self._opened is None:
            self._opened = self._open(self._name)
        return self._opened

    async def _load(self, exchange: Exchange) -> None:
        if not exchange.markets:
            await exchange.load_markets()
        unknown = [symbol for symbol in self._symbols if symbol not in (exchange.markets or {})]
        if unknown:
            raise Terminal(f"feed ccxt:{self._name}: the exchange has no {', '.join(unknown)}", EXIT_CONFIG)

    async def _watch(self, exchange: Exchange) -> AsyncGenerator[list[Quote], None]:
        """One call that waits for all symbols where the exchange offers it, else one for each; TimeoutError when silent.

        Such a call answers with the one symbol that moved first, and what others said before the next call is in nobody's answer.
        So everything that has moved is taken from where the client keeps it, once the next call waits.
        """
        calls: list[Callable[[], Awaitable[Mapping[str, Any]]]]
        if exchange.has.get("watchTickers"):
            calls = [lambda: exchange.watch_tickers(self._symbols)]
        else:
            calls = [lambda symbol=symbol: exchange.watch_ticker(symbol) for symbol in self._symbols]  # type: ignore[misc]
        waiting: dict[asyncio.Future[Any], Callable[[], Awaitable[Mapping[str, Any]]]]
        waiting = {asyncio.ensure_future(call()): call for call in calls}
        seen: dict[str, Mapping[str, Any]] = {}
        try:
            while True:
                for task in await self._first(set(waiting)):
                    call = waiting.pop(task)
                    tickers = task.result()
                    waiting[asyncio.ensure_future(call())] = call
                    await asyncio.sleep(0)  # until it waits
                    if quotes := self._quotes(self._moved(exchange, tickers, seen)):
                        yield quotes
        finally:
            await _cancel(waiting)

    def _moved(
        self, exchange: Exchange, answer: Mapping[str, Any], seen: dict[str, Mapping[str, Any]]
    ) -> list[Mapping[str, Any]]:
        """The tickers that have come since the last call, those that *answer* does not name included."""
        kept = exchange.tickers or {}
        found = {str(one.get("symbol")): one for one in _tickers(answer)}
        found |= {symbol: kept[symbol] for symbol in self._symbols if symbol in kept}
        moved = [one for symbol, one in found.items() if seen.get(symbol) is not one]
        seen |= found
        return moved

    async def _first(self, waiting: set["asyncio.Future[Any]"]) -> set["asyncio.Future[Any]"]:
        silence = asyncio.ensure_future(self._clock.sleep(SILENT_AFTER_S))
        try:
            done, _ = await asyncio.wait({*waiting, silence}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            await _cancel([silence])
        if done == {silence}:
            raise TimeoutError(f"no price for {SILENT_AFTER_S:.0f} s")
        return done - {silence}

    async def _poll(self, opened: Opened, seconds: float) -> AsyncGenerator[list[Quote], None]:
        """Prices by REST for *seconds*; what fails there is logged and tried again at the next turn."""
        until = self._clock.monotonic_ms() + int(seconds * 1000)
        while True:
            try:
                quotes = self._quotes(await self._fetch(opened.exchange))
            except opened.errors as error:
                log.warning("%s: REST: %s: %s", self._name, type(error).__name__, error)
            else:
                if quotes:
                    yield quotes
            left = (until - self._clock.monotonic_ms()) / 1000
            await self._clock.sleep(max(0.0, min(POLL_EVERY_S, left)))
            if left <= POLL_EVERY_S:
                return

    async def _fetch(self, exchange: Exchange) -> list[Mapping[str, Any]]:
        if exchange.has.get("fetchTickers"):
            return _tickers(await exchange.fetch_tickers(self._symbols))
        return [await exchange.fetch_ticker(symbol) for symbol in self._symbols]

    def _quotes(self, tickers: Iterable[Mapping[str, Any]]) -> list[Quote]:
        now = self._clock.wall_ms()
        quotes = [quote for ticker in tickers if (quote := self._quote(ticker, now)) is not None]
        if quotes:
            self.heard_at = now
        return quotes

    def _quote(self, ticker: Mapping[str, Any], now: int) -> Quote | None:
        """None for a symbol nobody asked for, and for a ticker without a usable price, which is logged once."""
        symbol = ticker.get("symbol")
        if symbol not in self._symbols:
            return None
        try:
            bid, ask, last = (_amount(ticker.get(key)) for key in ("bid", "ask", "last"))
        except ValueError as error:
            self._tell_once(f"{self._name}: {symbol}: not a price: {error}")
            return None
        if last is None and bid is not None and ask is not None:
            last = middle(bid, ask)
        if last is None:
            self._tell_once(f"{self._name}: {symbol}: a ticker without a price")
            return None
        return Quote(canonical(symbol), now, last if bid is None else bid, last if ask is None else ask, last)

    def _tell_once(self, text: str) -> None:
        if text not in self._told and len(self._told) < 100:
            self._told.add(text)
            log.warning("%s", text)

    async def close(self) -> None:
        """Let go of the connections. A client that fails while closing is logged and forgotten."""
        opened, self._opened = self._opened, None
        if opened is not None:
            try:
                await opened.exchange.close()
            except opened.errors as error:
                log.warning("%s: closing: %s", self._name, error)


def _tickers(answer: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The tickers in an answer: one alone names its symbol, several are keyed by theirs."""
    return [answer] if "symbol" in answer else list(answer.values())


def _amount(value: Any) -> Decimal | None:
    """The number as the exchange wrote it: ccxt's floats print with the digits they were read from."""
    return None if value is None else parse_amount(str(value))


async def _cancel(tasks: Iterable["asyncio.Future[Any]"]) -> None:
    listed = list(tasks)
    for task in listed:
        task.cancel()
    await asyncio.gather(*listed, return_exceptions=True)
