"""What both clients do, without waiting for anything themselves.

The trick: every operation is a generator that yields what it wants of the world (a Redis command, a pause) and is sent what came of
it. `blocking` and `aio` are the two small loops that carry that out, so there is one implementation for both, and tests may be a third.

Wherever the bus is gone or full, the same command is tried again until the operation's time is over. Publishing twice is harmless:
an intent keeps its id.
"""

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from redis import exceptions as redis_errors

from holdfast.client.place import Place, shown
from holdfast.client.troubles import Forbidden, NotConfirmed, Unreachable
from holdfast.client.wishes import id_for, intent_of, prediction_of
from holdfast.contracts.base import Message
from holdfast.contracts.codes import Action, ResultStatus
from holdfast.contracts.messages import Fill, IntentResult, LedgerUpdated, OrderIntent
from holdfast.contracts.rows import OrderRow
from holdfast.contracts.streams import (
    INTENT_RESULT,
    LEDGER_UPDATED,
    ORDER_INTENT,
    ORDER_INTENT_EXIT,
    PREDICTION,
    Stream,
    intent_stream,
)
from holdfast.contracts.trusted import Tables, update_of
from holdfast.contracts.wire import decode, fields_of
from holdfast.runtime.clock import Clock
from holdfast.runtime.ids import Ids

T = TypeVar("T")
BLOCK_MS = 1000
PAGE = 500
ENDLESS_S = 10**9
PATIENCE_S = 10.0
"""How long one command may take to reach the bus, unless its caller gave a time."""
RESEND_S, RARELY_S = 3.0, 60.0
"""A wish of which nothing was heard for this long is sent again, then after twice as long, at last each minute: the bus may have been
wiped, and the answer with it. The ledger repeats what it has recorded."""
_PASSING = ("OOM", "LOADING", "MISCONF", "READONLY", "BUSY", "EXECABORT", "UNBLOCKED", "MASTERDOWN")
_NO_END = frozenset({ResultStatus.ACCEPTED, ResultStatus.UNKNOWN})


@dataclass(frozen=True, slots=True)
class Call:
    """A method of redis-py's client, which is wanted to be called."""

    name: str
    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Pause:
    seconds: float


