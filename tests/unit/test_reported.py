"""What callers report, in all the ways they write it: read exactly, or blocked; never taken for flat."""

from collections.abc import Iterator, Mapping
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import holdfast.position_invariant as module
from holdfast.contracts.codes import Code
from holdfast.position_invariant import PositionInvariantEnforcer, PositionInvariantViolation
from holdfast.reported import number, quantities, shown


@pytest.fixture
def enforcer() -> PositionInvariantEnforcer:
    return PositionInvariantEnforcer()


def test_a_float_is_read_as_the_digits_it_prints() -> None:
    assert [number(value) for value in (0.1, "0.1", Decimal("0.1"), 1)] == [Decimal("0.1")] * 3 + [1]
    assert number(Fraction(1, 8)) == Decimal("0.125")


def test_both_sides_may_be_reported_apart() -> None:
    assert quantities({"long": "1", "short": 0.5}, "BTCUSDT") == (Decimal(1), Decimal("0.5"))
    assert quantities({"short": 2}, "BTCUSDT") == (Decimal(0), Decimal(2))
    assert quantities(-3, "BTCUSDT") == (Decimal(0), Decimal(3))


def test_even_what_cannot_be_printed_is_shown() -> None:
    class Mute:
        def __repr__(self) -> str:
            raise RuntimeError

    assert [shown(Mute()), shown("\x1b"), len(shown("x" * 999))] == ["<Mute>", "'\\x1b'", 60]


class BrokenMapping(Mapping[str, object]):
    """An account whose reader fails halfway."""

    def __getitem__(self, name: str) -> object:
        raise ConnectionError("venue\ngone")

    def __iter__(self) -> Iterator[str]:
        return iter(["BTCUSDT"])

    def __len__(self) -> int:
        return 1


class TestUnreadableIsNotFlat:
    @pytest.mark.parametrize("side", ["buy", "sell"])
    @pytest.mark.parametrize("reduce_only", [False, True])
    @pytest.mark.parametrize(
        "positions",
        [
            None,
            [],
            "flat",
            BrokenMapping(),
            {None: 1},
            {"": 1},
            {17: 1},
            *({"BTCUSDT": value} for value in (None, "", "many", float("nan"), float("inf"), -float("inf"))),
            *(
                {"BTCUSDT": value}
                for value in ("NaN", Decimal("NaN"), Decimal("Infinity"), True, object(), [1])
            ),
            *({"BTCUSDT": value} for value in ({}, {"long": None}, {"long": 1, "Short": 1}, {"short": -1})),
            {"BTC/USDT": None, "BTCUSDT": 0},
        ],
    )
    def test_whatever_is_unreadable_blocks(
        self, enforcer: PositionInvariantEnforcer, positions: object, side: str, reduce_only: bool
    ) -> None:
        with pytest.raises(
            PositionInvariantViolation, match="could not be read, and unreadable is not flat"
        ) as caught:
            enforcer.enforce_before_order("BTCUSDT", side, 1, positions, reduce_only=reduce_only)  # type: ignore[arg-type]
        assert (caught.value.code, caught.value.held) == (Code.POSITIONS_UNREADABLE, None)
        assert str(caught.value).isprintable()

    def test_in_flight_that_cannot_be_read_blocks_too(self, enforcer: PositionInvariantEnforcer) -> None:
        allowed, reason = enforcer.check("BTCUSDT", "buy", 1, {}, in_flight=None)
        assert (allowed, reason) == (
            False,
            "Cannot open LONG: in_flight (None) could not be read, and unreadable is not flat",
        )

    def test_another_symbol_that_cannot_be_read_is_another_book(
        self, enforcer: PositionInvariantEnforcer
    ) -> None:
        assert enforcer.check("BTCUSDT", "buy", 1, {"ETHUSDT": None}) == (True, None)


class TestBadOrders:
    @pytest.mark.parametrize(
        "quantity",
        [
            0,
            -1,
            0.0,
            float("nan"),
            float("inf"),
            None,
            "",
            "one",
            "1\n2",
            True,
            [],
            pytest.param(10**5000, id="huge"),
            "1e99",
        ],
    )
    def test_a_bad_quantity_blocks_and_is_named(
        self, enforcer: PositionInvariantEnforcer, quantity: object
    ) -> None:
        with pytest.raises(PositionInvariantViolation, match="BTCUSDT: quantity: ") as caught:
            enforcer.enforce_before_order("BTCUSDT", "buy", quantity, {})  # type: ignore[arg-type]
        assert caught.value.code is Code.MALFORMED
        assert str(caught.value).isprintable()

    @pytest.mark.parametrize("side", ["", "hold", "buy ", None, 1, "b\x00uy", ["buy"]], ids=repr)
    def test_an_unknown_side_blocks(self, enforcer: PositionInvariantEnforcer, side: object) -> None:
        allowed, reason = enforcer.check("BTCUSDT", side, 1, {})  # type: ignore[arg-type]
        assert not allowed
        assert reason is not None
        assert reason.endswith("is not buy, sell, long or short")

    @pytest.mark.parametrize("symbol", ["", None, 7, "X" * 41], ids=repr)
    def test_a_symbol_that_is_none_blocks(self, enforcer: PositionInvariantEnforcer, symbol: object) -> None:
        allowed, reason = enforcer.check(symbol, "buy", 1, {})  # type: ignore[arg-type]
        assert not allowed
        assert reason is not None
        assert reason.startswith("symbol: ")

    @pytest.mark.parametrize("quantity", [1, 1.0, "1", "1.0", Decimal(1), Fraction(1)], ids=repr)
    def test_every_kind_of_number_is_read(
        self, enforcer: PositionInvariantEnforcer, quantity: object
    ) -> None:
        assert enforcer.enforce_before_order("BTCUSDT", "buy", quantity, {"BTCUSDT": quantity}) == 1  # type: ignore[arg-type]


