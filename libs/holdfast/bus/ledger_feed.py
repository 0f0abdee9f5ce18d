"""Keeps a LedgerView equal to the ledger: newest whole snapshot first, then every update behind it.

A gap, another store, or a stream that ends before the view does (a wiped or rewound bus) throws the view away: a
snapshot is asked for, and the view starts again from it. While that goes on the old rows stay readable; they are
replaced in one step.
"""

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Any

from pydantic import ValidationError
from redis.asyncio import Redis

from holdfast.bus.follow import Reader, text
from holdfast.contracts.base import ContractViolation
from holdfast.contracts.codes import UpdateKind
from holdfast.contracts.messages import LedgerSnapshot, LedgerUpdated
from holdfast.contracts.streams import LEDGER_SNAPSHOT, LEDGER_UPDATED
from holdfast.contracts.trusted import snapshot_of, update_of
from holdfast.contracts.wire import digest
from holdfast.domain.view import Gap, LedgerView, OtherStore
from holdfast.runtime.clock import Clock

log = logging.getLogger("holdfast.bus")
PAGE = 50
"""Snapshot parts read at once."""
ASK_AGAIN_MS = 1000
BEHIND_MS = 3000
"""A stream whose newest entry stays older than the view for this long has been wiped or rewound for good."""


class LedgerFeed:
    """`run` follows for ever. `on_reset` is awaited after every load, `on_updates` after updates were applied."""

    def __init__(
        self,
        client: Redis,
        view: LedgerView,
        *,
        clock: Clock,
        prefix: str,
        ask: Callable[[str], Awaitable[None]],
        on_reset: Callable[[], Awaitable[None]],
        on_updates: Callable[[Sequence[LedgerUpdated]], Awaitable[None]],
        kinds: frozenset[UpdateKind] | None = None,
        block_ms: int = 1000,
    ) -> None:
        self._view, self._clock, self._ask = view, clock, ask
        self._on_reset, self._on_updates = on_reset, on_updates
        self._kinds = None if kinds is None else frozenset(kind.value.encode() for kind in kinds)
        self._snapshots = Reader(client, LEDGER_SNAPSHOT, clock=clock, prefix=prefix)
        self._updates = Reader(client, LEDGER_UPDATED, clock=clock, prefix=prefix, block_ms=block_ms)
        self._client, self._snapshot_name = client, prefix + LEDGER_SNAPSHOT.name
        self._used = self._hash = ""
        self._behind_since: int | None = None
        self.resets = 0

    async def run(self) -> None:
        """Follow until cancelled."""
        while True:
            await self._load()
            try:
                await self._follow()
            except (Gap, OtherStore) as reason:
                log.warning("the view of the ledger starts again: %s", reason)
                await self._ask(str(reason))

    # -- snapshot ---------------------------------------------------------------------------------------------------

    async def _load(self) -> None:
        asked: int | None = None
        while True:
            parts = await self._newest_whole()
            if parts is not None and parts[0].snapshot_id != self._used:
                try:
                    self._view.load(parts)
                    break
                except Gap as reason:
                    log.warning("a snapshot is unusable: %s", reason)
            now = self._clock.monotonic_ms()
            if asked is None or now - asked > ASK_AGAIN_MS:
                await self._ask("no usable snapshot")
                asked = now
            await self._clock.sleep(0.05)
        self._used, self._hash = parts[0].snapshot_id, parts[0].chain
        self._updates.last_id = f"{self._view.seq}-0"
        await self._catch_up()
        self._behind_since = None
        self.resets += 1
        log.info(
            "ledger view loaded: seq %d, %d positions, %d live orders",
            self._view.seq,
            len(self._view.positions),
            len(self._view.orders),
        )
        await self._on_reset()

    async def _catch_up(self) -> None:
        """Apply what has been written behind the snapshot, so that a service first acts on how things stand *now*."""
        try:
            while batch := await self._updates.read(wait=False):
                self._apply(batch)
        except (Gap, OtherStore) as reason:
            log.warning("updates behind the snapshot: %s", reason)
            self._updates.last_id = f"{self._view.seq}-0"  # reading on meets it again, and starts again

    async def _newest_whole(self) -> list[LedgerSnapshot] | None:
        """The parts of the newest complete snapshot, in order; None when there is none."""
        last, found = "+", dict[int, LedgerSnapshot]()
        wanted: str | None = None
        while True:
            rows = await self._snapshots.retry(
                partial(self._client.xrevrange, self._snapshot_name, max=last, count=PAGE)
            )
            for entry_id, fields in rows:
                try:
                    part = snapshot_of(fields.get(b"body", b""))
                except ValidationError as error:
                    log.warning("snapshot entry %s is unreadable: %s", text(entry_id), error)
                    continue
                if part.snapshot_id != wanted:
                    wanted, found = (part.snapshot_id, {}) if part.part == part.parts else (None, {})
                if wanted is not None:
                    found[part.part] = part
                    if len(found) == part.parts:
                        return [found[number] for number in range(1, part.parts + 1)]
            if len(rows) < PAGE:
                return None
            last = f"({text(rows[-1][0])}"

    # -- updates ----------------------------------------------------------------------------------------------------

    async def _follow(self) -> None:
        while True:
            batch = await self._updates.read()
            if not batch:
                await self._notice_a_wipe()
                continue
            self._behind_since = None
            updates = self._apply(batch)
            if updates:
                await self._on_updates(updates)

    def _apply(self, batch: Sequence[tuple[str, Mapping[bytes, bytes]]]) -> list[LedgerUpdated]:
        """Apply entries to the view; returns those that were decoded and new."""
        applied = []
        view = self._view
        self._check_that_it_follows(batch)
        for entry_id, fields in batch:
            seq = int(entry_id.partition("-")[0])
            if seq <= view.seq:
                continue
            if self._kinds is not None and fields.get(b"kind") not in self._kinds:
                view.skip(seq, view.store_id)
                continue
            try:
                update = update_of(fields.get(b"body", b""), view.tables)
            except ValidationError as error:
                raise Gap(f"update {seq} is unreadable: {ContractViolation.of(error)}") from error
            if view.apply(update):
                applied.append(update)
        return applied

    def _check_that_it_follows(self, batch: Sequence[tuple[str, Mapping[bytes, bytes]]]) -> None:
        """Whether the first update behind the view continues the view's own history. Raises Gap.

        A ledger whose store was restored from a backup writes other updates under numbers that this view has seen. What one
        read returns is of one history, so its first entry tells.
        """
        for entry_id, fields in batch:
            if int(entry_id.partition("-")[0]) == self._view.seq + 1:
                if b"hash" in fields and digest(self._hash, fields.get(b"body", b"")) != text(
                    fields[b"hash"]
                ):
                    raise Gap(f"update {self._view.seq + 1} continues another history than this view's")
                break
        if batch and b"hash" in batch[-1][1]:
            self._hash = text(batch[-1][1][b"hash"])

    async def _notice_a_wipe(self) -> None:
        newest = int((await self._updates.newest_id()).partition("-")[0])
        if newest >= self._view.seq:
            self._behind_since = None
            return
        now = self._clock.monotonic_ms()
        if self._behind_since is None:
            self._behind_since = now
            await self._ask("the stream of updates ends before this view")
        elif now - self._behind_since > BEHIND_MS and await self._another_snapshot():
            raise Gap("the stream of updates was wiped or rewound")

    async def _another_snapshot(self) -> bool:
        parts = await self._newest_whole()
        return parts is not None and parts[0].snapshot_id != self._used


def updates_of(entries: Sequence[Any]) -> list[LedgerUpdated]:
    """The LedgerUpdated messages among decoded entries."""
    return [entry.message for entry in entries if isinstance(entry.message, LedgerUpdated)]
