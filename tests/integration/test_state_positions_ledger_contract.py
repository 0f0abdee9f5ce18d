"""positions_ledger.json: every open position with its exits, and the registry of TP/SL as a view of it."""

import json
from dataclasses import dataclass, field
from typing import Any

import pytest

from holdfast import state
from holdfast.contracts.codes import Leg
from holdfast.domain.view import LedgerView
from tests.unit._state import BTC, ETH, T0, D, one_loop, position, snapshot, update


@dataclass
class Entry:
    symbol: str
    side: str
    position_id: str
    qty: Any
    entry_price: Any
    tp: Any = None
    sl: Any = None
    ttl_ts: Any = None


@dataclass
class Levels:
    tp: Any
    sl: Any


@dataclass
class Ledger:
    entries: Any = field(default_factory=dict)
    tp_sl_levels: Any = field(default_factory=dict)


def file_of(directory):
    return json.loads((directory / "positions_ledger.json").read_text())


async def test_the_file_has_entries_levels_and_metadata(tmp_path):
    await one_loop(tmp_path, position("a", expires_at=T0 + 60_000), position("b", symbol=ETH))
    data = file_of(tmp_path)
    assert data["updated_at"].endswith("Z")
    assert data["metadata"]["version"] == "v1"
    assert data["metadata"]["entry_count"] == 2
    assert data["seq"] == 10
    for entry in data["entries"]:
        assert {
            "symbol",
            "side",
            "position_id",
            "qty",
            "entry_price",
            "tp",
            "sl",
            "ttl_ts",
            "account",
            "exchange",
        } <= set(entry)
    assert data["entries"][0]["ttl_ts"] == T0 + 60_000
    assert data["tp_sl_levels"] == {BTC: {"tp": 200, "sl": 50}, ETH: {"tp": 200, "sl": 50}}


async def test_no_open_position_ever_lacks_its_levels(tmp_path):
    """The incident: positions open and the registry empty. Here the registry is made of the positions."""
    rig = await one_loop(tmp_path)
    assert file_of(tmp_path)["tp_sl_levels"] == {}
    for number in range(1, 8):
        await rig.update(update(10 + number, positions=[position(f"p{number}", symbol=f"C{number}/USDT")]))
        await rig.loop()
        data = file_of(tmp_path)
        assert [entry["symbol"] for entry in data["entries"]] == list(data["tp_sl_levels"])
        assert all(level["sl"] > 0 for level in data["tp_sl_levels"].values())


async def test_several_positions_of_one_symbol_each_have_their_levels(tmp_path):
    rows = [
        position("a", stop_loss=D(91)),
        position("b", account="second", stop_loss=D(92), recorded_at=T0 + 1),
        position(
            "c",
            side="short",
            leg=Leg.SHORT,
            account="third",
            take_profit=D(60),
            stop_loss=D(130),
            recorded_at=T0 + 2,
        ),
        position("d", symbol=ETH),
    ]
    await one_loop(tmp_path, *reversed(rows))
    assert file_of(tmp_path)["tp_sl_levels"] == {
        "BTC/USDT": {"tp": 200, "sl": 91},
        "BTC/USDT@main/paper/LONG": {"tp": 200, "sl": 91},
        "BTC/USDT@second/paper/LONG": {"tp": 200, "sl": 92},
        "BTC/USDT@third/paper/SHORT": {"tp": 60, "sl": 130},
        "ETH/USDT": {"tp": 200, "sl": 50},
    }


async def test_a_take_profit_that_is_off_is_null_and_the_stop_is_there(tmp_path):
    await one_loop(tmp_path, position(take_profit=None, take_profit_spec="off"))
    assert file_of(tmp_path)["tp_sl_levels"][BTC] == {"tp": None, "sl": 50}


async def test_the_loader_returns_the_entries(tmp_path):
    await one_loop(tmp_path, position("a"))
    assert [entry["position_id"] for entry in state.get_ledger_entries(tmp_path)] == ["a"]


