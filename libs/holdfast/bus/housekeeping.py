"""What goes on beside a service's work for as long as it runs: claiming, trimming, measuring."""

import logging
from collections.abc import Awaitable, Callable, Sequence

from redis.asyncio import Redis
from redis.exceptions import ResponseError

from holdfast.bus.connection import is_passing
from holdfast.bus.groups import trim_work
from holdfast.bus.work import Worker
from holdfast.contracts.streams import Stream
from holdfast.runtime.clock import Clock

log = logging.getLogger("holdfast.bus")
CLAIM_EVERY_S = 5.0
TRIM_EVERY_S = 10.0


async def claim_for_ever(workers: Sequence[Worker], clock: Clock) -> None:
    """Take over what other consumers have abandoned, and find what was lost on its way to us."""
    while True:
        await clock.sleep(CLAIM_EVERY_S)
        for worker in workers:
            await _told("claiming", worker.claim)


async def trim_for_ever(client: Redis, clock: Clock, prefix: str, streams: Sequence[Stream]) -> None:
    """Remove finished work: one service does it for all."""
    while True:
        await clock.sleep(TRIM_EVERY_S)
        await _told("trimming", lambda: trim_work(client, clock.wall_ms(), prefix, streams))


async def _told(what: str, once: Callable[[], Awaitable[int]]) -> None:
    """*once*, and a bus that is gone for the moment is only mentioned."""
    try:
        await once()
    except Exception as error:
        if not is_passing(error):
            raise
        log.warning("%s: %s", what, error)


async def fullness_pct(client: Redis) -> float | None:
    """Share of the bus's memory in use, percent; None where the server does not tell."""
    try:
        memory = await client.info("memory")
    except ResponseError as error:
        if "unknown command" not in str(error).lower():
            raise
        return None
    limit = int(memory.get("maxmemory", 0))
    return 100.0 * int(memory["used_memory"]) / limit if limit else 0.0
