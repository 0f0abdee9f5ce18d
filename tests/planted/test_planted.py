"""Every scenario passes on the code as it is, and fails when its bug is planted. So the suite can see these bugs."""

from pathlib import Path

import pytest

from holdfast.domain.invariants import STATEMENTS, InvariantViolation
from holdfast.runtime.faults import Terminal
from holdfast.store.store import ConstraintBroken
from proving.planted.bug import Bug
from tests.planted import table
from tests.planted._world import World
from tests.planted.bugs import SCENARIOS, SHOWN

NOTICED = (AssertionError, InvariantViolation, ConstraintBroken, Terminal)
each = pytest.mark.parametrize("bug", SHOWN, ids=[bug.name for bug in SHOWN])


async def noticed(bug: Bug, directory: Path) -> str:
    """What the scenario has to say against the code as it now is; empty when nothing."""
    try:
        async with World(directory).at_work() as world:
            await SCENARIOS[bug.name](world)
    except NOTICED as error:
        return f"{type(error).__name__}: {error}"
    return ""


@each
async def test_the_scenario_passes_on_the_code_as_it_is(bug, tmp_path):
    assert await noticed(bug, tmp_path) == ""


@each
async def test_the_scenario_fails_with_the_bug_planted(bug, tmp_path, monkeypatch):
    bug.plant(monkeypatch)

    assert await noticed(bug, tmp_path) != ""


def test_every_scenario_is_of_a_bug():
    assert {bug.name for bug in SHOWN} == SCENARIOS.keys()


def test_every_invariant_is_broken_by_some_bug():
    """INV-10 is about what follows: the bus's own tests show it."""
    assert {bug.breaks for bug in SHOWN} - {""} == set(STATEMENTS) - {"INV-10"}


def test_the_table_in_the_docs_is_of_these_bugs():
    assert table.FILE.read_text() == table.page(), "write it anew: python -m tests.planted.table"
