"""How new entries of a work stream reach their worker: FastStream's batch subscribers in production.

This is the only file that knows FastStream. `Reading` is the seam: the simulator puts a plain XREADGROUP loop in its place,
and everything else (drain, claim, decode, handle, publish, acknowledge) stays the same code.
"""

import logging
import os
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol

os.environ.setdefault(
    "FASTSTREAM_SUPERVISOR_DISABLED", "1"
)  # its restarts have no backoff; `ServiceApp._keep_reading` has

from faststream import AckPolicy
from faststream.redis import RedisBroker, StreamSub
from faststream.redis.message import RedisBatchStreamMessage
from faststream.redis.subscriber.usecases import stream_subscriber

from holdfast.bus.connection import SOCKET_TIMEOUT_S

vars(stream_subscriber)["CONSUME_ERROR_BACKOFF_SECONDS"] = 0.2  # 5 s there: too long for a stop to wait

log = logging.getLogger("holdfast.bus")
logging.getLogger("holdfast.faststream").setLevel(
    logging.CRITICAL
)  # a lost bus: one line of ours, not pages of its

RawEntry = tuple[str, Mapping[bytes, bytes] | None]
Consume = Callable[[list[RawEntry]], Awaitable[None]]


class Subscription(Protocol):
    """The read loop of one worker. It may end by itself (NOGROUP after a wipe); whoever owns it starts it again."""

    @property
    def is_reading(self) -> bool:
        """Whether the read loop is alive."""
        ...

    async def start(self) -> None:
        """Read on, with a new loop where the last one has ended."""
        ...

    async def stop(self) -> None: ...


class Reading(Protocol):
    """Makes subscriptions. `subscribe` comes before `connect`."""

    def subscribe(
        self, name: str, group: str, consumer: str, *, count: int, block_ms: int, consume: Consume
    ) -> Subscription:
        """New entries of the stream *name*, at most *count* at once, go to *consume* as *consumer* of *group*."""
        ...

    async def connect(self) -> None: ...

    async def stop(self) -> None: ...


class FastStreamReading:
    """One broker per service. See `Reading`."""

    def __init__(self, url: str) -> None:
        self._broker = RedisBroker(
            url,
            protocol="2",
            socket_timeout=SOCKET_TIMEOUT_S,
            logger=logging.getLogger("holdfast.faststream"),
            log_level=logging.DEBUG,
            graceful_timeout=5.0,
        )

    def subscribe(
        self, name: str, group: str, consumer: str, *, count: int, block_ms: int, consume: Consume
    ) -> Subscription:
        """Declare the batch subscriber. Its parser hands the raw entries through; decoding is ours."""
        sub = StreamSub(
            name, group=group, consumer=consumer, batch=True, max_records=count, polling_interval=block_ms
        )
        subscriber: Any = self._broker.subscriber(
            stream=sub, ack_policy=AckPolicy.MANUAL, parser=_parse, decoder=_raw_entries
        )

        async def take(entries: list[Any]) -> None:
            await consume([(entry_id, fields) for entry_id, fields in entries])

        subscriber(take)
        return _FastStreamSubscription(name, subscriber)

    async def connect(self) -> None:
        await self._broker.connect()

    async def stop(self) -> None:
        await self._broker.stop()


class _FastStreamSubscription:
    """See `Subscription`."""

    def __init__(self, name: str, subscriber: Any) -> None:
        self._name, self._subscriber = name, subscriber

    @property
    def is_reading(self) -> bool:
        tasks = self._subscriber.tasks
        return bool(self._subscriber.running and tasks and not any(task.done() for task in tasks))

    async def start(self) -> None:
        await self.stop()
        self._subscriber.last_id = "0"  # where it creates the group, should a wipe have just removed ours
        await self._subscriber.start()

    async def stop(self) -> None:
        for task in self._subscriber.tasks:
            if task.done() and not task.cancelled() and (error := task.exception()) is not None:
                log.warning("%s: reading ended: %s", self._name, error)
        await self._subscriber.stop()


async def _parse(message: Any, original: Any = None) -> RedisBatchStreamMessage:  # noqa: ARG001 - FastStream's signature
    """The batch as it came, without FastStream's envelope."""
    return RedisBatchStreamMessage(
        raw_message=message,
        body=b"",
        consumer=_NoConsumer(),
        group=None,
        correlation_id="batch",
        message_id="batch",
    )


async def _raw_entries(message: RedisBatchStreamMessage, original: Any = None) -> list[RawEntry]:  # noqa: ARG001
    raw = message.raw_message
    return [(_id(entry_id), fields) for entry_id, fields in zip(raw["message_ids"], raw["data"], strict=True)]


class _NoConsumer:
    """Acknowledging is ours; FastStream is given nobody to do it."""

    async def xack(self, name: str, groupname: str, *ids: bytes) -> None:
        raise NotImplementedError

    async def xdel(self, name: str, *ids: bytes) -> None:
        raise NotImplementedError

    async def xpending_range(
        self,
        name: str,
        groupname: str,
        min: bytes,  # noqa: A002 - redis-py's names
        max: bytes,  # noqa: A002
        count: int,
    ) -> list[dict[str, Any]]:
        raise NotImplementedError


def _id(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
