"""From intent to order: ids, rounding, prices, exits, times; what a refusal says stands in test_executor_refusals."""

from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.contracts.codes import (
    Code,
    ExitReason,
    Kind,
    Leg,
    OrderType,
    PositionSide,
    Role,
    Side,
    TimeInForce,
    TradingState,
)
from holdfast.contracts.messages import OrderIntent, OrderRequest, Refusal
from holdfast.contracts.rows import PositionRow
from holdfast.domain.asked_exits import misplaced
from holdfast.domain.limits import Exposure, Limits
from holdfast.domain.one_side import FLAT, Held
from holdfast.domain.precheck import (
    Book,
    Quote,
    Terms,
    entry_leg,
    exit_leg,
    order_id_of,
    out_of_time,
    propose_entry,
    propose_exit,
    step_price,
)
from holdfast.venues.port import Rules
from tests.unit._executor import D

NOW = 1_000_000
RULES = Rules("BTC/USDT", Kind.LINEAR, "BTC", "USDT", "USDT", D(1), D("0.001"), D("0.5"), D(0), D(0))
LIMITS = Limits(1000, D(10**7), D(10**8), D(10**9), 10**6)
TERMS = Terms(LIMITS)
QUOTE = Quote(D(99), D(101), NOW - 100)
BOOK = Book("main/paper/BTC/USDT", "main", None, None, FLAT, unknown=False, trading=TradingState.ACTIVE)


def intent(**fields) -> OrderIntent:
    return OrderIntent.model_validate(
        {"id": "i-1", "at": NOW, "symbol": "BTC/USDT", "side": "buy", "quantity": "1", **fields}
    )


def position(side=PositionSide.LONG, quantity="1", **more) -> PositionRow:
    values = {
        "position_id": "p-1", "book_id": BOOK.book_id, "account": "main", "exchange": "paper", "symbol": "BTC/USDT", "side": side, "kind": Kind.LINEAR,
        "contract_size": D(1), "settle": "USDT", "quantity": D(quantity), "cost": D(100), "entry_price": D(100), "take_profit": D(120),
        "stop_loss": D(90), "take_profit_spec": "20%", "stop_loss_spec": "10%", "opened_at": 1, "changed_at": 1, "recorded_at": 1,
    }  # fmt: skip
    return PositionRow(**{**values, **more})


def entry(wish, *, rules=RULES, book=BOOK, quote=QUOTE, exposure=None, terms=TERMS) -> OrderRequest | Refusal:
    return propose_entry(wish, rules, book, quote, exposure or Exposure(), terms, NOW)


def leave(wish, *, held=None, leg=Leg.NET, quote=QUOTE, rules=RULES) -> OrderRequest | Refusal:
    return propose_exit(wish, rules, leg, held, quote, TERMS, NOW)


def test_the_order_carries_everything_the_intent_says():
    order = entry(
        intent(
            type="limit",
            price="100",
            time_in_force="ioc",
            take_profit="5%",
            stop_loss="95",
            ttl_s="60",
            good_till=NOW + 9,
        )
    )
    assert isinstance(order, OrderRequest)
    assert OrderRequest.model_validate_json(order.model_dump_json()) == order, (
        "what was not validated is valid"
    )
    assert (order.type, order.price, order.time_in_force) == (OrderType.LIMIT, D(100), TimeInForce.IOC)
    assert (order.take_profit, order.stop_loss, order.ttl_s, order.good_till) == ("5%", "95", D(60), NOW + 9)
    assert (order.role, order.reference_price, order.send_by) == (Role.ENTRY, D(101), NOW + 2000)


def test_the_client_order_id_derives_from_account_intent_and_leg_alone():
    assert order_id_of("main", "i-1", Leg.NET) == "hdf42ec4aa697bfa643c4303fcb09a3", (
        "a restart on new code must find what the old one sent"
    )
    ids = {order_id_of(account, wish, leg) for account in "ab" for wish in ("i-1", "i-2") for leg in Leg}
    assert len(ids) == 12
    assert all(len(one) <= 32 and one.isalnum() and one == one.lower() for one in ids)


@given(
    st.decimals("0.000001", "1000000", places=6),
    st.sampled_from(["0.01", "0.5", "5", "0.000001"]),
    st.sampled_from(Side),
)
@settings(max_examples=200)
def test_a_limit_price_is_a_multiple_of_the_step_and_never_worse(price, step, side):
    stepped = step_price(price, D(step), side)
    assert stepped % D(step) == 0
    assert abs(stepped - price) < D(step)
    assert stepped <= price if side is Side.BUY else stepped >= price


@given(st.decimals("0.0001", "1000", places=4))
@settings(max_examples=100)
def test_a_quantity_never_grows_by_rounding(quantity):
    order = entry(intent(quantity=str(quantity)))
    if quantity < D("0.001"):
        assert isinstance(order, Refusal)
        assert order.code is Code.BELOW_MINIMUM
    else:
        assert isinstance(order, OrderRequest)
        assert quantity - D("0.001") < order.quantity <= quantity


def test_a_limit_below_one_step_is_refused():
    assert entry(intent(type="limit", price="0.4")).code is Code.BELOW_MINIMUM


