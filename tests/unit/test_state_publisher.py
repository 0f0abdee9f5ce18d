"""The publisher, driven by hand: what it waits for, when it writes, what it says when it cannot."""

import asyncio
import errno
import json
import os

import pytest

from holdfast import state
from holdfast.contracts import streams
from holdfast.contracts.codes import ExitReason, OrderState, PositionSide
from holdfast.contracts.messages import Trade
from holdfast.contracts.portfolio import RiskRow
from holdfast.domain.kpi import BUCKET_MS
from holdfast.domain.portfolio_rules import Portfolio, PortfolioRules
from holdfast.runtime.faults import EXIT_HELD, EXIT_UNAVAILABLE, Terminal
from holdfast.runtime.files import WriteFailed
from holdfast.runtime.locks import hold
from holdfast.runtime.settings import Settings, StateSettings
from services.state_publisher.app import build
from tests.unit._state import (
    BTC,
    ETH,
    T0,
    D,
    HandClock,
    Rig,
    blocked,
    entry,
    heartbeat,
    one_loop,
    order,
    position,
    tick,
    update,
)


async def test_before_a_snapshot_only_a_red_status_is_written(tmp_path):
    rig = Rig(tmp_path)
    await rig.loop()
    status = state.load_status(tmp_path)
    assert status["status"] == "critical"
    assert status["reasons"][0] == "no ledger snapshot yet"
    assert status["open_positions"] is None
    assert sorted(path.name for path in tmp_path.iterdir()) == ["status.json"]


async def test_a_restart_never_replaces_good_files_by_empty_ones(tmp_path):
    await one_loop(tmp_path, position())
    before = (tmp_path / state.POSITIONS_STATE).read_bytes()
    restarted = Rig(tmp_path)
    await restarted.loop()
    assert (tmp_path / state.POSITIONS_STATE).read_bytes() == before
    assert state.load_status(tmp_path)["status"] == "critical"
    await restarted.load(seq=11)
    await restarted.loop()
    assert state.load_positions_state(tmp_path)["positions"] == []


async def test_an_older_snapshot_waits_until_it_has_caught_up(tmp_path):
    await one_loop(tmp_path, position())
    rewound = Rig(tmp_path)
    await rewound.load(seq=7)
    await rewound.beats()
    await rewound.loop(0)
    assert state.load_positions_state(tmp_path)["seq"] == 10
    assert any(
        "before 10, which is already published" in reason for reason in state.load_status(tmp_path)["reasons"]
    )
    assert state.load_status(tmp_path)["status"] == "critical"
    await rewound.update(*(update(seq) for seq in range(8, 12)))
    await rewound.loop()
    assert state.load_positions_state(tmp_path)["seq"] == 11


async def test_a_restored_store_is_believed_when_its_ledger_says_so(tmp_path):
    await one_loop(tmp_path, position())
    restored = Rig(tmp_path)
    await restored.load(seq=7)
    restored.clock.now += 10
    await restored.beats()
    await restored.loop()
    assert state.load_positions_state(tmp_path)["seq"] == 7


async def test_another_store_begins_its_own_sequence(tmp_path):
    await one_loop(tmp_path, position())
    other = Rig(tmp_path)
    await other.load(seq=3, store="store-2", positions=[])
    await other.loop()
    assert state.load_positions_state(tmp_path) | {"updated_at": ""} == {
        "updated_at": "",
        "seq": 3,
        "store_id": "store-2",
        "epoch": 1,
        "positions": [],
    }


async def test_files_are_written_every_second_and_sooner_on_change(tmp_path):
    rig = await one_loop(tmp_path, position())
    first = state.load_positions_state(tmp_path)["updated_at"]
    await rig.loop(900)
    assert state.load_positions_state(tmp_path)["updated_at"] == first
    await rig.loop(100)
    second = state.load_positions_state(tmp_path)["updated_at"]
    assert second > first
    await rig.update(update(11, positions=[position("p2", symbol=ETH)]))
    await rig.loop(100)
    assert len(state.load_positions_state(tmp_path)["positions"]) == 2


async def test_a_slow_write_makes_the_next_one_wait_five_times_as_long(tmp_path):
    rig = await one_loop(tmp_path, position())
    real = rig.files.write

    def slow(**arguments):
        rig.clock.now += 400
        real(**arguments)

    rig.files.write = slow
    await rig.loop()
    rig.files.write = real
    last = state.load_positions_state(tmp_path)["updated_at"]
    for _ in range(19):
        await rig.update(update(rig.view.seq + 1))
        await rig.loop(100)
        assert state.load_positions_state(tmp_path)["updated_at"] == last
    await rig.loop(100)
    assert state.load_positions_state(tmp_path)["updated_at"] > last


