"""Who may come in: the key, the signature over what was sent, the timestamp and its window, and the weights per minute.

The checks and their order are the real venue's: limits first, then key, time and signature.
"""

import hashlib
import hmac
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from venue_sim import binance_errors as errors

AHEAD_MS = 1_000
"""How far in the future a timestamp may lie."""
WINDOW_MS, LONGEST_WINDOW_MS = 5_000, 60_000
BAN_S = 120


@dataclass(frozen=True, slots=True)
class Limits:
    """What a minute may weigh, how many orders ten seconds may bring, and what weighs and what is an order."""

    weight_a_minute: int
    orders_a_10_s: int
    weights: Mapping[tuple[str, str], tuple[int, int]]
    """By method and path: weight with a symbol, weight without; everything else weighs 1."""
    orders: frozenset[tuple[str, str]]


_FUTURES_WEIGHTS: Mapping[tuple[str, str], tuple[int, int]] = {
    ("GET", "/fapi/v1/openOrders"): (1, 40),
    ("GET", "/fapi/v1/openAlgoOrders"): (1, 40),
    ("GET", "/fapi/v1/userTrades"): (5, 5),
    ("GET", "/fapi/v1/allOrders"): (5, 5),
    ("GET", "/fapi/v2/positionRisk"): (5, 5),
    ("GET", "/fapi/v3/positionRisk"): (5, 5),
    ("GET", "/fapi/v2/account"): (5, 5),
    ("GET", "/fapi/v3/account"): (5, 5),
    ("GET", "/fapi/v1/positionSide/dual"): (30, 30),
    ("POST", "/fapi/v1/countdownCancelAll"): (10, 10),
    ("POST", "/fapi/v1/order"): (0, 0),
}
FUTURES = Limits(
    2_400, 300, _FUTURES_WEIGHTS, frozenset({("POST", "/fapi/v1/order"), ("POST", "/fapi/v1/algoOrder")})
)
_SPOT_WEIGHTS: Mapping[tuple[str, str], tuple[int, int]] = {
    ("GET", "/api/v3/exchangeInfo"): (20, 20),
    ("GET", "/api/v3/account"): (20, 20),
    ("GET", "/api/v3/myTrades"): (20, 20),
    ("GET", "/api/v3/allOrders"): (20, 20),
    ("GET", "/api/v3/openOrders"): (6, 80),
    ("GET", "/api/v3/order"): (4, 4),
    ("GET", "/api/v3/ticker/bookTicker"): (2, 4),
}
SPOT = Limits(
    6_000, 100, _SPOT_WEIGHTS, frozenset({("POST", "/api/v3/order"), ("POST", "/api/v3/order/cancelReplace")})
)


class Door:
    """See the module. *clock* is the venue's, ms."""

    def __init__(self, clock: Callable[[], int], key: str, secret: str, limits: Limits = FUTURES) -> None:
        self._clock, self.key, self._secret, self._limits = clock, key, secret, limits
        self.weight_limit, self.order_limit = limits.weight_a_minute, limits.orders_a_10_s
        self._weights: deque[tuple[int, int]] = deque()
        self._orders: deque[int] = deque()
        self._banned_until = 0
        self._warned_until = 0

    def weigh(self, method: str, path: str, has_symbol: bool) -> int:
        """Count a request; the weight used in this minute. Raises VenueError with 429, and 418 for who does not stop."""
        now = self._clock()
        if now < self._banned_until:
            raise errors.too_many_requests((self._banned_until - now) // 1000 + 1, banned=True)
        _drop_before(self._weights, now - 60_000)
        with_symbol, without = self._limits.weights.get((method, path), (1, 1))
        self._weights.append((now, with_symbol if has_symbol else without))
        used = sum(weight for _, weight in self._weights)
        if used > self.weight_limit:
            if now < self._warned_until:
                self._banned_until = now + BAN_S * 1000
                raise errors.too_many_requests(BAN_S, banned=True)
            self._warned_until = now + 60_000
            raise errors.too_many_requests(60, banned=False)
        if (method, path) in self._limits.orders:
            while self._orders and self._orders[0] <= now - 10_000:
                self._orders.popleft()
            if len(self._orders) >= self.order_limit:
                raise errors.too_many_orders(self.order_limit)
            self._orders.append(now)
        return used

    def check_key(self, given: str | None) -> None:
        if given is None or not hmac.compare_digest(given.encode(), self.key.encode()):
            raise errors.wrong_key()

    def check_signed(self, query: str, parameters: Mapping[str, str]) -> None:
        """*query* is what was signed, as it came, signature included. Raises VenueError."""
        text, _, signature = query.rpartition("&signature=")
        if not signature:
            raise errors.missing("signature")
        self.check_time(parameters)
        self.check_signature(text, signature)

    def check_time(self, parameters: Mapping[str, str]) -> None:
        """Raises VenueError for a timestamp that is missing, too old, or in the future."""
        now = self._clock()
        try:
            sent = int(parameters["timestamp"])
            window = int(parameters.get("recvWindow", WINDOW_MS))
        except (KeyError, ValueError):
            raise errors.missing("timestamp") from None
        if sent > now + AHEAD_MS or now - sent > min(window, LONGEST_WINDOW_MS):
            raise errors.wrong_time()

    def check_signature(self, text: str, signature: str) -> None:
        wanted = hmac.new(self._secret.encode(), text.encode(), hashlib.sha256).hexdigest()
        if not hmac.compare_digest(wanted, signature):
            raise errors.wrong_signature()


def _drop_before(weights: deque[tuple[int, int]], time: int) -> None:
    while weights and weights[0][0] <= time:
        weights.popleft()
