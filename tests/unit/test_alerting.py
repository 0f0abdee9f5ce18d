"""When somebody is called, reminded, called louder, and told that it is over."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.contracts.codes import AlertEvent, AlertState
from holdfast.contracts.rows import QuarantineRow
from holdfast.domain.alerting import (
    MOST_NAMED,
    DayStart,
    Desk,
    Manners,
    Picture,
    Rate,
    Thresholds,
    Trouble,
    numbered,
    troubles,
)
from holdfast.domain.light import CONSISTENT, CRITICAL, PARTIAL, Light

T0 = 1_700_000_000_000
GREEN = Light(CONSISTENT, "fine", [], 1, 1)
RED = Light(CRITICAL, "exit_scanner is silent", ["exit_scanner is silent"], 1, 0)
DOWN = Trouble(AlertEvent.SERVICE_DOWN, "executor", "executor is down: silent for 9 s", critical=True)
STRANGER = Trouble(AlertEvent.QUARANTINE, "q-1", "long 1 BTC/USDT is in quarantine")
NOW_SAID = Manners(repeat_ms=60_000, escalate_ms=90_000, calm_ms=5_000, most_per_minute=3)
AT_ONCE = Thresholds(red_after_ms=0, yellow_after_ms=0, unknown_after_ms=0, down_after_ms=0)


def desk(thresholds: Thresholds = AT_ONCE, manners: Manners = NOW_SAID) -> Desk:
    return Desk(thresholds, manners)


def said(alerts) -> list[tuple[str, str]]:
    return [(alert.key, alert.state.value) for alert in alerts]


def picture(light: Light = GREEN, **more) -> Picture:
    return Picture(**{"light": light, "silent": {}, **more})


# -- what is wrong -----------------------------------------------------------------------------------------------------


def test_nothing_is_wrong_when_nothing_is_wrong():
    assert troubles(picture(), Thresholds()) == []


@pytest.mark.parametrize(
    ("shown", "key", "critical"),
    [
        (picture(RED), "light:critical", True),
        (picture(Light(PARTIAL, "late", ["late"], 1, 1)), "light:partial", False),
        (picture(silent={"executor": "silent for 9 s"}), "service_down:executor", True),
        (picture(silent={"ledger": "silent for 9 s"}), "ledger_stopped", True),
        (picture(dead_letters=[("d-1", "ledger could not use fill 1-0: no")]), "dead_letter:d-1", False),
        (picture(blocked_rate=Decimal("10.01")), "blocked_rate", False),
        (picture(drawdown=Decimal("0.1001")), "drawdown", True),
        (picture(daily_loss=Decimal("0.0501")), "daily_loss", True),
    ],
)
def test_each_thing_worth_a_call(shown, key, critical):
    assert [(found.key, found.critical) for found in troubles(shown, Thresholds())] == [(key, critical)]


@pytest.mark.parametrize(
    "shown",
    [
        picture(blocked_rate=Decimal(10)),
        picture(drawdown=Decimal("0.1")),
        picture(daily_loss=Decimal("0.05")),
        picture(drawdown=None),
    ],
)
def test_exactly_the_limit_is_not_more_than_it(shown):
    assert troubles(shown, Thresholds()) == []


def test_many_of_a_kind_get_one_alert_for_the_rest():
    rows = [
        QuarantineRow(
            quarantine_id=f"q-{n}", account="main", exchange="paper", symbol="BTC/USDT", why="?", at=T0
        )
        for n in range(MOST_NAMED + 7)
    ]
    found = troubles(picture(quarantine=rows), Thresholds())
    assert len(found) == MOST_NAMED + 1
    assert found[-1].text == "and 7 more of quarantine"


# -- what is said about it -----------------------------------------------------------------------------------------------


def test_a_trouble_is_said_once_it_has_lasted():
    patient = desk(Thresholds(down_after_ms=3_000))
    assert said(patient.observe([DOWN], T0)) == []
    assert said(patient.observe([DOWN], T0 + 2_999)) == []
    assert said(patient.observe([DOWN], T0 + 3_000)) == [("service_down:executor", "raised")]
    assert said(patient.observe([DOWN], T0 + 4_000)) == []


def test_a_flicker_before_its_time_is_never_said():
    patient = desk(Thresholds(down_after_ms=3_000))
    patient.observe([DOWN], T0)
    assert said(patient.observe([], T0 + 1_000)) == []
    assert said(patient.observe([DOWN], T0 + 2_000)) == []
    assert said(patient.observe([DOWN], T0 + 4_999)) == []
    assert said(patient.observe([DOWN], T0 + 5_000)) == [("service_down:executor", "raised")]


def test_what_is_gone_for_a_while_has_recovered_and_what_comes_back_before_goes_on():
    one = desk()
    one.observe([DOWN], T0)
    assert said(one.observe([], T0 + 5_000)) == []
    assert said(one.observe([DOWN], T0 + 5_000)) == []
    assert said(one.observe([], T0 + 10_000)) == []
    assert said(one.observe([], T0 + 10_001)) == [("service_down:executor", "recovered")]
    assert said(one.observe([DOWN], T0 + 20_000)) == [("service_down:executor", "raised")]


def test_reminders_until_somebody_has_seen_it():
    one = desk()
    one.observe([STRANGER], T0)
    assert said(one.observe([STRANGER], T0 + 60_000)) == [("quarantine:q-1", "repeated")]
    assert said(one.acknowledge("quarantine:q-1", "ann", T0 + 61_000)) == [("quarantine:q-1", "acknowledged")]
    assert said(one.observe([STRANGER], T0 + 200_000)) == []
    assert said(one.observe([], T0 + 300_000)) == [("quarantine:q-1", "recovered")]


def test_a_critical_alert_that_nobody_sees_goes_to_the_second_circle_once_and_is_repeated_there():
    one = desk()
    one.observe([DOWN], T0)
    assert said(one.observe([DOWN], T0 + 60_000)) == [("service_down:executor", "repeated")]
    assert said(one.observe([DOWN], T0 + 90_000)) == [("service_down:executor", "escalated")]
    assert said(one.observe([DOWN], T0 + 149_999)) == []
    assert said(one.observe([DOWN], T0 + 150_000)) == [("service_down:executor", "escalated")]


def test_what_is_not_critical_is_never_escalated():
    one = desk()
    states = {state for n in range(20) for _, state in said(one.observe([STRANGER], T0 + n * 60_000))}
    assert states == {"raised", "repeated"}


def test_acknowledging_all_takes_only_what_is_open():
    one = desk()
    one.observe([DOWN, STRANGER], T0)
    assert len(one.acknowledge("", "ann", T0 + 1)) == 2
    assert one.acknowledge("", "ann", T0 + 2) == []
    assert one.acknowledge("no such key", "ann", T0 + 2) == []


def test_a_new_life_says_nothing_twice_and_still_tells_the_recovery():
    first, second = desk(), desk()
    raised = [numbered(alert) for alert in first.observe([DOWN, STRANGER], T0)]
    raised += [numbered(alert) for alert in first.acknowledge("quarantine:q-1", "ann", T0 + 10)]
    second.resume(reversed(raised), T0 + 1_000)
    assert said(second.observe([DOWN, STRANGER], T0 + 1_000)) == []
    assert said(second.observe([STRANGER], T0 + 60_500)) == [("service_down:executor", "recovered")]
    assert said(second.observe([STRANGER], T0 + 70_000)) == []  # acknowledged in the first life


def test_at_most_so_many_a_minute_and_the_rest_are_counted():
    one = desk()
    assert [one.may_deliver(T0 + n) for n in range(5)] == [True, True, True, False, False]
    assert one.may_deliver(T0 + 60_002)
    assert one.take_held_back() == 2
    assert one.take_held_back() == 0


@given(st.lists(st.tuples(st.integers(0, 30_000), st.booleans()), max_size=60))
def test_what_is_told_of_a_key_makes_sense_in_order(steps):
    """Raised first, nothing after recovered but raised, acknowledged never from observing."""
    one, now, open_now = desk(), T0, False
    for pause, wrong in steps:
        now += pause
        for alert in one.observe([DOWN] if wrong else [], now):
            if alert.state is AlertState.RAISED:
                assert not open_now
                open_now = True
            else:
                assert open_now
                open_now = alert.state is not AlertState.RECOVERED
    assert open_now == bool(one.open())


# -- what is counted -------------------------------------------------------------------------------------------------------


def test_a_rate_counts_what_lies_in_the_window():
    rate = Rate(60_000)
    for n in range(30):
        rate.take(T0 + n * 1_000)
    assert rate.per_minute(T0 + 29_000) == 30
    assert rate.per_minute(T0 + 75_000) == 15
    assert rate.per_minute(T0 + 200_000) == 0


def test_the_days_loss_counts_from_the_days_first_look_and_survives_a_restart():
    first, second = DayStart(), DayStart()
    assert first.loss(Decimal(1000), T0) == 0
    assert first.loss(Decimal(950), T0 + 1_000) == Decimal("0.05")
    assert first.loss(Decimal(1100), T0 + 2_000) == 0
    second.resume(*first.as_texts())
    assert second.loss(Decimal(900), T0 + 3_000) == Decimal("0.1")
    assert second.loss(Decimal(900), T0 + 86_400_000) == 0


@pytest.mark.parametrize(("day", "nav"), [("", ""), ("x", "1"), ("19675", "many"), ("19675", "")])
def test_a_day_that_cannot_be_read_is_begun_anew(day, nav):
    start = DayStart()
    start.resume(day, nav)
    assert start.loss(Decimal(10), T0) == 0
