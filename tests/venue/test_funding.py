"""Funding on futures: booked to the position that was open, once, also when it came while nobody looked."""

from decimal import Decimal

import pytest

from holdfast.venues.port import VenueUnreadable
from tests.venue._stage import HandClock, ccxt_venue, venue
from tests.venue._world import D, live_world
from venue_sim.faults import Fault, Kind

DAY = 24 * 3_600_000


async def bought(world, quantity="0.1"):
    await world.price("42000")
    await world.give(world.buy(quantity))
    await world.settle()
    await world.pass_time(1_000)
    assert world.ours() == {"BTC/USDT": D(quantity)}


async def minutes(world, count=2):
    for _ in range(count):
        await world.price("42000")
        await world.pass_time(65_000, step=5_000)


def fund(world, rate="0.0001", symbol="BTCUSDT"):
    """What is paid: of 0.1 at 42,000.05, 0.42000050."""
    world.exchange.fund(symbol, D(rate))


def paid(world):
    return [
        fill.fee for update in world.ledger.updates for fill in update.fills if fill.kind.value == "funding"
    ]


def result(world):
    (row,) = world.ledger.state.positions.values()
    return row.realized_pnl


async def test_what_is_paid_is_booked_to_the_position_and_the_account_once():
    async with live_world() as world:
        await bought(world)
        before, cash = result(world), world.ledger.state.nav["main"].cash
        fund(world)
        await minutes(world)
        assert paid(world) == [D("0.4200005")]
        assert result(world) == before - D("0.4200005")
        assert world.ledger.state.nav["main"].cash == cash - D("0.4200005")
        await minutes(world)
        world.bus.clear()
        await world.reset()
        await world.start()
        await minutes(world)
        assert len(paid(world)) == 1, "whatever is lost and read again"
        assert world.executor.owed.fills == {}
        fund(world, "-0.0002")
        await minutes(world)
        assert paid(world)[1:] == [D("-0.840001")], "received"


async def test_of_a_position_that_has_closed_since_it_still_counts():
    async with live_world() as world:
        await bought(world)
        await minutes(world)
        fund(world)
        await world.give_exits(world.close())
        await world.settle()
        await minutes(world)
        assert (world.ours(), paid(world)) == ({}, [D("0.4200005")])


def reads(world):
    """From when on funding is read, each time from now on."""
    asked, read = [], world.venue.funding_since

    async def noted(at):
        asked.append(at)
        return await read(at)

    world.venue.funding_since = noted
    return asked


def closed(world):
    """What `ledger.trade` tells."""
    return [trade for update in world.ledger.updates for trade in update.trades]


async def test_what_was_due_right_before_a_close_is_booked_by_the_next_executor_and_to_no_later_position():
    async with live_world() as world:
        await bought(world)
        await minutes(world)
        fund(world)
        await world.give_exits(world.close())
        await world.settle()
        await world.pass_time(600)  # and killed, before a minute has passed
        assert (world.ours(), paid(world)) == ({}, [])
        await world.start()
        await world.price("42000")
        await world.pass_time(1_000)
        await bought(world)
        before, cash = result(world), world.ledger.state.nav["main"].cash
        world.executor.reconciler.funding.hear(closed(world))
        await minutes(world)
        assert paid(world) == [D("0.4200005")]
        assert (result(world), world.ledger.state.nav["main"].cash) == (before, cash - D("0.4200005"))
        asked = reads(world)
        world.executor.reconciler.funding.hear(closed(world))
        await world.pass_time(30_000, step=5_000)
        assert asked == [], "known by now"


async def test_what_is_heard_of_while_funding_is_being_read_is_read_too():
    async with live_world() as world:
        await bought(world)
        await minutes(world)
        fund(world)
        await world.give_exits(world.close())
        await world.settle()
        await world.pass_time(600)  # and killed
        world.clock.now += 2 * DAY
        await world.start()
        await world.price("42000")
        await world.pass_time(1_000)
        await bought(world)
        await minutes(world)
        read, funding = world.venue.funding_since, world.executor.reconciler.funding

        async def late(at):
            funding.hear(closed(world))
            world.venue.funding_since = read
            return await read(at)

        world.venue.funding_since = late
        await minutes(world)
        assert paid(world) == [D("0.4200005")]


