"""A stream server in memory: what Redis 7 does with the commands that Holdfast sends, in its own words where it refuses.

Pure and synchronous: time is an argument of the constructor, a reply is a value, a refusal is a ResponseError. Every change
leaves its undoing behind, so that the server can lose its last commands as one that restarts from an old file does.
Approximate trimming (`MAXLEN ~`) lets up to 100 entries more stand, as Redis' nodes do.
"""

from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from redis.exceptions import OutOfMemoryError, ResponseError
from sortedcontainers import SortedDict

Id = tuple[int, int]
Fields = dict[bytes, bytes]
LAST: Id = (2**64 - 1, 2**64 - 1)
NODE = 100
"""Entries that approximate trimming may leave too many."""
UNDO_DEPTH = 500


@dataclass(slots=True)
class Pending:
    """An entry given to a consumer and not acknowledged."""

    consumer: bytes
    at_ms: int
    times: int = 1


@dataclass(slots=True)
class Group:
    last: Id
    read: int | None = None
    """Entries read so far, None while that is not known."""
    pending: "SortedDict[Id, Pending]" = field(default_factory=SortedDict)
    consumers: set[bytes] = field(default_factory=set)


@dataclass(slots=True)
class StreamKey:
    ids: list[Id] = field(default_factory=list)
    fields: list[Fields] = field(default_factory=list)
    last: Id = (0, 0)
    added: int = 0
    groups: dict[bytes, Group] = field(default_factory=dict)


def shown(entry_id: Id) -> bytes:
    return b"%d-%d" % entry_id


def parsed(text: bytes, *, low: bool = True) -> Id:
    """An id as a command names it; a missing sequence is the lowest or highest one."""
    ms, dash, seq = text.partition(b"-")
    try:
        return int(ms), int(seq) if dash else (0 if low else LAST[1])
    except ValueError:
        raise ResponseError("Invalid stream ID specified as stream command argument") from None


def _bound(text: bytes, *, low: bool) -> Id:
    """A bound of a range: `-`, `+`, an id, or `(` and an id that is not part of it."""
    if text in {b"-", b"+"}:
        return (0, 0) if text == b"-" else LAST
    if text.startswith(b"("):
        ms, seq = parsed(text[1:], low=low)
        return (ms, seq + 1) if low else ((ms, seq - 1) if seq else (ms - 1, LAST[1]))
    return parsed(text, low=low)


