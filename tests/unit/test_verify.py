"""`ledger verify`: a store that the ledger wrote is whole; break any one promise in it, and the check of that name says so."""

import dataclasses
import sqlite3
from decimal import Decimal

import orjson
import psycopg
import pytest

from holdfast.store import refold
from holdfast.store.batch import GENESIS, chain
from holdfast.store.reading import PostgresReader, SqliteReader, StoreMissing
from holdfast.store.verify import CHECKS, MOST_PROBLEMS, verify
from tests.unit._postgres import Server
from tests.unit._store import Books


@pytest.fixture(scope="module")
def postgres():
    server = Server()
    yield server
    server.stop()


@pytest.fixture
async def books(tmp_path):
    books = Books(tmp_path)
    await books.story()
    yield books
    books.close()


def failed(path):
    """Names of the checks that failed, with their problems."""
    with SqliteReader(path) as store:
        return {check.check: check.problems for check in verify(store) if not check.passed}


def change(path, *statements):
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA ignore_check_constraints=ON")
        for statement, *values in statements:
            assert connection.execute(statement, values).rowcount > 0, statement
    connection.close()


def rewrite(path, edit, *, rehash):
    """Let *edit* change journal documents; with *rehash* whoever did it also mended the chain."""
    connection, hashed = sqlite3.connect(path), GENESIS
    for seq, given, body in connection.execute("SELECT seq, hash, body FROM updates ORDER BY seq").fetchall():
        document = orjson.loads(body)
        edit(document)
        text = orjson.dumps(document).decode()
        text = body if orjson.loads(body) == document else text
        hashed = chain(hashed, text.encode()) if rehash else given
        connection.execute("UPDATE updates SET body = ?, hash = ? WHERE seq = ?", (text, hashed, seq))
    connection.commit()
    connection.close()


async def test_a_store_that_the_ledger_wrote_is_whole_while_the_ledger_has_it_open(books):
    with SqliteReader(books.path) as store:
        checks = verify(store)
    assert {check.check: check.problems for check in checks if not check.passed} == {}
    assert list(CHECKS) == [check.check for check in checks]
    counts = {check.check: check.count for check in checks}
    assert counts["chain"] == books.ledger.seq
    assert (counts["fills"], counts["arithmetic"], counts["trades"], counts["reasons"]) == (12, 11, 2, 2)
    assert counts["sums"] == 3, "BTC, ETH and XRP; not the inverse book"
    assert all(count > 0 for count in counts.values())


def test_an_empty_store_is_whole(tmp_path):
    books = Books(tmp_path)
    books.close()
    assert failed(books.path) == {}


def test_no_store_is_said_so(tmp_path):
    with pytest.raises(StoreMissing, match="no store at"):
        SqliteReader(tmp_path / "ledger.db")
    (tmp_path / "noise.db").write_bytes(b"noise" * 1000)
    with pytest.raises(StoreMissing, match="cannot be read"):
        SqliteReader(tmp_path / "noise.db")


async def test_a_reader_sees_one_moment_while_the_ledger_goes_on(books):
    with SqliteReader(books.path) as store:
        before = next(iter(store.rows("SELECT count(*) FROM updates")))
        await books.trade("LTC/USDT", "buy", "1", "5")
        assert next(iter(store.rows("SELECT count(*) FROM updates"))) == before
        assert all(check.passed for check in verify(store))


