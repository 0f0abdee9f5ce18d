"""What every service owes the bus, for every stream it consumes: one suite, applied to the table of streams.

Work is tried on all services together (an intent is acknowledged when the ledger has answered), views on each service
alone before a made-up ledger. Around every test two checks: whoever published was named as a producer by the table, and
no key is on the bus that the table does not declare (see `conftest`).
"""

from contextlib import asynccontextmanager

import pytest

from holdfast.bus import app as bus_app
from holdfast.bus.app import ServiceApp
from holdfast.bus.connection import Publisher
from holdfast.contracts.streams import (
    ANYONE,
    DEAD_LETTER,
    DEMO,
    EVERYONE,
    EXECUTOR,
    HEARTBEAT,
    INTENT_RESULT,
    LEDGER,
    LEDGER_SNAPSHOT,
    LEDGER_UPDATED,
    MARKET_FEED,
    MARKET_TICK,
    SNAPSHOT_REQUEST,
    STREAMS,
    Reading,
)
from holdfast.contracts.wire import Ack, Numbered, digest
from services.demo.app import build as build_demo
from services.market_feed.app import build as build_feed
from tests.contract._bus import running, settings_for
from tests.contract._golden import BY_NAME
from tests.contract._ledgers import FakeLedger
from tests.contract._pipeline import BUILDERS, PLAIN, Pipeline
from tests.contract._wait import wait_until

ALL = {**BUILDERS, DEMO: build_demo, MARKET_FEED: build_feed}
ANYBODYS = {ANYONE, EVERYONE}
WORK = [(group, stream) for stream in STREAMS if stream.reading is Reading.WORK for group in stream.groups]
OF_THE_LEDGER = {LEDGER_UPDATED, LEDGER_SNAPSHOT}


def name_of(case):
    return f"{case[0]}-{case[1].name}"


def golden(stream):
    return BY_NAME[stream.message.__name__]


@pytest.fixture(autouse=True)
def published(monkeypatch):
    """Who published where, in this test; at its end the table must have named each as a producer of that stream."""
    seen = set()
    publish = Publisher.publish

    async def watched(self, outputs, acks=()):
        outputs = list(outputs)
        seen.update((self._service, out.stream) for out in outputs if not isinstance(out, Ack))
        await publish(self, outputs, acks)

    monkeypatch.setattr(Publisher, "publish", watched)
    yield seen
    undeclared = {
        (service, stream.name) for service, stream in seen if not {service, *ANYBODYS} & set(stream.producers)
    }
    assert undeclared == set()


async def effects(bus, service):
    """Ids of everything that *service* may have published, but for signs of life."""
    mine = [stream for stream in STREAMS if service in stream.producers and stream is not HEARTBEAT]
    return {(stream.name, message.id) for stream in mine for message in await bus.of(stream)}


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    monkeypatch.setattr(bus_app, "HEARTBEAT_EVERY_S", 0.1)


def at_work(bus, directory, service):
    """The ledger; and the executor where its streams are tried. (A reservation of another executor would end it.)"""
    return Pipeline(bus, directory, *dict.fromkeys((LEDGER, service)))


@pytest.mark.parametrize("case", WORK, ids=name_of)
async def test_work_handles_the_golden_message(bus, tmp_path, case):
    """Whatever it says about things that do not exist here: it is finished with, and nobody stops."""
    service, stream = case
    async with at_work(bus, tmp_path, service):
        await bus.add(stream, golden(stream))
        await wait_until(lambda: bus.finished(stream, service), "the golden message")

    assert [letter.error for letter in await bus.of(DEAD_LETTER)] == []


@pytest.mark.parametrize("case", WORK, ids=name_of)
@pytest.mark.parametrize("body", ['{"id":"bad","nonsense":1}', "{", "[]"])
async def test_work_that_cannot_be_read_is_told_and_the_next_is_processed(bus, tmp_path, case, body):
    """The executor answers it, as it answers every intent; all others put it on dead.letter."""
    service, stream = case
    async with at_work(bus, tmp_path, service):
        bad = await bus.add_raw(stream, body=body)
        await bus.add(stream, golden(stream))
        await wait_until(lambda: bus.finished(stream, service), "both entries")

    if service == EXECUTOR:
        (told,) = [result for result in await bus.of(INTENT_RESULT) if result.intent_id != golden(stream).id]
        assert (told.status, told.code) == ("invalid", "malformed")
        assert told.intent_id == "bad" or told.intent_id.startswith("i-")
    else:
        (told,) = await bus.of(DEAD_LETTER)
        assert (told.service, told.stream, told.entry_id, told.payload) == (service, stream.name, bad, body)


@pytest.mark.parametrize("case", [case for case in WORK if case[1] is not SNAPSHOT_REQUEST], ids=name_of)
async def test_the_same_work_twice_has_its_effect_once(bus, tmp_path, case):
    """Under another entry id, as after a rewind: no new message comes of it, and the ledger does not change."""
    service, stream = case
    async with at_work(bus, tmp_path, service) as pipeline:
        await bus.add(stream, golden(stream))
        await wait_until(lambda: bus.finished(stream, service), "the first time")
        await wait_until(lambda: _at_rest(bus), "the bus to come to rest")
        before, seq = await effects(bus, service), (await pipeline.view()).seq
        await bus.add(stream, golden(stream))
        await wait_until(lambda: bus.finished(stream, service), "the second time")
        await wait_until(lambda: _at_rest(bus), "the bus to come to rest")
    repeated = {message.id for message in await bus.of(INTENT_RESULT) if message.repeated}
    after = {effect for effect in await effects(bus, service) if effect[1] not in repeated}

    assert after == before
    assert (await pipeline.view()).seq == seq


