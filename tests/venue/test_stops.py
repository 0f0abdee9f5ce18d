"""A stop at the venue through real ccxt: placed, read back, canceled, triggered, and its trades under our id."""

from dataclasses import replace

import pytest

from holdfast.contracts.codes import Code, OrderState
from holdfast.venues.port import OutcomeKind, VenueUnreadable
from tests.venue._stage import KINDS, D, HandClock, ccxt_venue, quote, row, venue
from venue_sim.faults import Fault, Kind


@pytest.fixture
async def stage():
    clock = HandClock()
    async with venue(clock) as server, ccxt_venue(server, clock) as adapter:
        server.venue.exchange.by_hand("BTCUSDT", "BUY", D("0.1"), "earlier")
        server.venue.exchange.received.clear()
        yield server, adapter, clock


async def place(adapter, clock, kind="stop", **fields):
    order = row(clock=clock, **KINDS[kind] | fields)
    (outcome,) = await adapter.submit([order], now_ms=clock.now)
    assert outcome.kind is OutcomeKind.ACCEPTED, outcome.reason
    order = order.evolve(state=OrderState.OPEN, venue_order_id=outcome.venue_order_id)
    adapter.take_row(order)
    return order


async def test_it_rests_where_conditional_orders_live_and_is_read_back_from_there(stage):
    server, adapter, clock = stage
    await place(adapter, clock)
    (algo,) = server.venue.exchange.algos.values()
    assert (algo.ask.type, algo.ask.trigger, algo.ask.reduce_only) == ("STOP_MARKET", D(41000), True)
    assert server.venue.exchange.orders[max(server.venue.exchange.orders)].ask.client_id == "earlier"
    shown = (await adapter.look_up(["h1"]))["h1"]
    assert (shown.state, shown.filled, shown.triggered) == (OrderState.OPEN, 0, False)
    assert [order.order_id for order in await adapter.open_orders()] == ["h1"]


async def test_its_cancel_goes_to_the_same_place(stage):
    _server, adapter, clock = stage
    order = await place(adapter, clock)
    (outcome,) = await adapter.cancel([order], now_ms=clock.now)
    assert outcome.kind is OutcomeKind.ACCEPTED
    assert (await adapter.look_up(["h1"]))["h1"].state is OrderState.CANCELED
    (outcome,) = await adapter.cancel([order], now_ms=clock.now)
    assert (outcome.kind, outcome.code) == (OutcomeKind.REJECTED, Code.NO_SUCH_ORDER)


async def test_one_that_somebody_canceled_is_told_by_polling(stage):
    server, adapter, clock = stage
    await place(adapter, clock)
    await adapter.poll(now_ms=clock.now)
    server.venue.exchange.cancel_conditionals("BTCUSDT")
    clock.now += 5_000
    events = await adapter.poll(now_ms=clock.now)
    assert [(order.order_id, order.state) for order in events.orders] == [("h1", OrderState.CANCELED)]


async def test_what_it_becomes_has_another_number_and_name_and_its_trades_are_ours(stage):
    server, adapter, clock = stage
    await place(adapter, clock)
    quote(server, "40990", "40990.1", size="0.04")
    clock.now += 5_000
    events = await adapter.poll(now_ms=clock.now)
    assert [(fill.order_id, str(fill.quantity)) for fill in events.fills] == [
        ("h1", "0.04"), ("h1", "0.04"), ("h1", "0.02")
    ]  # fmt: skip
    assert [(order.order_id, order.triggered) for order in events.orders] == [("h1", True)]
    since = await adapter.trades_since(clock.now - 60_000)
    assert [fill.order_id for fill in since if fill.side == "sell"] == ["h1"] * 3


@pytest.mark.parametrize("live", [True, False], ids=["live in the ledger", "ended in the ledger"])
async def test_another_process_that_reads_the_trades_finds_whose_they_are(stage, live):
    server, adapter, clock = stage
    order = await place(adapter, clock)
    quote(server, "40990", "40990.1")
    async with ccxt_venue(server, clock) as other:
        if live:
            other.take_row(order)
        fills = await other.trades_since(clock.now - 60_000)
    assert [(fill.order_id, fill.side.value) for fill in fills] == [("earlier", "buy"), ("h1", "sell")]


