"""The executor is killed behind each step of a protective stop's life; the next one finds what rests, and places what does not."""

import pytest

from holdfast.contracts.codes import ExitReason, OrderState, Role
from holdfast.contracts.messages import OrderReserve
from tests.venue._stage import quote
from tests.venue._world import D, live_world
from tests.venue.test_kill import Killed, is_fill

PLACING = range(2, 9)
TRIGGERED = range(9, 12)
NEVER_SENT = {2, 3, 4}
"""Where it was reserved and had not left: it ends as never sent, and another one takes its place."""


def is_stop(message):
    order = message.order if isinstance(message, OrderReserve) else None
    return order is not None and order.role is Role.PROTECT


def resting(world):
    return [algo.ask for algo in world.exchange.algos.values() if algo.is_open]


async def proposed(world):
    """A position is open, and its stop is on the bus: step 2."""
    await world.give(world.buy("0.1", stop_loss="41000"))
    for _ in range(40):
        if any(is_stop(message) for _, message in world.bus):
            return
        await world.deliver()
        if not world.bus:
            await world.time()
    raise AssertionError("no stop was proposed")


async def hear(world, updates):
    for update in updates:
        world.view.apply(update)
    return await world.executor.on_updates(updates)


async def dies_at_the_socket(world, updates, *, behind):
    fetch = world.clients.leave.fetch

    async def last_words(*request, **named):
        if behind:
            await fetch(*request, **named)
        raise Killed

    world.clients.leave.fetch = last_words
    try:
        with pytest.raises(Killed):
            await hear(world, updates)
    finally:
        world.clients.leave.fetch = fetch


async def placed_until(world, step):
    """As far as *step*, and not further."""
    await proposed(world)
    if step == 2:
        return
    updates = await world.deliver(to_executor=False)
    if step in {4, 5}:
        await dies_at_the_socket(world, updates, behind=step == 5)
    elif step >= 6:
        outputs = await hear(world, updates)
        world.clock.now += 200
        if step >= 7:
            outputs += await world.executor.on_time()
        if step == 8:
            world.publish(outputs)


async def triggered_until(world, step):
    await proposed(world)
    await world.settle()
    await world.pass_time(2_000)
    assert len(resting(world)) == 1
    quote(world.server, "40990", "40990.1")
    world.clock.now += 5_000
    outputs = await world.executor.on_time()
    assert any(map(is_fill, outputs))
    if step >= 10:
        world.publish(outputs)
    if step == 11:
        await world.deliver(to_executor=False)


async def next_life(world, *, wiped):
    if wiped:
        world.bus.clear()
    await world.start()
    await world.settle()
    await world.pass_time(40_000, step=1_000)
    assert world.held() == world.ours()
    assert world.recorded_trades() == {str(trade.number) for trade in world.exchange.trades}
    assert [row.intent_id for row in world.ledger.known.intents.values() if row.intent_id[:2] == "v-" and not row.is_final] == [
        row.intent_id for row in world.ledger.state.orders.values()
    ]  # fmt: skip
    assert world.executor.heartbeat()["unreadable"] is None


@pytest.mark.parametrize("wiped", [False, True], ids=["", "wiped"])
@pytest.mark.parametrize("step", PLACING)
async def test_killed_while_placing_there_is_one_stop_and_it_was_sent_once(step, wiped):
    async with live_world(protect="both") as world:
        await placed_until(world, step)
        await next_life(world, wiped=wiped)
        (ask,) = resting(world)
        (row,) = world.ledger.state.orders.values()
        assert (row.order_id, row.state, row.stop_price) == (ask.client_id, OrderState.OPEN, D(41000))
        names = [sent.client_id for sent in world.exchange.received if sent.trigger is not None]
        assert len(names) == len(set(names)) == 1
        stops = [one for one in world.ledger.known.orders.values() if one.role is Role.PROTECT]
        never = step in NEVER_SENT and not (wiped and step == 2)
        assert len(stops) == (2 if never else 1)


@pytest.mark.parametrize("wiped", [False, True], ids=["", "wiped"])
@pytest.mark.parametrize("step", TRIGGERED)
async def test_killed_while_its_fill_is_told_the_position_ends_as_what_it_was(step, wiped):
    async with live_world(protect="both") as world:
        await triggered_until(world, step)
        await next_life(world, wiped=wiped)
        assert world.held() == {}
        assert world.ledger.state.orders == {}
        (trade,) = [trade for update in world.ledger.updates for trade in update.trades]
        assert (trade.exit_reason, trade.exit_price) == (ExitReason.EXIT_ON_VENUE, D("40990"))


@pytest.mark.parametrize("step", range(2, 9))
async def test_killed_while_replacing_there_was_never_none_and_never_a_third(step):
    async with live_world(protect="both") as world:
        await proposed(world)
        await world.settle()
        await world.pass_time(7_000)
        counts, place, cancel = [], world.exchange.place_conditional, world.exchange.cancel_conditional

        def noted(act):
            def then(*given):
                found = act(*given)
                counts.append(len(resting(world)))
                return found

            return then

        world.exchange.place_conditional, world.exchange.cancel_conditional = noted(place), noted(cancel)
        (position,) = world.ledger.state.positions.values()
        said = world.move_of(position, "41500")
        update, _ = world.ledger.record(said)
        world.publish(await hear(world, [update]))
        assert any(is_stop(message) for _, message in world.bus)
        if step > 2:
            updates = await world.deliver(to_executor=False)
            if step in {4, 5}:
                await dies_at_the_socket(world, updates, behind=step == 5)
            elif step >= 6:
                outputs = await hear(world, updates)
                world.clock.now += 200
                if step >= 7:
                    outputs += await world.executor.on_time()
                if step == 8:
                    world.publish(outputs)
                    await world.deliver(to_executor=False)
        await next_life(world, wiped=False)
        assert [str(ask.trigger) for ask in resting(world)] == ["41500"]
        assert set(counts) == {1, 2}