async def _at_rest(bus):
    return all([await bus.finished(stream, group) for group, stream in WORK])


@asynccontextmanager
async def alone(bus, directory, service):
    """*service* before a made-up ledger that is at update 41."""
    if service != LEDGER:
        await FakeLedger(bus, "s-1").snapshot(41)
    sections = {"paper": PLAIN, "feed": {"spec": "synthetic?interval_ms=20"}}
    app: ServiceApp = ALL[service](settings_for(bus.url, directory, **sections))
    async with running(app):
        await wait_until(lambda: _alive(bus, service), f"{service} to be alive")
        yield app


async def _alive(bus, service, more_than=0):
    beats = [beat for beat in await bus.of(HEARTBEAT) if beat.service == service]
    return len(beats) > more_than and (service in {LEDGER, MARKET_FEED} or beats[-1].seq >= 41)


def followed(service, directory):
    """The views that *service* reads, as it is wired."""
    app = ALL[service](settings_for("redis://127.0.0.1:1/0", directory))
    ledgers = OF_THE_LEDGER if app._ledger is not None else set()
    return {follow[0] for follow in app._follows} | ledgers, {work.stream for work in app._works}


@pytest.mark.parametrize("service", [name for name in ALL if name != LEDGER])
def test_a_service_reads_what_the_table_says(service, tmp_path):
    """Every stream it is wired to names it as a consumer, and the other way round for work."""
    views, works = followed(service, tmp_path)

    assert {s.name for s in views | works if not {service, *ANYBODYS} & set(s.consumers)} == set()
    assert works == {stream for group, stream in WORK if group == service}
    assert all(stream.reading is Reading.VIEW for stream in views)


VIEWS = [
    (service, stream)
    for stream in STREAMS
    if stream.reading is Reading.VIEW and stream not in OF_THE_LEDGER
    for service in stream.consumers
    if service in ALL
]


@pytest.mark.parametrize("case", VIEWS, ids=name_of)
async def test_a_view_handles_the_golden_message_and_passes_over_what_is_none(bus, tmp_path, case):
    """Nothing is pending afterwards, for a view has no group; and the service goes on living."""
    service, stream = case
    async with alone(bus, tmp_path, service):
        await bus.add(stream, golden(stream))
        await bus.add_raw(stream, body="{")
        await bus.add_raw(stream, nonsense="1")
        await bus.add(stream, golden(stream))
        beats = (
            len([beat for beat in await bus.of(HEARTBEAT) if beat.service == service])
            if stream is not HEARTBEAT
            else 0
        )
        await wait_until(lambda: _still_alive(bus, service, beats), "another heartbeat")
        assert await bus.redis.xinfo_groups(stream.name) == []


async def _still_alive(bus, service, beats):
    alive = [
        entry for entry in await bus.entries(HEARTBEAT) if entry.message and entry.message.service == service
    ]
    return len(alive) > beats + 1


FOLLOWERS = [name for name in ALL if name not in {LEDGER, MARKET_FEED}]


@pytest.mark.parametrize("service", FOLLOWERS)
async def test_followers_of_the_ledger_take_the_golden_update(bus, tmp_path, service):
    """Every table of an update has a row in it; whoever follows the ledger is at its sequence afterwards."""
    update = golden(LEDGER_UPDATED)
    async with alone(bus, tmp_path, service):
        ledger = FakeLedger(bus, "s-1")
        beside = (("kind", "filled"), ("hash", digest(ledger.hash(41), update.body())))
        await ledger.publisher.publish([Numbered(LEDGER_UPDATED, "42-0", update.id, update.body(), beside)])
        await wait_until(lambda: _at(bus, service, 42), "the update to be taken in")


async def _at(bus, service, seq):
    beats = [beat for beat in await bus.of(HEARTBEAT) if beat.service == service]
    return beats[-1].seq == seq


@pytest.mark.parametrize("service", list(ALL))
async def test_a_service_starts_alone_lives_and_stops_with_code_0(bus, tmp_path, service):
    """Nobody else is there: it waits where it must, says that it lives, and ends when asked."""
    async with alone(bus, tmp_path, service):
        pass
    async with alone(bus, tmp_path, service):
        await wait_until(lambda: _alive(bus, service, 1), "its second life")

    assert [letter.error for letter in await bus.of(DEAD_LETTER)] == []


async def test_the_feed_feeds(bus, tmp_path, published):
    async with alone(bus, tmp_path, MARKET_FEED):
        ticks = await wait_until(lambda: bus.of(MARKET_TICK), "a price")

    assert ticks[0].bid <= ticks[0].ask
    assert (MARKET_FEED, MARKET_TICK) in published
