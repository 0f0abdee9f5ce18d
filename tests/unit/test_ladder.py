"""A take-profit in rungs: what is due when, and that no sequence of fills takes out more than there is."""

import itertools
from decimal import Decimal as D  # noqa: N817

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.contracts.codes import ExitReason, PositionSide, Side
from holdfast.contracts.messages import Fill
from holdfast.contracts.rows import PositionRow
from holdfast.domain.exit_policy import ExitPolicy
from holdfast.domain.exits import evaluate
from holdfast.domain.invariants import check_position
from holdfast.domain.ladder import due_at, leaves_rest, next_price, rungs_of
from holdfast.domain.market import Quote
from holdfast.domain.policy import adjust_exits
from holdfast.domain.position import Opening, apply_fill
from tests.unit._exits import LONG, SHORT, T0

THIRDS = "5%:0.3,10%:0.3,20%:0.4"
HALF = "5%:0.25,10%:0.25"
POLICY = ExitPolicy(D(10), D(20))
_numbers = itertools.count(1)


def fold(
    held: PositionRow | None,
    side: Side,
    quantity: D,
    price: D,
    reason: ExitReason = ExitReason.CLOSE,
    **opening: object,
) -> PositionRow:
    number = next(_numbers)
    fill = Fill(
        id=f"f{number}", at=T0, account="a", exchange="paper", symbol="BTC/USDT", trade_id=f"t{number}", side=side, quantity=quantity,
        price=price, executed_at=T0 + number,
    )  # fmt: skip
    asked = Opening(
        book_id="b",
        account="a",
        exchange="paper",
        symbol="BTC/USDT",
        settle="USDT",
        recorded_at=T0,
        kind="linear",
        **opening,
    )  # type: ignore[arg-type]
    return apply_fill(held, fill, asked, POLICY, exit_reason=reason).rows[-1]


def opened(
    side: PositionSide = LONG, ladder: str = THIRDS, quantity: str = "10", **opening: object
) -> PositionRow:
    entry = Side.BUY if side is LONG else Side.SELL
    return fold(None, entry, D(quantity), D(100), take_profit=ladder, ttl_s=D(1000), **opening)


def out(held: PositionRow, quantity: D, reason: ExitReason = ExitReason.TAKE_PROFIT) -> PositionRow:
    return fold(held, Side.SELL if held.side is LONG else Side.BUY, quantity, D(105), reason)


@pytest.mark.parametrize(("side", "prices"), [(LONG, (105, 110, 120)), (SHORT, (95, 90, 80))])
def test_rung_by_rung(side: PositionSide, prices: tuple[int, int, int]) -> None:
    held = opened(side)
    for price, part, left in zip(prices, (3, 3, 4), (7, 4, 0), strict=True):
        assert held.take_profit == price
        assert due_at(held, D(price)) == part
        held = out(held, D(part))
        assert held.quantity == left
        if left:
            check_position(held)


def test_the_decision_names_how_much_and_a_price_that_jumped_over_two_rungs_takes_both() -> None:
    held = opened()
    one = evaluate(held, Quote(D(105), D(105), T0), T0)
    assert (one.fire, one.quantity, one.level) == (ExitReason.TAKE_PROFIT, D(3), D(105))
    two = evaluate(held, Quote(D(112), D(112), T0), T0)
    assert (two.quantity, two.price) == (D(6), D(112))
    assert evaluate(held, Quote(D(125), D(125), T0), T0).quantity is None, "all of it"


def test_a_rung_that_filled_in_part_goes_on_with_the_rest() -> None:
    held = out(opened(), D(1))
    assert (held.take_profit, due_at(held, D(105))) == (D(105), D(2))


def test_another_exit_in_between_takes_nothing_from_the_ladders_count_but_never_more_than_is_held() -> None:
    held = out(opened(), D(8), ExitReason.CLOSE)
    assert due_at(held, D(105)) == 2
    assert due_at(held, D(120)) == 2


def test_an_add_makes_each_rung_larger_and_moves_percent_rungs_with_the_average() -> None:
    held = out(opened(), D(3))
    assert held.take_profit == 110
    grown = fold(held, Side.BUY, D(7), D(120))
    assert grown.entry_price == 110
    assert grown.take_profit == D("115.5")
    assert due_at(grown, D("115.5")) == D("2.1")
    kept = fold(opened(ladder="105:0.5,110:0.5"), Side.BUY, D(10), D(120))
    assert kept.take_profit == 105


