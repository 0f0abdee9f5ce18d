"""Who may come in at Kraken: the key, the signature over path and body, a nonce that only grows, and two rate counters.

One counter is for calls, one for each pair's orders; both run down with time. A cancel costs the more, the younger its order is.
"""

import base64
import hashlib
import hmac
from collections.abc import Callable
from dataclasses import dataclass

from venue_sim.dialects import Request
from venue_sim.errors import VenueError

COSTS = {
    "TradesHistory": 2,
    "ClosedOrders": 1,
    "AddOrder": 0,
    "CancelOrder": 0,
    "CancelAll": 0,
    "CancelAllOrdersAfter": 0,
}
"""What a private call adds to the counter; 1 where nothing is said. Orders have a counter of their own."""
CANCELS = ((5_000, 8), (10_000, 6), (15_000, 5), (45_000, 4), (90_000, 2), (900_000, 1))
"""What a cancel costs, by the age of its order in ms."""
CALLS, CALLS_A_SECOND = 20, 1.0
ORDERS, ORDERS_A_SECOND = 180, 3.75


@dataclass(slots=True)
class Counter:
    """Runs down by *a_second* and must not come above *limit*."""

    limit: float
    a_second: float
    value: float = 0.0
    at: int = 0

    def add(self, cost: float, now: int, refusal: str) -> None:
        """Raises VenueError, and has then counted nothing."""
        value = self._left(now)
        if value + cost > self.limit:
            raise VenueError(refusal)
        self.value, self.at = value + cost, now

    def charge(self, cost: float, now: int) -> None:
        """Count what is never refused."""
        self.value, self.at = min(self.limit, self._left(now) + cost), now

    def _left(self, now: int) -> float:
        return max(0.0, self.value - (now - self.at) / 1000 * self.a_second)


class KrakenDoor:
    """See the module. *secret* is base64, as Kraken gives it out. Raises ValueError for one that is not."""

    def __init__(self, clock: Callable[[], int], key: str, secret: str) -> None:
        self._clock, self.key = clock, key
        try:
            self._secret = base64.b64decode(secret, validate=True)
        except ValueError as error:
            raise ValueError(f"the secret is not base64, as Kraken's are: {error}") from None
        self.nonce_window = 0
        """How far below the highest a nonce may be, once; 0: each must be higher than all before."""
        self._highest = 0
        self._recent: set[int] = set()
        self.calls = Counter(CALLS, CALLS_A_SECOND)
        self.order_limit = float(ORDERS)
        self._orders: dict[str, Counter] = {}

    def check(self, request: Request, nonce: str) -> None:
        """Raises VenueError."""
        given = request.headers.get("api-key", "")
        if not hmac.compare_digest(given.encode(), self.key.encode()):
            raise VenueError("EAPI:Invalid key")
        inner = hashlib.sha256((nonce + request.body).encode()).digest()
        wanted = hmac.new(self._secret, request.path.encode() + inner, hashlib.sha512).digest()
        if not hmac.compare_digest(
            base64.b64encode(wanted), request.headers.get("api-sign", "").strip().encode()
        ):
            raise VenueError("EAPI:Invalid signature")
        self._take_nonce(nonce)

    def _take_nonce(self, nonce: str) -> None:
        number = int(nonce) if nonce.isdecimal() else 0
        if number <= self._highest - self.nonce_window or number in self._recent or not number:
            raise VenueError("EAPI:Invalid nonce")
        self._highest = max(self._highest, number)
        self._recent = {one for one in self._recent if one > self._highest - self.nonce_window} | {number}

    def count_call(self, name: str) -> None:
        """Raises VenueError."""
        self.calls.add(COSTS.get(name, 1), self._clock(), "EAPI:Rate limit exceeded")

    def count_order(self, pair: str) -> None:
        """Raises VenueError."""
        self._counter(pair).add(1, self._clock(), "EOrder:Rate limit exceeded")

    def count_cancel(self, pair: str, age_ms: int) -> None:
        """A cancel is never refused for its cost; it makes later orders wait."""
        cost = next((cost for most, cost in CANCELS if age_ms < most), 0)
        self._counter(pair).charge(cost, self._clock())

    def _counter(self, pair: str) -> Counter:
        counter = self._orders.setdefault(pair, Counter(self.order_limit, ORDERS_A_SECOND))
        counter.limit = self.order_limit
        return counter
