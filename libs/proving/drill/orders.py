"""Trades while the drill breaks things: entries on both sides, closes, repeats, on several accounts.

Every intent is kept with its body. What a wiped bus took unread is sent again at the end, with the same id and the same
content, which must be safe; so every intent that was ever sent has to come to one end.
"""

import json
import random
import threading
import time
from collections.abc import Iterable
from typing import Any

from redis import Redis
from redis.exceptions import RedisError

from holdfast.contracts import streams
from proving.drill.judge import NO_END

SYMBOLS = ("BTC/USDT:USDT", "ETH/USDT:USDT")
QUANTITIES = {"BTC/USDT:USDT": ("0.01", "0.02", "0.005"), "ETH/USDT:USDT": ("0.1", "0.2", "0.05")}
VALID_MS = 8000
"""How long an entry may wait before it is stale, ms."""


class Orders:
    """A producer in a thread of its own; what the bus did not take was not sent."""

    def __init__(
        self, client: "Redis", accounts: tuple[str, ...], seed: int, longest_pause_s: float = 0.4
    ) -> None:
        self._client, self._accounts, self._longest_pause_s = client, accounts, longest_pause_s
        self._random = random.Random(seed)
        self._stopping = threading.Event()
        self.sent: dict[str, str] = {}
        """Intent id -> body."""
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join(30)

    def _run(self) -> None:
        while not self._stopping.wait(self._random.random() * self._longest_pause_s):
            name, body = self._one(len(self.sent))
            self.send(name, body, 2 if self._random.random() < 0.2 else 1)

    def send(self, name: str, body: str, times: int = 1) -> bool:
        """Put the intent on its stream; whether the bus may have taken it."""
        stream = streams.ORDER_INTENT_EXIT if name.startswith("drill-close-") else streams.ORDER_INTENT
        try:
            for _ in range(times):
                self._client.xadd(stream.name, {"body": body})
        except (RedisError, OSError):
            if name not in self.sent:
                self.sent[name] = body  # it may have got there: the answer was lost, not the intent
            return False
        self.sent[name] = body
        return True

    def _one(self, number: int) -> tuple[str, str]:
        symbol, account = self._random.choice(SYMBOLS), self._random.choice(self._accounts)
        now = time.time_ns() // 1_000_000
        body = {"symbol": symbol, "account": account, "at": now}
        if self._random.random() < 0.3:
            name = f"drill-close-{number}"
            return name, json.dumps(body | {"id": name, "action": "close"})
        name = f"drill-open-{number}"
        more = {
            "id": name, "side": self._random.choice(("buy", "sell")), "quantity": self._random.choice(QUANTITIES[symbol]),
            "stop_loss": "0.4%", "take_profit": "0.4%", "expires_at": now + VALID_MS,
        }  # fmt: skip
        return name, json.dumps(body | more)


class Ends:
    """Which intents `intent.result` says have come to an end, from now on. An order that waits for a price has none yet."""

    def __init__(self, client: "Redis") -> None:
        self._client, self._told = client, set[str]()
        newest: Any = client.xrevrange(streams.INTENT_RESULT.name, count=1)
        self._last = newest[0][0] if newest else "0-0"

    def lacking(self, intents: Iterable[str]) -> list[str]:
        """Those of *intents* that have no end, as far as the bus has told by now."""
        try:
            rows: Any = self._client.xrange(streams.INTENT_RESULT.name, min=f"({self._last}")
        except (RedisError, OSError):
            rows = []
        for entry_id, fields in rows:
            self._last = entry_id
            said = json.loads(fields["body"])
            if said["status"] not in NO_END:
                self._told.add(said["intent_id"])
        return [intent for intent in intents if intent not in self._told]
