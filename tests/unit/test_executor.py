"""The executor's way of one order: proposed, recorded, sent once, filled, confirmed; through restarts at every step."""

import pytest

from holdfast.contracts.codes import OrderState, ResultStatus, Role
from holdfast.contracts.messages import Fill, OrderReserve, OrderStatus
from holdfast.runtime.faults import Terminal
from holdfast.venues.port import OutcomeKind
from tests.unit._executor import D, World


async def ready(**more) -> World:
    world = await World(**more).start()
    await world.tick()
    return world


async def opened(quantity="1", **more) -> World:
    """A world with an open long position."""
    world = await ready(**more)
    await world.give(world.buy(quantity, id="first"))
    await world.settle()
    world.venue.fill_all()
    await world.tick()
    await world.settle()
    assert [row.quantity for row in world.ledger.state.positions.values()] == [D(quantity)]
    return world


async def test_an_intent_becomes_a_position():
    world = await ready()
    entry = world.buy("1", id="i-1", strategy="s", take_profit="5%", stop_loss="90")
    await world.give(entry)
    (proposal,) = world.of(OrderReserve)
    assert proposal.order is not None
    assert (proposal.intent_id, proposal.symbol, proposal.epoch, proposal.incarnation) == (
        "i-1",
        "BTC/USDT",
        1,
        "life1",
    )
    assert (proposal.order.reference_price, proposal.order.quantity, proposal.order.role) == (
        D(101),
        D(1),
        Role.ENTRY,
    )
    assert len(proposal.order.order_id) <= 32
    assert not world.acked
    await world.deliver()
    assert world.acked == {("order.intent", entry.entry_id)}
    assert list(world.venue.sends.values()) == [1]
    world.venue.fill_all()
    await world.tick()
    await world.settle()
    assert world.ledger.intent("i-1").status is ResultStatus.FILLED
    assert not world.executor.owed.fills
    assert world.executor.heartbeat()["unreadable"] is None


async def test_nothing_is_sent_before_the_ledger_has_recorded_it():
    world = await ready()
    await world.give(world.buy())
    await world.time(5000)
    assert not world.venue.sends


async def test_an_immediate_fill_needs_no_status_and_a_later_one_gets_it():
    world = await opened()
    assert not [message for message in world.ledger.known.messages if message.startswith("x1-")]
    await world.give(world.buy())
    await world.settle()
    await world.time(300)
    assert [status.status.value for status in world.of(OrderStatus)] == ["accepted"]
    await world.settle()
    assert world.order().state is OrderState.OPEN


async def test_a_resting_limit_is_told_at_once():
    world = await ready()
    await world.give(world.buy(type="limit", price="90.07"))
    await world.deliver()
    assert [status.status.value for status in world.of(OrderStatus)] == ["accepted"]
    assert world.order().price == D("90.0"), "a buyer's limit is rounded down to the step"


@pytest.mark.parametrize("died_after", ["propose", "record", "send", "fill", "tell"])
async def test_a_restart_between_any_two_steps_sends_nothing_twice_and_loses_nothing(died_after):
    world = await ready()
    entry = world.buy("1", id="i-1")
    steps = ["propose", "record", "send", "fill", "tell"]
    last = steps.index(died_after)
    await world.give(entry)
    if last >= 1:
        await world.deliver(to_executor=last >= 2)
    if last >= 3:
        world.venue.fill_all()
    if last >= 4:
        await world.tick()  # the fill is published, and lost with the bus
        world.bus.clear()
    elif last == 0:
        world.bus.clear()
    await world.start()
    await world.tick()
    if ("order.intent", entry.entry_id) not in world.acked:
        await world.give(entry)
    for _ in range(20):
        await world.pass_time(400)
        world.venue.fill_all()
        await world.tick()
        await world.settle()
    assert all(count == 1 for count in world.venue.sends.values())
    assert ("order.intent", entry.entry_id) in world.acked
    held = sum((row.quantity for row in world.ledger.state.positions.values()), D(0))
    assert held == sum((fill.quantity for fill in world.venue.trades), D(0))
    assert held == (0 if died_after == "record" else 1), "what was recorded but never sent ends as expired"
    assert world.ledger.intent("i-1").is_final
    assert not world.ledger.state.orders


async def test_an_order_of_another_incarnation_is_looked_up_and_never_sent():
    world = await ready()
    await world.give(world.buy())
    await world.deliver(to_executor=False)
    await world.start()
    assert not world.venue.sends
    await world.pass_time(1800)
    assert world.order().state is OrderState.RESERVED, "not before send_by has passed"
    await world.pass_time(1000)
    assert not world.ledger.state.orders
    assert list(world.ledger.known.orders.values())[-1].state is OrderState.ABANDONED
    assert not world.venue.sends


