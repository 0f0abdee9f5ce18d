"""From a request's method, path and text to a status and a document: everything but sockets. Faults of content are done here."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qsl

from venue_sim import errors
from venue_sim.door import Door
from venue_sim.exchange import Exchange, Tell
from venue_sim.faults import Fault, Faults, Kind
from venue_sim.futures import ENDPOINTS, PUBLIC, SIGNED, Futures
from venue_sim.rows import empty_hedge_rows

UNKNOWN_TEXT = "Unknown error, please check your request or try again later."
PAGE = "<html><head><title>502 Bad Gateway</title></head><body><center><h1>502 Bad Gateway</h1></center></body></html>"


@dataclass(frozen=True, slots=True)
class Answer:
    """What goes back; *text* is what a document says, before anything spoils it."""

    status: int
    text: str
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, document: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> "Answer":
        return cls(status, json.dumps(document, separators=(",", ":")), headers=headers or {})

    @classmethod
    def refusing(cls, error: errors.VenueError) -> "Answer":
        return cls.of({"code": error.code, "msg": error.text}, error.status)


class Venue:
    """One simulated venue with one account. *clock* is the true time, ms; the venue's own is `skew_ms` ahead of it."""

    def __init__(
        self,
        clock: Callable[[], int],
        *,
        key: str,
        secret: str,
        wallet: Decimal = Decimal(1_000_000),
        tell: Tell | None = None,
    ) -> None:
        self._true_clock, self.skew_ms = clock, 0
        self.exchange = Exchange(self.clock, wallet=wallet, tell=tell)
        self.futures = Futures(self.exchange)
        self.door = Door(self.clock, key, secret)
        self.faults = Faults()
        self.log: list[tuple[str, str]] = []
        """Method and path of every request that came in."""

    def clock(self) -> int:
        return self._true_clock() + self.skew_ms

    def answer(self, method: str, path: str, query: str, body: str, key: str | None) -> Answer:
        """Do what is asked."""
        given = dict(parse_qsl(query, keep_blank_values=True)) | dict(parse_qsl(body, keep_blank_values=True))
        self.exchange.tick()
        try:
            used = self.door.weigh(method, path, "symbol" in given)
            found = ENDPOINTS.get((method, path))
            if found is None:
                return Answer.of({"code": -5000, "msg": f"Path {path}, Method {method} is invalid"}, 404)
            who, handler = found
            if who != PUBLIC:
                self.door.check_key(key)
            if who == SIGNED:
                self.door.check_signed(query + body, given)
            return Answer.of(handler(self.futures, given), headers={"X-MBX-USED-WEIGHT-1M": str(used)})
        except errors.VenueError as error:
            return Answer.refusing(error)
        except ValueError:
            return Answer.refusing(errors.missing("parameter"))

    def spoiled(self, answer: Answer, fault: Fault) -> Answer:
        """*answer* as *fault* makes it; faults of the connection are the server's."""
        kind = fault.kind
        if kind is Kind.EMPTY_LIST:
            return Answer.of([])
        if kind in {Kind.DOUBLED, Kind.SHUFFLED, Kind.HEDGE_ROWS}:
            rows = json.loads(answer.text)
            if not isinstance(rows, list):
                return answer
            if kind is Kind.HEDGE_ROWS:
                return Answer.of(
                    rows + [row for symbol in self.exchange.specs for row in empty_hedge_rows(symbol)]
                )
            return Answer.of([row for row in rows for _ in (0, 1)] if kind is Kind.DOUBLED else rows[::-1])
        spoil = _SPOILED.get(kind)
        return answer if spoil is None else spoil(answer)

    def refused(self, kind: Kind) -> Answer:
        """The answer of a fault that prevents the request."""
        if kind is Kind.OVERLOADED:
            text = "Server is currently overloaded with other requests. Please try again in a few minutes."
            return Answer.refusing(errors.VenueError(-1008, text, 503))
        if kind is Kind.BAD_GATEWAY_BEFORE:
            return Answer(502, PAGE, "text/html")
        return Answer.refusing(errors.too_many_requests(30, banned=kind is Kind.BANNED))


def _code(code: int, text: str, status: int) -> Callable[[Answer], Answer]:
    return lambda _: Answer.refusing(errors.VenueError(code, text, status))


_SPOILED: Mapping[Kind, Callable[[Answer], Answer]] = {
    Kind.GARBAGE: lambda answer: Answer(200, answer.text[: len(answer.text) // 2] + "\x00�}"),
    Kind.HTML: lambda _: Answer(200, "<html><body>Maintenance</body></html>", "text/html"),
    Kind.EMPTY: lambda _: Answer(200, "{}"),
    Kind.BAD_GATEWAY: lambda _: Answer(502, PAGE, "text/html"),
    Kind.UNKNOWN_503: lambda _: Answer.of({"code": -1000, "msg": UNKNOWN_TEXT}, 503),
    Kind.TIMEOUT_CODE: _code(
        -1007, "Timeout waiting for response from backend server. Send status unknown; execution status unknown.", 408
    ),
    Kind.UNEXPECTED_CODE: _code(
        -1006, "An unexpected response was received from the message bus. Execution status unknown.", 400
    ),
    Kind.WRONG_CODE: _code(-9999, "Something else.", 400),
}  # fmt: skip
