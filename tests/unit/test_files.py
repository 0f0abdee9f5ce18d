"""A file is the old one or the new one, whatever happens in between."""

import errno
import os
import stat
import subprocess
import sys

import pytest

from holdfast.runtime import files
from holdfast.runtime.files import WriteFailed, remove_leftovers, write_atomically


def test_a_file_appears_whole_readable_for_everybody_and_alone(tmp_path):
    path = tmp_path / "new" / "state.json"
    write_atomically(path, b"{}")
    assert path.read_bytes() == b"{}"
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    assert [entry.name for entry in path.parent.iterdir()] == ["state.json"]


def test_the_mode_does_not_depend_on_the_umask(tmp_path):
    before = os.umask(0o077)
    try:
        write_atomically(tmp_path / "state.json", b"1")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "state.json").stat().st_mode) == 0o644


@pytest.mark.parametrize("step", ["write", "fsync", "fchmod", "replace"])
def test_a_failure_at_any_step_keeps_the_old_file_and_no_temporary_one(tmp_path, monkeypatch, step):
    path = tmp_path / "state.json"
    write_atomically(path, b"old")

    def full(*_args, **_kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(files.os, step, full)
    with pytest.raises(WriteFailed) as caught:
        write_atomically(path, b"new")
    monkeypatch.undo()
    assert str(path) in str(caught.value)
    assert "disk is full" in str(caught.value)
    assert (caught.value.errno, caught.value.filename) == (errno.ENOSPC, str(path))
    assert path.read_bytes() == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["state.json"]


def test_data_is_durable_before_the_rename_and_the_folder_after_it(tmp_path, monkeypatch):
    seen = []
    real = {name: getattr(os, name) for name in ("fsync", "replace")}

    def spy(name):
        def call(*args):
            is_folder = name == "fsync" and stat.S_ISDIR(os.fstat(args[0]).st_mode)
            seen.append("fsync folder" if is_folder else name)
            return real[name](*args)

        return call

    for name in real:
        monkeypatch.setattr(files.os, name, spy(name))
    write_atomically(tmp_path / "state.json", b"x")
    assert seen == ["fsync", "replace", "fsync folder"]


def test_a_short_write_is_continued(tmp_path, monkeypatch):
    real = os.write
    monkeypatch.setattr(files.os, "write", lambda handle, data: real(handle, bytes(data[:3])))
    write_atomically(tmp_path / "state.json", b"0123456789")
    assert (tmp_path / "state.json").read_bytes() == b"0123456789"


def test_a_folder_that_cannot_be_made_is_said(tmp_path):
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(WriteFailed, match=r"cannot write .*state\.json"):
        write_atomically(tmp_path / "file" / "state.json", b"x")


def test_a_file_system_that_cannot_sync_a_folder_is_no_error(tmp_path, monkeypatch):
    real = os.fsync

    def fsync(handle):
        if stat.S_ISDIR(os.fstat(handle).st_mode):
            raise OSError(errno.EINVAL, "Invalid argument")
        real(handle)

    monkeypatch.setattr(files.os, "fsync", fsync)
    write_atomically(tmp_path / "state.json", b"x")
    assert (tmp_path / "state.json").read_bytes() == b"x"


def test_an_interrupt_leaves_no_temporary_file(tmp_path, monkeypatch):
    def interrupted(*_args):
        raise KeyboardInterrupt

    monkeypatch.setattr(files.os, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_atomically(tmp_path / "state.json", b"x")
    assert list(tmp_path.iterdir()) == []


def test_leftovers_of_the_dead_go_and_those_of_the_living_stay(tmp_path):
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    dead = tmp_path / f".positions_state.json.{ended.pid}.abc123.tmp"
    ours = tmp_path / f".kpis_v7.json.{os.getpid()}.q_1.tmp"
    living = tmp_path / f".kpis_v7.json.{os.getppid()}.abc123.tmp"
    foreign = tmp_path / ".somebody.tmp"
    for path in (dead, ours, living, foreign, tmp_path / "kpis_v7.json"):
        path.write_text("half")
    assert set(remove_leftovers(tmp_path)) == {dead.name, ours.name}
    assert {entry.name for entry in tmp_path.iterdir()} == {living.name, foreign.name, "kpis_v7.json"}
