"""Sizes that are not quantities: never above what was asked, missed by less than one step, refused where nothing can be known."""

from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from holdfast.contracts.codes import Code, Kind, PositionSide, ResultStatus, Side
from holdfast.contracts.messages import OrderIntent, Refusal
from holdfast.contracts.money import percent_of
from holdfast.contracts.rows import NavRow
from holdfast.domain.exit_policy import ExitPolicy
from holdfast.domain.limits import Exposure
from holdfast.domain.matching import notional, worth
from holdfast.domain.precheck import Quote, least_quantity, propose_entry
from holdfast.domain.sizing import Means, Size, Worth, loss_per_contract, size_of, stop_of
from holdfast.domain.valuation import Mark, Rates
from holdfast.venues.port import Rules
from tests.unit._executor import D, World
from tests.unit._ledger import BOOK, Mem, entry, fill, leave
from tests.unit.test_executor import ready
from tests.unit.test_precheck import BOOK as BOOK_SEEN
from tests.unit.test_precheck import NOW, TERMS, intent, position

POLICY = ExitPolicy(D(10), D(20))


def rules(kind=Kind.LINEAR, step="0.001", size="1", quote="USDT", **more) -> Rules:
    settle = "BTC" if kind is Kind.INVERSE else quote
    least, value = D(more.get("min_quantity", 0)), D(more.get("min_notional", 0))
    return Rules("BTC/USDT", kind, "BTC", quote, settle, D(size), D(step), D("0.01"), least, value)


def means(nav="100000", fee="0.05", marks=None, trouble="") -> Means:
    rates = Rates({name: Mark(D(price), NOW) for name, price in (marks or {}).items()}, "USDT")
    return Means(lambda _: Worth(D(nav), rates, trouble), lambda *_: POLICY, D(fee))


def wish(**fields) -> OrderIntent:
    return intent(quantity=None, **fields)


amounts = st.decimals("0.01", "1000000", places=2)
prices = st.decimals("0.01", "200000", places=2)
steps = st.sampled_from(["1", "0.1", "0.001", "0.00000001", "5"])
contracts = st.sampled_from(["1", "0.001", "10"])
percents = st.decimals("0.01", "100", places=2)
sides = st.sampled_from(Side)


@given(amounts, prices, steps, contracts, st.sampled_from([Kind.SPOT, Kind.LINEAR, Kind.INVERSE]))
@settings(max_examples=300)
def test_a_value_in_quote_currency_is_never_exceeded_and_missed_by_less_than_a_step(
    amount, price, step, contract, kind
):
    what = rules(kind, step, contract)
    size = size_of(wish(quote_amount=str(amount)), what, Side.BUY, price, None, None)
    assert isinstance(size, Size)
    assert size.quantity % D(step) == 0
    assert notional(kind, size.quantity, price, D(contract)) <= amount
    assert notional(kind, size.quantity + D(step), price, D(contract)) > amount


@given(percents, amounts, prices, steps, contracts)
@settings(max_examples=300)
def test_a_share_of_nav_is_never_exceeded_and_missed_by_less_than_a_step(share, nav, price, step, contract):
    what = rules(step=step, size=contract)
    size = size_of(wish(nav_pct=str(share)), what, Side.BUY, price, None, means(str(nav)))
    assert isinstance(size, Size)
    budget = nav * share / 100
    assert notional(what.kind, size.quantity, price, D(contract)) <= budget
    assert notional(what.kind, size.quantity + D(step), price, D(contract)) > budget


@given(
    percents, amounts, prices, steps, contracts, sides, st.decimals("0.5", "50", places=1), st.sampled_from(["0", "0.05", "1"])
)  # fmt: skip
@settings(max_examples=400)
def test_the_loss_at_the_stop_is_within_one_step_of_what_was_asked(
    share, nav, price, step, contract, side, stop_pct, fee
):
    what = rules(step=step, size=contract)
    asked = wish(side=side.value, risk_pct=str(share), stop_loss=f"{stop_pct}%")
    size = size_of(asked, what, side, price, None, means(str(nav), fee))
    assert isinstance(size, Size)
    sign = 1 if side is Side.BUY else -1
    stop = price - sign * percent_of(price, stop_pct)

    def lost(quantity: Decimal) -> Decimal:
        """Bought at the price, sold at the stop, a fee on both: counted in money, not by the code's formula."""
        paid, got = (worth(what.kind, quantity, at, D(contract)) for at in (price, stop))
        return sign * (paid - got) + (paid + got) * D(fee) / 100

    budget = nav * share / 100
    assert lost(size.quantity) <= budget
    assert lost(size.quantity + D(step)) > budget