async def test_an_order_of_another_incarnation_that_arrived_is_found():
    world = await ready()
    await world.give(world.buy())
    await world.settle()
    (order_id,) = world.venue.sends
    world.venue.fill(order_id, "0.4", told=False)
    await world.start()
    await world.settle()
    assert world.order().filled == D("0.4")
    await world.pass_time(2000)
    assert world.order().state is OrderState.PARTIAL
    assert world.venue.sends[order_id] == 1


async def test_send_by_passed_means_absent():
    world = await ready()
    await world.give(world.buy(id="late"))
    world.clock.now += 2001
    await world.deliver()
    assert not world.venue.sends
    assert world.statuses() == [("absent", "send_by passed before the wire")]
    await world.settle()
    assert world.ledger.intent("late").status is ResultStatus.EXPIRED


async def test_an_entry_is_not_sent_after_its_own_expiry():
    world = await ready()
    await world.give(world.buy(expires_at=world.clock.now + 500))
    world.clock.now += 501
    await world.deliver()
    assert not world.venue.sends


async def test_a_proposal_without_answer_is_published_again_and_acknowledged_once_answered():
    world = await ready()
    entry = world.buy(id="i-1")
    await world.give(entry)
    first = world.of(OrderReserve)
    world.bus.clear()
    await world.time(1000)
    assert not world.bus
    await world.time(1000)
    assert world.of(OrderReserve) == first
    await world.give(entry)
    assert world.of(OrderReserve) == first, "a redelivery of a pending intent proposes nothing new"
    await world.settle()
    assert world.acked == {("order.intent", entry.entry_id)}


async def test_a_known_intent_gets_its_recorded_answer_and_its_entry_is_acknowledged():
    world = await opened()
    again = world.buy(id="first")
    await world.give(again)
    await world.settle()
    assert ("order.intent", again.entry_id) in world.acked
    assert sum(world.venue.sends.values()) == 1
    assert not world.executor.desk.asked


async def test_the_same_id_with_other_content_is_told_so_while_and_after_the_first_is_on_its_way():
    world = await ready()
    await world.give(world.buy("1", id="i-1"), world.buy("2", id="i-1"))
    await world.settle()
    await world.give(world.buy("3", id="i-1"))
    await world.settle()
    assert [result.status.value for result in world.ledger.results] == ["accepted", "duplicate", "duplicate"]
    assert list(world.venue.sends.values()) == [1]
    assert len(world.acked) == 3


async def test_a_fill_is_published_until_the_ledger_shows_it():
    world = await ready()
    await world.give(world.buy())
    await world.settle()
    world.venue.fill_all()
    await world.tick()
    fills = world.of(Fill)
    for wait in (2000, 4000):
        world.bus.clear()
        await world.time(wait - 100)
        assert not world.of(Fill)
        await world.time(100)
        assert world.of(Fill) == fills
    await world.settle()
    await world.pass_time(10_000)
    assert not world.of(Fill)


async def test_a_fill_confirmed_while_the_view_was_away_is_not_owed_for_ever():
    world = await ready()
    await world.give(world.buy())
    await world.settle()
    world.venue.fill_all()
    await world.tick()
    await world.deliver(to_executor=False)
    await world.reset()
    await world.settle()
    await world.pass_time(70_000)
    assert not world.executor.owed.fills
    assert world.executor.heartbeat()["unreadable"] is None


async def test_unknown_stays_until_a_look_up_tells():
    world = await ready()
    world.venue.outcome, world.venue.unreadable = OutcomeKind.UNKNOWN, True
    await world.give(world.buy())
    await world.settle()
    assert world.order().state is OrderState.UNKNOWN
    await world.pass_time(20_000)
    assert world.order().state is OrderState.UNKNOWN, "a failed look-up proves nothing"
    assert world.executor.heartbeat()["unreadable"]
    world.venue.unreadable = False
    await world.pass_time(6000)
    assert world.order().state is OrderState.OPEN
    assert world.executor.heartbeat()["unreadable"] is None
    assert list(world.venue.sends.values()) == [1]


async def test_unknown_and_never_arrived_ends_as_absent_after_send_by():
    world = await ready()
    world.venue.outcome, world.venue.arrives = OutcomeKind.UNKNOWN, False
    await world.give(world.buy(id="i-1"))
    await world.settle()
    await world.pass_time(1800)
    assert world.order().state is OrderState.UNKNOWN
    await world.pass_time(6000)
    assert not world.ledger.state.orders
    assert world.ledger.intent("i-1").is_final


