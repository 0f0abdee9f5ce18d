"""Waits until the accounts are free, takes them over, and says so: one executor per account (INV-9), any number beside it.

In one data directory a lock decides, which the kernel gives up when its holder ends. Between machines the ledger does
(`domain.leases`): a claim that it has confirmed entitles us. Until then nothing is read from the intents, and no venue is opened.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any

from holdfast.contracts.leases import PLACE, STANDBY, ExecutorClaim
from holdfast.contracts.messages import Heartbeat, LedgerUpdated
from holdfast.contracts.streams import EXECUTOR_CLAIM
from holdfast.contracts.wire import Entry, Out, Outgoing
from holdfast.domain.leases import Rivals, written
from holdfast.domain.view import LedgerView
from holdfast.runtime.clock import Clock
from holdfast.runtime.ids import Ids
from holdfast.runtime.locks import AlreadyHeld

log = logging.getLogger("holdfast.executor")
LOOK_EVERY_S = 0.2
CLAIM_AGAIN_MS = 2_000
MOST_CLAIMS = 100
Publish = Callable[[list[Outgoing]], Awaitable[None]]


class Lease:
    """See the module. *lock* takes the accounts' locks and says where they are, or raises AlreadyHeld."""

    def __init__(
        self,
        accounts: Sequence[str],
        incarnation: str,
        *,
        clock: Clock,
        ids: Ids,
        view: LedgerView,
        lease_ms: int,
        lock: Callable[[], str],
    ) -> None:
        self._accounts, self._clock, self._ids, self._view, self._lock = accounts, clock, ids, view, lock
        self._incarnation, self._rivals = incarnation, Rivals(incarnation, lease_ms)
        self._claims: dict[str, dict[str, int]] = {}
        self._claimed_at = 0
        self._news = asyncio.Event()
        self.epochs: dict[str, int] = {}
        """What the ledger has given us; empty: nothing yet."""
        self.place, self.waits_for = "", ""
        self.held = False
        self.serving = asyncio.Event()

    async def run(
        self,
        publish: Publish,
        *,
        open_venues: Callable[[], Awaitable[None]],
        begin: Callable[[], Awaitable[list[Outgoing]]],
    ) -> None:
        """Returns when the accounts are ours and served. Raises what *open_venues* does."""
        while not self.epochs:
            hindrance = self._hindrance() if self._view.is_loaded else ""
            if hindrance and hindrance != self.waits_for:
                log.warning("stand-by: %s", hindrance)
            self.waits_for = hindrance
            now = self._clock.monotonic_ms()
            if self._view.is_loaded and not hindrance and now - self._claimed_at >= CLAIM_AGAIN_MS:
                self._claimed_at = now
                await publish([self._claim()])
            await self._look_again()
        log.info("takes over %s: %s", written(self.epochs), self._rivals.dead(self.epochs))
        await open_venues()
        while not self._view.is_loaded:
            await self._look_again()
        self.held = True
        await publish(await begin())
        self.serving.set()

    def _hindrance(self) -> str:
        """Why we must wait."""
        try:
            self.place = self._lock()
        except AlreadyHeld as error:
            return str(error)
        return self._rivals.in_the_way(self._accounts, self._view.executors, self.place) or ""

    def _claim(self) -> Out:
        epochs = {account: 1 + self._view.executors.get(account, 0) for account in self._accounts}
        claim = ExecutorClaim(
            id=f"c-{self._ids.new()}", at=self._clock.wall_ms(), incarnation=self._incarnation, epochs=epochs
        )
        self._claims[claim.id] = epochs
        while len(self._claims) > MOST_CLAIMS:
            del self._claims[next(iter(self._claims))]
        return Out(EXECUTOR_CLAIM, claim)

    async def _look_again(self) -> None:
        """After a moment, or when there is news."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._news.wait(), LOOK_EVERY_S)
        self._news.clear()

    # -- what is heard meanwhile --------------------------------------------------------------------------------------------------

    def on_reset(self) -> None:
        self._news.set()

    def on_updates(self, updates: Sequence[LedgerUpdated]) -> None:
        """Whose claim the ledger has confirmed."""
        for update in updates:
            given = {name: epoch for name, epoch in update.executors.items() if name in self._accounts}
            if not given:
                continue
            if update.cause_id in self._claims:
                self.epochs = self._claims[update.cause_id]
                self._news.set()
            else:
                self._rivals.taken(given)

    async def on_heartbeats(self, batch: Sequence[Entry]) -> list[Outgoing]:
        """`heartbeat`: who lives, and what they have."""
        if not self.held:
            for entry in batch:
                if isinstance(entry.message, Heartbeat):
                    self._rivals.hear(entry.message)
        return []

    def on_presence(self, connected: frozenset[str]) -> None:
        if not self.held:
            self._rivals.see(connected)

    def beat(self, fields: dict[str, Any], instance: str) -> dict[str, Any]:
        """*fields* of the heartbeat, with what this life has and where; *instance*: its name once it serves."""
        details = {**fields["details"], PLACE: self.place}
        if self.held:
            return {**fields, "instance": instance, "details": details}
        details[STANDBY] = self.waits_for or "it is starting"
        waiting = f"{instance}-{STANDBY}" if instance != "0" else STANDBY
        return {**fields, "instance": waiting, "unreadable": None, "warnings": [], "details": details}
