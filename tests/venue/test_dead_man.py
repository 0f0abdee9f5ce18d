"""Entries that rest while nobody is here: the exchange's dead man's switch, set, set anew, taken back; and `good_till`."""

from dataclasses import replace

import pytest

from holdfast.contracts.codes import Code, OrderState
from tests.venue._stage import BITCOIN, quote
from tests.venue._world import D, live_world
from venue_sim.faults import Fault, Kind

FUTURES, KRAKEN = "binanceusdm", "kraken"
WIRES = {FUTURES: ("/countdownCancelAll", "BTCUSDT"), KRAKEN: ("/CancelAllOrdersAfter", "")}
BOTH = pytest.mark.parametrize("wire", WIRES)


async def resting(world, symbol="BTC/USDT", price="41000", **fields):
    """An entry that waits at the venue."""
    await world.give(world.buy("0.1", symbol, type="limit", price=price, **fields))
    await world.settle()
    await world.pass_time(600)
    return [order for order in world.exchange.orders.values() if order.is_open]


def countdowns(world):
    """What the venue counts down: by its symbol, in seconds from now."""
    return {name: (until - world.clock.now) / 1000 for name, until in world.exchange.countdowns.items()}


def asked(world, wire):
    return sum(path.endswith(WIRES[wire][0]) for _, path in world.server.venue.log)


@BOTH
async def test_an_entry_whose_executor_has_died_is_canceled_by_the_exchange(wire):
    async with live_world(wire, dead_man_s=30) as world:
        (order,) = await resting(world)
        assert countdowns(world).keys() == {WIRES[wire][1]}
        world.clock.now += 31_000  # nobody is here
        quote(world.server, "40900", "40900.1", symbol=BITCOIN[wire])  # what would have filled it
        assert (order.status, order.filled) == ("CANCELED", 0)
        world.clock.now += 3_600_000
        await world.start()
        await world.pass_time(1_000)
        assert world.ledger.state.orders == {}
        (row,) = world.ledger.known.orders.values()
        assert row.state is OrderState.CANCELED
        assert row.code is None, "another life has set it: who canceled is not proven"
        assert "not by us; its dead man's switch stands at 30 s" in row.evidence


@BOTH
async def test_while_the_executor_lives_the_entry_stays_and_the_exchange_is_told_at_a_third_of_the_time(wire):
    async with live_world(wire, dead_man_s=30) as world:
        (order,) = await resting(world)
        before = asked(world, wire)
        for _ in range(10):
            await world.price("42000")
            await world.pass_time(10_000, step=1_000)
        assert order.is_open
        assert asked(world, wire) - before in (9, 10)
        assert min(countdowns(world).values()) >= 19
        assert world.executor.heartbeat()["details"]["dead_man"] == "main " + (
            "BTC/USDT" if wire == FUTURES else "all"
        )


@BOTH
async def test_it_is_taken_back_when_no_entry_rests(wire):
    async with live_world(wire, dead_man_s=30) as world:
        await resting(world)
        await world.give(world.entry(action="cancel", symbol="BTC/USDT"))
        await world.settle()
        await world.pass_time(2_000)
        assert (world.ledger.state.orders, countdowns(world)) == ({}, {})
        assert world.executor.heartbeat()["details"]["dead_man"] == ""
        told = asked(world, wire)
        await world.pass_time(20_000, step=1_000)
        assert asked(world, wire) == told


async def test_market_entries_ask_for_nothing():
    async with live_world() as world:
        await world.give(world.buy("0.1"))
        await world.settle()
        await world.pass_time(1_000)
        assert world.ours() == {"BTC/USDT": D("0.1")}
        assert asked(world, FUTURES) == 0


async def test_another_symbol_is_left_alone():
    async with live_world(dead_man_s=30) as world:
        (ours,) = await resting(world)
        theirs = world.exchange.place(ours.ask.__class__("ETHUSDT", "BUY", "LIMIT", "by-hand", D(1), D(2000)))
        world.clock.now += 31_000
        await world.start()
        await world.pass_time(1_000)
        assert (ours.is_open, theirs.is_open) == (False, True)


async def test_what_this_executor_has_set_itself_and_could_not_set_anew_is_proven_and_has_a_code():
    async with live_world(dead_man_s=30) as world:
        (order,) = await resting(world)
        world.server.venue.faults.arm(Fault(Kind.RESET_BEFORE, times=10_000))
        for _ in range(7):
            await world.pass_time(5_000, step=2_500)
        assert any("dead man's switch of BTC/USDT" in text for text in world.executor.heartbeat()["warnings"])
        world.server.venue.faults.clear()
        await world.pass_time(8_000, step=1_000)
        assert not order.is_open
        (row,) = world.ledger.known.orders.values()
        assert (row.state, row.code) == (OrderState.CANCELED, Code.DEAD_MAN)
        assert not [text for text in world.executor.heartbeat()["warnings"] if "dead man" in text]


