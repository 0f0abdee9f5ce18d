"""What the first screen says: the light, positions, orders, refusals, services; and what changed since."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.contracts.alarms import Alert
from holdfast.contracts.codes import OrderState
from holdfast.contracts.messages import Trade
from holdfast.contracts.portfolio import RiskRow
from holdfast.contracts.rows import ControlRow, QuarantineRow
from holdfast.contracts.streams import ALERT, HEARTBEAT, LEDGER_TRADE, ORDER_BLOCKED
from holdfast.domain.portfolio_rules import Portfolio, PortfolioRules
from holdfast.domain.valuation import Capital
from services.dashboard import api
from services.dashboard.screen import Screen, difference, whole
from services.dashboard.words import money, percent, price, short_age, signed
from tests.unit._dashboard import Hand
from tests.unit._state import BTC, ETH, T0, blocked, entry, heartbeat, order, position, tick, update

D = Decimal


async def test_green_with_word_shape_and_count():
    cells = (await Hand().well(position("p1"), position("p2", symbol=ETH))).screen().cells

    assert (cells["light"], cells["lamp-shape"], cells["lamp@data-tone"]) == ("consistent", "●", "good")
    assert (cells["armed"], cells["title"]) == ("2/2 positions armed", "🟢 consistent · 2/2 armed")


async def test_without_a_ledger_nothing_is_claimed():
    cells = Hand().screen().cells

    assert (cells["light"], cells["armed"], cells["nav"]) == ("critical", "positions not known", "–")


async def test_what_is_not_armed_stands_on_top_in_red():
    hand = await Hand().well(position("p1", symbol="AAA/USDT"), position("p2", symbol="ZZZ/USDT"))
    hand.clock.now += 5_000
    await hand.ticks(tick("AAA/USDT", "100", at=T0 + 1), tick("ZZZ/USDT", "100", at=T0 + 1))
    await hand.beats(unarmed=["p2"])

    rows = hand.screen().lists["positions"]

    assert list(rows) == ["p2", "p1"]
    assert (rows["p2"]["row@data-tone"], rows["p2"]["armed"]) == ("bad", "not armed")
    assert (rows["p1"]["row@data-tone"], rows["p1"]["armed"]) == ("", "armed")


async def test_where_the_stop_rests():
    stop = order("s1", role="protect", side="sell", reduce_only=True, position_id="p2", stop_price="90.5")
    hand = await Hand().well(position("p1"), position("p2", symbol=ETH), orders=[stop])

    rows = hand.screen().lists["positions"]

    assert rows["p1"]["stop-where"] == "Holdfast watches it"
    assert rows["p2"]["stop-where"] == f"order at the exchange, {price(D('90.5'))}"


async def test_a_silent_scanner_makes_every_position_red():
    hand = await Hand().well(position())
    hand.clock.now += 6_000
    await hand.ticks(tick(BTC, "100", at=T0 + 1))
    await hand.beats("exit_scanner")

    screen = hand.screen()

    assert screen.cells["lamp@data-tone"] == "bad"
    assert screen.cells["sentence"].startswith("1 open position")
    assert [row["text"] for row in screen.lists["reasons"].values()][1].startswith("exit_scanner silent for")
    assert screen.lists["positions"]["p1"]["armed@data-tone"] == "bad"


async def test_a_position_in_figures():
    hand = await Hand().well(position(stop_loss=D(90), take_profit=D(120)))
    await hand.ticks(tick(BTC, "105", at=T0 + 1))

    row = hand.screen().lists["positions"]["p1"]

    assert (row["entry"], row["mark"], row["pnl"], row["pnl-pct"]) == ("100", "105", "+10.00 USDT", "5.00 %")
    assert (row["sl-distance"], row["tp-distance"], row["risk"]) == ("14.29 %", "14.29 %", "20.00 USDT")
    assert (row["bar-entry@x"], row["bar-mark@cx"], row["bar-fill@data-tone"]) == ("33.3", "50.0", "good")
    assert row["why"] == "stop 14.29 % away, target 14.29 % away"


async def test_a_short_is_read_the_other_way_round():
    hand = await Hand().well(position(side="short", stop_loss=D(110), take_profit=D(80)))
    await hand.ticks(tick(BTC, "95", at=T0 + 1))

    row = hand.screen().lists["positions"]["p1"]

    assert (row["pnl"], row["pnl-pct"], row["risk"]) == ("+10.00 USDT", "5.00 %", "20.00 USDT")
    assert row["bar-mark@cx"] == "50.0"


async def test_a_stop_beyond_the_entry_risks_nothing_and_no_target_is_said():
    row = position(stop_loss=D(101), take_profit=None, take_profit_spec="off", expires_at=T0 + 60_000)
    cells = (await Hand().well(row)).screen().lists["positions"]["p1"]

    assert (cells["risk"], cells["tp"], cells["tp-distance"]) == ("0.00 USDT", "off", "–")


async def test_an_exit_under_way_says_its_reason_and_attempt():
    row = position(exit_attempts=2, exit_reason="stop_loss")
    cells = (await Hand().well(row)).screen().lists["positions"]["p1"]

    assert cells["why"].startswith("closing: stop_loss, attempt 2")


async def test_an_old_price_is_pointed_at():
    hand = await Hand().well(position())
    hand.clock.now += 70_000
    await hand.beats()

    row = hand.screen().lists["positions"]["p1"]

    assert (row["mark-age"], row["mark-age@data-tone"], row["row@data-tone"]) == ("70 s", "warn", "warn")


async def test_unknown_orders_come_first_and_loud():
    hand = await Hand().well(orders=[order("o1"), order("o2", OrderState.UNKNOWN, reserved_at=T0 + 5)])

    screen = hand.screen()

    assert list(screen.lists["orders"]) == ["o2", "o1"]
    assert screen.lists["orders"]["o2"]["row@data-tone"] == "bad"
    assert (screen.cells["orders-count"], screen.cells["unknown-count"]) == ("2", "1 unknown")


async def test_an_order_without_an_end_is_pointed_at_unless_it_rests():
    hand = await Hand().well(
        orders=[order("o1", OrderState.RESERVED), order("o2", price=D(50), type="limit")]
    )
    hand.clock.now += 11_000

    rows = hand.screen().lists["orders"]

    assert (rows["o1"]["row@data-tone"], rows["o2"]["row@data-tone"]) == ("warn", "")


async def test_a_stop_that_rests_at_the_exchange_is_no_order_without_an_end():
    hand = await Hand().well(
        orders=[order("o1", role="protect", side="sell", type="market", stop_price=D(90))]
    )
    hand.clock.now += 60_000

    row = hand.screen().lists["orders"]["o1"]

    assert (row["row@data-tone"], row["what"]) == ("", "sell 1 at market once 90 is reached")


async def test_refusals_newest_first_with_a_rate():
    hand = await Hand().well()
    for number in range(30):
        await hand.watcher.on_blocked([entry(ORDER_BLOCKED, blocked(number, at=T0 + number), T0)])
    await hand.watcher.on_blocked([entry(ORDER_BLOCKED, blocked(29, at=T0 + 29), T0)])

    screen = hand.screen()

    assert next(iter(screen.lists["blocked"])) == "b-29"
    assert (screen.cells["blocked-count"], screen.cells["blocked-rate"]) == ("30", "6.0 a minute over 5 min")
    assert screen.cells["blocked-codes"] == "opposed 30"
    hand.clock.now += 301_000
    assert hand.screen().cells["blocked-rate"] == "0.0 a minute over 5 min"


async def test_services_with_restarts_and_complaints():
    hand = await Hand().well()
    again = heartbeat(
        "ledger", at=T0 + 1, incarnation="b", warnings=["slow disk"], pending=3, oldest_pending_ms=1500
    )
    hand.clock.now += 1
    await hand.watcher.on_heartbeats([entry(HEARTBEAT, again, T0 + 1)])

    row = hand.screen().lists["services"]["ledger"]

    assert (row["restarts"], row["pending"], row["oldest"], row["complaint"]) == (
        "1",
        "3",
        "1.5 s",
        "slow disk",
    )
    assert row["row@data-tone"] == "warn"
    assert [(mark.kind, mark.text) for mark in hand.watcher.events] == [("restart", "ledger started again")]


async def test_what_holds_entries_back_is_shown_with_its_reason_and_its_end():
    rules = Portfolio(default=PortfolioRules(loss_streak=3, loss_streak_pause_ms=3_600_000))
    row = RiskRow(account="main", losses=3, lost_at=T0)
    hand = await Hand(portfolio=rules).well(risk=[row])
    screen = hand.screen()

    ((name, cells),) = screen.lists["holds"].items()
    assert (name, cells["scope"], cells["rule"]) == ("main-loss_streak", "main", "loss streak")
    assert "the last 3 trades of account main lost" in cells["why"]
    assert (cells["until"], cells["until-at@data-ms"]) == ("", str(T0 + 3_600_000))
    assert screen.cells["holds@hidden"] == ""
    assert api.holds(hand.watcher)[0]["code"] == "loss_streak"

    hand.clock.now = T0 + 3_600_000
    assert hand.screen().lists["holds"] == {}
    assert hand.screen().cells["holds@hidden"] == "hidden"


async def test_quarantine_and_trading_states_are_shown():
    item = QuarantineRow(
        quarantine_id="q-1",
        account="main",
        exchange="paper",
        symbol=BTC,
        side="long",
        quantity=2,
        price=5,
        why="stranger",
        at=T0,
    )
    halted = ControlRow(scope="all", target="", state="halted", by="cli:anna", why="storm", at=T0)
    screen = (await Hand().well(quarantine=[item], control=[halted])).screen()

    assert screen.lists["quarantine"]["q-1"]["why"] == "stranger"
    assert screen.cells["quarantine@hidden"] == ""
    assert (screen.cells["trading"], screen.cells["trading-who"]) == ("halted", "by cli:anna: storm")
    assert screen.lists["control"]["all-"]["state"] == "halted"


async def test_open_alerts_are_shown_unseen_and_grave_first_and_leave_when_they_recover():
    hand = await Hand().well()

    async def hear(key, state="raised", **more):
        values = {
            "id": f"{key}-{state}",
            "at": T0,
            "key": key,
            "event": key,
            "text": key,
            "opened_at": T0,
            "state": state,
        }
        await hand.watcher.on_alerts([entry(ALERT, Alert.model_validate(values | more), T0)])

    assert hand.screen().cells["alerts@hidden"] == "hidden"
    await hear("quarantine")
    await hear("drawdown", critical=True, times=3)
    await hear("light", critical=True)
    await hear("light", "acknowledged", by="anna", critical=True)
    await hear("drawdown", "undeliverable", undelivered=["telegram: 401"])
    screen = hand.screen()
    assert (screen.cells["alerts@hidden"], screen.cells["alerts-count"]) == ("", "3")
    rows = screen.lists["alerts"]
    assert list(rows) == ["drawdown", "quarantine", "light"]
    assert rows["drawdown"]["undelivered"] == "could not be delivered: telegram: 401"
    assert (rows["drawdown"]["called"], rows["drawdown"]["row@data-tone"]) == ("called 3 times", "bad")
    assert (rows["light"]["state"], rows["light"]["ack@hidden"]) == ("seen by anna", "hidden")

    await hear("drawdown", "recovered")
    await hear("drawdown", "undeliverable", undelivered=["late word"])  # on an alert that is over
    await hear("drawdown")
    assert hand.screen().lists["alerts"]["drawdown"]["undelivered"] == ""


async def test_the_longest_time_unprotected_is_shown_not_a_sum():
    hand = await Hand().well(position("p1"), position("p2", symbol=ETH))
    hand.watcher.picture()
    hand.clock.now += 10_000
    await hand.ticks(tick(BTC, "100", at=T0 + 1), tick(ETH, "100", at=T0 + 1))
    await hand.beats("exit_scanner")

    assert hand.screen().cells["unprotected"] == "10.0 s"


async def test_time_unprotected_is_counted_while_nothing_is_armed():
    hand = await Hand().well(position())
    hand.watcher.picture()
    hand.clock.now += 10_000
    await hand.ticks(tick(BTC, "100", at=T0 + 1))
    await hand.beats("exit_scanner")

    assert hand.screen().cells["unprotected"] == "10.0 s"


# -- what is counted for the other pages --------------------------------------------------------------------------------


def trade(number: int, pnl: str, reason: str = "take_profit") -> Trade:
    return Trade(
        id=f"t{number}", at=T0 + number * 1000, position_id=f"p{number}", account="main", exchange="paper", symbol=BTC, side="long", kind="linear",
        contract_size=1, settle="USDT", quantity=1, entry_price=100, exit_price=101, opened_at=T0, closed_at=T0 + 60_000, realized_pnl=pnl,
        exit_reason=reason, stop_loss=90,
    )  # fmt: skip


async def test_equity_before_the_start_is_counted_back_from_the_cash_of_now():
    hand = await Hand(capital=Capital(D(1000))).well()
    await hand.watcher.on_trades([entry(LEDGER_TRADE, one, T0) for one in (trade(1, "10"), trade(2, "-60"))])

    told = api.equity(hand.watcher)

    assert [point[:2] for point in told["realized"]] == [[T0 + 1000, D(1060)], [T0 + 2000, D(1000)]]
    assert told["realized"][1][2] == D("0.056603773584905660")


async def test_exit_reasons_are_grouped():
    hand = await Hand().well()
    await hand.watcher.on_trades(
        [
            entry(LEDGER_TRADE, one, T0)
            for one in (trade(1, "10"), trade(2, "-4"), trade(3, "-1", "stop_loss"))
        ]
    )

    rows = api.exit_reasons(hand.watcher)

    assert [(row["exit_reason"], row["count"], row["wins"], row["realized_pnl"]) for row in rows] == [
        ("take_profit", 2, 1, 6),
        ("stop_loss", 1, 0, -1),
    ]


async def test_nav_is_noted_every_ten_seconds_and_a_long_curve_is_thinned():
    hand = await Hand().well()
    for _ in range(25):
        hand.clock.now += 1_000
        await hand.watcher.on_time()

    assert len(hand.watcher.equity) == 3
    assert len(api.thinned([[number] for number in range(10_000)])) <= 2_000
    assert api.thinned([[number] for number in range(10_000)])[-1] == [9_999]


async def test_progress_means_that_the_ledger_is_followed_and_the_bus_comes_round():
    hand = Hand()
    assert "heartbeat" in hand.watcher.trouble("dashboard")
    await hand.beats()
    assert "snapshot" in hand.watcher.trouble("dashboard")
    await hand.well()
    assert hand.watcher.trouble("dashboard") is None
    hand.clock.now += 6_000
    assert "silent for 6.0 s" in hand.watcher.trouble("dashboard")


# -- words -------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("made", "text"),
    [
        (price(D("43250.123456")), "43250.12"), (price(D("0.00001234567")), "0.00001234567"), (price(D(100)), "100"), (price(None), "–"),
        (money(D("1234567.891")), "1,234,567.89"), (money(D("0.000123456")), "0.000123"), (money(D(0)), "0.00"), (signed(D("1.5")), "+1.50"),
        (signed(D(-2)), "-2.00"), (percent(D("0.0512")), "5.12 %"), (short_age(500), "now"), (short_age(90_000), "90 s"), (short_age(None), "never"),
        (short_age(7_200_000), "2.0 h"),
    ],
)  # fmt: skip
def test_amounts_and_ages_as_people_read_them(made, text):
    assert made == text


# -- what changed ---------------------------------------------------------------------------------------------------------------

CELLS = st.dictionaries(st.sampled_from("abcd"), st.text(max_size=2), max_size=4)
ROWS = st.lists(
    st.tuples(
        st.sampled_from("pqrst"), st.fixed_dictionaries({"x": st.text(max_size=2), "y": st.text(max_size=2)})
    ),
    max_size=5,
).map(dict)


def applied(shown: dict, message: dict) -> dict:
    """What a page shows after *message*, as app.js does it."""
    cells = dict(shown["cells"]) | message.get("cells", {})
    lists = {name: dict(rows) for name, rows in shown["lists"].items()}
    for name, change in message.get("lists", {}).items():
        rows = lists.setdefault(name, {})
        for key, row in change.get("rows", {}).items():
            rows[key] = rows.get(key, {}) | row
        if "order" in change:
            lists[name] = {key: rows[key] for key in change["order"]}
    return {"cells": cells, "lists": lists}


@given(
    st.fixed_dictionaries({"a": st.text(max_size=2)}),
    st.fixed_dictionaries({"a": st.text(max_size=2)}),
    ROWS,
    ROWS,
)
def test_the_difference_turns_the_old_screen_into_the_new(old_cells, new_cells, old_rows, new_rows):
    old, new = Screen(old_cells, {"l": old_rows}), Screen(new_cells, {"l": new_rows})
    shown = applied({"cells": {}, "lists": {}}, whole(old))

    after = applied(shown, difference(old, new))

    assert after == {"cells": new_cells, "lists": {"l": new_rows}}
    assert list(after["lists"]["l"]) == list(new_rows)


async def test_nothing_is_sent_of_what_has_not_changed():
    hand = await Hand().well(position("p1"), position("p2", symbol=ETH))
    before = hand.screen()
    await hand.ticks(tick(BTC, "101", at=T0 + 1))

    change = difference(before, hand.screen())

    assert list(change["lists"]) == ["positions"]
    assert list(change["lists"]["positions"]["rows"]) == ["p1"]
    assert "quantity" not in change["lists"]["positions"]["rows"]["p1"]
    assert difference(before, before) == {}


async def test_closed_positions_leave():
    hand = await Hand().well(position("p1"))
    await hand.update(update(11, positions=[position("p1", version=2).evolve(quantity=D(0))]))

    assert hand.screen().lists["positions"] == {}
