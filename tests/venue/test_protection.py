"""Stops at the venue, end to end: executor, ledger's decisions, real ccxt, the simulated venue's own record.

`Record` looks at the venue itself after every request: at no moment without a stop, never more than two.
"""

import pytest

from holdfast.contracts.codes import ExitReason, OrderState, Role
from tests.venue._stage import quote
from tests.venue._world import D, live_world
from venue_sim.faults import Fault, Kind


class Record:
    """How many stops were open at the venue, after each change of one."""

    def __init__(self, exchange):
        self.exchange, self.counts = exchange, []
        place, cancel, trigger = exchange.place_conditional, exchange.cancel_conditional, exchange._trigger

        def noted(act):
            def then(*given):
                found = act(*given)
                self.counts.append(len(self.open()))
                return found

            return then

        exchange.place_conditional, exchange.cancel_conditional = noted(place), noted(cancel)
        exchange._trigger = noted(trigger)

    def open(self):
        return [algo.ask for algo in self.exchange.algos.values() if algo.is_open]


async def opened(world, quantity="0.1", **fields):
    """A position, and its stop at the venue."""
    record = Record(world.exchange)
    await world.give(world.buy(quantity, **{"stop_loss": "41000"} | fields))
    await world.settle()
    await world.pass_time(1_500)
    return record


async def move_stop(world, level):
    (position,) = world.ledger.state.positions.values()
    await world.move_stop(position, level)


def trades(world):
    return [trade for update in world.ledger.updates for trade in update.trades]


def stops(world):
    return [row for row in world.ledger.state.orders.values() if row.role is Role.PROTECT]


async def test_a_stop_rests_at_the_venue_two_hops_after_the_fill():
    async with live_world(protect="both") as world:
        record = await opened(world)
        (ask,) = record.open()
        assert (ask.side, ask.quantity, ask.trigger, ask.reduce_only) == ("SELL", D("0.1"), D(41000), True)
        (row,) = stops(world)
        assert (row.state, row.order_id) == (OrderState.OPEN, ask.client_id)
        assert world.executor.heartbeat()["warnings"] == []


async def test_a_short_is_guarded_from_above():
    async with live_world(protect="both") as world:
        record = Record(world.exchange)
        await world.give(world.sell("0.1", stop_loss="43000"))
        await world.settle()
        await world.pass_time(1_500)
        (ask,) = record.open()
        assert (ask.side, ask.trigger) == ("BUY", D(43000))


async def test_it_follows_the_stop_loss_without_a_gap_and_without_piling_up():
    async with live_world(protect="both") as world:
        record = await opened(world)
        for level in ("41200", "41300", "41400", "41500"):
            await move_stop(world, level)
            await world.pass_time(7_000, step=200)
            assert [str(ask.trigger) for ask in record.open()] == [level]
        assert set(record.counts) == {1, 2}
        assert len(world.exchange.algos) == 5


async def test_a_small_move_is_no_reason():
    async with live_world(protect="both") as world:
        record = await opened(world)
        await move_stop(world, "41030")
        await world.pass_time(7_000)
        assert [str(ask.trigger) for ask in record.open()] == ["41000"]


async def test_it_is_resized_when_the_position_grows_and_when_it_shrinks():
    async with live_world(protect="both") as world:
        record = await opened(world)
        await world.give(world.buy("0.2", stop_loss="41000"))
        await world.settle()
        await world.pass_time(4_000)
        assert [str(ask.quantity) for ask in record.open()] == ["0.3"]
        await world.give_exits(world.close(quantity="0.25"))
        await world.settle()
        await world.pass_time(4_000)
        assert [str(ask.quantity) for ask in record.open()] == ["0.05"]
        assert set(record.counts) == {1, 2}


async def test_where_few_buy_what_is_left_is_sold_as_they_come():
    async with live_world(protect="both") as world:
        await opened(world)
        quote(world.server, "40990", "40990.1", size="0.001")  # ten levels: 0.01 at a time
        await world.pass_time(25_000, step=500)
        assert (world.ours(), world.held()) == ({}, {})


async def test_the_price_crosses_while_everything_is_dead():
    async with live_world(protect="both") as world:
        await opened(world)
        world.clock.now += 1_800_000
        quote(world.server, "40990", "40990.1")
        crossed = world.clock.now
        world.clock.now += 3_600_000
        world.bus.clear()
        await world.start()
        await world.settle()
        await world.pass_time(3_000)
        assert world.ours() == world.held() == {}
        (trade,) = trades(world)
        assert (trade.exit_reason, trade.exit_price, trade.closed_at) == (
            ExitReason.EXIT_ON_VENUE,
            D("40990"),
            crossed,
        )
        assert (trade.trigger_level, trade.trigger_at) == (D(41000), crossed)
        assert world.ledger.state.orders == {}
        assert world.recorded_trades() == {str(one.number) for one in world.exchange.trades}
        assert list(world.ledger.state.quarantine) == []


