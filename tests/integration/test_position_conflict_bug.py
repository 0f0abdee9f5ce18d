"""The incident itself: a SELL signal thirty seconds after a BUY, and everything around it. The 15 cases have its names.

A small venue keeps both sides apart, as the real one did, so that the accident can happen here.
"""

from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal

import pytest

from holdfast.position_invariant import (
    PositionInvariantEnforcer,
    PositionInvariantViolation,
    get_position_invariant_enforcer,
    reset_enforcer,
)


class HedgedVenue:
    """Fills at once, and nets nothing: what is sold opens a short beside the long, unless it is reduce-only."""

    def __init__(self) -> None:
        self.legs: dict[str, dict[str, Decimal]] = {}
        self.orders = 0

    def place(self, symbol: str, side: str, quantity: Decimal | float, reduce_only: bool = False) -> None:
        legs = self.legs.setdefault(symbol, {"long": Decimal(0), "short": Decimal(0)})
        amount, opens = Decimal(str(quantity)), "long" if side == "buy" else "short"
        closes = "short" if opens == "long" else "long"
        self.orders += 1
        if reduce_only:
            legs[closes] -= min(amount, legs[closes])
        else:
            legs[opens] += amount

    def net(self) -> dict[str, float]:
        return {symbol: float(legs["long"] - legs["short"]) for symbol, legs in self.legs.items()}

    def is_opposed(self, symbol: str) -> bool:
        legs = self.legs.get(symbol, {"long": 0, "short": 0})
        return bool(legs["long"] and legs["short"])


class Trader:
    """One order path of the bot: read the positions, ask, place. It skips what is blocked."""

    def __init__(
        self,
        venue: HedgedVenue,
        account: str,
        positions: Callable[[], Mapping[str, object] | None] | None = None,
    ) -> None:
        self.venue, self.account = venue, account
        self.positions = positions or venue.net
        self.skipped: list[str] = []

    def on_signal(self, symbol: str, side: str, quantity: float, reduce_only: bool = False) -> bool:
        try:
            send = get_position_invariant_enforcer().enforce_before_order(
                symbol=symbol,
                side=side,
                quantity=quantity,
                current_positions=self.positions(),
                account=self.account,
                exchange="binance",
                reduce_only=reduce_only,
            )
        except PositionInvariantViolation as error:
            self.skipped.append(str(error))
            return False
        self.venue.place(symbol, side, send, reduce_only)
        return True


