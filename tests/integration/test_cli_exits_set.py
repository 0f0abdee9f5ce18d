"""`exits set`, `adopt q-…` and `token`, against real services."""

import pytest

from holdfast.runtime.front_door import Tokens
from tests.integration._cli import BTC, Desk

pytestmark = pytest.mark.redis
SOL = "SOL/USDT"


def held(desk: Desk) -> dict:
    desk.ok("intent", "buy", BTC, "1", "--stop-loss", "90", "--take-profit", "120")
    return desk.rows("positions")[0]


def test_a_tighter_stop_is_taken_at_once(desk):
    position = held(desk)["position_id"]

    assert (
        desk.ok("exits", "set", position[:12], "--stop-loss", "95", "--why", "break even")
        == f"{BTC}: exits changed\n"
    )
    assert desk.rows("positions")[0]["stop_loss"] == "95"


def test_a_looser_stop_is_refused_and_taken_when_it_is_meant(desk):
    position = held(desk)["position_id"]

    refused = desk.run("exits", "set", position, "--stop-loss", "80")

    assert refused.exit_code == 1
    assert "80 would loosen 90, kept" in refused.output
    desk.ok("exits", "set", position, "--stop-loss", "80", "--loosen")
    assert desk.rows("positions")[0]["stop_loss"] == "80"


def test_what_cannot_be_is_told_before_anything_is_sent(desk):
    for words, code, text in (
        (("exits", "set", "p-nobody", "--stop-loss", "80"), 1, "no open positions begin with p-nobody"),
        (("exits", "set", "p", "--stop-loss", "soon"), 2, "nothing was sent"),
        (("exits", "set", "p"), 2, "nothing to change"),
    ):
        done = desk.run(*words)
        assert done.exit_code == code
        assert text in done.output


def test_a_new_token_is_shown_once_and_works(desk):
    made = desk.ok("token", "operate").strip()

    assert Tokens(desk.directory / "dashboard").role_of(made) == "operate"
    assert desk.run("token", "admin").exit_code == 2
