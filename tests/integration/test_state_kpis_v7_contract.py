"""kpis_v7.json: never partial, never zero by ignorance."""

import json

import pytest

from holdfast import state
from holdfast.contracts.rows import NavRow, TotalRow
from holdfast.contracts.streams import EXECUTOR, HEARTBEAT, LEARNER
from tests.unit._state import BTC, ETH, T0, D, Rig, entry, heartbeat, one_loop, position, tick

MINIMAL = {"portfolio": {"nav": 4093.43, "dd_pct": 0.0326}, "per_symbol": {}}


def file_of(directory):
    return json.loads((directory / "kpis_v7.json").read_text())


async def test_the_file_exists_after_a_loop_with_all_keys(tmp_path):
    await one_loop(tmp_path, position())
    data = file_of(tmp_path)
    assert {"updated_at", "seq", "portfolio", "per_symbol"} <= set(data)
    assert {
        "nav",
        "dd_pct",
        "var_nav_pct",
        "cvar_nav_pct",
        "nav_stale",
        "open_positions",
        "win_rate",
        "trades",
    } <= set(data["portfolio"])
    assert set(data["per_symbol"][BTC]) >= {"pnl", "pnl_pct", "exposure_nav_pct"}


async def test_the_numbers_are_those_of_the_ledger_and_the_prices(tmp_path):
    nav = NavRow(
        account="main", currency="USDT", cash=D("100100"), nav=D("100100"), high_water=D("102000"), at=T0
    )
    totals = TotalRow(
        account="main", exchange="paper", symbol=BTC, settle="USDT", realized_pnl=D(100), trades=4, wins=3
    )
    await one_loop(tmp_path, position(quantity="100", price="100"), nav=[nav], totals=[totals])
    portfolio = file_of(tmp_path)["portfolio"]
    assert (portfolio["nav"], portfolio["cash"], portfolio["realized_pnl"], portfolio["unrealized_pnl"]) == (
        101_100,
        100_100,
        100,
        1_000,
    )
    assert portfolio["high_water"] == 102_000
    assert portfolio["dd_pct"] == pytest.approx(900 / 102_000)
    assert (portfolio["win_rate"], portfolio["nav_stale"], portfolio["var_nav_pct"]) == (0.75, [], None)
    assert file_of(tmp_path)["per_symbol"][BTC]["pnl"] == 1_100


async def test_exit_quality_is_what_the_learner_says_and_null_where_it_is_silent(tmp_path):
    rig = await one_loop(tmp_path, position())
    assert set(file_of(tmp_path)["exit_quality"].values()) == {None}

    details = {
        "outcomes": "40",
        "premature_share": "0.25",
        "average_slip_pct": "-0.01",
        "average_hold_s": "lots",
    }
    said = heartbeat(LEARNER, at=rig.clock.now, details=details)
    await rig.publisher.on_heartbeats([entry(HEARTBEAT, said, rig.clock.now)])
    await rig.beats()
    await rig.loop()
    found = file_of(tmp_path)["exit_quality"]
    assert (found["outcomes"], found["premature_share"], found["average_slip_pct"]) == (40, 0.25, -0.01)
    assert (found["average_hold_s"], found["stops"]) == (None, None)


async def test_what_has_no_price_leaves_nav_where_it_was(tmp_path):
    rig = await one_loop(tmp_path, position(quantity="1", price="100"))
    assert file_of(tmp_path)["portfolio"]["nav"] == 100_010
    blind = Rig(tmp_path, clock=rig.clock)
    await blind.load(seq=11, positions=[position(quantity="1", price="100"), position("b", symbol=ETH)])
    await blind.ticks(tick(BTC, "150", at=rig.clock.now))
    await blind.loop()
    portfolio = file_of(tmp_path)["portfolio"]
    assert portfolio["nav"] == 100_000
    assert portfolio["nav_stale"] == ["no price of ETH/USDT yet"]


def test_updated_at_is_added_and_the_given_dict_left_alone(tmp_path):
    given = {"portfolio": dict(MINIMAL["portfolio"]), "per_symbol": {}}
    state.write_kpis_v7_state(given, tmp_path)
    assert file_of(tmp_path)["updated_at"].endswith("Z")
    assert given == MINIMAL
    state.write_kpis_v7_state({**MINIMAL, "updated_at": "2025-01-01T00:00:00Z"}, tmp_path)
    assert file_of(tmp_path)["updated_at"] == "2025-01-01T00:00:00Z"


@pytest.mark.parametrize(
    ("kpis", "text"),
    [
        ({}, "portfolio: an object with nav and dd_pct is required"),
        ({"portfolio": {}, "per_symbol": {}}, "portfolio.nav: is required"),
        ({"portfolio": {"nav": 1}, "per_symbol": {}}, "portfolio.dd_pct: is required"),
        ({"portfolio": {"nav": float("nan"), "dd_pct": 0}, "per_symbol": {}}, "portfolio.nav: nan is no amount"),
        ({"portfolio": {"nav": 1, "dd_pct": 0}}, "per_symbol: an object is required"),
        ({"portfolio": {"nav": 1, "dd_pct": 0}, "per_symbol": {BTC: {"pnl": float("inf")}}}, "per_symbol.BTC/USDT.pnl: inf is no amount"),
    ],
)  # fmt: skip
def test_a_partial_document_is_refused_and_the_last_good_one_stays(tmp_path, kpis, text):
    state.write_kpis_v7_state(MINIMAL, tmp_path)
    before = (tmp_path / "kpis_v7.json").read_bytes()
    with pytest.raises(state.BadState) as caught:
        state.write_kpis_v7_state(kpis, tmp_path)
    assert text in str(caught.value)
    assert (tmp_path / "kpis_v7.json").read_bytes() == before


async def test_wallets_are_what_the_executors_say_by_account(tmp_path):
    rig = await one_loop(tmp_path, position())
    assert file_of(tmp_path)["wallets"] == {}
    said = {"0": "main 1000.25, third 7", "second": "second 20", "standby": "main 1"}
    for instance, wallets in said.items():
        details = {"wallets": wallets} | ({"standby": "the first has main"} if instance == "standby" else {})
        beat = heartbeat(
            EXECUTOR, at=rig.clock.now, instance=instance, incarnation=f"i{instance}", details=details
        )
        await rig.publisher.on_heartbeats([entry(HEARTBEAT, beat, rig.clock.now)])
    await rig.loop()
    assert file_of(tmp_path)["wallets"] == {"main": 1000.25, "third": 7, "second": 20}