async def test_a_wall_clock_that_is_put_forward_proves_no_absence():
    """Found by `holdfast sim`, seed 17: the send is on its way, the clock jumps, and the order arrives after it was called absent."""
    world = await ready()
    world.venue.outcome, world.venue.arrives = OutcomeKind.UNKNOWN, False
    await world.give(world.buy(id="i-1"))
    await world.settle()
    world.clock.ahead = 10_000
    await world.pass_time(1800)
    assert world.order().state is OrderState.UNKNOWN
    await world.pass_time(6000)
    assert not world.ledger.state.orders


async def test_a_send_that_raises_leaves_the_order_unknown():
    world = await ready()

    async def broken(orders, *, now_ms):
        world.venue.sends.update(row.order_id for row in orders)
        raise KeyError("parse")

    world.venue.submit = broken
    await world.give(world.buy())
    await world.settle()
    assert world.order().state is OrderState.UNKNOWN
    assert list(world.venue.sends.values()) == [1]


async def test_a_rejection_ends_the_intent():
    world = await ready()
    world.venue.outcome = OutcomeKind.REJECTED
    await world.give(world.buy(id="i-1"))
    await world.settle()
    assert (world.ledger.intent("i-1").status, world.ledger.intent("i-1").code.value) == (
        ResultStatus.REJECTED,
        "insufficient_funds",
    )


async def test_exits_are_sent_before_entries():
    world = await opened()
    await world.tick(symbol="ETH/USDT")
    await world.give(world.buy(symbol="ETH/USDT"))
    await world.give_exits(world.close())
    await world.deliver()
    assert [row.role for row in world.venue.sent_order[1:]] == [Role.EXIT, Role.ENTRY]


async def test_a_full_exit_cancels_the_books_entries_and_what_was_not_sent_never_is():
    world = await opened()
    await world.give(world.buy("1", type="limit", price="90"))
    await world.settle()
    resting = world.venue.sent_order[-1].order_id
    await world.give(world.buy("1", id="never"))
    await world.give_exits(world.close(id="out"))
    await world.settle()
    assert world.venue.canceled == [resting]
    assert resting not in world.ledger.state.orders
    assert world.ledger.intent("never").is_final
    assert world.venue.sent_order[-1].role is Role.EXIT
    world.venue.fill_all()
    await world.tick()
    await world.settle()
    assert not world.ledger.state.positions
    assert not world.ledger.state.orders


async def test_a_cancel_without_answer_is_asked_for_again():
    world = await ready()
    await world.give(world.buy(type="limit", price="90"))
    await world.settle()
    order_id = world.order().order_id
    world.venue.unreadable = True
    await world.give(world.entry(action="cancel", order_id=order_id))
    await world.settle()
    assert world.order().state is OrderState.CANCELING
    world.venue.unreadable = False
    await world.pass_time(2400)
    assert world.venue.canceled == [order_id]
    assert not world.ledger.state.orders


async def test_a_replaced_executor_stops():
    world = await ready()
    await world.give(world.buy())
    await world.settle()
    old_executor, old_view = world.executor, world.view
    await world.start()
    await world.tick()
    await world.give(world.buy(symbol="BTC/USDT"))
    updates = await world.deliver()
    old_view.load(world.ledger.snapshot())
    assert max(update.executors.get("main", 0) for update in updates) == 2
    with pytest.raises(Terminal, match="taken over"):
        await old_executor.on_updates(updates)


async def test_a_snapshot_older_than_the_last_executor_does_not_lead_to_its_epoch():
    """The epoch is above all that came before, though only the updates behind the snapshot name them."""
    world = await ready()
    stale = world.ledger.snapshot()
    for _ in range(2):
        await world.give(world.buy())
        await world.settle()
        await world.start()
        await world.tick()
    world.clock.now += 5
    await world.start()
    fresh = world.executor
    fresh.intake.epochs.clear()
    world.view.load(stale)
    world.publish(await fresh.on_reset())
    await world.tick()
    await world.give(world.buy(id="early"))
    assert [reserve.epoch for reserve in world.of(OrderReserve)] == [1]
    await world.deliver(to_executor=False)
    assert "early" not in world.ledger.known.intents, "the ledger ignores an epoch that is not above the last"
    await world.hear(world.ledger.updates)
    await world.time()
    assert [reserve.epoch for reserve in world.of(OrderReserve)] == [3]
    await world.settle()
    assert world.ledger.state.executors == {"main": 3}
    assert world.ledger.intent("early").order_id in world.venue.sends
