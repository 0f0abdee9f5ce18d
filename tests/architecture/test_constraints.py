"""The net under the domain: what must never be cannot be recorded, whatever the code above the store has decided.

Every constraint that docs/invariants.md names is met here by a row that it must refuse, on a real store.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from holdfast.runtime.clock import SystemClock
from holdfast.runtime.faults import Terminal
from holdfast.runtime.ids import SystemIds
from holdfast.store.batch import Batch, Journaled
from holdfast.store.opening import OpenStore, open_store
from holdfast.store.store import ConstraintBroken
from tests.architecture._tree import text

BOOK = ("b1", "main", "paper", "BTC/USDT", "net", "long", "{}")
POSITION = ("p1", "b1", "long", "1", "100", "120", "90", 1, "{}")
COLUMNS = (
    "position_id",
    "book_id",
    "side",
    "quantity",
    "entry_price",
    "take_profit",
    "stop_loss",
    "version",
    "body",
)
ORDER = ("o1", "i1", "b1", "entry", "buy", "reserved", "1", "0", 0, 1, "b1", "long", "{}")
ORDER_COLUMNS = (
    "order_id", "intent_id", "book_id", "role", "side", "state", "quantity", "filled", "reduce_only", "live",
    "entry_book", "entry_side", "body",
)  # fmt: skip


@pytest.fixture
def store(tmp_path: Path) -> Iterator[OpenStore]:
    opened = open_store(url="", directory=tmp_path, who="test", ids=SystemIds(SystemClock()))
    yield opened
    opened.close()


def position(**changed: object) -> tuple[object, ...]:
    return tuple((dict(zip(COLUMNS, POSITION, strict=True)) | changed).values())


def order(**changed: object) -> tuple[object, ...]:
    return tuple((dict(zip(ORDER_COLUMNS, ORDER, strict=True)) | changed).values())


def batch(*, books=(BOOK,), positions=(), orders=(), fills=(), updates=()) -> Batch:
    return Batch(
        books={row[0]: row for row in books},
        positions={row[0]: row for row in positions},
        orders={row[0]: row for row in orders},
        fills=list(fills),
        updates=list(updates),
    )


NEVER = {
    "positions_one_per_book": batch(positions=[position(), position(position_id="p2")]),
    "positions_side_of_book": batch(positions=[position(side="short", take_profit="80", stop_loss="110")]),
    "orders_entry_side_of_book": batch(positions=[position()], orders=[order(entry_side="short")]),
    "a book beside the position's": batch(books=[], positions=[position()]),
    "stop_loss": batch(positions=[position(stop_loss=None)]),
    "positions_stop_loss": batch(positions=[position(stop_loss="0")]),
    "positions_take_profit": batch(positions=[position(take_profit="-1", stop_loss="-2")]),
    "positions_exits_apart": batch(positions=[position(take_profit="80", stop_loss="90")]),
    "positions_quantity": batch(positions=[position(quantity="0")]),
    "positions_entry_price": batch(positions=[position(entry_price="0")]),
    "orders_exits_reduce_only": batch(orders=[order(role="exit", entry_book=None, entry_side=None)]),
    "orders_one_per_intent": batch(orders=[order(), order(order_id="o2")]),
    "orders_state": batch(orders=[order(state="perhaps")]),
    "the primary key of fills": batch(fills=[("t1", "o1", "main", "paper", "BTC/USDT", "d", 1)] * 2),
    "books_side_word": batch(books=[("b1", "main", "paper", "BTC/USDT", "net", "both", "{}")]),
}


def test_the_rows_that_are_varied_here_are_good(store):
    store.commit(batch(positions=[position()], orders=[order()]))
    assert store.query("SELECT position_id, stop_loss FROM positions") == [("p1", "90")]


@pytest.mark.parametrize("name", NEVER)
def test_what_must_never_be_is_refused_by_the_store(store, name):
    with pytest.raises(ConstraintBroken):
        store.commit(NEVER[name])
    assert store.query("SELECT * FROM books") == []


def test_a_side_changes_only_when_nothing_holds_it(store):
    store.commit(batch(positions=[position()]))
    turned = (*BOOK[:5], "short", "{}")
    with pytest.raises(ConstraintBroken):
        store.commit(batch(books=[turned]))
    closing = batch(books=[turned])
    closing.closed.add("p1")
    store.commit(closing)
    assert store.query("SELECT side FROM books") == [("short",)]


def test_a_batch_is_written_whole_or_not_at_all(store):
    good = Journaled(1, "filled", 1, "h", b"{}")
    with pytest.raises(ConstraintBroken):
        store.commit(batch(positions=[position(quantity="0")], orders=[order()], updates=[good]))
    assert [store.query(f"SELECT * FROM {table}") for table in ("books", "orders", "updates")] == [[], [], []]
    assert store.last()[0] == 0


def test_what_was_written_is_read_back(store):
    """A store that says yes and keeps something else is caught at the same commit."""
    store.query(
        "CREATE TRIGGER liar AFTER INSERT ON positions BEGIN UPDATE positions SET body = 'other'; END"
    )
    with pytest.raises(Terminal, match="INV-8"):
        store.commit(batch(positions=[position()]))


def test_a_writer_that_was_replaced_cannot_write(store):
    store.query("UPDATE store SET epoch = epoch + 1")
    with pytest.raises(Terminal, match="taken over"):
        store.commit(batch(positions=[position()]))
    assert store.query("SELECT * FROM positions") == []


def test_a_second_ledger_is_told_who_has_the_store(store, tmp_path):
    with pytest.raises(Terminal, match=r"another ledger has this store: .*test"):
        open_store(url="", directory=tmp_path, who="second", ids=SystemIds(SystemClock()))


def test_every_constraint_that_the_page_names_is_met_here():
    named = {
        word for word in text("docs/invariants.md").split("`") if word.startswith(("positions_", "orders_"))
    }
    assert named - NEVER.keys() == set()
