"""`status`, `check` and `tail`: what is seen is what is, now, and no entry is lost on the way."""

import asyncio
import json
import re
import signal
import subprocess
import threading

import pytest
from redis import Redis

from holdfast.bus.client import Unreachable, reach
from holdfast.bus.many import PAGE, ManyReader, time_of
from holdfast.contracts.messages import Control, Fill, Heartbeat, LedgerUpdated
from holdfast.contracts.streams import CONTROL, FILL, HEARTBEAT, LEDGER_UPDATED, Stream
from holdfast.contracts.wire import Out, fields_of
from holdfast.domain.view import LedgerView
from holdfast.runtime.embedded_bus import embedded
from tests.integration._cli import BTC, ETH, Desk, settings_of

pytestmark = pytest.mark.redis


# -- check and status -----------------------------------------------------------------------------------------------------


def test_check_is_consistent_with_positions_and_without(desk):
    desk.wait(lambda: desk.run("check").exit_code == 0)
    desk.ok("intent", "buy", BTC, "1")
    desk.wait(lambda: json.loads(desk.ok("check", "--json"))["armed"] == 1)
    light = json.loads(desk.ok("check", "--json"))
    assert (light["status"], light["open_positions"], light["reasons"]) == ("consistent", 1, [])
    assert desk.ok("check").startswith("🟢 consistent: 1 open position, all with working exits")


def test_check_is_partial_when_a_service_warns(desk):
    desk.publish(Out(HEARTBEAT, _beat(desk, "demo", warnings=["the disk is slow"])))
    result = desk.run("check")
    assert result.exit_code == 1
    assert "demo: the disk is slow" in result.stdout
    desk.publish(Out(HEARTBEAT, _beat(desk, "demo")))
    desk.wait(lambda: desk.run("check").exit_code == 0)


def test_check_is_critical_when_a_source_cannot_be_trusted(desk):
    desk.publish(Out(HEARTBEAT, _beat(desk, "demo", unreadable="no idea")))
    result = desk.run("check")
    assert result.exit_code == 2
    assert "demo cannot trust what it reads: no idea" in result.stdout
    desk.publish(Out(HEARTBEAT, _beat(desk, "demo")))


def _beat(desk: Desk, service: str, **fields):
    now = int(desk.redis.time()[0] * 1000)
    return Heartbeat(
        id=f"h-{now}", at=now, service=service, instance="0", incarnation="a", started_at=now, **fields
    )


def test_check_is_critical_when_nobody_answers(silent):
    result = silent.run("check")
    assert result.exit_code == 2
    assert "the ledger does not answer" in result.stdout
    assert "executor silent: not heard in the last" in result.stdout


def test_check_is_critical_without_a_bus(tmp_path):
    desk = Desk(tmp_path, "redis://127.0.0.1:1/0")
    result = desk.run("check")
    assert (result.exit_code, result.stdout.count("\n")) == (2, 1)
    assert "holdfast up" in result.stdout
    assert json.loads(desk.run("check", "--json").stdout)["status"] == "critical"


def test_what_cannot_be_read_is_not_shown_as_empty(silent):
    for command in ("positions", "orders"):
        result = silent.run(command, "--json")
        assert (result.exit_code, result.stdout) == (1, "")
        assert "the ledger does not answer" in result.stderr


def test_status_lists_services_and_says_where_everything_is(desk):
    rows = {row["service"]: row for row in desk.rows("status")}
    assert {"ledger", "executor", "exit_scanner"} <= rows.keys()
    assert all(rows[name]["alive"] for name in ("ledger", "executor", "exit_scanner"))
    out = desk.ok("status")
    assert str(desk.directory) in out
    assert desk.url in out
    assert "closed trades" in out


# -- tail -----------------------------------------------------------------------------------------------------------------


def test_tail_tells_a_whole_story_in_order(desk):
    start = desk.redis.time()
    desk.ok("intent", "buy", BTC, "1", "--id", "story-1")
    desk.ok("close", BTC)
    lines = desk.ok(
        "tail", "--since", start[0] * 1000 + start[1] // 1000, "--no-follow", "--json"
    ).splitlines()
    entries = [json.loads(line) for line in lines]
    assert all(entry.keys() == {"stream", "entry_id", "body"} for entry in entries)
    names = [entry["stream"] for entry in entries]
    story = ("order.intent", "order.reserve", "ledger.updated", "fill", "order.intent.exit", "ledger.trade")
    assert [name for name in story if name in names] == list(story)
    assert (
        names.index("order.intent")
        < names.index("fill")
        < names.index("order.intent.exit")
        < names.index("ledger.trade")
    )
    assert "market.tick" not in names
    assert "heartbeat" not in names