Steps = Generator[Call | Pause, Any, T]


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened to an intent: an answer, its order as it now is, or a fill. `kind`: result, order, execution."""

    kind: str
    message: IntentResult | OrderRow | Fill


@dataclass(slots=True)
class Asked:
    """An intent that was sent, or is only asked about (`wish` None). `since`: what was read of the answers so far."""

    intent_id: str
    wish: OrderIntent | None = None
    since: str = ""
    latest: IntentResult | None = None
    told: dict[Stream, str] = field(default_factory=lambda: {LEDGER_UPDATED: "0-0", INTENT_RESULT: "0-0"})
    """What `events` has read."""


class Core:
    """One client's operations. See the module."""

    def __init__(self, place: Place, clock: Clock, ids: Ids) -> None:
        self.place, self.clock, self.ids = place, clock, ids

    def stream(self, stream: Stream) -> str:
        """The name of *stream* on this bus."""
        return self.place.prefix + stream.name

    def deadline(self, seconds: float | None) -> int:
        """Monotonic ms at which that time is over."""
        return self.clock.monotonic_ms() + int((PATIENCE_S if seconds is None else seconds) * 1000)

    def call(self, command: Call, deadline: int) -> Steps[Any]:
        """The reply to *command*, which is tried until *deadline*. Raises Unreachable or Forbidden."""
        pause = 0.1
        while True:
            try:
                return (yield command)
            except redis_errors.NoPermissionError as error:
                raise Forbidden(f"{self.place.name} on the bus: {error}. See docs/signing.md") from error
            except redis_errors.AuthenticationError as error:
                raise Unreachable(f"{shown(self.place.url)} lets nobody in like this: {error}") from error
            except (redis_errors.RedisError, OSError) as error:
                if not is_passing(error):
                    raise
                if self.clock.monotonic_ms() >= deadline:
                    raise Unreachable(
                        f"the bus at {shown(self.place.url)} cannot be used: {error}. Is `holdfast up` running? Asking again is safe"
                    ) from error
            yield Pause(pause)
            pause = min(2.0, pause * 2)

    # -- wishes -------------------------------------------------------------------------------------------------------

    def wish(
        self, fields: Mapping[str, Any], key: str | None, given: str | None, expires_in_s: float | None
    ) -> OrderIntent:
        """The intent that *fields* describe, under its name. Raises WrongIntent."""
        name, signed = self.place.name, self.place.key is not None
        intent_id = id_for(name, key, given, self.ids.new, signed=signed)
        return intent_of(intent_id, self.clock.wall_ms(), name, fields, expires_in_s)

    def send(self, wish: OrderIntent) -> Steps[Asked]:
        """Publish *wish*; answers are read from where they stood before."""
        deadline = self.deadline(None)
        asked = Asked(wish.id, wish)
        asked.since = asked.told[INTENT_RESULT] = yield from self.newest(INTENT_RESULT, deadline)
        try:
            asked.told[LEDGER_UPDATED] = yield from self.newest(LEDGER_UPDATED, deadline)
        except Forbidden:  # producers may read answers alone
            del asked.told[LEDGER_UPDATED]
        yield from self._publish(wish, deadline)
        return asked

    def _publish(self, wish: OrderIntent, deadline: int) -> Steps[None]:
        key = self.place.key
        if key is not None:
            name, body = self.stream(intent_stream(self.place.name)), wish.body()
            fields: Any = {"id": wish.id, "key": key.key_id, "sig": key.sign(name, body), "body": body}
        else:
            quick = wish.reduces or wish.action is Action.CANCEL
            name, fields = self.stream(ORDER_INTENT_EXIT if quick else ORDER_INTENT), fields_of(wish)
        yield from self.call(Call("xadd", (name, fields)), deadline)

    def predict(self, valid_s: float, fields: Mapping[str, Any]) -> Steps[str]:
        """Publish a model's view; the message's id."""
        message = prediction_of(f"{self.place.name}:{self.ids.new()}", self.clock.wall_ms(), valid_s, fields)
        command = Call("xadd", (self.stream(PREDICTION), fields_of(message)), {"maxlen": PREDICTION.maxlen})
        yield from self.call(command, self.deadline(None))
        return message.id

    # -- answers ------------------------------------------------------------------------------------------------------

    def wait(self, asked: Asked, seconds: float, *, accepted: bool) -> Steps[IntentResult]:
        """The intent's end; with *accepted* also that its order stands at the venue. Raises NotConfirmed, Unreachable."""
        deadline, resend = self.deadline(seconds), RESEND_S
        again = self.deadline(resend)
        yield from self.look_back(asked, deadline)
        while not self._is_over(asked.latest, accepted=accepted):
            now = self.clock.monotonic_ms()
            if now >= deadline:
                raise NotConfirmed(_unanswered(asked, seconds), asked.latest)
            if asked.wish is not None and now >= again:
                resend = min(resend * 2, RARELY_S)
                again = self.deadline(resend)
                yield from self._publish(asked.wish, deadline)
            block_ms = max(1, min(BLOCK_MS, min(deadline, again) - now))
            for message in (yield from self._answers(asked, block_ms, deadline)):
                asked.latest = message
        assert asked.latest is not None
        return asked.latest

    @staticmethod
    def _is_over(latest: IntentResult | None, *, accepted: bool) -> bool:
        if latest is None:
            return False
        return latest.status not in _NO_END or (accepted and latest.status is ResultStatus.ACCEPTED)

    def look_back(self, asked: Asked, deadline: int) -> Steps[None]:
        """Where nothing was read yet: the newest answer that the bus still holds, and from where to read on."""
        if asked.since:
            return
        since = yield from self.newest(INTENT_RESULT, deadline)
        last, name, wanted = "+", self.stream(INTENT_RESULT), asked.intent_id.encode()
        while True:
            rows = yield from self.call(Call("xrevrange", (name,), {"max": last, "count": PAGE}), deadline)
            for entry_id, fields in rows:
                message = _result(entry_id, fields, wanted)
                if message is not None and message.intent_id == asked.intent_id:
                    asked.latest, asked.since = message, since
                    return
            if len(rows) < PAGE:
                asked.since = since
                return
            last = f"({text(rows[-1][0])}"

    def _answers(self, asked: Asked, block_ms: int, deadline: int) -> Steps[list[IntentResult]]:
        rows = yield from self.read({INTENT_RESULT: asked.since}, block_ms, deadline)
        found = []
        for _, entry_id, fields in rows:
            asked.since = entry_id
            message = _result(entry_id, fields, asked.intent_id.encode())
            if message is not None and message.intent_id == asked.intent_id:
                found.append(message)
        return found

    def events(self, asked: Asked) -> Steps[tuple[list[Event], bool]]:
        """What happened to the intent since the last call, at most a second's wait; and whether that was its end."""
        deadline = self.deadline(ENDLESS_S)
        wanted, found, is_over = asked.intent_id.encode(), list[Event](), False
        for stream, entry_id, fields in (yield from self.read(asked.told, BLOCK_MS, deadline)):
            asked.told[stream] = entry_id
            if stream is LEDGER_UPDATED:
                if wanted in fields.get(b"body", b""):
                    found += _of_update(update_of(fields[b"body"], _STORY), asked.intent_id)
                continue
            message = _result(entry_id, fields, wanted)
            if message is not None and message.intent_id == asked.intent_id:
                found.append(Event("result", message))
                is_over = is_over or message.status not in _NO_END
        return found, is_over

    # -- reading ------------------------------------------------------------------------------------------------------

    def newest(self, stream: Stream, deadline: int) -> Steps[str]:
        """Id of the newest entry of *stream*; "0-0" where it has none."""
        rows = yield from self.call(Call("xrevrange", (self.stream(stream),), {"count": 1}), deadline)
        return text(rows[0][0]) if rows else "0-0"

    def read(
        self, since: Mapping[Stream, str], block_ms: int, deadline: int
    ) -> Steps[list[tuple[Stream, str, Mapping[bytes, bytes]]]]:
        """Entries behind *since*, in the order of its streams; none when none came within *block_ms*."""
        names = {self.stream(stream): stream for stream in since}
        places = {name: since[stream] for name, stream in names.items()}
        command = Call("xread", (places,), {"count": PAGE, "block": block_ms})
        reply = (yield from self.call(command, deadline)) or []
        by_name = {text(name): rows for name, rows in (reply.items() if isinstance(reply, dict) else reply)}
        return [
            (stream, text(entry_id), fields or {})
            for name, stream in names.items()
            for entry_id, fields in _entries(by_name.get(name, []))
        ]


