"""A stop at the venue on spot, through real ccxt: an ordinary order there, which waits for its price and locks its coins."""

import pytest

from holdfast.contracts.codes import Code, OrderState
from holdfast.venues.port import OutcomeKind
from tests.venue._spot import OURS, WIRES, numbered, on_adapter
from tests.venue._stage import KINDS, D, ccxt_venue, quote

TYPES = {"stop": "STOP_LOSS", "stop-limit": "STOP_LOSS_LIMIT"}


@pytest.fixture(params=WIRES)
async def stage(request):
    async with on_adapter(request.param) as given:
        yield given


async def place(stage, kind="stop", order_id=OURS, **fields):
    """A stop below the price; the coins that it sells lie in the wallet."""
    order = stage.row(order_id, **KINDS[kind] | fields)
    outcome = await stage.send(order)
    assert outcome.kind is OutcomeKind.ACCEPTED, outcome.reason
    order = order.evolve(state=OrderState.OPEN, venue_order_id=outcome.venue_order_id)
    stage.adapter.take_row(order)
    return order


async def shown(stage, order_id=OURS):
    return (await stage.adapter.look_up([order_id]))[order_id]


async def free(stage):
    return (await stage.adapter.balances())["BTC"][0]


@pytest.mark.parametrize("kind", TYPES)
async def test_it_waits_among_the_ordinary_orders_and_locks_its_coins(stage, kind):
    order = await place(stage, kind)
    (ask,) = stage.exchange.received
    assert (ask.type, ask.trigger, ask.price, ask.reduce_only) == (TYPES[kind], D(41000), order.price, False)
    found = await shown(stage)
    assert (found.state, found.filled, found.triggered) == (OrderState.OPEN, 0, False)
    assert found.venue_order_id == order.venue_order_id
    assert [one.order_id for one in await stage.adapter.open_orders()] == [OURS]
    assert await free(stage) == D("49.9")
    sold = stage.row(numbered(2), side="sell", quantity="49.95")
    assert (await stage.send(sold)).code is Code.INSUFFICIENT_FUNDS


async def test_its_cancel_frees_the_coins(stage):
    order = await place(stage)
    (outcome,) = await stage.adapter.cancel([order], now_ms=stage.clock.now)
    assert outcome.kind is OutcomeKind.ACCEPTED
    found = await shown(stage)
    assert (found.state, found.triggered, await free(stage)) == (OrderState.CANCELED, False, D(50))
    (outcome,) = await stage.adapter.cancel([order], now_ms=stage.clock.now)
    assert (outcome.kind, outcome.code) == (OutcomeKind.REJECTED, Code.NO_SUCH_ORDER)


async def test_one_that_somebody_canceled_is_told_by_polling(stage):
    await place(stage)
    await stage.adapter.poll(now_ms=stage.clock.now)
    stage.exchange.cancel_all(stage.symbol)
    stage.clock.now += 5_000
    events = await stage.adapter.poll(now_ms=stage.clock.now)
    assert [(order.order_id, order.state) for order in events.orders] == [(OURS, OrderState.CANCELED)]


async def test_when_it_triggers_it_keeps_its_number_and_its_trades_are_ours(stage):
    order = await place(stage)
    quote(stage.server, "40990", "40990.1", size="0.04", symbol=stage.symbol)
    stage.clock.now += 5_000
    events = await stage.adapter.poll(now_ms=stage.clock.now)
    assert [fill.quantity for fill in events.fills] == [D("0.04"), D("0.04"), D("0.02")]
    assert {fill.order_id for fill in events.fills} == {OURS}
    assert [(one.order_id, one.triggered, one.venue_order_id) for one in events.orders] == [
        (OURS, True, order.venue_order_id)
    ]
    assert (await shown(stage)).state is OrderState.FILLED
    stage.clock.now += 100  # two clients of one key share its nonces
    async with ccxt_venue(stage.server, stage.clock, dialect=stage.wire) as other:
        fills = await other.trades_since(stage.clock.now - 60_000)
    assert [fill.order_id for fill in fills] == [OURS] * 3, "and another process knows whose they are"


async def test_a_stop_limit_that_has_triggered_and_waits_says_so_and_can_be_canceled(stage):
    order = await place(stage, "stop-limit")
    quote(stage.server, "40500", "40500.1", symbol=stage.symbol)
    stage.clock.now += 5_000
    events = await stage.adapter.poll(now_ms=stage.clock.now)
    assert [(one.order_id, one.state, one.triggered) for one in events.orders] == [
        (OURS, OrderState.OPEN, True)
    ]
    (outcome,) = await stage.adapter.cancel([order], now_ms=stage.clock.now)
    assert outcome.kind is OutcomeKind.ACCEPTED
    assert (await shown(stage)).state is OrderState.CANCELED


async def test_one_whose_price_has_passed_is_refused_by_the_one_and_sold_at_once_by_the_other(stage):
    order = stage.row(**KINDS["stop"] | {"stop_price": "42500"})
    outcome = await stage.send(order)
    if stage.wire == "binance":
        assert (outcome.kind, outcome.code) == (OutcomeKind.REJECTED, Code.WOULD_TRIGGER)
        assert stage.exchange.received == []
    else:
        assert outcome.kind is OutcomeKind.ACCEPTED
        found = await shown(stage)
        assert (found.state, found.triggered, found.filled) == (OrderState.FILLED, True, D("0.1"))


async def test_without_the_coins_it_is_refused(stage):
    outcome = await stage.send(stage.row(**KINDS["stop"] | {"quantity": "60"}))
    assert (outcome.kind, outcome.code) == (OutcomeKind.REJECTED, Code.INSUFFICIENT_FUNDS)
    assert stage.exchange.received == []


@pytest.mark.parametrize("stage", ["binance"], indirect=True)
async def test_binance_takes_five_of_a_symbol(stage):
    for number in range(5):
        await place(stage, order_id=numbered(number))
    outcome = await stage.send(stage.row(numbered(6), **KINDS["stop"]))
    assert (outcome.kind, outcome.code) == (OutcomeKind.REJECTED, Code.VENUE_REJECTED)
    assert "MAX_NUM_ALGO_ORDERS" in outcome.reason