def test_tail_of_one_stream_that_contains_a_text(desk):
    desk.ok("intent", "buy", ETH, "1", "--id", "Needle-1")
    desk.ok("intent", "buy", BTC, "1", "--id", "hay-1")
    out = desk.ok("tail", "order.intent", "--grep", "needle", "--no-follow", "--since", "1m")
    assert out.count("\n") == 1
    assert re.match(r"\d\d:\d\d:\d\d\.\d{3} order\.intent +ETH/USDT open buy 1 ", out)
    assert desk.ok("tail", "market", "--no-follow", "--since", "2s").count("market.tick") > 10


def test_tail_shows_what_is_no_message_as_well_and_what_strangers_write_stays_text(desk):
    desk.redis.xadd("dead.letter", {"body": "{\x1b[2J [bold]no JSON"})
    out = desk.ok("tail", "dead.letter", "--no-follow")
    assert "[bold]no JSON" in out
    assert "\x1b" not in out
    assert "✗ body: " in out
    desk.redis.delete("dead.letter")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("tail", "order.intnt"), "did you mean order.intent?"),
        (("tail", "zzz"), "there are order.intent"),
        (("tail", "--since", "yesterday"), "--since yesterday"),
    ],
)
def test_tail_says_what_it_does_not_understand(services, words, said):
    result = services.run(*words)
    assert result.exit_code == 2
    assert said in result.stderr


@pytest.mark.parametrize(
    "since", ["10m", "1.5h", "2020-01-31T12:00", "2020-01-31T12:00:00+00:00", "1580000000000"]
)
def test_tail_understands_moments(services, since):
    services.ok("tail", "control", "--no-follow", "--since", since)


# -- following, without losing one ----------------------------------------------------------------------------------------


def _fill(number: int) -> Fill:
    return Fill(
        id=f"f-{number}", at=number, account="main", exchange="paper", symbol=BTC, trade_id=f"t-{number}", side="buy", quantity="1",
        price="1", executed_at=number,
    )  # fmt: skip


def _update(seq: int, at: int, store: str = "s1") -> LedgerUpdated:
    return LedgerUpdated(id=f"{store}:{seq}", at=at, seq=seq, store_id=store, epoch=1, kind="status")


def _put(redis: Redis, stream: Stream, message, entry_id: str = "*") -> None:
    redis.xadd(stream.name, fields_of(message), id=entry_id)


async def _take(reader: ManyReader, count: int) -> list[str]:
    got: list[str] = []
    async with asyncio.timeout(20):
        while len(got) < count:
            got += [entry.message.id for entry in await reader.read()]
    return got


async def test_a_backlog_of_many_pages_comes_out_in_order_of_time(silent):
    count = 3 * PAGE
    for number in range(count):
        _put(silent.redis, FILL, _fill(number), f"{2 * number + 1}-0")
        if number % 3 == 0:
            _put(
                silent.redis,
                CONTROL,
                Control(id=f"c-{number}", at=1, state="active", by="x"),
                f"{2 * number + 2}-0",
            )
        _put(silent.redis, LEDGER_UPDATED, _update(number + 1, at=2 * number + 2), f"{number + 1}-0")
    async with reach(settings_of(silent.directory, silent.url)) as client:
        reader = ManyReader(client.redis, [FILL, CONTROL, LEDGER_UPDATED], clock=client.clock)
        await reader.start(0)
        entries = []
        while batch := await reader.read(block=False):
            entries += batch
        assert len(entries) == 2 * count + count // 3
        assert [time_of(entry) for entry in entries] == sorted(time_of(entry) for entry in entries)
        await reader.start(2 * 500)
        assert [entry.message.id for entry in (await reader.read())[:2]] == ["s1:500", "f-500"]