@pytest.mark.parametrize(
    ("fields", "good"),
    [
        ({"stop_loss": "100.9", "take_profit": "101.1"}, True),
        ({"stop_loss": "100.9", "take_profit": "101"}, False),
        ({"stop_loss": "99%", "take_profit": "500%"}, True),
        ({"take_profit": "off", "ttl_s": "60"}, True),
        ({"type": "limit", "price": "50", "stop_loss": "49", "take_profit": "51"}, True),
        ({"type": "limit", "price": "50", "stop_loss": "60"}, False),
        ({"side": "sell", "stop_loss": "99.1", "take_profit": "98.9"}, True),
        ({"side": "sell", "stop_loss": "500%", "take_profit": "99%"}, True),
        ({"side": "sell", "take_profit": "100%"}, False),
    ],
)
def test_exits_are_judged_at_the_price_the_entry_would_get(fields, good):
    order = entry(intent(**fields))
    assert isinstance(order, OrderRequest) is good
    if not good:
        assert order.code is Code.BAD_EXITS


def test_the_first_objection_is_the_answer():
    halted = replace(BOOK, trading=TradingState.HALTED, held=Held.of(D(-1)))
    assert entry(intent(), book=halted).code is Code.HALTED
    assert entry(intent(), book=replace(halted, trading=TradingState.ACTIVE), quote=None).code is Code.OPPOSED


def test_send_by_never_lies_behind_the_intents_expiry():
    assert entry(intent(expires_at=NOW + 500)).send_by == NOW + 500


def test_time():
    assert out_of_time(intent(expires_at=NOW), NOW) is None
    assert out_of_time(intent(expires_at=NOW - 1), NOW).code is Code.EXPIRED
    assert out_of_time(intent(at=NOW + 60_000), NOW) is None
    assert out_of_time(intent(at=NOW + 60_001), NOW).code is Code.FROM_THE_FUTURE
    assert out_of_time(intent(at=NOW + 60_001, reduce_only=True), NOW) is None


def test_an_exit_names_what_the_ledger_needs_to_decide():
    wish = intent(
        action="close", side=None, quantity=None, position_id="p-1", position_version=4, reason="stop_loss", attempt=2, trigger_price="90",
        trigger_at=7, soft=True,
    )  # fmt: skip
    order = leave(wish, held=position())
    assert isinstance(order, OrderRequest)
    assert (order.side, order.quantity, order.role) == (None, None, Role.EXIT)
    assert (order.position_id, order.position_version, order.reason, order.attempt) == (
        "p-1",
        4,
        ExitReason.STOP_LOSS,
        2,
    )
    assert (order.trigger_price, order.trigger_at, order.soft, order.reference_price) == (
        D(90),
        7,
        True,
        D(99),
    )


def test_an_exit_of_everything_is_not_rounded_and_a_partial_one_is():
    dust = position(quantity="1.0005")
    assert leave(intent(reduce_only=True, side="sell", quantity="1.0005"), held=dust).quantity == D("1.0005")
    assert leave(intent(reduce_only=True, side="sell", quantity="1.0004"), held=dust).quantity == D("1.000")
    assert (
        leave(intent(reduce_only=True, side="sell", quantity="0.0004"), held=dust).code is Code.BELOW_MINIMUM
    )


def test_an_exit_takes_kind_and_size_from_the_position_it_closes():
    order = leave(intent(action="close"), held=position(kind=Kind.SPOT, contract_size=D(10)))
    assert (order.kind, order.contract_size) == (Kind.SPOT, D(10))


def test_an_exit_needs_no_price():
    for quote in (None, replace(QUOTE, received_ms=NOW - 10**9)):
        order = leave(intent(action="close"), held=position(), quote=quote)
        assert isinstance(order, OrderRequest)
        assert order.reference_price is None


def test_a_limit_exit_is_rounded_to_its_own_advantage_and_never_to_nothing():
    assert leave(intent(action="close", side=None, type="limit", price="100.2"), held=position()).price == D(
        "100.5"
    )
    short = position(PositionSide.SHORT)
    assert leave(intent(action="close", side=None, type="limit", price="0.2"), held=short).price == D("0.5")


def test_legs():
    hedged = Terms(LIMITS, hedged=frozenset({"BTC/USDT"}))
    assert [entry_leg(hedged, "BTC/USDT", side) for side in (Side.BUY, Side.SELL)] == [Leg.LONG, Leg.SHORT]
    assert entry_leg(hedged, "ETH/USDT", Side.BUY) is Leg.NET
    close = intent(action="close", side=None)
    assert exit_leg(hedged, "BTC/USDT", close, long_open=False, short_open=True) is Leg.SHORT
    assert exit_leg(hedged, "BTC/USDT", close, long_open=False, short_open=False) is Leg.LONG
    assert (
        exit_leg(hedged, "BTC/USDT", intent(action="close", side="buy"), long_open=True, short_open=True)
        is Leg.SHORT
    )
    assert isinstance(exit_leg(hedged, "BTC/USDT", close, long_open=True, short_open=True), Refusal)
    assert exit_leg(hedged, "ETH/USDT", close, long_open=False, short_open=False) is Leg.NET


@pytest.mark.parametrize(
    ("side", "take_profit", "says"),
    [
        (Side.BUY, "5%:0.5,10%:0.5", None),
        (Side.BUY, "105:0.5,110:0.5", None),
        (Side.SELL, "95:0.5,90:0.5", None),
        (Side.BUY, "95:0.5,110:0.5", "must lie above the price"),
        (Side.SELL, "105:0.5,90:0.5", "must lie below the price"),
        (Side.BUY, "110:0.5,105:0.5", "farther from the entry"),
        (Side.BUY, "5%:0.6,10%:0.6", "sum to more than 1"),
    ],
)
def test_the_rungs_of_a_ladder_lie_one_behind_the_other_on_the_right_side(
    side: Side, take_profit: str, says: str | None
) -> None:
    reason = misplaced(take_profit, None, side, Decimal(100))
    assert (reason is None) if says is None else (reason is not None and says in reason)
