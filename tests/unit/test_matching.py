"""What one tick does to one order on paper, and what fills make of an account."""

from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.contracts.codes import Code, Kind, Leg, OrderState, OrderType, Side, TimeInForce
from holdfast.domain.matching import (
    Account,
    Holding,
    Limits,
    Match,
    Terms,
    Working,
    below_limits,
    drawn,
    first_part,
    margin,
    match,
    notional,
    opening,
    reducible,
    slipped,
    usable,
    worth,
)

D = Decimal
BUY, SELL = Side.BUY, Side.SELL
GTC, IOC, FOK = TimeInForce.GTC, TimeInForce.IOC, TimeInForce.FOK
FREE = Terms(capital=D(1_000_000))


def order(side=BUY, quantity="1", price=None, tif=GTC, kind=Kind.LINEAR, **more):
    made = Working(
        1, "o1", "i1", None, "BTC/USDT", Leg.NET, kind, D(1), "USDT", side,
        OrderType.MARKET if price is None else OrderType.LIMIT, None if price is None else D(price), D(quantity),
        shrink_only=False, time_in_force=tif, post_only=False, good_till=None, quantity_step=D("0.01"), price_step=D("0.1"),
    )  # fmt: skip
    return replace(made, **more)


def account(held="0", terms=FREE, kind=Kind.LINEAR, at="100"):
    made = Account(terms)
    if D(held):
        shape = Holding("BTC/USDT", Leg.NET, kind, D(1), "USDT")
        made.apply(shape, BUY if D(held) > 0 else SELL, abs(D(held)), D(at), D(0))
    return made


def meet(working, bid="99", ask="101", **with_account):
    return match(working, account(**with_account), D(bid), D(ask))


@pytest.mark.parametrize(
    ("working", "expected"),
    [
        # market orders pay the touch, whatever their time in force
        (order(BUY), (OrderState.FILLED, "1", "101")),
        (order(SELL), (OrderState.FILLED, "1", "99")),
        (order(BUY, tif=IOC), (OrderState.FILLED, "1", "101")),
        (order(BUY, tif=FOK), (OrderState.FILLED, "1", "101")),
        # a limit that is marketable at its first tick takes at the touch, which is better than its price
        (order(BUY, price="105"), (OrderState.FILLED, "1", "101")),
        (order(SELL, price="95"), (OrderState.FILLED, "1", "99")),
        (order(BUY, price="101"), (OrderState.FILLED, "1", "101")),
        (order(BUY, price="105", tif=IOC), (OrderState.FILLED, "1", "101")),
        (order(BUY, price="105", tif=FOK), (OrderState.FILLED, "1", "101")),
        # one that is not, rests; or ends, when it may not wait
        (order(BUY, price="100"), (OrderState.OPEN, "0", "0")),
        (order(SELL, price="100"), (OrderState.OPEN, "0", "0")),
        # a resting one fills at its own price once the market goes through it
        (order(BUY, price="101", resting=True), (OrderState.FILLED, "1", "101")),
        (order(BUY, price="102", resting=True), (OrderState.FILLED, "1", "102")),
        (order(SELL, price="98", resting=True), (OrderState.FILLED, "1", "98")),
        (order(BUY, price="100", resting=True), (OrderState.OPEN, "0", "0")),
        (order(BUY, price="101", resting=True, post_only=True), (OrderState.FILLED, "1", "101")),
        (order(BUY, price="100", post_only=True), (OrderState.OPEN, "0", "0")),
    ],
)
def test_orders_fill_where_the_market_is(working, expected):
    result = meet(working)
    state, quantity, price = expected
    assert (result.state, result.quantity, result.price, result.code) == (state, D(quantity), D(price), None)


@pytest.mark.parametrize(
    ("working", "code"),
    [
        (order(BUY, price="100", tif=IOC), Code.UNFILLED),
        (order(SELL, price="100", tif=FOK), Code.UNFILLED),
        (order(BUY, price="101", post_only=True), Code.POST_ONLY_WOULD_TAKE),
        (order(SELL, price="99", post_only=True), Code.POST_ONLY_WOULD_TAKE),
        (order(SELL, shrink_only=True), Code.NOTHING_TO_CLOSE),
        (order(SELL, kind=Kind.SPOT), Code.SPOT_SHORT),
    ],
)
def test_what_cannot_fill_ends_with_its_code(working, code):
    assert meet(working) == Match(OrderState.CANCELED, code=code)


def test_reduce_only_is_cut_to_the_position_and_the_rest_ends():
    result = meet(order(SELL, "5", shrink_only=True), held="2")
    assert (result.state, result.quantity, result.code) == (OrderState.CANCELED, D(2), Code.NOTHING_TO_CLOSE)
    assert meet(order(BUY, "5", shrink_only=True), held="2").code is Code.NOTHING_TO_CLOSE
    assert meet(order(BUY, "1", shrink_only=True), held="-2").state is OrderState.FILLED