async def test_nothing_is_lost_while_entries_come_faster_than_they_are_read(silent):
    def write() -> None:
        pipe = silent.redis.pipeline(transaction=False)
        for number in range(5_000):
            pipe.xadd(FILL.name, fields_of(_fill(number)))
        pipe.execute()

    async with reach(settings_of(silent.directory, silent.url)) as client:
        reader = ManyReader(client.redis, [FILL, CONTROL], clock=client.clock)
        await reader.start(None)
        writer = threading.Thread(target=write)
        writer.start()
        got = await _take(reader, 5_000)
        await asyncio.to_thread(writer.join)
    assert got == [f"f-{number}" for number in range(5_000)]


async def test_another_store_starts_the_sequence_again_and_nothing_is_shown_twice(silent):
    now = silent.redis.time()[0] * 1000
    for seq in range(1, 6):
        _put(silent.redis, LEDGER_UPDATED, _update(seq, at=now - 10_000), f"{seq}-0")
    async with reach(settings_of(silent.directory, silent.url)) as client:
        reader = ManyReader(client.redis, [LEDGER_UPDATED], clock=client.clock)
        await reader.start(now)
        _put(silent.redis, LEDGER_UPDATED, _update(6, at=now + 1_000), "6-0")
        assert await _take(reader, 1) == ["s1:6"]
        silent.redis.delete(LEDGER_UPDATED.name)
        for seq in range(1, 4):
            _put(silent.redis, LEDGER_UPDATED, _update(seq, at=now + 2_000, store="s2"), f"{seq}-0")
        assert await _take(reader, 3) == ["s2:1", "s2:2", "s2:3"]
        silent.redis.delete(LEDGER_UPDATED.name)
        for seq in range(1, 3):
            _put(silent.redis, LEDGER_UPDATED, _update(seq, at=now + 2_000, store="s2"), f"{seq}-0")
        assert await reader.read() == []
        assert await reader.read() == []
        _put(silent.redis, LEDGER_UPDATED, _update(3, at=now + 3_000, store="s2"), "3-0")
        assert await _take(reader, 1) == ["s2:3"]


async def test_a_restart_of_the_bus_is_survived(tmp_path):
    with embedded(tmp_path / "bus") as url:
        _put(Redis.from_url(url), FILL, _fill(1))
        settings = settings_of(tmp_path, url)
    with pytest.raises(Unreachable, match="holdfast up"):
        async with reach(settings):
            pass
    context = embedded(tmp_path / "bus")
    assert context.__enter__() == url
    async with reach(settings) as client:
        reader = ManyReader(client.redis, [FILL], clock=client.clock)
        await reader.start(0)
        assert await _take(reader, 1) == ["f-1"]
        waiting = asyncio.create_task(_take(reader, 1))
        await asyncio.to_thread(context.__exit__, None, None, None)
        with embedded(tmp_path / "bus") as again:
            assert again == url
            _put(Redis.from_url(url), FILL, _fill(2))
            assert await waiting == ["f-2"]


# -- the client -----------------------------------------------------------------------------------------------------------


async def test_an_answer_that_comes_at_once_is_not_missed(silent):
    async with reach(settings_of(silent.directory, silent.url)) as client:
        for number in range(20):
            control = Control(id=f"c-{number}", at=1, state="active", by="x")
            assert await client.ask(
                [Out(CONTROL, control)], CONTROL, lambda message, key=control.id: message.id == key, 5
            )


async def test_the_ledger_is_read_once_however_busy_it_is(services):
    async with reach(settings_of(services.directory, services.url)) as client:
        for _ in range(20):
            view = LedgerView()
            await client.ledger(view)
            assert view.is_loaded


def test_following_ends_with_the_terminal(services):
    command = [
        "python",
        "-m",
        "holdfast.cli.main",
        "tail",
        "heartbeat",
        "--json",
        "--dir",
        str(services.directory),
    ]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=_environment()
    ) as process:
        assert process.stdout is not None
        line = json.loads(process.stdout.readline())
        process.send_signal(signal.SIGINT)
        _, complaint = process.communicate(timeout=20)
    assert line["stream"] == "heartbeat"
    assert process.returncode == 130
    assert "Traceback" not in complaint


def _environment() -> dict[str, str]:
    import os
    import sys
    from pathlib import Path

    root = Path(__file__).parents[2]
    return os.environ | {
        "PYTHONPATH": f"{root / 'libs'}",
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }
