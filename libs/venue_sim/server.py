"""The venue on a socket: HTTP, WebSockets of users and of prices, and /sim, where tests and people say what shall happen.

aiohttp, because a fault needs the connection itself: to cut it, to leave half an answer, to stay silent.
"""

from collections.abc import Awaitable, Callable, Mapping
from decimal import Decimal
from typing import Any

from aiohttp import WSMsgType, web

from holdfast.runtime.clock import Clock
from venue_sim.answers import Venue
from venue_sim.dialects import Answer, Document, Line, Request
from venue_sim.errors import Refusal
from venue_sim.faults import PREVENTED, Fault, Kind
from venue_sim.market import Quote
from venue_sim.orders import Algo, Order, Trade

LOOPBACK = "127.0.0.1"
WATCH_S = 0.02
LONGEST_SILENCE_S = 120.0
_SILENT = frozenset({Kind.NO_ANSWER, Kind.HIDDEN, Kind.SILENT_BEFORE})
_CUT = frozenset({Kind.RESET, Kind.RESET_BEFORE})


class Server:
    """See the module. `start` binds the port; `url` is then where it is."""

    def __init__(
        self, clock: Clock, *, key: str, secret: str, wallet: Decimal = Decimal(1_000_000), dialect: str = "binanceusdm"
    ) -> None:  # fmt: skip
        self._clock = clock
        self._new: Callable[[], Venue] = lambda: Venue(
            clock.wall_ms, key=key, secret=secret, wallet=wallet, tell=self._tell, dialect=dialect
        )
        self.venue = self._new()
        self._lines: dict[web.WebSocketResponse, Line] = {}
        self._unsent: list[tuple[web.WebSocketResponse, Document]] = []
        self._runner: web.AppRunner | None = None
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://{LOOPBACK}:{self.port}"

    @property
    def listeners(self) -> int:
        """How many clients are told of orders over a WebSocket."""
        return sum(line.listens for line in self._lines.values())

    async def start(self, port: int = 0, host: str = LOOPBACK) -> None:
        """Listen on *port* of *host*; 0 takes a free one. Raises OSError."""
        app = web.Application()
        app.router.add_route("*", "/sim/{what:.*}", self._control)
        app.router.add_route("*", "/{path:.*}", self._come_in)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, host, port)
        await site.start()
        self.port = self._runner.addresses[0][1]

    def reset(self) -> None:
        """A new venue at the same address. Requests that are on their way still reach the one they were sent to."""
        self.venue, self._unsent, self._lines = self._new(), [], {}

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    # -- requests ----------------------------------------------------------------------------------------------------------

    async def _come_in(self, request: web.Request) -> web.StreamResponse:
        is_socket = request.headers.get("Upgrade", "").lower() == "websocket"
        return await (self._listen(request) if is_socket else self._request(request))

    async def _request(self, request: web.Request) -> web.StreamResponse:
        method, path = request.method, request.path
        body = await request.text()
        venue = self.venue
        venue.log.append((method, path))
        fault = venue.faults.take(method, path)
        if fault is None:
            answer = _done(venue, request, body)
            await self._send_events()
            return _response(answer)
        if fault.kind in PREVENTED:
            return await self._prevented(request, fault.kind)
        if fault.kind is Kind.DELAYED:
            await self._clock.sleep(fault.delay_ms / 1000)
        if fault.kind is Kind.HIDDEN:
            venue.exchange.hidden_until = venue.clock() + fault.delay_ms
        were_open = [order for order in venue.exchange.orders.values() if order.is_open]
        try:
            answer = _done(venue, request, body)
        finally:
            venue.exchange.hidden_until = 0
        if fault.kind is Kind.FILL_AFTER_CANCEL:
            _fill_the_canceled(venue, were_open)
        await self._send_events()
        return await self._spoiled(request, answer, fault)

    async def _prevented(self, request: web.Request, kind: Kind) -> web.StreamResponse:
        if kind in _CUT:
            return _cut(request)
        if kind in _SILENT:
            return await self._silent(request)
        return _response(self.venue.refused(kind))

    async def _spoiled(self, request: web.Request, answer: Answer, fault: Fault) -> web.StreamResponse:
        if fault.kind in _CUT:
            return _cut(request)
        if fault.kind in _SILENT:
            return await self._silent(request)
        if fault.kind is Kind.TRUNCATED:
            data = answer.text.encode()
            response = web.StreamResponse(status=answer.status, headers={"Content-Type": answer.content_type})
            response.content_length = len(data)
            await response.prepare(request)
            await response.write(data[: len(data) // 2])
            return _cut(request, response)
        return _response(self.venue.spoiled(answer, fault))

    async def _silent(self, request: web.Request) -> web.StreamResponse:
        """Nothing, until the client has gone."""
        for _ in range(int(LONGEST_SILENCE_S / WATCH_S)):
            if request.transport is None or request.transport.is_closing():
                break
            await self._clock.sleep(WATCH_S)
        return _cut(request)

    # -- the user's stream -----------------------------------------------------------------------------------------------------

    def _tell(self, order: Order | Algo, trade: Trade | None) -> None:
        if order.visible_from <= self.venue.clock():
            for socket, line in self._lines.items():
                self._unsent += [(socket, document) for document in line.tell(order, trade)]

    async def price(self, symbol: str, quote: Quote) -> None:
        """The touch moves, and whoever has subscribed is told. Raises Refusal for an unknown symbol."""
        self.venue.exchange.quote(symbol, quote)
        for socket, line in self._lines.items():
            self._unsent += [(socket, document) for document in line.price(symbol, quote)]
        await self._send_events()

    async def _send_events(self) -> None:
        events, self._unsent = self._unsent, []
        for socket, event in events:
            await _whisper(socket, event)

    async def _listen(self, request: web.Request) -> web.StreamResponse:
        line = self.venue.dialect.line(request.path, request.query)
        if line is None:
            raise web.HTTPForbidden(text="unknown listen key")
        socket = web.WebSocketResponse(heartbeat=180.0)
        await socket.prepare(request)
        self._lines[socket] = line
        try:
            async for message in socket:
                if message.type is WSMsgType.ERROR:
                    break
                for document in line.hear(message.data):
                    await _whisper(socket, document)
        finally:
            self._lines.pop(socket, None)
        return socket

    async def expire_listen_key(self) -> None:
        """The key ends: who listens is told, and then hears nothing more."""
        self.venue.dialect.end_key()
        lines, self._lines = self._lines, {}
        for socket, line in lines.items():
            for document in line.farewell():
                await _whisper(socket, document)
            await socket.close()

    # -- what shall happen --------------------------------------------------------------------------------------------------------

    async def _control(self, request: web.Request) -> web.StreamResponse:
        """/sim/…: see `docs/venue-sim.md`."""
        actions: Mapping[tuple[str, str], Callable[[dict[str, Any]], Awaitable[Any]]] = {
            ("POST", "quote"): self._quote,
            ("POST", "faults"): self._arm,
            ("DELETE", "faults"): self._disarm,
            ("POST", "hand"): self._by_hand,
            ("POST", "liquidate"): self._liquidate,
            ("POST", "fund"): self._fund,
            ("POST", "cancel"): self._cancel_by_hand,
            ("POST", "set"): self._set,
            ("POST", "expire-listen-key"): self._expire,
            ("GET", "state"): self._state,
        }
        action = actions.get((request.method, request.match_info["what"]))
        if action is None:
            raise web.HTTPNotFound(
                text=f"no such control; there are {sorted(f'{m} /sim/{w}' for m, w in actions)}"
            )
        try:
            given = await request.json() if request.can_read_body else {}
            document = await action(given)
        except (Refusal, ArithmeticError, KeyError, TypeError, ValueError) as error:
            raise web.HTTPBadRequest(text=f"{type(error).__name__}: {error}") from None
        await self._send_events()
        return web.json_response(document)

    async def _quote(self, given: dict[str, Any]) -> Any:
        quote = Quote(
            Decimal(given["bid"]), Decimal(given["ask"]), self.venue.clock(), Decimal(given.get("size", 10))
        )
        await self.price(given["symbol"], quote)
        return {}

    async def _arm(self, given: dict[str, Any]) -> Any:
        self.venue.faults.arm(
            Fault(
                Kind(given["kind"]), given.get("method", ""), given.get("path", ""), int(given.get("times", 1)), int(given.get("delay_ms", 0)),
            )
        )  # fmt: skip
        return {"armed": len(self.venue.faults.armed())}

    async def _disarm(self, _: dict[str, Any]) -> Any:
        self.venue.faults.clear()
        return {}

    async def _by_hand(self, given: dict[str, Any]) -> Any:
        order = self.venue.exchange.by_hand(
            given["symbol"], given["side"].upper(), Decimal(given["quantity"])
        )
        return {"orderId": order.number, "clientOrderId": order.ask.client_id}

    async def _liquidate(self, given: dict[str, Any]) -> Any:
        self.venue.exchange.liquidate("adl_autoclose" if given.get("adl") else "autoclose-")
        return {}

    async def _fund(self, given: dict[str, Any]) -> Any:
        self.venue.exchange.fund(given["symbol"], Decimal(given["rate"]))
        return {}

    async def _cancel_by_hand(self, given: dict[str, Any]) -> Any:
        self.venue.exchange.cancel_all(given["symbol"])
        self.venue.exchange.cancel_conditionals(given["symbol"])
        return {}

    async def _set(self, given: dict[str, Any]) -> Any:
        """skew_ms, can_withdraw, and what the account has: hedged and wallet, or coins."""
        self.venue.skew_ms = int(given.get("skew_ms", self.venue.skew_ms))
        self.venue.dialect.adjust(given)
        return {}

    async def _expire(self, _: dict[str, Any]) -> Any:
        await self.expire_listen_key()
        return {}

    async def _state(self, _: dict[str, Any]) -> Any:
        """The truth, whatever reads show."""
        exchange = self.venue.exchange
        return {
            "received": len(exchange.received),
            "listeners": self.listeners,
            "orders": [
                {"clientOrderId": order.ask.client_id, "status": order.status, "filled": f"{order.filled:f}"}
                for order in exchange.orders.values()
            ],
            "positions": {name: f"{quantity:f}" for name, quantity in exchange.held().items()},
        }


def _done(venue: Venue, request: web.Request, body: str) -> Answer:
    headers = {name.lower(): value for name, value in request.headers.items()}
    return venue.answer(Request(request.method, request.path, request.query_string, body, headers))


def _fill_the_canceled(venue: Venue, were_open: list[Order]) -> None:
    """The race of a cancel with a trade: what was just answered as canceled fills."""
    for order in were_open:
        if order.status == "CANCELED":
            price = order.ask.price or venue.exchange.quotes[order.ask.symbol].last
            venue.exchange.fill_anyway(order, order.remaining, price)


def _response(answer: Answer) -> web.Response:
    return web.Response(
        status=answer.status, text=answer.text, content_type=answer.content_type, headers=dict(answer.headers)
    )


def _cut(request: web.Request, response: web.StreamResponse | None = None) -> web.StreamResponse:
    """The connection ends here and now."""
    if request.transport is not None:
        request.transport.abort()
    return response if response is not None else web.Response()


async def _whisper(socket: web.WebSocketResponse, document: Document) -> None:
    if not socket.closed:
        await socket.send_json(document)