TAMPERED = {
    "a hash": ("chain", "UPDATE updates SET hash = 'x' WHERE seq = 3"),
    "a body": ("chain", "UPDATE updates SET body = replace(body, '\"3\"', '\"4\"') WHERE seq = 2"),
    "a missing update": ("chain", "DELETE FROM updates WHERE seq = 4"),
    "a kind": ("chain", "UPDATE updates SET kind = 'status' WHERE seq = 2"),
    "another store": ("chain", "UPDATE store SET store_id = 'sother'"),
    "a position's body": ("tables", "UPDATE positions SET body = replace(body, '\"entry_price\":\"', '\"entry_price\":\"1')"),
    "a position that is gone": ("tables", "DELETE FROM positions WHERE side = 'short'"),
    "an order's state": ("tables", "UPDATE orders SET body = replace(body, 'filled\",\"red', 'open\",\"red')"),
    "a total": ("tables", "UPDATE totals SET body = replace(body, '\"trades\":1', '\"trades\":2')"),
    "control": ("tables", "DELETE FROM control"),
    "an executor's epoch": ("tables", "UPDATE executors SET epoch = 7"),
    "a column": ("columns", "UPDATE positions SET quantity = '6.9' WHERE book_id = 'main/paper/ETH/USDT'"),
    "live": ("columns", "UPDATE orders SET live = 0 WHERE live = 1"),
    "a bare position": ("constraints", "UPDATE positions SET stop_loss = '0'"),
    "a fill that is gone": ("fills", "DELETE FROM fills WHERE symbol = 'ETH/USDT'"),
    "a fill's content": ("fills", "UPDATE fills SET digest = 'x' WHERE symbol = 'BTC/USD'"),
    "an update of a later epoch": ("chain", "UPDATE store SET epoch = 0"),
    "a message that is not remembered": ("inbox", "DELETE FROM inbox WHERE message_id = 'c-1'"),
    "a message remembered elsewhere": ("inbox", "UPDATE inbox SET seq = 1 WHERE message_id = 'c-1'"),
    "a message of nowhere": ("inbox", "UPDATE inbox SET seq = 999 WHERE message_id = 'c-1'"),
    "an order without its intent": ("intents", "DELETE FROM intents WHERE intent_id = 'i-1'"),
}  # fmt: skip


NEEDS_NO_CHECK = {
    "a bare position": "ALTER TABLE positions DROP CONSTRAINT positions_stop_loss, DROP CONSTRAINT positions_exits_apart"
}
"""What PostgreSQL must be talked out of first."""


@pytest.mark.postgres
@pytest.mark.parametrize("what", TAMPERED)
async def test_so_it_is_in_postgresql(tmp_path, postgres, what):
    check, statement = TAMPERED[what]
    books = Books(tmp_path, url=postgres.fresh())
    await books.story()
    books.close()
    with PostgresReader(books.url) as store:
        assert [one.check for one in verify(store) if not one.passed] == []

    with psycopg.connect(books.url) as connection:
        connection.execute(NEEDS_NO_CHECK.get(what, "SELECT 1"))
        assert connection.execute(statement).rowcount > 0
    with PostgresReader(books.url) as store:
        assert check in {one.check for one in verify(store) if not one.passed}


@pytest.mark.parametrize("what", TAMPERED)
async def test_what_is_tampered_with_is_found(books, what):
    check, statement = TAMPERED[what]
    change(books.path, (statement,))
    found = failed(books.path)
    assert check in found, found
    assert all(1 <= len(problems) <= MOST_PROBLEMS for problems in found.values())


def _first_fill(change_it):
    def edit(document):
        if document["seq"] == 2:
            change_it(document)

    return edit


def _every(table, name, value):
    def edit(document):
        for row in document.get(table, ()):
            row[name] = value

    return edit


JOURNALED = {
    "a fill's quantity": ("arithmetic", _first_fill(lambda it: it["fills"][0].update(quantity="2.9999"))),
    "a fill's price": ("arithmetic", _first_fill(lambda it: it["fills"][0].update(price="100.0000000001"))),
    "a fill twice": ("fills", _first_fill(lambda it: it["fills"].append(it["fills"][0]))),
    "no position shown": ("arithmetic", _first_fill(lambda it: it.pop("positions"))),
    "a trade's exit price": ("trades", _every("trades", "exit_price", "100")),
    "a trade's profit": ("trades", _every("trades", "realized_pnl", "1000000")),
    "no trade": ("trades", lambda it: it.pop("trades", None)),
    "another reason": ("reasons", _every("trades", "exit_reason", "ttl")),
    "a stop that was not reached": ("reasons", _every("trades", "stop_loss", "1")),
    "an order's filled sum": ("orders", _every("orders", "filled", "0.5")),
    "an intent that ends twice": ("intents", _every("intents", "intent_id", "i-1")),
}


