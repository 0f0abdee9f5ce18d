"""Views: every instance reads all of them for itself, from the snapshot on, and throws its state away when it notices a gap."""

import asyncio
from contextlib import asynccontextmanager

import pytest

from holdfast.bus import app as app_module
from holdfast.bus import ledger_feed
from holdfast.bus.app import ServiceApp
from holdfast.bus.connection import Publisher
from holdfast.contracts.codes import UpdateKind
from holdfast.contracts.exit_messages import Prediction
from holdfast.contracts.streams import (
    EXIT_SCANNER,
    HEARTBEAT,
    LEDGER_SNAPSHOT,
    LEDGER_UPDATED,
    PREDICTION,
    SNAPSHOT_REQUEST,
    STREAMS,
    Reading,
)
from holdfast.contracts.wire import Numbered, Trim
from holdfast.domain.view import LedgerView
from holdfast.runtime.faults import Terminal
from tests.contract._bus import Bus, running, settings_for
from tests.contract._ledgers import HASH, FakeLedger
from tests.contract._wait import wait_until


def prediction(number: int) -> Prediction:
    return Prediction(
        id=f"p-{number}", at=1, symbol="BTC/USDT", direction="long", confidence="0.5", model="m", expires_at=2
    )


class Follower:
    """A service that keeps a view of the ledger, and remembers what it was told."""

    def __init__(self, url, directory, kinds=None, instance="0"):
        self.view, self.resets, self.seqs = LedgerView(), [], []
        self.app = ServiceApp(EXIT_SCANNER, settings_for(url, directory), instance=instance)
        self.app.ledger(self.view, on_reset=self._reset, on_updates=self._updates, kinds=kinds)

    async def _reset(self):
        self.resets.append(self.view.seq)
        return []

    async def _updates(self, updates):
        self.seqs += [update.seq for update in updates]
        return []

    def shows(self, seq):
        """Whether the view is exactly what all updates up to *seq* make it."""
        return self.view.seq == seq and sorted(self.view.totals) == sorted(
            ("main", "paper", f"S{one}/USDT") for one in range(1, seq + 1)
        )


@asynccontextmanager
async def following(url, directory, **how):
    follower = Follower(url, directory, **how)
    async with running(follower.app):
        yield follower


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    monkeypatch.setattr(ledger_feed, "BEHIND_MS", 200)
    monkeypatch.setattr(ledger_feed, "ASK_AGAIN_MS", 200)


async def asked(bus):
    return [message.why for message in await bus.of(SNAPSHOT_REQUEST)]


async def test_a_view_is_the_newest_snapshot_and_every_update_behind_it(bus, bus_url, tmp_path):
    """Parts in any number; an older snapshot and the updates that are in it already do not matter."""
    ledger = FakeLedger(bus)
    await ledger.publish(range(1, 11))
    await ledger.snapshot(3)
    await ledger.snapshot(7, parts=3)
    async with following(bus_url, tmp_path) as follower:
        await wait_until(lambda: follower.resets and follower.shows(10), "the view")
        await ledger.publish([11, 12])
        await wait_until(lambda: follower.shows(12), "what came later")

    assert follower.resets == [10], "a service first acts on the ledger as it is now"
    assert follower.seqs == [11, 12]


async def test_no_gap_after_a_restart(bus, bus_url, tmp_path):
    """Updates published while nobody read are read by the next life: views have no group that could have passed them."""
    ledger = FakeLedger(bus)
    await ledger.snapshot(0)
    async with following(bus_url, tmp_path) as first:
        await ledger.publish([1, 2])
        await wait_until(lambda: first.shows(2), "the first life")
    await ledger.publish([3, 4])
    async with following(bus_url, tmp_path) as second:
        await wait_until(lambda: second.shows(4), "the second life")


async def test_two_instances_each_see_everything(bus, bus_url, tmp_path):
    """A group would have split it between them."""
    ledger = FakeLedger(bus)
    await ledger.snapshot(0)
    async with (
        following(bus_url, tmp_path) as one,
        following(bus_url, tmp_path, instance="1") as other,
    ):
        await ledger.publish(range(1, 51))
        await wait_until(lambda: one.shows(50) and other.shows(50), "both")