async def test_a_stop_of_somebody_else_stays_his(stage):
    server, adapter, clock = stage
    await place(adapter, clock)
    given = {"clientOrderId": "web_stop", "stopLossPrice": "41500", "reduceOnly": True}
    await adapter.clients.leave.create_order("BTC/USDT:USDT", "market", "sell", "0.02", None, given)
    assert sorted(order.order_id for order in await adapter.open_orders()) == ["h1", "web_stop"]
    quote(server, "41400", "41400.1")
    (trade,) = [fill for fill in await adapter.trades_since(clock.now - 1) if fill.side == "sell"]
    assert trade.order_id == "web_stop"


async def test_a_stop_limit_that_has_triggered_and_waits_is_shown_as_ours_and_can_be_canceled(stage):
    server, adapter, clock = stage
    order = await place(adapter, clock, "stop-limit")
    quote(server, "40500", "40500.1")
    clock.now += 5_000
    shown = (await adapter.look_up(["h1"]))["h1"]
    assert (shown.state, shown.triggered, shown.filled) == (OrderState.OPEN, True, 0)
    assert [one.order_id for one in await adapter.open_orders()] == ["h1"]
    (outcome,) = await adapter.cancel([order], now_ms=clock.now)
    assert outcome.kind is OutcomeKind.ACCEPTED
    assert (await adapter.look_up(["h1"]))["h1"].state is OrderState.CANCELED


async def test_one_whose_order_is_not_shown_yet_is_not_judged(stage):
    """Between the trigger and the moment at which its order can be read, "closed with nothing filled" would be wrong."""
    server, adapter, clock = stage
    await place(adapter, clock)
    server.venue.exchange.hidden_until = clock.now + 4_000
    quote(server, "40990", "40990.1")
    with pytest.raises(VenueUnreadable, match="not shown yet"):
        await adapter.look_up(["h1"])
    clock.now += 5_000
    assert (await adapter.look_up(["h1"]))["h1"].state is OrderState.FILLED


async def test_one_that_finds_nothing_to_close_ends_without_a_fill(stage):
    server, adapter, clock = stage
    await place(adapter, clock)
    server.venue.exchange.by_hand("BTCUSDT", "SELL", D("0.1"))
    quote(server, "40990", "40990.1")
    shown = (await adapter.look_up(["h1"]))["h1"]
    assert (shown.state, shown.filled) == (OrderState.REJECTED, 0)


async def test_one_that_is_cut_to_what_is_held_has_ended_with_less(stage):
    server, adapter, clock = stage
    await place(adapter, clock)
    server.venue.exchange.by_hand("BTCUSDT", "SELL", D("0.04"))
    quote(server, "40990", "40990.1")
    shown = (await adapter.look_up(["h1"]))["h1"]
    assert (shown.state, shown.code, shown.filled) == (OrderState.EXPIRED, Code.UNFILLED, D("0.06"))


@pytest.mark.parametrize("path", ["/fapi/v1/algoOrder", "/fapi/v1/openAlgoOrders", "/fapi/v1/allAlgoOrders"])
async def test_a_look_up_that_fails_is_no_evidence(stage, path):
    server, adapter, clock = stage
    adapter.take_row(row(clock=clock, **KINDS["stop"]))
    clock.now += 30_000
    for fault in (Kind.RESET, Kind.HTML, Kind.EMPTY, Kind.BAD_GATEWAY):
        server.venue.faults.arm(Fault(fault, "GET", path, times=10))
        for _ in range(2):
            clock.now += 3_000
            with pytest.raises(VenueUnreadable):
                await adapter.look_up(["h1"])
        server.venue.faults.clear()
    clock.now += 3_000
    assert await adapter.look_up(["h1"]) == {}
    clock.now += 3_000
    assert await adapter.look_up(["h1"]) == {"h1": None}


async def test_in_hedge_mode_it_guards_its_own_leg():
    clock = HandClock()
    async with venue(clock) as server, ccxt_venue(server, clock, hedged=True) as adapter:
        server.venue.exchange.account.hedged = True
        long, short = row("h1", clock=clock, leg="long"), row("h2", clock=clock, side="sell", leg="short")
        await adapter.submit([long, short], now_ms=clock.now)
        await place(adapter, clock, order_id="h3", leg="long")
        quote(server, "40990", "40990.1")
        held = {position.leg.value: position.quantity for position in await adapter.positions()}
        assert held == {"short": D("-0.1")}


async def test_where_no_stop_may_rest_none_is_sent(stage):
    server, adapter, clock = stage
    adapter.capability = replace(adapter.capability, rests_stops=False)
    (outcome,) = await adapter.submit([row(clock=clock, **KINDS["stop"])], now_ms=clock.now)
    assert (outcome.kind, outcome.code) == (OutcomeKind.REJECTED, Code.NO_REDUCE_ONLY)
    assert server.venue.exchange.received == []
