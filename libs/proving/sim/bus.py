"""The bus of a simulated world: one stream server, the network in front of it, and a client per process.

`SimRedis` has redis-py's methods, as far as Holdfast calls them, and its replies. A command crosses the network (a latency, a
crash point, perhaps a fault), runs on the server at one moment, and its reply crosses the network back. A blocked read is
served by the server at the moment in which something is appended, whether its process is awake or not, as Redis does.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextvars import Context
from typing import Any

from redis import exceptions as redis_errors

from proving.sim.connection import Pool
from proving.sim.groups import GroupServer
from proving.sim.loop import SimLoop
from proving.sim.process import START_MS, Process
from proving.sim.server import Fields, Id
from proving.sim.waiting import Waiter

FAST_S = (0.000_05, 0.001)
"""One way through the network."""
SLOW_S = (0.2, 3.0)
LOST_S = (0.5, 2.0)
"""How long it takes until an answer that does not come is given up."""


class SimBus:
    """The server and who waits for it. The clock of the server is the world's."""

    def __init__(self, loop: SimLoop) -> None:
        self.loop = loop
        self.server = GroupServer(self.wall_ms)
        self.gone_until_s = 0.0
        self.skew_ms = 0
        """The server's wall clock minus the world's."""
        self._waiters: dict[bytes, list[Waiter]] = {}
        self._touched: set[bytes] = set()
        self.server.on_append = self._appended
        self.taps: list[Callable[[bytes, Id, Fields], None]] = []
        """Told of every entry as it is appended."""

    def wall_ms(self) -> int:
        return START_MS + int(self.loop.time() * 1000) + self.skew_ms

    def _appended(self, name: bytes, entry_id: Id, fields: Fields) -> None:
        self._touched.add(name)
        for tap in self.taps:
            tap(name, entry_id, fields)

    def block(self, names: Sequence[bytes], waiter: Waiter) -> None:
        for name in names:
            self._waiters.setdefault(name, []).append(waiter)

    def wake(self) -> None:
        """Serve the blocked readers of every stream that has been written to, in the order in which they came."""
        while self._touched:
            name = min(self._touched)
            self._touched.discard(name)
            for waiter in self._waiters.pop(name, ()):
                self._serve(name, waiter)

    def _serve(self, name: bytes, waiter: Waiter) -> None:
        if waiter.future.done() or waiter.process.is_dead:
            return
        try:
            reply: list[Any] | Exception = waiter.serve()
        except redis_errors.ResponseError as error:
            reply = error
        if isinstance(reply, list) and not reply:
            self._waiters.setdefault(name, []).append(waiter)
            return
        waiter.future.set_result(reply)

    def restart(self, away_s: float) -> None:
        """Every connection breaks; the server answers again after *away_s*."""
        self.gone_until_s = max(self.gone_until_s, self.loop.time() + away_s)
        waiters, self._waiters = self._waiters, {}
        self._touched.clear()
        for name in sorted(waiters):
            for waiter in waiters[name]:
                if not waiter.future.done():
                    waiter.future.set_result(redis_errors.ConnectionError("Connection closed by server."))

    def removed(self, names: Sequence[bytes]) -> None:
        """These streams are gone: a blocked read of a group ends, as in Redis 7.0; one of a view goes on waiting."""
        for name in names:
            for waiter in self._waiters.get(name, ()):
                if waiter.of_group and not waiter.future.done():
                    waiter.future.set_result(
                        redis_errors.ResponseError("UNBLOCKED the stream key no longer exists")
                    )

    @property
    def blocked(self) -> int:
        """How many reads wait."""
        waiting = {
            id(waiter.future)
            for found in self._waiters.values()
            for waiter in found
            if not waiter.future.done()
        }
        return len(waiting)

    def cut(self, process: Process, seconds: float) -> None:
        """*process* loses its connections, and gets no new ones for so long."""
        process.cut_until_s = self.loop.time() + seconds
        for name in sorted(self._waiters):
            for waiter in self._waiters[name]:
                if waiter.process is process and not waiter.future.done():
                    waiter.future.set_result(redis_errors.ConnectionError("Connection reset by peer"))

    def reach(self, process: Process) -> None:
        """Raises ConnectionError while the server is away, or *process* cut off."""
        if self.loop.time() < max(self.gone_until_s, process.cut_until_s):
            raise redis_errors.ConnectionError("Error 111 connecting to sim:6379. Connection refused.")


