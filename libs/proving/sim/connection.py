"""What `bus.transaction.transact` needs of a connection: packed commands in, replies out, MULTI and EXEC as Redis means them.

The bytes are parsed again by hiredis, so the real transaction code runs, down to what it puts on the wire.
"""

from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import hiredis
from redis import exceptions as redis_errors

from proving.sim.groups import GroupServer

if TYPE_CHECKING:
    from proving.sim.bus import SimRedis


FEWEST_WORDS = {b"XADD": 5, b"XACK": 4, b"XTRIM": 4, b"SET": 3}


class Pool:
    """One connection at a time, as many as are asked for."""

    def __init__(self, redis: "SimRedis") -> None:
        self._redis = redis

    async def get_connection(self) -> "Connection":
        return Connection(self._redis)

    async def release(self, connection: "Connection") -> None:
        """Nothing is kept."""


class Connection:
    """See the module."""

    def __init__(self, redis: "SimRedis") -> None:
        self._redis = redis
        self._replies: deque[Any] = deque()

    async def send_packed_command(self, packed: bytes) -> None:
        reader = hiredis.Reader()
        reader.feed(packed)
        commands: list[list[bytes]] = []
        while (command := reader.gets()) is not False:
            commands.append(command)
        server = self._redis._server  # noqa: SLF001 - the other half of the same client
        replies = await self._redis.command("multi", lambda: transaction(server, commands), writes=True)
        self._replies.extend(replies)

    async def read_response(self, timeout: float | None = None) -> Any:  # noqa: ARG002, ASYNC109 - redis-py's signature
        reply = self._replies.popleft()
        if isinstance(reply, Exception):
            raise reply
        return reply

    async def disconnect(self) -> None:
        self._replies.clear()


def transaction(server: GroupServer, commands: Sequence[Sequence[bytes]]) -> list[Any]:
    """Replies to MULTI, commands, EXEC. One that cannot be queued aborts all; one that fails while they run, itself alone."""
    replies: list[Any] = ["OK", *(_queued(server, command) for command in commands[1:-1])]
    if any(isinstance(reply, Exception) for reply in replies):
        replies.append(redis_errors.ExecAbortError("Transaction discarded because of previous errors."))
        return replies
    outcome: list[Any] = []
    for command in commands[1:-1]:
        try:
            outcome.append(execute(server, command))
        except redis_errors.ResponseError as error:
            outcome.append(error)
    return [*replies, outcome]


def _queued(server: GroupServer, command: Sequence[bytes]) -> str | redis_errors.ResponseError:
    """QUEUED, or why not."""
    name = command[0].upper()
    if len(command) < FEWEST_WORDS.get(name, 1):
        return redis_errors.ResponseError(f"wrong number of arguments for '{name.decode().lower()}' command")
    if server.is_full and name == b"XADD":
        return redis_errors.OutOfMemoryError("command not allowed when used memory > 'maxmemory'.")
    return "QUEUED"


def execute(server: GroupServer, command: Sequence[bytes]) -> Any:
    """Run one command as it stands on the wire: those that Holdfast's publisher sends."""
    name, rest = command[0].upper(), list(command[1:])
    if name == b"XADD":
        return _xadd(server, rest)
    if name == b"XACK":
        return server.ack(rest[0], rest[1], rest[2:])
    if name == b"XTRIM" and rest[1].upper() == b"MINID":
        return server.trim(rest[0], min_id=rest[-1])
    if name == b"SET":
        return server.put(rest[0], rest[1])
    raise redis_errors.ResponseError(f"unknown command '{name.decode()}'")


def _xadd(server: GroupServer, rest: list[bytes]) -> bytes | None:
    key, make, maxlen, min_id, approximate = rest.pop(0), True, None, None, False
    while rest[0].upper() in {b"NOMKSTREAM", b"MAXLEN", b"MINID"}:
        option = rest.pop(0).upper()
        if option == b"NOMKSTREAM":
            make = False
            continue
        if rest[0] in {b"~", b"="}:
            approximate = rest.pop(0) == b"~"
        if option == b"MAXLEN":
            maxlen = int(rest.pop(0))
        else:
            min_id = rest.pop(0)
    entry_id, pairs = rest[0], rest[1:]
    fields = dict(zip(pairs[::2], pairs[1::2], strict=True))
    return server.append(
        key, fields, entry_id=entry_id, maxlen=maxlen, approximate=approximate, min_id=min_id, make=make
    )