async def test_a_position_is_green_once_the_scanner_has_armed_it(tmp_path):
    rig = await one_loop(tmp_path, position())
    assert state.load_status(tmp_path)["status"] == "consistent"
    await rig.update(
        update(11, at=rig.clock.now, positions=[position("p2", symbol=ETH, recorded_at=rig.clock.now)])
    )
    for _ in range(4):
        rig.clock.now += 1000
        await rig.ticks(tick(BTC, "110", at=rig.clock.now), tick(ETH, "110", at=rig.clock.now))
        await rig.beats(armed_through=10)
        await rig.loop(0)
    late = state.load_status(tmp_path)
    assert (late["status"], late["exit_code"], late["armed"], late["open_positions"]) == ("partial", 1, 1, 2)
    assert late["time_unprotected_ms"]["p2"] == 4000
    await rig.beats()
    await rig.loop()
    assert state.load_status(tmp_path)["status"] == "consistent"
    await rig.loop(1000)
    assert state.load_status(tmp_path)["time_unprotected_ms"]["p2"] == 4000


async def test_a_stop_that_rests_at_the_exchange_is_told_with_its_price(tmp_path):
    rig = await one_loop(tmp_path, position())
    assert state.load_status(tmp_path)["stops_at_venue"] == {}
    stop = order("s1", role="protect", side="sell", reduce_only=True, position_id="p1", stop_price="90.5")
    await rig.update(update(11, orders=[stop.evolve(state=OrderState.RESERVED)]))
    await rig.loop(1000)
    assert state.load_status(tmp_path)["stops_at_venue"] == {}, "reserved is not resting"
    await rig.update(update(12, orders=[stop]))
    await rig.loop(1000)
    assert state.load_status(tmp_path)["stops_at_venue"] == {"p1": 90.5}


async def test_silence_turns_everything_red_with_ages(tmp_path):
    rig = await one_loop(tmp_path, position())
    await rig.loop(6_000)
    status = state.load_status(tmp_path)
    assert status["status"] == "critical"
    assert "ledger silent for 7.0 s" in status["reasons"]
    assert [row["alive"] for row in status["services"]] == [False, False, False]
    assert status["services"][0]["beat_age_ms"] == 7_000


async def test_what_lay_in_the_stream_for_long_is_old(tmp_path):
    rig = Rig(tmp_path)
    await rig.load(positions=[position()])
    await rig.publisher.on_ticks([entry(streams.MARKET_TICK, tick(), T0 - 90_000)])
    await rig.publisher.on_heartbeats(
        [entry(streams.HEARTBEAT, heartbeat("ledger", at=T0 - 90_000), T0 - 90_000)]
    )
    await rig.loop()
    assert state.load_positions_state(tmp_path)["positions"][0]["mark_stale"] is True
    assert any(
        reason.startswith("ledger silent for 91.0 s") for reason in state.load_status(tmp_path)["reasons"]
    )


async def test_restarts_are_counted_and_old_heartbeats_ignored(tmp_path):
    rig = await one_loop(tmp_path)
    for at, incarnation in [(3_000, "b"), (2_000, "a"), (4_000, "b"), (5_000, "c")]:
        rig.clock.now = T0 + 5_000
        await rig.publisher.on_heartbeats(
            [
                entry(
                    streams.HEARTBEAT,
                    heartbeat("executor", at=T0 + at, incarnation=incarnation, pending=at),
                    T0 + at,
                )
            ]
        )
    await rig.loop()
    row = next(row for row in state.load_status(tmp_path)["services"] if row["service"] == "executor")
    assert (row["restarts"], row["pending"]) == (2, 5_000)


async def test_a_service_whose_clock_was_ahead_is_alive_again_at_once(tmp_path):
    """Its successor's clock is right, so its times are an hour older; the bus says which word is the newer one."""
    rig = await one_loop(tmp_path)
    for heard, at, incarnation in [(1_000, 3_601_000, "ahead"), (2_000, 2_000, "right")]:
        await rig.publisher.on_heartbeats(
            [
                entry(
                    streams.HEARTBEAT,
                    heartbeat("executor", at=T0 + at, incarnation=incarnation, pending=heard),
                    T0 + heard,
                )
            ]
        )
    rig.clock.now = T0 + 2_000
    await rig.loop()

    row = next(row for row in state.load_status(tmp_path)["services"] if row["service"] == "executor")
    assert (row["alive"], row["pending"], row["restarts"]) == (True, 2_000, 2)


