"""The executor is killed behind each numbered step of docs/order-life.md; the next one finds out what is true."""

import re

import pytest

from holdfast.contracts.messages import Fill
from tests.architecture._tree import text
from tests.venue._spot import COIN
from tests.venue._world import D, live_world


class Killed(BaseException):
    """`kill -9`: nothing catches it, nothing is cleaned up."""


def is_fill(out):
    return isinstance(getattr(out, "message", None), Fill)


class Death:
    """One order of *world*, whose executor dies behind a step."""

    def __init__(self, world, is_exit):
        self.world, self.is_exit = world, is_exit
        self.intent = world.close() if is_exit else world.buy("0.2")

    async def give(self):
        await (self.world.give_exits(self.intent) if self.is_exit else self.world.give(self.intent))

    async def handled(self):
        executor = self.world.executor
        return await (
            executor.on_exits([self.intent]) if self.is_exit else executor.on_entries([self.intent])
        )

    async def reserved(self):
        """The ledger has committed the reservation; the executor has not heard of it."""
        await self.give()
        return await self.world.deliver(to_executor=False)

    async def hear(self, updates):
        for update in updates:
            self.world.view.apply(update)
        return await self.world.executor.on_updates(updates)

    async def dies_at_the_socket(self, *, behind):
        """The request is handed over, or it is not; the answer is never seen."""
        clients = self.world.clients
        trade = clients.leave if self.is_exit else clients.trade
        fetch = trade.fetch

        async def last_words(*request, **named):
            if behind:
                await fetch(*request, **named)
            raise Killed

        trade.fetch = last_words
        try:
            with pytest.raises(Killed):
                await self.hear(await self.reserved())
        finally:
            trade.fetch = fetch

    # -- the steps ----------------------------------------------------------------------------------------------------------

    async def step_1(self):
        await self.handled()

    async def step_2(self):
        await self.give()

    async def step_3(self):
        await self.reserved()

    async def step_4(self):
        await self.dies_at_the_socket(behind=False)

    async def step_5(self):
        await self.dies_at_the_socket(behind=True)

    async def step_6(self):
        await self.hear(await self.reserved())

    async def step_7(self):
        await self.hear(await self.reserved())
        await self.world.executor.on_time()

    async def step_8(self):
        self.world.publish(await self.hear(await self.reserved()))
        self.world.clock.now += 400
        self.world.publish([out for out in await self.world.executor.on_time() if not is_fill(out)])

    async def step_9(self):
        self.world.publish(await self.hear(await self.reserved()))
        self.world.clock.now += 200
        assert any(map(is_fill, await self.world.executor.on_time()))

    async def step_10(self):
        self.world.publish(await self.hear(await self.reserved()))
        await self.world.time()
        assert self.world.of(Fill)

    async def step_11(self):
        await self.step_10()
        await self.world.deliver(to_executor=False)


STEPS = range(1, 12)
NEVER_SENT = {2, 3, 4}
"""Where the order was reserved and had not left: it ends as never sent, and what wants it must ask again."""


def kept(world):
    """What is left of a coin that is bought: at Binance spot the fee comes out of it."""
    return D("0.999") if world.wire == "binance" else D(1)


async def play(world, step, *, is_exit, wiped):
    await world.give(world.buy("0.1"))
    await world.settle()
    await world.pass_time(1_000)
    assert world.ours() == world.held() == {"BTC/USDT": D("0.1") * kept(world)}
    before = len(world.exchange.received)
    death = Death(world, is_exit)
    await getattr(death, f"step_{step}")()
    if wiped:
        world.bus.clear()
    await world.start()
    await world.price("42000")  # the newest prices are read back at start
    if (death.intent.stream.name, death.intent.entry_id) not in world.acked:
        await death.give()
    await world.settle()
    await world.pass_time(40_000, step=1_000)
    return len(world.exchange.received) - before


@pytest.mark.parametrize("wiped", [False, True], ids=["", "wiped"])
@pytest.mark.parametrize("is_exit", [False, True], ids=["entry", "exit"])
@pytest.mark.parametrize("step", STEPS)
async def test_whatever_step_the_executor_dies_behind_the_next_one_finds_the_truth(step, is_exit, wiped):
    async with live_world() as world:
        sent = await play(world, step, is_exit=is_exit, wiped=wiped)
        never = step in NEVER_SENT and not (wiped and step == 2)
        assert sent == (0 if never else 1)
        expected = D("0.1") if never else D(0) if is_exit else D("0.3")
        assert world.held() == world.ours() == ({"BTC/USDT": expected} if expected else {})
        assert world.recorded_trades() == {str(trade.number) for trade in world.exchange.trades}
        assert world.ledger.state.orders == {}
        intents = world.ledger.known.intents.values()
        assert [row.intent_id for row in intents if not row.is_final] == []
        assert world.executor.heartbeat()["unreadable"] is None


@pytest.mark.parametrize("wire", ["binance", "kraken"])
@pytest.mark.parametrize("is_exit", [False, True], ids=["entry", "exit"])
@pytest.mark.parametrize("step", STEPS)
async def test_on_spot_it_finds_it_too_and_sells_nothing_of_what_others_have(step, is_exit, wire):
    async with live_world(wire) as world:
        world.server.venue.dialect.adjust({"coins": {COIN[wire]: "3"}})
        sent = await play(world, step, is_exit=is_exit, wiped=False)
        assert sent == (0 if step in NEVER_SENT else 1)
        expected = (D("0.1") if step in NEVER_SENT else D(0) if is_exit else D("0.3")) * kept(world)
        assert world.held() == world.ours() == ({"BTC/USDT": expected} if expected else {})
        assert world.exchange.coins[COIN[wire]] == 3 + expected
        assert world.recorded_trades() == world.venue_trades()
        assert world.ledger.state.orders == {}
        assert world.executor.heartbeat()["unreadable"] is None


@pytest.mark.parametrize("is_exit", [False, True], ids=["entry", "exit"])
async def test_one_that_was_only_paused_sends_nothing_that_its_successor_has_declared_absent(is_exit):
    """A minute under SIGSTOP, right before it heard of its reservation; meanwhile another has taken the account over."""
    async with live_world() as world:
        await world.give(world.buy("0.1"))
        await world.settle()
        await world.pass_time(1_000)
        death = Death(world, is_exit)
        updates = await death.reserved()
        (order,) = world.ledger.state.orders.values()
        stale, its_view = world.executor, world.view
        before = len(world.exchange.received)
        await world.start()
        await world.pass_time(60_000, step=1_000)
        assert order.order_id not in world.ledger.state.orders, "declared absent"
        for update in updates:
            its_view.apply(update)
        await stale.on_updates(updates)
        assert len(world.exchange.received) == before
        assert world.held() == world.ours() == {"BTC/USDT": D("0.1")}


def test_every_step_of_the_page_is_played():
    numbers = re.findall(r"^\| (\d+) \|", text("docs/order-life.md"), re.MULTILINE)
    assert [int(number) for number in numbers] == [*STEPS, 12]
