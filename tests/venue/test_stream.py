"""The user's stream: an event makes an order be asked about at once; whatever becomes of the stream, nothing is lost."""

import asyncio
from decimal import Decimal

import pytest

from holdfast.contracts.codes import OrderState
from tests.venue._stage import KINDS, HandClock, ccxt_venue, quote, row, until, venue
from venue_sim.faults import Fault, Kind


@pytest.fixture
async def stage():
    clock = HandClock()
    async with venue(clock) as server, ccxt_venue(server, clock) as adapter:
        adapter.follow()
        await until(lambda: server.listeners)
        yield server, adapter, clock


async def rests(adapter, clock, order_id="h1"):
    """A limit order that has been asked about so often that its next turn is seconds away."""
    await adapter.submit([row(order_id, clock=clock, type="limit", price="41000")], now_ms=clock.now)
    for _ in range(3):
        await adapter.poll(now_ms=clock.now)
        clock.now += 500
    await adapter.poll(now_ms=clock.now)
    assert (await adapter.poll(now_ms=clock.now)).fills == []


async def fills_now(server, adapter, clock):
    """The price comes to the order; its fill is told without any time passing."""
    quote(server, "40999", "40999.5")
    await server._send_events()
    found = []

    async def polled():
        found.extend((await adapter.poll(now_ms=clock.now)).fills)
        return found

    for _ in range(400):
        if await polled():
            return found
        await clock.sleep(1)
    raise AssertionError("the event led to no question")


async def test_a_fill_is_asked_for_when_the_stream_names_its_order(stage):
    server, adapter, clock = stage
    await rests(adapter, clock)
    (fill,) = await fills_now(server, adapter, clock)
    assert (fill.order_id, str(fill.quantity)) == ("h1", "0.1")


async def test_a_stop_that_somebody_canceled_is_told_at_once_too(stage):
    server, adapter, clock = stage
    order = row(clock=clock, **KINDS["stop"])
    await adapter.submit([order], now_ms=clock.now)
    adapter.take_row(order.evolve(state=OrderState.OPEN))
    await until(lambda: adapter.stream.trouble is None)
    for _ in range(4):
        await adapter.poll(now_ms=clock.now)
        clock.now += 500
    server.venue.exchange.cancel_conditionals("BTCUSDT")
    await server._send_events()
    told = []
    for _ in range(400):
        told = (await adapter.poll(now_ms=clock.now)).orders
        if told:
            break
        await clock.sleep(1)
    assert [(one.order_id, one.state) for one in told] == [("h1", OrderState.CANCELED)]


async def test_after_the_listen_key_has_expired_it_connects_with_a_new_one(stage):
    server, adapter, clock = stage
    keys = server.venue.log.count(("POST", "/fapi/v1/listenKey"))
    await server.expire_listen_key()
    await until(lambda: server.venue.log.count(("POST", "/fapi/v1/listenKey")) > keys and server.listeners)
    await rests(adapter, clock)
    assert len(await fills_now(server, adapter, clock)) == 1


async def test_without_any_stream_the_fill_is_found_a_few_seconds_later(stage):
    server, adapter, clock = stage
    await adapter.stream.stop()
    server.venue.faults.arm(Fault(Kind.BAD_GATEWAY, "POST", "/listenKey", times=100))
    await rests(adapter, clock)
    quote(server, "40999", "40999.5")
    assert (await adapter.poll(now_ms=clock.now)).fills == []
    clock.now += 5_000
    assert [fill.order_id for fill in (await adapter.poll(now_ms=clock.now)).fills] == ["h1"]


async def test_listening_to_an_account_that_holds_a_position_fails_nowhere_in_the_background():
    clock, failed = HandClock(), []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: failed.append(context["message"]))
    async with venue(clock) as server, ccxt_venue(server, clock) as adapter:
        server.venue.exchange.by_hand("BTCUSDT", "BUY", Decimal("0.1"))
        adapter.follow()
        await until(lambda: server.listeners)
        await rests(adapter, clock)
        assert len(await fills_now(server, adapter, clock)) == 1
    assert failed == []
    assert ("GET", "/fapi/v3/positionRisk") not in server.venue.log, (
        "nobody needs ccxt's own copy of the positions"
    )