class SimRedis:
    """A connection of one process. See the module."""

    def __init__(self, bus: SimBus, process: Process) -> None:
        self._bus, self._process, self._server = bus, process, bus.server
        self.connection_pool = Pool(self)

    # -- the way there and back -----------------------------------------------------------------------------------------

    async def command(self, operation: str, run: Callable[[], Any], *, writes: bool = False) -> Any:
        """Run *run* on the server. Raises what the server or the network raises."""
        process = self._process
        process.cross("bus", operation, "before")
        await process.wait(f"bus.{operation}.to", *FAST_S)
        if process.strike("bus.delay", operation):
            await process.wait("bus.delay", *SLOW_S)
        self._bus.reach(process)
        if process.strike("bus.lost_request", operation):
            await process.wait("bus.lost", *LOST_S)
            raise redis_errors.TimeoutError("Timeout reading from sim:6379")
        reply = self._run(run)
        if writes and process.strike("bus.duplicate", operation):
            reply = self._run(run)
        self._bus.wake()
        process.cross("bus", operation, "served")
        if process.strike("bus.lost_reply", operation):
            await process.wait("bus.lost", *LOST_S)
            raise redis_errors.TimeoutError("Timeout reading from sim:6379")
        if process.strike("bus.delay", f"{operation}.reply"):
            await process.wait("bus.delay", *SLOW_S)
        await process.wait(f"bus.{operation}.from", *FAST_S)
        process.cross("bus", operation, "after")
        if isinstance(reply, Exception):
            raise reply
        return reply

    @staticmethod
    def _run(run: Callable[[], Any]) -> Any:
        try:
            return run()
        except redis_errors.ResponseError as error:
            return error

    async def _blocking(
        self, operation: str, names: Sequence[bytes], run: Callable[[], list[Any]], block_ms: int | None
    ) -> list[Any]:
        """A read that waits for at most *block_ms*; None: not at all; 0: for ever."""
        reply: list[Any] = await self.command(operation, run)
        if reply or block_ms is None:
            return reply
        loop, process = self._bus.loop, self._process
        future: asyncio.Future[list[Any] | Exception] = loop.create_future()
        self._bus.block(names, Waiter(process, run, future, of_group=operation == "xreadgroup"))
        timer = loop.call_later(block_ms / 1000, _give_up, future, context=Context()) if block_ms else None
        try:
            served = await future
        finally:
            if timer is not None:
                timer.cancel()
            if not future.done():
                future.cancel()
        process.cross("bus", operation, "woken")
        if served and process.strike("bus.lost_reply", f"{operation}.woken"):
            await process.wait("bus.lost", *LOST_S)
            raise redis_errors.TimeoutError("Timeout reading from sim:6379")
        await process.wait(f"bus.{operation}.from", *FAST_S)
        if isinstance(served, Exception):
            raise served
        return served

    async def client_list(self) -> list[dict[str, str]]:
        """Who is connected is not told here, as by many servers that are rented: heartbeats alone say who lives."""
        raise redis_errors.NoPermissionError("this user has no permissions to run the 'client|list' command")

    # -- redis-py's methods --------------------------------------------------------------------------------------------

    async def ping(self) -> bool:
        return bool(await self.command("ping", lambda: True))

    async def aclose(self) -> None:
        """A connection that is closed leaves nothing behind."""

    async def info(self, section: str = "all") -> dict[str, Any]:  # noqa: ARG002 - only memory is told
        server = self._server
        used = server.maxmemory if server.is_full else server.maxmemory // 50
        return dict(await self.command("info", lambda: {"used_memory": used, "maxmemory": server.maxmemory}))

    async def delete(self, *names: str) -> int:
        keys = [name.encode() for name in names]
        done = int(await self.command("del", lambda: self._server.delete(*keys), writes=True))
        self._bus.removed(keys)
        return done

    async def flushall(self) -> bool:
        names = sorted(self._server.keys)
        await self.command("flushall", self._server.wipe)
        self._bus.removed(names)
        return True

    async def xadd(
        self,
        name: str,
        fields: Mapping[Any, Any],
        id: str = "*",  # noqa: A002 - redis-py's name
        maxlen: int | None = None,
        approximate: bool = True,
        nomkstream: bool = False,
        minid: str | None = None,
    ) -> bytes | None:
        content = {_bytes(key): _bytes(value) for key, value in fields.items()}
        reply: bytes | None = await self.command(
            "xadd",
            lambda: self._server.append(
                name.encode(), dict(content), entry_id=_bytes(id), maxlen=maxlen, approximate=approximate,
                min_id=None if minid is None else _bytes(minid), make=not nomkstream,
            ),
            writes=True,
        )  # fmt: skip
        return reply

    async def xread(
        self, streams: Mapping[str, Any], count: int | None = None, block: int | None = None
    ) -> list[Any]:
        wanted = self._server.resolve({name.encode(): _bytes(after) for name, after in streams.items()})
        return await self._blocking("xread", list(wanted), lambda: self._server.read(wanted, count), block)

    async def xreadgroup(
        self,
        groupname: str,
        consumername: str,
        streams: Mapping[str, Any],
        count: int | None = None,
        block: int | None = None,
        noack: bool = False,
    ) -> list[Any]:
        wanted = {name.encode(): _bytes(after) for name, after in streams.items()}
        return await self._blocking(
            "xreadgroup",
            list(wanted),
            lambda: self._server.read_group(
                groupname.encode(), consumername.encode(), wanted, count, no_ack=noack
            ),
            block,
        )

    async def xack(self, name: str, groupname: str, *ids: Any) -> int:
        texts = [_bytes(one) for one in ids]
        return int(
            await self.command(
                "xack", lambda: self._server.ack(name.encode(), groupname.encode(), texts), writes=True
            )
        )

    async def xclaim(
        self,
        name: str,
        groupname: str,
        consumername: str,
        min_idle_time: int,
        message_ids: Sequence[Any],
        *,
        justid: bool = False,
    ) -> list[Any]:
        texts = [_bytes(one) for one in message_ids]
        return list(
            await self.command(
                "xclaim",
                lambda: self._server.claim(
                    name.encode(),
                    groupname.encode(),
                    consumername.encode(),
                    min_idle_time,
                    texts,
                    just_id=justid,
                ),
                writes=True,
            )
        )

    async def xpending(self, name: str, groupname: str) -> dict[str, Any]:
        return dict(
            await self.command("xpending", lambda: self._server.pending(name.encode(), groupname.encode()))
        )

    async def xpending_range(
        self,
        name: str,
        groupname: str,
        min: Any,  # noqa: A002 - redis-py's name
        max: Any,  # noqa: A002 - redis-py's name
        count: int,
        consumername: str | None = None,
        idle: int | None = None,
    ) -> list[dict[str, Any]]:
        consumer = None if consumername is None else consumername.encode()
        return list(
            await self.command(
                "xpending_range",
                lambda: self._server.pending_range(
                    name.encode(), groupname.encode(), _bytes(min), _bytes(max), count, consumer=consumer, idle_ms=idle or 0
                ),
            )
        )  # fmt: skip

    async def xinfo_groups(self, name: str) -> list[dict[str, Any]]:
        return list(await self.command("xinfo_groups", lambda: self._server.groups(name.encode())))

    async def xgroup_create(
        self,
        name: str,
        groupname: str,
        id: str = "$",  # noqa: A002 - redis-py's name
        mkstream: bool = False,
    ) -> bool:
        return bool(
            await self.command(
                "xgroup_create",
                lambda: self._server.group_create(
                    name.encode(), groupname.encode(), _bytes(id), make=mkstream
                ),
                writes=False,
            )
        )

    async def xrange(
        self,
        name: str,
        min: Any = "-",  # noqa: A002 - redis-py's name
        max: Any = "+",  # noqa: A002 - redis-py's name
        count: int | None = None,
    ) -> list[Any]:
        return list(
            await self.command(
                "xrange", lambda: self._server.range(name.encode(), _bytes(min), _bytes(max), count)
            )
        )

    async def xrevrange(
        self,
        name: str,
        max: Any = "+",  # noqa: A002 - redis-py's name
        min: Any = "-",  # noqa: A002 - redis-py's name
        count: int | None = None,
    ) -> list[Any]:
        return list(
            await self.command(
                "xrevrange",
                lambda: self._server.range(name.encode(), _bytes(min), _bytes(max), count, newest_first=True),
            )
        )

    async def xlen(self, name: str) -> int:
        return int(await self.command("xlen", lambda: self._server.length(name.encode())))

    async def xtrim(
        self, name: str, maxlen: int | None = None, approximate: bool = True, minid: Any = None
    ) -> int:
        low = None if minid is None else _bytes(minid)
        return int(await self.command(
            "xtrim", lambda: self._server.trim(name.encode(), maxlen=maxlen, min_id=low, approximate=approximate), writes=True,
        ))  # fmt: skip


def _give_up(future: "asyncio.Future[list[Any] | Exception]") -> None:
    if not future.done():
        future.set_result([])


def _bytes(value: Any) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode()