async def test_a_gap_throws_the_view_away_and_asks_for_a_snapshot(bus, bus_url, tmp_path):
    """What was lost is not guessed; the old rows stay readable until the new ones replace them."""
    ledger = FakeLedger(bus)
    await ledger.snapshot(0)
    async with following(bus_url, tmp_path) as follower:
        await wait_until(lambda: follower.resets, "the start")
        await ledger.publish([1])
        await wait_until(lambda: follower.shows(1), "the beginning")
        await ledger.publish([3])
        await wait_until(lambda: asked(bus), "the request")
        assert follower.shows(1)
        await ledger.snapshot(3)
        await wait_until(lambda: follower.shows(3), "the view after the snapshot")

    assert "expected update 2, got 3" in (await asked(bus))[0]
    assert follower.resets == [0, 3]


async def test_a_gap_right_behind_the_snapshot_is_noticed_at_once(bus, bus_url, tmp_path):
    """Not only when another update comes: until then, what the lost and the later ones changed would be unknown."""
    ledger = FakeLedger(bus)
    await ledger.snapshot(1)
    await ledger.publish([1, 2, 4])
    async with following(bus_url, tmp_path) as follower:
        await wait_until(lambda: asked(bus), "the request")
        await ledger.snapshot(4)
        await wait_until(lambda: follower.shows(4), "the view after the snapshot")

    assert "expected update 3, got 4" in (await asked(bus))[0]


@pytest.mark.parametrize("fields", [{"body": "{"}, {"nonsense": "1"}, {"body": '{"seq":2}'}], ids=str)
async def test_an_unreadable_update_is_a_gap(bus, bus_url, tmp_path, fields):
    """What it changed is not known, so nothing is assumed: a snapshot is asked for, and the service goes on from it."""
    ledger = FakeLedger(bus)
    await ledger.snapshot(1)
    async with following(bus_url, tmp_path) as follower:
        await wait_until(lambda: follower.resets, "the start")
        await bus.redis.xadd(LEDGER_UPDATED.name, fields, id="2-0")
        await wait_until(lambda: asked(bus), "the request")
        assert follower.view.seq == 1
        await ledger.snapshot(2)
        await wait_until(lambda: follower.shows(2), "the view after the snapshot")
        await ledger.publish([3])
        await wait_until(lambda: follower.shows(3), "the next update")


async def test_another_store_throws_the_view_away(bus, bus_url, tmp_path):
    """Two stores are never mixed up, even where the numbers fit."""
    await FakeLedger(bus).snapshot(0)
    async with following(bus_url, tmp_path) as follower:
        await wait_until(lambda: follower.resets, "the first store")
        await bus.redis.delete(LEDGER_SNAPSHOT.name)
        other = FakeLedger(bus, "store-2")
        await other.publish([1])
        await wait_until(lambda: asked(bus), "the request")
        assert follower.view.store_id == "store-1"
        await other.snapshot(1)
        await wait_until(lambda: follower.view.store_id == "store-2" and follower.shows(1), "the other store")


async def test_another_history_of_the_same_store_throws_the_view_away(bus, bus_url, tmp_path):
    """A backup was restored, and the ledger has caught up with the view's number before the view looked."""
    ledger = FakeLedger(bus)
    await ledger.snapshot(2)
    await ledger.publish(range(1, 5))
    async with following(bus_url, tmp_path) as follower:
        await wait_until(lambda: follower.view.seq == 4, "the updates")
        ledger.history = "restored"
        pipe = bus.redis.pipeline(transaction=True)
        pipe.delete(LEDGER_UPDATED.name)
        for seq in range(3, 6):
            pipe.xadd(
                LEDGER_UPDATED.name,
                {"body": ledger.update(seq).body(), "kind": "filled", "hash": ledger.hash(seq)},
                id=f"{seq}-0",
            )
        await pipe.execute()
        await wait_until(lambda: bus.of(SNAPSHOT_REQUEST), "the wish for a snapshot")
        await ledger.snapshot(5)
        await wait_until(lambda: len(follower.resets) == 2, "the new beginning")

    assert follower.resets == [2, 5] or follower.resets == [4, 5]
    assert follower.shows(5)
    assert "continues another history" in (await bus.of(SNAPSHOT_REQUEST))[0].why


