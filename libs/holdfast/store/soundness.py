"""What can be told of a SQLite store before it is used: from its files, and from the mark that its last ledger left beside it.

SQLite is too obliging for a ledger: it takes an empty file for a new database, drops a write-ahead log whose database is missing,
opens a database whose log is missing as it was before, and applies a log to whatever database has its name. Each of these is an old
or empty truth that looks like the newest; and so does a backup that somebody put in the place of the store.

So a store is made only where nothing is, and a ledger leaves `ledger.mark` beside its store, when it has opened it and when it
closes it: where the store ended then, and whether it was closed. The store must have that update, with that hash, ever after.
"""

from dataclasses import asdict, dataclass
from pathlib import Path

import orjson

from holdfast.runtime.faults import Terminal
from holdfast.runtime.files import write_atomically

_MAGIC = b"SQLite format 3\0"
_BACK = (
    "Put the file back, or restore a backup: `holdfast ledger restore FILE`. See docs/backup-and-restore.md"
)


@dataclass(frozen=True, slots=True)
class Mark:
    """Where a ledger left the store."""

    store_id: str
    seq: int
    hash: str
    closed: bool
    """False: it is at work, or was killed; then the write-ahead log belongs to the store."""


def log_of(path: Path) -> Path:
    """The write-ahead log of the store at *path*."""
    return path.with_name(path.name + "-wal")


def shared_memory_of(path: Path) -> Path:
    """The index of that log: worth nothing by itself."""
    return path.with_name(path.name + "-shm")


def mark_of(path: Path) -> Path:
    """The file of the mark beside the store at *path*."""
    return path.with_suffix(".mark")


def leave(path: Path, mark: Mark) -> None:
    """Write *mark*, durable, beside the store at *path*. Raises OSError."""
    write_atomically(mark_of(path), orjson.dumps(asdict(mark)))


def left(path: Path) -> Mark | None:
    """The mark beside the store at *path*, None where no ledger left one. Raises Terminal for one that cannot be read."""
    try:
        return Mark(**orjson.loads(mark_of(path).read_bytes()))
    except FileNotFoundError:
        return None
    except (orjson.JSONDecodeError, TypeError) as error:
        raise Terminal(
            f"{mark_of(path)} cannot be read ({error}). Where the store is known to be the newest: `holdfast ledger restore {path}`"
        ) from error


def look(path: Path) -> bool:
    """Whether a store is at *path*. Raises Terminal where there was one, or where there is something else."""
    log = log_of(path)
    if not path.exists():
        if log.exists() or mark_of(path).exists():
            witness = log if log.exists() else mark_of(path)
            raise Terminal(
                f"the store {path} is missing, and {witness.name} says that there was one. {_BACK}"
            )
        return False
    if not path.stat().st_size:
        raise Terminal(f"the store {path} is empty: its content is lost. {_BACK}")
    with path.open("rb") as file:
        if file.read(len(_MAGIC)) != _MAGIC:
            raise Terminal(f"the store {path} is damaged, or is no SQLite database. {_BACK}")
    mark = left(path)
    if mark is not None and not mark.closed and not log.exists():
        raise Terminal(
            f"the store {path} was not closed, and its write-ahead log {log.name} is missing: what was committed last may be lost. {_BACK}"
        )
    return True


def check(path: Path, store_id: str, seq: int, hash_at_mark: str | None) -> None:
    """Whether the store *store_id*, which ends at *seq*, is the one that was left here. Raises Terminal.

    *hash_at_mark* is the hash that it has where the mark says; None where it has no such update.
    """
    mark = left(path)
    if mark is None:
        return
    if mark.store_id != store_id:
        raise Terminal(
            f"the store {path} is {store_id}, and the last ledger worked with {mark.store_id} here. {_BACK}"
        )
    if seq < mark.seq:
        raise Terminal(
            f"the store {path} ends at update {seq}, and the last ledger left it at {mark.seq}: it is an older copy. {_BACK}"
        )
    if hash_at_mark != mark.hash:
        raise Terminal(f"the store {path} has another update {mark.seq} than the last ledger left. {_BACK}")