async def test_one_that_was_canceled_by_hand_is_placed_again():
    async with live_world(protect="both") as world:
        record = await opened(world)
        world.exchange.cancel_conditionals("BTCUSDT")
        await world.pass_time(8_000)
        (ask,) = record.open()
        assert (ask.trigger, ask.quantity) == (D(41000), D("0.1"))
        assert [row.order_id for row in stops(world)] == [ask.client_id]


async def test_it_goes_when_the_position_is_closed_by_hand_or_by_us():
    async with live_world(protect="both") as world:
        record = await opened(world)
        await world.give_exits(world.close())
        await world.settle()
        await world.pass_time(3_000)
        assert world.held() == world.ours() == {}
        assert record.open() == []
        assert stops(world) == []


@pytest.mark.parametrize("fault", [Kind.RESET, Kind.HTML, Kind.HIDDEN, Kind.RESET_BEFORE, Kind.BAD_GATEWAY])
async def test_one_without_a_clear_answer_counts_as_live_and_nothing_piles_up(fault):
    async with live_world(protect="both") as world:
        record = Record(world.exchange)
        world.clients.leave.timeout = 200
        world.venue._answer_ms = 200
        world.server.venue.faults.arm(Fault(fault, "POST", "/algoOrder", delay_ms=3_000))
        await world.give(world.buy("0.1", stop_loss="41000"))
        await world.settle()
        await world.pass_time(3_000, step=500)
        assert [row.state for row in stops(world)][:1] != [], "it is live, in whatever state"
        await world.pass_time(40_000, step=1_000)
        (ask,) = record.open()
        assert [row.order_id for row in stops(world)] == [ask.client_id]
        assert max(record.counts) == 1


async def test_a_refused_stop_whose_price_is_there_already_becomes_an_exit():
    async with live_world(protect="both") as world:
        record = Record(world.exchange)
        await world.give(world.buy("0.1", stop_loss="41000"))
        await world.deliver()
        quote(world.server, "40990", "40990.1")
        await world.settle()
        await world.pass_time(5_000)
        assert record.open() == []
        assert world.held() == world.ours() == {}
        assert trades(world)[-1].exit_reason is ExitReason.STOP_LOSS


async def test_a_stop_limit_that_triggers_and_does_not_fill_becomes_a_market_exit_after_some_seconds():
    async with live_world(protect="both", protect_order="limit", escalate_after_s=10) as world:
        record = await opened(world)
        (ask,) = record.open()
        assert (ask.type, ask.price) == ("STOP", D("40590"))
        quote(world.server, "40000", "40000.1")
        await world.pass_time(5_000)
        assert world.held() == {"BTC/USDT": D("0.1")}, "its limit is 40590"
        await world.pass_time(14_000)
        assert world.held() == world.ours() == {}
        assert trades(world)[-1].exit_reason is ExitReason.STOP_LOSS
        assert world.ledger.state.orders == {}


async def test_where_the_scanner_watches_alone_nothing_rests_and_what_rested_is_taken_away():
    async with live_world(protect="both") as world:
        record = await opened(world)
        world.configure(protect="scanner")
        await world.start()
        await world.settle()
        await world.pass_time(4_000)
        assert record.open() == []
        assert stops(world) == []
        await world.pass_time(20_000, step=1_000)
        assert len(world.exchange.algos) == 1


async def test_a_position_whose_stop_cannot_be_placed_is_told():
    async with live_world(protect="both") as world:
        world.server.venue.faults.arm(Fault(Kind.RATE_LIMITED, "POST", "/algoOrder", times=100))
        await world.give(world.buy("0.1", stop_loss="41000"))
        await world.settle()
        await world.pass_time(14_000, step=1_000)
        warnings = world.executor.heartbeat()["warnings"]
        assert [text for text in warnings if "no stop rests at the venue" in text] != []
        world.server.venue.faults.clear()
        await world.pass_time(30_000, step=1_000)
        assert world.executor.heartbeat()["warnings"] == []


async def test_a_market_exit_and_the_stop_at_the_same_moment_end_cleanly():
    async with live_world(protect="both") as world:
        record = await opened(world)
        await world.give_exits(world.close(reason="stop_loss"))
        updates = await world.deliver(to_executor=False)
        quote(world.server, "40990", "40990.1")
        await world.hear(updates)
        await world.settle()
        await world.pass_time(8_000)
        assert world.held() == world.ours() == {}
        assert (record.open(), world.ledger.state.orders) == ([], {})
        assert world.executor.heartbeat()["unreadable"] is None
        assert len(trades(world)) == 1
