"""Who is connected to the bus. A process that has ended shows here at once; one that only hangs shows by its heartbeats.

Each service names its connections after its life (`incarnation`, which its heartbeats carry, too), and the kernel closes
them when the process ends, however it ends. A server that does not tell who is connected (CLIENT LIST forbidden or not
known) takes nothing away: heartbeats alone decide then.
"""

from urllib.parse import quote

from redis import exceptions as redis_errors
from redis.asyncio import Redis

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
