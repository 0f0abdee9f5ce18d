"""Bugs in the use of the bus: when things are acknowledged, where groups begin, what a follower follows."""

from collections.abc import Sequence
from typing import Any

from holdfast.bus import app, groups, ledger_feed, work
from holdfast.contracts import wire
from holdfast.contracts.messages import Fill
from holdfast.domain import view
from holdfast.store import store
from proving.planted.bug import Bug, Patch
from services.ledger import service as ledger


def acknowledge_first(patch: Patch) -> None:
    handle = work.Worker._handle

    async def acked(self: work.Worker, entries: Sequence[Any]) -> None:
        if not self.work.handler_acks:
            ids = [entry.entry_id for entry in entries]
            await self._patiently(lambda: self._publisher.publish([], [(self.work.stream, ids)]))
        await handle(self, entries)

    patch.setattr(work.Worker, "_handle", acked)


def groups_at_the_end(patch: Patch) -> None:
    create = groups.create_groups

    class AtTheEnd:
        """The client, but for where a group begins."""

        def __init__(self, client: Any) -> None:
            self._client = client

        async def xgroup_create(self, name: str, group: str, **named: Any) -> Any:
            return await self._client.xgroup_create(name, group, **(named | {"id": "$"}))

    async def at_dollar(client: Any, *rest: Any) -> int:
        return await create(AtTheEnd(client), *rest)  # type: ignore[arg-type]

    patch.setattr(groups, "create_groups", at_dollar)
    patch.setattr(app, "create_groups", at_dollar)


def pending_is_forgotten(patch: Patch) -> None:
    async def nothing(_: work.Worker) -> int:
        return 0

    patch.setattr(work.Worker, "drain", nothing)
    patch.setattr(work.Worker, "claim", nothing)


def follow_from_now(patch: Patch) -> None:
    async def from_the_newest(self: ledger_feed.LedgerFeed) -> None:
        self._updates.last_id = await self._updates.newest_id()

    patch.setattr(ledger_feed.LedgerFeed, "_catch_up", from_the_newest)
    patch.setattr(view.LedgerView, "follows", lambda self, seq, _: seq > self.seq)


def ids_from_the_stream(patch: Patch) -> None:
    parse = wire.parse_intent

    def by_entry(stream: str, entry_id: str, body: bytes) -> Any:
        intent = parse(stream, entry_id, body)
        return intent.evolve(id="i-" + wire.digest(stream, entry_id))

    patch.setattr(wire, "parse_intent", by_entry)


def fills_known_by_their_entry(patch: Patch) -> None:
    look_up, take = store.Store.look_up, ledger.Ledger.on_work
    numbers = iter(range(10**9))

    def unknown(self: store.Store, **named: Any) -> Any:
        return look_up(self, **(named | {"fills": ()}))

    async def renumbered(self: ledger.Ledger, entries: Sequence[Any]) -> Any:
        for entry in entries:
            if isinstance(entry.message, Fill):
                fresh = entry.message.evolve(trade_id=f"{entry.message.trade_id}-{next(numbers)}")
                object.__setattr__(entry, "message", fresh)
        return await take(self, entries)

    patch.setattr(store.Store, "look_up", unknown)
    patch.setattr(ledger.Ledger, "on_work", renumbered)


OF_BUS: tuple[Bug, ...] = (
    Bug("acknowledge before commit", "INV-8", "read, acknowledged, done", acknowledge_first, kinds=("process.crash", "store.failing", "store.full")),
    Bug("group at $", "INV-4", "the default: a group begins with what comes after it", groups_at_the_end, kinds=("bus.wipe",)),
    Bug("no recovery of pending entries", "INV-4", "the default: only new entries are read", pending_is_forgotten, kinds=("process.crash", "bus.lost_reply")),
    Bug("snapshot without catching up", "INV-8", "load the snapshot, then follow what comes", follow_from_now, kinds=("process.crash",)),
    Bug("intents known by their stream id", "INV-4", "the bus has an id for everything", ids_from_the_stream, kinds=("input.replayed",)),
    Bug("fills known by their stream id", "INV-4", "the bus has an id for everything", fills_known_by_their_entry, kinds=("process.crash", "venue.twice")),
)  # fmt: skip
