"""What can go wrong, on demand: each fault is armed for a request, a number of times, and is then used up.

The names say when it strikes: *after* faults do what was asked and spoil the answer, *before* ones do not do it.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import StrEnum


class Kind(StrEnum):
    NO_ANSWER = "no_answer"
    """Done; the connection stays open and silent."""
    RESET = "reset"
    """Done; the connection is cut instead of an answer."""
    TRUNCATED = "truncated"
    """Done; half of the answer, then the connection is cut."""
    GARBAGE = "garbage"
    """Done; status 200 and a text that is no JSON."""
    HTML = "html"
    """Done; status 200 and a page."""
    EMPTY = "empty"
    """Done; status 200 and an empty object."""
    BAD_GATEWAY = "bad_gateway"
    """Done; 502 and a page."""
    UNKNOWN_503 = "unknown_503"
    """Done; 503 with the text that means "execution status unknown"."""
    TIMEOUT_CODE = "timeout_code"
    """Done; -1007, timeout waiting for the backend: status unknown."""
    UNEXPECTED_CODE = "unexpected_code"
    """Done; -1006, an unexpected response from the message bus: status unknown."""
    WRONG_CODE = "wrong_code"
    """Done; status 400 with a code that no document has."""
    DELAYED = "delayed"
    """Done `delay_ms` later, as if it had been on its way for so long; the receive window is checked then."""
    HIDDEN = "hidden"
    """Done and not answered, and shown by no read for `delay_ms`."""
    RESET_BEFORE = "reset_before"
    """Not done; the connection is cut."""
    SILENT_BEFORE = "silent_before"
    """Not done; no answer."""
    BAD_GATEWAY_BEFORE = "bad_gateway_before"
    """Not done; 502 and a page, just as when it was."""
    OVERLOADED = "overloaded"
    """Not done; -1008."""
    RATE_LIMITED = "rate_limited"
    """Not done; 429."""
    BANNED = "banned"
    """Not done; 418."""
    FILL_AFTER_CANCEL = "fill_after_cancel"
    """Of a cancel: answered as canceled, and the order fills a moment later."""
    EMPTY_LIST = "empty_list"
    """Of a read: an empty list, whatever there is."""
    HEDGE_ROWS = "hedge_rows"
    """Of positions: rows per side, as in hedge mode."""
    DOUBLED = "doubled"
    """Of a read: each row twice."""
    SHUFFLED = "shuffled"
    """Of a read: the rows in reverse."""


SPOILED = frozenset(
    {
        Kind.NO_ANSWER, Kind.RESET, Kind.TRUNCATED, Kind.GARBAGE, Kind.HTML, Kind.EMPTY, Kind.BAD_GATEWAY, Kind.UNKNOWN_503,
        Kind.TIMEOUT_CODE, Kind.UNEXPECTED_CODE, Kind.WRONG_CODE, Kind.HIDDEN,
    }
)  # fmt: skip
"""Done, and the answer says nothing that can be believed."""
PREVENTED = frozenset(
    {
        Kind.RESET_BEFORE,
        Kind.SILENT_BEFORE,
        Kind.BAD_GATEWAY_BEFORE,
        Kind.OVERLOADED,
        Kind.RATE_LIMITED,
        Kind.BANNED,
    }
)
"""Not done."""
OF_SENDS = SPOILED | PREVENTED | {Kind.DELAYED}
"""What can happen to any request that changes something."""


@dataclass(frozen=True, slots=True)
class Fault:
    """*kind* strikes the next *times* requests of *method* whose path ends in *path*; an empty word matches all."""

    kind: Kind
    method: str = ""
    path: str = ""
    times: int = 1
    delay_ms: int = 0

    def matches(self, method: str, path: str) -> bool:
        return self.method in ("", method) and path.endswith(self.path)


class Faults:
    """The armed ones, in the order of arming."""

    def __init__(self, armed: Iterable[Fault] = ()) -> None:
        self._armed = list(armed)

    def arm(self, fault: Fault) -> None:
        if fault.times < 1:
            raise ValueError("times: at least 1")
        self._armed.append(fault)

    def clear(self) -> None:
        self._armed.clear()

    def take(self, method: str, path: str) -> Fault | None:
        """The first that matches, used up once."""
        for index, fault in enumerate(self._armed):
            if fault.matches(method, path):
                if fault.times == 1:
                    del self._armed[index]
                else:
                    self._armed[index] = replace(fault, times=fault.times - 1)
                return fault
        return None

    def armed(self) -> list[Fault]:
        return list(self._armed)
