"""A stop that follows the price: where it stands, that it only ever tightens, and that a restart makes no difference."""

from decimal import Decimal as D  # noqa: N817

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.contracts.codes import PositionSide, StopBy
from holdfast.contracts.exit_messages import ExitAdjust
from holdfast.contracts.rows import PositionRow
from holdfast.domain.atr import Atr
from holdfast.domain.conditions import net_pct
from holdfast.domain.policy import apply_adjust
from holdfast.domain.trailing import adjustment, advance, trail_of
from tests.unit._exits import LONG, SHORT, T0, position

SIDES = [LONG, SHORT]
TRAIL = "trailing.distance_pct=2 trailing.activation_pct=3 trailing.only_after_activation=on"


def row(side: PositionSide = LONG, terms: str = TRAIL, **fields: object) -> PositionRow:
    far = {"take_profit": D(1000)} if side is LONG else {"take_profit": D(1)}
    return position(side=side, terms=terms, **(far | fields))  # type: ignore[arg-type]


def follow(held: PositionRow, *prices: object, atr: D | None = None, start: int = 1) -> PositionRow:
    """The row after these closing prices of a long; a short gets their mirror image."""
    for number, price in enumerate(prices, start):
        one = D(str(price))
        held = advance(held, one if held.side is LONG else 200 - one, T0 + number, atr)
    return held


def stop_of(held: PositionRow) -> D:
    """As if it were a long."""
    return held.stop_loss if held.side is LONG else 200 - held.stop_loss


@pytest.mark.parametrize("side", SIDES)
def test_nothing_moves_before_the_activation_and_exactly_at_it_it_does(side: PositionSide) -> None:
    held = follow(row(side), "102.99")
    assert (stop_of(held), held.stop_by, held.trail_active) == (D(90), StopBy.SET, False)
    held = follow(row(side), 103)
    expected = D(103) * D("0.98") if side is LONG else 200 - D(97) * D("1.02")
    assert (stop_of(held), held.stop_by, held.trail_active) == (expected, StopBy.TRAILING, True)


@pytest.mark.parametrize("side", SIDES)
def test_it_follows_the_best_price_and_never_goes_back(side: PositionSide) -> None:
    high = follow(row(side), 103, 110)
    assert follow(high, 104, 108, 109, start=3).stop_loss == high.stop_loss
    assert follow(high, 111, start=3).stop_loss != high.stop_loss
    assert high.high_water == (D(110) if side is LONG else D(90))


@pytest.mark.parametrize("side", SIDES)
def test_without_only_after_activation_the_stop_follows_at_its_own_distance_first(side: PositionSide) -> None:
    terms = TRAIL.replace(" trailing.only_after_activation=on", "")
    held = follow(row(side, terms, stop_loss_spec="10%"), 102)
    assert held.stop_loss == (D(102) * D("0.9") if side is LONG else D(98) * D("1.1"))
    held = follow(held, 103, start=2)
    assert held.stop_loss == (D(103) * D("0.98") if side is LONG else D(97) * D("1.02"))


def test_a_trail_without_an_activation_follows_from_the_first_price() -> None:
    assert follow(row(terms="trailing.distance_pct=2"), 100).stop_loss == 98


@pytest.mark.parametrize("side", SIDES)
def test_distance_and_activation_in_atr_count_in_the_first_atr_that_was_known(side: PositionSide) -> None:
    """Before it is known the fixed stop holds; a later ATR changes nothing."""
    held = row(side, "trailing.distance_atr=3 trailing.activation_atr=2 trailing.only_after_activation=on")
    assert follow(held, 105) is held
    held = follow(held, "103.9", atr=D(2))
    assert (stop_of(held), held.atr) == (D(90), D(2))
    held = follow(held, 104, start=2, atr=D(50))
    assert (stop_of(held), held.atr) == (D(98), D(2))


@pytest.mark.parametrize("side", SIDES)
def test_break_even_goes_to_where_closing_costs_nothing_fees_included(side: PositionSide) -> None:
    terms = "breakeven_trigger_pct=2 breakeven_buffer_pct=0.1 fee_pct=0.05"
    assert follow(row(side, terms), "101.99").stop_by is StopBy.SET
    held = follow(row(side, terms), 102)
    assert held.stop_by is StopBy.BREAK_EVEN
    assert abs(net_pct(held, held.stop_loss) - D("0.1")) < D("1e-15")
    assert follow(held, 110, 101, start=2).stop_loss == held.stop_loss


def test_a_stop_never_crosses_the_take_profit() -> None:
    """A profit that has fired and not been filled yet: the row stays one that the store can hold."""
    held = row(take_profit=D(104))
    assert follow(held, 103, 120).stop_loss < 104


def test_an_older_price_counts_no_more() -> None:
    held = follow(row(), 103)
    assert advance(held, D(150), T0) is held
    assert advance(held, D(150), T0 + 1).stop_loss == 147, "the same millisecond may have several"


def test_a_person_who_tightens_further_is_not_overruled() -> None:
    held = follow(row(), 103).evolve(stop_loss=D("102.5"), stop_by=StopBy.SET)
    assert follow(held, 104, start=2).stop_loss == D("102.5")
    assert follow(held, 110, start=2).stop_loss == D("107.8")