class Tail:
    """A stream as it grows, from *since* on: None from now, "0" from the oldest that the bus holds, or an id. *keep* chooses."""

    def __init__(
        self, core: Core, stream: Stream, since: str | None, keep: Callable[[Any], bool] = lambda _: True
    ) -> None:
        self._core, self._stream, self._keep = core, stream, keep
        self.last_id = since or ""

    def place(self) -> Steps[None]:
        """Know where to begin, so that nothing that comes from now on is missed."""
        if not self.last_id:
            self.last_id = yield from self._core.newest(self._stream, self._core.deadline(ENDLESS_S))

    def read(self, block_ms: int = BLOCK_MS) -> Steps[list[Message]]:
        """The next messages; none when none came. A bus that is gone is waited for without end."""
        yield from self.place()
        endless = self._core.deadline(ENDLESS_S)
        rows = yield from self._core.read({self._stream: self.last_id}, block_ms, endless)
        found = []
        for _, entry_id, fields in rows:
            self.last_id = entry_id
            message = decode(self._stream, entry_id, fields).message
            if message is not None and self._keep(message):
                found.append(message)
        return found


_STORY = Tables("orders", "fills")


def _of_update(update: LedgerUpdated, intent_id: str) -> list[Event]:
    orders = [row for row in update.orders if row.intent_id == intent_id]
    mine = {row.order_id for row in orders}
    fills = [Event("execution", fill) for fill in update.fills if fill.order_id in mine]
    return [*fills, *(Event("order", row) for row in orders)]


def _result(entry_id: Any, fields: Mapping[bytes, bytes] | None, wanted: bytes) -> IntentResult | None:
    if not fields or wanted not in fields.get(b"body", b""):
        return None
    message = decode(INTENT_RESULT, text(entry_id), fields).message
    return message if isinstance(message, IntentResult) else None


def _entries(rows: Any) -> Any:
    """redis-py puts the entries of one stream into a list of their own under RESP3."""
    nested = rows and isinstance(rows[0], list) and rows[0] and isinstance(rows[0][0], tuple | list)
    return rows[0] if nested else rows


def _unanswered(asked: Asked, seconds: float) -> str:
    if asked.latest is None:
        return (
            f"{asked.intent_id}: no answer within {seconds:g} s. Are ledger and executor running? See `holdfast status`."
            " Asking again with the same key or id is safe"
        )
    return f"{asked.intent_id}: {asked.latest.status.value}, and no end within {seconds:g} s; wait again, or cancel it"


def is_passing(error: Exception) -> bool:
    """Whether *error* says something about the bus's state, not about what was asked of it."""
    if isinstance(error, redis_errors.ResponseError):
        busy = isinstance(error, redis_errors.OutOfMemoryError | redis_errors.ReadOnlyError)
        return busy or str(error).startswith(_PASSING)
    return isinstance(error, redis_errors.ConnectionError | redis_errors.TimeoutError | OSError)


def text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
