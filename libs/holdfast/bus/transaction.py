"""Many commands as one MULTI: packed by hiredis, sent in one write, and their replies read without ceremony.

redis-py's own pipeline does the same at three times the cost: it packs in Python, sets a timer per reply and looks for
something to do with each. Here is nothing to do: the reply to a queued command is "QUEUED" or why not.
"""

import asyncio
import math
from collections.abc import Sequence
from typing import Any

from hiredis import pack_command
from redis import exceptions as redis_errors
from redis.asyncio import Redis
from redis.asyncio.connection import AbstractConnection

Command = tuple[str | bytes | int, ...]
READ_AT_ONCE = 1000
"""Replies that share one time limit."""
_MULTI, _EXEC = pack_command(("MULTI",)), pack_command(("EXEC",))


async def transact(client: Redis, commands: Sequence[Command], timeout_s: float) -> list[Any]:
    """The replies to *commands*, which the server runs all at once. Raises redis-py's errors: the first that came.

    What was queued is not run when another command could not be queued. One that fails while they run does not undo
    the others. A connection that breaks leaves open which of the two happened: nothing, or everything.
    """
    packed = [_MULTI, *(pack_command(command) for command in commands), _EXEC]  # type: ignore[arg-type]  # any length
    connection: AbstractConnection = await client.connection_pool.get_connection()  # type: ignore[no-untyped-call]
    try:
        await connection.send_packed_command(b"".join(packed))
        return await _replies(connection, len(commands), timeout_s)
    finally:
        await client.connection_pool.release(connection)


async def _replies(connection: AbstractConnection, count: int, timeout_s: float) -> list[Any]:
    refused: redis_errors.ResponseError | None = None
    left = 1 + count
    while left:
        now = min(left, READ_AT_ONCE)
        async with asyncio.timeout(timeout_s):
            for _ in range(now):
                try:
                    await connection.read_response(timeout=math.inf)
                except redis_errors.ResponseError as error:
                    refused = refused or error
        left -= now
    try:
        replies: list[Any] | None = await connection.read_response()
    except redis_errors.ResponseError as error:
        raise refused or error from None
    if refused is not None:
        raise refused
    if replies is None or len(replies) != count:
        await connection.disconnect()
        raise redis_errors.ConnectionError(f"{count} commands were sent; the bus answered {replies!r:.100}")
    for reply in replies:
        if isinstance(reply, Exception):
            raise reply
    return replies
