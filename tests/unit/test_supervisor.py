"""The supervisor: whoever ends is started again, a wrong configuration stops everything, services end before the bus."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from holdfast.runtime import processes, supervisor
from holdfast.runtime.configuration import load
from holdfast.runtime.processes import Running, birth, end_leftovers, read_record
from holdfast.runtime.settings import Settings
from holdfast.runtime.supervisor import Program, Supervisor, service_programs

FOREVER = "import signal, sys; signal.signal(signal.SIGTERM, lambda *_: (print('bye'), sys.exit())); print('up'); sys.stdout.flush()\nwhile True: signal.pause()"
STUBBORN = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True)\nwhile True: signal.pause()"


class Lines(list[tuple[str, str]]):
    """What was said; `until` waits for a line instead of sleeping."""

    def __call__(self, name: str, line: str) -> None:
        self.append((name, line))

    async def until(self, condition: Callable[["Lines"], bool], seconds: float = 20) -> None:
        async with asyncio.timeout(seconds):
            while not condition(self):  # noqa: ASYNC110 - lines come from other processes
                await asyncio.sleep(0.01)

    def of(self, name: str) -> list[str]:
        return [line for who, line in self if who == name]


def program(name: str, code: str, ready: Callable[[], bool] | None = None) -> Program:
    return Program(name, (sys.executable, "-c", code), dict(os.environ), ready)


def started(name: str, times: int = 1) -> Callable[[Lines], bool]:
    return lambda lines: lines.of(name).count("up") >= times


async def test_whoever_ends_is_started_again_with_code_0_too(tmp_path):
    lines = Lines()
    keeper = Supervisor(
        [program("zero", "print('up')"), program("dies", "print('up'); import os; os.kill(os.getpid(), 9)")],
        tmp_path,
        lines,
    )
    task = asyncio.create_task(keeper.run())
    await lines.until(lambda seen: started("zero", 3)(seen) and started("dies", 3)(seen))
    keeper.stop("enough")
    assert await task == 0
    restarts = [line for line in lines.of("zero") if line.startswith("ended")]
    assert "ended with code 0" in restarts[0]
    assert "again in 0.1 s (restart 1)" in restarts[0]
    assert "again in 0.2 s (restart 2)" in restarts[1]
    assert "Killed" in next(line for line in lines.of("dies") if line.startswith("ended"))


async def test_the_pause_is_forgotten_after_healthy_seconds_and_has_a_limit(tmp_path, monkeypatch):
    monkeypatch.setattr(supervisor, "FIRST_PAUSE_S", 0.01)
    monkeypatch.setattr(supervisor, "LONGEST_PAUSE_S", 0.03)
    lines = Lines()
    keeper = Supervisor([program("quick", "")], tmp_path, lines)
    task = asyncio.create_task(keeper.run())
    await lines.until(lambda seen: len(seen.of("quick")) >= 4)
    monkeypatch.setattr(supervisor, "HEALTHY_S", 0.0)
    count = len(lines)
    await lines.until(lambda seen: len(seen.of("quick")) >= count + 2)
    keeper.stop("enough")
    await task
    pauses = [line.partition("again in ")[2].partition(" s")[0] for line in lines.of("quick")]
    assert pauses[:4] == ["0.01", "0.02", "0.03", "0.03"]
    assert pauses[count + 1] == "0.01"


async def test_a_wrong_configuration_stops_everything(tmp_path):
    lines = Lines()
    code = await Supervisor(
        [program("fine", FOREVER), program("wrong", "print('no such key'); exit(78)")], tmp_path, lines
    ).run()
    assert code == 78
    assert lines.of("wrong") == ["no such key"]
    assert "the configuration of wrong is wrong" in lines.of("up")[0]


async def test_after_its_seconds_it_ends_cleanly(tmp_path):
    lines = Lines()
    assert await Supervisor([program("a", FOREVER), program("b", FOREVER)], tmp_path, lines).run(1.0) == 0
    assert lines.of("a") == lines.of("b") == ["up", "bye"]
    assert list(tmp_path.glob("*.json")) == []


async def test_after_its_seconds_it_names_who_was_down(tmp_path, monkeypatch):
    monkeypatch.setattr(supervisor, "FIRST_PAUSE_S", 60)
    lines = Lines()
    assert await Supervisor([program("a", FOREVER), program("down", "")], tmp_path, lines).run(1.0) == 1
    assert "not running: down" in lines.of("up")[0]


async def test_the_bus_starts_first_and_ends_last(tmp_path):
    lines = Lines()
    is_ready = False

    def ready() -> bool:
        return is_ready

    keeper = Supervisor(
        [program("bus", FOREVER, ready), program("a", FOREVER), program("b", FOREVER)], tmp_path, lines
    )
    task = asyncio.create_task(keeper.run())
    await lines.until(started("bus"))
    assert lines.of("a") == []
    is_ready = True
    await lines.until(lambda seen: started("a")(seen) and started("b")(seen))
    keeper.stop("enough")
    assert await task == 0
    assert [name for name, line in lines if line == "bye"][-1] == "bus"


async def test_a_bus_that_never_answers_stops_everything(tmp_path, monkeypatch):
    monkeypatch.setattr(supervisor, "BUS_READY_S", 0.3)
    lines = Lines()
    assert (
        await Supervisor(
            [program("bus", FOREVER, lambda: False), program("a", FOREVER)], tmp_path, lines
        ).run()
        == 69
    )
    assert lines.of("a") == []


async def test_who_does_not_end_is_killed(tmp_path, monkeypatch):
    monkeypatch.setattr(supervisor, "PATIENCE_S", 0.3)
    lines = Lines()
    keeper = Supervisor([program("stubborn", STUBBORN)], tmp_path, lines)
    task = asyncio.create_task(keeper.run())
    await lines.until(started("stubborn"))
    record = read_record(tmp_path, "stubborn")
    keeper.stop("enough")
    await task
    assert "still running after 0.3 s: stubborn" in lines.of("up")
    assert record is not None
    assert not record.is_alive()


async def test_every_line_is_shown_whatever_bytes_it_has(tmp_path):
    lines = Lines()
    code = r"import sys; w = sys.stdout.buffer.write; w(b'\xff\n'); w(b'x' * 200_000 + b'\n'); w(b'no newline'); sys.stdout.flush(); import signal; signal.pause()"
    keeper = Supervisor([program("loud", code)], tmp_path, lines)
    task = asyncio.create_task(keeper.run())
    await lines.until(lambda seen: len(seen.of("loud")) >= 2)
    keeper.stop("enough")
    await task
    assert lines.of("loud") == ["\ufffd", "x" * 200_000, "no newline"]


async def test_an_output_that_is_gone_ends_everything_in_order(tmp_path):
    def gone(name: str, line: str) -> None:
        raise BrokenPipeError("closed")

    assert await Supervisor([program("a", FOREVER)], tmp_path, gone).run() == 1


async def test_records_tell_the_running_process(tmp_path):
    lines = Lines()
    keeper = Supervisor([program("a", FOREVER)], tmp_path, lines)
    task = asyncio.create_task(keeper.run())
    await lines.until(started("a"))
    first = read_record(tmp_path, "a")
    assert first is not None
    assert first.is_alive()
    os.kill(first.pid, signal.SIGTERM)
    await lines.until(started("a", 2))
    second = read_record(tmp_path, "a")
    assert second is not None
    assert (second.restarts, second.is_alive(), first.is_alive()) == (1, True, False)
    keeper.stop("enough")
    await task


def test_a_process_of_the_same_id_but_another_birth_is_not_ours(tmp_path):
    born = birth(os.getpid())
    assert born is not None
    assert not Running("x", os.getpid(), born + "1", 0).is_alive()
    Running("x", os.getpid(), born + "1", 0).write(tmp_path)
    assert end_leftovers(tmp_path) == []
    assert list(tmp_path.glob("*.json")) == []


def test_leftovers_of_a_killed_supervisor_are_ended(tmp_path):
    with subprocess.Popen([sys.executable, "-c", FOREVER], stdout=subprocess.PIPE, text=True) as left:
        assert left.stdout is not None
        assert left.stdout.readline() == "up\n"
        born = birth(left.pid)
        assert born is not None
        Running("ledger", left.pid, born, 0).write(tmp_path)
        assert end_leftovers(tmp_path) == [f"ledger (process {left.pid})"]
        assert left.wait(5) == 0


def test_a_damaged_record_is_not_taken_for_none(tmp_path):
    (tmp_path / "ledger.json").write_text("{")
    with pytest.raises(ValueError, match="damaged"):
        read_record(tmp_path, "ledger")


@pytest.mark.skipif(sys.platform != "linux", reason="children end with their parent on Linux only")
def test_children_end_when_their_supervisor_is_killed(tmp_path):
    script = (
        "import asyncio, os, sys; from pathlib import Path; from holdfast.runtime.supervisor import Program, Supervisor\n"
        "show = lambda name, line: print(name, line, flush=True)\n"
        "async def main(): await Supervisor([Program('a', (sys.executable, '-c', sys.argv[2]), dict(os.environ))], Path(sys.argv[1]), show).run()\n"
        "asyncio.run(main())"
    )
    env = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path), FOREVER], stdout=subprocess.PIPE, text=True, env=env
    ) as keeper:
        assert keeper.stdout is not None
        assert keeper.stdout.readline() == "a up\n"
        record = read_record(tmp_path, "a")
        assert record is not None
        assert record.is_alive()
        keeper.kill()
        assert processes.wait_until_gone(record, 10)


def test_services_get_the_effective_settings_and_nothing_that_contradicts(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOLDFAST_BUS_URL", "redis://elsewhere:1/0")
    monkeypatch.setenv("HOLDFAST_STATE_DIRECTORY", "elsewhere")
    made = service_programs(
        Settings(dir=Path("data")),
        ("ledger",),
        "redis://127.0.0.1:1/0",
        {"HOLDFAST_FEED_SPEC": "synthetic?seed=2"},
    )
    seen = load(env=made[0].env)
    assert (seen.bus.url, seen.dir, seen.feed.spec) == (
        "redis://127.0.0.1:1/0",
        tmp_path / "data",
        "synthetic?seed=2",
    )
    assert (seen.state_directory(), seen.log.format) == (tmp_path / "data" / "state", "console")
    assert made[0].command == (sys.executable, "-m", "services.ledger")