def test_spot_sells_only_what_is_held_unless_shorts_are_allowed():
    selling = order(SELL, "3", kind=Kind.SPOT)
    assert meet(selling, held="1", kind=Kind.SPOT).quantity == D(1)
    assert meet(selling, terms=replace(FREE, spot_short=True)).state is OrderState.FILLED


def test_half_fills_now_and_half_at_the_next_tick():
    always = replace(FREE, partial_fill_pct=D(100))
    first = meet(order(BUY, "0.03"), terms=always)
    assert (first.state, first.quantity) == (OrderState.PARTIAL, D("0.01"))
    second = meet(order(BUY, "0.03", filled=D("0.01"), state=OrderState.PARTIAL), terms=always)
    assert (second.state, second.quantity) == (OrderState.FILLED, D("0.02"))
    assert meet(order(BUY, "0.01"), terms=always).state is OrderState.FILLED  # nothing to halve
    killed = meet(order(BUY, "0.03", tif=IOC), terms=always)
    assert (killed.state, killed.quantity, killed.code) == (OrderState.CANCELED, D("0.01"), Code.UNFILLED)
    assert meet(order(BUY, "0.03", tif=FOK), terms=always).state is OrderState.FILLED


def test_fees_differ_for_takers_and_makers():
    terms = replace(FREE, taker_fee_pct=D("0.05"), maker_fee_pct=D("-0.01"))
    assert meet(order(BUY, "2"), terms=terms).fee == D("0.101")
    assert meet(order(BUY, "2", price="101", resting=True), terms=terms).fee == D("-0.0202")
    inverse = meet(order(BUY, "202", kind=Kind.INVERSE), terms=terms, kind=Kind.INVERSE)
    assert inverse.fee == D("0.001")  # in coin: 202 / 101 x 0.05 %


def test_slippage_is_against_the_taker_down_to_the_price_step():
    assert slipped(D("100.0"), BUY, D("0.01"), D("0.1")) == D("100.1")
    assert slipped(D("100.0"), SELL, D("0.01"), D("0.1")) == D("99.9")
    assert slipped(D("100.05"), BUY, D(0), D("0.1")) == D("100.05")
    assert slipped(D("0.00000002"), SELL, D(200), D("0.00000001")) == D("0.00000001")


def test_money_is_judged_again_when_the_order_fills():
    poor = Terms(capital=D(100), leverage=D(10), taker_fee_pct=D(1))
    assert meet(order(BUY, "9"), terms=poor).state is OrderState.FILLED  # 909 / 10 + 9.09 <= 100
    assert meet(order(BUY, "10"), terms=poor) == Match(OrderState.REJECTED, code=Code.INSUFFICIENT_FUNDS)
    begun = order(BUY, "10", filled=D(1), state=OrderState.PARTIAL)
    assert meet(begun, terms=poor, held="7").state is OrderState.CANCELED
    assert (
        meet(order(SELL, "100", shrink_only=True), terms=poor, held="100", bid="1", ask="2").state
        is OrderState.FILLED
    )


def test_another_kind_of_instrument_never_mixes_with_what_is_held():
    assert meet(order(BUY), held="1", kind=Kind.INVERSE).code is Code.INSTRUMENT_MISMATCH


def test_a_print_beyond_what_a_message_can_say_fills_nothing():
    assert meet(order(SELL, "10", shrink_only=True), held="10", bid="1e24", ask="1e24") == Match(
        OrderState.OPEN
    )


@pytest.mark.parametrize(
    ("bid", "ask", "good"),
    [("1", "2", True), ("1", "1", True), ("2", "1", False), ("0", "1", False), ("-1", "1", False)],
)
def test_bad_prints_are_known(bid, ask, good):
    assert usable(D(bid), D(ask)) is good


def test_chance_depends_on_its_arguments_alone():
    draws = [drawn(D(30), 7, f"order-{n}", "partial") for n in range(2000)]
    assert draws == [drawn(D(30), 7, f"order-{n}", "partial") for n in range(2000)]
    assert 500 < sum(draws) < 700
    assert draws != [drawn(D(30), 8, f"order-{n}", "partial") for n in range(2000)]
    assert not any(drawn(D(0), 1, str(n)) for n in range(50))
    assert all(drawn(D(100), 1, str(n)) for n in range(50))


def test_values_by_kind():
    assert worth(Kind.LINEAR, D(3), D(100), D("0.1")) == D(30)
    assert worth(Kind.INVERSE, D(300), D(100), D(10)) == D(30)
    assert notional(Kind.INVERSE, D(300), D(100), D(10)) == D(3000)
    assert notional(Kind.SPOT, D(3), D(100), D(1)) == D(300)
    assert margin(Kind.SPOT, D(300), D(10)) == D(300)
    assert margin(Kind.LINEAR, D(300), D(10)) == D(30)