def test_what_is_too_small_for_an_order_joins_the_next_rung() -> None:
    """The venue takes 2 at least: rungs of 1.5 wait for each other; a rest of 1 goes with the rung before it."""
    held = opened(ladder="5%:0.15,10%:0.15,20%:0.6").evolve(terms="quantity_step=0.5 min_quantity=2")
    assert due_at(held, D(105)) == 0
    assert evaluate(held, Quote(D(105), D(105), T0), T0).fire is None
    assert due_at(held, D(110)) == 3
    assert due_at(held, D(120)) == 10
    worth = opened().evolve(terms="min_notional=400")
    assert (due_at(worth, D(105)), due_at(worth, D(110))) == (D(0), D(6))


def test_a_ladder_that_leaves_a_rest_needs_another_end() -> None:
    assert leaves_rest(HALF)
    with pytest.raises(
        ValueError, match="take_profit_ladder can only leave a rest where trailing or max_hold_s is set"
    ):
        ExitPolicy(D(10), D(20), ladder=HALF)
    ExitPolicy(D(10), D(20), D(60), ladder=HALF)
    bare = fold(None, Side.BUY, D(10), D(100), take_profit=HALF)
    assert bare.take_profit_spec == "20%"
    assert "its rest needs" in " ".join(bare.seeded)
    held = opened(ladder=HALF)
    done = out(out(held, D("2.5")), D("2.5"))
    assert (done.take_profit, done.quantity) == (None, D(5))
    check_position(done)


@pytest.mark.parametrize(
    ("spec", "why"),
    [
        ("5%:0.6,10%:0.6", "sum to more than 1"),
        ("5%:0.5,110:0.5", "all in percent, or all prices"),
        ("5%:0,10%:1", "greater than zero"),
    ],
)
def test_a_ladder_that_means_nothing_is_said_to(spec: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        rungs_of(spec)
    row = opened(ladder=spec)
    assert row.take_profit_spec == "20%"
    assert why in " ".join(row.seeded)


def test_rungs_stand_one_behind_the_other() -> None:
    row = opened(ladder="10%:0.5,5%:0.5")
    assert "one behind the other" in " ".join(row.seeded)


def test_a_person_may_put_a_ladder_in_the_place_of_a_profit() -> None:
    row = fold(None, Side.BUY, D(10), D(100), ttl_s=D(9))
    changed = adjust_exits(row, take_profit="5%:0.5,15%:0.5", stop_loss=None)
    assert (changed.take_profit, changed.notes) == (D(105), [])


steps = st.lists(
    st.tuples(
        st.sampled_from(["add", "rung", "close", "part"]),
        st.decimals("0.01", "9", places=2),
        st.decimals("101", "130", places=1),
    ),
    max_size=20,
)


@given(
    moves=steps,
    side=st.sampled_from([LONG, SHORT]),
    ladder=st.sampled_from([THIRDS, HALF, "5%:1", "1%:0.01,2%:0.01,9%:0.9"]),
)
@settings(max_examples=200, deadline=None)
def test_quantity_is_conserved_and_no_exit_is_larger_than_what_is_held(
    moves: list[tuple[str, D, D]], side: PositionSide, ladder: str
) -> None:
    """Adds, rungs (whole and in part) and other exits in any order."""
    held = opened(side, ladder)
    for what, quantity, price in moves:
        level = price if side is LONG else 200 - price
        due = due_at(held, level)
        assert D(0) <= due <= held.quantity
        share = rungs_of(ladder)[-1].through
        entered = held.bought if side is LONG else held.sold
        if share < 1:
            assert held.laddered + due <= share * entered or due == held.quantity
        if what == "add":
            held = fold(held, Side.BUY if side is LONG else Side.SELL, quantity, D(100))
        elif what == "close":
            held = out(held, min(quantity, held.quantity), ExitReason.CLOSE)
        elif due:
            held = out(held, due if what == "rung" else due / 2)
        if not held.is_open:
            return
        check_position(held)
        assert held.take_profit == next_price(held)
