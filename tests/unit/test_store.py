"""The store, on SQLite and on PostgreSQL: one writer, one transaction, nothing half, nothing unreadable taken for empty."""

import asyncio
import itertools
import shutil
import sqlite3
from contextlib import closing
from decimal import Decimal

import pytest

from holdfast.domain.ledger_state import LedgerState
from holdfast.runtime.faults import EXIT_HELD, EXIT_TERMINAL, Terminal, Transient
from holdfast.runtime.ids import SystemIds
from holdfast.store import schema
from holdfast.store.batch import GENESIS, Batch
from holdfast.store.opening import HEAD, open_store, sqlite_path
from holdfast.store.store import ConstraintBroken
from tests.unit._ledger import BOOK, ETH, Desk, FakeClock, as_entry, entry, fill, leave, rows_of, status
from tests.unit._postgres import Server

D = Decimal
IDS = SystemIds(FakeClock())
KINDS = ["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)]


@pytest.fixture(scope="session")
def postgres():
    server = Server()
    yield server
    server.stop()


@pytest.fixture(params=KINDS)
def place(request, tmp_path):
    """Where to open a store: arguments of open_store."""
    url = request.getfixturevalue("postgres").fresh() if request.param == "postgres" else ""
    return {"url": url, "directory": tmp_path}


@pytest.fixture
def desk(place):
    desk = Desk(place["directory"], url=place["url"])
    yield desk
    desk.close()


def opened(place, who="ledger", **given):
    return open_store(**place, who=who, ids=IDS, **given)


def sql(store, text):
    """Run a statement behind the store's back."""
    cursor = store._driver.cursor()
    cursor.execute(text)
    return cursor


# -- one writer ----------------------------------------------------------------------------------------------------------------


def test_a_second_ledger_is_told_who_holds_the_store(place):
    with closing(opened(place, "the first one")):
        with pytest.raises(Terminal, match=r"another ledger has this store: .*the first one") as caught:
            opened(place, "the second one")
        assert caught.value.code == EXIT_HELD
    opened(place).close()


def test_the_epoch_rises_and_the_store_keeps_its_name(place):
    with closing(opened(place)) as first:
        name = first.store_id
        assert first.epoch == 1
        assert first.last() == (0, GENESIS)
    with closing(opened(place)) as second:
        assert (second.store_id, second.epoch) == (name, 2)


def test_a_store_that_slept_through_a_take_over_cannot_write(desk, place):
    desk.run(entry("e"))
    if place["url"]:
        sql(desk.store, "SELECT pg_advisory_unlock_all()")
    else:
        desk.store.lock.release()
    with closing(opened(place, "its successor")) as successor:
        with pytest.raises(Terminal, match=r"taken over this store \(our epoch is 1\)"):
            desk.store.commit(Batch())
        successor.commit(Batch())
        assert set(rows_of(loaded(successor))["orders"]) == {"o-e"}


# -- one transaction -------------------------------------------------------------------------------------------------------------


def loaded(store):
    state = LedgerState()
    state.load(store.rows())
    return state


def test_a_whole_life_survives_every_restart(desk):
    steps = [
        [entry("e", quantity="2.5"), entry("f", symbol=ETH), entry("g", symbol=ETH)],
        [
            fill("1", "o-e", quantity="1"),
            fill("1", "o-e", quantity="1"),
            fill("1", "o-f", symbol=ETH),
            fill("q"),
        ],
        [leave("x", "0.3"), status("o-g", "unknown"), fill("2", "o-e", quantity="1.5")],
        [fill("3", "o-x", "sell", "0.1"), status("o-x", "canceled", filled_quantity="0.2")],
        [
            leave("y", reason="stop_loss"),
            fill("4", "o-x", "sell", "0.1"),
            fill("5", "o-y", "sell", "2.3", "80"),
        ],
    ]
    for batch in steps:
        desk.run(*batch)
        desk.check()
        desk.restart()
        desk.check()
    assert desk.state.position(BOOK) is None
    assert [row.seq for row in desk.store.updates_after(2, 3)] == [3, 4, 5]
    assert desk.store.updates_after(desk.ledger.seq, 10) == []


def unwritten(desk):
    """A good batch to spoil: an entry's fill and half an exit, written nowhere."""
    desk.run(entry("e"))
    known = desk.store.look_up(intents=["e"])
    assert known.intents["e"].status == "accepted"
    caught = []
    desk.store.commit, commit = caught.append, desk.store.commit
    asyncio.run(desk.ledger.on_work([as_entry(message) for message in (fill("1", "o-e"), leave("x", "0.5"))]))
    desk.store.commit = commit
    return caught[0]


def spoiled(batch, table, **changes):
    """*batch* with other columns in its one row of *table*."""
    columns = [column.name for column in getattr(schema, table).columns]
    rows = getattr(batch, table)
    key = list(rows)[-1]
    rows[key] = tuple(changes.get(name, value) for name, value in zip(columns, rows[key], strict=True))
    return batch


@pytest.mark.parametrize(
    ("table", "changes"),
    [
        ("positions", {"side": "short"}),
        ("positions", {"stop_loss": None}),
        ("positions", {"stop_loss": "0"}),
        ("positions", {"stop_loss": "130"}),
        ("positions", {"take_profit": "-1"}),
        ("positions", {"quantity": "0"}),
        ("positions", {"entry_price": "0"}),
        ("positions", {"version": 0}),
        ("positions", {"book_id": "main/paper/NO/SUCH"}),
        ("orders", {"reduce_only": 0}),
        ("orders", {"quantity": "0"}),
        ("orders", {"state": "lost"}),
        ("orders", {"intent_id": "e"}),
        ("orders", {"entry_book": BOOK, "entry_side": "short"}),
        ("books", {"side": "both"}),
        ("books", {"side": None}),
        ("books", {"side": "short"}),
    ],
)
def test_what_must_never_be_cannot_be_written(desk, table, changes):
    batch = unwritten(desk)
    if table == "books":
        batch.books[BOOK] = (BOOK, "main", "paper", "BTC/USDT", "net", "long", "{}")
    before = rows_of(loaded(desk.store)), desk.store.last()

    with pytest.raises(ConstraintBroken):
        desk.store.commit(spoiled(batch, table, **changes))

    assert (rows_of(loaded(desk.store)), desk.store.last()) == before, "nothing of the batch was written"
    desk.ledger.load()
    desk.run(fill("1", "o-e"))
    desk.check()


@pytest.mark.parametrize("what", ["fills", "updates", "trades", "inbox"])
def test_what_happens_once_is_written_once(desk, what):
    batch = unwritten(desk)
    batch.trades.append(("p-1", 2, "{}"))
    batch.inbox.append(("m-1", "d", 2))
    getattr(batch, what).append(getattr(batch, what)[0])

    with pytest.raises(ConstraintBroken):
        desk.store.commit(batch)
    assert desk.store.last()[0] == 1


def test_an_order_id_never_changes_its_intent(desk):
    batch = unwritten(desk)
    key = "o-e"
    batch.orders[key] = tuple("another" if n == 1 else value for n, value in enumerate(batch.orders[key]))

    with pytest.raises(ConstraintBroken):
        desk.store.commit(batch)


def test_amounts_of_any_size_are_within_the_constraints(desk):
    tiny, huge = "0." + "0" * 23 + "1", "9" * 24
    desk.run(entry("e", quantity=tiny), fill("1", "o-e", quantity=tiny, price=tiny))
    desk.run(fill("2", "o-e", quantity=huge, price=huge))
    desk.run(fill("3", kind="adjustment", side="sell", quantity=huge, price=tiny))
    desk.run(entry("f", symbol=ETH, quantity="1." + "0" * 59 + "1"))
    desk.run(
        fill("4", "o-f", symbol=ETH, quantity="1." + "0" * 59 + "1"),
        fill("5", kind="adjustment", side="sell", symbol=ETH),
    )
    desk.run(leave("x", symbol=ETH))

    assert {row.quantity for row in desk.state.positions.values()} == {D(tiny), D("1e-60")}
    assert desk.state.orders["o-x"].quantity == D("1e-60")
    desk.check()


def test_looking_up_many_things_at_once(desk):
    desk.run(*(entry(f"e{n}", symbol=f"C{n}/USDT") for n in range(900)))
    desk.run(
        *(status(f"o-e{n}", "canceled") for n in range(900)),
        *(fill("7", f"o-e{n}", symbol=f"C{n}/USDT") for n in range(900)),
    )

    names = [f"e{n}" for n in range(900)]
    fills = [fill("7", f"o-{name}", symbol=f"C{name[1:]}/USDT") for name in names]
    known = desk.store.look_up(
        intents=names,
        orders=[f"o-{name}" for name in names],
        fills=fills,
        messages=[f"s-o-{name}-canceled-" for name in names],
    )

    assert (len(known.intents), len(known.orders), len(known.messages)) == (900, 900, 900)
    assert {row.key for row in fills} == set(known.fills)
    desk.check()


def test_what_the_store_holds_otherwise_than_meant_stops_the_ledger(desk, place):
    if place["url"]:
        sql(
            desk.store,
            "CREATE FUNCTION worse() RETURNS trigger AS $$ BEGIN NEW.body := 'other'; RETURN NEW; END $$ LANGUAGE plpgsql",
        )
        sql(desk.store, "CREATE TRIGGER worse BEFORE INSERT ON orders FOR EACH ROW EXECUTE FUNCTION worse()")
    else:
        sql(
            desk.store,
            "CREATE TRIGGER worse AFTER INSERT ON orders BEGIN UPDATE orders SET body = 'other' WHERE order_id = NEW.order_id; END",
        )

    with pytest.raises(Terminal, match="INV-8: the store does not hold what was committed to orders"):
        desk.run(entry("e"))


def test_a_store_of_newer_code_is_refused(place):
    with closing(opened(place)) as store:
        sql(store, "UPDATE alembic_version SET version_num = '0999'")

    with pytest.raises(Terminal, match=f"schema 0999; this is Holdfast for schema {HEAD}"):
        opened(place)


def test_a_store_of_the_first_schema_is_brought_up_to_date(place):
    with closing(opened(place)) as store:
        sql(store, "DROP INDEX orders_entry_of_book")
        sql(store, "UPDATE alembic_version SET version_num = '0001'")

    with closing(opened(place)) as store:
        assert store.query("SELECT version_num FROM alembic_version") == [(HEAD,)]
        sql(store, "DROP INDEX orders_entry_of_book")  # it is there: this would fail


# -- SQLite ---------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def lite(tmp_path):
    desk = Desk(tmp_path)
    yield desk
    desk.close()


def test_a_books_side_changes_without_reading_every_order_there_ever_was(lite):
    """The foreign key from orders to books is looked up by index: a soak found a scan of the whole history here."""
    plan = sql(
        lite.store,
        "EXPLAIN QUERY PLAN SELECT 1 FROM orders WHERE entry_book = 'main/paper/BTC/USDT' AND entry_side = 'long'",
    ).fetchall()

    assert [row[3] for row in plan if "USING" in row[3] and "INDEX orders_entry_of_book" in row[3]]


def test_a_full_disk_costs_time_and_nothing_else(lite):
    lite.run(entry("e"), fill("1", "o-e"))
    pages = sql(lite.store, "PRAGMA page_count").fetchone()[0]
    sql(lite.store, f"PRAGMA max_page_count = {pages}")
    many = [entry(f"m{n}", symbol=f"C{n}/USDT") for n in range(300)]

    for _ in range(3):
        with pytest.raises(Transient, match="full"):
            lite.run(*many)
        lite.check()
    sql(lite.store, "PRAGMA max_page_count = 1000000")
    lite.run(*many)

    assert len(lite.state.orders) == 300
    lite.check()


def test_a_store_that_somebody_else_has_locked_is_waited_for(lite):
    lite.run(entry("e"))
    lite.store._driver._connection.execute("PRAGMA busy_timeout = 10")
    with closing(sqlite3.connect(sqlite_path(lite.directory), isolation_level=None)) as intruder:
        intruder.execute("BEGIN IMMEDIATE")
        with pytest.raises(Transient, match="locked"):
            lite.run(fill("1", "o-e"))

    lite.run(fill("1", "o-e"))
    lite.check()


def test_it_is_durable_and_strict(lite):
    pragmas = {
        name: sql(lite.store, f"PRAGMA {name}").fetchone()[0]
        for name in ("journal_mode", "synchronous", "foreign_keys")
    }

    assert pragmas == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1}
    assert sqlite_path(lite.directory).stat().st_mode & 0o077 == 0