async def test_of_what_closed_weeks_ago_nothing_is_read_again():
    async with live_world() as world:
        await bought(world)
        await world.give_exits(world.close())
        await world.settle()
        await world.pass_time(600)
        assert closed(world)
        world.clock.now += 8 * DAY
        await world.start()
        asked = reads(world)
        world.executor.reconciler.funding.hear(closed(world))
        await world.price("42000")
        await world.pass_time(5_000)
        assert asked == []


async def test_what_has_closed_is_kept_for_a_week_and_only_where_funding_is_paid():
    async with live_world() as world:
        await bought(world)
        await world.give_exits(world.close())
        await world.settle()
        await world.pass_time(600)
        (trade,), funding = closed(world), world.executor.reconciler.funding
        elsewhere = [trade.evolve(account="other", position_id=f"p{n}") for n in range(9)]
        funding.hear([*elsewhere, *(trade.evolve(position_id=f"p{n}") for n in range(9))])
        assert [len(held) for held in funding._held.values()] == [10], "another executor's are its own"
        world.clock.now += 8 * DAY
        funding.hear([])
        assert [len(held) for held in funding._held.values()] == [0]


@pytest.mark.parametrize("rate", ["0.0001", "-0.0002"])
async def test_with_both_sides_open_each_is_booked_what_it_paid_or_got(rate):
    clock = HandClock()
    async with venue(clock) as server, ccxt_venue(server, clock, hedged=True) as adapter:
        exchange = server.venue.exchange
        exchange.adjust({"hedged": True})
        for side, quantity in (("BUY", "0.3"), ("SELL", "0.3")):
            exchange.by_hand("BTCUSDT", side, D(quantity))
        exchange.fund("BTCUSDT", D(rate))
        fills = await adapter.funding_since(clock.now - DAY)
        cost = D("0.3") * exchange.mark("BTCUSDT") * D(rate)
        assert {fill.leg.value: fill.fee for fill in fills} == {"long": cost, "short": -cost}
        exchange.rates.clear()
        with pytest.raises(VenueUnreadable, match="funding rates: none of BTC/USDT"):
            await adapter.funding_since(clock.now - DAY)


async def test_for_positions_that_are_not_ours_nothing_is_booked():
    async with live_world() as world:
        world.exchange.by_hand("ETHUSDT", "BUY", D("1"))
        fund(world, symbol="ETHUSDT")
        await bought(world)
        fund(world, symbol="ETHUSDT")
        await minutes(world)
        assert paid(world) == []


async def test_three_weeks_of_it_are_read_week_by_week():
    async with live_world() as world:
        await bought(world)
        for _ in range(21):
            world.clock.now += DAY
            await world.price("42000")
            fund(world)
        await world.start()
        await minutes(world)
        assert len(paid(world)) == 21


async def test_the_day_counts_it_and_a_read_that_fails_stops_entries():
    async with live_world() as world:
        await bought(world)
        before = await world.venue.day_result({})
        fund(world)
        assert await world.venue.day_result({}) == before - D("0.4200005")
        world.server.venue.faults.arm(Fault(Kind.BAD_GATEWAY, "GET", "/income", times=1000))
        await minutes(world)
        assert "funding" in world.executor.heartbeat()["unreadable"]
        world.server.venue.faults.clear()
        await minutes(world)
        assert paid(world) == [Decimal("0.4200005")]


async def test_one_read_that_fails_is_asked_again_within_seconds():
    async with live_world() as world:
        await bought(world)
        world.server.venue.faults.arm(Fault(Kind.BAD_GATEWAY, "GET", "/income"))
        await minutes(world, 1)
        await world.pass_time(5_000)
        assert world.server.venue.faults.armed() == []
        assert world.executor.heartbeat()["unreadable"] is None


async def test_a_read_that_failed_stands_in_nobodys_way_once_nothing_is_held():
    async with live_world() as world:
        await bought(world)
        world.server.venue.faults.arm(Fault(Kind.BAD_GATEWAY, "GET", "/income", times=1000))
        await minutes(world)
        assert "funding" in world.executor.heartbeat()["unreadable"]
        await world.give_exits(world.close())
        await world.settle()
        for _ in range(3):
            world.clock.now += 3_600_000
            await world.pass_time(5_000)
        complaint = world.executor.heartbeat()["unreadable"]
        assert complaint is None or "funding: funding" not in complaint
