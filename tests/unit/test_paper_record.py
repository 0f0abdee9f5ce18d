"""The paper venue's record: what it keeps, whose it is, who may write it."""

import sqlite3
from decimal import Decimal

import pytest

from holdfast.contracts.codes import (
    Code,
    FillKind,
    Kind,
    Leg,
    OrderState,
    OrderType,
    PositionSide,
    Side,
    TimeInForce,
)
from holdfast.contracts.messages import Fill
from holdfast.contracts.rows import PositionRow
from holdfast.domain.matching import Holding, Working
from holdfast.venues.paper_record import PaperRecord, RecordTaken, RecordUnreadable
from holdfast.venues.paper_rows import fill_id, trade_number

D = Decimal


@pytest.fixture
def path(tmp_path):
    return tmp_path / "paper" / "main.db"


@pytest.fixture
def record(path):
    made = PaperRecord(path, "main")
    yield made
    made.close()


def order(number, **more):
    values = {
        "number": number, "order_id": f"o{number}", "intent_id": f"i{number}", "correlation_id": "c", "symbol": "BTC/USDT",
        "leg": Leg.NET, "kind": Kind.INVERSE, "contract_size": D("0.1"), "settle": "BTC", "side": Side.SELL,
        "type": OrderType.LIMIT, "price": D("43000.5"), "quantity": D("0.30"), "shrink_only": True,
        "time_in_force": TimeInForce.IOC, "post_only": True, "good_till": 77, "quantity_step": D("1E-8"),
        "price_step": D("0.1"), "filled": D("0.1"), "hold": D("1.5"), "resting": True, "run": "r", "after": 5,
        "state": OrderState.PARTIAL, "code": Code.DISPLACED, "reason": "why",
    }  # fmt: skip
    return Working(**{**values, **more})


def fill(number, order_id="o1", **more):
    trade_id = more.pop("trade_id", f"p{number}")
    values = {
        "id": fill_id(f"main|paper|BTC/USDT|{order_id}|{trade_id}"), "cause_id": "i1", "correlation_id": "c", "at": 1000 + number,
        "account": "main", "exchange": "paper", "symbol": "BTC/USDT", "order_id": order_id, "trade_id": trade_id,
        "side": Side.BUY, "quantity": D("0.5"), "price": D("100"), "fee": D("0.025"), "fee_currency": "USDT",
        "executed_at": 10 * number, "instrument": Kind.LINEAR, "contract_size": D(1), "settle": "USDT",
    }  # fmt: skip
    return Fill(**{**values, **more})


def holding(quantity="1", cost="100"):
    return Holding("BTC/USDT", Leg.NET, Kind.LINEAR, D(1), "USDT", D(quantity), D(cost))


def position(**more):
    values = {
        "position_id": "pos1", "book_id": "b", "account": "main", "exchange": "paper", "symbol": "ETH/USDT",
        "side": PositionSide.SHORT, "kind": Kind.LINEAR, "contract_size": D(1), "settle": "USDT", "quantity": D(3),
        "cost": D(600), "entry_price": D(200), "take_profit": D(150), "stop_loss": D(250), "take_profit_spec": "150",
        "stop_loss_spec": "250", "opened_at": 5, "changed_at": 6, "recorded_at": 7,
    }  # fmt: skip
    return PositionRow(**{**values, **more})


def test_orders_and_trades_come_back_as_they_went_in(path, record):
    orders = [
        order(1),
        order(2, correlation_id=None, price=None, good_till=None, code=None, state=OrderState.OPEN),
    ]
    fills = [fill(1), fill(2, "o2", executed_at=5)]
    record.commit(new=orders, fills=fills, holdings=[holding()], cash={"USDT": D("-100.05")})
    record.close()
    again = PaperRecord(path, "main")
    assert again.live_orders() == orders
    assert again.orders(["o2", "nobody"]) == {"o2": orders[1]}
    assert again.trades_of(["o1", "o2"]) == fills
    assert again.trades_since(10) == fills[:1]
    assert again.trades_after(1) == fills[1:]
    assert again.holdings() == [holding()]
    assert again.cash() == {"USDT": D("-100.05")}
    assert (again.last_trade_number, again.last_order_number) == (2, 2)
    assert [each.id for each in again.trades_after(0)] == [fill_id(each.key) for each in fills]
    again.close()


def test_ended_orders_are_found_but_not_loaded(record):
    ended = order(1, state=OrderState.FILLED)
    record.commit(new=[ended])
    assert record.live_orders() == []
    assert record.orders(["o1"]) == {"o1": ended}


def test_thousands_of_ids_are_looked_up_at_once(record):
    record.commit(new=[order(number) for number in range(1, 1201)])
    assert len(record.orders([f"o{number}" for number in range(2000)])) == 1200


def test_a_batch_is_written_whole_or_not_at_all(record):
    with pytest.raises(sqlite3.IntegrityError):
        record.commit(new=[order(1), order(2, order_id="o1")], fills=[fill(1)], cash={"USDT": D(1)})
    assert (record.live_orders(), record.trades_after(0), record.cash()) == ([], [], {})
    assert (record.last_trade_number, record.last_order_number) == (0, 0)
    record.commit(new=[order(1)], fills=[fill(1)])
    assert record.last_trade_number == 1


def test_a_flat_position_leaves_the_record(record):
    record.commit(holdings=[holding()])
    record.commit(holdings=[holding("0", "0")])
    assert record.holdings() == []


