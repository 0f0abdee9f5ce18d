"""The dialect of Binance spot: `spot` on an exchange with coins, and the user's stream over the WebSocket API.

There are no listen keys any more: a client opens /ws-api/v3 and signs `userDataStream.subscribe.signature`.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any

from venue_sim import binance_errors
from venue_sim.binance import Binance
from venue_sim.dialects import Document
from venue_sim.door import SPOT, Door
from venue_sim.errors import VenueError
from venue_sim.market import SPECS, Quote, Spec
from venue_sim.matching import Tell
from venue_sim.orders import Algo, Order, Trade
from venue_sim.spot import ENDPOINTS, SpotDesk
from venue_sim.spot_rows import MOST_STOPS, account_event, order_event
from venue_sim.wallet import Habits, Spot

HABITS = Habits(
    Decimal("0.001"), Decimal("0.001"), fee_in_quote=False, refuses_post_only=True, refuses_passed_stops=True, most_stops=MOST_STOPS,
)  # fmt: skip
SPOT_SPECS = tuple(
    Spec(
        one.symbol, one.base, one.quote, tick=Decimal("0.01"), step=Decimal("0.00001"), least=Decimal("0.00001"), most=Decimal(9_000),
    )
    for one in SPECS
)  # fmt: skip
PATH = "/ws-api/v3"


class BinanceSpot(Binance[SpotDesk]):
    """See the module. *wallet* in USDT."""

    def __init__(
        self, clock: Callable[[], int], *, key: str, secret: str, wallet: Decimal, tell: Tell
    ) -> None:
        self.exchange = Spot(clock, HABITS, specs=SPOT_SPECS, coins={"USDT": wallet}, tell=tell)
        self.sessions = 0
        super().__init__(
            SpotDesk(self.exchange),
            self.exchange,
            ENDPOINTS,
            Door(clock, key, secret, SPOT),
            binance_errors.SPOT,
        )

    def line(self, path: str, query: Mapping[str, str]) -> "ApiLine | None":  # noqa: ARG002 - nothing is in the query
        return ApiLine(self) if path == PATH else None

    def end_key(self) -> None:
        """Nothing to forget: what ends is each client's subscription."""


class ApiLine:
    """A client of the WebSocket API; it hears of orders once it has subscribed."""

    def __init__(self, dialect: BinanceSpot) -> None:
        self._dialect, self._session = dialect, -1

    @property
    def listens(self) -> bool:
        return self._session >= 0

    def hear(self, text: str) -> Sequence[Document]:
        try:
            asked = json.loads(text)
            method, given = str(asked["method"]), asked.get("params", {})
        except (AttributeError, KeyError, TypeError, ValueError):
            return (_answer(None, 400, error={"code": -1135, "msg": "Invalid JSON Request"}),)
        number = asked.get("id")
        if method == "ping":
            return (_answer(number, 200, result={}),)
        if method != "userDataStream.subscribe.signature":
            return (_answer(number, 404, error={"code": -1020, "msg": f"{method} is not simulated"}),)
        try:
            self._check({name: str(value) for name, value in given.items()})
        except VenueError as error:
            return (_answer(number, error.status, error={"code": error.code, "msg": error.text}),)
        self._session = self._dialect.sessions
        self._dialect.sessions += 1
        return (_answer(number, 200, result={"subscriptionId": self._session}),)

    def _check(self, given: dict[str, str]) -> None:
        """The signature is over the parameters, sorted by name."""
        door = self._dialect.door
        door.check_key(given.get("apiKey"))
        door.check_time(given)
        signature = given.pop("signature", "")
        door.check_signature("&".join(f"{name}={given[name]}" for name in sorted(given)), signature)

    def tell(self, order: Order | Algo, trade: Trade | None) -> Sequence[Document]:
        if isinstance(order, Algo) or not self.listens:
            return ()
        exchange = self._dialect.exchange
        now = exchange.clock()
        events = (order_event(order, trade, now), account_event(exchange, order.ask.symbol, now))
        return [self._wrapped(event) for event in events]

    def price(self, symbol: str, quote: Quote) -> Sequence[Document]:  # noqa: ARG002 - there is no public stream here
        return ()

    def farewell(self) -> Sequence[Document]:
        return (self._wrapped({"e": "eventStreamTerminated", "E": self._dialect.exchange.clock()}),)

    def _wrapped(self, event: Document) -> Document:
        return {"subscriptionId": self._session, "event": event}


def _answer(number: Any, status: int, **said: Any) -> Document:
    return {"id": number, "status": status, **said, "rateLimits": []}
