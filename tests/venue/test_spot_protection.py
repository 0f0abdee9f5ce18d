"""Stops at the venue on spot, end to end: the stop locks the coins, so an exit has it canceled, waits for the proof, and sells what is free.

Three coins that are nobody's business lie in the wallet, and must lie there at the end.
"""

import pytest

from holdfast.contracts.codes import Code, ExitReason, OrderState, Role
from holdfast.domain.protecting import resting
from tests.venue._run_stops import SpotStops
from tests.venue._spot import ADD, CANCEL, COIN, WIRES
from tests.venue._stage import BITCOIN, quote
from tests.venue._world import D, live_world
from tests.venue.test_kill_stop import is_stop
from venue_sim.faults import Fault, Kind
from venue_sim.orders import Ask


class Record:
    """What of ours could sell at the venue; `wrong` says when that was more than is held, or a second stop."""

    def __init__(self, world):
        self.watch = SpotStops(world, [])
        world.wrong = self.watch.wrong

    def open(self):
        assert self.watch.wrong == []
        return self.watch.sales()

    def stops(self):
        return [order.ask for order in self.watch.open()]


@pytest.fixture(params=WIRES)
def wire(request):
    return request.param


def guarded(wire, **more):
    return live_world(wire, **{"protect": "venue"} | more)


async def opened(world, quantity="0.1", **fields):
    """A position, and its stop at the venue."""
    world.server.venue.dialect.adjust({"coins": {COIN[world.wire]: "3"}})
    record = Record(world)
    await world.give(world.buy(quantity, **{"stop_loss": "41000"} | fields))
    await world.settle()
    await world.pass_time(2_000)
    assert world.ours() == world.held() != {}
    return record


async def proposed(world):
    """A position is open, and its stop is on the bus."""
    await world.give(world.buy("0.1", stop_loss="41000"))
    for _ in range(40):
        if any(is_stop(message) for _, message in world.bus):
            return
        await world.deliver()
        if not world.bus:
            await world.time()
    raise AssertionError("no stop was proposed")


def ours(world):
    (position,) = world.ledger.state.positions.values()
    return position


def stops(world):
    return [row for row in world.ledger.state.orders.values() if row.role is Role.PROTECT]


def trades(world):
    return [trade for update in world.ledger.updates for trade in update.trades]


def answer(world, intent_id):
    return world.ledger.known.intents.get(intent_id)


def sold(world):
    """What our orders have sold, whatever kind they were."""
    return sum((one.quantity for one in world.exchange.trades if one.side == "SELL"), D(0))


def inventory(world):
    return world.exchange.coins[COIN[world.wire]] - sum(world.held().values())


def at_rest(world):
    """Nothing is open, nothing was sold that was not ours, and both sides agree."""
    assert (world.ours(), world.ledger.state.orders, world.wrong) == ({}, {}, [])
    assert world.executor.heartbeat()["unreadable"] is None
    assert inventory(world) == 3
    assert world.venue_trades() == {one for one in world.recorded_trades() if not one.startswith("dust")}


def price(world, bid, size="10"):
    """At the venue alone: our feed says nothing."""
    quote(world.server, bid, str(D(bid) + D("0.1")), size, BITCOIN[world.wire])


async def test_it_rests_follows_the_stop_loss_one_at_a_time_and_the_gap_is_seen(wire):
    async with guarded(wire) as world:
        record = await opened(world)
        (ask,) = record.stops()
        step = D("0.00001") if wire == "binance" else D("0.00000001")
        assert (ask.trigger, ask.reduce_only) == (D(41000), False)
        assert 0 <= ours(world).quantity - ask.quantity < step
        assert resting(stops(world), ours(world)) is not None
        bare = 0
        for level in ("41200", "41300"):
            await world.move_stop(ours(world), level)
            for _ in range(35):
                await world.pass_time(200)
                bare += resting(stops(world), ours(world)) is None
            assert [str(ask.trigger) for ask in record.stops()] == [level]
        assert 0 < bare < 20
        assert world.executor.heartbeat()["warnings"] == []


async def test_an_exit_has_the_stop_canceled_waits_for_the_proof_and_sells_all(wire):
    async with guarded(wire) as world:
        record = await opened(world)
        held = ours(world).quantity
        await world.give_exits(world.close(id="out"))
        await world.deliver(to_executor=False)
        (stop,) = stops(world)
        assert (stop.state, stop.code) == (OrderState.CANCELING, Code.DISPLACED)
        assert answer(world, "out") is None, "a person's close is not refused, and need not be repeated"
        assert sold(world) == 0
        await world.start()  # and whatever had not been answered comes again
        await world.give_exits(world.close(id="out"))
        await world.pass_time(4_000)
        assert (answer(world, "out").status.value, record.open()) == ("filled", [])
        assert held - sold(world) < D("0.00001")
        at_rest(world)
        (trade,) = trades(world)
        assert trade.exit_reason is ExitReason.CLOSE


