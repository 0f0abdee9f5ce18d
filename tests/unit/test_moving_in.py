"""Rows of another bot's state file: what they become, and what is refused by row and field."""

import json
from decimal import Decimal

import pytest

from holdfast.contracts.base import ContractViolation
from holdfast.contracts.codes import FillKind, Kind, Leg, PositionSide, Side
from holdfast.domain.exit_policy import ExitPolicy, PolicyTable
from holdfast.domain.instruments import resolve
from holdfast.domain.moving_in import Places, arrivals, conflicts, read_rows
from holdfast.domain.view import LedgerView
from tests.unit._state import position, snapshot

POLICY = PolicyTable(ExitPolicy(Decimal(10), Decimal(20)))
PLACES = Places("main", "paper", resolve, lambda symbol: symbol == "SOL/USDT", POLICY)
ROW = {"symbol": "BTCUSDT", "side": "LONG", "qty": "0.01", "entry_price": "42000"}


def taken(*rows, places=PLACES):
    return arrivals(rows, places, lambda symbol: 77, 1_000)


def test_a_row_becomes_one_fill_with_seeded_exits():
    (arrival,) = taken(ROW)
    fill = arrival.fill
    assert (fill.kind, fill.symbol, fill.side, fill.quantity, fill.price) == (
        FillKind.ADOPTION,
        "BTC/USDT",
        Side.BUY,
        Decimal("0.01"),
        42_000,
    )
    assert (fill.account, fill.exchange, fill.leg, fill.executed_at, fill.settle) == (
        "main",
        "paper",
        Leg.NET,
        77,
        "USDT",
    )
    assert (arrival.side, arrival.exits.stop_loss, arrival.exits.take_profit) == (
        PositionSide.LONG,
        37_800,
        50_400,
    )
    assert arrival.exits.seeded == ["stop_loss: missing", "take_profit: missing"]


def test_its_own_levels_account_exchange_and_kind_go_with_it():
    row = ROW | {
        "sl": "41000.50",
        "take_profit": 45000,
        "account": "second",
        "exchange": "other",
        "kind": "inverse",
        "symbol": "BTC/USD:BTC",
    }
    (arrival,) = taken(row)
    assert (arrival.fill.stop_loss, arrival.fill.take_profit) == ("41000.5", "45000")
    assert (arrival.fill.account, arrival.fill.exchange, arrival.fill.instrument) == (
        "second",
        "other",
        Kind.INVERSE,
    )
    assert arrival.exits.seeded == []


def test_what_is_short_cannot_be_spot():
    assert taken(ROW | {"side": "SHORT"})[0].fill.instrument is Kind.LINEAR
    assert taken(ROW)[0].fill.instrument is Kind.SPOT


def test_where_hedging_is_on_each_side_has_its_book():
    one, other = taken(ROW | {"symbol": "SOLUSDT"}, ROW | {"symbol": "SOLUSDT", "side": "SHORT"})
    assert (one.fill.leg, other.fill.leg) == (Leg.LONG, Leg.SHORT)


def test_the_same_row_is_the_same_trade_whatever_the_digits_look_like():
    first = taken(ROW)[0]
    assert (
        taken(ROW | {"qty": "0.010", "entry_price": "42000.00", "mark_price": 5})[0].fill.trade_id
        == first.fill.trade_id
    )
    for change in (
        {"qty": "0.02"},
        {"entry_price": "42001"},
        {"side": "SHORT"},
        {"symbol": "ETHUSDT"},
        {"account": "x"},
    ):
        assert taken(ROW | change)[0].fill.trade_id != first.fill.trade_id


def test_rows_with_quantity_zero_are_passed_over_whatever_else_they_say():
    assert taken({"symbol": "X", "side": "?", "qty": 0, "entry_price": 0}) == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"symbol": None}, "row 2, symbol"),
        ({"symbol": "NOPE"}, "row 2, symbol"),
        ({"side": "up"}, "row 2, side: LONG or SHORT"),
        ({"side": None}, "row 2, side"),
        ({"qty": None}, "row 2, qty: is required"),
        ({"qty": "-1"}, "row 2, qty: must not be negative"),
        ({"qty": "1 BTC"}, "row 2, qty"),
        ({"qty": True}, "row 2, qty"),
        ({"entry_price": "0"}, "row 2, entry_price: must be greater than zero"),
        ({"entry_price": None}, "row 2, entry_price"),
        ({"sl": "-1"}, "row 2, sl: must not be negative"),
        ({"tp": "soon"}, "row 2, tp"),
        ({"kind": "option"}, "row 2, kind"),
        ({"account": 5}, "row 2, account"),
        ({"account": "two words"}, "row 2, account"),
        ({"symbol": "BTC/USDT"}, "row 2, symbol: BTC/USDT is in row 1 too"),
    ],
)
def test_what_is_malformed_is_refused_by_row_and_field(change, said):
    with pytest.raises(ContractViolation) as error:
        taken(ROW, ROW | {"symbol": "ETHUSDT"} | change)
    assert str(error.value).startswith(said)


def test_numbers_of_the_file_keep_all_their_digits():
    (row,) = read_rows('{"positions": [{"qty": 0.1000000000000000000001}]}')
    assert row["qty"] == Decimal("0.1000000000000000000001")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{",
        '{"positions": {}}',
        '{"positions": [1]}',
        '{"positions": [{"qty": NaN}]}',
        "[" * 100_000,
    ],
)
def test_a_file_of_another_shape_is_refused(text):
    with pytest.raises(ContractViolation):
        read_rows(text)


def _view(**tables):
    view = LedgerView()
    view.load(snapshot(**tables))
    return view


def test_an_open_position_is_never_opposed_and_never_doubled():
    found = taken(ROW)
    assert conflicts(found, _view()) == []
    assert "would double the open long of 2 (p1)" in conflicts(found, _view(positions=[position("p1")]))[0]
    assert "opposes the open short" in conflicts(found, _view(positions=[position("p1", side="short")]))[0]


def test_what_this_very_adoption_opened_is_no_conflict():
    (arrival,) = taken(ROW)
    assert conflicts([arrival], _view(positions=[position(arrival.position_id)])) == []


def test_rows_are_read_from_what_json_wrote():
    assert read_rows(json.dumps({"positions": [ROW]})) == [ROW]
