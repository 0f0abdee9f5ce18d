"""Random histories: crashes, wiped and rewound buses, lost answers, fills that are not told. Afterwards everything agrees.

A tenth of a second of thought per seed. On failure the seed is in the test's name; `history` is what happened.
"""

import random

import pytest

from holdfast.contracts.codes import OrderState
from holdfast.venues.port import OutcomeKind
from tests.unit._executor import TERMINAL, D, World

SYMBOLS = ("BTC/USDT", "ETH/USDT")


class Chaos:
    def __init__(self, seed, world):
        self.random, self.world, self.history, self.given, self.heard = random.Random(seed), world, [], [], []

    async def step(self):
        acts = [
            self.intent,
            self.intent,
            self.deliver,
            self.deliver,
            self.fill,
            self.fill,
            self.time,
            self.time,
        ]
        acts += [self.crash, self.wipe, self.reset, self.redeliver, self.answers, self.rewind, self.lose_view]
        act = self.random.choice(acts)
        self.history.append(act.__name__)
        await act()

    async def intent(self):
        world, pick = self.world, self.random
        symbol, side = pick.choice(SYMBOLS), pick.choice(["buy", "sell"])
        await world.tick(symbol=symbol)
        if pick.random() < 0.4:
            entry = (
                world.close(symbol)
                if pick.random() < 0.7
                else world.close(symbol, quantity="0.3", reason="stop_loss")
            )
            self.given.append((True, entry))
            await world.give_exits(entry)
        elif not world.executor.desk.is_full:
            fields = {"type": "limit", "price": "100"} if pick.random() < 0.3 else {}
            entry = world.entry(symbol=symbol, side=side, quantity=pick.choice(["1", "0.5"]), **fields)
            self.given.append((False, entry))
            await world.give(entry)

    async def deliver(self):
        self.heard += await self.world.deliver()

    async def lose_view(self):
        """The ledger takes everything; the executor dies before it hears."""
        await self.world.deliver(to_executor=False)
        await self.crash()

    async def fill(self):
        live = [order.order_id for order in self.world.venue.orders.values() if order.state not in TERMINAL]
        if live:
            quantity = self.random.choice([None, "0.001"])
            self.world.venue.fill(self.random.choice(live), quantity, told=self.random.random() < 0.7)
        await self.world.tick()

    async def time(self):
        await self.world.time(self.random.choice([50, 400, 2500]))

    async def crash(self):
        """Messages that were published stay on the bus; what was not acknowledged is delivered again."""
        await self.world.start()
        for is_exit, entry in self.given[-8:]:
            if (
                entry.stream.name,
                entry.entry_id,
            ) not in self.world.acked and not self.world.executor.desk.is_full:
                await (self.world.give_exits(entry) if is_exit else self.world.give(entry))

    async def wipe(self):
        self.world.bus.clear()
        await self.world.reset()

    async def reset(self):
        await self.world.reset()

    async def rewind(self):
        """The view goes back to a snapshot of now, and the last updates are told once more, as if they were new."""
        last = self.world.ledger.updates[-self.random.randint(1, 4) :]
        self.world.publish(await self.world.executor.on_updates(last))

    async def redeliver(self):
        for is_exit, entry in self.random.sample(self.given, min(3, len(self.given))):
            if is_exit:
                await self.world.give_exits(entry)
            elif not self.world.executor.desk.is_full:
                await self.world.give(entry)

    async def answers(self):
        venue = self.world.venue
        venue.outcome = self.random.choice(
            [OutcomeKind.ACCEPTED, OutcomeKind.ACCEPTED, OutcomeKind.UNKNOWN, OutcomeKind.REJECTED]
        )
        venue.arrives = venue.outcome is not OutcomeKind.UNKNOWN or self.random.random() < 0.5

    async def quiet(self):
        """Faults end; time passes; then whatever rests is canceled."""
        world = self.world
        world.venue.outcome, world.venue.arrives = OutcomeKind.ACCEPTED, True
        await world.start()
        await world.pass_time(8000)
        for symbol in SYMBOLS:
            await world.give(world.entry(action="cancel", symbol=symbol))
        await world.pass_time(130_000, step=1000)


@pytest.mark.parametrize("seed", range(60))
async def test_whatever_happens_nothing_is_sent_twice_and_both_sides_agree(seed):
    world = await World().start()
    chaos = Chaos(seed, world)
    for _ in range(50):
        await chaos.step()
    await chaos.quiet()
    story = chaos.history
    assert all(count == 1 for count in world.venue.sends.values()), story
    theirs = {position.symbol: position.quantity for position in await world.venue.positions()}
    ours = {
        row.symbol: row.quantity if row.side.value == "long" else -row.quantity
        for row in world.ledger.state.positions.values()
    }
    assert ours == theirs, story
    assert {fill.key for fill in world.venue.trades} == set(world.ledger.known.fills), story
    unended = [row.state for row in world.ledger.state.orders.values() if row.state is not OrderState.OPEN]
    assert not [state for state in unended if state is not OrderState.PARTIAL], story
    assert not world.executor.desk.pending, story
    assert not world.executor.owed.fills, story
    assert not world.executor.owed.statuses, story
    assert world.executor.heartbeat()["unreadable"] is None, story
    assert sum((order.filled for order in world.venue.orders.values()), D(0)) == sum(
        (fill.quantity for fill in world.venue.trades), D(0)
    )