async def test_a_switch_that_cannot_be_set_is_told_and_stops_neither_entries_nor_exits():
    async with live_world(dead_man_s=30) as world:
        world.server.venue.faults.arm(Fault(Kind.BAD_GATEWAY_BEFORE, "POST", WIRES[FUTURES][0], times=10_000))
        await resting(world)
        beat = world.executor.heartbeat()
        assert any("main/binanceusdm: the dead man's switch of BTC/USDT" in text for text in beat["warnings"])
        assert beat["unreadable"] is None
        await world.give(world.buy("0.1"))
        await world.settle()
        await world.pass_time(1_000)
        await world.give_exits(world.close())
        await world.settle()
        await world.pass_time(1_000)
        assert [ask.reduce_only for ask in world.exchange.received][-2:] == [False, True]
        assert world.ours() == {}


async def test_a_market_that_is_gone_is_told_and_ends_nobody():
    async with live_world(dead_man_s=30) as world:
        await resting(world)
        del world.venue._theirs["BTC/USDT"]
        await world.price("42000")
        await world.pass_time(12_000, step=1_000)
        assert any("no such market" in text for text in world.executor.heartbeat()["warnings"])


async def test_a_stop_takes_it_back_before_it_could_be_hit():
    async with live_world(protect="both", dead_man_s=30) as world:
        await resting(world, stop_loss="30000")
        assert countdowns(world)
        await world.price("42000")
        await world.give(world.buy("0.1", stop_loss="30000"))
        await world.settle()
        await world.pass_time(2_000)
        assert [algo.ask.trigger for algo in world.exchange.algos.values() if algo.is_open] == [D(30000)]
        assert countdowns(world) == {}
        assert "a stop of BTC/USDT rests there" in world.executor.heartbeat()["details"]["dead_man"]


async def test_so_does_what_another_life_has_set():
    async with live_world(protect="both", dead_man_s=30) as world:
        await resting(world, stop_loss="30000")
        await world.price("42000")
        await world.give(world.buy("0.1", stop_loss="30000"))
        await world.settle()
        await world.pass_time(2_000)
        world.exchange.countdowns["BTCUSDT"] = world.clock.now + 30_000
        await world.start()
        await world.pass_time(600)
        assert countdowns(world) == {}


@BOTH
async def test_orders_of_others_stand_in_its_way(wire):
    async with live_world(wire, dead_man_s=30) as world:
        ask = (await resting(world))[0].ask
        await world.give(world.entry(action="cancel", symbol="BTC/USDT"))
        await world.settle()
        await world.pass_time(1_000)
        world.exchange.place(ask.__class__(BITCOIN[wire], "BUY", "LIMIT", "by-hand", D(1), D(40000)))
        await world.pass_time(61_000, step=5_000)
        await world.price("42000")
        await resting(world)
        assert countdowns(world) == {}
        assert "is not of this ledger" in world.executor.heartbeat()["details"]["dead_man"]


# -- good_till -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wire", [FUTURES, KRAKEN, "binance"])
async def test_an_entry_whose_time_has_come_is_canceled_and_told_as_expired(wire):
    async with live_world(wire) as world:
        (order,) = await resting(world, good_till=world.clock.now + 20_000)
        await world.pass_time(15_000, step=1_000)
        assert order.is_open
        till, explained, told = world.order().good_till, world.executor.resting.explained, []

        def behind(row, shown):
            told.append(shown.changed_at)
            return explained(row, replace(shown, changed_at=min(shown.changed_at, till - 900)))

        world.executor.dispatcher.explained = behind  # the exchange's clock is
        await world.pass_time(10_000, step=500)
        assert not order.is_open
        assert min(told) > 0
        (row,) = world.ledger.known.orders.values()
        assert (row.state, row.code) == (OrderState.EXPIRED, Code.UNFILLED)


@BOTH
async def test_where_the_exchange_keeps_the_time_itself_nobody_has_to_be_here(wire):
    async with live_world(wire) as world:
        till = world.clock.now + 700_000
        (order,) = await resting(world, good_till=till)
        assert order.ask.till == till // 1000 * 1000
        world.exchange.countdowns.clear()
        world.clock.now = till
        quote(world.server, "40900", "40900.1", symbol=BITCOIN[wire])
        assert (order.status, order.filled) == ("EXPIRED", 0)
        await world.start()
        await world.pass_time(1_000)
        (row,) = world.ledger.known.orders.values()
        assert (row.state, row.code) == (OrderState.EXPIRED, Code.UNFILLED)
