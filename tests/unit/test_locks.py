"""One writer, and the second one is told who the first is."""

import json
import os
import re
import subprocess
import sys

import pytest

from holdfast.runtime.locks import AlreadyHeld, hold, holder_of

HOLD_AND_WAIT = """
import sys
from holdfast.runtime.locks import hold
lock = hold(sys.argv[1], "ledger")
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def another(tmp_path):
    """Another process that holds the lock until it is killed."""
    path = tmp_path / "store.lock"
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD_AND_WAIT, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert process.stdout.readline() == b"held\n"
    yield path, process
    process.kill()
    process.wait()
    process.stdin.close()
    process.stdout.close()


def test_the_file_says_who_holds_it(tmp_path):
    with hold(tmp_path / "new" / "lock", "ledger") as lock:
        assert lock.is_held
        told = json.loads((tmp_path / "new" / "lock").read_text())
        assert told["pid"] == os.getpid()
        assert told["service"] == "ledger"
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", told["since"])
        assert told["host"]
    assert not lock.is_held
    assert (tmp_path / "new" / "lock").read_text() == ""


def test_a_second_holder_is_refused_and_told_who_holds_it(another):
    path, process = another
    with pytest.raises(AlreadyHeld) as caught:
        hold(path, "ledger")
    text = str(caught.value)
    assert str(path) in text
    assert f"process {process.pid}" in text
    assert caught.value.holder.host in text
    assert caught.value.holder.since in text


def test_a_killed_process_gives_its_lock_up(another):
    path, process = another
    process.kill()
    process.wait()
    with hold(path, "ledger") as lock:
        assert json.loads(path.read_text())["pid"] == os.getpid()
        assert lock.is_held


def test_one_process_cannot_hold_it_twice_either(tmp_path):
    with hold(tmp_path / "lock", "a"), pytest.raises(AlreadyHeld, match="held by a "):
        hold(tmp_path / "lock", "b")


def test_asking_names_another_holder_but_not_ourselves(another, tmp_path):
    path, process = another
    assert holder_of(path).holder.pid == process.pid
    assert holder_of(tmp_path / "nobody") is None
    with hold(tmp_path / "ours", "me"):
        assert holder_of(tmp_path / "ours") is None
    assert holder_of(tmp_path / "ours") is None


def test_an_empty_lock_file_that_is_held_is_still_held(another):
    path, _process = another
    path.write_text("")
    with pytest.raises(AlreadyHeld, match="has not written its name"):
        hold(path, "ledger")


def test_releasing_twice_is_harmless_and_the_lock_can_be_taken_again(tmp_path):
    lock = hold(tmp_path / "lock", "a")
    lock.release()
    lock.release()
    with hold(tmp_path / "lock", "b") as again:
        assert again.holder.service == "b"
