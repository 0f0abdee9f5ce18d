"""A live account's own lane: it opens its exchange, sends there, asks there. However slow or silent that is, no other account feels it.

An exchange that does not answer at the start is asked again until it does; until then its entries are refused and its exits wait. What
is wrong with an account's settings is told by the first answer: at the start it ends the service, before anything is sent; later it
keeps that account closed, because the others are trading by then.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from holdfast.contracts.wire import Outgoing
from holdfast.runtime.clock import Clock
from holdfast.runtime.faults import Terminal
from holdfast.venues.port import Venue, VenueUnreadable
from services.executor.guard import Key
from services.executor.service import Executor

log = logging.getLogger("holdfast.executor")
FIRST_ANSWER_S = 3.0
"""The start waits so long for all exchanges together, in real time: what is wrong with the settings is to be said before anybody trades."""
OPEN_AGAIN_S = 5.0
ASK_EVERY_S = 0.2
Publish = Callable[[list[Outgoing]], Awaitable[None]]


class Lane:
    """See the module. *take* is given the open venue; *closed* says of each account that is not open why."""

    def __init__(
        self,
        key: Key,
        connect: Callable[[], Awaitable[Venue]],
        take: Callable[[Venue], None],
        closed: dict[Key, str],
        clock: Clock,
    ) -> None:
        self.key, self._connect, self._take, self._closed, self._clock = key, connect, take, closed, clock
        self.news = asyncio.Event()
        """Set when the ledger has shown something that may have to be sent."""
        self._attempt: asyncio.Task[Venue] | None = None
        self._is_open = asyncio.Event()
        closed[key] = "it has not answered since the start"

    def knock(self) -> "asyncio.Task[Venue]":
        """The attempt that is on its way, or whose outcome nobody has taken yet."""
        if self._attempt is None:
            self._attempt = asyncio.ensure_future(self._connect())
        return self._attempt

    async def open(self, publish: Publish, executor: Executor) -> None:
        """Until it has let us in, however often it must be asked; then ask it what happens there, until canceled."""
        while not self._is_open.is_set():
            try:
                venue = await self.knock()
            except (VenueUnreadable, Terminal) as error:
                if self._closed[self.key] != str(error):
                    log.warning("%s/%s is not ready: %s", *self.key, error)
                self._closed[self.key] = str(error)
                await self._clock.sleep(OPEN_AGAIN_S)
            else:
                self._take(venue)
                self._is_open.set()
            finally:
                self._attempt = None
        await publish(executor.admit(self.key))
        while True:
            await publish(await executor.ask_in_lane(self.key))
            await self._clock.sleep(ASK_EVERY_S)

    async def send(self, publish: Publish, executor: Executor) -> None:
        """Send what the ledger shows as reserved, as soon as it does; what is read after that the next send does not wait for."""
        await self._is_open.wait()
        looking: asyncio.Task[None] | None = None
        try:
            while True:
                await self.news.wait()
                self.news.clear()
                await publish(await executor.send_in_lane(self.key))
                if looking is not None and looking.done():
                    looking.result()
                    looking = None
                looking = looking or asyncio.ensure_future(self._look(publish, executor))
        finally:
            if looking is not None:
                looking.cancel()
                await asyncio.gather(looking, return_exceptions=True)

    async def rest(self, _: Publish, executor: Executor) -> None:
        """Look after what rests there, each 200 ms: a dead man's switch that is to be taken back waits for no read."""
        await self._is_open.wait()
        while True:
            await executor.resting.run([self.key])
            await self._clock.sleep(ASK_EVERY_S)

    async def _look(self, publish: Publish, executor: Executor) -> None:
        await publish(await executor.look_in_lane(self.key))

    async def close(self) -> None:
        """Give up an attempt that is on its way, or whose outcome nobody has taken."""
        attempt, self._attempt = self._attempt, None
        if attempt is None:
            return
        attempt.cancel()
        (found,) = await asyncio.gather(attempt, return_exceptions=True)
        if not isinstance(found, BaseException):
            await found.close()


async def first_answers(lanes: list[Lane]) -> None:
    """Knock everywhere, and wait a moment. Raises Terminal where an exchange has answered, and an account is not as its settings say."""
    if not lanes:
        return
    done, _ = await asyncio.wait({lane.knock() for lane in lanes}, timeout=FIRST_ANSWER_S)
    for task in done:
        error = task.exception()
        if error is not None and not isinstance(error, VenueUnreadable):
            raise error
