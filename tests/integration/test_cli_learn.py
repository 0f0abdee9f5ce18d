"""`learn`: how exit thresholds stand, and a person's word about them, on running services."""

import asyncio
import json
import threading
from collections.abc import Iterator

import pytest

from holdfast.contracts.exit_messages import ExitThresholds
from holdfast.contracts.streams import EXIT_THRESHOLDS
from holdfast.contracts.wire import Out
from holdfast.runtime.learner_settings import LearnerSettings
from services.learner.app import build as build_learner
from tests.integration._cli import BTC, Desk, settings_of

pytestmark = pytest.mark.redis


QUICK = LearnerSettings(watch_after_s=1, propose_every=10, revert_after=10)


@pytest.fixture
def learning(desk: Desk) -> Iterator[Desk]:
    """The learner beside the other services, quick to judge; at the end thresholds are the policy's again."""
    one = build_learner(settings_of(desk.directory, desk.url).model_copy(update={"learner": QUICK}))
    thread = threading.Thread(target=lambda: asyncio.run(one.serve()), daemon=True)
    thread.start()
    desk.wait(lambda: desk.rows("learn", "status")["learner"].get("outcomes") is not None)
    yield desk
    for words in (("thaw",), ("mode", "apply"), ("rollback", "0"), ("mode", "shadow")):
        desk.ok("learn", *words)
    one.stop()
    thread.join(20)
    assert not thread.is_alive()


def propose(desk: Desk, **values: str) -> int:
    """What a learner would publish; its number, once the ledger has decided."""
    found = desk.rows("learn", "status")
    number = 1 + max((row["version"] for row in desk.rows("learn", "history")), default=0)
    message = ExitThresholds(
        id=f"x-{number}-{'-'.join(values.values())}", at=1, version=number, values=values, based_on=found["version"],
        evidence={"trades": "120", "gain_out_of_sample_pct": "+0.0310"}, by="learner", why="120 trades say so",
    )  # fmt: skip
    desk.publish(Out(EXIT_THRESHOLDS, message))
    return number


def newest(desk: Desk) -> int:
    return max((row["version"] for row in desk.rows("learn", "history")), default=0)


def stop_of(desk: Desk) -> str:
    """The stop of a position that is opened now; it is closed again."""
    desk.ok("intent", "buy", BTC, "1")
    (row,) = desk.rows("positions")
    desk.ok("close", BTC)
    return row["stop_loss"]


def test_a_version_goes_from_shadow_to_force_and_back_and_every_step_is_seen(learning: Desk) -> None:
    desk = learning
    assert (desk.rows("learn", "status")["mode"], desk.rows("learn", "status")["applied"]) == (
        "shadow",
        False,
    )
    shadow = propose(desk, stop_loss_pct="9.5")
    desk.wait(lambda: newest(desk) == shadow)
    assert stop_of(desk) == "90", "a shadow moves nothing"

    assert "mode apply" in desk.ok("learn", "mode", "apply", "--why", "it looked right")
    applied = propose(desk, stop_loss_pct="9.5")
    desk.wait(lambda: newest(desk) == applied)
    assert stop_of(desk) == "90.5"
    assert f"thresholds v{applied}." in desk.ok("explain", BTC)
    row = desk.rows("learn", "history")[0]
    assert (row["adopted"], row["evidence"]["trades"], row["values"]) == (
        True,
        "120",
        {"stop_loss_pct": "9.5"},
    )
    assert "120 trades say so" in desk.ok("learn", "history")

    said = desk.ok("learn", "status")
    assert f"mode apply; new positions get version {applied}" in said
    table = {
        line.split()[0]: line.split() for line in said.splitlines() if line.startswith(("stop_loss", "trail"))
    }
    assert table["stop_loss_pct"][2:6] == ["10", "9.5", "9.5", "0.5"]
    assert table["trail_distance_pct"][2:5] == ["-", "-", "-"], "off in the policy"

    back = desk.rows("learn", "rollback", str(shadow), "--why", "try")
    assert (back["status"], back["code"]) == ("accepted", None)
    assert desk.rows("learn", "history")[0]["restores"] == shadow
    assert "version" in desk.ok("learn", "rollback", "0")
    assert stop_of(desk) == "90"


def test_frozen_thresholds_are_not_moved_by_proposals_until_thaw(learning: Desk) -> None:
    desk = learning
    desk.ok("learn", "mode", "apply")
    assert "frozen" in desk.ok("learn", "freeze", "--why", "holidays")
    assert "frozen by cli:" in desk.ok("learn", "status")
    before = newest(desk)
    propose(desk, stop_loss_pct="9.6")
    assert "frozen" not in desk.ok("learn", "thaw")  # its answer comes after that of the proposal
    assert newest(desk) == before
    number = propose(desk, stop_loss_pct="9.7")
    desk.wait(lambda: newest(desk) == number)


@pytest.mark.timeout(240)
def test_a_version_that_does_worse_goes_back_by_itself_and_the_history_says_why(learning: Desk) -> None:
    """It takes profits at 19 %, in markets that go on to 21 %: the policy's 20 % would have had that, ten times of ten."""
    desk, symbols = learning, [f"C{number}/USDT" for number in range(10)]
    base = desk.prices
    desk.prices = base | dict.fromkeys(symbols, "100")  # the services' thread reads them
    desk.ok("learn", "mode", "apply")
    before = desk.rows("learn", "status")["version"]
    version = propose(desk, take_profit_pct="19")
    desk.wait(lambda: newest(desk) == version)
    for symbol in symbols:
        desk.ok("intent", "buy", symbol, "1")
    desk.prices = base | dict.fromkeys(symbols, "119.5")
    desk.wait(lambda: desk.rows("positions") == [], 60)
    desk.prices = base | dict.fromkeys(symbols, "121")
    desk.wait(lambda: newest(desk) == version + 1, 60)

    row = desk.rows("learn", "history")[0]
    assert (row["by"], row["restores"], row["adopted"]) == ("learner", before, True)
    assert row["evidence"]["trades"] == "10"
    assert "it does worse than what it replaced" in desk.ok("learn", "history")
    assert f"new positions get version {version + 1}" in desk.ok("learn", "status")
    desk.prices = base


def test_what_the_ledger_refuses_ends_with_its_code_and_1(learning: Desk) -> None:
    result = learning.run("learn", "rollback", "999")
    assert (result.exit_code, "no_such_version: there is no version 999" in result.stderr) == (1, True)
    refused = json.loads(learning.run("learn", "rollback", "999", "--json").stdout)
    assert refused["code"] == "no_such_version"
    assert learning.run("learn", "mode", "never").exit_code == 2


def test_without_a_ledger_it_is_not_confirmed_and_ends_with_3(silent: Desk) -> None:
    result = silent.run("learn", "freeze", "--wait", "0.3")
    assert (result.exit_code, "not confirmed" in result.stderr) == (3, True)
