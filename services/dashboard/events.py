"""`/events`: what changed on the first screen, to every open page, at most so many times a second.

There is no queue to grow. The screen is made once per beat, while anybody looks; all pages share its bytes. A page that has
seen the beat before gets the difference, one that was too slow for that gets the whole screen: however slow it is, it costs
one number. A page that takes nothing for a while is let go, so that nobody holds a place by doing nothing.
"""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import orjson
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from holdfast.runtime.clock import Clock
from services.dashboard.screen import Screen, difference, whole

log = logging.getLogger("holdfast.dashboard")

QUIET_S = 2.0
"""A page hears something at least this often, so that it notices a silent connection."""
STUCK_S = 15.0
"""A page that takes nothing for this long is let go."""
LONGEST_S = 3600.0
"""Connections are renewed after this: a login that has ended must not go on reading."""


@dataclass
class Beat:
    """The screen at one moment, and how it differs from the one before."""

    number: int
    now_ms: int
    screen: Screen
    change: bytes

    @cached_property
    def everything(self) -> bytes:
        return event({"n": self.number, "now": self.now_ms, **whole(self.screen)})


def event(document: dict[str, object]) -> bytes:
    """One server-sent event."""
    return b"data: " + orjson.dumps(document) + b"\n\n"


class Hub:
    """Makes beats while anybody listens. `look` makes the screen."""

    def __init__(self, look: Callable[[], Screen], clock: Clock, refresh_ms: int, max_clients: int) -> None:
        self._look, self._clock, self._refresh_ms, self.max_clients = look, clock, refresh_ms, max_clients
        self.clients = 0
        self.refused = 0
        self.made_ms = 0
        """How long the last beat took to make."""
        self._beat: Beat | None = None
        self._news = asyncio.Condition()
        self._stopping = False
        self._wanted = asyncio.Event()

    async def run(self) -> None:
        """Make beats until stopped; none while nobody listens."""
        while not self._stopping:
            if not self.clients:
                self._wanted.clear()
                await self._wanted.wait()
                continue
            started = self._clock.monotonic_ms()
            self._make()
            async with self._news:
                self._news.notify_all()
            self.made_ms = self._clock.monotonic_ms() - started
            await self._clock.sleep(max(self._refresh_ms, 3 * self.made_ms) / 1000)

    def _make(self) -> None:
        screen, last = self._look(), self._beat
        number = 1 if last is None else last.number + 1
        now_ms = self._clock.wall_ms()
        change = difference(Screen() if last is None else last.screen, screen)
        self._beat = Beat(number, now_ms, screen, event({"n": number, "now": now_ms, **change}))

    async def stop(self) -> None:
        """Let every page go."""
        self._stopping = True
        self._wanted.set()
        async with self._news:
            self._news.notify_all()

    def enter(self) -> bool:
        """Take a place; False when all are taken."""
        if self.clients >= self.max_clients:
            self.refused += 1
            return False
        self.clients += 1
        self._wanted.set()
        return True

    def leave(self) -> None:
        self.clients -= 1

    async def next(self, seen: int) -> tuple[int, bytes]:
        """What a page that has seen beat *seen* is to get now, and the number of it. Empty when the hub stops."""
        async with self._news:
            while not self._stopping and (self._beat is None or self._beat.number <= seen):
                await self._news.wait()
        beat = self._beat
        if self._stopping or beat is None:
            return seen, b""
        return beat.number, beat.change if beat.number == seen + 1 and seen else beat.everything


class EventStream(Response):
    """The answer of `/events`. The place must have been taken with `Hub.enter`; it is given back here."""

    media_type = "text/event-stream"

    def __init__(self, hub: Hub) -> None:
        super().__init__(headers={"x-accel-buffering": "no"})
        del self.headers["content-length"]
        self._hub = hub

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - ASGI's shape
        gone = asyncio.ensure_future(_gone(receive))
        feeding = asyncio.ensure_future(self._feed(send))
        try:
            await asyncio.wait({gone, feeding}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._hub.leave()
            for task in (gone, feeding):
                task.cancel()
            await asyncio.gather(gone, feeding, return_exceptions=True)

    async def _feed(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        seen, loop = 0, asyncio.get_running_loop()
        ends = loop.time() + LONGEST_S
        await asyncio.wait_for(send(_part(b"retry: 1000\n\n")), STUCK_S)
        while loop.time() < ends:
            try:
                number, data = await asyncio.wait_for(self._hub.next(seen), QUIET_S)
            except TimeoutError:
                number, data = seen, b": still here\n\n"
            if not data:
                break
            await asyncio.wait_for(send(_part(data)), STUCK_S)
            seen = number
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        continue


def _part(data: bytes) -> dict[str, object]:
    return {"type": "http.response.body", "body": data, "more_body": True}
