"""Planted bugs in simulated worlds: those that die soonest. All of them: `holdfast sim --planted`."""

from contextlib import ExitStack

import pytest

from proving.planted import measured
from proving.planted.__main__ import line, verdict
from proving.planted.bug import Bug, StackPatch
from proving.planted.catalogue import BUGS
from proving.planted.hunt import Hunted, hunt
from proving.sim.menu import KINDS
from tests.planted.bugs import SCENARIOS

SOON = (
    "order first, record later", "exits are optional", "fees forgotten", "amounts are floats", "random client order ids", "retry on timeout",
)  # fmt: skip
"""Bugs that hardly a world survives."""
WORLDS = 8
FOUND = measured.load()


@pytest.mark.parametrize("name", SOON)
def test_the_hunt_kills_again(name: str):
    (bug,) = [bug for bug in BUGS if bug.name == name]

    assert hunt(bug, most=WORLDS, steps=2_000).seed is not None


def test_every_bug_is_killed_by_a_world_or_by_a_scenario():
    assert len(BUGS) >= 25
    assert len({bug.name for bug in BUGS}) == len(BUGS)
    alive = [bug.name for bug in BUGS if bug.name not in SCENARIOS and _lives(bug)]
    assert alive == []


def _lives(bug: Bug) -> bool:
    return bug.name not in FOUND or FOUND[bug.name].seed is None


def test_bugs_name_kinds_that_the_menu_has():
    assert {kind for bug in BUGS for kind in bug.kinds} <= KINDS.keys()


def test_what_is_planted_is_taken_out_again():
    class Thing:
        value = 1

    class Heir(Thing):
        pass

    with ExitStack() as stack:
        StackPatch(stack).setattr(Thing, "value", 2)
        StackPatch(stack).setattr(Heir, "value", 3)
        assert (Thing.value, Heir.value) == (2, 3)
    assert (Thing.value, Heir.value, "value" in vars(Heir)) == (1, 1, False)


def test_a_bug_that_lives_is_said_to():
    lives, dead = Hunted("a", 5), Hunted("b", 3, 3, 100, "INV-1", "x")
    assert line(lives).startswith("LIVES")
    assert line(dead).startswith("killed")
    assert verdict([lives, dead]) == "planted bugs killed: 1 of 2, seeds to kill: median 3, worst 3"
