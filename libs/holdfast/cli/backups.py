"""`ledger backup|restore|export-journal|rebuild`: copies of the truth, and the ways back from them.

A backup is made while the ledger runs. Whatever replaces the store is built beside it and proven whole first, and what was there
is kept: `store.restore` says how.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from holdfast.cli.common import FAILED, Config, Dir, fail, settings_of
from holdfast.cli.store_tools import Yes, ledger, ledger_lock

if TYPE_CHECKING:
    from holdfast.runtime.settings import Settings
    from holdfast.store.journal import Head

NewFile = Annotated[Path, typer.Argument(help="The file to make; it must not exist yet.")]


def register(app: typer.Typer) -> None:  # noqa: ARG001 - the group `ledger` is in it already
    ledger.command("backup")(backup)
    ledger.command("restore")(restore)
    ledger.command("export-journal")(export_journal)
    ledger.command("rebuild")(rebuild)


def backup(target: NewFile, directory: Dir = None, config: Config = None) -> None:
    """Copy the store to TARGET, whole and consistent, while the ledger runs. Of PostgreSQL: its journal, from which all is rebuilt."""
    settings = settings_of(directory, config)
    if settings.ledger.url:
        head = _export(settings, target)
    else:
        from holdfast.store.opening import sqlite_path
        from holdfast.store.reading import SqliteReader
        from holdfast.store.restore import head_of

        with _told(target), SqliteReader(sqlite_path(settings.dir)) as store:
            store.copy_to(target)
        found = head_of(target)
        if found is None:
            fail(f"{target} was written, and cannot be read again: keep no backup on that disk")
        head = found
    print(f"{target}: {target.stat().st_size:,} bytes, store {head.store_id} as of update {head.seq}.")
    print(f"To go back: stop everything, then `holdfast ledger restore {target}`.")


def export_journal(target: NewFile, directory: Dir = None, config: Config = None) -> None:
    """Write the whole journal to TARGET as JSON lines, while the ledger runs. `ledger restore` and `rebuild` read it."""
    head = _export(settings_of(directory, config), target)
    print(f"{target}: {head.seq:,} updates of store {head.store_id}, {target.stat().st_size:,} bytes")


def _export(settings: "Settings", target: Path) -> "Head":
    from holdfast.store.journal import export
    from holdfast.store.reading import open_reader

    with _told(target), open_reader(settings.ledger.url, settings.dir) as store:
        return export(store, target)


@contextmanager
def _told(target: Path) -> Iterator[None]:
    """What can go wrong with a new file, as the end of the command."""
    import sqlite3

    from holdfast.store.journal import Unusable
    from holdfast.store.reading import StoreMissing

    try:
        yield
    except (StoreMissing, Unusable) as error:
        fail(str(error))
    except FileExistsError:
        fail(f"{target} exists; a backup never overwrites")
    except (OSError, sqlite3.Error) as error:
        target.unlink(missing_ok=True)
        fail(f"{target} could not be written: {error}")


def restore(
    file: Annotated[Path, typer.Argument(help="A backup, or an exported journal.")],
    yes: Yes = False,
    directory: Dir = None,
    config: Config = None,
) -> None:
    """Put FILE in the place of the store, once it is proven whole. The ledger must be stopped; the store that is there is kept aside."""
    settings = settings_of(directory, config)
    if settings.ledger.url:
        _restore_postgres(settings.ledger.url, file, yes=yes)
    else:
        _restore_sqlite(settings, file, yes=yes)
    print(
        "Start everything again. If the ledger then says that the bus is ahead of its store: `holdfast ledger republish`."
    )
    print("What the venue did after the backup is read from it again; see docs/backup-and-restore.md.")


def _restore_sqlite(settings: "Settings", file: Path, *, yes: bool) -> None:
    from holdfast.store.journal import Unusable
    from holdfast.store.opening import sqlite_path
    from holdfast.store.restore import discard, head_of, prepare

    path = sqlite_path(settings.dir)
    lock = ledger_lock(settings, "holdfast ledger restore")
    new = path.with_name("ledger-restoring.db")
    try:
        discard(new)
        try:
            head = prepare(file, new)
        except Unusable as error:
            fail(f"nothing was changed; {file}: {error}")
        except OSError as error:
            fail(f"nothing was changed; {file} cannot be restored: {error}")
        now = head_of(path)
        print(f"{file}: store {head.store_id} as of update {head.seq}, whole")
        print(f"{path}: {_described(now, path)}")
        try:
            _agree("Put the first in the place of the second?", yes=yes)
            _swap(new, path, max(head.epoch, now.epoch if now else 0))
        finally:
            discard(new)
    finally:
        lock.release()


def _restore_postgres(url: str, file: Path, *, yes: bool) -> None:
    from holdfast.runtime.faults import Terminal, Transient
    from holdfast.store.journal import Unusable
    from holdfast.store.restore_postgres import restore as restore_tables

    def agree(head: "Head", now: "Head | None") -> None:
        print(f"{file}: store {head.store_id} as of update {head.seq}, whole")
        print(f"the database: {'nothing' if now is None else f'store {now.store_id} as of update {now.seq}'}")
        _agree("Put the first in the place of the second?", yes=yes)

    try:
        kept = restore_tables(url, file, agree, _stamp())
    except (Unusable, Terminal, Transient, OSError) as error:
        fail(f"nothing was changed; {file}: {error}")
    print(f"done; what was there is kept in the schema {kept}" if kept else "done")


def _described(now: "Head | None", path: Path) -> str:
    if now is not None:
        return f"store {now.store_id} as of update {now.seq}"
    return "cannot be read" if path.exists() else "not there"


def _agree(question: str, *, yes: bool) -> None:
    if yes:
        return
    if not sys.stdin.isatty():
        fail("nothing was changed; say --yes if that is what you want", 2)
    if not typer.confirm(question):
        fail("nothing was changed")


def _swap(new: Path, path: Path, epoch: int) -> None:
    from holdfast.store.restore import put_in_place

    try:
        kept = put_in_place(new, path, epoch, _stamp())
    except OSError as error:
        fail(f"{path} was not replaced: {error}")
    print(f"done; what was there is kept as {kept}" if kept is not None else "done")


def _stamp() -> str:
    """Now, as a part of a name."""
    from datetime import UTC, datetime

    from holdfast.runtime.clock import SystemClock

    seconds, ms = divmod(SystemClock().wall_ms(), 1000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y%m%dt%H%M%S}{ms:03}z"


def rebuild(
    source: Annotated[str, typer.Option("--from", help="`journal`: of the store itself; or a file made by export-journal.")] = "journal",
    swap: Annotated[bool, typer.Option("--swap", help="Put the rebuilt store in the place of the store; the ledger must be stopped.")] = False,
    yes: Yes = False,
    directory: Dir = None,
    config: Config = None,
) -> None:  # fmt: skip
    """Make every table anew from the journal, in a file of its own, and compare. Exit code 1 where the two differ, unless swapped."""
    settings = settings_of(directory, config)
    if settings.ledger.url:
        fail(
            "a PostgreSQL store is rebuilt by `holdfast ledger export-journal FILE`, and `holdfast ledger restore FILE`"
        )
    from holdfast.store.opening import sqlite_path

    path = sqlite_path(settings.dir)
    new = path.with_name("ledger-rebuilt.db")
    lock = ledger_lock(settings, "holdfast ledger rebuild") if swap else None
    try:
        head = _rebuild(source, path, new)
        print(f"{new}: store {head.store_id} as of update {head.seq}, rebuilt and whole")
        same = _compare(path, new)
        if swap:
            _agree("Put it in the place of the store?", yes=yes)
            _swap(new, path, head.epoch)
        elif not same:
            print("To use it: stop the ledger, remove that file, and repeat with --swap.")
            raise typer.Exit(FAILED)
    finally:
        if lock is not None:
            lock.release()


def _rebuild(source: str, path: Path, new: Path) -> "Head":
    import sqlite3

    from holdfast.runtime.faults import Terminal
    from holdfast.store.journal import FileJournal, StoreJournal, Unusable
    from holdfast.store.reading import SqliteReader, StoreMissing
    from holdfast.store.rebuild import rebuild_sqlite
    from holdfast.store.restore import discard, prove

    if new.exists():
        fail(f"{new} exists: it is left from an earlier rebuild. Remove it")
    try:
        if source == "journal":
            with SqliteReader(path) as store:
                rebuild_sqlite(StoreJournal(store), new)
        else:
            rebuild_sqlite(FileJournal(Path(source)), new)
        return prove(new)
    except (StoreMissing, Unusable, Terminal, sqlite3.Error, OSError) as error:
        discard(new)
        fail(f"nothing was rebuilt: {error}. Restore a backup: see docs/backup-and-restore.md")


def _compare(path: Path, new: Path) -> bool:
    """Whether the two stores hold the same; says where not."""
    import sqlite3

    from holdfast.store.reading import SqliteReader, StoreMissing
    from holdfast.store.rebuild import differences

    try:
        with SqliteReader(path) as old, SqliteReader(new) as made:
            counts = differences(old, made)
    except (StoreMissing, sqlite3.Error) as error:
        print(f"it cannot be compared: {path} cannot be read ({error})")
        return False
    for table, count in counts.items():
        print(f"  {table}: {count} rows differ")
    print("the two differ" if counts else f"the same as {path}, row for row")
    return not counts
