"""Steady or unlimited trading over many books, and a count of the ends it gets: what load tests send.

Every book is opened and closed in turn, so that what is held stays the same while orders, fills and trades flow. Intents
are told apart by number; each must come to exactly one end on `intent.result`, and the count is taken from there.
"""

import threading
import time
from collections import Counter

import orjson
import redis

from benchmarks.pipeline import INTENT, SYMBOLS
from holdfast.contracts import streams

NOT_AN_END = (b'"status":"accepted"', b'"status":"unknown"')
VALID_MS = 3_600_000
"""An entry may wait this long, ms: under load it is to be answered late rather than to expire."""


class Traffic:
    """The numbered intents of one run: open book 0, 1, 2, … and close each half a round later."""

    def __init__(self, client: "redis.Redis[bytes]", name: str, accounts: tuple[str, ...]) -> None:
        self._client, self._name = client, name
        self._books = [(account, number) for account in accounts for number in range(len(SYMBOLS))]
        self.sent = 0

    def send(self, count: int) -> None:
        """The next *count* intents in one pipeline."""
        pipe = self._client.pipeline(transaction=False)
        now = time.time_ns() // 1_000_000
        for number in range(self.sent, self.sent + count):
            pipe.xadd(INTENT, {"body": orjson.dumps(self._body(number, now))})
        pipe.execute()
        self.sent += count

    def _body(self, number: int, now: int) -> dict[str, object]:
        turn, is_close = number // 2, number % 2
        account, index = self._books[(turn + (len(self._books) // 2 if is_close else 0)) % len(self._books)]
        body = {
            "id": f"{self._name}-{number}",
            "at": now,
            "account": account,
            "symbol": SYMBOLS[index],
            "expires_at": now + VALID_MS,
        }
        if is_close:
            return body | {"action": "close"}
        return body | {"side": "buy", "quantity": "0.01", "take_profit": "80000", "stop_loss": "38000"}


class Ends:
    """Counts, in a thread of its own, the ends of intents whose id starts with *name*."""

    def __init__(self, url: str, name: str) -> None:
        self._client, self._mark = redis.Redis.from_url(url, protocol=2), f'"intent_id":"{name}-'.encode()
        self._stopping = False
        self.count = 0
        self.by_status: Counter[str] = Counter()
        self.of_intent: Counter[str] = Counter()
        rows = self._client.xrevrange(streams.INTENT_RESULT.name, count=1)
        self._last = rows[0][0] if rows else b"0-0"
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._stopping:
            for _, entries in (
                self._client.xread({streams.INTENT_RESULT.name: self._last}, count=2000, block=200) or ()
            ):
                self._last = entries[-1][0]
                for _, fields in entries:
                    self._take(fields[b"body"])

    def _take(self, body: bytes) -> None:
        if self._mark not in body or any(mark in body for mark in NOT_AN_END):
            return
        result = orjson.loads(body)
        if result.get("repeated"):
            return
        self.count += 1
        self.by_status[result["status"] + (f" {result['code']}" if result.get("code") else "")] += 1
        self.of_intent[result["intent_id"]] += 1

    @property
    def twice(self) -> list[str]:
        """Intents that came to more than one end."""
        return [name for name, count in self.of_intent.items() if count > 1]

    def forget(self) -> None:
        """Drop what is known of single intents: for runs that would otherwise grow themselves."""
        self.of_intent.clear()

    def stop(self) -> None:
        self._stopping = True
        self._thread.join()


def maximum(
    client: "redis.Redis[bytes]", url: str, accounts: tuple[str, ...], seconds: float, window: int = 1000
) -> float:
    """Ends per second while *window* intents are kept on their way, the first fifth of the time not counted."""
    name = f"max{time.time_ns()}"
    traffic, ends = Traffic(client, name, accounts), Ends(url, name)
    started, counted_from, counted = time.perf_counter(), 0.0, 0
    while (passed := time.perf_counter() - started) < seconds:
        if traffic.sent - ends.count < window:
            traffic.send(50)
        else:
            time.sleep(0.002)
        if not counted_from and passed > seconds / 5:
            counted_from, counted = time.perf_counter(), ends.count
    rate = (ends.count - counted) / (time.perf_counter() - counted_from)
    wait_for_ends(traffic, ends, 120)
    ends.stop()
    return rate


def wait_for_ends(traffic: Traffic, ends: Ends, seconds: float) -> float:
    """Until every intent sent has its end; the time it took, s. Raises TimeoutError with what is missing."""
    started = time.perf_counter()
    while ends.count < traffic.sent:
        if time.perf_counter() - started > seconds:
            raise TimeoutError(
                f"{traffic.sent - ends.count} of {traffic.sent} intents have no end after {seconds:g} s"
            )
        time.sleep(0.01)
    return time.perf_counter() - started