def test_the_ledger_takes_an_adjustment_only_forward() -> None:
    before = row()
    after = follow(before, 103, 110)
    said = adjustment(before, after, T0, "exit_scanner")
    assert said is not None
    assert ExitAdjust.parse(said.body()) == said
    taken, notes = apply_adjust(before, said)
    assert notes == []
    assert taken == after.evolve(version=2)
    assert taken.stop_loss_spec == "10%"
    assert apply_adjust(taken, said)[0] is taken
    late = adjustment(before, follow(before, 103), T0, "exit_scanner")
    assert late is not None
    assert apply_adjust(taken, late)[0] is taken
    assert adjustment(after, after, T0, "exit_scanner") is None


prices = st.lists(st.decimals("80", "120", places=2), min_size=1, max_size=30)
TERMS = st.sampled_from(
    [
        TRAIL,
        "trailing.distance_pct=5",
        "trailing.distance_atr=1.5 trailing.activation_atr=1 trailing.only_after_activation=on",
        "trailing.distance_pct=1 trailing.activation_pct=4",
        "breakeven_trigger_pct=2 breakeven_buffer_pct=0.2 fee_pct=0.1",
        "breakeven_trigger_pct=1 trailing.distance_pct=3 trailing.activation_pct=5 trailing.only_after_activation=on",
    ]
)


@given(tape=prices, terms=TERMS, side=st.sampled_from(SIDES))
@settings(max_examples=200, deadline=None)
def test_stops_are_monotone(tape: list[D], terms: str, side: PositionSide) -> None:
    held = row(side, terms)
    for number, price in enumerate(tape, 1):
        moved = advance(held, price, T0 + number, D(2))
        assert moved.stop_loss >= held.stop_loss if side is LONG else moved.stop_loss <= held.stop_loss
        held = moved


@given(
    tape=prices,
    terms=TERMS,
    side=st.sampled_from(SIDES),
    saved=st.sets(st.integers(0, 29)),
    again=st.integers(0, 29),
)
@settings(max_examples=200, deadline=None)
def test_a_restart_that_looks_at_the_prices_since_comes_to_the_same_stop(
    tape: list[D], terms: str, side: PositionSide, saved: set[int], again: int
) -> None:
    """The ledger has heard of some moves only; whoever starts from its row and the tape has the same stop at every tick."""
    ledger = live = row(side, terms)
    for number, price in enumerate(tape, 1):
        live = advance(live, price, T0 + number, D(2))
        said = adjustment(ledger, live, T0, "exit_scanner") if number in saved else None
        if said is not None:
            ledger = apply_adjust(ledger, said)[0]
        if number >= again:
            anew = ledger
            for earlier, old in enumerate(tape[:number], 1):
                anew = advance(anew, old, T0 + earlier, D(2))
            assert anew.stop_loss == live.stop_loss


@given(tape=prices, terms=TERMS, side=st.sampled_from(SIDES), other=TERMS)
@settings(max_examples=100, deadline=None)
def test_new_terms_never_loosen_a_trailed_stop(
    tape: list[D], terms: str, side: PositionSide, other: str
) -> None:
    held = row(side, terms)
    for number, price in enumerate(tape, 1):
        held = advance(held, price, T0 + number, D(2))
    changed = held.evolve(terms=other)
    later = advance(changed, tape[-1], T0 + 1000, D(9))
    assert later.stop_loss >= held.stop_loss if side is LONG else later.stop_loss <= held.stop_loss


def test_new_terms_are_what_the_trail_follows_from_then_on() -> None:
    assert trail_of(follow(row(), 103).evolve(terms="trailing.distance_pct=1")) != trail_of(
        follow(row(), 103)
    )


# -- the average true range -----------------------------------------------------------------------------------------


def wilder(candles: list[tuple[D, D, D]], period: int) -> D | None:
    """As in Wilder's book, written out plainly."""
    ranges = []
    for number, (high, low, _close) in enumerate(candles):
        before = candles[number - 1][2] if number else None
        ranges.append(
            high - low if before is None else max(high - low, abs(high - before), abs(low - before))
        )
    if len(ranges) < period:
        return None
    value = sum(ranges[:period], D(0)) / period
    for one in ranges[period:]:
        value = (value * (period - 1) + one) / period
    return value


@given(
    moves=st.lists(
        st.tuples(st.integers(0, 500), st.decimals("50", "150", places=1)), min_size=1, max_size=120
    ),
    period=st.integers(1, 5),
)
@settings(max_examples=150, deadline=None)
def test_the_streaming_atr_is_that_of_the_closed_candles(moves: list[tuple[int, D]], period: int) -> None:
    atr, now = Atr(period, candle_ms=1000), T0 // 1000 * 1000
    candles: dict[int, list[D]] = {}
    for wait, price in moves:
        now += wait
        atr.tick(price, now)
        candles.setdefault(now // 1000, []).append(price)
    closed = [(max(one), min(one), one[-1]) for key, one in candles.items() if key != now // 1000]
    expected = wilder(closed, period)
    if expected is None:
        assert atr.value is None
    else:
        assert atr.value is not None
        assert abs(atr.value - expected) < D("1e-12")