async def test_a_view_that_was_loaded_is_told_in_a_heartbeat_at_once(bus, bus_url, tmp_path, monkeypatch):
    """At start and every time it starts again: who waits for all to be armed does not wait for the next second."""
    monkeypatch.setattr(app_module, "HEARTBEAT_EVERY_S", 3600.0)
    await FakeLedger(bus).snapshot(0)
    async with following(bus_url, tmp_path) as follower:
        await wait_until(lambda: _told(bus, 1), "the heartbeat of the first view")
        await bus.redis.delete(LEDGER_SNAPSHOT.name)
        other = FakeLedger(bus, "store-2")
        await other.publish([1])
        await other.snapshot(1)
        await wait_until(lambda: follower.view.store_id == "store-2", "the other store")
        await wait_until(lambda: _told(bus, 2), "the heartbeat of the second view")


async def _told(bus, count):
    """That many heartbeats, the one at start not counted."""
    return len(await bus.entries(HEARTBEAT)) > count


async def test_a_wiped_bus_is_noticed_without_an_update(bus, bus_url, tmp_path):
    """The stream ends before the view does: a snapshot is asked for, and the view starts again from it."""
    ledger = FakeLedger(bus)
    await ledger.snapshot(0)
    async with following(bus_url, tmp_path) as follower:
        await wait_until(lambda: follower.resets, "the start")
        await ledger.publish(range(1, 6))
        await wait_until(lambda: follower.shows(5), "the beginning")
        await bus.redis.flushall()
        await wait_until(lambda: asked(bus), "the request")
        await ledger.snapshot(5)
        await wait_until(lambda: follower.resets == [0, 5], "the view after the wipe")
        await ledger.publish([6])
        await wait_until(lambda: follower.shows(6), "the next update")


@pytest.mark.parametrize("damage", [{"leave_out": 2}, {"leave_out": 3}, {"spoil": True}], ids=str)
async def test_half_a_snapshot_is_none(bus, bus_url, tmp_path, damage):
    """A part missing, or rows that do not fit the checksum: the one before is used, or a new one is asked for."""
    ledger = FakeLedger(bus)
    await ledger.publish(range(1, 9))
    await ledger.snapshot(8, parts=3, **damage)
    async with following(bus_url, tmp_path) as follower:
        await wait_until(lambda: asked(bus), "the request")
        assert follower.resets == []
        await ledger.snapshot(8, parts=3)
        await wait_until(lambda: follower.shows(8), "a whole one")


async def test_kinds_nobody_decodes_still_count(bus, bus_url, tmp_path):
    """A follower that decodes only what it uses notices a gap in the rest all the same."""
    ledger = FakeLedger(bus)
    await ledger.snapshot(0)
    async with following(bus_url, tmp_path, kinds=frozenset({UpdateKind.FILLED})) as follower:
        await wait_until(lambda: follower.resets, "the start")
        await ledger.publish([1])
        await ledger.publish([2, 3], kind="status")
        await ledger.publish([4])
        await wait_until(lambda: follower.view.seq == 4, "the updates")
        await ledger.publish([6], kind="status")
        await wait_until(lambda: asked(bus), "the request")

    assert follower.seqs == [1, 4]


async def test_a_plain_view_begins_now_or_some_entries_back(bus, bus_url, tmp_path):
    """`last=0`: what comes from now on; `last=2`: the newest two first. Entries that are no messages are passed over."""
    seen: dict[int, list[str]] = {0: [], 2: [], 99: []}
    app = ServiceApp(EXIT_SCANNER, settings_for(bus_url, tmp_path))

    def taker(last):
        async def take(entries):
            seen[last] += [entry.message.id for entry in entries]
            return []

        return take

    for last in seen:
        app.follow(PREDICTION, taker(last), last=last)
    for number in range(4):
        await bus.add(PREDICTION, prediction(number))
    async with running(app):
        await wait_until(lambda: len(seen[2]) == 2 and len(seen[99]) == 4, "the past")
        await bus.add_raw(PREDICTION, body="{")
        await bus.add(PREDICTION, prediction(4))
        await wait_until(lambda: all(ids[-1:] == ["p-4"] for ids in seen.values()), "the present")

    assert seen == {0: ["p-4"], 2: ["p-2", "p-3", "p-4"], 99: [f"p-{number}" for number in range(5)]}


