"""`holdfast health SERVICE`: has that service made progress lately? For health checks of containers.

An open port proves nothing: a consumer can be dead behind it. So this asks the bus for the service's last heartbeat, which its own
loop publishes each second, and for how long its oldest message has been waiting.
"""

import asyncio
import time
from typing import Annotated, cast

import typer

from holdfast.cli.common import Config, Dir, fail, settings_of
from holdfast.contracts.leases import STANDBY
from holdfast.contracts.messages import Heartbeat
from holdfast.contracts.streams import EXECUTOR
from holdfast.runtime.settings import Settings

_LOOK_BACK = 500
"""Heartbeats looked through, newest first: all services, a minute and more."""


def register(app: typer.Typer) -> None:
    app.command("health")(health)


def health(
    service: Annotated[
        str, typer.Argument(help="ledger, executor, exit_scanner, state_publisher, market_feed, demo.")
    ],
    max_age: Annotated[float, typer.Option(help="Oldest heartbeat that counts, in s.")] = 10,
    max_wait: Annotated[float, typer.Option(help="Longest time a message may have been waiting, in s.")] = 60,
    directory: Dir = None,
    config: Config = None,
) -> None:
    """Exit code 0 if SERVICE lives and makes progress, 1 with the reason if not."""
    found = asyncio.run(_last_beat(settings_of(directory, config), service))
    if isinstance(found, str):
        fail(found)
    age_s, waiting_s = found
    if age_s > max_age:
        fail(f"{service}: last heartbeat {age_s:.1f} s ago, more than {max_age:g} s")
    if waiting_s > max_wait:
        fail(f"{service}: a message has been waiting for {waiting_s:.1f} s, longer than {max_wait:g} s")
    print(
        f"{service}: last heartbeat {max(age_s, 0):.1f} s ago, nothing waiting longer than {waiting_s:.1f} s"
    )


async def _last_beat(settings: Settings, service: str) -> tuple[float, float] | str:
    """Age of the last heartbeat and of the oldest waiting message, in s; or why there is none."""
    from redis.exceptions import RedisError

    from holdfast.bus.connection import connect
    from holdfast.contracts import streams
    from holdfast.contracts.wire import decode
    from holdfast.runtime.bus_address import complete
    from holdfast.runtime.embedded_bus import NoBusError, address
    from holdfast.runtime.faults import Terminal

    try:
        client = connect(complete(address(settings), settings, service))
    except (NoBusError, Terminal) as error:
        return str(error)
    try:
        read = await client.xrevrange(settings.bus.prefix + streams.HEARTBEAT.name, count=_LOOK_BACK)
    except (RedisError, OSError) as error:
        return f"the bus cannot be read: {error}"
    finally:
        await client.aclose()
    entries = cast("list[tuple[bytes, dict[bytes, bytes]]]", read)
    for entry_id, fields in entries:
        message = decode(streams.HEARTBEAT, entry_id.decode(), fields).message
        if isinstance(message, Heartbeat) and message.service == service and _is_ours(message, settings):
            return time.time() - message.at / 1000, message.oldest_pending_ms / 1000
    return f"{service}: no heartbeat among the last {len(entries)} on the bus"


def _is_ours(beat: Heartbeat, settings: Settings) -> bool:
    """Of executors: whether it serves, or waits to serve, the account that this container is for."""
    mine = settings.executor.account
    return beat.service != EXECUTOR or (
        beat.instance in {mine, f"{mine}-{STANDBY}"} if mine else beat.instance in {"0", STANDBY}
    )
