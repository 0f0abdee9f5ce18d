"""Facts about FastStream and redis-py that the bus leans on. When a new version changes one, it is noticed here.

Each test says what the part does by itself, or what we made of it. The reasons stand in `holdfast.bus.work`. Facts about
servers are in `test_fidelity`.
"""

import asyncio
import contextlib
import inspect
import os

import pytest
from faststream._internal.endpoint.subscriber import supervisor
from faststream.redis import RedisBroker, StreamSub
from faststream.redis.subscriber.usecases import stream_subscriber
from redis.asyncio import Redis
from redis.exceptions import TimeoutError as RedisTimeout

from holdfast.bus import connection
from holdfast.bus import work as bus_work
from holdfast.bus.connection import SOCKET_TIMEOUT_S, Publisher, connect
from holdfast.contracts.streams import CONTROL, INTENT_RESULT, LEDGER
from holdfast.contracts.wire import Out
from holdfast.runtime.settings import BusSettings
from tests.contract._bus import Bus, running
from tests.contract._echo import Echo, answer, order, service
from tests.contract._wait import wait_until

LOOP = stream_subscriber._StreamHandlerMixin._consume


def test_the_pause_after_a_read_error_is_ours():
    """5 s there: a stop would wait that long whenever Redis restarts. The loop reads the name from its module."""
    assert vars(stream_subscriber)["CONSUME_ERROR_BACKOFF_SECONDS"] < 1
    assert "CONSUME_ERROR_BACKOFF_SECONDS" in LOOP.__code__.co_names


def test_its_supervisor_is_off():
    """It restarts a failed read thousands of times a second, without a pause."""
    assert os.environ["FASTSTREAM_SUPERVISOR_DISABLED"] == "1"
    assert "FASTSTREAM_SUPERVISOR_DISABLED" in inspect.getsource(supervisor)


@contextlib.asynccontextmanager
async def commands(bus: Bus):
    """What the server is asked meanwhile, as lists of words."""
    seen: list[list[str]] = []
    client = connect(bus.url)
    async with client.monitor() as monitor:

        async def listen():
            async for said in monitor.listen():
                seen.append(said["command"].split(" "))  # noqa: PERF401 - it never ends

        task = asyncio.create_task(listen())
        yield seen
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    await client.aclose()


@pytest.fixture
async def real(real_url):
    outside = Bus(real_url)
    yield outside
    await outside.close()


async def test_reads_name_a_count_and_a_block_and_only_what_is_new(real, tmp_path):
    """Without COUNT the whole backlog would become pending in one call."""
    async with commands(real) as seen:
        async with running(service(real.url, tmp_path, Echo(), batch=7)):
            await real.add(CONTROL, order(1))
            await wait_until(lambda: real.finished(CONTROL, LEDGER), "the entry")
        reads = [words for words in seen if words[0] == "XREADGROUP" and "BLOCK" in words]

    assert reads
    for words in reads:
        assert words[words.index("COUNT") + 1] == "7"
        assert words[words.index("BLOCK") + 1] == "100"
        assert words[-1] == ">"
        assert "NOACK" not in words


async def test_acknowledging_is_ours_in_the_multi_of_the_outputs(real, tmp_path):
    """FastStream acknowledges nothing; each entry is acknowledged once, between MULTI and EXEC, behind its answer."""
    async with commands(real) as seen:
        async with running(service(real.url, tmp_path, Echo())):
            await real.add(CONTROL, order(1))
            await wait_until(lambda: real.finished(CONTROL, LEDGER), "the entry")
        names = [
            words[0]
            for words in seen
            if words[:2] == ["XADD", INTENT_RESULT.name] or words[0] in {"MULTI", "EXEC", "XACK"}
        ]
    at = names.index("XACK")

    assert names.count("XACK") == 1
    assert names[at - 2 : at + 2] == ["MULTI", "XADD", "XACK", "EXEC"]


