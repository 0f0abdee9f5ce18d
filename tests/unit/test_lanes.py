"""A live account's lane: what is sent there waits for no read."""

import asyncio
from contextlib import suppress

from services.executor.lanes import Lane
from tests.unit._executor import FakeClock


class Reading:
    """An executor whose exchange takes what is sent, and answers no read."""

    def __init__(self):
        self.sent, self.reads, self.rested, self.resting = 0, 0, 0, self

    async def run(self, keys):
        self.rested += 1

    def admit(self, key):
        return []

    async def ask_in_lane(self, key):
        await asyncio.Event().wait()

    async def send_in_lane(self, key):
        self.sent += 1
        return []

    async def look_in_lane(self, key):
        self.reads += 1
        await asyncio.Event().wait()


class Steps(FakeClock):
    async def sleep(self, seconds):
        await super().sleep(seconds)
        await asyncio.sleep(0)


async def test_a_read_that_hangs_holds_up_neither_sends_nor_what_is_told_of_resting_orders():
    async def venue():
        return None

    async def publish(_):
        pass

    executor = Reading()
    lane = Lane(("main", "binance"), venue, lambda _: None, {}, Steps())
    tasks = [
        asyncio.ensure_future(part)
        for part in (lane.open(publish, executor), lane.send(publish, executor), lane.rest(publish, executor))
    ]
    for count in range(1, 4):
        lane.news.set()
        for _ in range(10):
            await asyncio.sleep(0)
        assert executor.sent == count
        assert executor.rested > count
    assert executor.reads == 1, "one at a time"
    for task in tasks:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