def test_a_backup_is_a_store_and_never_overwrites(lite, tmp_path):
    lite.run(entry("e"), fill("1", "o-e"), leave("x"))
    target = tmp_path / "copy" / "ledger" / "ledger.db"
    target.parent.mkdir(parents=True)

    lite.store.backup(target)
    with pytest.raises(FileExistsError, match="never overwrites"):
        lite.store.backup(target)
    lite.run(fill("2", "o-x", "sell"))

    copy = Desk(tmp_path / "copy")
    assert (copy.store.store_id, copy.ledger.seq) == (lite.store.store_id, 3)
    assert set(copy.state.orders) == {"o-x"}
    copy.close()


def test_a_file_that_is_no_store_is_refused(tmp_path):
    path = sqlite_path(tmp_path)
    path.parent.mkdir()
    path.write_bytes(b"this is a letter, not a database" * 100)

    with pytest.raises(Terminal, match="is no SQLite database"):
        opened({"url": "", "directory": tmp_path})
    path.unlink()
    opened({"url": "", "directory": tmp_path}).close()


def damaged(source, target, harm):
    path = sqlite_path(target)
    path.parent.mkdir(parents=True)
    shutil.copy(sqlite_path(source), path)
    content = bytearray(path.read_bytes())
    path.write_bytes(harm(content))


