"""What a drill needs of a running Holdfast, whether it runs as processes or in containers."""

import json
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from redis import Redis

from holdfast.contracts import streams

BUS = "bus"
SERVICES = streams.SERVICES
ACCOUNTS = ("main", "alt", "demo")
BOUNDS: Mapping[str, str] = {
    "HOLDFAST_BUS_CLAIM_IDLE_MS": "3000",
    "HOLDFAST_EXECUTOR_MAX_TICK_AGE_S": "5",
    "HOLDFAST_EXECUTOR_RECONCILE_EVERY_S": "10",
    "HOLDFAST_SCANNER_MAX_TICK_AGE_S": "5",
    "HOLDFAST_STATE_MAX_TICK_AGE_S": "5",
    "HOLDFAST_STATE_MAX_HEARTBEAT_AGE_S": "3",
    "HOLDFAST_LEDGER_SNAPSHOT_EVERY_S": "10",
}
"""Every bound on staleness set short, so that a pause can outlast all of them in seconds."""
LONGEST_BOUND_S = 5.0
GREEN = "consistent"
STALE_MS = 5000
"""A status file older than this says nothing: whoever reads it must take it for red."""


class Unavailable(Exception):  # noqa: N818 - reads as what it is
    """A fault that cannot be had on this machine; the text says why."""


def told(status: str) -> str:
    """The word for the light in the text of a `status.json`, or that it is old."""
    document = json.loads(status)
    old_ms = time.time_ns() // 1_000_000 - int(document["updated_ms"])
    return f"{old_ms} ms old" if old_ms > STALE_MS else str(document["status"])


class World(Protocol):
    """One Holdfast. Faults that it cannot have raise Unavailable when they are first asked for."""

    directory: Path
    """Where the data are: `ledger/ledger.db` and `paper/` are read from here at the end."""
    asked: Counter[str]
    """How often each was asked to end in order."""

    def client(self) -> "Redis":
        """A connection to the bus that no fault of ours can cut."""
        ...

    def kill(self, names: tuple[str, ...]) -> None:
        """SIGKILL, all at once. They are started again by whoever looks after them."""
        ...

    def restart(self, names: tuple[str, ...], pause_s: float) -> None:
        """End them in this order, SIGTERM, *pause_s* apart; each is started again when it has ended."""
        ...

    def pause(self, name: str) -> None: ...
    def resume(self, name: str) -> None: ...

    def copy_bus(self) -> None:
        """Keep what the bus has on disk now, to rewind to."""
        ...

    def rewind(self) -> None:
        """Give the bus the files of the last copy, while it is down."""
        ...

    def fill_disk(self) -> None: ...
    def free_disk(self) -> None: ...
    def cut_network(self) -> None: ...
    def join_network(self) -> None: ...

    def skew(self, name: str, by_ms: int) -> None:
        """Start *name* again with its wall clock *by_ms* off; 0 puts it right."""
        ...

    def second(self, name: str) -> int:
        """Start another of *name* beside the first; its exit code."""
        ...

    def light(self) -> str:
        """What a reader of `status.json` sees now: `told` of it, or why it cannot be read."""
        ...

    def stop(self) -> str:
        """End everything in order; all that the services have said."""
        ...

    def remove(self) -> None:
        """Undo what was made outside `directory`."""
        ...
