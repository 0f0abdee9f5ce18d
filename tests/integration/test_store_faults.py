"""Each way in which a store's files can be harmed: what the ledger says and ends with, and that what it says to do works.

A store with some trades and a backup of it; then the harm; then a ledger is started. It never starts on less than the truth
without saying so. Afterwards the way back that its message names is gone, and the ledger stands where it stood.
"""

import asyncio
import os
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from holdfast.contracts.codes import ExitReason
from holdfast.runtime.clock import SystemClock
from holdfast.runtime.faults import EXIT_TERMINAL, Terminal
from holdfast.runtime.ids import SystemIds
from holdfast.runtime.settings import Settings
from holdfast.store.opening import open_store, sqlite_path
from holdfast.store.soundness import mark_of
from services.ledger.app import build, rules_of
from services.ledger.service import Ledger
from tests.integration._cli import Desk
from tests.unit._store import Books

NOWHERE = "redis://127.0.0.1:1/0"
BACK = (
    "Put the file back, or restore a backup: `holdfast ledger restore FILE`. See docs/backup-and-restore.md"
)
DAMAGED = "Restore a backup, or rebuild the tables from the journal: see docs/backup-and-restore.md"


class Store:
    """A store under *directory*, closed; `backup` is a copy of it, `seq` where it stands."""

    def __init__(self, directory: Path) -> None:
        self.directory, self.path = directory, sqlite_path(directory)
        self.backup = directory / "backup.db"
        self.desk = Desk(directory, NOWHERE)
        self.seq = 0

    async def fill(self) -> None:
        books = Books(self.directory)
        for number in range(30):
            await books.trade(f"C{number}/USDT", "buy", "1", "100")
        for number in range(10):
            await books.trade(f"C{number}/USDT", "sell", "1", "110", reason=ExitReason.CLOSE)
        self.seq = books.ledger.seq
        self.kill(books)
        self.desk.ok("ledger", "backup", self.backup)

    def kill(self, books: Books) -> None:
        """As kill -9 leaves it: nothing folded in, and the mark says that a ledger is at work."""
        left = [self.path, self.mark, *(self.beside(end) for end in ("-wal", "-shm"))]
        for file in left:
            shutil.copy(file, file.with_name(file.name + ".left"))
        books.close()
        for file in left:
            file.with_name(file.name + ".left").replace(file)

    @property
    def mark(self) -> Path:
        return mark_of(self.path)

    def beside(self, end: str) -> Path:
        return self.path.with_name(self.path.name + end)

    def fold_in(self) -> None:
        """Everything is in the database file, as after a clean end."""
        self.start().close()

    def start(self) -> Ledger:
        """As the service does. Raises Terminal."""
        settings = Settings(dir=self.directory)
        store = open_store(url="", directory=self.directory, who="ledger", ids=SystemIds(SystemClock()))
        try:
            return Ledger(
                store,
                rules_of(settings),
                clock=SystemClock(),
                snapshot_every_updates=10,
                snapshot_every_ms=10,
            )
        except BaseException:
            store.close()
            raise

    def sql(self, *statements: str) -> None:
        with sqlite3.connect(self.path) as connection:
            for statement in statements:
                assert connection.execute(statement).rowcount, statement
        connection.close()


@pytest.fixture
async def store(tmp_path):
    store = Store(tmp_path)
    await store.fill()
    return store


# -- harms ----------------------------------------------------------------------------------------------------------------


def overwritten(table: str) -> Callable[[Store], None]:
    """The first page of a table's tree, overwritten."""

    def harm(store: Store) -> None:
        store.fold_in()
        with sqlite3.connect(store.path) as connection:
            ((page,),) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = ?", (table,))
        connection.close()
        content = bytearray(store.path.read_bytes())
        content[(page - 1) * 4096 : page * 4096] = bytes(range(256)) * 16
        store.path.write_bytes(content)

    return harm


