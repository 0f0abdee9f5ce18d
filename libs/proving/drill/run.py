"""One drill from the first light to the verdict."""

import json
import time
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from redis import Redis
from redis.exceptions import RedisError

from holdfast.contracts import streams
from proving.drill import judge
from proving.drill.beats import Beats
from proving.drill.faults import Fault, Menu
from proving.drill.orders import Ends, Orders
from proving.drill.processes import wait
from proving.drill.report import Report, Struck
from proving.drill.world import ACCOUNTS, GREEN, SERVICES, Unavailable, World

TRADING = ("main", "alt")
QUIET = (streams.DEMO, streams.MARKET_FEED)
BETWEEN_S = 1.0
"""How long it trades in peace between two faults."""
LONGEST_S = 300.0
"""A recovery that takes longer counts as none. A shorter one is a figure, however slow the machine makes it."""
COPY_EVERY = 8
"""Faults between two copies of the bus's files, to rewind to."""


class Drill:
    """Breaks *world* until *seconds* are over, or *faults* were had; see `verdict` afterwards."""

    def __init__(self, world: World, menu: Menu, report: Report) -> None:
        self._world, self._menu, self.report = world, menu, report
        self._client = world.client()
        self._beats = Beats(world.client())
        self._orders: Orders | None = None
        self._pictures: dict[int, dict[str, str]] = {}
        """Sequence -> open positions and their quantities, as the streams told them then."""
        self._started = time.monotonic()

    def run(self, *, seconds: float, faults: int | None = None) -> None:
        """Raises nothing: what goes wrong is in the report."""
        try:
            wait(lambda: not self._missing(), "the first light")
            self._world.copy_bus()
            self._orders = Orders(self._world.client(), TRADING, self._menu.seed)
            self._started = time.monotonic()
            for number, fault in enumerate(self._menu.deal()):
                if time.monotonic() - self._started > seconds or number == faults:
                    break
                time.sleep(BETWEEN_S)
                if number % COPY_EVERY == COPY_EVERY - 1:
                    self._world.copy_bus()
                self._have(fault)
            self._settle()
        except TimeoutError as error:
            self.report.tally.check("INV-10", False, f"{error}: {self._missing()}")
        finally:
            if self._orders is not None:
                self._orders.stop()
            self._beats.stop()

    def _missing(
        self, since_ms: int = 0, fault: Fault | None = None, before: Mapping[str, str] | None = None
    ) -> list[str]:
        replaced = {name: (before or {}).get(name, "") for name in fault.replaced} if fault else {}
        return self._beats.missing(since_ms, wall_ms(), fault.touched if fault else SERVICES, replaced)

    def _have(self, fault: Fault) -> None:
        """Strike, wait until all is armed again, note how long that took."""
        if fault.kind in self.report.skipped:
            return
        before, began = self._beats.incarnations(), wall_ms()
        try:
            fault.strike(self._world, self.report.tally)
        except Unavailable as reason:
            self.report.skipped[fault.kind] = str(reason)
            return
        since = wall_ms() if fault.lasts else began
        try:
            wait(
                lambda: not self._missing(since, fault, before),
                f"all positions armed after: {fault.kind}",
                LONGEST_S,
            )
        except TimeoutError as error:
            text = f"{error}: {self._missing(since, fault, before)}"
            self.report.tally.check("INV-10", False, text)
            self._note(fault, began, None)
            return
        self._note(fault, began, wall_ms() - since if fault.is_measured else None)
        if (picture := picture_of(self._client)) is not None:
            self._pictures[picture[0]] = picture[1]

    def _note(self, fault: Fault, began_ms: int, recovery_ms: int | None) -> None:
        at_s = round(time.monotonic() - self._started - (wall_ms() - began_ms) / 1000, 1)
        self.report.struck.append(Struck(fault.kind, at_s, recovery_ms))
        if fault.lasts:
            self.report.from_end.add(fault.kind)

    # -- the end ------------------------------------------------------------------------------------------------------

    def _settle(self) -> None:
        """No more faults: every intent is sent once more, all must come to an end, everything crossed closed, the light green."""
        assert self._orders is not None
        self._orders.stop()
        ends = Ends(self._client)
        self._send_all_again(self._orders)
        wait(lambda: self._waiting() == 0, "every intent to be answered", 300)
        # What was accepted is filled at the next price: nobody may stop the prices before.
        sent = self._orders.sent
        wait(lambda: not ends.lacking(sent), "every intent to come to an end", 300)
        wait(lambda: not self._missing(wall_ms() - 2000), "all positions armed at the end")
        try:
            wait(lambda: self._world.light() == GREEN, "the light to be green at the end")
        except TimeoutError as error:
            self.report.tally.check("INV-10", False, f"{error}: it is {self._world.light()}")
        else:
            self.report.tally.check("INV-10", True, "")
        self._come_to_rest()
        exiting = self._beats.newest[streams.EXIT_SCANNER].body["details"]["exiting"]
        self.report.counts["exits on their way at the end"] = int(exiting)

    def _send_all_again(self, orders: Orders) -> None:
        for number, (name, body) in enumerate(list(orders.sent.items())):
            wait(partial(orders.send, name, body), "the bus to take an intent again")
            if number % 50 == 0:
                wait(lambda: self._waiting() < 200, "the intents sent again", 300)

    def _come_to_rest(self) -> None:
        """Stop who trades and who tells prices, and wait until everything on its way has arrived: then books can be compared."""
        for name in QUIET:
            try:
                self._world.pause(name)
            except Unavailable as reason:
                self.report.skipped[f"stop {name} before the end"] = str(reason)
        started = wall_ms()
        wait(
            lambda: self._waiting(tuple(s for s in streams.STREAMS if s.groups)) == 0,
            "the work streams to be empty",
        )
        wait(lambda: not self._owed(started), "every fill to be confirmed")

    def _owed(self, since_ms: int) -> bool:
        """Whether the executor still owes the ledger something, or has not been heard of since."""
        beat = self._beats.newest[streams.EXECUTOR]
        details = beat.body["details"]
        return beat.heard_ms < since_ms or any(
            details[name] != "0" for name in ("unanswered", "unconfirmed_fills", "unconfirmed_statuses")
        )

    def _waiting(
        self, of: Sequence[streams.Stream] = (streams.ORDER_INTENT, streams.ORDER_INTENT_EXIT)
    ) -> int:
        """Entries of work streams that their services have not finished with."""
        try:
            groups = [
                (stream.name, group) for stream in of for group in self._client.xinfo_groups(stream.name)
            ]
            return sum(self._behind(name, group) + int(group["pending"]) for name, group in groups)
        except (RedisError, OSError):
            return 1_000_000

    def _behind(self, name: str, group: Mapping[str, Any]) -> int:
        """Entries that *group* has not been given. A bus that was wiped or rewound does not always know: then they are counted."""
        if group["lag"] is not None:
            return int(group["lag"])
        rows: Any = self._client.xrange(name, min=f"({group['last-delivered-id']}")
        return len(rows)

    def verdict(self) -> Report:
        """End the world, read what it has left on the disk, judge."""
        report, world = self.report, self._world
        told = world.stop()
        world.remove()
        report.counts |= {"faults": len(report.struck)} | judge.judge(
            world.directory, ACCOUNTS, report.tally, self._pictures
        )
        if self._orders is not None:
            judge.ends_of(world.directory, self._orders.sent, report.tally)
            report.counts["intents sent"] = len(self._orders.sent)
        report.counts["looks of ledger verify"] = judge.verify(world.directory, report.tally)
        report.counts["the auditor: not at rest"] = judge.audit(world.directory, report.tally)
        report.counts |= judge.log_of(told, world.asked, report.tally)
        report.counts["orders of restarting"] = len(self._menu.orders_tried)
        report.head["seconds"] = round(time.monotonic() - self._started)
        return report


