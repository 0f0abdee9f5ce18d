"""Connections to the bus, and the one way to put messages on it.

redis-py retries by itself unless told not to; a retried XADD is two entries. So retries are off here, and whoever
publishes decides: every message has an id of its own, and consumers deduplicate by it.
"""

from collections.abc import Iterable, Sequence

from redis import exceptions as redis_errors
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from holdfast.bus.transaction import Command, transact
from holdfast.contracts.messages import OrderIntent
from holdfast.contracts.signing import Key
from holdfast.contracts.streams import Stream
from holdfast.contracts.wire import Ack, Numbered, Out, Outgoing, Trim
from holdfast.runtime.faults import Terminal, Transient

SOCKET_TIMEOUT_S = 10.0
"""Must be longer than the longest BLOCK (HAZARDS: redis-py's own default of 5 s is not)."""
GONE = (
    redis_errors.ConnectionError,
    redis_errors.TimeoutError,
    redis_errors.OutOfMemoryError,
    redis_errors.ReadOnlyError,
    OSError,
)
"""The bus is gone, full or busy: wait, then try the same again."""
_PASSING = ("OOM", "LOADING", "MISCONF", "READONLY", "BUSY", "EXECABORT", "NOGROUP", "UNBLOCKED")

_DISCARDED = "Transaction discarded because of: "
"""What a server says, before the reason, when it became full between MULTI and EXEC; redis-py has taken the code off."""


def connect(url: str) -> Redis:
    """A client without retries of its own."""
    return Redis.from_url(
        url,
        protocol=2,
        socket_timeout=SOCKET_TIMEOUT_S,
        socket_connect_timeout=2.0,
        retry=Retry(NoBackoff(), 0),
    )


def is_passing(error: Exception) -> bool:
    """Whether *error* says something about the bus's state, not about what was asked of it."""
    if not isinstance(error, redis_errors.ResponseError):
        return isinstance(error, GONE)
    return isinstance(error, GONE) or str(error).removeprefix(_DISCARDED).startswith(_PASSING)


class Publisher:
    """Puts a handler's outputs on their streams and acknowledges, in one MULTI. Intents are signed where there is a *key*."""

    def __init__(self, client: Redis, service: str, prefix: str = "", key: Key | None = None) -> None:
        self._client, self._service, self._prefix, self._key = client, service, prefix, key

    def name(self, stream: Stream) -> str:
        return self._prefix + stream.name

    async def publish(
        self, outputs: Iterable[Outgoing], acks: Sequence[tuple[Stream, Sequence[str]]] = ()
    ) -> None:
        """All of *outputs*, then *acks*. Raises Transient when the bus is gone or full; nothing or all is there then,
        unless the answer was lost: publishing the same again is safe, because messages keep their ids.
        """
        commands: list[Command] = []
        finished: dict[str, list[str]] = {
            self.name(stream): list(entry_ids) for stream, entry_ids in acks if entry_ids
        }
        numbered: list[Numbered] = []
        for out in outputs:
            if isinstance(out, Ack):
                finished.setdefault(self.name(out.stream), []).append(out.entry_id)
            else:
                commands.append(command_of(self.name(out.stream), out, self._key))
                if isinstance(out, Numbered):
                    numbered.append(out)
        commands += [("XACK", name, self._service, *ids) for name, ids in finished.items()]
        if not commands:
            return
        try:
            await transact(self._client, commands, SOCKET_TIMEOUT_S)
        except Exception as error:
            if numbered and "equal or smaller" in str(error):
                await self._are_ours(numbered)
            elif is_passing(error):
                raise Transient(f"bus: {error}") from error
            else:
                raise

    async def _are_ours(self, numbered: Sequence[Numbered]) -> None:
        """The bus refused an id: each entry must be there as meant, or trimmed away below the first. Raises Terminal."""
        for out in numbered:
            name = self.name(out.stream)
            found = await self._client.xrange(name, out.entry_id, out.entry_id)
            if found:
                if (found[0][1] or {}).get(b"body") != out.body:
                    raise Terminal(
                        f"{name} {out.entry_id} holds another entry than this store's: two stores were mixed up. See `holdfast ledger republish`"
                    )
                continue
            first = await self._client.xrange(name, count=1)
            if not first or _number(_text(first[0][0])) < _number(out.entry_id):
                raise Terminal(
                    f"{name} is ahead of this store: it refuses {out.entry_id}. Was an old backup restored? See `holdfast ledger republish`"
                )


def _text(value: object) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _number(entry_id: str) -> tuple[int, int]:
    ms, _, counter = entry_id.partition("-")
    return int(ms), int(counter or 0)


def command_of(name: str, out: Out | Numbered | Trim, key: Key | None = None) -> Command:
    """The command that puts *out* on the stream *name*. Only capped views are trimmed when written to, never work."""
    if isinstance(out, Numbered):
        beside = [text for pair in out.beside for text in pair]
        return ("XADD", name, out.entry_id, "id", out.message_id, *beside, "body", out.body)
    if isinstance(out, Trim):
        return ("XTRIM", name, "MINID", out.min_id)
    if key is not None and isinstance(out.message, OrderIntent):
        body = out.message.body()
        return (
            "XADD",
            name,
            "*",
            "id",
            out.message.id,
            "key",
            key.key_id,
            "sig",
            key.sign(name, body),
            "body",
            body,
        )
    if out.stream.maxlen is None:
        return ("XADD", name, "*", "id", out.message.id, "body", out.message.body())
    return (
        "XADD",
        name,
        "MAXLEN",
        "~",
        out.stream.maxlen,
        "*",
        "id",
        out.message.id,
        "body",
        out.message.body(),
    )
