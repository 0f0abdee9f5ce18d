"""Consumer groups and retention, both derived from the table of streams.

Every group is created at 0, with MKSTREAM, before anybody reads: a group made at `$` would miss what was published
before its first start. Trimming looks at the groups, because Redis does not: work is trimmed below the oldest entry
that any declared group has not finished with.
"""

from collections.abc import Sequence
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import ResponseError

from holdfast.contracts.streams import STREAMS, Reading, Stream

KEEP_FINISHED_MS = 3_600_000
"""Finished work is kept this long, ms, so that people can look at it."""
KEEP_FINISHED_ENTRIES = 20_000
"""... and at most about this many entries of it."""


async def create_groups(
    client: Redis, prefix: str = "", streams: Sequence[Stream] = STREAMS, service: str | None = None
) -> int:
    """Create every declared group of *streams* that is missing, or only those of *service*; returns how many were.

    On a bus with users a service may create its own alone. Nothing is lost by that: a group is created at 0.
    """
    created = 0
    for stream in streams:
        for group in stream.groups if service is None else set(stream.groups) & {service}:
            try:
                await client.xgroup_create(prefix + stream.name, group, id="0", mkstream=True)
                created += 1
            except ResponseError as error:
                if "BUSYGROUP" not in str(error):
                    raise
    return created


async def groups_of(client: Redis, name: str) -> list[dict[str, Any]]:
    """XINFO GROUPS; empty for a stream that is not there, as for a moment after a wipe."""
    try:
        return list(await client.xinfo_groups(name))
    except ResponseError as error:
        if "no such key" in str(error) or "requires the key to exist" in str(error):
            return []
        raise


def _before(entry_id: str) -> tuple[int, int]:
    ms, _, counter = entry_id.partition("-")
    return int(ms), int(counter or 0)


async def oldest_needed(client: Redis, stream: Stream, prefix: str = "") -> str | None:
    """The id of the oldest entry that some group still needs, or None when that cannot be told (then nothing is trimmed)."""
    needed: tuple[int, int] | None = None
    groups: dict[str, dict[str, Any]] = {}
    for row in await groups_of(client, prefix + stream.name):
        groups[_text(row["name"])] = row
    for group in stream.groups:
        if group not in groups:
            return None
        position = _before(_text(groups[group]["last-delivered-id"]))
        position = (position[0], position[1] + 1)
        pending = await client.xpending(prefix + stream.name, group)
        if pending["pending"]:
            position = min(position, _before(_text(pending["min"])))
        needed = position if needed is None else min(needed, position)
    return f"{needed[0]}-{needed[1]}" if needed else None


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


async def trim_work(client: Redis, now_ms: int, prefix: str = "", streams: Sequence[Stream] = STREAMS) -> int:
    """Trim every work stream below what its groups need; returns the number of entries removed."""
    removed = 0
    for stream in streams:
        if stream.reading is not Reading.WORK:
            continue
        needed = await oldest_needed(client, stream, prefix)
        if needed is None:
            continue
        length = int(await client.xlen(prefix + stream.name))
        limit = (
            needed
            if length > KEEP_FINISHED_ENTRIES or not stream.keeps_finished
            else min(needed, f"{max(0, now_ms - KEEP_FINISHED_MS)}-0", key=_before)
        )
        removed += int(await client.xtrim(prefix + stream.name, minid=limit, approximate=False))
    return removed


async def lag_and_pending(
    client: Redis, service: str, streams: list[Stream], prefix: str = ""
) -> tuple[int, int, int]:
    """Of this service's groups: entries not yet delivered, entries pending, idle time of the oldest pending one, ms."""
    lag = pending = oldest = 0
    for stream in streams:
        name = prefix + stream.name
        for row in await groups_of(client, name):
            if _text(row["name"]) != service:
                continue
            lag += int(row.get("lag") or 0)
            pending += int(row["pending"])
            if row["pending"]:
                first = await client.xpending_range(name, service, "-", "+", 1)
                oldest = (
                    max(oldest, *(int(entry["time_since_delivered"]) for entry in first)) if first else oldest
                )
    return lag, pending, oldest
