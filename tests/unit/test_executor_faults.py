"""The executor when things go wrong around it: bursts, wiped and rewound buses, a venue and a ledger that differ."""

import asyncio

import pytest

from holdfast.contracts.codes import OrderState
from holdfast.contracts.messages import Fill, OrderReserve
from holdfast.domain.instruments import resolve
from holdfast.runtime.settings import PaperSettings
from holdfast.venues.paper import PaperVenue
from holdfast.venues.paper_record import PaperRecord
from holdfast.venues.port import Rules, VenueUnreadable
from tests.unit._executor import START, D, World
from tests.unit.test_executor import opened, ready


async def test_at_most_two_batches_of_entries_are_out_and_exits_never_wait():
    world = await opened()
    await world.give(world.buy(), world.buy())
    await world.give(world.buy())
    held_out = world.buy(symbol="BTCUSDT", id="third")
    free = world.sell("0.1", reduce_only=True, id="free")
    waiting = asyncio.ensure_future(world.give(held_out, free))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert not waiting.done()
    await world.give_exits(world.close(quantity="0.2", id="out"))
    assert [reserve.intent_id for reserve in world.of(OrderReserve)][-2:] == ["free", "out"], (
        "what only shrinks went on without waiting"
    )
    await world.settle()
    await waiting
    assert [reserve.intent_id for reserve in world.of(OrderReserve)] == ["third"]


async def test_a_batch_that_is_never_answered_does_not_keep_the_door_shut():
    world = await ready()
    await world.give(world.buy())
    await world.give(world.buy())
    world.bus.clear()
    waiting = asyncio.ensure_future(world.give(world.buy(id="third")))
    await asyncio.sleep(0)
    assert not waiting.done()
    await world.time(30_000)
    await asyncio.wait_for(waiting, 1)


async def test_a_wiped_bus_loses_no_fill_and_no_status():
    world = await ready()
    await world.give(world.buy("2"), world.buy("1", type="limit", price="90"))
    await world.deliver()
    market, limit = (row.order_id for row in world.venue.sent_order)
    world.venue.fill(market)
    await world.tick()
    assert world.bus
    world.bus.clear()
    await world.reset()
    await world.pass_time(3000)
    assert [row.quantity for row in world.ledger.state.positions.values()] == [D(2)]
    assert world.ledger.state.orders[limit].state is OrderState.OPEN
    assert set(world.venue.sends.values()) == {1}


async def test_a_fill_that_was_never_told_is_read_from_the_venue_at_start():
    world = await ready()
    await world.give(world.buy("2"))
    await world.settle()
    (order_id,) = world.venue.sends
    world.venue.fill(order_id, "0.5", told=False)
    world.venue.fill(order_id, "1.5", told=False)
    await world.start()
    await world.settle()
    assert [row.quantity for row in world.ledger.state.positions.values()] == [D(2)]


async def test_a_rewound_bus_and_a_redelivered_intent_send_nothing_twice():
    """The view goes back to before the order, the intent comes again, and the row is seen as RESERVED once more, in time."""
    world = await ready()
    before = world.ledger.snapshot()
    entry = world.buy(id="i-1")
    await world.give(entry)
    updates = await world.deliver()
    world.venue.fill_all()
    await world.tick()
    updates += await world.deliver()
    world.view.load(before)
    world.publish(await world.executor.on_reset())
    await world.give(entry)
    await world.hear(updates[:1])
    await world.hear(updates[1:])
    await world.settle()
    assert list(world.venue.sends.values()) == [1]
    assert [row.quantity for row in world.ledger.state.positions.values()] == [D(1)]


async def test_a_lost_fill_of_an_ended_order_is_found_by_comparing_positions():
    world = await ready()
    await world.give(world.buy("2", type="limit", price="90"))
    await world.settle()
    order_id = world.order().order_id
    await world.give(world.entry(action="cancel", order_id=order_id))
    await world.settle()
    assert not world.ledger.state.orders
    world.venue.fill(order_id, "0.5", told=False)  # a fill after CANCELED is real
    await world.pass_time(70_000)
    assert [row.quantity for row in world.ledger.state.positions.values()] == [D("0.5")]
    assert world.executor.heartbeat()["unreadable"] is None


