"""Limits of producers: an authority over symbols, caps on entries, and nothing that stops an exit of theirs."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.contracts.codes import Code, Kind, Role, Side
from holdfast.contracts.messages import OrderRequest
from holdfast.domain.producers import Allowances, Producer, objection, owner_of

D = Decimal
MINE = Producer("mine", frozenset({"BTC/USDT"}), max_notional=D(1000), rate_per_s=D(2))


def order(*, role=Role.ENTRY, quantity="1", price="100") -> OrderRequest:
    return OrderRequest(
        order_id="o", kind=Kind.LINEAR, settle="USDT", role=role, side=Side.BUY, quantity=quantity, quantity_step="0.001",
        reference_price=price, send_by=1,
    )  # fmt: skip


def code(producer=MINE, symbol="BTC/USDT", wanted=None, allowances=None, at=0):
    found = objection(producer, symbol, wanted, allowances or Allowances(), at)
    return None if found is None else found.code


def test_what_is_within_the_limits_passes():
    assert code(wanted=order()) is None
    assert code(Producer("free"), "ETH/USDT", order(quantity="1000000")) is None


@pytest.mark.parametrize("wanted", [None, order(role=Role.EXIT), order()], ids=["cancel", "exit", "entry"])
def test_a_foreign_symbol_is_refused_whatever_is_wanted_of_it(wanted):
    assert code(symbol="ETH/USDT", wanted=wanted) is Code.PRODUCER_SYMBOL


def test_an_entry_may_be_as_large_as_the_limit_and_no_larger():
    assert code(wanted=order(quantity="10")) is None
    assert code(wanted=order(quantity="10.001")) is Code.PRODUCER_NOTIONAL


def test_an_entry_whose_value_cannot_be_told_is_refused():
    assert code(wanted=order(price=None)) is Code.NO_PRICE


def test_no_cap_stops_an_exit_or_a_cancel():
    allowances = Allowances()
    for _ in range(10):
        assert code(wanted=order(role=Role.EXIT, quantity="1000000"), allowances=allowances) is None
        assert code(wanted=None, allowances=allowances) is None


def test_the_rate_is_per_second_and_comes_back_with_time():
    allowances = Allowances()
    assert [code(wanted=order(), allowances=allowances) for _ in range(3)] == [None, None, Code.PRODUCER_RATE]
    assert code(wanted=order(), allowances=allowances, at=400) is Code.PRODUCER_RATE
    assert code(wanted=order(), allowances=allowances, at=500) is None
    assert code(wanted=order(), allowances=allowances, at=400) is Code.PRODUCER_RATE, (
        "a clock that goes back gives nothing"
    )


def test_each_producer_has_its_own_rate():
    allowances, slow = Allowances(), Producer("slow", rate_per_s=D("0.1"))
    assert code(slow, wanted=order(), allowances=allowances) is None
    assert code(slow, wanted=order(), allowances=allowances) is Code.PRODUCER_RATE
    assert code(wanted=order(), allowances=allowances) is None


@given(st.lists(st.integers(0, 3000), max_size=60), st.decimals("0.1", 20, places=1))
def test_no_second_sees_more_than_the_rate_and_one_bucket(steps, rate):
    producer, allowances, now, passed = Producer("p", rate_per_s=rate), Allowances(), 0, []
    for step in steps:
        now += step
        if allowances.take(producer, now):
            passed.append(now)
    for start in passed:
        inside = [at for at in passed if start <= at < start + 1000]
        assert len(inside) <= max(rate, 1) + rate


def test_an_id_belongs_to_whose_name_it_begins_with():
    known = {"mine": MINE, "mine-2": Producer("mine-2")}
    assert [owner_of(text, known) for text in ("mine:1", "mine-2:1", "mine-1", "other:1", ":1", "mine", "x:mine:1")] == [
        "mine", "mine-2", "", "", "", "", ""
    ]  # fmt: skip
    assert MINE.owns("mine:1")
    assert not MINE.owns("mine-2:1")