class StreamServer:
    """See the module. `on_append` and `on_ack` are told what changes; `woken` lists streams that blocked readers wait for."""

    def __init__(self, now_ms: Callable[[], int]) -> None:
        self._now_ms = now_ms
        self.keys: dict[bytes, StreamKey] = {}
        self.strings: dict[bytes, bytes] = {}
        self.is_full = False
        self.maxmemory = 64_000_000
        self._undo: deque[Callable[[], object]] = deque(maxlen=UNDO_DEPTH)
        self.on_append: Callable[[bytes, Id, Fields], None] = lambda *_: None
        self.on_ack: Callable[[bytes, bytes, Id], None] = lambda *_: None

    # -- keys ---------------------------------------------------------------------------------------------------------

    def stream(self, name: bytes) -> StreamKey | None:
        if name in self.strings:
            raise ResponseError("WRONGTYPE Operation against a key holding the wrong kind of value")
        return self.keys.get(name)

    def _made(self, name: bytes) -> StreamKey:
        found = self.stream(name)
        if found is None:
            found = self.keys[name] = StreamKey()
            self._undo.append(lambda: self.keys.pop(name, None))
        return found

    def _group(self, name: bytes, group: bytes, tail: str = "") -> tuple[StreamKey, Group]:
        stream = self.stream(name)
        found = stream.groups.get(group) if stream is not None else None
        if stream is None or found is None:
            raise ResponseError(
                f"NOGROUP No such key '{name.decode()}' or consumer group '{group.decode()}'{tail}"
            )
        return stream, found

    def put(self, name: bytes, value: bytes) -> str:
        """SET: a key that is no stream."""
        self.keys.pop(name, None)
        self.strings[name] = value
        return "OK"

    def delete(self, *names: bytes) -> int:
        gone = 0
        for name in names:
            gone += self.strings.pop(name, None) is not None
            stream = self.keys.pop(name, None)
            if stream is not None:
                gone += 1
                self._undo.append(lambda name=name, stream=stream: self.keys.__setitem__(name, stream))  # type: ignore[misc]
        return gone

    # -- writing ------------------------------------------------------------------------------------------------------

    def append(
        self,
        name: bytes,
        fields: Fields,
        *,
        entry_id: bytes = b"*",
        maxlen: int | None = None,
        approximate: bool = True,
        min_id: bytes | None = None,
        make: bool = True,
    ) -> bytes | None:
        """XADD."""
        self._room()
        stream = self.stream(name) if not make else self._made(name)
        if stream is None:
            return None
        number = self._next_id(stream, entry_id)
        before, added = stream.last, stream.added
        stream.ids.append(number)
        stream.fields.append(fields)
        stream.last, stream.added = number, added + 1
        self._undo.append(lambda: _unappend(stream, number, before, added))
        if maxlen is not None and len(stream.ids) > maxlen + (NODE if approximate else 0):
            self._cut(stream, len(stream.ids) - maxlen)
        if min_id is not None:
            self._cut(stream, bisect_left(stream.ids, parsed(min_id)))
        self.on_append(name, number, fields)
        return shown(number)

    def _room(self) -> None:
        if self.is_full:
            raise OutOfMemoryError("command not allowed when used memory > 'maxmemory'.")

    def _next_id(self, stream: StreamKey, wanted: bytes) -> Id:
        ms, seq = stream.last
        if stream.last == LAST:
            raise ResponseError("The stream has exhausted the last possible ID, unable to add more items")
        if wanted == b"*":
            now = self._now_ms()
            return (now, 0) if now > ms else (ms, seq + 1)
        if wanted.endswith(b"-*"):
            named = int(wanted[:-2])
            number = (named, seq + 1 if named == ms else 0)
        else:
            number = parsed(wanted)
        if number == (0, 0):
            raise ResponseError("The ID specified in XADD must be greater than 0-0")
        if number <= stream.last:
            raise ResponseError(
                "The ID specified in XADD is equal or smaller than the target stream top item"
            )
        return number

    def _cut(self, stream: StreamKey, count: int) -> int:
        """Remove the oldest *count* entries."""
        if count <= 0:
            return 0
        ids, fields = stream.ids[:count], stream.fields[:count]
        del stream.ids[:count], stream.fields[:count]
        self._undo.append(lambda: _uncut(stream, ids, fields))
        return len(ids)

    def trim(
        self,
        name: bytes,
        *,
        maxlen: int | None = None,
        min_id: bytes | None = None,
        approximate: bool = False,
    ) -> int:
        """XTRIM."""
        stream = self.stream(name)
        if stream is None:
            return 0
        count = (
            bisect_left(stream.ids, parsed(min_id)) if min_id is not None else len(stream.ids) - (maxlen or 0)
        )
        return self._cut(stream, count - (count % NODE if approximate else 0))

    # -- reading ------------------------------------------------------------------------------------------------------

    def length(self, name: bytes) -> int:
        stream = self.stream(name)
        return len(stream.ids) if stream is not None else 0

    def range(
        self,
        name: bytes,
        low: bytes = b"-",
        high: bytes = b"+",
        count: int | None = None,
        *,
        newest_first: bool = False,
    ) -> list[tuple[bytes, Fields]]:
        """XRANGE, XREVRANGE."""
        stream = self.stream(name)
        if stream is None:
            return []
        first = bisect_left(stream.ids, _bound(low, low=True))
        last = bisect_right(stream.ids, _bound(high, low=False))
        places = range(first, last) if not newest_first else range(last - 1, first - 1, -1)
        if count is not None:
            places = places[: max(0, count)]
        return [(shown(stream.ids[n]), stream.fields[n]) for n in places]

    def read(self, streams: Mapping[bytes, bytes], count: int | None) -> list[list[Any]]:
        """XREAD: what comes after the given ids; empty when there is nothing."""
        reply = []
        for name, after in streams.items():
            stream = self.stream(name)
            if stream is None:
                continue
            first = bisect_right(stream.ids, parsed(after))
            last = len(stream.ids) if count is None else min(len(stream.ids), first + count)
            if first < last:
                reply.append([name, [(shown(stream.ids[n]), stream.fields[n]) for n in range(first, last)]])
        return reply

    def resolve(self, streams: Mapping[bytes, bytes]) -> dict[bytes, bytes]:
        """`$` stands for what is newest now."""
        return {name: self._newest(name) if after == b"$" else after for name, after in streams.items()}

    def _newest(self, name: bytes) -> bytes:
        stream = self.stream(name)
        return shown(stream.last) if stream is not None else b"0-0"

    # -- undoing ------------------------------------------------------------------------------------------------------

    def rewind(self, commands: int) -> int:
        """Lose the last *commands* changes; returns how many there were to lose."""
        lost = min(commands, len(self._undo))
        for _ in range(lost):
            self._undo.pop()()
        return lost

    def wipe(self) -> None:
        self.keys.clear()
        self.strings.clear()
        self._undo.clear()


def _unappend(stream: StreamKey, number: Id, before: Id, added: int) -> None:
    if stream.ids and stream.ids[-1] == number:
        stream.ids.pop()
        stream.fields.pop()
    stream.last, stream.added = before, added


def _uncut(stream: StreamKey, ids: Sequence[Id], fields: Sequence[Fields]) -> None:
    stream.ids[:0] = ids
    stream.fields[:0] = fields
