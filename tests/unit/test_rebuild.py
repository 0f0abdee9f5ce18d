"""Backups, exported journals and rebuilt tables: whole, the same to the last digit, and nothing half is ever left or used."""

import json
import sqlite3

import orjson
import pytest

from holdfast.contracts.messages import Control
from holdfast.store.journal import FileJournal, StoreJournal, Unusable, export
from holdfast.store.reading import PostgresReader, SqliteReader
from holdfast.store.rebuild import differences, rebuild_sqlite
from holdfast.store.restore import prepare
from holdfast.store.restore_postgres import STAGE
from holdfast.store.restore_postgres import restore as restore_postgres
from holdfast.store.verify import verify
from tests.unit._postgres import Server
from tests.unit._store import NOW, Books


@pytest.fixture
async def books(tmp_path):
    books = Books(tmp_path)
    await books.story()
    yield books
    books.close()


def broken(store):
    return {check.check: check.problems for check in verify(store) if not check.passed}


def test_the_tables_are_what_the_journal_makes_of_them(books, tmp_path):
    with SqliteReader(books.path) as store:
        rebuild_sqlite(StoreJournal(store), tmp_path / "new.db")
        with SqliteReader(tmp_path / "new.db") as new:
            assert differences(store, new) == {}
            assert broken(new) == {}
            with pytest.raises(FileExistsError):
                rebuild_sqlite(StoreJournal(store), tmp_path / "new.db")


def test_so_they_are_out_of_an_exported_journal(books, tmp_path):
    with SqliteReader(books.path) as store:
        head = export(store, tmp_path / "journal.jsonl")
        assert (head.seq, head.hash) == books.store.last()
        rebuild_sqlite(FileJournal(tmp_path / "journal.jsonl"), tmp_path / "new.db")
        with SqliteReader(tmp_path / "new.db") as new:
            assert differences(store, new) == {}
            assert broken(new) == {}
            export(new, tmp_path / "again.jsonl")
        with pytest.raises(FileExistsError):
            export(store, tmp_path / "journal.jsonl")
    assert (tmp_path / "again.jsonl").read_bytes() == (tmp_path / "journal.jsonl").read_bytes()


@pytest.mark.parametrize(
    ("harm", "table"),
    [
        ("UPDATE positions SET stop_loss = '1' WHERE side = 'long'", "positions"),
        ("DELETE FROM trades", "trades"),
        ("UPDATE orders SET body = replace(body, 'filled', 'open')", "orders"),
        ("INSERT INTO nav VALUES ('someone', '{}')", "nav"),
        ("DELETE FROM inbox", "inbox"),
    ],
)
async def test_what_differs_is_counted_by_table(books, tmp_path, harm, table):
    with SqliteReader(books.path) as store:
        store.copy_to(tmp_path / "other.db")
    with sqlite3.connect(tmp_path / "other.db") as other:
        other.execute(harm)
    other.close()

    with SqliteReader(books.path) as store, SqliteReader(tmp_path / "other.db") as other:
        assert list(differences(store, other)) == [table]


async def test_a_message_whose_inbox_row_is_lost_is_known_again_by_its_id(books, tmp_path):
    books.store._driver.cursor().execute("DELETE FROM inbox")
    with SqliteReader(books.path) as store:
        assert list(broken(store)) == ["inbox"]
    target = tmp_path / "again" / "ledger" / "ledger.db"
    target.parent.mkdir(parents=True)
    with SqliteReader(books.path) as store:
        rebuild_sqlite(StoreJournal(store), target)

    again = Books(tmp_path / "again")
    before = again.ledger.seq
    await again.tell(Control(id="c-1", at=NOW, state="reduce_only", by="test", why="lunch"))
    assert again.ledger.seq == before
    with SqliteReader(again.path) as store:
        assert broken(store) == {}
    again.close()


def cut(lines):
    return lines[:-2]  # the last is an outcome of a trade, and no update


def forgetful(lines):
    return lines[:-1]


def half(lines):
    return [*lines[:-1], lines[-1][:40]]


def without(lines):
    return [*lines[:3], *lines[4:]]


def flipped(lines):
    return [*lines[:3], lines[3].replace('\\"seq\\":3', '\\"seq\\":4'), *lines[4:]]


def of_tomorrow(lines):
    return [lines[0].replace('"version":2', '"version":3'), *lines[1:]]


def headless(lines):
    return lines[1:]


def nameless(lines):
    return ['{"holdfast":"journal","version":1}', *lines[1:]]


def shapeless(lines):
    return [*lines[:-1], "[1,2]"]


def bare(lines):
    return [*lines[:-1], '{"seq":1}']


HARMED = {
    cut: "the journal ends at update {before}, and should end at {last}: it was cut short",
    forgetful: "has 0 outcomes of trades, and should have 1",
    half: "line {lines}: not JSON, or cut short",
    without: "update 3 is missing from the journal",
    flipped: "update 3 of the journal does not follow from the one before it",
    of_tomorrow: "is of version 3; this Holdfast reads [1, 2]",
    headless: "is no exported journal: its first line does not say so",
    nameless: "line 1: KeyError('store_id')",
    shapeless: "line {lines}: a JSON object is expected",
    bare: "line {lines}: KeyError('kind')",
}