def test_limits_of_an_instrument():
    limits = Limits(D("0.01"), D("0.1"), D("0.05"), D(10))
    assert below_limits(order(BUY, "1", "100.1"), limits, D(0), D("100.1")) is None
    assert below_limits(order(BUY, "1", "100.15"), limits, D(0), D(100))[0] is Code.VENUE_REJECTED
    assert below_limits(order(BUY, "1.001"), limits, D(0), D(100))[0] is Code.VENUE_REJECTED
    assert below_limits(order(BUY, "0.04"), limits, D(0), D(1000))[0] is Code.BELOW_MINIMUM
    assert below_limits(order(BUY, "0.05"), limits, D(0), D(100))[0] is Code.BELOW_MINIMUM
    assert below_limits(order(BUY, "0.05"), limits, D(0), None) is None
    dust = order(SELL, "0.001", shrink_only=True)
    assert below_limits(dust, limits, D("0.001"), D(100)) is None
    assert below_limits(dust, limits, D(1), D(100))[0] is Code.VENUE_REJECTED


def test_a_spot_purchase_ties_up_its_price_and_a_contract_its_margin():
    terms = Terms(capital=D(1000), leverage=D(10))
    assert account("2", terms, Kind.SPOT).free("USDT", Kind.SPOT, D(100)) == D(800)
    assert account("2", terms).free("USDT", Kind.LINEAR, D(100)) == D(980)
    assert account("-2", terms).free("USDT", Kind.LINEAR, D(100)) == D(980)
    assert account("-2", terms, Kind.SPOT).free("USDT", Kind.SPOT, D(100)) == D(800)
    inverse = account("100", terms, Kind.INVERSE)  # 1 coin of value at 10x; capital 1000 is 10 coins
    assert inverse.free("USDT", Kind.INVERSE, D(100)) == D("9.9")


def test_through_zero_is_split_at_zero():
    books = account("2", at="100")
    new = books.apply(order(SELL), SELL, D(5), D(110), D(1))
    assert (new.quantity, new.cost) == (D(-3), D(330))
    assert books.cash == {"USDT": D(-200) + D(550) - D(1)}


amounts = st.decimals("0.001", "1000", places=3)
sides = st.sampled_from([BUY, SELL])


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.tuples(sides, amounts, amounts, st.decimals("-5", "5", places=4)), max_size=25),
    st.sampled_from(list(Kind)),
    st.integers(1, 20),
)
def test_the_account_is_the_exact_sum_of_its_trades(trades, kind, leverage):
    terms = Terms(capital=D(1000), leverage=D(leverage))
    books = Account(terms)
    shape = Holding("S", Leg.NET, kind, D("0.1"), "X")
    flows, held = D(0), D(0)
    for side, quantity, price, fee in trades:
        books.apply(shape, side, quantity, price, fee)
        value = worth(kind, quantity, price, D("0.1"))
        flows += (-value if (side is BUY) != (kind is Kind.INVERSE) else value) - fee
        held += quantity if side is BUY else -quantity
    assert books.cash.get("X", D(0)) == flows
    assert books.held("S", Leg.NET) == held
    again = Account(terms)
    again.restore(books.holdings.values(), dict(books.cash))
    assert again.free("X", kind, D(10)) == books.free("X", kind, D(10))
    if not held:
        assert books.holdings == {}
        assert (
            books.free("X", Kind.LINEAR, D(10)) == D(1000) + flows
        )  # nothing is tied up when nothing is held


@given(st.decimals("-100", "100", places=2), sides, amounts)
def test_an_order_is_what_it_reduces_and_what_it_opens(held, side, quantity):
    reduces = min(quantity, reducible(held, side))
    assert reduces + opening(held, side, quantity) == quantity


@given(amounts, st.sampled_from([D("0.001"), D("0.01"), D(1), D(7)]))
def test_a_split_is_two_whole_parts_or_none(quantity, step):
    part = first_part(quantity, step)
    assert D(0) < part <= quantity
    assert part == quantity or part % step == 0


@settings(max_examples=200)
@given(st.lists(st.tuples(sides, amounts, st.booleans(), st.booleans(), amounts), max_size=30))
def test_reduce_only_never_opens_enlarges_or_flips_under_any_sequence(steps):
    books = Account(replace(FREE, partial_fill_pct=D(50), capital=D(10) ** 12))
    for n, (side, quantity, shrink, limit, price) in enumerate(steps):
        working = order(
            side, str(quantity), str(price) if limit else None, shrink_only=shrink, order_id=f"o{n}"
        )
        before = books.held("BTC/USDT", Leg.NET)
        result = match(working, books, price, price)
        if result.quantity:
            books.apply(working, side, result.quantity, result.price, result.fee)
        after = books.held("BTC/USDT", Leg.NET)
        if shrink:
            assert abs(after) <= abs(before)
            assert after == 0 or (after > 0) == (before > 0)
