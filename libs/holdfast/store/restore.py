"""Putting another store in the place of the one that is there: built beside it, proven whole, and swapped in at one stroke.

What was there is never overwritten: it stays in the same folder as `ledger-before-TIME.db`, with its write-ahead log. The order of
the steps is the trick. A log lies beside a *name*, and SQLite would apply it to whatever has that name; so the old log is moved away
before the new store gets the name, and a mark of `store.soundness` asks for it meanwhile. Whenever this is cut short, the next
start either finds the old store whole, or the new one, or says that something is missing.
"""

import os
import sqlite3
from contextlib import closing
from pathlib import Path

from holdfast.runtime.faults import Terminal
from holdfast.runtime.files import sync_folder
from holdfast.store import soundness
from holdfast.store.journal import FileJournal, Head, StoreJournal, Unusable
from holdfast.store.opening import migrate_sqlite
from holdfast.store.reading import SqliteReader, StoreMissing
from holdfast.store.rebuild import rebuild_sqlite
from holdfast.store.verify import verify

_SQLITE = b"SQLite format 3\0"


def prepare(file: Path, target: Path) -> Head:
    """A whole store in *target*, out of a backup or an exported journal in *file*; where it ends. Raises Unusable, OSError."""
    if target.exists():
        raise Unusable(f"{target} exists: it is left from an earlier attempt. Remove it")
    with file.open("rb") as content:
        begins = content.read(len(_SQLITE))
    try:
        if begins == _SQLITE:
            _copy(file, target)
        elif begins[:1] == b"{":
            rebuild_sqlite(FileJournal(file), target)
        else:
            raise Unusable(f"{file} is neither a store nor an exported journal")
        return prove(target)
    except BaseException:
        discard(target)
        raise


def discard(path: Path) -> None:
    """Remove a store that was not put in place, with what lies beside it."""
    for part in (path, soundness.log_of(path), soundness.shared_memory_of(path)):
        part.unlink(missing_ok=True)


def _copy(file: Path, target: Path) -> None:
    try:
        with SqliteReader(file) as store:
            store.copy_to(target)
        migrate_sqlite(target)
    except (StoreMissing, Terminal, sqlite3.Error) as error:
        raise Unusable(f"{file} cannot be restored: {error}") from error


def prove(path: Path) -> Head:
    """Where the store at *path* ends, once every check of `store.verify` has passed. Raises Unusable, which names those that have not."""
    try:
        with SqliteReader(path) as store:
            broken = [check for check in verify(store) if not check.passed]
            head = StoreJournal(store).head
    except (StoreMissing, sqlite3.Error) as error:
        raise Unusable(f"it cannot be read: {error}") from error
    if broken:
        told = "; ".join(f"{check.check}: {check.problems[0]}" for check in broken)
        raise Unusable(f"it is not whole ({told})")
    return head


def head_of(path: Path) -> Head | None:
    """Where the store at *path* ends; None where there is none, or none that can be read."""
    try:
        with SqliteReader(path) as store:
            return StoreJournal(store).head
    except (StoreMissing, Unusable):
        return None


def put_in_place(new: Path, path: Path, epoch: int, stamp: str) -> Path | None:
    """Give *new* the name *path*, in an epoch above *epoch*; where what was there is now. The ledger's lock must be held.

    Raises OSError, FileExistsError.
    """
    _raise_epoch(new, epoch)
    aside = path.with_name(f"{path.stem}-before-{stamp}{path.suffix}")
    log, memory, kept = soundness.log_of(path), soundness.shared_memory_of(path), None
    if path.exists():
        os.link(path, aside)
        kept = aside
    if log.exists():
        soundness.leave(path, soundness.Mark("", 0, "", closed=False))
        log.rename(soundness.log_of(aside))
        kept = kept or soundness.log_of(aside)
    memory.unlink(missing_ok=True)
    new.replace(path)
    sync_folder(path.parent)
    soundness.mark_of(path).unlink(missing_ok=True)
    return kept


def _raise_epoch(path: Path, epoch: int) -> None:
    """A ledger that still has the old store open must not be taken for this one's."""
    with closing(sqlite3.connect(path)) as store:
        store.execute("PRAGMA synchronous=FULL")
        store.execute("UPDATE store SET epoch = max(epoch, ?) + 1", (epoch,))
        store.commit()