def flipped(page, size=4096):
    def harm(content):
        for offset in range(page * size, page * size + 16):
            content[offset] ^= 0xFF
        return bytes(content)

    return harm


def test_damage_is_noticed_when_the_store_is_opened(tmp_path):
    """Every page's head flipped, and the file cut short: whichever it is, the ledger says so and does not start."""
    desk = Desk(tmp_path / "good")
    desk.run(*(entry(f"e{n}", symbol=f"C{n}/USDT") for n in range(60)))
    desk.run(*(fill("1", f"o-e{n}", symbol=f"C{n}/USDT") for n in range(60)))
    desk.close()
    size = sqlite_path(tmp_path / "good").stat().st_size
    harms = [flipped(page) for page in range(0, size // 4096, 3)]
    harms += [lambda content, cut=cut: bytes(content[:cut]) for cut in (size // 2, size - 4096, 5000, 100)]

    for n, harm in enumerate(harms):
        damaged(tmp_path / "good", tmp_path / f"bad{n}", harm)
        with pytest.raises(Terminal) as caught:
            Desk(tmp_path / f"bad{n}")
        assert caught.value.code == EXIT_TERMINAL
        with pytest.raises(Terminal, match=r"damaged|cannot be opened|cannot be read"):
            Desk(tmp_path / f"bad{n}")


# -- PostgreSQL ------------------------------------------------------------------------------------------------------------------


@pytest.mark.postgres
def test_a_server_that_dropped_us_is_connected_to_again(tmp_path, postgres):
    desk = Desk(tmp_path, url=postgres.fresh())
    desk.run(entry("e"))
    database = desk.url.partition("@/")[2].partition("?")[0]

    for step in (fill("1", "o-e"), leave("x")):
        postgres.execute(
            f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{database}'"
        )
        for attempt in itertools.count(1):
            try:
                desk.run(step)
                break
            except Transient:
                assert attempt < 4
    desk.check()
    with pytest.raises(Terminal, match="another ledger"):
        Desk(tmp_path, url=desk.url)
    desk.close()


@pytest.mark.postgres
def test_a_server_that_is_not_there_is_waited_for(tmp_path):
    with pytest.raises(Transient):
        opened({"url": f"postgresql://postgres@/x?host={tmp_path}", "directory": tmp_path})


@pytest.mark.postgres
def test_a_backup_of_postgresql_is_the_servers_business(tmp_path, postgres):
    desk = Desk(tmp_path, url=postgres.fresh())
    with pytest.raises(Terminal, match="pg_dump"):
        desk.store.backup(tmp_path / "copy")
    assert desk.store.integrity() == []
    desk.close()
