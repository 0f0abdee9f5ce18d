"""Which coins are a position: what our own trades come to, and what of it others have sold. The rules alone."""

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from holdfast.contracts.codes import FillKind, Side
from holdfast.contracts.messages import Fill
from holdfast.domain.coins import Anchor, change_of, day_result, held, sales_that_explain, shortages, total

D = Decimal


def fill(number, change, *, at=None, fee="0", fee_currency="USDT", price="100"):
    return Fill(
        id=f"f{number}", at=1, account="main", exchange="x", symbol="BTC/USDT", order_id="o", trade_id=str(number),
        side=Side.BUY if change > 0 else Side.SELL, quantity=abs(D(change)), price=price, executed_at=number if at is None else at,
        fee=D(fee), fee_currency=fee_currency, settle="USDT",
    )  # fmt: skip


def test_a_fee_in_coins_comes_out_of_the_coins():
    assert change_of(fill(1, 1, fee="0.001", fee_currency="BTC")) == D("0.999")
    assert change_of(fill(1, -1, fee="0.001", fee_currency="BTC")) == D("-1.001")
    assert change_of(fill(1, 1, fee="0.1")) == 1


def test_of_a_flat_book_what_was_traded_since_is_held_and_one_millisecond_may_hold_old_and_new():
    trades = [fill(1, 3), fill(2, -3), fill(3, 2)]
    assert held(trades, [], Anchor(2), D(0)) == 2
    assert held(trades, [], Anchor(3), D(0)) == 0
    tied = [fill(1, 3, at=5), fill(2, -3, at=5), fill(3, 2, at=5)]
    assert held(tied, [], Anchor(5), D(2)) == 2
    assert held(tied, [], Anchor(5), D(0)) == 0
    assert held([fill(1, 3), fill(2, 2), fill(3, -3)], [], Anchor(2), D(2)) == 2, (
        "the sale was told before the second purchase"
    )
    assert held([fill(1, 3), fill(2, -3), fill(5, 2)], [], Anchor(2), D(0)) == 2, (
        "what came after the anchor always counts"
    )


changes = st.lists(st.integers(1, 9).map(D), min_size=1, max_size=8)


@given(changes, changes, st.integers(1, 40).map(D))
def test_what_is_taken_out_of_sales_by_others_is_what_is_missing_or_nothing(sold, bought, missing):
    others = [fill(number, -amount) for number, amount in enumerate(sold, 10)]
    others += [fill(number, amount) for number, amount in enumerate(bought, 50)]
    found = sales_that_explain(missing, others, 0, D(100))
    if sum(sold) - sum(bought) < missing:
        assert found is None, "they bought as much as they sold"
    else:
        assert sum(one.quantity for one in found) == missing
        assert {one.kind for one in found} == {FillKind.ADJUSTMENT}
        assert len({one.trade_id for one in found}) == len(found)
        again = sales_that_explain(missing, others, 0, D(99))
        assert {one.key for one in found}.isdisjoint(one.key for one in again), "other coins, other keys"


def test_sales_before_the_balance_was_last_enough_explain_nothing():
    assert sales_that_explain(D(1), [fill(5, -3)], 6, D(9)) is None


def test_what_is_short_is_counted_by_coin():
    assert shortages({"BTC": D(3), "ETH": D(1)}, {"BTC": D(2), "ETH": D(1)}) == {"BTC": D(1)}
    assert shortages({"BTC": D(3)}, {}) == {"BTC": D(3)}


@given(
    st.lists(st.tuples(st.integers(-5, 5).filter(bool), st.integers(90, 110)), max_size=6),
    st.integers(6, 40),
    st.integers(90, 110),
)
def test_a_day_is_worth_what_its_money_and_its_coins_have_become(trades, before, last):
    """However it traded, the result is what the account is worth at the end less what it was worth when the day began."""
    fills = [fill(number, change, price=str(price), fee="1") for number, (change, price) in enumerate(trades)]
    money = sum(-change * price - 1 for change, price in trades)
    now = before + sum(change for change, _ in trades)
    expected = money + now * last - before * 100
    assert total(fills) == now - before
    assert day_result(fills, {"BTC/USDT": D(now)}, {"BTC/USDT": (D(100), D(last))}) == expected