@pytest.mark.parametrize("as_list", [False, True])
@pytest.mark.parametrize("as_mappings", [False, True])
def test_any_ledger_of_that_shape_can_be_built_and_written(tmp_path, as_list, as_mappings):
    entry: Any = Entry(BTC, "LONG", "x1", 0.01, 42000.0, 43000.0, 41000.0, 1_700_000_000)
    level: Any = Levels(43000.0, 41000.0)
    if as_mappings:
        entry, level = vars(entry), vars(level)
    ledger = Ledger([entry] if as_list else {(BTC, "x1"): entry}, {BTC: level})
    built = state.build_positions_ledger_state(ledger)
    assert built["updated_at"].endswith("Z")
    assert built["metadata"] == {"version": "v1", "entry_count": 1}
    state.write_positions_ledger_state(built, tmp_path)
    data = file_of(tmp_path)
    assert data["entries"] == [
        {
            "symbol": BTC,
            "side": "LONG",
            "position_id": "x1",
            "qty": 0.01,
            "entry_price": 42000,
            "tp": 43000,
            "sl": 41000,
            "ttl_ts": 1_700_000_000,
        }
    ]
    assert data["tp_sl_levels"] == {BTC: {"tp": 43000, "sl": 41000}}


def test_levels_that_such_a_ledger_leaves_out_come_from_its_entries():
    ledger = Ledger([Entry(BTC, "LONG", "x1", 1, 100, 110, 90), Entry(BTC, "SHORT", "x2", 1, 100, 90, 110)])
    assert state.build_positions_ledger_state(ledger)["tp_sl_levels"] == {
        BTC: {"tp": 110, "sl": 90}, "BTC/USDT@main/paper/LONG": {"tp": 110, "sl": 90}, "BTC/USDT@main/paper/SHORT": {"tp": 90, "sl": 110},
    }  # fmt: skip


def test_a_ledger_view_can_be_built_too(tmp_path):
    view = LedgerView()
    view.load(snapshot(42, positions=[position("a")]))
    state.write_positions_ledger_state(state.build_positions_ledger_state(view), tmp_path)
    data = file_of(tmp_path)
    assert (data["seq"], data["metadata"]["seq"], data["entries"][0]["position_id"]) == (42, 42, "a")


def test_empty_is_written_as_empty_with_all_keys(tmp_path):
    state.write_positions_ledger_state(state.build_positions_ledger_state(Ledger()), tmp_path)
    data = file_of(tmp_path)
    assert (data["entries"], data["tp_sl_levels"], data["metadata"]["entry_count"]) == ([], {}, 0)


@pytest.mark.parametrize(
    ("document", "text"),
    [
        ({}, "entries: a list is expected"),
        ({"entries": {}}, "entries: a list is expected"),
        ({"entries": [], "tp_sl_levels": []}, "tp_sl_levels: an object is expected"),
        ({"entries": [{"symbol": BTC, "side": "LONG", "qty": 1, "entry_price": 1}]}, "entries[0] (BTC/USDT).position_id: is required"),
        ({"entries": [{"symbol": BTC, "side": "LONG", "position_id": "x", "entry_price": 1}]}, "qty: is required"),
        ({"entries": [{"symbol": BTC, "side": "LONG", "position_id": "x", "qty": 1, "entry_price": 0}]}, "entry_price: must be greater than zero"),
        ({"entries": [], "tp_sl_levels": {BTC: {"tp": float("nan")}}}, "tp_sl_levels.BTC/USDT.tp: nan is no amount"),
    ],
)  # fmt: skip
def test_what_is_no_ledger_is_refused_by_name(tmp_path, document, text):
    with pytest.raises(state.BadState) as caught:
        state.write_positions_ledger_state(document, tmp_path)
    assert text in str(caught.value)
    assert list(tmp_path.iterdir()) == []
