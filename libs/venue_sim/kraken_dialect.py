"""The dialect of Kraken spot: `kraken` on an exchange with coins, behind nonces, and the WebSocket v2 behind a token.

Every answer has status 200 and a list of errors; a refusal is one that is not empty.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qsl

from venue_sim.dialects import Answer, Document, Request, told_by_everyone
from venue_sim.errors import Refusal, VenueError, Why
from venue_sim.faults import Fault, Kind
from venue_sim.kraken import PRIVATE, PUBLIC, KrakenDesk
from venue_sim.kraken_door import KrakenDoor
from venue_sim.kraken_rows import balance_rows, execution_row
from venue_sim.market import Quote, Spec
from venue_sim.matching import Tell
from venue_sim.orders import Algo, Order, Trade
from venue_sim.wallet import Habits, Spot

HABITS = Habits(
    Decimal("0.004"),
    Decimal("0.0025"),
    fee_in_quote=True,
    refuses_post_only=False,
    refuses_passed_stops=False,
)
_STEP, _LEAST = Decimal("0.00000001"), Decimal("0.5")
SPECS = (
    Spec("XBTUSDT", "XXBT", step=_STEP, least=Decimal("0.00005"), least_notional=_LEAST),
    Spec("ETHUSDT", "XETH", tick=Decimal("0.01"), step=_STEP, least=Decimal("0.002"), most=Decimal(10_000), least_notional=_LEAST),
    Spec("XXBTZUSD", "XXBT", "ZUSD", step=_STEP, least=Decimal("0.00005"), least_notional=_LEAST),
)  # fmt: skip
FIRST_NUMBER = 2**50
"""Orders count from here, so that their ids have the look of Kraken's."""
WORDS: Mapping[Why, str] = {
    Why.UNKNOWN_SYMBOL: "EQuery:Unknown asset pair",
    Why.NO_PRICE: "EService:Market in cancel_only mode",
    Why.TOO_SMALL: "EGeneral:Invalid arguments:volume minimum not met",
    Why.TOO_LARGE: "EGeneral:Invalid arguments:volume",
    Why.OFF_STEP: "EGeneral:Invalid arguments:volume",
    Why.OFF_TICK: "EOrder:Invalid price",
    Why.BELOW_NOTIONAL: "EOrder:Cost minimum not met",
    Why.NO_MONEY: "EOrder:Insufficient funds",
    Why.DUPLICATE: "EOrder:Duplicate cl_ord_id",
    Why.TOO_MANY: "EOrder:Orders limit exceeded",
    Why.NOT_OPEN: "EOrder:Unknown order",
    Why.NO_ORDER: "EOrder:Invalid order",
}
_CODES: Mapping[Kind, tuple[str, int]] = {
    Kind.UNKNOWN_503: ("EService:Unavailable", 503),
    Kind.TIMEOUT_CODE: ("EService:Timeout", 200),
    Kind.UNEXPECTED_CODE: ("EGeneral:Internal error", 200),
    Kind.WRONG_CODE: ("EOrder:Something else", 200),
    Kind.OVERLOADED: ("EService:Busy", 200),
    Kind.RATE_LIMITED: ("EOrder:Rate limit exceeded", 200),
    Kind.BANNED: ("EGeneral:Temporary lockout", 200),
}


class Kraken:
    """See the module. *wallet* in USDT and, as much again, in ZUSD; *secret* in base64."""

    def __init__(
        self, clock: Callable[[], int], *, key: str, secret: str, wallet: Decimal, tell: Tell
    ) -> None:
        self.exchange = Spot(
            clock, HABITS, specs=SPECS, coins={"USDT": wallet, "ZUSD": wallet}, tell=tell, first=FIRST_NUMBER
        )
        self.door = KrakenDoor(clock, key, secret)
        self.desk = KrakenDesk(self.exchange, self.door)

    def answer(self, request: Request) -> Answer:
        self.exchange.tick()
        name = request.path.rpartition("/")[2]
        try:
            given = _given(request)
            if request.path == f"/0/public/{name}" and name in PUBLIC:
                return _result(PUBLIC[name](self.desk, given))
            if request.path != f"/0/private/{name}" or name not in PRIVATE or request.method != "POST":
                raise VenueError("EGeneral:Unknown method")
            self.door.check(request, given.get("nonce", ""))
            self.door.count_call(name)
            return _result(PRIVATE[name](self.desk, given))
        except VenueError as error:
            return _error(str(error.code), 200)
        except Refusal as refusal:
            return _error(WORDS[refusal.why], 200)
        except ValueError:
            return _error("EGeneral:Invalid arguments", 200)

    def refused(self, kind: Kind) -> Answer:
        return told_by_everyone(Answer(200, ""), kind) or _error(*_CODES[kind])

    def spoiled(self, answer: Answer, fault: Fault) -> Answer:
        kind = fault.kind
        if kind in {Kind.EMPTY_LIST, Kind.SHUFFLED}:
            document = json.loads(answer.text)
            document["result"] = _reordered(document.get("result"), kind)
            return Answer.of(document)
        if kind in _CODES:
            return _error(*_CODES[kind])
        return told_by_everyone(answer, kind) or answer

    def line(self, path: str, query: Mapping[str, str]) -> "V2Line | None":  # noqa: ARG002 - nothing is in the query
        return V2Line(self) if path == "/v2" else None

    def end_key(self) -> None:
        self.desk.token = None

    def adjust(self, given: Mapping[str, Any]) -> None:
        """nonce_window, and what the exchange takes."""
        self.door.nonce_window = int(given.get("nonce_window", self.door.nonce_window))
        self.exchange.adjust(given)


