"""What a bus does to a service: it is wiped, killed, rewound, filled; and what a service does to itself: it dies."""

import asyncio
import shutil
import sqlite3
import sys
from collections import Counter

import pytest

from holdfast.contracts.streams import CONTROL, DEAD_LETTER, HEARTBEAT, INTENT_RESULT, LEDGER
from tests.contract._bus import Bus, running
from tests.contract._echo import Echo, order, service
from tests.contract._wait import wait_until


@pytest.mark.parametrize("seed", [1, 2])
async def test_killed_at_any_moment_loses_nothing_and_doubles_nothing(bus, bus_url, tmp_path, seed):
    """200 entries, dozens of deaths. Effects: each once. Answers: each at least once, repetitions under the same id."""
    for number in range(200):
        await bus.add(CONTROL, order(number))
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.contract._crash_worker", bus_url, str(tmp_path), str(seed), stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    told, _ = await asyncio.wait_for(process.communicate(), 50)
    lives = int(told)
    with sqlite3.connect(tmp_path / "inbox.db") as store:
        effects = {name for (name,) in store.execute("SELECT id FROM inbox")}
    answers = [message.intent_id for message in await bus.of(INTENT_RESULT)]

    assert lives > 5, "hardly anything died: the test shows nothing"
    assert effects == set(answers) == {f"c-{number}" for number in range(200)}
    assert await bus.finished(CONTROL, LEDGER)
    assert await bus.of(DEAD_LETTER) == []


async def test_wiped_while_running_goes_on_without_a_person(bus, bus_url, tmp_path):
    """FLUSHALL, three times: groups are created again, what comes afterwards is processed, and nobody stops."""
    echo = Echo()
    async with running(service(bus_url, tmp_path, echo)):
        for number in range(3):
            await bus.add(CONTROL, order(number))
            await wait_until(lambda n=number: f"c-{n}" in echo.seen, f"entry {number}")
            await bus.redis.flushall()
        await wait_until(lambda: bus.of(HEARTBEAT), "a heartbeat after the wipe")
        await bus.add(CONTROL, order(3))
        await wait_until(lambda: bus.finished(CONTROL, LEDGER), "the entry after the last wipe")

    assert echo.seen == ["c-0", "c-1", "c-2", "c-3"]


async def test_an_entry_that_arrives_right_after_a_wipe_is_read(bus, bus_url, tmp_path):
    """Written before anybody has noticed the wipe and created the groups again: they start at 0, so it counts."""
    echo = Echo()
    async with running(service(bus_url, tmp_path, echo)):
        await bus.add(CONTROL, order(0))
        await wait_until(lambda: echo.seen, "the first entry")
        pipe = bus.redis.pipeline(transaction=True)
        pipe.execute_command("FLUSHALL")
        pipe.execute_command("XADD", CONTROL.name, "*", "body", order(1).body())
        await pipe.execute()
        await wait_until(lambda: "c-1" in echo.seen, "the entry written in the same moment")


@pytest.mark.parametrize("what", ["destroy", "delete"])
async def test_a_lost_group_or_stream_is_created_again(bus, bus_url, tmp_path, what):
    """A group that was destroyed starts at 0 again: everything still there comes once more, nothing is passed over."""
    echo = Echo()
    async with running(service(bus_url, tmp_path, echo)):
        await bus.add(CONTROL, order(0))
        await wait_until(lambda: bus.finished(CONTROL, LEDGER), "the first entry")
        if what == "destroy":
            await bus.redis.xgroup_destroy(CONTROL.name, LEDGER)
        else:
            await bus.redis.delete(CONTROL.name)
        await bus.add(CONTROL, order(1))
        await wait_until(lambda: "c-1" in echo.seen, "the entry afterwards")


async def test_a_killed_server_comes_back_and_the_service_goes_on(server, tmp_path):
    """SIGKILL, started again on the same files: the service waits, then works; what was decided meanwhile gets out."""
    bus, echo = Bus(server.url), Echo()
    began, release = asyncio.Event(), asyncio.Event()

    async def handler(entries):
        outputs = await echo(entries)
        if "c-1" in echo.seen:
            began.set()
            await release.wait()
        return outputs

    async with running(service(server.url, tmp_path, handler)):
        await bus.add(CONTROL, order(0))
        await wait_until(lambda: bus.finished(CONTROL, LEDGER), "the first entry")
        await bus.add(CONTROL, order(1))
        await asyncio.wait_for(began.wait(), 10)
        server.kill()
        release.set()  # the outputs of c-1 find no bus
        await asyncio.sleep(0.3)
        server.start()
        await bus.close()
        bus = Bus(server.url)
        await wait_until(lambda: bus.finished(CONTROL, LEDGER), "what was in hand when the server died")
        await bus.add(CONTROL, order(2))
        await wait_until(lambda: "c-2" in echo.seen, "the next entry")
        answers = {message.intent_id for message in await bus.of(INTENT_RESULT)}
    await bus.close()

    assert {"c-0", "c-1"} <= answers
    assert Counter(echo.seen)["c-0"] == 1


async def test_a_rewound_server_is_survived(server, tmp_path):
    """An older copy of its files is put back: entries come again (the ledger's inbox knows them), and new ones are read."""
    bus, echo = Bus(server.url), Echo()
    copy = tmp_path / "copy"
    async with running(service(server.url, tmp_path, echo)):
        await bus.add(CONTROL, order(0))
        await wait_until(lambda: bus.finished(CONTROL, LEDGER), "the first entry")
        shutil.copytree(server.directory, copy)
        await bus.add(CONTROL, order(1))
        await wait_until(lambda: bus.finished(CONTROL, LEDGER), "the second entry")
        server.kill()
        shutil.rmtree(server.directory / "appendonlydir")
        shutil.copytree(copy / "appendonlydir", server.directory / "appendonlydir")
        server.start()
        await bus.close()
        bus = Bus(server.url)
        assert [entry.message.id for entry in await bus.entries(CONTROL)] == ["c-0"]
        await bus.add(CONTROL, order(2))
        await wait_until(lambda: "c-2" in echo.seen, "an entry after the rewind")
        await wait_until(lambda: bus.finished(CONTROL, LEDGER), "the bus to come to rest")
    await bus.close()


async def test_a_full_bus_holds_outputs_back_until_there_is_room(server, tmp_path):
    """OOM at the publication: the entry stays pending, the outputs wait, nothing is dead-lettered, nothing is lost."""
    bus, echo = Bus(server.url), Echo()
    async with running(service(server.url, tmp_path, echo)):
        await bus.add(CONTROL, order(0))
        await wait_until(lambda: bus.finished(CONTROL, LEDGER), "the first entry")
        pipe = bus.redis.pipeline(transaction=True)
        pipe.execute_command("XADD", CONTROL.name, "*", "body", order(1).body())
        pipe.execute_command("CONFIG", "SET", "maxmemory", "1")
        await pipe.execute()
        await wait_until(lambda: "c-1" in echo.seen, "the handler")
        await asyncio.sleep(0.2)
        assert await bus.pending(CONTROL, LEDGER) == 1
        await bus.redis.config_set("maxmemory", "512mb")
        await wait_until(lambda: bus.finished(CONTROL, LEDGER), "the publication")
        answers = [message.intent_id for message in await bus.of(INTENT_RESULT)]
        dead = await bus.of(DEAD_LETTER)
    await bus.close()

    assert answers == echo.seen == ["c-0", "c-1"]
    assert dead == []