@pytest.mark.parametrize("what", JOURNALED)
async def test_a_journal_that_was_rewritten_with_its_chain_mended_is_found(books, what):
    check, edit = JOURNALED[what]
    rewrite(books.path, edit, rehash=True)
    found = failed(books.path)
    assert check in found, found
    assert "chain" not in found


async def test_totals_that_do_not_add_up_are_found_even_where_journal_and_table_agree(books):
    wrong = _every("totals", "realized_pnl", "5")
    rewrite(books.path, wrong, rehash=True)
    change(books.path, ("UPDATE totals SET body = json_set(body, '$.realized_pnl', '5')",))
    assert list(failed(books.path)) == ["totals"]


async def test_arithmetic_that_loses_a_crumb_is_found_by_the_sums_that_know_nothing_of_positions(
    books, monkeypatch
):
    honest = refold.apply_fill

    def careless(*args, **named):
        folded = honest(*args, **named)
        return dataclasses.replace(folded, realized=folded.realized + Decimal("1e-20"))

    monkeypatch.setattr(refold, "apply_fill", careless)
    assert "sums" in failed(books.path)


async def test_a_journal_that_was_rewritten_is_found_by_its_chain(books):
    rewrite(books.path, JOURNALED["a fill's quantity"][1], rehash=False)
    assert "chain" in failed(books.path)


async def test_a_book_that_holds_two_sides_is_found(books):
    edit = 'UPDATE books SET body = replace(body, \'"side":"short"\', \'"side":"long"\') WHERE book_id = \'main/paper/ETH/USDT\''
    change(books.path, (edit,))
    assert "INV-1" in failed(books.path)["invariants"][0]


async def test_a_copy_is_whole_and_never_overwrites(books, tmp_path):
    target = tmp_path / "copy.db"
    with SqliteReader(books.path) as store:
        await books.trade("LTC/USDT", "buy", "1", "5")
        store.copy_to(target)
        with pytest.raises(FileExistsError):
            store.copy_to(target)
    assert failed(target) == {}
    with SqliteReader(target) as copy, pytest.raises(sqlite3.OperationalError, match="readonly"):
        copy._connection.execute("DELETE FROM store")


async def test_a_constraint_that_is_gone_is_found_in_sqlite(books):
    with sqlite3.connect(books.path) as connection:
        connection.executescript(
            "CREATE TABLE bare AS SELECT * FROM positions; DROP TABLE positions; ALTER TABLE bare RENAME TO positions"
        )
    connection.close()
    problems = failed(books.path)
    assert list(problems) == ["constraints"]
    assert "positions: its constraint positions_entry_price is missing" in problems["constraints"]


@pytest.mark.postgres
async def test_a_constraint_that_is_gone_is_found_in_postgresql(tmp_path, postgres):
    books = Books(tmp_path, url=postgres.fresh())
    await books.story()
    books.close()
    with psycopg.connect(books.url) as connection:
        connection.execute("ALTER TABLE positions DROP CONSTRAINT positions_side_of_book")

    with PostgresReader(books.url) as store:
        (found,) = [check for check in verify(store) if not check.passed]
    assert (found.check, found.problems) == (
        "constraints", ["positions: its constraint positions_side_of_book is missing"],
    )  # fmt: skip


async def test_progress_is_told(tmp_path, monkeypatch):
    books, told = Books(tmp_path), []
    await books.story()
    monkeypatch.setattr("holdfast.store.verify.EVERY", 5)
    with SqliteReader(books.path) as store:
        verify(store, told.append)
    books.close()
    assert told == list(range(5, books.ledger.seq + 1, 5))