@given(amounts, st.decimals("100", "100000", places=0), sides, st.decimals("1", "30", places=0))
@settings(max_examples=200)
def test_an_inverse_contract_risks_its_coin_converted_at_todays_price(nav, price, side, stop_pct):
    what = rules(Kind.INVERSE, "1", "10")
    asked = wish(side=side.value, risk_pct="1", stop_loss=f"{stop_pct}%")
    found = means(str(nav), "0", {"BTC/USDT": str(price)})
    size = size_of(asked, what, side, price, None, found)
    stop = stop_of(asked, what, side, price, None, found)
    unit = loss_per_contract(what, price, stop, D(0)) * price
    assert isinstance(size, Size)
    assert size.quantity * unit <= nav / 100
    assert (size.quantity + 1) * unit > nav / 100


@given(amounts, prices, steps, st.sampled_from(["0", "0.002", "7"]), st.sampled_from(["0", "5", "10.5"]))
@settings(max_examples=300)
def test_what_is_proposed_is_never_below_the_minimum_and_what_is_refused_would_be(
    amount, price, step, least, value
):
    what = rules(step=step, min_quantity=least, min_notional=value)
    order = propose_entry(
        wish(quote_amount=str(amount)), what, BOOK_SEEN, Quote(price, price, NOW), Exposure(), TERMS, NOW
    )
    smallest = least_quantity(what, price)
    affordable = amount // (price * D(step)) * D(step)
    if isinstance(order, Refusal):
        assert (order.code, order.status) == (Code.BELOW_MINIMUM, ResultStatus.INVALID)
        assert affordable < smallest
    else:
        assert order.quantity == affordable >= smallest
        assert order.quantity >= D(least)
        assert order.quantity * price >= D(value)


# -- which stop it is -------------------------------------------------------------------------------------------------


def test_without_a_stop_of_its_own_the_policys_counts():
    size = size_of(wish(risk_pct="1"), rules(), Side.BUY, D(100), None, means(fee="0"))
    assert isinstance(size, Size)
    assert size.quantity == 100, "1 % of 100000 over 10 a piece, the policy's 10 % of 100"
    assert size.sizing == "risk_pct: 1 % of NAV 100000 USDT at 100, stop 90"


@pytest.mark.parametrize(("asked", "stop"), [(None, 90), ("95", 95), ("80", 90), ("2%", 98)])
def test_on_top_of_a_position_the_tighter_stop_counts(asked, stop):
    held = position(quantity="1")
    found = stop_of(wish(risk_pct="1", stop_loss=asked), rules(), Side.BUY, D(100), held, means())
    assert found == stop


def test_a_stop_that_the_price_has_passed_sizes_nothing():
    held = position(PositionSide.LONG)
    found = size_of(wish(risk_pct="1"), rules(), Side.BUY, D(85), held, means())
    assert isinstance(found, Refusal)
    assert found.code is Code.BAD_EXITS
    assert "beyond the price already" in found.reason


@pytest.mark.parametrize(
    ("found", "says"),
    [
        (means(trouble="no price of ETH/USDT yet"), "no price of ETH/USDT yet"),
        (means(nav="-5"), "NAV is -5"),
        (means(nav="0"), "NAV is 0"),
    ],
)
def test_without_a_nav_there_is_no_share_of_it(found, says):
    for size in ({"nav_pct": "1"}, {"risk_pct": "1"}):
        refusal = size_of(wish(**size), rules(), Side.BUY, D(100), None, found)
        assert isinstance(refusal, Refusal)
        assert (refusal.code, refusal.status) == (Code.NO_NAV, ResultStatus.BLOCKED)
        assert says in refusal.reason


def test_a_currency_that_no_price_leads_from_has_no_share_of_nav():
    refusal = size_of(wish(nav_pct="1"), rules(quote="EUR"), Side.BUY, D(100), None, means())
    assert isinstance(refusal, Refusal)
    assert "no price leads from EUR to USDT" in refusal.reason