class V2Line:
    """A client of the WebSocket v2; it hears of what it has subscribed to with a token."""

    def __init__(self, dialect: Kraken) -> None:
        self._dialect = dialect
        self._sequences: dict[str, int] = {}
        """Channel -> number of its last message."""

    @property
    def listens(self) -> bool:
        return "executions" in self._sequences

    def hear(self, text: str) -> Sequence[Document]:
        try:
            asked = json.loads(text)
            method, given = str(asked["method"]), asked.get("params", {})
            number, channel = asked.get("req_id"), str(given.get("channel", ""))
        except (AttributeError, KeyError, TypeError, ValueError):
            return ({"error": "Malformed request", "success": False},)
        if method == "ping":
            return ({"method": "pong", "req_id": number},)
        reply = {"method": method, "req_id": number}
        if method != "subscribe" or channel not in {"executions", "balances"}:
            return (reply | {"success": False, "error": "Unsupported subscription"},)
        desk = self._dialect.desk
        if given.get("token") != desk.token or self._dialect.exchange.clock() > desk.token_until:
            return (reply | {"success": False, "error": "ESession:Invalid session"},)
        self._sequences[channel] = 0
        done = reply | {"success": True, "result": {"channel": channel, "snapshot": True}}
        return (done, self._message(channel, self._snapshot(channel), "snapshot"))

    def _snapshot(self, channel: str) -> list[Any]:
        exchange = self._dialect.exchange
        if channel == "balances":
            return balance_rows(exchange, exchange.coins)
        return [self._row(order, None) for order in exchange.orders.values() if order.is_open]

    def _row(self, order: Order, trade: Trade | None) -> Document:
        spec = self._dialect.exchange.specs[order.ask.symbol]
        return execution_row(order, trade, spec, self._dialect.desk.userrefs.get(order.number))

    def tell(self, order: Order | Algo, trade: Trade | None) -> Sequence[Document]:
        told: list[Document] = []
        if isinstance(order, Algo):
            return told
        if "executions" in self._sequences:
            told.append(self._message("executions", [self._row(order, trade)], "update"))
            if trade is not None and not order.is_open:
                told.append(self._message("executions", [self._row(order, None)], "update"))
        if "balances" in self._sequences and trade is not None:
            spec = self._dialect.exchange.specs[order.ask.symbol]
            rows = balance_rows(self._dialect.exchange, (spec.base, spec.quote))
            told.append(self._message("balances", rows, "update"))
        return told

    def _message(self, channel: str, rows: list[Any], kind: str) -> Document:
        self._sequences[channel] += 1
        return {"channel": channel, "type": kind, "data": rows, "sequence": self._sequences[channel]}

    def price(self, symbol: str, quote: Quote) -> Sequence[Document]:  # noqa: ARG002 - there is no public stream here
        return ()

    def farewell(self) -> Sequence[Document]:
        """Kraken just closes."""
        return ()


def _given(request: Request) -> dict[str, str]:
    """What was asked, from the address or from the body, which is a form or JSON. Raises ValueError."""
    given = dict(parse_qsl(request.query, keep_blank_values=True))
    if request.headers.get("content-type", "").startswith("application/json") and request.body:
        document = json.loads(request.body)
        if not isinstance(document, dict):
            raise ValueError("not an object")
        return given | {name: str(value) for name, value in document.items()}
    return given | dict(parse_qsl(request.body, keep_blank_values=True))


def _result(document: Document) -> Answer:
    return Answer.of({"error": [], "result": document})


def _error(text: str, status: int) -> Answer:
    return Answer.of({"error": [text]}, status)


def _reordered(result: Any, kind: Kind) -> Any:
    """A read's rows, which stand under their ids: none of them, or in reverse. Doubled they cannot be."""
    if not isinstance(result, dict):
        return result
    inner = {
        name: value
        for name, value in result.items()
        if isinstance(value, dict) and name in {"open", "closed", "trades"}
    }
    if inner:
        return result | {name: _reordered(value, kind) for name, value in inner.items()}
    return {} if kind is Kind.EMPTY_LIST else dict(reversed(result.items()))
