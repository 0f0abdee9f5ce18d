"""`holdfast up`, `restart`, `run`, --fresh: as a person uses them, with stand-in services and a real embedded bus."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from redis import Redis

import holdfast
from holdfast.contracts.streams import SERVICES
from holdfast.runtime.embedded_bus import embedded

pytestmark = pytest.mark.redis
LIBS = str(Path(holdfast.__path__[0]).parent)
SERVICE = """\
import os, signal, sys
signal.signal(signal.SIGTERM, lambda *_: sys.exit())
print("feed - bus", os.environ.get("HOLDFAST_REDIS_URL", ""), flush=True)
while True: signal.pause()
"""
"""Only says that it runs; most tests want no more, and reading the settings is most of what a stand-in costs."""
ASKING = """\
import os, signal, sys
from holdfast.runtime.configuration import load
settings = load()
signal.signal(signal.SIGTERM, lambda *_: sys.exit())
print("feed", settings.feed.spec, "state", settings.state_directory().name, "bus", settings.bus.url, flush=True)
while True: signal.pause()
"""


def stand_in(place: Path, program: str) -> None:
    for name in (*SERVICES, "demo"):
        folder = place / "services" / name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "__main__.py").write_text(program)


@pytest.fixture
def place(tmp_path) -> Path:
    """A folder with stand-in services."""
    stand_in(tmp_path, SERVICE)
    (tmp_path / "services" / "__init__.py").touch()  # else the installed package would come first
    return tmp_path


def environment(place: Path) -> dict[str, str]:
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(("HOLDFAST_", "DRY_RUN"))
    }
    return kept | {"PYTHONPATH": f"{place}{os.pathsep}{LIBS}", "COLUMNS": "200"}


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "holdfast.cli.main", *arguments]


def holdfast_(place: Path, *arguments: str, **env: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        command(*arguments),
        cwd=place,
        env=environment(place) | env,
        capture_output=True,
        text=True,
        timeout=40,
        check=False,
    )


@contextmanager
def running(place: Path, *arguments: str) -> Iterator["tuple[subprocess.Popen[str], list[str]]"]:
    """`up`, once every service has said its line; ended afterwards if it still runs."""
    with subprocess.Popen(
        command("up", *arguments),
        cwd=place,
        env=environment(place),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as up:
        assert up.stdout is not None
        lines: list[str] = []
        while sum(" | feed " in line for line in lines) < len(SERVICES):
            lines.append(line := up.stdout.readline())
            assert line, "".join(lines)
        try:
            yield up, lines
        finally:
            up.terminate()
            up.stdout.read()
            up.wait(20)


def record(place: Path, name: str) -> dict[str, object]:
    return json.loads((place / "var" / "run" / f"{name}.json").read_text())


def test_up_gives_every_service_the_same_bus_feed_and_directories(place):
    stand_in(place, ASKING)
    with running(place, "--feed", "synthetic?seed=9") as (up, lines):
        text = "".join(lines)
        assert "PAPER, no real money. Prices: synthetic?seed=9" in text
        url = text.partition("bus redis://")[2].partition(",")[0]
        assert text.count(f"feed synthetic?seed=9 state state bus redis://{url}") == len(SERVICES)
        with Redis.from_url(f"redis://{url}") as client:
            assert client.config_get("appendfsync")["appendfsync"] == "always"
        up.send_signal(signal.SIGINT)
        assert up.wait(20) == 0


def test_up_says_where_the_dashboard_is_and_shows_its_tokens_once_and_keeps_them_out_of_the_log(place):
    with running(place) as (_, lines):
        text = "".join(lines)
        address = text.partition("dashboard http://127.0.0.1:")[2].split("/")[0]
        assert (place / "var" / "dashboard" / "port").read_text().strip() == address
        assert text.count("shown only now: ") == 2
    kept = (place / "var" / "log" / "up.log").read_text()
    assert '"service":"dashboard"' in kept
    assert "shown only now" not in kept
    with running(place) as (_, lines):
        assert "shown only now" not in "".join(lines)
        assert "dashboard http://127.0.0.1:" in "".join(lines)


def test_a_second_up_is_refused_and_told_who_is_there(place):
    with running(place) as (up, _):
        second = holdfast_(place, "up")
        assert second.returncode == 73
        assert f"process {up.pid}" in second.stderr
        assert holdfast_(place, "up", "--fresh").returncode == 73


def test_restart_waits_for_the_successor(place):
    with running(place):
        before = record(place, "executor")
        done = holdfast_(place, "restart", "executor")
        after = record(place, "executor")
        assert done.returncode == 0, done.stderr
        assert done.stdout == f"executor: process {before['pid']} ended, {after['pid']} runs (restart 1)\n"
        assert (
            "does not run 'nobody'; it runs alerts, bus, dashboard, executor"
            in holdfast_(place, "restart", "nobody").stderr
        )


def test_restart_without_up_says_so(place):
    done = holdfast_(place, "restart", "executor")
    assert done.returncode == 1
    assert "start it with `holdfast up`" in done.stderr


def test_the_bus_keeps_address_and_data_through_kills_and_runs(place):
    with running(place, "--dir", "data") as (_, lines):
        url = "redis://" + "".join(lines).partition("bus redis://")[2].partition(",")[0]
        with Redis.from_url(url) as client:
            client.xadd("kept", {"a": "1"})
        killed = json.loads((place / "data" / "run" / "bus.json").read_text())
        os.kill(killed["pid"], signal.SIGKILL)
        assert holdfast_(place, "restart", "bus", "--dir", "data").returncode == 0
    done = holdfast_(place, "up", "--for", "1", "--dir", "data")
    assert done.returncode == 0
    assert url in done.stdout
    with running(place, "--dir", "data"), Redis.from_url(url) as client:
        assert client.xlen("kept") == 1


def test_fresh_removes_what_up_made_and_nothing_else(place):
    assert holdfast_(place, "up", "--for", "0.5").returncode == 0
    (place / "var" / "ledger.db").write_text("old")
    done = holdfast_(place, "up", "--for", "0.5", "--fresh")
    assert done.returncode == 0
    assert "removed bus, dashboard, ledger.db, log from var" in done.stdout
    assert not (place / "var" / "ledger.db").exists()


def test_fresh_refuses_a_directory_that_holds_other_things(place):
    (place / "home").mkdir()
    (place / "home" / "letter").write_text("dear")
    assert holdfast_(place, "up", "--for", "0.5", "--dir", "home").returncode == 0
    done = holdfast_(place, "up", "--for", "0.5", "--dir", "home", "--fresh")
    assert done.returncode == 1
    assert "home has no holdfast.dir" in done.stderr
    assert (place / "home" / "letter").read_text() == "dear"


def test_up_with_a_wrong_setting_ends_with_78_and_the_complaint(place):
    (place / "holdfast.toml").write_text("[exits]\nstop_los_pct = 1\n")
    for arguments in (("up",), ("run", "ledger"), ("restart", "ledger"), ("config",), ("health", "ledger")):
        done = holdfast_(place, *arguments)
        assert (done.returncode, done.stderr) == (
            78,
            "holdfast: holdfast.toml: unknown key stop_los_pct in [exits], line 2; did you mean stop_loss_pct?\n",
        )


def test_up_with_its_port_in_use_says_so(place):
    with running(place, "--dir", "one") as (_, lines):
        port = "".join(lines).partition("bus redis://127.0.0.1:")[2].partition("/")[0]
        done = holdfast_(place, "up", HOLDFAST_BUS_PORT=port)
    assert done.returncode == 69
    assert f"port {port} (bus.port) is in use" in done.stderr


def test_up_uses_a_given_bus_and_says_when_it_does_not_answer(place):
    with embedded(place / "other") as url:
        done = holdfast_(place, "up", "--for", "1", HOLDFAST_REDIS_URL=url)
    assert done.returncode == 0, done.stderr
    assert f"bus {url}\n" in done.stdout
    assert not (place / "var" / "bus").exists()
    done = holdfast_(place, "up", HOLDFAST_REDIS_URL=url.replace("redis://", "redis://:secret@"))
    assert done.returncode == 69
    assert "does not answer" in done.stderr
    assert "secret" not in done.stderr


def test_run_becomes_the_service(place):
    stand_in(place, ASKING)
    done = holdfast_(place, "run", "ledger")
    assert done.returncode == 69
    assert "Is `holdfast up` running" in done.stderr
    env = environment(place) | {"HOLDFAST_REDIS_URL": "redis://h:1/0"}
    with subprocess.Popen(
        command("run", "ledger", "--dir", "d"), cwd=place, env=env, stdout=subprocess.PIPE, text=True
    ) as service:
        assert service.stdout is not None
        assert service.stdout.readline() == "feed synthetic state state bus redis://h:1/0\n"
        service.terminate()
        assert service.wait(10) == 0
    assert holdfast_(place, "run", "nobody").returncode == 2


def test_health_asks_for_a_heartbeat(place):
    with running(place):
        done = holdfast_(place, "health", "ledger")
        assert done.returncode == 1
        assert "no heartbeat" in done.stderr
    done = holdfast_(place, "health", "ledger")
    assert done.returncode == 1
    assert "the bus cannot be read" in done.stderr


def test_config_shows_values_and_sources_without_passwords(place):
    done = holdfast_(place, "config", "--json", "--dir", "d", HOLDFAST_REDIS_URL="redis://:secret@h:1/0")
    rows = {row["key"]: row for row in json.loads(done.stdout)}
    assert rows["bus.url"] == {
        "key": "bus.url",
        "value": "redis://:***@h:1/0",
        "source": "environment: HOLDFAST_REDIS_URL",
    }
    assert rows["state.directory"] == {"key": "state.directory", "value": "d/state", "source": "command line"}
    assert rows["exits.stop_loss_pct"]["value"] == "10"
    text = holdfast_(place, "config").stdout
    assert "exits.stop_loss_pct" in text


def test_version_and_help(place):
    assert holdfast_(place, "--version").stdout == f"holdfast {holdfast.__version__}\n"
    help_ = holdfast_(place, "--help").stdout
    for word in ("up", "run", "restart", "config", "health"):
        assert word in help_