# -- what an intent may say -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"quantity": "1", "nav_pct": "5"}, "quantity and nav_pct: a size is said once"),
        ({"quote_amount": "5", "risk_pct": "5"}, "quote_amount and risk_pct"),
        ({"quantity": None}, "quantity is required to open (or quote_amount, nav_pct, risk_pct)"),
        ({"quantity": None, "fraction": "0.5"}, "fraction is for closes"),
        ({"quantity": None, "risk_pct": "101"}, "at most 100"),
        ({"quantity": None, "nav_pct": "0"}, "greater than zero"),
        ({"action": "close", "quantity": None, "nav_pct": "5"}, "nav_pct is for entries"),
        ({"action": "close", "fraction": "0.5"}, "quantity and fraction"),
        ({"action": "close", "quantity": None, "fraction": "1.01"}, "at most 1, which is everything"),
        ({"reduce_only": True, "quantity": None, "quote_amount": "5"}, "quote_amount is for entries"),
    ],
)
def test_a_size_is_said_in_one_way(fields, says):
    with pytest.raises(ValidationError) as caught:
        intent(**fields)
    assert says in str(caught.value)


# -- through the executor ---------------------------------------------------------------------------------------------


async def test_the_reservation_holds_the_quantity_and_what_it_was_made_of():
    world = await ready(paper={"fee_pct": "0"})
    await world.give(world.entry(symbol="BTC/USDT", side="buy", nav_pct="5"))
    await world.settle()
    row = world.order()
    assert row.quantity == D("49.504"), "5 % of 100000 at the ask, 101, in steps of 0.001"
    assert row.sizing == "nav_pct: 5 % of NAV 100000 USDT at 101"


async def test_nav_is_cash_and_what_is_held_at_mark():
    world = await ready(paper={"fee_pct": "0"})
    world.view.nav["main"] = NavRow(
        account="main", currency="USDT", cash=D(500), nav=D(500), high_water=D(500), at=NOW
    )
    held = position(quantity="10", cost=D(900))
    world.view.positions[held.position_id] = held
    await world.tick("99", "101")
    worth_ = world.executor.intake._means.worth("main")
    assert (worth_.nav, worth_.trouble) == (D(600), ""), "500 and 10 x 100 - 900"


async def test_a_held_position_without_a_fresh_price_leaves_no_nav():
    world = await ready()
    held = position(symbol="SOL/USDT", book_id="main/paper/SOL/USDT")
    world.view.positions[held.position_id] = held
    await world.give(world.entry(symbol="BTC/USDT", side="buy", risk_pct="1"))
    refusal = world.refusal()
    assert refusal.code is Code.NO_NAV
    assert "no price of SOL/USDT" in refusal.reason


async def test_without_a_fresh_price_no_size_is_made():
    world: World = await ready()
    await world.pass_time(61_000, step=61_000)
    await world.give(world.entry(symbol="BTC/USDT", side="buy", quote_amount="500"))
    assert world.refusal().code is Code.NO_PRICE


# -- closes, in the ledger --------------------------------------------------------------------------------------------


def held_in_ledger(quantity="10") -> Mem:
    ledger = Mem()
    ledger.do(entry("i", quantity=quantity))
    ledger.do(fill("t", "o-i", quantity=quantity))
    return ledger


@pytest.mark.parametrize(
    ("fraction", "quantity"), [("0.5", "5"), ("0.33333", "3.333"), ("1", "10"), ("0.0001", "0.001")]
)
def test_a_fraction_is_of_the_position_as_the_ledger_holds_it(fraction, quantity):
    ledger = held_in_ledger()
    ledger.do(leave("x", fraction=fraction))
    assert ledger.state.orders["o-x"].quantity == D(quantity)
    assert (ledger.state.books[BOOK].exiting is not None) is (fraction == "1")


def test_a_fraction_of_less_than_a_step_is_refused_and_all_of_it_never_is():
    ledger = held_in_ledger("0.0015")
    ledger.do(leave("x", fraction="0.5"))
    assert ledger.known.intents["x"].code is Code.BELOW_MINIMUM
    ledger.do(leave("y", fraction="1"))
    assert ledger.state.orders["o-y"].quantity == D("0.0015")


def test_a_close_of_more_than_is_held_is_cut_to_the_position():
    ledger = held_in_ledger()
    ledger.do(leave("x", "99"))
    assert ledger.state.orders["o-x"].quantity == 10


def test_two_halves_at_once_are_never_more_than_the_whole():
    ledger = held_in_ledger()
    for name in ("x", "y", "z"):
        ledger.do(leave(name, fraction="0.5"))
    assert [row.quantity for row in ledger.state.orders.values()] == [5, 5]
    assert ledger.known.intents["z"].code is Code.EXIT_IN_FLIGHT
