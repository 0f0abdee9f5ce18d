"""The public enforcer: the 29 unit cases of the incident, under their names, and what they left open."""

import copy
import pickle
import subprocess
import sys
import threading
from collections.abc import Iterator
from decimal import Decimal

import pytest

import holdfast.position_invariant as module
from holdfast.contracts.codes import Code
from holdfast.position_invariant import (
    PositionInvariantEnforcer,
    PositionInvariantViolation,
    get_position_invariant_enforcer,
    reset_enforcer,
)


class FixedClock:
    def wall_ms(self) -> int:
        return 1_735_689_600_123

    def monotonic_ms(self) -> int:
        return 0

    async def sleep(self, seconds: float) -> None:
        raise NotImplementedError


@pytest.fixture(autouse=True)
def _own_singleton(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv("QT_ALLOW_HEDGING", raising=False)
    reset_enforcer()
    yield
    reset_enforcer()


@pytest.fixture
def enforcer() -> PositionInvariantEnforcer:
    return PositionInvariantEnforcer(clock=FixedClock())


class TestPositionInvariantEnforcer:
    def test_initialization_default(self) -> None:
        enforcer = PositionInvariantEnforcer()
        assert enforcer.allow_hedging is False
        assert enforcer.get_blocked_orders_count() == 0
        assert enforcer.get_blocked_orders_summary() == []

    def test_initialization_with_hedging(self) -> None:
        assert PositionInvariantEnforcer(allow_hedging=True).allow_hedging is True

    def test_allow_long_when_flat(self, enforcer: PositionInvariantEnforcer) -> None:
        assert enforcer.check("BTCUSDT", "buy", 0.001, {}) == (True, None)

    def test_allow_short_when_flat(self, enforcer: PositionInvariantEnforcer) -> None:
        assert enforcer.check("BTCUSDT", "sell", 0.001, {}) == (True, None)

    def test_block_long_when_short_exists(self, enforcer: PositionInvariantEnforcer) -> None:
        allowed, reason = enforcer.check("BTCUSDT", "buy", 0.001, {"BTCUSDT": -0.001})
        assert not allowed
        assert reason == "Cannot open LONG: existing SHORT position of 0.001"

    def test_block_short_when_long_exists(self, enforcer: PositionInvariantEnforcer) -> None:
        allowed, reason = enforcer.check("BTCUSDT", "sell", 0.001, {"BTCUSDT": 0.001})
        assert not allowed
        assert reason == "Cannot open SHORT: existing LONG position of 0.001"

    def test_allow_adding_to_long(self, enforcer: PositionInvariantEnforcer) -> None:
        assert enforcer.check("BTCUSDT", "buy", 0.002, {"BTCUSDT": 0.001}) == (True, None)

    def test_allow_adding_to_short(self, enforcer: PositionInvariantEnforcer) -> None:
        assert enforcer.check("BTCUSDT", "sell", 0.002, {"BTCUSDT": -0.001}) == (True, None)

    def test_multiple_symbols_independent(self, enforcer: PositionInvariantEnforcer) -> None:
        positions = {"BTCUSDT": 0.001, "ETHUSDT": -0.5}
        assert enforcer.check("ETHUSDT", "sell", 0.1, positions)[0]
        assert not enforcer.check("ETHUSDT", "buy", 0.1, positions)[0]
        assert enforcer.check("BTCUSDT", "buy", 0.1, positions)[0]
        assert not enforcer.check("BTCUSDT", "sell", 0.1, positions)[0]
        assert enforcer.check("SOLUSDT", "sell", 0.1, positions)[0]

    @pytest.mark.parametrize("side", ["buy", "long"])
    def test_side_normalization_long(self, enforcer: PositionInvariantEnforcer, side: str) -> None:
        assert enforcer.check("BTCUSDT", side, 1, {"BTCUSDT": 1})[0]
        assert not enforcer.check("BTCUSDT", side, 1, {"BTCUSDT": -1})[0]
        assert enforcer.get_blocked_orders_summary()[-1]["attempted_side"] == "buy"

    @pytest.mark.parametrize("side", ["sell", "short"])
    def test_side_normalization_short(self, enforcer: PositionInvariantEnforcer, side: str) -> None:
        assert enforcer.check("BTCUSDT", side, 1, {"BTCUSDT": -1})[0]
        assert not enforcer.check("BTCUSDT", side, 1, {"BTCUSDT": 1})[0]
        assert enforcer.get_blocked_orders_summary()[-1]["attempted_side"] == "sell"

    def test_hedging_mode_allows_opposite_long_to_short(self) -> None:
        enforcer = PositionInvariantEnforcer(allow_hedging=True)
        assert enforcer.check("BTCUSDT", "sell", 0.001, {"BTCUSDT": 0.001}) == (True, None)

    def test_hedging_mode_allows_opposite_short_to_long(self) -> None:
        enforcer = PositionInvariantEnforcer(allow_hedging=True)
        assert enforcer.check("BTCUSDT", "buy", 0.001, {"BTCUSDT": -0.001}) == (True, None)

    def test_enforce_raises_exception_on_conflict(self, enforcer: PositionInvariantEnforcer) -> None:
        with pytest.raises(PositionInvariantViolation, match="Cannot open SHORT: existing LONG") as caught:
            enforcer.enforce_before_order("BTCUSDT", "sell", 0.001, {"BTCUSDT": 0.002})
        error = caught.value
        assert (error.code, error.symbol, error.attempted_side) == (Code.OPPOSED, "BTCUSDT", "sell")
        assert error.held == Decimal("0.002")

    def test_enforce_succeeds_when_valid(self, enforcer: PositionInvariantEnforcer) -> None:
        assert enforcer.enforce_before_order("BTCUSDT", "buy", 0.001, {"BTCUSDT": 0.002}) == Decimal("0.001")
        assert enforcer.get_blocked_orders_count() == 0

    def test_blocked_order_recorded(self, enforcer: PositionInvariantEnforcer) -> None:
        enforcer.check("BTCUSDT", "sell", 0.001, {"BTCUSDT": 0.002})
        assert enforcer.get_blocked_orders_summary() == [
            {
                "timestamp": "2025-01-01T00:00:00.123+00:00",
                "symbol": "BTCUSDT",
                "attempted_side": "sell",
                "reason": "Cannot open SHORT: existing LONG position of 0.002",
                "code": "opposed",
                "account": "main",
                "exchange": "paper",
                "quantity": "0.001",
                "reduce_only": False,
            }
        ]

    def test_get_blocked_orders_count(self, enforcer: PositionInvariantEnforcer) -> None:
        for number in range(1, 1106):
            enforcer.check("BTCUSDT", "sell", number, {"BTCUSDT": 1})
        assert enforcer.get_blocked_orders_count() == 1105
        kept = enforcer.get_blocked_orders_summary(limit=5000)
        assert [kept[0]["quantity"], kept[-1]["quantity"], len(kept)] == ["106", "1105", 1000]

    def test_get_blocked_orders_summary(self, enforcer: PositionInvariantEnforcer) -> None:
        for number in range(1, 31):
            enforcer.check("BTCUSDT", "sell", number, {"BTCUSDT": 1})
        quantities = [event["quantity"] for event in enforcer.get_blocked_orders_summary()]
        assert quantities == [str(number) for number in range(11, 31)]
        assert [event["quantity"] for event in enforcer.get_blocked_orders_summary(limit=2)] == ["29", "30"]
        assert enforcer.get_blocked_orders_summary(limit=0) == []
        enforcer.get_blocked_orders_summary()[-1]["reason"] = "changed by a reader"
        assert enforcer.get_blocked_orders_summary()[-1]["reason"].startswith("Cannot open SHORT")

    def test_account_and_exchange_parameters(self, enforcer: PositionInvariantEnforcer) -> None:
        assert enforcer.check("BTCUSDT", "buy", 1, {}, "autonomous", "binance")[0]
        with pytest.raises(PositionInvariantViolation):
            enforcer.enforce_before_order(
                "BTCUSDT", "buy", 1, {"BTCUSDT": -1}, account="autonomous", exchange="binance"
            )
        event = enforcer.get_blocked_orders_summary()[-1]
        assert (event["account"], event["exchange"]) == ("autonomous", "binance")


class TestGlobalEnforcerSingleton:
    def test_get_enforcer_creates_instance(self) -> None:
        enforcer = get_position_invariant_enforcer()
        assert isinstance(enforcer, PositionInvariantEnforcer)
        assert enforcer.allow_hedging is False
        assert get_position_invariant_enforcer() is enforcer

    def test_get_enforcer_with_explicit_hedging(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("QT_ALLOW_HEDGING", "false")
        enforcer = get_position_invariant_enforcer(allow_hedging=True)
        assert enforcer.allow_hedging is True
        assert get_position_invariant_enforcer() is enforcer
        assert enforcer.allow_hedging is True
        assert get_position_invariant_enforcer(allow_hedging=False) is enforcer
        assert enforcer.allow_hedging is False

    def test_reset_enforcer_clears_singleton(self) -> None:
        first = get_position_invariant_enforcer()
        first.check("BTCUSDT", "sell", 1, {"BTCUSDT": 1})
        reset_enforcer()
        second = get_position_invariant_enforcer()
        assert second is not first
        assert second.get_blocked_orders_count() == 0


class TestEdgeCases:
    @pytest.mark.parametrize("zero", [0, 0.0, -0.0, "0", Decimal("0E-8"), {"long": 0, "short": 0}])
    def test_zero_position_treated_as_flat(self, enforcer: PositionInvariantEnforcer, zero: object) -> None:
        assert enforcer.check("BTCUSDT", "buy", 1, {"BTCUSDT": zero})[0]
        assert enforcer.check("BTCUSDT", "sell", 1, {"BTCUSDT": zero})[0]

    def test_very_small_position_detected(self, enforcer: PositionInvariantEnforcer) -> None:
        allowed, reason = enforcer.check("BTCUSDT", "sell", 1, {"BTCUSDT": 1e-18})
        assert (allowed, reason) == (
            False,
            "Cannot open SHORT: existing LONG position of 0.000000000000000001",
        )

    @pytest.mark.parametrize("side", ["SELL", "Sell", "SHORT", "sHoRt"])
    def test_case_insensitive_side(self, enforcer: PositionInvariantEnforcer, side: str) -> None:
        assert enforcer.check("BTCUSDT", side, 1, {})[0]
        assert not enforcer.check("BTCUSDT", side, 1, {"BTCUSDT": 1})[0]

    def test_symbol_not_in_positions_treated_as_flat(self, enforcer: PositionInvariantEnforcer) -> None:
        assert enforcer.check("BTCUSDT", "sell", 1, {"ETHUSDT": 1}) == (True, None)


class TestIntegrationScenario:
    def test_normal_trading_flow(self, enforcer: PositionInvariantEnforcer) -> None:
        positions: dict[str, float] = {}
        enforcer.enforce_before_order("BTCUSDT", "buy", 0.001, positions)
        positions["BTCUSDT"] = 0.001
        with pytest.raises(PositionInvariantViolation):
            enforcer.enforce_before_order("BTCUSDT", "sell", 0.001, positions)
        enforcer.enforce_before_order("BTCUSDT", "sell", 0.001, positions, reduce_only=True)
        positions["BTCUSDT"] = 0.0
        enforcer.enforce_before_order("BTCUSDT", "sell", 0.001, positions)
        assert enforcer.get_blocked_orders_count() == 1

    def test_scaling_into_position(self, enforcer: PositionInvariantEnforcer) -> None:
        positions: dict[str, object] = {}
        for step in range(1, 6):
            enforcer.enforce_before_order("BTCUSDT", "long", "0.1", positions)
            positions["BTCUSDT"] = Decimal("0.1") * step
        with pytest.raises(PositionInvariantViolation, match=r"position of 0\.5"):
            enforcer.enforce_before_order("BTCUSDT", "short", "0.1", positions)

    def test_multi_symbol_portfolio(self, enforcer: PositionInvariantEnforcer) -> None:
        positions = {"BTCUSDT": 0.5, "ETHUSDT": -2, "SOLUSDT": 10}
        same_side = [
            enforcer.check(name, "buy" if held > 0 else "sell", 1, positions)[0]
            for name, held in positions.items()
        ]
        other_side = [
            enforcer.check(name, "sell" if held > 0 else "buy", 1, positions)[0]
            for name, held in positions.items()
        ]
        assert same_side == [True, True, True]
        assert other_side == [False, False, False]
        assert enforcer.get_blocked_orders_count() == 3


class TestOrders:
    def test_a_close_is_judged_as_a_close(self, enforcer: PositionInvariantEnforcer) -> None:
        held = {"BTCUSDT": "0.3"}
        assert enforcer.enforce_before_order("BTCUSDT", "sell", "0.1", held, reduce_only=True) == Decimal(
            "0.1"
        )
        with pytest.raises(PositionInvariantViolation) as caught:
            enforcer.enforce_before_order("BTCUSDT", "buy", "0.1", held, reduce_only=True)
        assert caught.value.code is Code.WRONG_SIDE
        with pytest.raises(PositionInvariantViolation) as caught:
            enforcer.enforce_before_order("ETHUSDT", "sell", "0.1", held, reduce_only=True)
        assert caught.value.code is Code.NOTHING_TO_CLOSE

    def test_a_close_that_is_too_large_is_cut_and_never_flips(
        self, enforcer: PositionInvariantEnforcer
    ) -> None:
        assert enforcer.enforce_before_order(
            "BTCUSDT", "sell", 5, {"BTCUSDT": 0.3}, reduce_only=True
        ) == Decimal("0.3")
        assert enforcer.enforce_before_order(
            "BTCUSDT", "buy", 5, {"BTCUSDT": -0.3}, reduce_only=True
        ) == Decimal("0.3")

    def test_an_entry_in_flight_counts_as_held(self, enforcer: PositionInvariantEnforcer) -> None:
        assert enforcer.check("BTCUSDT", "buy", 1, {}, in_flight={"BTC/USDT": 1})[0]
        allowed, reason = enforcer.check("BTCUSDT", "sell", 1, {}, in_flight={"BTC/USDT": 1})
        assert (allowed, reason) == (False, "Cannot open SHORT: an entry that opens LONG is in flight")

    def test_text_of_an_attacker_reaches_no_log_line(
        self, enforcer: PositionInvariantEnforcer, caplog: pytest.LogCaptureFixture
    ) -> None:
        enforcer.check("BTC\nfake: all is well", "sell", 1, {"BTC\nfake: all is well": 1}, account="a\x1b[2J")
        assert len(caplog.records) == 1
        assert caplog.records[0].getMessage().isprintable()


class TestHedgingPerSymbol:
    def test_one_symbol_may_hedge_where_the_rest_may_not(self, enforcer: PositionInvariantEnforcer) -> None:
        enforcer.set_hedging("BTCUSDT", True, {})
        positions = {"BTC/USDT": 1, "ETHUSDT": 1}
        assert enforcer.is_hedging("BTC/USDT:USDT")
        assert enforcer.check("BTC/USDT", "sell", 1, positions)[0]
        assert not enforcer.check("ETHUSDT", "sell", 1, positions)[0]

    def test_one_symbol_may_not_hedge_where_the_rest_may(self) -> None:
        enforcer = PositionInvariantEnforcer(allow_hedging=True)
        enforcer.set_hedging("BTCUSDT", False, {"BTCUSDT": 1})
        assert not enforcer.check("BTCUSDT", "sell", 1, {"BTCUSDT": 1})[0]
        assert enforcer.check("ETHUSDT", "sell", 1, {"ETHUSDT": 1})[0]

    @pytest.mark.parametrize(
        "both", [{"BTCUSDT": {"long": 1, "short": "0.5"}}, {"BTCUSDT": 1, "BTC/USDT": -0.5}], ids=repr
    )
    def test_switching_off_is_refused_while_both_sides_are_open(
        self, enforcer: PositionInvariantEnforcer, both: dict[str, object]
    ) -> None:
        enforcer.set_hedging("BTCUSDT", True, both)
        with pytest.raises(
            PositionInvariantViolation, match=r"LONG 1 and SHORT 0\.5 are open; close one first"
        ) as caught:
            enforcer.set_hedging("BTC/USDT", False, both)
        assert caught.value.code is Code.OPPOSED
        assert enforcer.is_hedging("BTCUSDT")
        enforcer.set_hedging("BTC/USDT", False, {"BTCUSDT": {"long": 1, "short": 0}})
        assert not enforcer.is_hedging("BTCUSDT")

    def test_switching_off_is_refused_while_that_cannot_be_read(
        self, enforcer: PositionInvariantEnforcer
    ) -> None:
        enforcer.set_hedging("BTCUSDT", True, None)
        with pytest.raises(PositionInvariantViolation) as caught:
            enforcer.set_hedging("BTCUSDT", False, None)
        assert caught.value.code is Code.POSITIONS_UNREADABLE
        assert enforcer.is_hedging("BTCUSDT")

    def test_a_close_reduces_the_leg_it_means(self) -> None:
        enforcer = PositionInvariantEnforcer(allow_hedging=True)
        both = {"BTCUSDT": {"long": 1, "short": "0.5"}}
        assert enforcer.enforce_before_order("BTCUSDT", "sell", 9, both, reduce_only=True) == 1
        assert enforcer.enforce_before_order("BTCUSDT", "buy", 9, both, reduce_only=True) == Decimal("0.5")


class TestProcess:
    @pytest.mark.parametrize(
        ("word", "allowed"),
        [
            ("true", True),
            ("1", True),
            ("YES", True),
            (" True ", True),
            ("", False),
            ("0", False),
            ("no", False),
            ("maybe", False),
        ],
    )
    def test_the_environment_is_read_strictly(
        self, monkeypatch: pytest.MonkeyPatch, word: str, allowed: bool
    ) -> None:
        monkeypatch.setenv("QT_ALLOW_HEDGING", word)
        assert get_position_invariant_enforcer().allow_hedging is allowed

    def test_many_threads_share_one_enforcer_and_lose_no_count(self) -> None:
        seen: set[int] = set()
        start = threading.Barrier(8)

        def work(number: int) -> None:
            start.wait()
            enforcer = get_position_invariant_enforcer()
            seen.add(id(enforcer))
            for step in range(100):
                positions = {f"COIN{number}X{step}USDT": 1, "BTCUSDT": 1}
                assert not enforcer.check(f"COIN{number}X{step}/USDT", "sell", 1, positions)[0]

        threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(seen) == 1
        assert get_position_invariant_enforcer().get_blocked_orders_count() == 800

    def test_a_violation_can_cross_a_process(self, enforcer: PositionInvariantEnforcer) -> None:
        with pytest.raises(PositionInvariantViolation) as caught:
            enforcer.enforce_before_order("BTCUSDT", "sell", 1, {"BTCUSDT": 2})
        for twin in (pickle.loads(pickle.dumps(caught.value)), copy.copy(caught.value)):
            assert (str(twin), twin.code, twin.symbol, twin.held) == (
                str(caught.value),
                Code.OPPOSED,
                "BTCUSDT",
                Decimal(2),
            )

    def test_importing_it_alone_pulls_in_no_bus_store_or_venue(self) -> None:
        heavy = (
            "redis",
            "faststream",
            "sqlalchemy",
            "pydantic_settings",
            "ccxt",
            "typer",
            "structlog",
            "hypothesis",
        )
        program = f"import sys, holdfast.position_invariant; print([name for name in {heavy!r} if name in sys.modules])"
        root = str(next(iter(module.__spec__.origin.split("/holdfast/position_invariant.py"))))  # type: ignore[union-attr]
        done = subprocess.run(
            [sys.executable, "-c", program],
            capture_output=True,
            text=True,
            check=True,
            env={"PYTHONPATH": root},
            timeout=30,
        )
        assert done.stdout.strip() == "[]"