def picture_of(client: "Redis") -> tuple[int, dict[str, str]] | None:
    """Open positions as any follower would know them now: the newest whole snapshot and every update behind it."""
    try:
        rows: Any = client.xrevrange(streams.LEDGER_SNAPSHOT.name, count=200)
        parts = [json.loads(fields["body"]) for _, fields in rows]
        if not parts:
            return None
        newest = [part for part in parts if part["snapshot_id"] == parts[0]["snapshot_id"]]
        if len(newest) != newest[0]["parts"]:
            return None
        seq = int(newest[0]["seq"])
        found = {row["position_id"]: row["quantity"] for part in newest for row in part.get("positions", ())}
        updates: Any = client.xrange(streams.LEDGER_UPDATED.name, min=f"({seq}-0")
    except (RedisError, OSError):
        return None
    for entry_id, fields in updates:
        if int(entry_id.partition("-")[0]) != seq + 1:
            return None
        seq += 1
        for row in json.loads(fields["body"]).get("positions", ()):
            found[row["position_id"]] = row["quantity"]
    return seq, {name: quantity for name, quantity in found.items() if quantity != "0"}


def wall_ms() -> int:
    return time.time_ns() // 1_000_000


def drill(
    world: World,
    *,
    seed: int,
    seconds: float,
    kinds: tuple[str, ...] = (),
    faults: int | None = None,
    head: Mapping[str, Any] | None = None,
) -> Report:
    """The whole of it: break *world*, then judge it. The world has ended when this returns, or raises."""
    one = Drill(world, Menu(seed, kinds), Report(head=dict(head or {}) | {"seed": seed}))
    try:
        one.run(seconds=seconds, faults=faults)
    except BaseException:
        world.stop()
        world.remove()
        raise
    return one.verdict()
