"""For what an exit on spot waits, and for how long: never for a read that does not come, and never for ever."""

import asyncio

from holdfast.contracts.messages import OrderReserve
from tests.venue._spot import CANCEL
from tests.venue._world import D, live_world
from tests.venue.test_spot_protection import at_rest, guarded, opened, ours, price, stops
from venue_sim.faults import Fault, Kind


async def test_while_the_lane_hangs_in_a_read_an_exit_is_proposed_all_the_same():
    async with guarded("binance") as world:
        await opened(world)
        await world.move_stop(ours(world), D("41200"))
        await world.pass_time(
            8_000, step=500
        )  # the stop has moved: coins were freed, and the balance is of before
        world.executor.lanes["main", "binance"] = asyncio.Event()
        await world.give_exits(world.close(id="out"))
        assert world.of(OrderReserve) == [], "how much is free is read first"
        for _ in range(8):
            await world.time()
        assert "out" in [reserve.intent_id for reserve in world.of(OrderReserve)]


async def test_while_the_ledger_is_silent_the_bus_is_not_filled_with_an_exit_that_may_wait():
    async with guarded("binance") as world:
        await opened(world)
        await world.give_exits(world.close(id="out"))
        for _ in range(300):
            await world.time(400)
        asked = [reserve for reserve in world.of(OrderReserve) if reserve.intent_id == "out"]
        assert 20 < len(asked) < 40
        world.executor.desk.start_again()
        await world.time(400)
        assert (
            len([reserve for reserve in world.of(OrderReserve) if reserve.intent_id == "out"])
            == len(asked) + 1
        )


async def test_what_has_moved_of_another_coin_holds_no_exit_up():
    async with guarded("binance") as world:
        await opened(world)
        await world.move_stop(ours(world), D("41200"))
        await world.pass_time(8_000, step=500)
        coins = world.executor.reconciler.coins
        assert coins.must_look(("main", "binance"), "BTC/USDT")
        assert not coins.must_look(("main", "binance"), "ETH/USDT")


async def test_our_own_exit_that_waits_goes_on_with_a_higher_epoch():
    """A snapshot may be older than the executor before us: our epoch is raised when the updates show it."""
    async with guarded("binance", protect_order="limit", escalate_after_s=5) as world:
        await opened(world)
        price(world, "41000", "0.03")
        price(world, "40000")
        world.server.venue.faults.arm(Fault(Kind.BAD_GATEWAY_BEFORE, *CANCEL["binance"], times=10_000))
        await world.pass_time(10_000, step=500)
        (waits,) = world.executor.desk.pending.values()
        assert waits.remake is not None
        world.ledger.state.executors["main"] = 5
        world.executor.intake.epochs["main"] = 6
        world.executor.desk.raise_epoch("main", 6)
        world.server.venue.faults.clear()
        await world.pass_time(10_000, step=500)
        assert (world.executor.desk.pending, stops(world)) == ({}, [])
        at_rest(world)


async def test_switches_that_do_not_answer_are_waited_for_together():
    async with live_world(dead_man_s=30) as world:
        for symbol, at in (("BTC/USDT", "41000"), ("ETH/USDT", "2000")):
            await world.give(world.buy("0.1", symbol, type="limit", price=at))
        await world.settle()
        asked, answered = [], asyncio.Event()

        async def silent(symbol, ms):
            asked.append(symbol)
            await answered.wait()

        world.venue.cancel_after = silent
        world.clock.now += 20_000
        waiting = asyncio.ensure_future(
            world.executor.resting.dead_man.run(list(world.executor.guard.remotes))
        )
        for _ in range(5):
            await asyncio.sleep(0)
        assert sorted(asked) == ["BTC/USDT", "ETH/USDT"]
        answered.set()
        await waiting
