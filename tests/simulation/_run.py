"""Runs of the simulator for tests: short worlds, and a bug to plant in them."""

from contextlib import ExitStack
from unittest import mock

from holdfast.store.store import Store

STEPS = 2_500
KINDS = frozenset({"store.failing", "store.ambiguous", "bus.delay", "input.forged"})
"""What the planted bug needs, and what it does not."""
GUILTY = frozenset({"store.failing", "store.ambiguous"})


def an_error_is_repaired_by_hand(stack: ExitStack) -> None:
    """A store that writes over the end of its journal when a commit has failed."""
    roll_back = Store._roll_back

    def repair(self, cursor):
        roll_back(self, cursor)
        cursor.execute("UPDATE updates SET hash = 'repaired' WHERE seq = (SELECT MAX(seq) FROM updates)")

    stack.enter_context(mock.patch.object(Store, "_roll_back", repair))
