"""Tells from heartbeats, as any reader of the bus could, whether every open position is armed.

A service publishes one as soon as it has loaded its view, so a recovery is measured to some milliseconds, and not to the
second in which heartbeats usually come. Times are those of the entries: the bus's clock, on this machine.
"""

import json
import threading
from collections import deque
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from redis import Redis
from redis.exceptions import RedisError

from holdfast.contracts import streams

NEEDED = (
    streams.LEDGER,
    streams.EXECUTOR,
    streams.EXIT_SCANNER,
    streams.STATE_PUBLISHER,
    streams.MARKET_FEED,
)
PAUSE_S = 0.02
FRESH_MS = 3000
"""A service that no fault has touched counts as alive when it was heard of this recently."""


@dataclass(frozen=True, slots=True)
class Beat:
    """The newest word of one service."""

    heard_ms: int
    incarnation: str
    seq: int
    body: dict[str, Any]


class Beats:
    """Follows `heartbeat` in a thread of its own, through wipes and restarts of the bus."""

    def __init__(self, client: "Redis") -> None:
        self._client, self._last, self._stopping = client, "0-0", threading.Event()
        self._lock = threading.Lock()
        self.newest: dict[str, Beat] = {}
        self._ledger: deque[tuple[int, int]] = deque(maxlen=50)
        """When the ledger was heard of, and its sequence then."""
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join(10)

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                reply: Any = self._client.xread({streams.HEARTBEAT.name: self._last}, count=500, block=500)
            except (RedisError, OSError):
                self._stopping.wait(PAUSE_S)
                continue
            for _, entries in reply or ():
                self._last = entries[-1][0]
                for entry_id, fields in entries:
                    self._take(int(entry_id.partition("-")[0]), json.loads(fields["body"]))

    def _take(self, heard_ms: int, body: dict[str, Any]) -> None:
        with self._lock:
            self.newest[body["service"]] = Beat(heard_ms, body["incarnation"], body.get("seq", 0), body)
            if body["service"] == streams.LEDGER:
                self._ledger.append((heard_ms, body.get("seq", 0)))

    def incarnations(self) -> dict[str, str]:
        """Service -> who it is now."""
        with self._lock:
            return {service: beat.incarnation for service, beat in self.newest.items()}

    def missing(
        self, since_ms: int, now_ms: int, touched: Collection[str], replaced: dict[str, str]
    ) -> list[str]:
        """What still keeps all positions from being armed; empty when they are.

        *touched* must have been heard of since; those in *replaced* under another incarnation than they had.
        """
        with self._lock:
            newest, ledger = dict(self.newest), list(self._ledger)
        found = []
        for name in NEEDED:
            beat = newest.get(name)
            if beat is None:
                found.append(f"{name} was never heard of")
            elif name in touched and beat.heard_ms < since_ms:
                found.append(f"{name} is silent since the fault")
            elif replaced.get(name) == beat.incarnation:
                found.append(f"{name} has no successor")
            elif beat.heard_ms < now_ms - FRESH_MS:
                found.append(f"{name} is silent")
            elif beat.body.get("unreadable"):
                found.append(f"{name}: {beat.body['unreadable']}")
        return found or _unarmed(newest[streams.EXIT_SCANNER], ledger)


def _unarmed(scanner: Beat, ledger: list[tuple[int, int]]) -> list[str]:
    """Whether the scanner has armed all that the ledger had recorded when it was last heard of before it."""
    body = scanner.body
    if body.get("armed") is None or body.get("unarmed") or body["armed"] != int(body["details"]["positions"]):
        return [f"armed {body.get('armed')} of {body.get('details', {}).get('positions')}"]
    due = max((seq for heard_ms, seq in ledger if heard_ms < scanner.heard_ms - 200), default=0)
    if body.get("armed_through", -1) < due:
        return [f"armed through {body.get('armed_through')} of {due}"]
    return []