async def test_refused_intents_are_counted_once_and_the_last_twenty_shown(tmp_path):
    rig = await one_loop(tmp_path)
    batch = [entry(streams.ORDER_BLOCKED, blocked(number), T0) for number in range(25)]
    await rig.publisher.on_blocked(batch)
    await rig.publisher.on_blocked(batch)
    await rig.loop()
    shown = state.load_status(tmp_path)["blocked"]
    assert shown["count"] == 25
    assert [row["intent_id"] for row in shown["last"]] == [f"i-{number}" for number in range(5, 25)]
    assert shown["last"][0]["code"] == "opposed"


async def test_trades_give_the_quality_numbers(tmp_path):
    rig = await one_loop(tmp_path)
    trade = Trade(
        id="t1", at=T0, position_id="p1", account="main", exchange="paper", symbol=BTC, side=PositionSide.LONG, kind="linear", contract_size=D(1),
        settle="USDT", quantity=D(1), entry_price=D(1), exit_price=D(2), opened_at=T0, closed_at=T0, realized_pnl=D("1.5"), exit_reason=ExitReason.CLOSE,
        take_profit=None, stop_loss=D(1),
    )  # fmt: skip
    for _ in range(2):
        await rig.publisher.on_trades([entry(streams.LEDGER_TRADE, trade, T0)])
    await rig.loop()
    portfolio = state.load_kpis_v7_state(tmp_path)["portfolio"]
    assert (portfolio["quality_trades"], portfolio["expectancy"], portfolio["profit_factor"]) == (
        1,
        1.5,
        None,
    )


