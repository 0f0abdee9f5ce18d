"""Stores of every released schema, as the released code wrote them, are opened, whole, and traded on by the code as it is.

`tests/unit/released/REVISION.sql` is what `sqlite3.Connection.iterdump` made of a store that the code of that release had written
(`Books.story` in `tests/unit/_store.py`). A new revision needs one from the last release that wrote the schema before it.
"""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from holdfast.contracts.codes import ExitReason
from holdfast.contracts.messages import Control
from holdfast.runtime.faults import Terminal
from holdfast.store.journal import Unusable, export
from holdfast.store.opening import HEAD, MIGRATIONS, sqlite_path
from holdfast.store.reading import SqliteReader
from holdfast.store.restore import prepare
from holdfast.store.verify import verify
from tests.unit._store import NOW, Books

RELEASED = Path(__file__).parent / "released"
REVISIONS_WRITTEN = sorted(path.stem for path in RELEASED.glob("*.sql"))
UPDATES = dict.fromkeys(REVISIONS_WRITTEN, 24) | {"0003": 25}
"""How many each of them holds: the story has grown since."""
REVISIONS = sorted(path.name[1:5] for path in (MIGRATIONS / "versions").glob("s[0-9]*.py"))


def written(revision: str, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(path)) as store:
        store.executescript((RELEASED / f"{revision}.sql").read_text(encoding="utf-8"))
    return path


def failed(path: Path) -> dict[str, list[str]]:
    with SqliteReader(path) as store:
        return {check.check: check.problems for check in verify(store) if not check.passed}


def test_every_released_schema_has_its_store_and_the_last_is_the_codes():
    assert REVISIONS[-1] == HEAD
    assert {path.stem for path in RELEASED.glob("*.sql")} >= set(REVISIONS[:-1])
    assert {path.stem for path in RELEASED.glob("*.sql")} <= set(REVISIONS)


@pytest.mark.parametrize("revision", sorted(path.stem for path in RELEASED.glob("*.sql")))
async def test_a_store_of_a_released_schema_is_opened_and_traded_on(tmp_path, revision):
    path = written(revision, sqlite_path(tmp_path))

    books = Books(tmp_path, first=1000)
    assert books.store.query("SELECT version_num FROM alembic_version") == [(HEAD,)]
    assert (books.ledger.seq, len(books.ledger.state.positions)) == (UPDATES[revision], 3)
    assert failed(path) == {}
    await books.tell(Control(id="c-2", at=NOW, state="active", by="test", why="lunch is over"))
    await books.trade("BTC/USD", "sell", "400", "32000", reason=ExitReason.CLOSE, kind="inverse")
    await books.trade("LTC/USDT", "buy", "1", "5")
    books.close()

    again = Books(tmp_path)
    assert (again.ledger.seq, len(again.ledger.state.positions)) == (UPDATES[revision] + 5, 3)
    again.close()
    assert failed(path) == {}


@pytest.mark.parametrize("revision", sorted(path.stem for path in RELEASED.glob("*.sql")))
def test_a_store_that_this_code_has_not_opened_yet_is_verified_and_exported_as_it_is(tmp_path, revision):
    path = written(revision, tmp_path / "ledger.db")
    assert failed(path) == {}
    with SqliteReader(path) as store:
        assert export(store, tmp_path / "journal.jsonl").seq == UPDATES[revision]
    assert prepare(tmp_path / "journal.jsonl", tmp_path / "new.db").seq == UPDATES[revision]


@pytest.mark.parametrize("revision", sorted(path.stem for path in RELEASED.glob("*.sql")))
def test_a_backup_of_a_released_schema_is_restored(tmp_path, revision):
    head = prepare(written(revision, tmp_path / "backup.db"), tmp_path / "new.db")
    assert head.seq == UPDATES[revision]
    assert failed(tmp_path / "new.db") == {}


def test_a_backup_of_newer_code_is_refused(tmp_path):
    path = written(REVISIONS_WRITTEN[-1], tmp_path / "backup.db")
    with closing(sqlite3.connect(path)) as store:
        store.execute("UPDATE alembic_version SET version_num = '0999'")
        store.commit()
    with pytest.raises(Unusable, match="schema 0999; this is Holdfast for schema"):
        prepare(path, tmp_path / "new.db")
    assert not (tmp_path / "new.db").exists()
    sqlite_path(tmp_path).parent.mkdir()
    path.replace(sqlite_path(tmp_path))
    with pytest.raises(Terminal, match="Use the newer version"):
        Books(tmp_path)
