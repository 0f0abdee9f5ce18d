"""A simulated world repeats itself, stays clean on sound code, and finds and shrinks what is planted."""

import subprocess
import sys

import pytest

from proving.sim.run import run_seed
from proving.sim.shrink import shrink
from tests.architecture._tree import ROOT
from tests.simulation._run import GUILTY, KINDS, STEPS, an_error_is_repaired_by_hand


def test_the_same_seed_is_the_same_world():
    first, second = run_seed(3, STEPS), run_seed(3, STEPS)
    assert first.hash == second.hash
    assert first.faults == second.faults
    assert first.steps == second.steps
    assert first.hash != run_seed(4, STEPS).hash


def test_a_world_does_not_depend_on_how_python_hashes():
    code = f"from proving.sim.run import run_seed; print(run_seed(3, {STEPS}).hash)"
    hashes = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={"PYTHONPATH": f"{ROOT / 'libs'}:{ROOT}", "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert hashes == {run_seed(3, STEPS).hash + "\n"}


@pytest.mark.parametrize("seed", [11, 12, 13, 14])
def test_worlds_are_clean(seed):
    result = run_seed(seed, STEPS)
    assert [str(found) for found in result.violations] == []
    assert result.checks
    assert result.faults


def test_a_planted_bug_is_found_and_shrunk_to_the_fault_that_it_needs():
    failed = next(
        result
        for seed in range(1, 30)
        if not (result := run_seed(seed, STEPS, an_error_is_repaired_by_hand, kinds=KINDS)).is_clean
    )
    assert len(failed.faults) > 1
    shrunk = shrink(failed, STEPS, an_error_is_repaired_by_hand, kinds=KINDS)
    assert len(shrunk.keys) <= 3
    assert GUILTY & {fault.kind for fault in shrunk.result.faults}
    number = shrunk.result.violations[0].number
    assert number == failed.violations[0].number
    assert number in {"INV-8", "INV-10"}, (
        "the journal differs, or the ledger has found that itself and does not start"
    )
    assert run_seed(failed.seed, STEPS, only=frozenset(shrunk.keys), kinds=KINDS).is_clean


def test_a_world_without_faults_has_none():
    result = run_seed(5, STEPS, kinds=frozenset())
    assert result.is_clean
    assert result.faults == []
    assert set(result.exits) == set()
    assert result.trades > 0
