"""Three ccxt clients of one account, each with a limiter of its own: `leave` sends exits and cancels, `trade` entries, `read` reads and
listens. In one queue a burst of entries, or of reads, would stand before an exit until its time has passed (INV-6).

What is done to ccxt, and nothing else: its own retries are off (it would send an order again, whatever became of the first);
a guard stands where a request goes to the socket, behind the rate limiter, and stops what has become too late; its clock is
ours; and, for the simulated venue, its addresses are replaced. This module and `ccxt_feed` are the only ones that import it.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from holdfast.runtime.clock import Clock
from holdfast.runtime.faults import EXIT_CONFIG, Terminal
from holdfast.venues.capabilities import Capability
from holdfast.venues.outcomes import Attempt

log = logging.getLogger("holdfast.venue")
NO_RETRIES = "maxRetriesOnFailure"
"""The option with which ccxt repeats whatever failed, sends included."""


_OPTIONS: Mapping[str, Mapping[str, Any]] = {
    "binance": {"fetchMarkets": {"types": ["spot"]}, "fetchMargins": False},
    "binanceusdm": {"watchPositions": {"fetchPositionsSnapshot": False, "awaitPositionsSnapshot": False}},
}
"""What ccxt would load besides what an account trades, left out."""


_LEARNT = ("marketsByAltname",)
"""What ccxt keeps of the markets beside the markets."""


class TooLateError(Exception):
    """The time for sending passed while the request waited in the limiter. Nothing was sent."""


class UnusableAnswerError(ValueError):
    """Status 200, and no document, or an empty one. ccxt would read a page as an order, and an empty object as an empty list."""


@dataclass(slots=True)
class _Deadline:
    attempt: Attempt
    wall: int
    monotonic: int


_sending: ContextVar[_Deadline | None] = ContextVar("sending", default=None)


@dataclass(frozen=True, slots=True)
class Credentials:
    """*url* replaces the exchange's addresses, for the simulated venue on loopback."""

    key: str = field(repr=False)
    secret: str = field(repr=False)
    password: str = field(default="", repr=False)
    url: str = ""


class Clients:
    """See the module. Raises Terminal when ccxt is not installed, or would retry."""

    def __init__(
        self, capability: Capability, credentials: Credentials, clock: Clock, *, timeout_ms: int, limited: bool = True
    ) -> None:  # fmt: skip
        try:
            import ccxt.async_support as rest
            from ccxt import pro
        except ImportError as error:
            raise Terminal(
                f'live trading at {capability.exchange} needs ccxt: pip install "holdfast[exchange]"',
                EXIT_CONFIG,
            ) from error
        self.errors: tuple[type[Exception], ...] = (rest.BaseError, OSError, TimeoutError)
        """What a request may raise for reasons that lie outside."""
        self.not_found: type[Exception] = rest.OrderNotFound
        self._clock = clock
        self._last_nonce = 0
        logging.getLogger("ccxt").setLevel(logging.INFO)  # at DEBUG it writes the key
        options: dict[str, Any] = {
            "apiKey": credentials.key, "secret": credentials.secret, "password": credentials.password, "timeout": timeout_ms,
            "enableRateLimit": limited, "options": {NO_RETRIES: 0, "warnOnFetchOpenOrdersWithoutSymbol": False, "fetchCurrencies": False},
        }  # fmt: skip
        options["options"] |= _OPTIONS.get(capability.exchange, {})
        if capability.receive_window_ms is not None:
            options["options"]["recvWindow"] = capability.receive_window_ms
        self.trade, self.leave = (
            self._client(getattr(rest, capability.exchange), options, credentials.url) for _ in range(2)
        )
        self.read = self._client(getattr(pro, capability.exchange), options, credentials.url)

    def _client(self, cls: Callable[[dict[str, Any]], Any], options: dict[str, Any], url: str) -> Any:
        client = cls(options)
        client.number = str  # amounts as the exchange wrote them
        client.milliseconds = self._clock.wall_ms
        client.incrementing_nonce = self._nonce  # one sequence for one key, whichever client asks
        if retries := list(_retrying(client.options)):
            raise Terminal(f"ccxt would repeat orders by itself: {', '.join(retries)} is not 0", EXIT_CONFIG)
        if url:
            client.urls["api"] = moved(client.urls["api"], url)
            client.timeout_on_exit = 0  # ccxt waits that long for the end of encrypted connections
        client.fetch = self._guarded(client.fetch)
        client.handle_errors = _noting(client.handle_errors)
        return client

    def _nonce(self) -> int:
        """Higher than all before, for exchanges that take each only once."""
        self._last_nonce = max(self._last_nonce + 1, self._clock.wall_ms())
        return self._last_nonce

    def _guarded(self, fetch: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        async def on_the_wire(*arguments: Any, **named: Any) -> Any:
            deadline = _sending.get()
            if deadline is not None:
                if self._clock.wall_ms() > deadline.wall or self._clock.monotonic_ms() > deadline.monotonic:
                    deadline.attempt.too_late = True
                    raise TooLateError
                deadline.attempt.on_wire = True
            answer = await fetch(*arguments, **named)
            if not isinstance(answer, dict | list) or answer == {}:
                raise UnusableAnswerError("the answer is no document that says anything")
            return answer

        return on_the_wire

    @contextmanager
    def sending(self, attempt: Attempt, *, wall: int, monotonic: int) -> Iterator[None]:
        """Requests of this task, inside, go out by these times or not at all; *attempt* notes how far they came."""
        token = _sending.set(_Deadline(attempt, wall, monotonic))
        try:
            yield
        finally:
            _sending.reset(token)

    async def load(self) -> None:
        """Read the markets once, for all. Raises what ccxt raises."""
        await self.read.load_markets()
        for client in (self.trade, self.leave):
            client.set_markets(self.read.markets, self.read.currencies)
            client.options |= {name: self.read.options[name] for name in _LEARNT if name in self.read.options}

    async def close(self) -> None:
        """All at once: each takes a quarter of a second."""
        clients = (self.trade, self.leave, self.read)
        for ended in await asyncio.gather(*(client.close() for client in clients), return_exceptions=True):
            if isinstance(ended, self.errors):
                log.warning("closing a client: %s", type(ended).__name__)
            elif ended is not None:
                raise ended


def _noting(handle_errors: Callable[..., Any]) -> Callable[..., Any]:
    """The reading of an answer, which ccxt may turn into an exception without the answer's words: the attempt keeps them."""

    def noted(status: int, reason: str, url: str, method: str, headers: Any, body: Any, *rest: Any) -> Any:
        deadline = _sending.get()
        if deadline is not None:
            deadline.attempt.status, deadline.attempt.answer = status, str(body)
        return handle_errors(status, reason, url, method, headers, body, *rest)

    return noted


def _retrying(options: Mapping[str, Any], path: str = "") -> Iterator[str]:
    """Every place in ccxt's options that asks for retries."""
    for name, value in options.items():
        if name == NO_RETRIES and value:
            yield f"{path}{name}"
        elif isinstance(value, Mapping):
            yield from _retrying(value, f"{path}{name}.")


def moved(addresses: Mapping[str, Any], url: str) -> dict[str, Any]:
    """The same paths at another host; sockets where ccxt has sockets."""
    new: dict[str, Any] = {}
    for name, address in addresses.items():
        if isinstance(address, Mapping):
            new[name] = moved(address, url)
        elif isinstance(address, str):
            base = url.replace("http", "ws", 1) if address.startswith("ws") else url
            new[name] = base.rstrip("/") + urlsplit(address).path
    return new
