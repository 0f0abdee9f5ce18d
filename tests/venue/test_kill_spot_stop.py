"""On spot: the executor is killed behind each step of a stop's life, and of an exit that has the stop give way. No coin is sold twice."""

import pytest

from holdfast.contracts.codes import OrderState, Role
from tests.venue._run_stops import SpotStops
from tests.venue._world import D, live_world
from tests.venue.test_kill import Killed, is_fill
from tests.venue.test_kill_stop import hear, placed_until, proposed

LEAVING = range(1, 11)
"""1 the exit was read; 2 published; 3 the ledger has asked for the stop's cancel; 4 that went to the socket; 5 the exchange has done it;
6 its end was read; 7 told; 8 the exit, proposed again, is reserved; 9 it was sent; 10 its fill was read."""


def at_venue(world):
    return [order.ask for order in world.watch.sales()]


async def next_life(world, *entries, wiped=False):
    if wiped:
        world.bus.clear()
    await world.start()
    if entries:
        await world.give_exits(*entries)
    await world.settle()
    await world.pass_time(30_000, step=1_000)
    assert world.watch.wrong == []
    assert world.held() == world.ours()
    assert world.exchange.coins["BTC"] - sum(world.held().values(), D(0)) == 3
    assert world.venue_trades() == {one for one in world.recorded_trades() if not one.startswith("dust")}
    assert world.executor.heartbeat()["unreadable"] is None


async def dies_in(world, updates, call, *, behind):
    """The executor hears *updates*, and dies in a request of that kind."""
    fetch = world.clients.leave.fetch

    async def last_words(*request, **named):
        if named.get("method", request[1] if len(request) > 1 else "") != call:
            return await fetch(*request, **named)
        if behind:
            await fetch(*request, **named)
        raise Killed

    world.clients.leave.fetch = last_words
    try:
        with pytest.raises(Killed):
            await hear(world, updates)
    finally:
        world.clients.leave.fetch = fetch


def with_coins(world):
    world.server.venue.dialect.adjust({"coins": {"BTC": "3"}})
    world.watch = SpotStops(world, [])


@pytest.mark.parametrize("wiped", [False, True], ids=["", "wiped"])
@pytest.mark.parametrize("step", range(2, 9))
async def test_killed_while_placing_there_is_one_stop_and_it_was_sent_once(step, wiped):
    async with live_world("binance", protect="venue") as world:
        with_coins(world)
        await placed_until(world, step)
        await next_life(world, wiped=wiped)
        (ask,) = at_venue(world)
        (row,) = world.ledger.state.orders.values()
        assert (row.order_id, row.state, ask.trigger) == (ask.client_id, OrderState.OPEN, D(41000))
        names = [sent.client_id for sent in world.exchange.received if sent.trigger is not None]
        assert len(names) == len(set(names)) == 1


async def leaving_until(world, step):
    """As far as *step*, and not further; what was published is on the bus."""
    outputs = await world.executor.on_exits([world.close(id="out")])
    if step == 1:
        return
    world.publish(outputs)
    if step == 2:
        return
    updates = await world.deliver(to_executor=False)
    if step in {4, 5}:
        await dies_in(world, updates, "DELETE", behind=step == 5)
    elif step >= 6:
        outputs = await hear(world, updates)
        for _ in range(10):
            if any(getattr(getattr(out, "message", None), "status", None) == "canceled" for out in outputs):
                break
            world.clock.now += 200
            outputs += await world.executor.on_time()
        else:
            raise AssertionError("the stop's end was not told")
        if step >= 7:
            world.publish(outputs)
            updates = await world.deliver(to_executor=False)
        if step >= 8:
            world.publish(await hear(world, updates))
            updates = await world.deliver(to_executor=False)
            assert [row.role for row in world.ledger.state.orders.values()] == [Role.EXIT]
        if step >= 9:
            outputs = await hear(world, updates)
        if step >= 10:
            world.clock.now += 500
            outputs += await world.executor.on_time()
            assert any(map(is_fill, outputs))


@pytest.mark.parametrize("lost", [False, True], ids=["", "lost"])
@pytest.mark.parametrize("step", LEAVING)
async def test_killed_while_an_exit_has_the_stop_give_way(step, lost):
    async with live_world("binance", protect="venue") as world:
        with_coins(world)
        await proposed(world)
        await world.settle()
        await world.pass_time(2_000)
        held = world.ours()["BTC/USDT"]
        await leaving_until(world, step)
        again = [] if lost else [world.close(id="out")]
        await next_life(world, *again, wiped=lost)
        sold = sum((one.quantity for one in world.exchange.trades if one.side == "SELL"), D(0))
        if world.ours():
            (ask,) = at_venue(world)
            assert lost or step == 8, (
                "reserved by one that is dead, so never sent: whoever wants to be out asks again"
            )
            assert (sold, ask.trigger) == (0, D(41000))
        else:
            assert (at_venue(world), 0 <= held - sold < D("0.00001")) == ([], True)
            assert not lost or step >= 9