async def test_a_lost_fill_older_than_what_is_read_each_minute_is_repaired_too():
    world = await ready()
    await world.tick(symbol="ETH/USDT")
    await world.give(world.buy("2", type="limit", price="90"), world.buy("1", symbol="ETH/USDT"))
    await world.settle()
    lost, other = (row.order_id for row in world.venue.sent_order)
    await world.give(world.entry(action="cancel", order_id=lost))
    await world.settle()
    world.venue.fill(lost, "0.5", told=False)
    world.venue.fill(other, at=START + 3_600_000)
    await world.tick()
    await world.settle()
    await world.pass_time(66_000)
    held = {row.symbol: row.quantity for row in world.ledger.state.positions.values()}
    assert held == {"BTC/USDT": D("0.5"), "ETH/USDT": D(1)}
    assert world.executor.heartbeat()["unreadable"] is None


async def test_a_difference_that_lasts_turns_the_light_red_and_blocks_the_book():
    world = await opened()
    world.venue.extra = D("0.25")
    await world.pass_time(66_000)
    assert (
        world.executor.heartbeat()["unreadable"] == "main/paper/BTC/USDT: the venue holds 1.25, the ledger 1"
    )
    await world.tick()
    await world.tick(symbol="ETH/USDT")
    await world.give(world.buy(), world.buy(symbol="ETH/USDT"))
    refused, passed = world.of(OrderReserve)
    assert refused.refusal.code.value == "record_mismatch"
    assert passed.order is not None
    world.venue.extra = D(0)
    await world.pass_time(60_000)
    assert world.executor.heartbeat()["unreadable"] is None


async def test_a_difference_is_over_when_nothing_is_held_on_either_side():
    """One wrong answer, then the position closes: the book stayed blocked for good (simulator, seed 2)."""
    world = await opened()
    world.venue.extra = D(-1)
    await world.pass_time(66_000)
    assert world.executor.heartbeat()["unreadable"] == "main/paper/BTC/USDT: the venue holds 0, the ledger 1"
    world.venue.extra = D(0)
    await world.give_exits(world.close())
    await world.settle()
    world.venue.fill_all()
    await world.tick()
    await world.settle()
    assert not world.ledger.state.positions
    await world.pass_time(61_000)
    assert world.executor.heartbeat()["unreadable"] is None
    await world.tick()
    await world.give(world.buy())
    (passed,) = world.of(OrderReserve)
    assert passed.order is not None


@pytest.mark.parametrize("what", ["cancel", "look_up"])
async def test_a_question_that_nobody_asks_any_more_stands_in_nobodys_way(what, monkeypatch):
    """It failed once, and the order ended by itself: no entry passed until the next cancel or look-up (simulator, seeds 16 and 18)."""
    world = await ready()
    await world.give(world.buy(type="limit", price="90"))
    await world.settle()
    (order,) = world.venue.orders.values()

    async def silent(*_, **__):
        raise VenueUnreadable("scripted: no answer")

    with monkeypatch.context() as patch:
        patch.setattr(world.venue, what, silent)
        if what == "cancel":
            await world.give(world.entry(action="cancel", symbol="BTC/USDT"))
            await world.settle()
        else:
            world.executor.dispatcher.look_up_soon(order.order_id)
            await world.time()
        assert world.executor.heartbeat()["unreadable"] is not None
        world.venue.fill(order.order_id)
        await world.tick()
        await world.settle()
        assert not world.ledger.state.orders
        await world.pass_time(1_000)
    assert world.executor.heartbeat()["unreadable"] is None
    await world.tick()
    await world.give(world.buy())
    (passed,) = world.of(OrderReserve)
    assert passed.order is not None


async def test_an_order_that_the_venue_forgot_is_told_and_not_taken_for_absent():
    world = await ready()
    await world.give(world.buy(type="limit", price="90"))
    await world.settle()
    order_id = world.order().order_id
    del world.venue.orders[order_id]
    await world.pass_time(62_000)
    assert world.order().state is OrderState.OPEN
    assert any(order_id in text for text in world.executor.heartbeat()["warnings"])