@pytest.fixture(autouse=True)
def _own_singleton(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv("QT_ALLOW_HEDGING", raising=False)
    reset_enforcer()
    yield
    reset_enforcer()


@pytest.fixture
def venue() -> HedgedVenue:
    return HedgedVenue()


class TestPositionConflictBugReproduction:
    def test_bug_reproduction_without_fix(self, venue: HedgedVenue) -> None:
        venue.place("BTCUSDT", "buy", 0.001)
        venue.place("BTCUSDT", "sell", 0.001)
        assert venue.is_opposed("BTCUSDT")
        assert venue.net() == {"BTCUSDT": 0.0}, "and the net quantity does not even show it"

    def test_bug_prevented_with_enforcer(self, venue: HedgedVenue) -> None:
        enforcer = PositionInvariantEnforcer()
        for side in ("buy", "sell"):
            allowed, reason = enforcer.check("BTCUSDT", side, 0.001, venue.net())
            if allowed:
                venue.place("BTCUSDT", side, 0.001)
        assert reason == "Cannot open SHORT: existing LONG position of 0.001"
        assert not venue.is_opposed("BTCUSDT")
        assert venue.net() == {"BTCUSDT": 0.001}

    def test_bug_exception_mode(self, venue: HedgedVenue) -> None:
        enforcer = PositionInvariantEnforcer()
        enforcer.enforce_before_order("BTCUSDT", "buy", 0.001, venue.net())
        venue.place("BTCUSDT", "buy", 0.001)
        with pytest.raises(PositionInvariantViolation, match="Cannot open SHORT: existing LONG position"):
            enforcer.enforce_before_order("BTCUSDT", "sell", 0.001, venue.net())
        assert enforcer.get_blocked_orders_count() == 1


class TestRealWorldExecutionFlows:
    def test_event_driven_executor_flow(self, venue: HedgedVenue) -> None:
        executor = Trader(venue, "main")
        signals = [
            ("BTCUSDT", "buy"),
            ("ETHUSDT", "sell"),
            ("BTCUSDT", "sell"),
            ("ETHUSDT", "sell"),
            ("ETHUSDT", "buy"),
        ]
        placed = [executor.on_signal(symbol, side, 0.01) for symbol, side in signals]
        assert placed == [True, True, False, True, False]
        assert venue.orders == 3
        assert executor.skipped == [
            "BTCUSDT: Cannot open SHORT: existing LONG position of 0.01",
            "ETHUSDT: Cannot open LONG: existing SHORT position of 0.02",
        ]

    def test_position_monitor_exit_flow(self, venue: HedgedVenue) -> None:
        executor, monitor = Trader(venue, "main"), Trader(venue, "main")
        executor.on_signal("BTCUSDT", "buy", 0.01)
        assert monitor.on_signal("BTCUSDT", "sell", 0.004, reduce_only=True), "a partial take-profit"
        assert monitor.on_signal("BTCUSDT", "sell", 0.01, reduce_only=True), (
            "a stop, larger than what is left, is cut"
        )
        assert venue.legs["BTCUSDT"] == {"long": Decimal(0), "short": Decimal(0)}
        assert not monitor.on_signal("BTCUSDT", "sell", 0.01, reduce_only=True), (
            "a doubled exit finds nothing to close"
        )
        assert not venue.is_opposed("BTCUSDT")

    def test_autonomous_trader_flow(self, venue: HedgedVenue) -> None:
        tracked = {"BTC/USDT": ("buy", 0.01), "ETH/USDT": ("sell", 0.5)}

        def positions() -> dict[str, float]:
            return {name: held if side == "buy" else -held for name, (side, held) in tracked.items()}

        bot = Trader(venue, "autonomous", positions)
        assert not bot.on_signal("BTCUSDT", "sell", 0.01), (
            "the bot tracks BTC/USDT and orders BTCUSDT: one symbol"
        )
        assert not bot.on_signal("ETH/USDT:USDT", "buy", 0.5)
        assert bot.on_signal("SOLUSDT", "sell", 1)
        assert get_position_invariant_enforcer().get_blocked_orders_summary()[-1]["account"] == "autonomous"


class TestConcurrentSignals:
    def test_rapid_fire_signals_same_direction(self, venue: HedgedVenue) -> None:
        trader = Trader(venue, "main")
        assert all(trader.on_signal("BTCUSDT", "buy", 0.001) for _ in range(50))
        assert venue.net() == {"BTCUSDT": 0.05}

    def test_rapid_fire_signals_alternating_blocked(self, venue: HedgedVenue) -> None:
        trader = Trader(venue, "main")
        placed = [trader.on_signal("BTCUSDT", ("buy", "sell")[number % 2], 0.001) for number in range(50)]
        assert placed == [True, False] * 25
        assert not venue.is_opposed("BTCUSDT")
        enforcer = get_position_invariant_enforcer()
        on_their_way = {"ETHUSDT": 1}
        assert not enforcer.check("ETHUSDT", "sell", 1, venue.net(), in_flight=on_their_way)[0]


class TestMetricsAndMonitoring:
    def test_blocked_order_metrics(self, venue: HedgedVenue) -> None:
        trader = Trader(venue, "main")
        trader.on_signal("BTCUSDT", "buy", 0.001)
        for _ in range(3):
            trader.on_signal("BTCUSDT", "sell", 0.002)
        enforcer = get_position_invariant_enforcer()
        assert enforcer.get_blocked_orders_count() == 3
        newest = enforcer.get_blocked_orders_summary(limit=1)[0]
        assert (
            newest.items()
            >= {"symbol": "BTCUSDT", "attempted_side": "sell", "code": "opposed", "quantity": "0.002"}.items()
        )
        times = [event["timestamp"] for event in enforcer.get_blocked_orders_summary()]
        assert times == sorted(times)
        assert all(time.endswith("+00:00") for time in times)

    def test_metrics_multiple_symbols(self, venue: HedgedVenue) -> None:
        trader, symbols = Trader(venue, "main"), ("BTCUSDT", "ETHUSDT", "SOLUSDT")
        for side in ("sell", "buy"):
            for symbol in symbols:
                trader.on_signal(symbol, side, 1)
        enforcer = get_position_invariant_enforcer()
        assert [event["symbol"] for event in enforcer.get_blocked_orders_summary()] == list(symbols)
        assert enforcer.get_blocked_orders_count() == 3


class TestEdgeCasesIntegration:
    def test_position_exactly_zero_after_close(self, venue: HedgedVenue) -> None:
        trader = Trader(venue, "main")
        trader.on_signal("BTCUSDT", "buy", 0.1)
        trader.on_signal("BTCUSDT", "buy", 0.2)
        trader.on_signal("BTCUSDT", "sell", 0.3, reduce_only=True)
        assert venue.net() == {"BTCUSDT": 0.0}
        assert trader.on_signal("BTCUSDT", "sell", 0.1)

    def test_position_service_returns_empty_dict(self, venue: HedgedVenue) -> None:
        assert Trader(venue, "main", dict).on_signal("BTCUSDT", "sell", 1), (
            "an account that says it is flat is flat"
        )
        unreadable = Trader(venue, "main", lambda: None)
        assert not unreadable.on_signal("BTCUSDT", "sell", 1), "one that says nothing is not"
        assert not unreadable.on_signal("ETHUSDT", "buy", 1)

    def test_very_small_opposing_position(self, venue: HedgedVenue) -> None:
        venue.place("BTCUSDT", "buy", Decimal("0.00000001"))
        assert not Trader(venue, "main").on_signal("BTCUSDT", "sell", 1)
        assert not venue.is_opposed("BTCUSDT")


class TestHedgingModeIntegration:
    def test_hedging_mode_allows_both_directions(self, venue: HedgedVenue) -> None:
        get_position_invariant_enforcer(allow_hedging=True)
        trader = Trader(venue, "main", lambda: venue.legs)
        assert trader.on_signal("BTCUSDT", "buy", 1)
        assert trader.on_signal("BTCUSDT", "sell", 0.5)
        assert venue.is_opposed("BTCUSDT")
        assert trader.on_signal("BTCUSDT", "sell", 9, reduce_only=True)
        assert venue.legs["BTCUSDT"] == {"long": Decimal(0), "short": Decimal("0.5")}

    def test_hedging_mode_environment_variable(
        self, venue: HedgedVenue, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("QT_ALLOW_HEDGING", "true")
        trader = Trader(venue, "main")
        assert trader.on_signal("BTCUSDT", "buy", 1)
        assert trader.on_signal("BTCUSDT", "sell", 1)
        reset_enforcer()
        monkeypatch.setenv("QT_ALLOW_HEDGING", "false")
        venue.place("BTCUSDT", "buy", 1)
        assert not trader.on_signal("BTCUSDT", "sell", 1)
