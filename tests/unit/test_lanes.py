"""A live account's lane: what is sent there waits for no read."""

import asyncio
from contextlib import suppress

from services.executor.lanes import Lane
from tests.unit._executor import FakeClock


class Reading:
    """An executor whose exchange takes what is sent, and answers no read."""

    def __init__(self):
        self.sent, self.reads = 0, 0

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


async def test_a_read_that_hangs_holds_no_send_up():
    async def venue():
        return None

    async def publish(_):
        pass

    executor = Reading()
    lane = Lane(("main", "binance"), venue, lambda _: None, {}, FakeClock())
    tasks = [
        asyncio.ensure_future(part) for part in (lane.open(publish, executor), lane.send(publish, executor))
    ]
    for count in range(1, 4):
        lane.news.set()
        for _ in range(10):
            await asyncio.sleep(0)
        assert executor.sent == count
    assert executor.reads == 1, "one at a time"
    for task in tasks:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
