"""What the contract tests share: a bus seen from outside, services run inside the test, servers that can be killed.

A `Bus` is a plain redis-py client, so that a test puts in and takes out what anybody with `redis-cli` could.
"""

import asyncio
import os
import signal
import subprocess
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import orjson
from redis.asyncio import Redis

from holdfast.bus.app import ServiceApp
from holdfast.bus.connection import connect
from holdfast.contracts.base import Message
from holdfast.contracts.messages import IntentResult
from holdfast.contracts.streams import INTENT_RESULT, STREAMS, Stream
from holdfast.contracts.wire import Entry, decode
from holdfast.runtime.embedded_bus import EmbeddedBus, _wait_until_ready, prepare
from holdfast.runtime.settings import BusSettings, Settings
from tests.contract._wait import wait_until

QUICK = {"block_ms": 100, "claim_idle_ms": 1000, "max_deliveries": 3, "store_patience_s": 20.0}
"""Bus settings for tests: short reads, short patience."""


def settings_for(
    url: str, directory: Path, *, bus: dict[str, Any] | None = None, **sections: Any
) -> Settings:
    return Settings.model_validate(
        {"dir": directory, "bus": {"url": url, **QUICK, **(bus or {})}, **sections}
    )


class Bus:
    """The bus from outside. `add` writes entries as a stranger would; `of` reads all that is there."""

    def __init__(self, url: str, prefix: str = "") -> None:
        self.url, self.prefix = url, prefix
        self.redis: Redis = connect(url)

    async def add(self, stream: Stream, message: Message | None = None, **document: Any) -> str:
        """XADD of a message, or of the JSON of *document*; returns the entry id."""
        body = message.body() if message is not None else orjson.dumps(document)
        return await self.add_raw(stream, body=body)

    async def add_raw(self, stream: Stream, **fields: str | bytes) -> str:
        """XADD of plain fields; returns the entry id."""
        return (await self.redis.xadd(self.prefix + stream.name, dict(fields))).decode()

    async def entries(self, stream: Stream) -> list[Entry]:
        rows = await self.redis.xrange(self.prefix + stream.name)
        return [decode(stream, entry_id.decode(), fields) for entry_id, fields in rows]

    async def of(self, stream: Stream) -> list[Any]:
        """The messages of *stream*, oldest first. Fails on an entry that is none."""
        entries = await self.entries(stream)
        assert not [entry.error for entry in entries if entry.error is not None]
        return [entry.message for entry in entries]

    async def pending(self, stream: Stream, group: str) -> int:
        """Entries delivered to *group* and not acknowledged; 0 while there is no such group."""
        return sum(row["pending"] for row in await self._groups(stream) if row["name"] == group.encode())

    async def _groups(self, stream: Stream) -> list[dict[str, Any]]:
        if not await self.redis.exists(self.prefix + stream.name):
            return []
        return list(await self.redis.xinfo_groups(self.prefix + stream.name))

    async def finished(self, stream: Stream, group: str) -> bool:
        """Whether *group* has nothing pending, and nothing left to be delivered."""
        mine = [row for row in await self._groups(stream) if row["name"] == group.encode()]
        newest = await self.redis.xrevrange(self.prefix + stream.name, count=1)
        done = bool(mine) and not mine[0]["pending"]
        return done and (not newest or mine[0]["last-delivered-id"] == newest[0][0])

    async def names(self) -> set[str]:
        return {key.decode() for key in await self.redis.keys("*")}

    async def result(self, intent_id: str) -> IntentResult | None:
        """The newest answer to an intent."""
        found = [message for message in await self.of_results() if message.intent_id == intent_id]
        return found[-1] if found else None

    async def of_results(self) -> list[IntentResult]:
        return await self.of(INTENT_RESULT)

    async def close(self) -> None:
        await self.redis.aclose()


def declared(prefix: str = "") -> set[str]:
    """Every key that may be on a bus."""
    return {prefix + stream.name for stream in STREAMS}


@asynccontextmanager
async def running(*apps: ServiceApp) -> AsyncIterator[None]:
    """Serve *apps* as long as the block; at its end each must stop with exit code 0."""
    tasks = [asyncio.create_task(app.serve()) for app in apps]
    try:
        yield
        dead = [app.name for app, task in zip(apps, tasks, strict=True) if task.done()]
        assert not dead, f"stopped by themselves: {dead}, {[task.result() for task in tasks if task.done()]}"
    finally:
        codes = await stop(apps, tasks)
    assert codes == [0] * len(apps)


async def stop(apps: Sequence[ServiceApp], tasks: Sequence["asyncio.Task[int]"]) -> list[int]:
    for app in apps:
        app.stop()
    return list(await asyncio.gather(*tasks))


async def ends(app: ServiceApp, seconds: float = 15.0) -> int:
    """Serve *app* until it stops by itself; its exit code."""
    return await asyncio.wait_for(app.serve(), seconds)


class Server:
    """A real server of our own that can be killed, and started again on the same address with the same files."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._bus: EmbeddedBus = prepare(directory, BusSettings())
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return self._bus.url

    @property
    def port(self) -> int:
        return self._bus.port

    def start(self) -> None:
        with (self.directory / "bus.log").open("ab") as log:
            self._process = subprocess.Popen(
                self._bus.command, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        _wait_until_ready(self._process, self._bus, self.directory / "bus.log")

    def kill(self) -> None:
        """SIGKILL: no goodbye, no last write."""
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._process = None

    def pause(self) -> None:
        """It stands still: what is sent to it waits in its socket."""
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGSTOP)

    def go_on(self) -> None:
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGCONT)

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(10)
            self._process = None


__all__ = ["Bus", "Server", "declared", "ends", "running", "settings_for", "stop", "wait_until"]
