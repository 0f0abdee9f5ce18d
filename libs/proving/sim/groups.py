"""Consumer groups of the stream server: XGROUP, XREADGROUP, XACK, XPENDING, XCLAIM, XINFO GROUPS.

`lag` follows Redis 7: entries added minus entries read, where the latter is known or can be told from the ends of the stream.
"""

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from typing import Any

from redis.exceptions import ResponseError

from proving.sim.server import LAST, Group, Id, Pending, StreamKey, StreamServer, _bound, parsed, shown

NO_KEY = (
    "The XGROUP subcommand requires the key to exist. Note that for CREATE you may want to use the MKSTREAM option "
    "to create an empty stream automatically."
)


class GroupServer(StreamServer):
    """The stream server with its groups."""

    def group_create(self, name: bytes, group: bytes, start: bytes, *, make: bool) -> bool:
        stream = self._made(name) if make else self.stream(name)
        if stream is None:
            raise ResponseError(NO_KEY)
        if group in stream.groups:
            raise ResponseError("BUSYGROUP Consumer Group name already exists")
        last = stream.last if start == b"$" else parsed(start)
        stream.groups[group] = Group(last, stream.added if start == b"$" else None)
        self._undo.append(lambda: stream.groups.pop(group, None))
        return True

    def read_group(
        self,
        group: bytes,
        consumer: bytes,
        streams: Mapping[bytes, bytes],
        count: int | None,
        *,
        no_ack: bool = False,
    ) -> list[list[Any]]:
        """XREADGROUP: new entries for `>`, this consumer's pending ones from any other id on."""
        reply = []
        for name, after in streams.items():
            stream, found = self._group(name, group, " in XREADGROUP with GROUP option")
            found.consumers.add(consumer)
            if after != b">":
                reply.append([name, self._own(stream, found, consumer, parsed(after), count)])
            elif entries := self._new(stream, found, consumer, count, no_ack=no_ack):
                reply.append([name, entries])
        return reply

    def _own(
        self, stream: StreamKey, group: Group, consumer: bytes, after: Id, count: int | None
    ) -> list[tuple[bytes, Any]]:
        entries: list[tuple[bytes, Any]] = []
        now = self._now_ms()
        for number in list(group.pending.irange(after, LAST, inclusive=(False, True))):
            if count is not None and len(entries) >= count:
                break
            pending = group.pending[number]
            if pending.consumer != consumer:
                continue
            pending.at_ms, pending.times = now, pending.times + 1
            entries.append((shown(number), self._content(stream, number)))
        return entries

    def _new(
        self, stream: StreamKey, group: Group, consumer: bytes, count: int | None, *, no_ack: bool
    ) -> list[tuple[bytes, Any]]:
        first = bisect_right(stream.ids, group.last)
        last = len(stream.ids) if count is None else min(len(stream.ids), first + count)
        if first >= last:
            return []
        before, read = group.last, group.read
        ids, now = stream.ids[first:last], self._now_ms()
        for number in ids:
            if not no_ack:
                group.pending[number] = Pending(consumer, now)
        group.last = ids[-1]
        if group.read is not None:
            group.read += len(ids)
        else:
            first_read = _distance(stream, ids[0])
            group.read = _distance(stream, group.last) if first_read is None else first_read + len(ids) - 1
        self._undo.append(lambda: _unread(group, ids, before, read))
        return [(shown(stream.ids[n]), stream.fields[n]) for n in range(first, last)]

    @staticmethod
    def _content(stream: StreamKey, number: Id) -> Any:
        place = bisect_right(stream.ids, number) - 1
        return stream.fields[place] if place >= 0 and stream.ids[place] == number else None

    def ack(self, name: bytes, group: bytes, ids: Sequence[bytes]) -> int:
        stream = self.stream(name)
        found = stream.groups.get(group) if stream is not None else None
        if found is None:
            return 0
        done = 0
        for text in ids:
            number = parsed(text)
            pending = found.pending.pop(number, None)
            if pending is not None:
                done += 1
                self._undo.append(
                    lambda number=number, pending=pending: found.pending.__setitem__(number, pending)  # type: ignore[misc]
                )
                self.on_ack(name, group, number)
        return done

    def has_pending(self, group: bytes) -> bool:
        """Whether any stream has entries that this group has been given and has not acknowledged."""
        groups = (stream.groups.get(group) for stream in self.keys.values())
        return any(found is not None and found.pending for found in groups)

    def pending(self, name: bytes, group: bytes) -> dict[str, Any]:
        """XPENDING, short."""
        _, found = self._group(name, group)
        consumers: dict[bytes, int] = {}
        for pending in found.pending.values():
            consumers[pending.consumer] = consumers.get(pending.consumer, 0) + 1
        ids = list(found.pending)
        return {
            "pending": len(ids),
            "min": shown(ids[0]) if ids else None,
            "max": shown(ids[-1]) if ids else None,
            "consumers": [{"name": name, "pending": consumers[name]} for name in sorted(consumers)],
        }

    def pending_range(
        self,
        name: bytes,
        group: bytes,
        low: bytes,
        high: bytes,
        count: int,
        *,
        consumer: bytes | None,
        idle_ms: int,
    ) -> list[dict[str, Any]]:
        """XPENDING with a range."""
        _, found = self._group(name, group)
        now, rows = self._now_ms(), []
        for number in found.pending.irange(_bound(low, low=True), _bound(high, low=False)):
            pending = found.pending[number]
            idle = max(0, now - pending.at_ms)
            if (consumer is not None and pending.consumer != consumer) or idle < idle_ms:
                continue
            rows.append(
                {
                    "message_id": shown(number),
                    "consumer": pending.consumer,
                    "time_since_delivered": idle,
                    "times_delivered": pending.times,
                }
            )
            if len(rows) >= count:
                break
        return rows

    def claim(
        self,
        name: bytes,
        group: bytes,
        consumer: bytes,
        idle_ms: int,
        ids: Sequence[bytes],
        *,
        just_id: bool = False,
    ) -> list[Any]:
        """XCLAIM: entries that are gone from the stream leave the pending list, too."""
        stream, found = self._group(name, group)
        now, claimed = self._now_ms(), []
        found.consumers.add(consumer)
        for text in ids:
            number = parsed(text)
            pending = found.pending.get(number)
            if pending is None or now - pending.at_ms < idle_ms:
                continue
            before = Pending(pending.consumer, pending.at_ms, pending.times)
            content = self._content(stream, number)
            self._undo.append(
                lambda number=number, before=before: found.pending.__setitem__(number, before)  # type: ignore[misc]
            )
            if content is None:
                del found.pending[number]
                continue
            pending.consumer, pending.at_ms = consumer, now
            pending.times += not just_id
            claimed.append(shown(number) if just_id else (shown(number), content))
        return claimed

    def groups(self, name: bytes) -> list[dict[str, Any]]:
        """XINFO GROUPS."""
        stream = self.stream(name)
        if stream is None:
            raise ResponseError("no such key")
        return [
            {
                "name": group_name,
                "consumers": len(group.consumers),
                "pending": len(group.pending),
                "last-delivered-id": shown(group.last),
                "entries-read": group.read,
                "lag": _lag(stream, group),
            }
            for group_name, group in sorted(stream.groups.items())
        ]


def _distance(stream: StreamKey, number: Id) -> int | None:
    """How many entries were ever added up to *number*; None where that cannot be told."""
    if not stream.added:
        return 0
    if not stream.ids and number <= stream.last:
        return stream.added
    if number >= stream.last:
        return stream.added if number == stream.last else None
    first = stream.ids[0]
    if number < first:
        return stream.added - len(stream.ids)
    return stream.added - len(stream.ids) + 1 if number == first else None


def _lag(stream: StreamKey, group: Group) -> int | None:
    if not stream.added:
        return 0
    read = group.read if group.read is not None else _distance(stream, group.last)
    return None if read is None else stream.added - read


def _unread(group: Group, ids: Sequence[Id], before: Id, read: int | None) -> None:
    for number in ids:
        group.pending.pop(number, None)
    group.last, group.read = before, read
