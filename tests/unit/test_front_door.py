"""Tokens that are shown once and kept as hashes; the port; lines that cannot fill the disk."""

import json
import socket

import pytest

from holdfast.cli.up import _front_door
from holdfast.runtime import front_door
from holdfast.runtime.bounded_log import BoundedLog, tail
from holdfast.runtime.front_door import Tokens, choose_port
from holdfast.runtime.settings import Settings


def test_both_tokens_are_made_once_and_kept_as_argon2id_hashes_for_the_owner_alone(tmp_path):
    made = Tokens(tmp_path).first()
    kept = (tmp_path / "tokens.json").read_text()

    assert set(made) == {"view", "operate"}
    assert Tokens(tmp_path).first() == {}
    assert all(token not in kept for token in made.values())
    assert all(hashed.startswith("$argon2id$") for hashed in json.loads(kept).values())
    assert (tmp_path / "tokens.json").stat().st_mode & 0o777 == 0o600


def test_a_token_opens_its_role_and_nothing_else_does(tmp_path):
    tokens = Tokens(tmp_path)
    made = tokens.first()

    assert {role: tokens.role_of(token) for role, token in made.items()} == {
        "view": "view",
        "operate": "operate",
    }
    secret = made["view"].partition(".")[2]
    for wrong in (
        "",
        "view",
        "view.",
        f"operate.{secret}",
        made["view"] + "x",
        "admin.x",
        made["view"].upper(),
        "view." + "x" * 500,
    ):
        assert tokens.role_of(wrong) is None


def test_a_replaced_token_opens_nothing_any_more_in_a_running_service_too(tmp_path):
    running = Tokens(tmp_path)
    old = running.first()

    new = Tokens(tmp_path).replace("operate")

    assert running.role_of(old["operate"]) is None
    assert running.role_of(new) == "operate"
    assert running.role_of(old["view"]) == "view"


@pytest.mark.parametrize("wanted", [0, 1])
def test_a_port_that_nobody_set_may_be_lost_to_another_program_after_it_was_chosen(tmp_path, wanted):
    """`up` chooses it seconds before the dashboard listens: two started at once must not end each other."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        wanted *= free.getsockname()[1]
    told = _front_door(Settings(dir=tmp_path, dashboard={"port": wanted}), lambda *_: None)
    chosen = int((tmp_path / "dashboard" / "port").read_text())

    with socket.socket() as other:
        other.bind(("127.0.0.1", chosen))
        other.listen()
        asked = int(told.get("HOLDFAST_DASHBOARD_PORT", "0"))
        assert asked == wanted
        if wanted:
            with pytest.raises(ValueError, match="in use by another program"):
                choose_port(tmp_path / "dashboard", "127.0.0.1", asked)
        else:
            assert choose_port(tmp_path / "dashboard", "127.0.0.1", asked) != chosen


def test_damaged_hashes_are_named(tmp_path):
    (tmp_path / "tokens.json").write_text("{")

    with pytest.raises(ValueError, match=r"tokens.json is damaged"):
        Tokens(tmp_path).hashes()


def test_the_port_stays_and_gives_way_to_who_has_it(tmp_path, monkeypatch):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        taken = other.getsockname()[1]
        monkeypatch.setattr(front_door, "FAVOURITE_PORT", taken)
        port = choose_port(tmp_path, "127.0.0.1", 0)
        assert port != taken
        with pytest.raises(ValueError, match="in use by another program"):
            choose_port(tmp_path, "127.0.0.1", taken)
    assert choose_port(tmp_path, "127.0.0.1", 0) == port


def test_a_full_log_becomes_the_old_one_and_the_newest_lines_are_found_in_both(tmp_path):
    log = BoundedLog(tmp_path / "log" / "up.log", max_bytes=1000)
    for number in range(60):
        log.write({"n": number, "line": f"word{number % 3} {'x' * 20}"})

    found = tail(log.path, 5, "word1")

    assert [line["n"] for line in found] == [58, 55, 52, 49, 46]
    assert sum(path.stat().st_size for path in log.path.parent.iterdir()) <= 2100
    assert log.path.stat().st_mode & 0o777 == 0o600
    assert tail(log.path, 1)[0]["n"] == 59


def test_half_a_line_and_no_log_are_no_trouble(tmp_path):
    path = tmp_path / "up.log"
    assert tail(path, 5) == []
    path.write_bytes(b'{"n": 1}\n{"n": 2')

    assert tail(path, 5) == [{"n": 1}]


def test_long_files_are_read_from_their_end(tmp_path):
    path = tmp_path / "up.log"
    path.write_bytes(b"".join(b'{"n": %d, "pad": "%s"}\n' % (number, b"y" * 300) for number in range(1000)))

    assert [line["n"] for line in tail(path, 700)] == list(range(999, 299, -1))
