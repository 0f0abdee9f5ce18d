"""What is kept: work until every group has finished with it, views up to their cap. Redis itself looks at no group."""

import pytest

from holdfast.bus import groups
from holdfast.bus.connection import Publisher
from holdfast.bus.groups import create_groups, groups_of, lag_and_pending, oldest_needed, trim_work
from holdfast.contracts.exit_messages import Prediction
from holdfast.contracts.streams import CONTROL, LEDGER, PREDICTION, STREAMS, Reading
from holdfast.contracts.wire import Out
from tests.contract._echo import order

LATER_MS = 10_000_000_000_000


@pytest.fixture
async def ids(bus):
    """Ten entries of work, four of them delivered, the second and the fourth not acknowledged."""
    await create_groups(bus.redis)
    written = [await bus.add(CONTROL, order(number)) for number in range(10)]
    await bus.redis.xreadgroup(LEDGER, "ledger-0", {CONTROL.name: ">"}, count=4)
    await bus.redis.xack(CONTROL.name, LEDGER, written[0], written[2])
    return written


async def left(bus):
    return [entry.entry_id for entry in await bus.entries(CONTROL)]


async def test_work_is_never_trimmed_above_the_oldest_pending_entry(bus, ids):
    """However old it is: the first entry has been finished with, the second has not."""
    assert await oldest_needed(bus.redis, CONTROL) == ids[1]
    assert await trim_work(bus.redis, LATER_MS) == 1
    assert await left(bus) == ids[1:]


async def test_work_is_never_trimmed_above_what_was_not_delivered(bus, ids):
    """Nothing pending, six entries unread: they stay."""
    await bus.redis.xack(CONTROL.name, LEDGER, *ids)
    await trim_work(bus.redis, LATER_MS)

    assert await left(bus) == ids[4:]


async def test_a_stream_whose_group_is_missing_is_not_trimmed(bus, ids):
    """Whether anything is needed cannot be told, so everything is."""
    await bus.redis.xgroup_destroy(CONTROL.name, LEDGER)
    assert await oldest_needed(bus.redis, CONTROL) is None
    await trim_work(bus.redis, LATER_MS)

    assert await left(bus) == ids


async def test_every_declared_group_counts(bus, ids):
    """The slowest of two groups decides."""
    two = [
        groups.Stream(s.name, s.message, s.what, s.producers, (LEDGER, "slow"), s.reading) for s in [CONTROL]
    ]
    await bus.redis.xack(CONTROL.name, LEDGER, *ids)
    await trim_work(bus.redis, LATER_MS, streams=two)
    assert await left(bus) == ids
    await bus.redis.xgroup_create(CONTROL.name, "slow", id=ids[2])
    await trim_work(bus.redis, LATER_MS, streams=two)

    assert await left(bus) == ids[3:]


async def test_finished_work_is_kept_for_people_to_look_at(bus, ids):
    """For an hour; unless there is a lot of it."""
    now = int(ids[-1].split("-")[0])
    await bus.redis.xack(CONTROL.name, LEDGER, *ids)
    await trim_work(bus.redis, now)
    assert await left(bus) == ids


async def test_a_lot_of_finished_work_is_trimmed_at_once(bus, ids, monkeypatch):
    monkeypatch.setattr(groups, "KEEP_FINISHED_ENTRIES", 5)
    await trim_work(bus.redis, int(ids[-1].split("-")[0]))

    assert await left(bus) == ids[1:]


async def test_publishing_never_trims_work(bus):
    """3,000 entries that nobody has read are 3,000 entries."""
    publisher = Publisher(bus.redis, "cli")
    await publisher.publish([Out(CONTROL, order(number)) for number in range(3000)])

    assert await bus.redis.xlen(CONTROL.name) == 3000


async def test_capped_views_are_capped(bus):
    """About: whole nodes of 100 entries are let go."""
    publisher = Publisher(bus.redis, "model")
    prediction = Prediction(
        id="t", at=1, symbol="BTC/USDT", direction="hold", confidence="1", model="m", expires_at=2
    )
    for start in range(0, 12_000, 500):
        await publisher.publish(
            [Out(PREDICTION, prediction.evolve(id=f"t-{number}")) for number in range(start, start + 500)]
        )
    newest = await bus.of(PREDICTION)

    assert PREDICTION.maxlen is not None
    assert PREDICTION.maxlen <= len(newest) < PREDICTION.maxlen + 200
    assert newest[-1].id == "t-11999"


def test_every_view_but_the_ledgers_two_has_a_cap():
    """Those are trimmed by the ledger, below the snapshot before the last."""
    uncapped = {stream.name for stream in STREAMS if stream.reading is Reading.VIEW and stream.maxlen is None}
    assert uncapped == {"ledger.updated", "ledger.snapshot"}
    assert not [stream.name for stream in STREAMS if stream.reading is Reading.WORK and stream.maxlen]


async def test_a_stream_that_is_not_there_has_no_groups_no_lag_and_nothing_pending(bus):
    """For a moment after a wipe that is how it is, and no reason to stop."""
    assert await groups_of(bus.redis, CONTROL.name) == []
    assert await lag_and_pending(bus.redis, LEDGER, [CONTROL]) == (0, 0, 0)
    assert await trim_work(bus.redis, LATER_MS) == 0


async def test_lag_and_pending_are_counted(bus, ids):
    lag, pending, oldest = await lag_and_pending(bus.redis, LEDGER, [CONTROL])

    assert (lag, pending) == (6, 2)
    assert oldest >= 0


async def test_groups_are_created_once_and_at_the_beginning(bus):
    """Every declared group, and no other."""
    first, second = await create_groups(bus.redis), await create_groups(bus.redis)
    declared = {(stream.name, group) for stream in STREAMS for group in stream.groups}
    found = {
        (stream.name, row["name"].decode(), row["last-delivered-id"])
        for stream in STREAMS
        for row in await groups_of(bus.redis, stream.name)
    }

    assert (first, second) == (len(declared), 0)
    assert found == {(name, group, b"0-0") for name, group in declared}