class TestNamesOfOneSymbol:
    NAMES = ("BTCUSDT", "btcusdt", "BTC/USDT", "BTC-USDT", "btc_usdt", "BTC/USDT:USDT", "BTCUSDT:USDT")

    @pytest.mark.parametrize("held", NAMES)
    @pytest.mark.parametrize("ordered", NAMES)
    def test_any_name_protects_any_other(
        self, enforcer: PositionInvariantEnforcer, held: str, ordered: str
    ) -> None:
        assert not enforcer.check(ordered, "sell", 1, {"ETHUSDT": -1, held: 1})[0]
        assert enforcer.check(ordered, "buy", 1, {"ETHUSDT": -1, held: 1})[0]

    def test_quantities_under_several_names_are_summed(self, enforcer: PositionInvariantEnforcer) -> None:
        positions = {"BTCUSDT": 0.1, "BTC/USDT": "0.2"}
        assert enforcer.enforce_before_order("BTCUSDT", "sell", 9, positions, reduce_only=True) == Decimal(
            "0.3"
        )

    def test_names_that_contradict_each_other_block_entries_of_both_sides(
        self, enforcer: PositionInvariantEnforcer
    ) -> None:
        positions = {"BTCUSDT": 0.1, "BTC/USDT": -0.2}
        assert not enforcer.check("BTCUSDT", "buy", 1, positions)[0]
        assert not enforcer.check("BTCUSDT", "sell", 1, positions)[0]
        assert enforcer.enforce_before_order("BTCUSDT", "buy", 9, positions, reduce_only=True) == Decimal(
            "0.2"
        )
        hedging = PositionInvariantEnforcer(allow_hedging=True)
        assert hedging.check("BTCUSDT", "buy", 1, positions)[0]

    def test_a_name_that_appears_later_is_noticed(self, enforcer: PositionInvariantEnforcer) -> None:
        positions: dict[str, float] = {}
        assert enforcer.check("BTCUSDT", "sell", 1, positions)[0]
        positions["btc-usdt"] = 1
        assert not enforcer.check("BTCUSDT", "sell", 1, positions)[0]

    def test_a_dated_contract_is_another_book(self, enforcer: PositionInvariantEnforcer) -> None:
        assert enforcer.check("BTC/USDT", "sell", 1, {"BTC/USDT:USDT-261225": 1})[0]

    def test_names_that_are_no_pair_protect_themselves(self, enforcer: PositionInvariantEnforcer) -> None:
        assert not enforcer.check("aapl", "sell", 1, {"AAPL": 1})[0]

    def test_forgetting_names_forgets_no_position(
        self, enforcer: PositionInvariantEnforcer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(module, "_MAX_NAMES", 3)
        positions: dict[str, float] = {"BTC/USDT": 1}
        for coin in range(20):
            positions[f"COIN{coin}USDT"] = -1
            assert not enforcer.check("BTCUSDT", "sell", 1, positions)[0]
            assert not enforcer.check(f"COIN{coin}/USDT", "buy", 1, positions)[0]

    @settings(max_examples=200, deadline=None)
    @given(
        st.dictionaries(st.sampled_from(NAMES), st.integers(-3, 3), max_size=4),
        st.sampled_from(NAMES),
        st.sampled_from(["buy", "sell"]),
        st.integers(1, 9),
        st.booleans(),
    )
    def test_what_is_allowed_never_leaves_both_sides_or_a_flip(
        self, positions: dict[str, int], name: str, side: str, quantity: int, reduce_only: bool
    ) -> None:
        long = sum(held for held in positions.values() if held > 0)
        short = -sum(held for held in positions.values() if held < 0)
        try:
            sent = PositionInvariantEnforcer().enforce_before_order(
                name, side, quantity, positions, reduce_only=reduce_only
            )
        except PositionInvariantViolation:
            return
        if reduce_only:
            assert sent == min(quantity, long if side == "sell" else short)
            assert sent > 0
        else:
            assert (short if side == "buy" else long) == 0