def test_verify_says_what_differs_from_the_trades(record):
    record.commit(fills=[fill(1)], holdings=[holding("0.5", "50")], cash={"USDT": D("-50.025")})
    assert record.verify() == []
    record.commit(holdings=[holding("0.6", "50")], cash={"USDT": D("-50")})
    wrong = record.verify()
    assert len(wrong) == 2
    assert "cash USDT: kept -50, trades say -50.025" in wrong


def test_the_latest_opener_writes_and_the_one_before_is_refused(path, record):
    second = PaperRecord(path, "main")
    with pytest.raises(RecordTaken, match="another process"):
        record.commit(new=[order(1)])
    second.commit(new=[order(1)])
    assert list(record.orders(["o1"])) == ["o1"]
    second.close()


def test_a_reader_fences_nobody(path, record):
    reader = PaperRecord(path, "main", read_only=True)
    record.commit(new=[order(1)])
    assert list(reader.orders(["o1"])) == ["o1"]
    with pytest.raises(sqlite3.OperationalError):
        reader.commit(new=[order(2)])
    reader.close()


def test_what_is_no_record_of_this_account_is_refused(path, tmp_path, record):
    with pytest.raises(RecordUnreadable, match="is of main/paper, not other/paper"):
        PaperRecord(path, "other")
    with pytest.raises(RecordUnreadable, match="cannot be read"):
        PaperRecord(tmp_path / "none.db", "main", read_only=True)
    garbage = tmp_path / "garbage.db"
    garbage.write_bytes(b"this is not a database" * 100)
    with pytest.raises(RecordUnreadable, match=r"garbage\.db"):
        PaperRecord(garbage, "main")


def test_a_record_of_a_later_schema_is_refused(path, record):
    record.close()
    with sqlite3.connect(path) as db:
        db.execute("UPDATE meta SET value = '99' WHERE key = 'schema'")
    db.close()
    with pytest.raises(RecordUnreadable, match="schema 99"):
        PaperRecord(path, "main")


def test_a_record_belongs_to_the_first_store_that_binds_it(path, record):
    record.bind_store("store-a")
    record.bind_store("store-a")
    with pytest.raises(ValueError, match="store-a, not store-b"):
        record.bind_store("store-b")
    record.close()
    again = PaperRecord(path, "main")
    assert again.store_id == "store-a"
    again.close()


def test_what_does_not_belong_together_is_said(record):
    assert record.belongs_to("store-a", ledger_has_fills=False) is None
    assert "is empty" in record.belongs_to("store-a", ledger_has_fills=True)
    record.commit(fills=[fill(1)])
    assert "names no ledger" in record.belongs_to("store-a", ledger_has_fills=True)
    record.bind_store("store-a")
    assert record.belongs_to("store-a", ledger_has_fills=True, last_trade="p1") is None
    assert (
        record.belongs_to("store-a", ledger_has_fills=False) is None
    )  # ahead of the ledger: its trades are owed
    assert "older copy" in record.belongs_to("store-a", ledger_has_fills=True, last_trade="p2")
    assert "this ledger is store-b" in record.belongs_to("store-b", ledger_has_fills=True, last_trade="p1")
    assert record.belongs_to("store-a", ledger_has_fills=True, last_trade="a-adopted") is None


def test_a_lost_record_is_rebuilt_from_the_ledger_and_reports_nothing_of_it(record):
    record.bind_store("old")
    record.commit(new=[order(1)], fills=[fill(1)], holdings=[holding()], cash={"USDT": D(-50)})
    rows = [position(), position(position_id="x", account="other"), position(position_id="y", quantity=D(0))]
    record.rebuild_from_ledger(
        rows, "new", now_ms=9, last_trade="p40", opening_cash={"USDT": D("12.5"), "BTC": D(1)}
    )
    assert record.belongs_to("new", ledger_has_fills=True, last_trade="p40") is None
    assert record.holdings() == [Holding("ETH/USDT", Leg.NET, Kind.LINEAR, D(1), "USDT", D(-3), D(600))]
    assert record.cash() == {"USDT": D("612.5"), "BTC": D(1)}
    assert record.live_orders() == []
    assert record.orders(["o1"])["o1"].code is Code.RECORD_MISMATCH
    assert (record.trades_since(0), record.trades_after(0), record.trades_of(["o1"])) == ([], [], [])
    assert record.last_trade_number == 41
    assert record.verify() == []
    record.commit(fills=[fill(42)])
    assert record.trades_after(0) == [fill(42)]


def test_rebuilding_without_positions_still_numbers_on(record):
    record.rebuild_from_ledger([], "new", now_ms=9, last_trade="p40")
    assert record.last_trade_number == 40
    assert record.belongs_to("new", ledger_has_fills=True, last_trade="p40") is None


def test_adoptions_are_known_and_not_reported(record):
    adopted = fill(1, order_id="", trade_id="a-1", kind=FillKind.ADOPTION)
    record.commit(fills=[adopted], adopted=True)
    assert record.knows_adoption("a-1")
    assert not record.knows_adoption("p1")
    assert record.trades_after(0) == []
    with pytest.raises(sqlite3.IntegrityError):
        record.commit(fills=[adopted], adopted=True)


@pytest.mark.parametrize(
    ("text", "number"), [("p57", 57), (None, 0), ("", 0), ("p", 0), ("a-57", 0), ("p5x", 0), ("57", 0)]
)
def test_trade_numbers_are_read_from_ids(text, number):
    assert trade_number(text) == number
