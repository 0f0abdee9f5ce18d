"""What the fidelity suite is made of: a bench (one server, seen as Holdfast sees one), cases, and what a case observed.

A case is a coroutine that does something on a bench and returns what it saw, as plain data; its expectation stands above
it. It writes through `transact` (as `holdfast.bus.connection.Publisher` does) and reads through the client that
`holdfast.bus.connection.connect` gives, with the calls that the bus makes. So whatever offers these two can be judged.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from redis.exceptions import RedisError

from holdfast.bus.connection import SOCKET_TIMEOUT_S
from holdfast.bus.transaction import Command, transact
from tests.contract._wait import wait_until


@dataclass(slots=True)
class Bench:
    """One server, empty. `client` and `other` are two connections to it."""

    client: Any
    other: Any
    blocked: Callable[[], Awaitable[int]]
    """How many clients wait in a blocking read right now."""
    transact: Callable[[Any, Sequence[Command], float], Awaitable[list[Any]]] = transact
    _reads: list["asyncio.Task[Any]"] = field(default_factory=list)

    async def run(self, *commands: Command) -> Any:
        """The replies to *commands* in one MULTI, or what was said instead."""
        return await seen(self.transact(self.client, commands, SOCKET_TIMEOUT_S))

    async def add(self, *ids: str, name: str = "s") -> None:
        """Entries with these ids; the body is the id."""
        told = await self.run(*(("XADD", name, entry_id, "body", entry_id) for entry_id in ids))
        assert told == list(ids), told

    async def group(self, at: str = "0", *, name: str = "s", group: str = "g") -> None:
        await self.client.xgroup_create(name, group, id=at, mkstream=True)

    async def read_new(self, consumer: str = "c", *, count: int = 10, group: str = "g") -> Any:
        return await self.read(">", consumer, count=count, group=group)

    async def read(self, after: str, consumer: str = "c", *, count: int = 10, group: str = "g") -> Any:
        """XREADGROUP as the worker does it: ids and bodies, None where the content is gone."""
        return entries(await seen(self.client.xreadgroup(group, consumer, {"s": after}, count=count)))

    async def pending(self, **narrow: Any) -> Any:
        """XPENDING with a range: id, consumer, deliveries of each."""
        rows = await seen(self.client.xpending_range("s", "g", "-", "+", 100, **narrow))
        if isinstance(rows, str):
            return rows
        return [[row["message_id"], row["consumer"], row["times_delivered"]] for row in rows]

    async def idle_ms(self) -> int:
        """How long the oldest pending entry has been with its consumer."""
        (row,) = await self.client.xpending_range("s", "g", "-", "+", 1)
        return int(row["time_since_delivered"])

    async def while_blocked(self, read: Awaitable[Any], *then: Awaitable[Any]) -> Any:
        """What *read*, made on `other`, returns when *then* happens once it waits."""
        await wait_until(self._nobody_waits, "earlier reads to end")
        task = asyncio.ensure_future(seen(read))
        await wait_until(self._somebody_waits, "the read to block")
        for step in then:
            await step
        return await asyncio.wait_for(task, 15)

    async def _nobody_waits(self) -> bool:
        return await self.blocked() == 0

    async def _somebody_waits(self) -> bool:
        return await self.blocked() > 0


async def seen(asked: Awaitable[Any]) -> Any:
    """The reply as plain data; an error as "! " and its words."""
    try:
        return plain(await asked)
    except RedisError as error:
        return f"! {error}"


def plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, Mapping):
        return {plain(key): plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    return value


def entries(reply: Any) -> Any:
    """A reply of one stream's entries as [id, body]; the body is None where an entry has no content."""
    if isinstance(reply, str) or not reply:
        return reply or []
    pairs = reply.items() if isinstance(reply, dict) else reply
    return [[entry_id, (fields or {}).get("body")] for _, batch in pairs for entry_id, fields in _flat(batch)]


def rows(reply: Any) -> Any:
    """A reply of XRANGE, XREVRANGE or XCLAIM as [id, body]."""
    if isinstance(reply, str):
        return reply
    return [[entry_id, (fields or {}).get("body")] for entry_id, fields in reply]


def _flat(batch: Any) -> Any:
    """RESP 3 wraps the entries of a stream once more."""
    return (
        batch[0]
        if batch and isinstance(batch[0], list) and batch[0] and isinstance(batch[0][0], list)
        else batch
    )


Run = Callable[[Bench], Awaitable[Any]]


@dataclass(frozen=True, slots=True)
class Case:
    """One thing that the bus leans on."""

    run: Run
    expected: Any
    """What Redis 7.0 answers."""

    @property
    def name(self) -> str:
        return self.run.__name__.replace("_", " ")

    @property
    def why(self) -> str:
        return " ".join((self.run.__doc__ or "").split())


CASES: list[Case] = []


def expect(expected: Any) -> Callable[[Run], Run]:
    """The decorated coroutine is a case; a right server makes it return *expected*."""

    def declare(run: Run) -> Run:
        CASES.append(Case(run, expected))
        return run

    return declare
