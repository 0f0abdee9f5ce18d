"""A disk that is told nothing about syncing: what it has of a store after its machine has died.

The real store asks SQLite for `synchronous=FULL`, and then a commit is on the disk. A store that asks for less has whatever the
operating system had written by itself: here, the state as of some earlier commit.
"""

import sqlite3
from contextlib import closing

from proving.sim.dice import Dice

FULL = 2
"""SQLite's number for `synchronous=FULL`."""
WRITTEN_SHARE = 0.3
"""Of commits after which the operating system happens to have written everything."""
_FORMAT = slice(18, 20)
"""Bytes of the file's head that say WAL or not; a copy in memory has none."""


def is_lazy(connection: sqlite3.Connection) -> bool:
    """Whether a commit on *connection* may be lost with its machine."""
    return int(connection.execute("PRAGMA synchronous").fetchone()[0]) < FULL


class LazyDisk:
    """Remembers what was written; `lose_power` puts the store back to that."""

    def __init__(self, connection: sqlite3.Connection, dice: Dice) -> None:
        self._connection, self._dice = connection, dice
        self._written = connection.serialize()

    def committed(self) -> None:
        """A transaction has ended well."""
        if self._dice.roll("disk|written") < WRITTEN_SHARE:
            self._written = self._connection.serialize()

    def lose_power(self) -> None:
        """The store is what was written, and its commits since then are gone."""
        image = bytearray(self._written)
        image[_FORMAT] = b"\x01\x01"
        if self._connection.in_transaction:
            self._connection.rollback()
        with closing(sqlite3.connect(":memory:")) as old:
            old.deserialize(bytes(image))
            old.backup(self._connection)