async def test_of_two_exits_that_wait_one_sells_and_the_other_is_answered(wire):
    """A person's, and the scanner's, which asks again under another id because it hears nothing."""
    async with guarded(wire) as world:
        await opened(world)
        names = ["out", "x-1", "x-2"]
        for name in names:
            more = {} if name == "out" else {"reason": "stop_loss"}
            await world.give_exits(world.close(id=name, position_id=ours(world).position_id, **more))
        await world.give_exits(world.close(id="out", position_id=ours(world).position_id))
        await world.settle()
        await world.pass_time(6_000)
        assert [answer(world, name).is_final for name in names] == [True] * 3
        assert sum(answer(world, name).status.value == "filled" for name in names) == 1
        assert world.executor.desk.pending == {}
        at_rest(world)


async def test_an_exit_that_waits_for_long_is_told(wire):
    async with guarded(wire) as world:
        await opened(world)
        world.server.venue.faults.arm(Fault(Kind.RATE_LIMITED, *CANCEL[wire], times=1_000))
        await world.give_exits(world.close(id="out"))
        await world.pass_time(12_000, step=500)
        assert any(
            "an exit waits for an order to end" in text for text in world.executor.heartbeat()["warnings"]
        )
        world.server.venue.faults.clear()
        await world.pass_time(20_000, step=500)
        assert answer(world, "out").status.value == "filled"
        at_rest(world)


async def test_a_balance_that_could_not_be_read_for_an_exit_is_read_again_soon():
    async with guarded("binance") as world:
        await opened(world)
        world.server.venue.faults.arm(Fault(Kind.BAD_GATEWAY, "GET", "/account"))
        await world.give_exits(world.close(id="out"))
        await world.pass_time(5_000)
        assert answer(world, "out").status.value == "filled"
        at_rest(world)


async def test_a_part_is_sold_and_the_rest_is_guarded_again(wire):
    async with guarded(wire) as world:
        record = await opened(world)
        held = ours(world).quantity
        await world.give_exits(world.close(id="part", quantity="0.04"))
        await world.pass_time(4_000)
        assert answer(world, "part").status.value == "filled"
        (ask,) = record.stops()
        assert 0 <= held - D("0.04") - ask.quantity < D("0.00001")
        await world.price("42000")
        await world.give(world.buy("0.05", stop_loss="41000"))
        await world.settle()
        await world.pass_time(4_000)
        (ask,) = record.stops()
        assert 0 <= ours(world).quantity - ask.quantity < D("0.00001"), "and it grows with the position"


async def test_one_that_was_canceled_by_hand_is_placed_again(wire):
    async with guarded(wire) as world:
        record = await opened(world)
        world.exchange.cancel_all()
        await world.pass_time(8_000, step=500)
        (ask,) = record.stops()
        assert [row.state for row in stops(world)] == [OrderState.OPEN]
        assert ask.trigger == 41000


async def test_the_price_crosses_while_everything_is_dead(wire):
    async with guarded(wire) as world:
        record = await opened(world, "0.01234")
        world.clock.now += 600_000
        price(world, "40990")
        crossed = world.clock.now
        world.clock.now += 600_000
        world.bus.clear()
        await world.start()
        await world.settle()
        await world.pass_time(4_000)
        (trade,) = trades(world)
        assert (trade.exit_reason, trade.trigger_level) == (ExitReason.EXIT_ON_VENUE, D(41000))
        assert 0 <= trade.closed_at - crossed < 1_000
        assert record.open() == []
        at_rest(world)
        assert (world.held() == {}) is (wire == "kraken"), "what is less than a step has left the books"


async def test_one_that_the_exchange_shows_no_more_is_not_believed_to_be_gone(wire):
    """On futures it would be; here it may still sell."""
    async with guarded(wire) as world:
        record = await opened(world)
        (order,) = record.open()
        del world.exchange.orders[order.number]
        await world.pass_time(100_000, step=2_500)
        await world.give_exits(world.close(id="out"))
        await world.pass_time(30_000, step=2_500)
        assert any("which it had accepted" in text for text in world.executor.heartbeat()["warnings"])
        assert (answer(world, "out"), sold(world), record.open()) == (None, 0, [])


@pytest.mark.parametrize("fault", [Kind.RESET, Kind.RESET_BEFORE, Kind.HTML])
async def test_a_cancel_without_an_answer_is_no_proof(wire, fault):
    async with guarded(wire) as world:
        await opened(world)
        world.server.venue.faults.arm(Fault(fault, *CANCEL[wire]))
        await world.give_exits(world.close(id="out"))
        await world.settle()
        await world.pass_time(8_000, step=500)
        assert answer(world, "out").status.value == "filled"
        at_rest(world)


@pytest.mark.parametrize("size", ["10", "0.03"])
async def test_the_stop_fills_while_it_is_being_canceled_and_only_what_is_left_is_sold(wire, size):
    async with guarded(wire) as world:
        await opened(world)
        held = ours(world).quantity
        await world.give_exits(world.close(id="out"))
        updates = await world.deliver(to_executor=False)
        price(world, "40990", size)
        await world.hear(updates)
        await world.settle()
        await world.pass_time(8_000, step=500)
        assert sold(world) <= held
        at_rest(world)
        assert len(trades(world)) == 1
        assert answer(world, "out").is_final


