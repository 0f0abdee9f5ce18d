"""Exits on spot, live, on two wires: no order is reduce-only there, so size, steps and patience keep them from selling what is not ours."""

import pytest

from holdfast.contracts.codes import Code, ExitReason, OrderState
from tests.venue._spot import ADD, COIN, WIRES
from tests.venue._stage import BITCOIN
from tests.venue._world import D, live_world
from venue_sim.faults import Fault, Kind
from venue_sim.orders import Ask

LEAST = {"binance": D("0.00012"), "kraken": D("0.00005")}
"""The smallest order of BTC at 42,000: by value at Binance, by quantity at Kraken."""


@pytest.fixture(params=WIRES)
async def world(request):
    """With three coins in the wallet that are nobody's business."""
    async with live_world(request.param) as one:
        one.server.venue.dialect.adjust({"coins": {COIN[request.param]: "3"}})
        yield one


async def bought(world, quantity):
    await world.price("42000")
    await world.give(world.buy(quantity))
    await world.settle()
    await world.pass_time(1_000)
    assert world.ours() == world.held() != {}
    return world.ours()["BTC/USDT"]


async def closed(world, ms=3_000, **fields):
    await world.price("42000")
    await world.give_exits(world.close(**fields))
    await world.settle()
    await world.pass_time(ms, step=500)


async def minute(world):
    await world.price("42000")
    await world.pass_time(65_000, step=5_000)


def sells(world):
    return [ask.quantity for ask in world.exchange.received if not ask.buys and world.of_ours(ask.client_id)]


def trades(world):
    return [trade for update in world.ledger.updates for trade in update.trades]


def refusal(world):
    return list(world.ledger.known.intents.values())[-1]


def inventory(world):
    return world.exchange.coins[COIN[world.wire]] - sum(world.held().values())


async def test_what_is_less_than_a_step_is_dust_and_closes_the_position(world):
    await bought(world, "0.012345" if world.wire == "kraken" else "0.01234")
    (row,) = world.ledger.state.positions.values()
    await closed(world)
    assert world.ours() == {}
    (trade,) = trades(world)
    assert (trade.exit_reason, trade.quantity) == (ExitReason.CLOSE, row.quantity)
    if world.wire == "binance":
        assert (row.quantity, sells(world)) == (D("0.01232766"), [D("0.01232")])
        (dust,) = [
            fill for update in world.ledger.updates for fill in update.fills if fill.kind.value == "dust"
        ]
        assert dust.quantity == D("0.00000766")
    assert inventory(world) == 3
    await minute(world)
    assert world.executor.heartbeat()["unreadable"] is None
    assert len(sells(world)) == 1, "nobody tries to sell it for ever"


async def test_an_entry_is_large_enough_to_be_closed_again(world):
    least = LEAST[world.wire]
    await world.price("42000")
    await world.give(world.buy(str(2 * least - D("0.00001"))))
    assert (world.refusal().code, "twice the smallest" in world.refusal().reason) == (
        Code.BELOW_MINIMUM,
        True,
    )
    await world.settle()
    assert await bought(world, str(2 * least)) > 0
    await closed(world)
    assert (world.ours(), inventory(world)) == ({}, 3)


async def test_a_part_below_the_smallest_order_cannot_be_sold_and_says_so(world):
    held = await bought(world, "0.1")
    await closed(world, quantity="0.00003")
    assert (world.ours(), sells(world)) == ({"BTC/USDT": held}, [])
    assert (refusal(world).code, "smallest order" in refusal(world).reason) == (Code.BELOW_MINIMUM, True)


async def test_what_others_have_put_on_an_order_cannot_be_sold_and_the_next_exit_takes_what_is_free(world):
    held = await bought(world, "0.1")
    rest = world.exchange.coins[COIN[world.wire]] - D("0.03")
    world.exchange.place(
        Ask(BITCOIN[world.wire], "SELL", "LIMIT", "web_1", rest.quantize(D("0.00001")), D("50000"))
    )
    await closed(world, 6_000)
    assert world.ours() == {"BTC/USDT": held}, "the venue has refused it: there is too little on hand"
    await closed(world)
    assert sells(world) == [D("0.03")]
    assert world.ours() == {"BTC/USDT": held - D("0.03")}
    world.exchange.cancel_all()
    await minute(world)
    await closed(world)
    assert (world.ours(), inventory(world)) == ({}, 3)


async def test_what_was_bought_since_the_balances_were_read_is_sold_too(world):
    held = await bought(world, "0.1")
    world.server.venue.dialect.adjust({"coins": {COIN[world.wire]: str(held)}})  # there is no inventory
    await minute(world)
    held = await bought(world, "0.05")
    await closed(world)
    assert world.ours() == {}
    assert held - sum(sells(world)) < D("0.00001")


async def test_an_exit_whose_answer_was_lost_is_resolved_before_the_next_is_sent(world):
    """On futures the next would be cut to what is held; here it would sell the three coins."""
    held = await bought(world, "0.1")
    world.server.venue.faults.arm(Fault(Kind.RESET, *ADD[world.wire]))
    await world.give_exits(world.close())
    await world.settle()
    assert world.order().state is OrderState.UNKNOWN
    await world.give_exits(world.close(id="harder", reason="stop_loss"))
    await world.settle()
    assert "harder" not in world.ledger.known.intents, "it waits"
    await world.pass_time(3_000, step=500)
    assert (world.ours(), sells(world), inventory(world)) == ({}, [held], 3)
    assert world.ledger.known.intents["harder"].code is Code.NOTHING_TO_CLOSE


async def test_a_resting_exit_is_canceled_and_proven_gone_before_a_harder_one_is_sent(world):
    held = await bought(world, "0.1")
    await closed(world, type="limit", price="45000")
    assert world.order().state is OrderState.OPEN
    await world.give_exits(world.close(id="harder", reason="stop_loss"))
    await world.deliver(to_executor=False)
    assert "harder" not in world.ledger.known.intents, "nobody has to say it twice"
    assert world.order().state is OrderState.CANCELING
    await world.start()  # the wait is nobody's memory: what was not answered comes again
    await world.give_exits(world.close(id="harder", reason="stop_loss"))
    await world.pass_time(3_000)
    assert (world.ours(), inventory(world)) == ({}, 3)
    assert sells(world) == [held, held]
    resting = next(order for order in world.exchange.orders.values() if order.ask.price == 45_000)
    assert (resting.status, resting.filled) == ("CANCELED", 0)


async def test_nobody_sells_short_on_a_real_spot_venue_whatever_paper_may():
    async with live_world("binance", sections={"paper": {"spot_short": True}}) as world:
        await world.give(world.sell("0.1"))
        assert world.refusal().code is Code.SPOT_SHORT
