"""Two arithmetics that share no code agree: the product's on every fill, and the auditor's own."""

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from holdfast.contracts.codes import FillKind, Kind, PositionSide, Side
from holdfast.contracts.messages import Fill
from holdfast.domain.position import Folded
from proving.audit.arithmetic import STEP, Deal, Holding, Result, Terms, average, take
from tests.unit.test_position import OPENINGS, Book, fill

D = Decimal
amounts = st.decimals("0.00000001", "1000000", allow_nan=False, allow_infinity=False, places=8)
prices = st.decimals("0.01", "1000000", allow_nan=False, allow_infinity=False, places=4)
fees = st.decimals("-1", "10", allow_nan=False, allow_infinity=False, places=6)
fills = st.tuples(
    st.sampled_from(["buy", "sell"]), amounts, prices, fees, st.sampled_from(["USDT", "BTC", "BNB"]),
    st.sampled_from([FillKind.TRADE] * 5 + [FillKind.FUNDING, FillKind.ADJUSTMENT]),
)  # fmt: skip


def deal_of(one: Fill) -> Deal:
    side = "long" if one.side is Side.BUY else "short"
    return Deal(side, one.quantity, one.price, one.fee, one.fee_currency or "", "BTC", one.kind.value)


def near(mine: Decimal, theirs: Decimal, slack: Decimal) -> bool:
    return abs(mine - theirs) <= slack


def check_same(mine: Holding | None, theirs: Folded, kind: Kind) -> None:
    open_rows = [row for row in theirs.rows if row.is_open]
    if not open_rows:
        return
    row = open_rows[-1]
    assert mine is not None
    assert (mine.side, mine.quantity) == (row.side.value, row.quantity)
    assert near(mine.cost, row.cost, mine.slack)
    assert near(mine.realized, row.realized_pnl, mine.slack)
    entered, left = (row.bought, row.sold) if row.side is PositionSide.LONG else (row.sold, row.bought)
    assert (mine.entered, mine.left) == (entered, left)
    if kind is not Kind.INVERSE:
        off = STEP + mine.slack / mine.quantity
        assert near(average(kind.value, mine.cost, mine.quantity), row.entry_price, off)


def check_closed(mine: Result, theirs: Folded) -> None:
    assert (mine.closed is None) == (theirs.trade is None)
    if mine.closed is not None and theirs.trade is not None:
        assert mine.closed.entered == theirs.trade.quantity
        assert near(mine.closed.realized, theirs.trade.realized_pnl, mine.closed.slack)
    assert near(mine.realized, theirs.realized, mine.slack + STEP)


@given(kind=st.sampled_from(list(Kind)), deals=st.lists(fills, min_size=1, max_size=12))
def test_the_auditor_and_the_product_agree_on_every_fill(kind, deals):
    book, held = Book(OPENINGS[kind]), None
    terms = Terms(kind.value, D(1), OPENINGS[kind].settle)
    for number, (side, quantity, price, fee, currency, what) in enumerate(deals, 1):
        one = fill(side, quantity, price, number=number, fee=str(fee), fee_currency=currency, kind=what)
        theirs = book.take(one)
        mine = take(held, deal_of(one), terms)
        held = mine.held
        check_same(held, theirs, kind)
        check_closed(mine, theirs)
        assert (held is None) == (book.position is None)


def test_a_profit_by_hand():
    """Bought 3 at 100 and 1 at 104, sold 2 at 110: the average is 101, the profit 2 x 9 less fees."""
    terms, held = Terms("linear", D(1), "USDT"), None
    for side, quantity, price in (("long", 3, 100), ("long", 1, 104), ("short", 2, 110)):
        held = take(held, Deal(side, D(quantity), D(price), D("0.5"), "USDT", "BTC", "trade"), terms).held
    assert held is not None
    assert (held.quantity, held.cost, held.realized) == (2, 202, 18 - D("1.5"))


def test_an_inverse_profit_by_hand():
    """100 contracts of 1 USD bought at 10 and sold at 20 bring 100/10 - 100/20 = 5 coins."""
    terms = Terms("inverse", D(1), "BTC")
    held = take(None, Deal("long", D(100), D(10), D(0), "BTC", "BTC", "trade"), terms).held
    done = take(held, Deal("short", D(100), D(20), D(0), "BTC", "BTC", "trade"), terms)
    assert (done.held, done.realized) == (None, D(5))


def test_through_zero_the_fee_is_divided():
    terms = Terms("linear", D(1), "USDT")
    held = take(None, Deal("long", D(1), D(100), D(0), "USDT", "BTC", "trade"), terms).held
    done = take(held, Deal("short", D(3), D(110), D(3), "USDT", "BTC", "trade"), terms)
    assert done.closed is not None
    assert done.held is not None
    assert (done.closed.realized, done.held.realized) == (D(9), D(-2))
    assert (done.held.side, done.held.quantity, done.held.cost) == ("short", D(2), D(220))
