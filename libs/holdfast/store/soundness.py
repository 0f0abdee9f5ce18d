"""What can be told of a SQLite store from its files, before anything opens it.

SQLite is too obliging for a ledger: it takes an empty file for a new database, drops a write-ahead log whose database is
missing, and opens a database whose log is missing as it was before. Each of these is an old or empty truth that looks like the
newest. So a store is made only where nothing is, and a ledger at work leaves a mark (`ledger.open`) beside it: whoever finds the
mark, and no log, knows that something was taken away. The mark is removed on a clean end, before SQLite folds the log in.
"""

from pathlib import Path

from holdfast.runtime.faults import Terminal

_MAGIC = b"SQLite format 3\0"
_BACK = (
    "Put the file back, or restore a backup: `holdfast ledger restore FILE`. See docs/backup-and-restore.md"
)


def log_of(path: Path) -> Path:
    """The write-ahead log of the store at *path*."""
    return path.with_name(path.name + "-wal")


def shared_memory_of(path: Path) -> Path:
    """The index of that log: worth nothing by itself."""
    return path.with_name(path.name + "-shm")


def mark_of(path: Path) -> Path:
    """What a ledger at work leaves beside the store at *path*."""
    return path.with_suffix(".open")


def look(path: Path) -> bool:
    """Whether a store is at *path*. Raises Terminal where there was one, or where there is something else."""
    log = log_of(path)
    if not path.exists():
        if log.exists() or mark_of(path).exists():
            left = log if log.exists() else mark_of(path)
            raise Terminal(f"the store {path} is missing, and {left.name} says that there was one. {_BACK}")
        return False
    if not path.stat().st_size:
        raise Terminal(f"the store {path} is empty: its content is lost. {_BACK}")
    with path.open("rb") as file:
        if file.read(len(_MAGIC)) != _MAGIC:
            raise Terminal(f"the store {path} is damaged, or is no SQLite database. {_BACK}")
    if mark_of(path).exists() and not log.exists():
        raise Terminal(
            f"the store {path} was not closed, and its write-ahead log {log.name} is missing: what was committed last may be lost. {_BACK}"
        )
    return True


def opened(path: Path) -> None:
    """From now on the log belongs to the store."""
    mark_of(path).touch(mode=0o600)


def closing(path: Path) -> None:
    """The log is about to be folded in."""
    mark_of(path).unlink(missing_ok=True)
