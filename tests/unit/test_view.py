"""The ledger as followers hold it: whole, in order, of one store; or not at all."""

from decimal import Decimal

import pytest

from holdfast.contracts.codes import OrderState, Role
from holdfast.contracts.messages import LedgerSnapshot, LedgerUpdated
from holdfast.contracts.trusted import Tables
from holdfast.domain.view import Gap, LedgerView, OtherStore, snapshot_checksum
from tests.unit._ledger import BOOK, BTC, ETH, NOW, Mem, entry, fill, leave, rows_of, status, steer

D = Decimal


def busy():
    """A ledger with a bit of everything."""
    m = Mem()
    m.open(quantity="2.50", price="100.10")
    m.do(entry("more", quantity="2.0", epoch=3))
    m.do(fill("a", "o-more", quantity="0.5"))
    m.do(fill("b", "o-more", quantity="0.5"))
    m.do(leave("x", "0.4", epoch=3))
    m.do(fill("c", "o-x", "sell", "0.10", "101.50", fee="0.10", fee_currency="USDT"))
    m.do(entry("e", symbol=ETH, epoch=3))
    m.do(status("o-e", "unknown"))
    m.do(fill("stranger"))
    m.do(steer("reduce_only"))
    return m


def snapshot(m, parts=1, **changes):
    """As the ledger publishes it, through JSON: tables dealt out to *parts*."""
    tables = ("books", "positions", "orders", "control", "totals", "quarantine", "nav")
    rows = [
        {name: list(getattr(m.state, name).values()) for i, name in enumerate(tables) if i % parts == n}
        for n in range(parts)
    ]
    common = {
        "at": NOW,
        "snapshot_id": "n",
        "seq": len(m.updates),
        "chain": "",
        "store_id": "s",
        "epoch": 1,
        "parts": parts,
        "checksum": "",
    }
    made = [LedgerSnapshot(**(common | {"id": f"n{n}", "part": n + 1} | rows[n])) for n in range(parts)]
    made[0] = made[0].evolve(executors=dict(m.state.executors))
    checksum = snapshot_checksum(made)
    return [
        LedgerSnapshot.model_validate_json(part.evolve(**({"checksum": checksum} | changes)).body())
        for part in made
    ]


@pytest.mark.parametrize("parts", [1, 3])
def test_a_snapshot_is_the_ledger(parts):
    m = busy()
    view = LedgerView()

    view.load(snapshot(m, parts))

    assert rows_of(view) == rows_of(m.state)
    assert (view.store_id, view.epoch, view.seq, view.is_loaded) == ("s", 1, len(m.updates), True)


def test_amounts_are_the_same_amounts_however_they_are_written():
    """1.0 in memory is 1 on the wire: that is no difference."""
    m = busy()
    assert str(m.state.orders["o-more"].filled) == "1.0"

    assert snapshot_checksum(snapshot(m)) == snapshot(m)[0].checksum


def test_updates_go_on_from_a_snapshot():
    m = busy()
    view = LedgerView()
    view.load(snapshot(m))
    done = len(m.updates)
    m.do(fill("d", "o-x", "sell", "0.3"))
    m.do(status("o-e", "rejected"))

    assert [view.apply(LedgerUpdated.model_validate_json(row.body())) for row in m.updates] == [
        False
    ] * done + [True, True]
    assert rows_of(view) == rows_of(m.state)


def test_parts_that_are_not_all_of_one_snapshot_are_none():
    parts = snapshot(busy(), 3)

    for some in ([], parts[1:], parts[:2], [parts[0], parts[2], parts[1]]):
        view = LedgerView()
        with pytest.raises(Gap, match="not whole"):
            view.load(some)
        assert not view.is_loaded


@pytest.mark.parametrize("table", ["positions", "orders", "books", "quarantine", "control", "totals", "nav"])
def test_a_row_that_is_missing_is_noticed(table):
    (part,) = snapshot(busy())

    with pytest.raises(Gap, match="checksum"):
        LedgerView().load([part.evolve(**{table: getattr(part, table)[1:]})])


def test_a_failed_load_leaves_the_view_as_it_was():
    m = busy()
    view = LedgerView()
    view.load(snapshot(m))

    with pytest.raises(Gap):
        view.load(snapshot(m, checksum="another"))

    assert rows_of(view) == rows_of(m.state)


def test_a_gap_and_another_store_are_never_papered_over():
    m = busy()
    view = LedgerView()
    view.load(snapshot(m))
    next_one = m.updates[-1].evolve(seq=view.seq + 1)

    with pytest.raises(Gap, match=f"expected update {view.seq + 1}"):
        view.apply(next_one.evolve(seq=view.seq + 2))
    with pytest.raises(OtherStore):
        view.apply(next_one.evolve(store_id="another"))
    with pytest.raises(OtherStore):
        view.skip(1, "another")
    view.skip(view.seq + 1, "s")
    view.skip(view.seq, "s")
    assert not view.apply(next_one)


def test_a_view_may_leave_out_what_its_owner_does_not_read():
    view = LedgerView(Tables("positions", orders=lambda row: row["role"] == "exit"))

    view.load(snapshot(busy()))

    assert len(view.positions) == 1
    assert (set(view.orders), view.books, view.nav, view.totals) == ({"o-x"}, {}, {}, {})


def test_what_a_follower_asks():
    m = busy()
    view = m.view

    assert view.position(BOOK).quantity == m.position().quantity
    assert view.position("main/paper/NO/ONE") is None
    assert [row.order_id for row in view.live_orders(BOOK)] == ["o-more", "o-x"]
    assert [row.order_id for row in view.live_orders(BOOK, Role.EXIT)] == ["o-x"]
    assert (view.side(BOOK), view.side("main/paper/NO/ONE")) == ("long", None)
    assert [row.order_id for row in view.unknown_orders()] == ["o-e"]


def test_what_has_ended_leaves_the_view():
    m = busy()
    m.do(fill("d", "o-x", "sell", "0.3"))
    m.do(fill("z", "", "sell", "3.1", kind="adjustment"))

    assert m.view.position(f"main/paper/{BTC}") is None
    assert "o-x" not in m.view.orders
    assert m.view.orders["o-more"].state == OrderState.PARTIAL
