"""Who is connected to the bus. A process that has ended shows here at once; one that only hangs shows by its heartbeats.

Each service names its connections after its life (`incarnation`, which its heartbeats carry, too), and the kernel closes
them when the process ends, however it ends. A server that does not tell who is connected (CLIENT LIST forbidden or not
known) takes nothing away: heartbeats alone decide then.
"""

import logging
from collections.abc import Callable
from urllib.parse import quote

from redis import exceptions as redis_errors
from redis.asyncio import Redis

from holdfast.bus.connection import is_passing
from holdfast.runtime.clock import Clock

log = logging.getLogger("holdfast.bus")

LOOK_EVERY_S = 0.3
_MARK = "holdfast:"


def named(url: str, service: str, incarnation: str) -> str:
    """*url* of the bus with a name for the connections that are made with it."""
    return f"{url}{'&' if '?' in url else '?'}client_name={quote(f'{_MARK}{service}:{incarnation}')}"


async def connected(client: Redis) -> frozenset[str] | None:
    """The incarnations of all services that are connected now; None where the server does not tell.

    Raises what redis-py raises when the bus is gone.
    """
    try:
        rows = await client.client_list()
    except redis_errors.ConnectionError:
        raise
    except redis_errors.ResponseError as error:  # NoPermissionError is one
        if str(error).startswith("LOADING"):
            raise
        return None
    names = (str(row.get("name", "")) for row in rows)
    return frozenset(name.rpartition(":")[2] for name in names if name.startswith(_MARK))


async def watch(client: Redis, clock: Clock, handler: Callable[[frozenset[str]], None]) -> None:
    """Tell *handler* for ever who is connected; returns where the server does not tell."""
    while True:
        try:
            found = await connected(client)
            if found is None:
                log.info("this bus does not tell who is connected; heartbeats alone say who lives")
                return
            handler(found)
        except Exception as error:
            if not is_passing(error):
                raise
        await clock.sleep(LOOK_EVERY_S)