async def test_a_stop_that_sold_a_part_and_stands_still_gives_way_to_the_market(wire):
    async with guarded(wire, protect_order="limit", escalate_after_s=5) as world:
        record = await opened(world)
        price(world, "41000", "0.03")
        price(world, "40000")
        await world.pass_time(3_000)
        assert world.held() != {}, "its limit is 40590"
        await world.pass_time(10_000, step=500)
        assert record.open() == []
        at_rest(world)
        assert trades(world)[-1].exit_reason is ExitReason.STOP_LOSS


async def test_one_whose_price_is_there_already_becomes_an_exit():
    async with guarded("binance") as world:
        world.server.venue.dialect.adjust({"coins": {"BTC": "3"}})
        Record(world)
        await world.give(world.buy("0.1", stop_loss="41000"))
        await world.deliver()
        price(world, "40990")
        await world.settle()
        await world.pass_time(6_000)
        at_rest(world)
        assert trades(world)[-1].exit_reason is ExitReason.STOP_LOSS


async def test_while_its_fate_is_not_known_nothing_else_sells(wire):
    """Its send is hidden from every read for ten seconds: it is there, and locks the coins."""
    async with guarded(wire) as world:
        world.server.venue.dialect.adjust({"coins": {COIN[wire]: "3"}})
        record = Record(world)
        await proposed(world)
        world.server.venue.faults.arm(Fault(Kind.HIDDEN, *ADD[wire], delay_ms=9_000))
        world.clients.leave.timeout = world.venue._answer_ms = 200
        await world.settle()
        await world.give_exits(world.close(id="out"))
        await world.pass_time(5_000, step=500)
        assert [row.state for row in stops(world)] == [OrderState.UNKNOWN]
        assert (answer(world, "out"), sold(world)) == (None, 0)
        await world.pass_time(40_000, step=1_000)
        assert (answer(world, "out").status.value, record.open()) == ("filled", [])
        at_rest(world)


async def test_an_exit_that_ended_with_something_left_or_was_lost_is_followed_by_a_stop(wire):
    async with guarded(wire) as world:
        record = await opened(world)
        await world.give_exits(world.close(id="late", expires_at=world.clock.now + 100))
        await world.deliver(to_executor=False)
        world.clock.now += 500
        await world.start()
        await world.give_exits(world.close(id="late", expires_at=world.clock.now - 400))
        await world.pass_time(4_000)
        assert (answer(world, "late").code, len(record.stops())) == (Code.EXPIRED, 1)
        await world.give_exits(world.close(id="lost"))
        await world.deliver(to_executor=False)
        world.bus.clear()
        await world.start()
        await world.pass_time(4_000)
        assert (answer(world, "lost"), len(record.stops()), sold(world)) == (None, 1, 0)


async def test_a_resting_exit_for_a_part_leaves_the_stop_the_rest(wire):
    async with guarded(wire) as world:
        record = await opened(world)
        await world.give_exits(world.close(id="limit", quantity="0.04", type="limit", price="45000"))
        await world.pass_time(4_000)
        (ask,) = record.stops()
        assert 0 <= ours(world).quantity - D("0.04") - ask.quantity < D("0.00001")
        await world.give_exits(world.close(id="out", reason="stop_loss"))
        await world.pass_time(6_000)
        assert answer(world, "out").status.value == "filled"
        at_rest(world)


async def test_it_is_as_large_as_the_free_coins_let_it_be_and_grows_when_there_are_more():
    async with guarded("binance") as world:
        record = Record(world)
        world.server.venue.dialect.adjust({"coins": {"BTC": "0.01"}})
        await proposed(world)
        world.exchange.place(Ask("BTCUSDT", "SELL", "LIMIT", "web_1", D("0.05"), D("50000")))
        await world.settle()
        await world.pass_time(12_000, step=500)
        (ask,) = record.stops()
        assert ask.quantity < D("0.07")
        world.exchange.cancel_all()
        await world.pass_time(80_000, step=1_000)
        (ask,) = record.stops()
        assert 0 <= ours(world).quantity - ask.quantity < D("0.00001")


async def test_what_is_sold_is_what_is_free_once_the_stop_has_gone():
    """By the balance as it was read last, with the stop in place, nothing at all would be free; by the ledger, more than there is."""
    async with guarded("binance") as world:
        Record(world)
        world.server.venue.dialect.adjust({"coins": {"BTC": "0.01"}})
        await proposed(world)
        world.exchange.place(Ask("BTCUSDT", "SELL", "LIMIT", "web_1", D("0.05"), D("50000")))
        await world.settle()
        await world.pass_time(12_000, step=500)
        await world.give_exits(world.close(id="out"))
        await world.pass_time(4_000)
        assert (answer(world, "out").status.value, sold(world)) == ("filled", D("0.0599"))
        assert world.wrong == []


async def test_what_rested_is_taken_away_where_the_scanner_watches_alone(wire):
    async with guarded(wire) as world:
        record = await opened(world)
        world.configure(protect="scanner")
        await world.start()
        await world.pass_time(4_000)
        assert (record.open(), stops(world)) == ([], [])
