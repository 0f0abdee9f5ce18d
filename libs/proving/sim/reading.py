"""New work without FastStream: a plain XREADGROUP loop that behaves as its batch subscriber does, the awkward parts included.

A lost server: a pause, then on. Anything else that the server says (NOGROUP after a wipe) ends the loop; whoever owns the
subscription notices, and starts it again.
"""

import asyncio
from collections.abc import Callable
from typing import Any

from redis import exceptions as redis_errors

from holdfast.bus.subscription import Consume, Subscription
from proving.sim.bus import SimRedis
from proving.sim.process import Process

PAUSE_S = 0.2


class PlainReading:
    """See `bus.subscription.Reading`."""

    def __init__(self, process: Process, connect: Callable[[], SimRedis]) -> None:
        self._process, self._connect = process, connect

    def subscribe(
        self, name: str, group: str, consumer: str, *, count: int, block_ms: int, consume: Consume
    ) -> Subscription:
        async def read() -> list[Any]:
            client = self._connect()
            return await client.xreadgroup(group, consumer, {name: ">"}, count=count, block=block_ms)

        return _PlainSubscription(self._process, read, consume)

    async def connect(self) -> None:
        """Each subscription has its own connection."""

    async def stop(self) -> None:
        """The workers have stopped theirs."""


class _PlainSubscription:
    """See `bus.subscription.Subscription`."""

    def __init__(self, process: Process, read: Callable[[], Any], consume: Consume) -> None:
        self._process, self._read, self._consume = process, read, consume
        self._task: asyncio.Task[None] | None = None

    @property
    def is_reading(self) -> bool:
        return self._task is not None and not self._task.done()

    async def start(self) -> None:
        await self.stop()
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        task, self._task = self._task, None
        if task is None:
            return
        task.cancel()
        await asyncio.wait([task])
        if not task.cancelled():
            task.exception()

    async def _run(self) -> None:
        while True:
            try:
                reply = await self._read()
            except (redis_errors.ConnectionError, redis_errors.TimeoutError):
                await self._process.wait("reading.pause", PAUSE_S, PAUSE_S * 1.1)
                continue
            for _, entries in reply:
                await self._consume([(entry_id.decode(), fields) for entry_id, fields in entries])