def cut_short(store: Store) -> None:
    store.fold_in()
    os.truncate(store.path, store.path.stat().st_size // 2)


def one_byte(wanted: bytes, instead: bytes) -> Callable[[Store], None]:
    """The last place of the file that says *wanted* says something else: no page's checksum tells."""

    def harm(store: Store) -> None:
        store.fold_in()
        content = store.path.read_bytes()
        at = content.rindex(wanted)
        store.path.write_bytes(content[:at] + instead + content[at + len(wanted) :])

    return harm


def emptied(store: Store) -> None:
    store.path.write_bytes(b"")


def gone(store: Store) -> None:
    store.path.unlink()


def log_gone(store: Store) -> None:
    store.beside("-wal").unlink()


def all_gone(store: Store) -> None:
    for end in ("", "-wal", "-shm"):
        store.beside(end).unlink()


def a_letter(store: Store) -> None:
    store.path.write_bytes(b"this is a letter, not a database" * 100)


def foreign(store: Store) -> None:
    all_gone(store)
    store.mark.unlink()
    with sqlite3.connect(store.path) as other:
        other.execute("CREATE TABLE orders (pizza TEXT)")
    other.close()


def of_another_program(store: Store) -> None:
    foreign(store)
    with sqlite3.connect(store.path) as other:
        other.execute("CREATE TABLE alembic_version (version_num TEXT)")
        other.execute("INSERT INTO alembic_version VALUES ('ae1027a6acf')")
    other.close()


def folded(*statements: str) -> Callable[[Store], None]:
    def harm(store: Store) -> None:
        store.fold_in()
        store.sql(*statements)

    return harm


def went_on(store: Store, number: int = 1000) -> bytes:
    """The store goes on by two updates, and is killed; what its database file was before."""
    store.fold_in()
    old = store.path.read_bytes()
    books = Books(store.directory, first=number)
    asyncio.run(books.trade(f"LATE{number}/USDT", "buy", "1", "100"))
    store.kill(books)
    return old


def under_a_later_log(store: Store) -> None:
    """An old copy put into the place of the store, under the log that a killed ledger left there."""
    old = went_on(store)
    went_on(store, 2000)
    store.path.write_bytes(old)


def stale(store: Store) -> None:
    """A backup put into the place of the store by hand, its log removed as it should be."""
    went_on(store)
    store.fold_in()
    shutil.copy(store.backup, store.path)


HARMS: dict[str, tuple[Callable[[Store], None], str]] = {
    "a corrupted page of the journal": (overwritten("updates"), "the store {path} is damaged: "),
    "a corrupted page of the positions": (overwritten("positions"), "the store {path} is damaged: "),
    "a truncated file": (cut_short, "the store {path} "),
    "a flipped byte in the journal": (
        one_byte(b'"strategy":"s"', b'"strategy":"t"'),
        "the store is damaged: update {any} of the journal does not follow from the one before it. " + DAMAGED,
    ),
    "a byte in the journal that is no text": (one_byte(b'"strategy":"s"', b'"strategy":"\xff"'), "the store {path} is damaged: "),
    "a flipped byte in a position": (
        folded("UPDATE positions SET body = replace(body, '\"stop_loss\":\"90\"', '\"stop_loss\":\"80\"') WHERE book_id LIKE '%C20/%'"),
        "the store is damaged: the columns of positions {any} do not say what its body says. " + DAMAGED,
    ),
    "a row missing from the journal": (
        folded("DELETE FROM updates WHERE seq = 50"), "the store is damaged: update 50 is missing from the journal. " + DAMAGED,
    ),
    "an epoch of before": (
        folded("UPDATE store SET epoch = -4"),
        "the store is damaged: its journal was written in epoch 1, the store says -4. " + DAMAGED,
    ),
    "no name": (folded("DELETE FROM store"), "the store is damaged: it has a journal, and no name. " + DAMAGED),
    "a table missing": (folded("DROP TABLE trades"), "the store {path} is damaged: table trades is missing. " + DAMAGED),
    "an empty file": (emptied, "the store {path} is empty: its content is lost. " + BACK),
    "a log without its database": (gone, "the store {path} is missing, and ledger.db-wal says that there was one. " + BACK),
    "a database without its log": (
        log_gone,
        "the store {path} was not closed, and its write-ahead log ledger.db-wal is missing: what was committed last may be lost. " + BACK,
    ),
    "nothing left": (all_gone, "the store {path} is missing, and ledger.mark says that there was one. " + BACK),
    "a letter": (a_letter, "the store {path} is damaged, or is no SQLite database. " + BACK),
    "a database of another program": (foreign, "the store {path} is not one of Holdfast's: it has tables (orders) and no schema version of ours."),
    "a database that another program migrates": (of_another_program, "the store {path} is not one of Holdfast's: its schema is ae1027a6acf."),
    "an old copy under a later log": (under_a_later_log, "the store "),
    "a stale backup": (
        stale, "the store {path} ends at update 80, and the last ledger left it at 82: it is an older copy. " + BACK,
    ),
}  # fmt: skip


def says(error: Terminal, expected: str, store: Store) -> bool:
    """Whether the error says exactly *expected*, or begins with it where SQLite's own words follow."""
    head, _, tail = expected.format(path=store.path, any="\0").partition("\0")
    text = str(error)
    return text.startswith(head) and (not tail or text.endswith(tail))


@pytest.mark.parametrize("what", HARMS)
def test_harm_is_told_and_never_used_and_a_restore_brings_the_store_back(store, what):
    harm, expected = HARMS[what]
    harm(store)

    for _ in range(2):  # the first refusal must not make the second start
        with pytest.raises(Terminal) as told:
            store.start()
        assert says(told.value, expected, store), str(told.value)
        assert told.value.code == EXIT_TERMINAL

    before = store.path.read_bytes() if store.path.exists() else None
    assert "done" in store.desk.ok("ledger", "restore", store.backup, "--yes")
    ledger = store.start()
    assert ledger.seq == store.seq
    ledger.close()
    assert all(row["passed"] for row in store.desk.rows("ledger", "verify"))
    if before is not None:
        (kept,) = store.path.parent.glob("ledger-before-*.db")
        assert kept.read_bytes() == before


REBUILT = ["a flipped byte in a position", "a corrupted page of the positions", "a table missing"]


@pytest.mark.parametrize("what", REBUILT)
def test_what_is_wrong_with_the_tables_alone_is_mended_from_the_journal(store, what):
    HARMS[what][0](store)

    told = store.desk.run("ledger", "rebuild", "--from", "journal")
    assert told.exit_code == 1, told.output
    assert "rebuilt and whole" in told.stdout
    with pytest.raises(Terminal):
        store.start()
    (store.path.parent / "ledger-rebuilt.db").unlink()

    assert "done; what was there is kept as" in store.desk.ok("ledger", "rebuild", "--swap", "--yes")
    ledger = store.start()
    assert ledger.seq == store.seq
    assert len(ledger.state.positions) == 20
    ledger.close()
    assert all(row["passed"] for row in store.desk.rows("ledger", "verify"))


JOURNAL_HARMED = [
    "a flipped byte in the journal", "a corrupted page of the journal", "a byte in the journal that is no text",
    "a row missing from the journal",
]  # fmt: skip


@pytest.mark.parametrize("what", JOURNAL_HARMED)
def test_a_harmed_journal_makes_no_store(store, what):
    HARMS[what][0](store)

    told = store.desk.run("ledger", "rebuild", "--swap", "--yes")
    assert told.exit_code == 1
    assert "nothing was rebuilt: " in told.stderr
    assert "Restore a backup" in told.stderr
    assert list(store.path.parent.glob("ledger-*.db*")) == []
    assert store.desk.run("ledger", "export-journal", store.directory / "journal.jsonl").exit_code == 1
    assert not (store.directory / "journal.jsonl").exists()
    verified = store.desk.run("ledger", "verify")
    assert verified.exit_code == 1
    assert "broken: " in verified.stdout


def test_what_a_kill_leaves_is_whole(store):
    """The log is there, as the mark says that it must be."""
    ledger = store.start()
    assert ledger.seq == store.seq
    ledger.close()
    assert sorted(path.name for path in store.path.parent.iterdir()) == [
        "ledger.db",
        "ledger.lock",
        "ledger.mark",
    ]


def test_a_log_that_was_put_back_is_taken(store):
    away = store.directory / "away"
    store.beside("-wal").replace(away)
    with pytest.raises(Terminal):
        store.start()
    away.replace(store.beside("-wal"))

    ledger = store.start()
    assert ledger.seq == store.seq
    ledger.close()


def test_a_database_whose_log_somebody_folded_in_is_accepted_on_a_persons_word(store):
    """As the tool `sqlite3` does when it looks into a store after a kill."""
    with sqlite3.connect(store.path) as tool:
        tool.execute("SELECT count(*) FROM updates").fetchall()
    tool.close()
    assert not store.beside("-wal").exists()
    with pytest.raises(Terminal, match="was not closed"):
        store.start()

    store.desk.ok("ledger", "restore", store.path, "--yes")
    ledger = store.start()
    assert ledger.seq == store.seq
    ledger.close()


def test_the_service_ends_with_the_message_and_the_code(store):
    emptied(store)
    with pytest.raises(Terminal, match="is empty") as told:
        build(Settings(dir=store.directory, bus={"url": NOWHERE}))
    assert told.value.code == EXIT_TERMINAL
