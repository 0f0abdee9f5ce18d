"""positions_state.json: who is long or short of what, at which price, complete after every loop."""

import json
import re
from decimal import Decimal

import pytest

from holdfast import state
from holdfast.contracts.codes import Kind, Leg
from tests.unit._state import BTC, COIN, ETH, D, Rig, one_loop, position, update

ROW = {
    "symbol": "BTC/USDT",
    "side": "LONG",
    "qty": 0.01,
    "entry_price": 42000.0,
    "mark_price": 43000.0,
    "notional": 430.0,
    "realized_pnl": 0.0,
    "unrealized_pnl": 10.0,
}


def rows_of(directory):
    return json.loads((directory / "positions_state.json").read_text())["positions"]


async def test_positions_state_minimal_schema(tmp_path):
    await one_loop(tmp_path, position("a"), position("b", symbol=ETH, side="short"))
    data = json.loads((tmp_path / "positions_state.json").read_text())
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", data["updated_at"])
    assert len(data["positions"]) == 2
    for row in data["positions"]:
        assert isinstance(row["symbol"], str)
        assert row["side"] in {"LONG", "SHORT"}
        assert abs(row["qty"]) > 0
        assert row["entry_price"] > 0
        assert row["mark_price"] > 0
        assert row["notional"] >= 0
        assert {
            "realized_pnl",
            "unrealized_pnl",
            "account",
            "exchange",
            "position_id",
            "take_profit",
            "stop_loss",
        } <= set(row)


async def test_a_row_says_what_the_ledger_says(tmp_path):
    await one_loop(tmp_path, position("a", quantity="2", price="100", realized_pnl=D("-1.5")))
    row = rows_of(tmp_path)[0]
    assert {key: row[key] for key in ("symbol", "side", "qty", "entry_price", "mark_price", "notional", "realized_pnl", "unrealized_pnl", "take_profit", "stop_loss", "position_id", "mark_stale")} == {
        "symbol": BTC, "side": "LONG", "qty": 2, "entry_price": 100, "mark_price": 110, "notional": 220, "realized_pnl": -1.5, "unrealized_pnl": 20,
        "take_profit": 200, "stop_loss": 50, "position_id": "a", "mark_stale": False,
    }  # fmt: skip


async def test_a_short_and_an_inverse_position(tmp_path):
    await one_loop(
        tmp_path,
        position("a", side="short"),
        position("b", symbol=COIN, kind=Kind.INVERSE, quantity="1100", price="100"),
    )
    inverse, short = rows_of(tmp_path)
    assert (short["side"], short["unrealized_pnl"]) == ("SHORT", -20)
    assert (inverse["settle"], inverse["notional"], inverse["unrealized_pnl"]) == ("BTC", 1100, 1)


async def test_several_positions_of_one_symbol_each_have_their_row(tmp_path):
    await one_loop(
        tmp_path,
        position("a"),
        position("b", account="second"),
        position("c", side="short", leg=Leg.SHORT),
        position("d", leg=Leg.LONG, account="third"),
    )
    assert sorted((row["position_id"], row["account"], row["side"]) for row in rows_of(tmp_path)) == [
        ("a", "main", "LONG"), ("b", "second", "LONG"), ("c", "main", "SHORT"), ("d", "third", "LONG"),
    ]  # fmt: skip


async def test_without_a_price_the_entry_price_stands_in_and_is_called_stale(tmp_path):
    rig = Rig(tmp_path)
    await rig.load(positions=[position(price="100")])
    await rig.loop()
    row = rows_of(tmp_path)[0]
    assert (row["mark_price"], row["mark_stale"], row["unrealized_pnl"]) == (100, True, 0)


async def test_a_closed_position_leaves_the_file(tmp_path):
    rig = await one_loop(tmp_path, position("a"), position("b", symbol=ETH))
    await rig.update(update(11, positions=[position("a", quantity="0")]))
    await rig.loop()
    assert [row["position_id"] for row in rows_of(tmp_path)] == ["b"]


def test_the_seeds_own_example_is_written_as_it_is(tmp_path):
    state.write_positions_state([ROW], tmp_path)
    assert rows_of(tmp_path) == [ROW]


@pytest.mark.parametrize("number", [1, 1.5, Decimal("1.5"), "1.5"])
def test_any_kind_of_number_is_taken(tmp_path, number):
    state.write_positions_state([{**ROW, "qty": number}], tmp_path)
    assert rows_of(tmp_path)[0]["qty"] == float(number)


def test_what_can_be_derived_may_be_left_out(tmp_path):
    state.write_positions_state(
        [
            {
                "symbol": BTC,
                "side": "short",
                "qty": "2",
                "entry_price": "100",
                "mark_price": "90",
                "realized_pnl": 0,
            }
        ],
        tmp_path,
    )
    row = rows_of(tmp_path)[0]
    assert (row["side"], row["notional"], row["unrealized_pnl"]) == ("SHORT", 180, 20)


def test_an_unknown_mark_uses_the_entry_price(tmp_path):
    state.write_positions_state([{**ROW, "mark_price": None}], tmp_path)
    row = rows_of(tmp_path)[0]
    assert (row["mark_price"], row["mark_stale"]) == (42000, True)


def test_a_row_of_nothing_may_have_no_prices(tmp_path):
    state.write_positions_state(
        [{"symbol": BTC, "side": "LONG", "qty": 0, "entry_price": 0, "mark_price": 0}], tmp_path
    )
    assert rows_of(tmp_path)[0]["qty"] == 0


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"entry_price": 0}, "positions[1] (BTC/USDT).entry_price: must be greater than zero"),
        ({"mark_price": 0}, "positions[1] (BTC/USDT).mark_price: must be greater than zero"),
        ({"mark_price": -1}, "mark_price: must be greater than zero"),
        ({"entry_price": None}, "entry_price: is required"),
        ({"realized_pnl": None}, "realized_pnl: is required"),
        ({"qty": float("nan")}, "qty: nan is no amount; NaN and infinity are refused"),
        ({"unrealized_pnl": Decimal("Infinity")}, "unrealized_pnl: Infinity is no amount"),
        ({"qty": "many"}, "qty: 'many' is no number"),
        ({"qty": True}, "qty: an amount is expected, not True"),
        ({"notional": -1}, "notional: must not be negative"),
        ({"side": "BOTH"}, "side: LONG or SHORT is expected, not 'BOTH'"),
        ({"symbol": ""}, "positions[1].symbol: is required"),
        ({"margin": float("inf")}, "margin: inf is no amount"),
        ({"extra": {"deep": [float("nan")]}}, "extra.deep[0]: nan is no amount"),
        ({"extra": object}, "has no place in a state file"),
    ],
)  # fmt: skip
def test_an_impossible_row_is_refused_by_name_and_nothing_is_written(tmp_path, change, text):
    state.write_positions_state([ROW], tmp_path)
    before = (tmp_path / "positions_state.json").read_bytes()
    with pytest.raises(state.BadState) as caught:
        state.write_positions_state([ROW, {**ROW, **change}], tmp_path)
    assert text in str(caught.value)
    assert (tmp_path / "positions_state.json").read_bytes() == before