async def test_every_five_market_minutes_of_a_fast_replay_give_one_return(tmp_path):
    rig = Rig(tmp_path)
    await rig.load(positions=[position(quantity="10", price="100")])
    await rig.ticks(
        *(tick(BTC, str(100 + number % 7), at=T0 + number * BUCKET_MS // 5) for number in range(5 * 121))
    )
    await rig.loop()
    portfolio = state.load_kpis_v7_state(tmp_path)["portfolio"]
    assert portfolio["nav_returns"] == 119
    assert portfolio["var_nav_pct"] > 0
    assert portfolio["cvar_nav_pct"] >= portfolio["var_nav_pct"]


async def test_a_view_that_lags_behind_its_ledger_is_late(tmp_path):
    rig = await one_loop(tmp_path)
    for _ in range(5):
        await rig.beats()
        await rig.publisher.on_heartbeats(
            [entry(streams.HEARTBEAT, heartbeat("ledger", at=rig.clock.now, seq=50), rig.clock.now)]
        )
        await rig.loop()
    assert any("behind the ledger" in reason for reason in state.load_status(tmp_path)["reasons"])
    assert state.load_status(tmp_path)["status"] == "partial"


async def test_an_exit_that_does_not_end_turns_red(tmp_path):
    rig = await one_loop(tmp_path, position())
    fired = position(exit_attempts=1, exit_reason=ExitReason.STOP_LOSS, version=2)
    await rig.update(
        update(11, at=rig.clock.now, positions=[fired]),
        update(12, at=rig.clock.now + 5, positions=[fired.evolve(exit_attempts=2, version=3)]),
    )
    rig.clock.now += 61_000
    await rig.ticks(tick(BTC, "110", at=rig.clock.now))
    await rig.beats()
    await rig.loop(0)
    assert "stop_loss has been under way for 61.0 s" in state.load_status(tmp_path)["sentence"]
    await rig.update(update(13, positions=[fired.evolve(quantity=D(0), version=4)]))
    await rig.beats()
    await rig.loop()
    assert state.load_status(tmp_path)["status"] == "consistent"


# -- what cannot be written ---------------------------------------------------------------------------------------------


def fail_replace(monkeypatch, only):
    real = os.replace

    def replace(source, target):
        if only in str(target):
            raise OSError(errno.ENOSPC, "No space left on device")
        real(source, target)

    monkeypatch.setattr(os, "replace", replace)


async def test_one_file_that_cannot_be_written_is_said_in_the_status_file(tmp_path, monkeypatch):
    rig = await one_loop(tmp_path, position())
    fail_replace(monkeypatch, state.POSITIONS_STATE)
    await rig.loop()
    status = state.load_status(tmp_path)
    assert status["status"] == "critical"
    assert "positions_state.json: the disk is full" in status["reasons"][0]
    assert "the disk is full" in rig.publisher.beat()["warnings"][0]
    monkeypatch.undo()
    await rig.beats()
    await rig.loop()
    assert state.load_status(tmp_path)["status"] == "consistent"
    assert rig.publisher.beat()["warnings"] == []


async def test_a_disk_that_stays_full_ends_the_service_loudly(tmp_path, monkeypatch):
    rig = await one_loop(tmp_path, position())
    good = (tmp_path / state.POSITIONS_STATE).read_bytes()
    fail_replace(monkeypatch, str(tmp_path))

    async def go_on():
        for _ in range(100):
            await rig.loop()

    with pytest.raises(Terminal, match="the disk is full") as caught:
        await go_on()
    assert caught.value.code == EXIT_UNAVAILABLE
    assert rig.clock.now - T0 > 60_000
    assert (tmp_path / state.POSITIONS_STATE).read_bytes() == good


async def test_stopping_waits_for_a_write_that_is_under_way(tmp_path):
    rig = Rig(tmp_path)
    written, gate = [], asyncio.Event()

    async def slowly(function, *arguments):
        await gate.wait()
        written.append(function(*arguments))

    rig.publisher._offload = slowly
    await rig.load()
    writing = asyncio.create_task(rig.loop())
    await asyncio.sleep(0)
    writing.cancel()
    closing = asyncio.create_task(rig.publisher.close())
    await asyncio.sleep(0)
    assert not closing.done()
    gate.set()
    await closing
    assert len(written) == 1


async def test_in_a_thread_it_writes_the_same(tmp_path):
    rig = Rig(tmp_path, clock=HandClock())
    rig.publisher._offload = asyncio.to_thread
    await rig.load(positions=[position()])
    await rig.loop()
    assert len(state.load_positions_state(tmp_path)["positions"]) == 1


# -- the app ------------------------------------------------------------------------------------------------------------


def settings_for(directory):
    return Settings(state=StateSettings(directory=str(directory)))


async def test_a_second_publisher_is_refused_and_told_who_writes(tmp_path):
    app = build(settings_for(tmp_path))
    with (
        hold(tmp_path / state.LOCK, "state_publisher"),
        pytest.raises(Terminal, match=r"is held by state_publisher \(process") as caught,
    ):
        await app._starters[0]()
    assert caught.value.code == EXIT_HELD


async def test_a_directory_that_cannot_be_used_is_a_clear_end(tmp_path):
    (tmp_path / "file").write_text("")
    app = build(settings_for(tmp_path / "file"))
    with pytest.raises(Terminal, match=r"the state directory .* cannot be used"):
        await app._starters[0]()


async def test_at_start_leftovers_of_a_killed_writer_are_removed_and_at_stop_the_lock_is_free(tmp_path):
    leftover = tmp_path / f".positions_state.json.{os.getpid()}.abc.tmp"
    leftover.write_text("{")
    app = build(settings_for(tmp_path))
    await app._starters[0]()
    assert not leftover.exists()
    assert json.loads((tmp_path / state.LOCK).read_text())["service"] == "state_publisher"
    await app._stoppers[0]()
    with hold(tmp_path / state.LOCK, "the next one"):
        pass


def test_a_failed_write_is_an_oserror_with_its_path():
    error = WriteFailed(state.state_directory("x") / "y.json", OSError(errno.EROFS, "Read-only file system"))
    assert isinstance(error, OSError)
    assert (
        str(error)
        == "cannot write x/y.json: the file system is read-only; what stood there before is untouched"
    )


async def test_the_status_says_which_rules_hold_entries_back_and_until_when(tmp_path):
    rules = Portfolio(default=PortfolioRules(loss_streak=2, loss_streak_pause_ms=60_000))
    rig = Rig(tmp_path, portfolio=rules)
    await rig.load(risk=[RiskRow(account="main", losses=2, lost_at=T0)])
    await rig.beats()
    await rig.loop()
    (hold,) = state.load_status(tmp_path)["holds"]
    assert (hold["code"], hold["scope"], hold["since_ms"], hold["until_ms"]) == (
        "loss_streak",
        "main",
        T0,
        T0 + 60_000,
    )
    assert "limits.loss_streak is 2" in hold["reason"]
    await rig.loop(59_000)
    assert state.load_status(tmp_path)["holds"] == []
