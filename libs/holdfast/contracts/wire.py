"""Between an entry of a stream and a message: plain fields `id` and `body`, so that `redis-cli` reads well.

What a hand-typed intent leaves out is filled from the *entry*, never from the moment: id = hash of (stream, entry id,
body), at = the time in the entry id, expiry = at + 60 s for entries. So a redelivery is the same intent, and a stale one
is stale.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

import orjson
from pydantic import ValidationError

from holdfast.contracts.base import MAX_BODY_BYTES, ContractViolation, Message, encode
from holdfast.contracts.messages import DeadLetter, LedgerSnapshot, LedgerUpdated, OrderIntent
from holdfast.contracts.streams import BY_NAME, Stream

ENTRY_LIFETIME_MS = 60_000
"""An intent to open that names no expiry is acted upon for this long after its entry was written."""

_TRUSTED = (LedgerUpdated, LedgerSnapshot, DeadLetter)
"""Written by Holdfast alone, and larger than what a stranger may send: a dead letter carries what was too large."""


def digest(*parts: str | bytes) -> str:
    """A hash of *parts*: 32 hex digits (BLAKE2b, 128 bits), the same on every machine."""
    pieces: list[bytes] = []
    for part in parts:
        raw = part.encode() if isinstance(part, str) else part
        pieces += (len(raw).to_bytes(4, "big"), raw)
    return blake2b(b"".join(pieces), digest_size=16).hexdigest()


@dataclass(slots=True, frozen=True)
class Out:
    """A message that a handler wants published; only the bus does it."""

    stream: Stream
    message: Message


@dataclass(slots=True, frozen=True)
class Ack:
    """An entry of a work stream that its handler has finished with (for streams whose handlers decide when)."""

    stream: Stream
    entry_id: str


@dataclass(slots=True, frozen=True)
class Numbered:
    """An entry whose id its writer chooses (`ledger.updated`: `<seq>-0`). Publishing it twice is noticed by the id."""

    stream: Stream
    entry_id: str
    message_id: str
    body: bytes
    beside: tuple[tuple[str, str], ...] = ()


@dataclass(slots=True, frozen=True)
class Trim:
    """Entries of *stream* below *min_id* are no longer needed."""

    stream: Stream
    min_id: str


Outgoing = Out | Ack | Numbered | Trim


@dataclass(slots=True, frozen=True)
class Entry:
    """One entry as read: the message, or why it is none."""

    stream: Stream
    entry_id: str
    body: bytes
    message: Message | None = None
    error: ContractViolation | None = None
    hash: str = ""
    kind: str = ""
    deliveries: int = 1
    producer: str = ""
    """Who signed it, where that was verified; empty for what is not signed."""


def entry_time_ms(entry_id: str) -> int:
    """The wall time in a Redis entry id, ms."""
    return int(entry_id.partition("-")[0])


def decode(
    stream: Stream | str,
    entry_id: str,
    fields: Mapping[bytes, bytes],
    *,
    deliveries: int = 1,
    producer: str = "",
) -> Entry:
    """The entry's message; an entry that is none comes back with `error` set, never as an exception.

    *producer* has signed it: then an intent must name its id and `at` itself, nothing is taken from the entry for them.
    """
    stream = BY_NAME[stream] if isinstance(stream, str) else stream
    body = fields.get(b"body", b"")
    kind, hashed = (fields.get(name, b"").decode("ascii", "replace") for name in (b"kind", b"hash"))
    try:
        if not body:
            raise ContractViolation("body", f'the entry has no field "body"; it has {_names(fields)}')
        message = _parse(stream, entry_id, body, is_signed=bool(producer))
    except ContractViolation as error:
        return Entry(stream, entry_id, body, None, error, hashed, kind, deliveries, producer)
    return Entry(stream, entry_id, body, message, None, hashed, kind, deliveries, producer)


def _names(fields: Mapping[bytes, bytes]) -> list[str]:
    return sorted(name.decode(errors="replace")[:40] for name in fields)[:10]


def _parse(stream: Stream, entry_id: str, body: bytes, *, is_signed: bool) -> Message:
    if stream.message in _TRUSTED:
        try:
            return stream.message.model_validate_json(body)
        except ValidationError as error:
            raise ContractViolation.of(error) from None
    if stream.message is OrderIntent:
        return parse_intent(stream.name, entry_id, body, is_signed=is_signed)
    return stream.message.parse(body)


def parse_intent(stream: str, entry_id: str, body: bytes, *, is_signed: bool = False) -> OrderIntent:
    """The intent in *body*, completed from its entry."""
    if len(body) > MAX_BODY_BYTES:
        raise ContractViolation("body", f"{len(body)} bytes; at most {MAX_BODY_BYTES} are read")
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise ContractViolation("body", f"not JSON: {error}") from None
    if not isinstance(document, dict):
        raise ContractViolation("body", f"a JSON object is expected, this is a {type(document).__name__}")
    at = entry_time_ms(entry_id)
    if is_signed and (lost := [name for name in ("id", "at") if document.get(name) is None]):
        raise ContractViolation(
            lost[0], "a signed intent names its own id and time, so that it cannot be dated anew"
        )
    document.setdefault("id", "i-" + digest(stream, entry_id, body))
    document.setdefault("at", at)
    try:
        intent = OrderIntent.model_validate(document)
    except ValidationError as error:
        raise ContractViolation.of(error) from None
    if intent.expires_at is None and not intent.reduces and intent.action == "open":
        intent = intent.evolve(expires_at=min(intent.at, at) + ENTRY_LIFETIME_MS)
    if intent.correlation_id is None:
        intent = intent.evolve(correlation_id=intent.id)
    return intent


_IDENTITY = frozenset({"at", "expires_at", "correlation_id", "cause_id"})


def intent_digest(intent: OrderIntent) -> str:
    """What makes an intent the same wish: everything in it but times and the ids that tell its story."""
    return digest(encode(intent.model_dump(mode="json", exclude=set(_IDENTITY), exclude_none=True)))


def fields_of(message: Message, **beside: str) -> dict[str, str | bytes]:
    """The wire fields of *message*: `id`, what stands beside the body, then `body`."""
    return {"id": message.id, **beside, "body": message.body()}


def describe(entry: Entry) -> dict[str, Any]:
    """The entry's body as JSON-ready values, for people."""
    try:
        document = orjson.loads(entry.body)
    except orjson.JSONDecodeError:
        document = {"body": entry.body.decode("utf-8", "replace")}
    return document if isinstance(document, dict) else {"body": document}