@pytest.mark.parametrize("harm", HARMED, ids=lambda harm: harm.__name__)
def test_an_exported_journal_that_was_harmed_is_refused_and_leaves_nothing(books, tmp_path, harm):
    path, target = tmp_path / "journal.jsonl", tmp_path / "new.db"
    with SqliteReader(books.path) as store:
        last = export(store, path).seq
    lines = path.read_text().splitlines()
    path.write_text("\n".join(harm(lines)))

    with pytest.raises(Unusable) as told:
        prepare(path, target)
    assert HARMED[harm].format(lines=len(lines), last=last, before=last - 1) in str(told.value)
    assert list(tmp_path.glob("new.db*")) == []


def test_a_backup_whose_tables_are_not_what_its_journal_says_is_refused(books, tmp_path):
    with SqliteReader(books.path) as store:
        store.copy_to(tmp_path / "backup.db")
    with sqlite3.connect(tmp_path / "backup.db") as copy:
        copy.execute("DELETE FROM trades")
    copy.close()
    with pytest.raises(Unusable, match=r"it is not whole \(tables: trades"):
        prepare(tmp_path / "backup.db", tmp_path / "new.db")
    assert list(tmp_path.glob("new.db*")) == []


@pytest.mark.parametrize("content", [b"", b"a letter", b"SQLite format 3\0" + b"?" * 5000, b"{}"])
def test_what_is_no_backup_is_refused(tmp_path, content):
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(Unusable):
        prepare(tmp_path / "file", tmp_path / "new.db")
    assert list(tmp_path.glob("new.db*")) == []


# -- PostgreSQL -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def postgres():
    server = Server()
    yield server
    server.stop()


@pytest.mark.postgres
async def test_a_store_moves_to_postgresql_and_back_without_losing_a_digit(books, tmp_path, postgres):
    url, journal, asked = postgres.fresh(), tmp_path / "journal.jsonl", []
    with SqliteReader(books.path) as store:
        store.copy_to(tmp_path / "backup.db")

    assert restore_postgres(url, tmp_path / "backup.db", lambda *ends: asked.append(ends), "1") is None
    moved = Books(tmp_path / "pg", url=url, first=1000)
    await moved.trade("LTC/USDT", "buy", "1", "5")
    moved.close()
    with PostgresReader(url) as store:
        assert broken(store) == {}
        head = export(store, journal)
    rebuild_sqlite(FileJournal(journal), tmp_path / "back.db")

    assert asked[0][1] is None
    assert head.seq == books.ledger.seq + 2
    with PostgresReader(url) as store, SqliteReader(tmp_path / "back.db") as back:
        assert differences(store, back) == {}


@pytest.mark.postgres
async def test_what_was_in_postgresql_is_kept_and_the_epoch_rises_above_it(tmp_path, postgres):
    url = postgres.fresh()
    books = Books(tmp_path, url=url)
    await books.trade("BTC/USDT", "buy", "1", "100")
    with PostgresReader(url) as store:
        export(store, tmp_path / "journal.jsonl")
    await books.trade("BTC/USDT", "buy", "1", "100")
    with pytest.raises(Unusable, match="stop the ledger first"):
        restore_postgres(url, tmp_path / "journal.jsonl", lambda *_: None, "1")
    books.close()

    assert restore_postgres(url, tmp_path / "journal.jsonl", lambda *_: None, "2") == "holdfast_before_2"

    again = Books(tmp_path, url=url)
    assert (again.ledger.seq, again.store.epoch) == (2, books.store.epoch + 2)
    assert again.store.query("SELECT count(*) FROM holdfast_before_2.updates") == [(4,)]
    assert again.store.query("SELECT count(*) FROM pg_namespace WHERE nspname = %s", (STAGE,)) == [(0,)]
    again.close()


@pytest.mark.postgres
async def test_a_restore_into_postgresql_that_is_not_agreed_to_changes_nothing(tmp_path, postgres):
    url = postgres.fresh()
    books = Books(tmp_path, url=url)
    await books.trade("BTC/USDT", "buy", "1", "100")
    with PostgresReader(url) as store:
        export(store, tmp_path / "journal.jsonl")
    books.close()

    def no(*_):
        raise Unusable("no")

    with pytest.raises(Unusable, match="no"):
        restore_postgres(url, tmp_path / "journal.jsonl", no, "1")
    lines = (tmp_path / "journal.jsonl").read_text().splitlines()
    (tmp_path / "journal.jsonl").write_text("\n".join(lines[:-1]))
    with pytest.raises(Unusable, match="cut short"):
        restore_postgres(url, tmp_path / "journal.jsonl", lambda *_: None, "1")

    again = Books(tmp_path, url=url)
    assert again.ledger.seq == 2
    again.close()
    assert json.loads(lines[0])["seq"] == orjson.loads(lines[-1])["seq"] == 2
