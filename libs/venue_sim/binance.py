"""What the dialects of Binance share: how a request is weighed, checked and answered, and how faults sound."""

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any, Generic, TypeVar
from urllib.parse import parse_qsl

from venue_sim import binance_errors
from venue_sim.binance_errors import Words, said
from venue_sim.dialects import Answer, Document, Line, Request, told_by_everyone
from venue_sim.door import Door
from venue_sim.errors import Refusal, VenueError, Why
from venue_sim.faults import Fault, Kind
from venue_sim.matching import Matching

Given = Mapping[str, str]
PUBLIC, KEYED, SIGNED = "public", "keyed", "signed"
UNKNOWN_TEXT = "Unknown error, please check your request or try again later."
E = TypeVar("E")
Endpoints = Mapping[tuple[str, str], tuple[str, Callable[[E, Given], Document]]]
"""Method and path: who may ask, and what answers."""


class Binance(ABC, Generic[E]):
    """See the module. *desk* has what answers the *endpoints*."""

    def __init__(
        self, desk: E, matching: Matching, endpoints: Endpoints[E], door: Door, words: Words
    ) -> None:
        self.desk, self._matching, self._endpoints = desk, matching, endpoints
        self.door, self._words = door, words

    def answer(self, request: Request) -> Answer:
        """Limits first, then the key, then time and signature, then what is asked."""
        method, path = request.method, request.path
        given = dict(parse_qsl(request.query, keep_blank_values=True)) | dict(
            parse_qsl(request.body, keep_blank_values=True)
        )
        self._matching.tick()
        try:
            used = self.door.weigh(method, path, "symbol" in given)
            found = self._endpoints.get((method, path))
            if found is None:
                return Answer.of({"code": -5000, "msg": f"Path {path}, Method {method} is invalid"}, 404)
            who, handler = found
            if who != PUBLIC:
                self.door.check_key(request.headers.get("x-mbx-apikey"))
            if who == SIGNED:
                self.door.check_signed(request.query + request.body, given)
            return Answer.of(handler(self.desk, given), headers={"X-MBX-USED-WEIGHT-1M": str(used)})
        except VenueError as error:
            return refusing(error)
        except Refusal as refusal:
            return refusing(said(refusal, self._words))
        except ValueError:
            return refusing(binance_errors.missing("parameter"))

    def refused(self, kind: Kind) -> Answer:
        if kind is Kind.OVERLOADED:
            text = "Server is currently overloaded with other requests. Please try again in a few minutes."
            return refusing(VenueError(-1008, text, 503))
        common = told_by_everyone(Answer(200, ""), kind)
        return common or refusing(binance_errors.too_many_requests(30, banned=kind is Kind.BANNED))

    def spoiled(self, answer: Answer, fault: Fault) -> Answer:
        kind = fault.kind
        if kind is Kind.EMPTY_LIST:
            return Answer.of([])
        if kind in {Kind.DOUBLED, Kind.SHUFFLED, Kind.HEDGE_ROWS}:
            rows = json.loads(answer.text)
            return Answer.of(self._reordered(rows, kind)) if isinstance(rows, list) else answer
        if kind in _CODES:
            return refusing(VenueError(*_CODES[kind]))
        return told_by_everyone(answer, kind) or answer

    def _reordered(self, rows: list[Any], kind: Kind) -> list[Any]:
        return [row for row in rows for _ in (0, 1)] if kind is Kind.DOUBLED else rows[::-1]

    @abstractmethod
    def line(self, path: str, query: Mapping[str, str]) -> Line | None: ...

    @abstractmethod
    def end_key(self) -> None: ...

    def adjust(self, given: Mapping[str, Any]) -> None:
        self._matching.adjust(given)


def refusing(error: VenueError) -> Answer:
    return Answer.of({"code": error.code, "msg": error.text}, error.status)


_CODES: Mapping[Kind, tuple[int, str, int]] = {
    Kind.UNKNOWN_503: (-1000, UNKNOWN_TEXT, 503),
    Kind.TIMEOUT_CODE: (
        -1007, "Timeout waiting for response from backend server. Send status unknown; execution status unknown.", 408
    ),
    Kind.UNEXPECTED_CODE: (-1006, "An unexpected response was received from the message bus. Execution status unknown.", 400),
    Kind.WRONG_CODE: (-9999, "Something else.", 400),
}  # fmt: skip


def needed_of(given: Given, name: str) -> str:
    value = given.get(name)
    if not value:
        raise Refusal(Why.MISSING, name)
    return value


def flag_of(given: Given, name: str) -> bool:
    return given.get(name, "").lower() == "true"


def amount_of(given: Given, name: str) -> Decimal:
    try:
        amount = Decimal(needed_of(given, name))
    except InvalidOperation:
        raise Refusal(Why.MISSING, name) from None
    if not amount.is_finite():
        raise Refusal(Why.MISSING, name)
    return amount