async def test_open_orders_at_the_venue_that_nobody_here_placed_are_told():
    world = await ready()
    await world.give(world.buy(type="limit", price="90"))
    await world.settle()
    known = next(iter(world.venue.orders.values()))
    world.venue.orders["foreign"] = known.__class__(
        "foreign", known.symbol, known.side, known.state, known.quantity, known.filled
    )
    await world.pass_time(62_000)
    assert any("foreign" in text for text in world.executor.heartbeat()["warnings"])
    assert "foreign" not in world.venue.canceled


async def test_an_exit_that_a_wiped_bus_lost_is_proposed_afresh_and_an_entry_is_not_sent_late():
    world = await opened()
    await world.tick(symbol="ETH/USDT")
    await world.give(world.buy(symbol="ETH/USDT", id="in"))
    await world.give_exits(world.close(id="out"))
    world.bus.clear()
    for _ in range(3):
        await world.time(1000)
    await world.settle()
    assert [row.role.value for row in world.venue.sent_order[1:]] == ["exit"]
    assert world.ledger.intent("in").code.value == "not_sent"


async def test_an_exit_recorded_with_its_first_send_by_is_not_sent_after_it():
    world = await opened()
    await world.give_exits(world.close(id="out"))
    first, world.bus = world.bus, []
    await world.time(2500)
    world.bus = first + world.bus
    await world.settle()
    assert len(world.venue.sent_order) == 1
    assert world.ledger.intent("out").code.value == "not_sent"


async def test_a_silent_ledger_is_a_warning():
    world = await ready()
    await world.give(world.buy())
    await world.time(10_001)
    assert "the ledger has not answered 1 intents" in world.executor.heartbeat()["warnings"][0]


async def test_nothing_happens_before_the_view_is_loaded():
    world = World()
    world.lives = 0
    starting = await world.start()
    fresh = type(starting.executor)(world.settings, world.clock, world, starting.view, {}, "x")
    waiting = asyncio.ensure_future(fresh.on_entries([world.buy()]))
    await asyncio.sleep(0)
    assert not waiting.done()
    assert await fresh.on_time() == []
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting


# -- the paper venue itself ---------------------------------------------------------------------------------------------


def paper(path) -> PaperVenue:
    def rules(text):
        found = resolve(text, market="linear")
        return Rules(
            found.symbol,
            found.kind,
            found.base,
            found.quote,
            found.settle,
            D(1),
            D("0.001"),
            D("0.1"),
            D(0),
            D(0),
        )

    return PaperVenue("main", settings=PaperSettings(), instruments=rules, record=PaperRecord(path, "main"))


async def test_a_round_trip_on_paper_with_restarts_in_between(tmp_path):
    world = await World(venue=paper(tmp_path / "main.db")).start()
    await world.tick("99", "101")
    await world.give(world.buy("2", id="in", symbol="BTCUSDT"))
    await world.settle()
    await world.venue.close()
    world.venue = paper(tmp_path / "main.db")
    await world.start()
    await world.tick("99", "101")
    await world.settle()
    assert [row.quantity for row in world.ledger.state.positions.values()] == [D(2)]
    await world.give_exits(world.close(id="out"))
    await world.settle()
    world.venue.record.close()
    world.venue = paper(tmp_path / "main.db")
    await world.start()
    await world.settle()
    await world.tick("99", "101")
    await world.settle()
    await world.pass_time(3000)
    assert not world.ledger.state.positions
    assert not world.ledger.state.orders
    assert world.executor.heartbeat()["unreadable"] is None
    assert world.venue.record.verify() == []


async def test_a_record_of_another_store_blocks_entries_and_turns_the_light_red(tmp_path):
    venue = paper(tmp_path / "main.db")
    venue.record.bind_store("another")
    world = await World(venue=venue).start()
    await world.tick()
    await world.give(world.buy())
    assert world.refusal().code.value == "record_mismatch"
    assert "belongs to ledger store another" in world.executor.heartbeat()["unreadable"]


async def test_fills_told_by_paper_are_the_ones_it_recorded(tmp_path):
    world = await World(venue=paper(tmp_path / "main.db")).start()
    await world.tick()
    await world.give(*(world.buy("0.5") for _ in range(10)))
    await world.settle()
    await world.tick()
    told = world.of(Fill)
    assert told == await world.venue.trades_since(0)
    await world.settle()
    assert not world.executor.owed.fills