async def test_a_plain_view_loses_nothing_between_two_reads(bus, bus_url, tmp_path):
    """The reader asks for what comes after the last entry it has, however slow its handler is."""
    seen = []

    async def slow(entries):
        await asyncio.sleep(0.02)
        seen.extend(entry.message.id for entry in entries)
        return []

    app = ServiceApp(EXIT_SCANNER, settings_for(bus_url, tmp_path))
    app.follow(PREDICTION, slow, last=1)
    await bus.add(PREDICTION, prediction(0))
    async with running(app):
        await wait_until(lambda: seen, "the first")
        for number in range(1, 200):
            await bus.add(PREDICTION, prediction(number))
        await wait_until(lambda: len(seen) == 200, "all of them")

    assert seen == [f"p-{number}" for number in range(200)]


async def test_no_view_has_a_group(bus, bus_url, tmp_path):
    """The table of streams gives views no groups, and nobody makes one."""
    await FakeLedger(bus).snapshot(0)
    async with following(bus_url, tmp_path) as follower:
        await wait_until(lambda: follower.resets, "the start")
        for stream in STREAMS:
            if await bus.redis.exists(stream.name):
                groups = await bus.redis.xinfo_groups(stream.name)
                assert bool(groups) == (stream.reading is Reading.WORK), stream.name


# -- entries whose id their writer chooses ----------------------------------------------------------------------------


def numbered(seq: int, body: bytes = b"{}") -> Numbered:
    return Numbered(LEDGER_UPDATED, f"{seq}-0", f"u-{seq}", body, (("kind", "filled"), ("hash", HASH)))


async def test_publishing_a_numbered_entry_again_is_noticed_by_its_id(bus):
    """After a lost answer the same batch is published again: what is there stays, what is missing follows."""
    publisher = Publisher(bus.redis, "ledger")
    await publisher.publish([numbered(1), numbered(2)])
    await publisher.publish([numbered(1), numbered(2), numbered(3)])

    assert [entry.entry_id for entry in await bus.entries(LEDGER_UPDATED)] == ["1-0", "2-0", "3-0"]


async def test_another_entry_under_the_same_number_is_never_a_duplicate(bus):
    """Another store wrote it: the ledger stops and says so."""
    publisher = Publisher(bus.redis, "ledger")
    await publisher.publish([numbered(1), numbered(2)])
    with pytest.raises(Terminal, match="two stores were mixed up"):
        await publisher.publish([numbered(2, b'{"other":1}')])


async def test_a_stream_that_is_ahead_is_never_a_duplicate(bus):
    """The store was restored from an older backup: its next number is taken by nothing, and refused all the same."""
    publisher = Publisher(bus.redis, "ledger")
    await publisher.publish([numbered(1), numbered(9)])
    with pytest.raises(Terminal, match="ahead of this store"):
        await publisher.publish([numbered(2)])


async def test_an_entry_trimmed_away_counts_as_published(bus):
    """Below the first entry that is left, a number was there and is no longer needed."""
    publisher = Publisher(bus.redis, "ledger")
    await publisher.publish([numbered(seq) for seq in range(1, 6)])
    await publisher.publish([Trim(LEDGER_UPDATED, "4-0")])
    await publisher.publish([numbered(2)])

    assert [entry.entry_id for entry in await bus.entries(LEDGER_UPDATED)] == ["4-0", "5-0"]


async def test_a_reader_of_another_bus_sees_nothing_of_a_prefix(bus_url):
    """`prefix` separates readers as it separates writers."""
    one, other = Bus(bus_url, "one:"), Bus(bus_url, "other:")
    await one.add(PREDICTION, prediction(1))
    found = [await one.of(PREDICTION), await other.of(PREDICTION)]
    await one.close()
    await other.close()

    assert [len(messages) for messages in found] == [1, 0]
