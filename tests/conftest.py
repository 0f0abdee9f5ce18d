"""How properties are explored: at random on a developer's machine, the same examples every time where `CI` is set.

A gate that fails for a change that did not cause it teaches people to run it again; what a random search finds belongs
into a regression test, and `HYPOTHESIS_PROFILE=search` looks ten times as long for it.
"""

import gc
import os

import pytest
from hypothesis import settings

settings.register_profile("random", deadline=None, print_blob=True)
settings.register_profile("ci", max_examples=60, deadline=None, derandomize=True, print_blob=True)
settings.register_profile("search", deadline=None, max_examples=1000, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE") or ("ci" if os.environ.get("CI") else "random"))

gc.disable()  # while six thousand tests are collected nothing is garbage; see `pytest_collection_finish`

LONGEST_FIRST = (
    "tests/integration/test_recipes",
    "tests/chaos",
    "tests/integration",
    "tests/browser",
    "tests/simulation",
    "tests/venue",
)
"""Modules that take minutes, most of it waiting: begun last, one of them would be what everybody waits for (`--no-loadscope-reorder`)."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest modules first; in whatever order otherwise."""
    items.sort(
        key=lambda item: next(
            (rank for rank, name in enumerate(LONGEST_FIRST) if item.nodeid.startswith(name)),
            len(LONGEST_FIRST),
        )
    )


def pytest_collection_finish() -> None:
    """From here on the collector works, and does not look at what was collected, again and again."""
    gc.freeze()
    gc.enable()
