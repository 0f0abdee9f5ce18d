"""What a wire has to do here: requests in, answers and events out. One class for each; `catalog` lists them.

A dialect stands between the server, which knows of sockets and of faults of the connection, and an exchange, which knows of
orders. It checks who asks, reads and writes the venue's documents, and says each fault in the venue's own words.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from venue_sim.faults import Fault, Kind
from venue_sim.market import Quote
from venue_sim.matching import Matching
from venue_sim.orders import Algo, Order, Trade

Document = Any
PAGE = "<html><head><title>502 Bad Gateway</title></head><body><center><h1>502 Bad Gateway</h1></center></body></html>"


@dataclass(frozen=True, slots=True)
class Request:
    """As it came in: *query* and *body* are the texts that may have been signed. Names of headers are in lower case."""

    method: str
    path: str
    query: str = ""
    body: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Answer:
    """What goes back; *text* is what a document says, before anything spoils it."""

    status: int
    text: str
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, document: Document, status: int = 200, headers: Mapping[str, str] | None = None) -> "Answer":
        return cls(status, json.dumps(document, separators=(",", ":")), headers=headers or {})


class Line(Protocol):
    """One WebSocket of a client."""

    @property
    def listens(self) -> bool:
        """Whether it is told of orders by now."""
        ...

    def hear(self, text: str) -> Sequence[Document]:
        """What is answered to a message."""
        ...

    def tell(self, order: Order | Algo, trade: Trade | None) -> Sequence[Document]:
        """What this client is told of an order that has changed."""
        ...

    def price(self, symbol: str, quote: Quote) -> Sequence[Document]:
        """What this client is told of a price."""
        ...

    def farewell(self) -> Sequence[Document]:
        """What it is told last when its key ends."""
        ...


class Dialect(Protocol):
    """See the module."""

    @property
    def exchange(self) -> Matching: ...

    def answer(self, request: Request) -> Answer:
        """Do what is asked."""
        ...

    def refused(self, kind: Kind) -> Answer:
        """The answer of a fault that prevents the request."""
        ...

    def spoiled(self, answer: Answer, fault: Fault) -> Answer:
        """*answer* as *fault* makes it; faults of the connection are the server's."""
        ...

    def line(self, path: str, query: Mapping[str, str]) -> Line | None:
        """A WebSocket that is opened; None: nobody is let in."""
        ...

    def end_key(self) -> None:
        """What lets clients listen is worth nothing from now on."""
        ...

    def adjust(self, given: Mapping[str, Any]) -> None:
        """Change what no request could: the account, and the door's strictness."""
        ...


def told_by_everyone(answer: Answer, kind: Kind) -> Answer | None:
    """Faults of content that look alike at every venue; None for the others."""
    if kind is Kind.GARBAGE:
        return Answer(200, answer.text[: len(answer.text) // 2] + "\x00�}")
    if kind is Kind.HTML:
        return Answer(200, "<html><body>Maintenance</body></html>", "text/html")
    if kind is Kind.EMPTY:
        return Answer(200, "{}")
    if kind in {Kind.BAD_GATEWAY, Kind.BAD_GATEWAY_BEFORE}:
        return Answer(502, PAGE, "text/html")
    return None
