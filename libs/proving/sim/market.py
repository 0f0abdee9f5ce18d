"""Prices of a simulated world: seeded walks with gaps, bad prints and silences, put on the bus as a feed would."""

from decimal import Decimal
from typing import Any

import orjson

from holdfast.contracts.streams import MARKET_TICK
from proving.sim.bus import SimBus
from proving.sim.dice import Dice, Faults
from proving.sim.trace import Trace

SYMBOLS = {"BTC/USDT": 40_000.0, "ETH/USDT": 2_500.0, "SOL/USDT": 100.0}
FEED_BY = "feed"
EVERY_S = (0.15, 0.45)
SPREAD = 0.0002
STEP_PCT = 0.25


class Market:
    """See the module. `price` is the walk's; what a bad print says was never true."""

    def __init__(self, bus: SimBus, dice: Dice, faults: Faults, trace: Trace) -> None:
        self._bus, self._dice, self._faults, self._trace = bus, dice, faults, trace
        self.price = dict(SYMBOLS)
        self._silent_until_s = 0.0
        self.volatility = dice.between("market|volatility", 0.3, 2.0)
        self._ticks = 0
        self.drift_pct = 0.0
        """Per tick; the world's sweep at the end moves prices with it."""

    def start(self) -> None:
        self._later()

    def _later(self) -> None:
        self._bus.loop.call_later(self._dice.between("market|every", *EVERY_S), self._tick)

    def _tick(self) -> None:
        self._later()
        now = self._bus.loop.time()
        if self._faults.strike("market.silent", "feed", now, 0.3):
            self._silent_until_s = now + self._dice.between("market|silence", 5.0, 60.0)
            self._trace.fault(now, "market.silent")
        for symbol in self.price:
            self._move(symbol, now)
        if now < self._silent_until_s and self._faults.active:
            return
        for symbol in self.price:
            self._publish(symbol, self._printed(symbol, now))

    def _move(self, symbol: str, now: float) -> None:
        step = self._dice.between(f"market|{symbol}", -STEP_PCT, STEP_PCT) * self.volatility + self.drift_pct
        if self._faults.strike("market.gap", symbol, now):
            step = self._dice.between("market|gap", -9.0, 9.0)
            self._trace.fault(now, f"market.gap {symbol} {step:.2f} %")
        start = SYMBOLS[symbol]
        self.price[symbol] = min(max(self.price[symbol] * (1 + step / 100), start / 3), start * 3)

    def _printed(self, symbol: str, now: float) -> float:
        if self._faults.strike("market.bad_print", symbol, now):
            self._trace.fault(now, f"market.bad_print {symbol}")
            return self.price[symbol] * self._dice.pick("market|bad", (0.5, 0.7, 1.4, 1.8))
        return self.price[symbol]

    def quote(self, symbol: str) -> tuple[Decimal, Decimal]:
        """Bid and ask at the walk's price."""
        return _quote(self.price[symbol])

    def _publish(self, symbol: str, price: float) -> None:
        if self._bus.loop.time() < self._bus.gone_until_s or self._bus.server.is_full:
            return
        bid, ask = _quote(price)
        self._ticks += 1
        body: dict[str, Any] = {
            "id": f"sim:{self._ticks}", "at": self._bus.wall_ms(), "symbol": symbol, "bid": str(bid), "ask": str(ask), "last": str(bid),
            "feed": "sim", "run": "r1", "live": True,
        }  # fmt: skip
        self._bus.server.append(
            MARKET_TICK.name.encode(),
            {b"id": body["id"].encode(), b"body": orjson.dumps(body)},
            maxlen=MARKET_TICK.maxlen,
        )
        self._bus.wake()


def _quote(price: float) -> tuple[Decimal, Decimal]:
    return Decimal(f"{price * (1 - SPREAD):.2f}"), Decimal(f"{price * (1 + SPREAD):.2f}")