async def test_by_itself_faststream_misses_what_came_before_its_first_start(real):
    """Its group begins at `$`. Ours is there before, at 0 (test_bus: the backlog)."""
    got: list[str] = []
    broker = RedisBroker(real.url, protocol="2", logger=None)

    @broker.subscriber(stream=StreamSub("early", group="g", consumer="c", max_records=5, polling_interval=50))
    async def handle(body: str) -> None:
        got.append(body)

    await broker.connect()
    await broker.publish("first", stream="early")
    await broker.start()
    await broker.publish("second", stream="early")
    await wait_until(lambda: got, "the second")
    await broker.stop()
    await real.redis.delete("early")

    assert got == ["second"]


async def test_a_group_that_a_wipe_took_away_at_the_last_moment_is_made_at_0(real, tmp_path, monkeypatch):
    """FastStream creates a missing group where its subscriber last was; what came since the wipe would be passed over."""
    echo = Echo()
    app = service(real.url, tmp_path, echo)
    drain = bus_work.Worker.drain

    async def drained_and_wiped(self):
        count = await drain(self)
        await real.redis.flushall()
        await real.add(CONTROL, order(1))
        return count

    monkeypatch.setattr(bus_work.Worker, "drain", drained_and_wiped)
    async with running(app):
        await wait_until(lambda: echo.seen, "the entry written between the wipe and the start")

    assert echo.seen[0] == "c-1"


def test_the_socket_waits_longer_than_any_read_blocks():
    """redis-py's own default of 5 s does not: a read that blocks for 5 s would end in an error each time."""
    longest = next(part.le for part in BusSettings.model_fields["block_ms"].metadata if hasattr(part, "le"))

    assert longest / 1000 * 2 < SOCKET_TIMEOUT_S


async def test_our_client_does_not_write_twice_when_the_server_is_slow(server, monkeypatch):
    """redis-py retries by itself unless told not to; a retried XADD is two entries."""
    monkeypatch.setattr(connection, "SOCKET_TIMEOUT_S", 0.2)
    bus, ours, plain = (
        Bus(server.url),
        connect(server.url),
        Redis(port=server.port, protocol=2, socket_timeout=0.2),
    )
    for client in (ours, plain):
        await client.ping()
    server.pause()
    theirs = asyncio.create_task(plain.xadd("plain", {"body": "theirs"}))
    with pytest.raises(RedisTimeout):
        await ours.xadd(CONTROL.name, {"body": "ours"})
    with pytest.raises(RedisTimeout):
        await ours.ping()  # time enough for the other one to try again
    server.go_on()
    await theirs
    lengths = [await bus.redis.xlen(name) for name in (CONTROL.name, "plain")]
    for client in (ours, plain, bus.redis):
        await client.aclose()

    assert lengths[0] == 1
    assert lengths[1] > 1, "redis-py no longer retries: the retries need not be switched off any more"


async def test_an_answer_that_was_lost_is_published_again_under_the_same_id(bus, tmp_path, monkeypatch):
    """The entry may be there twice; its id says that it is one message."""
    publisher = Publisher(bus.redis, LEDGER)
    entry = (await _entry(bus),)
    for _ in range(2):
        await publisher.publish([answer(entry[0])])

    assert len({message.id for message in await bus.of(INTENT_RESULT)}) == 1


async def _entry(bus: Bus):
    await bus.add(CONTROL, order(1))
    return (await bus.entries(CONTROL))[0]


async def test_entries_are_plain_fields(bus):
    """No envelope of FastStream's: `redis-cli XREVRANGE` shows what there is, and any language can write it."""
    await Publisher(bus.redis, "cli").publish([Out(CONTROL, order(1))])
    ((_, fields),) = await bus.redis.xrange(CONTROL.name)

    assert fields == {b"id": b"c-1", b"body": order(1).body()}


def test_its_loop_ends_at_a_missing_group():
    """The one read error that ends FastStream's loop for good, with its process's exit code 0; we start it again."""
    assert "NOGROUP" in inspect.getsource(LOOP)
