"""The light asks for proof of life: silence, ignorance and old prices are never green."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.contracts.codes import Code, ExitReason, OrderState, Role, Side, UpdateKind
from holdfast.contracts.messages import LedgerUpdated
from holdfast.contracts.rows import BookRow, OrderRow, QuarantineRow
from holdfast.domain.light import (
    CONSISTENT,
    CRITICAL,
    PARTIAL,
    Beat,
    LightInputs,
    Limits,
    Watched,
    age,
    from_status,
    light,
)
from holdfast.domain.protection import ProtectionClock, Sight, sights
from holdfast.domain.watch import Services
from tests.unit._exits import exit_order
from tests.unit._state import BTC, T0, D, heartbeat, position

NOW = T0 + 100_000


def watch(position_id="p1", *, seq=5, changed=NOW - 50_000, price=NOW, exit_since=None, **row):
    return Watched(position(position_id, **row), seq, changed, price, exit_since)


def beats(*, heard=NOW, through=5, unarmed=(), without=(), scanner=None, **more):
    said = {
        "ledger": {},
        "executor": {},
        "exit_scanner": {"armed_through": through, "unarmed": list(unarmed), **(scanner or {})},
        **more,
    }
    return {
        name: Beat.of(heartbeat(name, at=heard, **fields), heard)
        for name, fields in said.items()
        if name not in without
    }


def shine(*positions, **inputs):
    values = {"now_ms": NOW, "started_ms": T0, "positions": positions, "beats": beats(), "view_seq": 5}
    return light(LightInputs(**{**values, **inputs}))


def test_everything_armed_alive_and_priced_is_consistent():
    found = shine(watch("a"), watch("b"))
    assert (found.status, found.symbol, found.exit_code) == (CONSISTENT, "🟢", 0)
    assert (found.open_positions, found.armed, found.reasons) == (2, 2, [])
    assert found.sentence == "2 open positions, all with working exits"


def test_no_positions_and_everybody_alive_is_consistent():
    assert shine().sentence == "no open positions; everything is alive"


def test_no_snapshot_is_critical_and_not_no_positions():
    found = shine(positions=None)
    assert (found.status, found.exit_code, found.open_positions) == (CRITICAL, 2, None)
    assert found.reasons[0] == "no ledger snapshot yet"


@pytest.mark.parametrize("service", ["ledger", "executor", "exit_scanner"])
def test_a_required_service_that_was_never_heard_is_critical(service):
    found = shine(beats=beats(without=(service,)))
    assert found.status == CRITICAL
    assert f"{service} silent" in found.sentence


@pytest.mark.parametrize("service", ["ledger", "executor", "exit_scanner"])
def test_a_required_service_that_fell_silent_is_critical_with_its_age(service):
    known = beats()
    known[service] = Beat(known[service].message, NOW - 5_001)
    found = shine(watch(), beats=known)
    assert found.status == CRITICAL
    assert any(reason.startswith(f"{service} silent for 5.0 s") for reason in found.reasons)


def test_silence_of_a_feed_is_partial_and_of_a_demonstration_nothing():
    assert (
        shine(
            beats=beats(market_feed={}) | {"market_feed": Beat(heartbeat("market_feed"), NOW - 9_000)}
        ).status
        == PARTIAL
    )
    assert shine(beats=beats() | {"demo": Beat(heartbeat("demo"), NOW - 9_000)}).status == CONSISTENT


def test_the_incident_of_the_first_seed_is_critical():
    """Positions open, the registry empty: the scanner is alive and has armed nothing."""
    found = shine(watch("a"), watch("b"), beats=beats(through=0))
    assert (found.status, found.armed) == (CRITICAL, 0)
    assert found.sentence.startswith("2 open positions, none of them armed")


def test_a_scanner_that_says_nothing_about_arming_has_armed_nothing():
    assert shine(watch(), beats=beats(through=None)).status == CRITICAL


def test_a_position_that_could_not_be_armed_is_partial_beside_one_that_is():
    found = shine(watch("a"), watch("b"), beats=beats(unarmed=["b"]))
    assert (found.status, found.armed, found.exit_code) == (PARTIAL, 1, 1)
    assert "could not arm it" in found.reasons[0]


def test_a_change_that_the_scanner_has_not_reached_is_late_after_the_grace():
    found = shine(watch("a"), watch("b", seq=6, changed=NOW - 3_001))
    assert (found.status, found.armed) == (PARTIAL, 1)
    assert "not armed 3.0 s after its last change" in found.reasons[0]


def test_a_change_of_a_moment_ago_is_being_armed_and_said_so():
    found = shine(watch("a", seq=6, changed=NOW - 1_000))
    assert (found.status, found.armed, found.arming) == (CONSISTENT, 0, 1)
    assert "being armed" in found.sentence


def test_grace_does_not_excuse_a_dead_scanner():
    assert shine(watch("a", seq=6, changed=NOW), beats=beats(without=("exit_scanner",))).status == CRITICAL


@pytest.mark.parametrize(
    ("price", "text"), [(NOW - 60_001, "its price is 60.0 s old"), (None, "no price yet")]
)
def test_a_missing_or_old_price_is_partial(price, text):
    found = shine(watch(price=price))
    assert found.status == PARTIAL
    assert text in found.sentence


def test_a_take_profit_that_is_missing_is_partial_and_one_that_is_off_is_not():
    assert "no take-profit" in shine(watch("a"), watch("b", take_profit=None)).sentence
    assert shine(watch("a", take_profit=None, take_profit_spec="off")).status == CONSISTENT


def test_disputed_books_and_refused_exits_are_critical():
    book = BookRow(book_id="main/paper/BTC/USDT", account="main", exchange="paper", symbol=BTC)
    assert (
        "disputed: trade 7 came twice" in shine(books=[book.evolve(disputed="trade 7 came twice")]).sentence
    )
    assert "was refused: order o1" in shine(books=[book.evolve(refused_exit="order o1 holds it")]).sentence
    assert shine(books=[book]).status == CONSISTENT


def test_a_source_that_cannot_be_trusted_is_critical_and_a_warning_is_partial():
    assert (
        shine(beats=beats(executor={"unreadable": "the venue's positions"})).sentence
        == "executor cannot trust what it reads: the venue's positions"
    )
    assert shine(beats=beats(executor={"warnings": ["slow venue"]})).status == PARTIAL


def test_quarantine_is_partial():
    row = QuarantineRow(
        quarantine_id="q1",
        account="main",
        exchange="paper",
        symbol=BTC,
        why="not opened by Holdfast",
        at=NOW - 1000,
    )
    assert (
        shine(quarantine=[row]).sentence
        == f"{BTC} (main/paper) in quarantine for 1.0 s: not opened by Holdfast"
    )


def test_an_order_that_stays_unknown_is_partial():
    order = OrderRow(
        order_id="o1", intent_id="i1", book_id="b", account="main", exchange="paper", symbol=BTC, contract_size=D(1), settle="USDT", role=Role.ENTRY,
        side=Side.BUY, quantity=D(1), state=OrderState.UNKNOWN, incarnation="x", epoch=1, send_by=0, reserved_at=0, changed_at=NOW - 6_000,
    )  # fmt: skip
    assert shine(unknown_orders=[order]).status == PARTIAL
    assert shine(unknown_orders=[order.evolve(changed_at=NOW)]).status == CONSISTENT


def test_a_hard_exit_that_does_not_end_is_critical_and_a_soft_one_is_not():
    late = {"exit_since": NOW - 61_000, "exit_attempts": 4}
    assert (
        "stop_loss has been under way for 61.0 s"
        in shine(watch(exit_reason=ExitReason.STOP_LOSS, **late)).sentence
    )
    assert shine(watch(exit_reason=ExitReason.CLOSE, **late)).status == CONSISTENT


def test_scanner_and_ledger_must_count_the_same():
    found = shine(watch("a"), watch("b"), beats=beats(scanner={"seq": 5, "armed": 1}))
    assert found.status == PARTIAL
    assert "counts 1 armed" in found.sentence


def test_red_comes_before_yellow_and_reasons_are_bounded():
    found = shine(*(watch(f"p{number}", price=None) for number in range(100)), untrusted=["the disk is full"])
    assert found.status == CRITICAL
    assert found.reasons[0] == "the disk is full"
    assert len(found.reasons) == 51
    assert found.reasons[-1] == "and 51 more"


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.tuples(st.booleans(), st.booleans(), st.booleans()), max_size=5),
    st.sets(st.sampled_from(["ledger", "executor", "exit_scanner"])),
)
def test_green_is_only_ever_a_proof(facts, silent):
    """Whatever is combined: green means that nobody is silent and every position is armed and priced."""
    rows = [
        watch(
            f"p{number}",
            seq=5 if armed else 6,
            price=NOW if priced else NOW - 90_000,
            take_profit=D(200) if has_exits else None,
        )
        for number, (armed, priced, has_exits) in enumerate(facts)
    ]
    found = shine(*rows, beats=beats(without=tuple(silent)))
    proven = not silent and all(all(fact) for fact in facts)
    assert (found.status == CONSISTENT) is proven
    if rows and (silent or not any(armed and has_exits for armed, _, has_exits in facts)):
        assert found.status == CRITICAL


@pytest.mark.parametrize(
    ("ms", "text"),
    [(-5, "0.0 s"), (1_250, "1.2 s"), (119_999, "120.0 s"), (120_000, "2 min"), (7_200_000, "2.0 h")],
)
def test_ages_read_well(ms, text):
    assert age(ms) == text


def test_the_light_of_a_file_is_red_when_the_file_is_missing_or_old():
    status = {"updated_ms": NOW, **shine(watch()).as_fields()}
    assert from_status(status, NOW + 1000, 5000) == shine(watch())
    old = from_status(status, NOW + 6000, 5000)
    assert (old.status, old.exit_code) == (CRITICAL, 2)
    assert "6.0 s old" in old.sentence
    assert from_status({}, NOW, 5000).status == CRITICAL


# -- the protection clock -----------------------------------------------------------------------------------------------


def see(clock, now, proof, position_id="p", recorded=T0):
    clock.observe(now, [Sight(position_id, recorded, proof)])
    return clock.unprotected_ms(position_id, now)


STATES = (OrderState.RESERVED, OrderState.OPEN, OrderState.CANCELING, OrderState.CANCELED, OrderState.FILLED)


def stop_is(state, at, *positions, **fields):
    """The ledger's news of a stop on spot."""
    held = position("p", quantity=D(2), kind="spot")
    row = exit_order(held, None, held.quantity, at, role=Role.PROTECT, kind="spot", stop_price=D(90))
    row = row.evolve(order_id="stop", state=state, changed_at=at, position_id="p", **fields)
    return LedgerUpdated(
        id=f"u{at}", at=at, seq=1, store_id="s", epoch=1, kind=UpdateKind.STATUS, orders=[row], positions=list(positions)
    )  # fmt: skip


def test_on_spot_the_time_without_a_stop_at_the_venue_counts_from_the_first_one_on():
    clock = ProtectionClock(T0)
    see(clock, T0 + 10, (T0, T0))
    clock.hear([stop_is(OrderState.RESERVED, T0 + 100), stop_is(OrderState.OPEN, T0 + 600)])
    assert see(clock, T0 + 5_000, (T0 + 5_000, T0 + 5_000)) == 500
    gone = [stop_is(OrderState.CANCELING, T0 + 6_000), stop_is(OrderState.CANCELED, T0 + 6_200)]
    clock.hear(gone)
    assert clock.unprotected_ms("p", T0 + 6_300) == 800
    clock.hear([stop_is(OrderState.RESERVED, T0 + 6_400), stop_is(OrderState.OPEN, T0 + 7_000)])
    assert clock.unprotected_ms("p", T0 + 9_000) == 1_500
    clock.hear([stop_is(OrderState.PARTIAL, T0 + 9_500), stop_is(OrderState.CANCELING, T0 + 9_600)])
    clock.hear([stop_is(OrderState.CANCELED, T0 + 9_700, position("p", quantity=D(0)))])
    clock.observe(T0 + 20_000, [])
    assert clock.closed_total_ms == 1_600
    clock.hear([stop_is(OrderState.CANCELED, T0 + 21_000)])
    assert clock.unprotected_ms("p", T0 + 22_000) == 0, "news of one that is gone counts for nobody"


def test_one_that_was_taken_away_on_purpose_is_not_missed():
    clock = ProtectionClock(T0)
    see(clock, T0 + 10, (T0, T0))
    clock.hear([stop_is(OrderState.OPEN, T0 + 100), stop_is(OrderState.CANCELING, T0 + 200)])
    clock.hear([stop_is(OrderState.CANCELED, T0 + 300, code=Code.ON_REQUEST)])
    assert clock.unprotected_ms("p", T0 + 9_000) == 100


def test_of_one_that_has_closed_before_anybody_looked_nothing_is_kept():
    clock = ProtectionClock(T0)
    clock.hear([stop_is(OrderState.RESERVED, T0 + 100), stop_is(OrderState.OPEN, T0 + 200)])
    gone = position("p", quantity=D(0))
    clock.hear([stop_is(OrderState.CANCELING, T0 + 300, gone, code=Code.POSITION_GONE)])
    clock.hear([stop_is(OrderState.CANCELED, T0 + 400, code=Code.POSITION_GONE)])
    assert clock._bare == {}


def test_it_counts_from_the_record_until_it_is_first_armed():
    clock = ProtectionClock(T0 - 1)
    assert see(clock, T0 + 500, None) == 500
    assert see(clock, T0 + 1500, (T0 + 100, T0 + 900)) == 900
    assert see(clock, T0 + 2500, (T0 + 2000, T0 + 2100)) == 900


def test_a_gap_counts_from_the_last_proof_not_from_its_discovery():
    clock = ProtectionClock(T0)
    see(clock, T0 + 100, (T0, T0))
    see(clock, T0 + 1_000, (T0 + 1_000, T0 + 1_000))
    assert see(clock, T0 + 7_000, None) == 6_000
    assert see(clock, T0 + 9_000, (T0 + 8_000, T0 + 8_500)) == 7_500


def test_nothing_is_claimed_about_the_time_before_the_publisher_started():
    clock = ProtectionClock(T0 + 10_000)
    assert see(clock, T0 + 12_000, None) == 2_000


def test_a_closed_position_keeps_its_place_in_the_sums():
    clock = ProtectionClock(T0)
    clock.observe(T0 + 400, [Sight("a", T0, None), Sight("b", T0, (T0 + 100, T0 + 100))])
    clock.observe(T0 + 1000, [Sight("b", T0, (T0 + 900, T0 + 900))])
    assert (clock.closed, clock.closed_total_ms, clock.closed_worst_ms) == (1, 1000, 1000)
    assert clock.unprotected_ms("a", T0 + 2000) == 0


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(1, 5_000), st.booleans(), st.sampled_from([None, *STATES])),
        min_size=1,
        max_size=30,
    )
)
def test_it_never_exceeds_the_time_there_was_and_never_shrinks(steps):
    clock, now, last = ProtectionClock(T0), T0, 0
    for ms, protected, state in steps:
        now += ms
        if state is not None:
            clock.hear([stop_is(state, now)])
        measured = see(clock, now, (now, now) if protected else None)
        assert last <= measured <= now - T0
        last = measured


def test_protected_means_armed_by_a_living_scanner_with_young_prices():
    values = {"now_ms": NOW, "started_ms": T0, "beats": beats(heard=NOW - 500)}
    rows = [
        watch("ok", price=NOW - 900),
        watch("old", price=NOW - 61_000),
        watch("late", seq=6),
        watch("unpriced", price=None),
    ]
    looks = {look.position_id: look.proof for look in sights(LightInputs(positions=rows, **values))}
    assert looks == {"ok": (NOW - 900, NOW - 500), "old": None, "late": None, "unpriced": None}
    dead = LightInputs(positions=rows, **{**values, "beats": beats(heard=NOW - 5_001)})
    assert {look.proof for look in sights(dead)} == {None}


# -- who is connected ---------------------------------------------------------------------------------------------------


def connected(*looks):
    """What is known of services that all beat at NOW after *looks*: (wall ms, whether the scanner was connected then)."""
    services = Services()
    for name, beat in beats().items():
        services.hear(beat.message.evolve(incarnation=f"{name}-1"), NOW)
    living = frozenset(beat.message.incarnation for beat in services.beats.values())
    for at, is_there in looks:
        services.see(living if is_there else living - {"exit_scanner-1"}, at)
    return services


def scanners_words(services, now):
    found = shine(watch(), now_ms=now, beats=services.beats)
    return [reason for reason in found.reasons if reason.startswith("exit_scanner")], found


def test_a_scanner_whose_connections_closed_proves_nothing_however_young_its_heartbeat():
    services = connected((NOW, True), (NOW + 300, False), (NOW + 600, False))
    reasons, found = scanners_words(services, NOW + 1_001)
    assert reasons == ["exit_scanner has ended: its connection to the bus was closed 0.7 s ago"]
    assert (found.status, found.armed) == (CRITICAL, 0)
    table = services.table(services.beats, NOW + 1_001, Limits())
    assert [row["alive"] for row in table if row["service"] == "exit_scanner"] == [False]


def test_a_connection_that_was_only_made_anew_is_no_death():
    services = connected((NOW, True), (NOW + 300, False), (NOW + 600, True), (NOW + 900, True))
    assert scanners_words(services, NOW + 1_400)[0] == []


def test_who_was_never_seen_connected_is_judged_by_its_heartbeats_alone():
    services = connected((NOW, False), (NOW + 300, False), (NOW + 600, False))
    assert scanners_words(services, NOW + 4_000)[0] == []
    assert scanners_words(services, NOW + 5_001)[0] == ["exit_scanner silent for 5.0 s"]


def test_a_new_life_has_its_own_connections():
    services = connected((NOW, True), (NOW + 300, False))
    services.hear(heartbeat("exit_scanner", at=NOW + 2_000, incarnation="next", armed_through=5), NOW + 2_000)
    assert scanners_words(services, NOW + 2_500)[0] == []


def test_a_heartbeat_that_was_still_on_its_way_does_not_bring_the_dead_back():
    services = connected((NOW, True), (NOW + 300, False))
    services.hear(
        heartbeat("exit_scanner", at=NOW + 200, incarnation="exit_scanner-1", armed_through=5), NOW + 200
    )
    assert scanners_words(services, NOW + 1_100)[0] != []


# -- several executors --------------------------------------------------------------------------------------------------


def heard(*said):
    """The newest beats after *said*: (name, incarnation, instance, details)."""
    services = Services()
    for at, (name, incarnation, instance, details) in enumerate(said):
        services.hear(
            heartbeat(name, at=NOW + at, incarnation=incarnation, instance=instance, details=details),
            NOW + at,
        )
    return services


def test_an_executor_that_waits_beside_another_changes_no_colour_silent_or_not():
    waiting = Beat.of(heartbeat("executor", at=T0, details={"standby": "a has main"}), T0)
    assert shine(beats=beats() | {"executor/standby": waiting}).status == CONSISTENT


def test_one_that_waits_and_no_other_is_red():
    waiting = Beat.of(heartbeat("executor", at=NOW, details={"standby": "a has main"}), NOW)
    found = shine(beats=beats(without=["executor"]) | {"executor/standby": waiting})
    assert (found.status, "executor silent" in found.reasons[0]) == (CRITICAL, True)


def test_the_executor_of_an_account_that_is_apart_is_required():
    said = beats(executor={"details": {"apart": "second"}})
    assert "executor/second silent" in shine(beats=said).reasons[0]
    there = Beat.of(heartbeat("executor", at=NOW, details={"live": "second at kraken"}), NOW)
    found = shine(beats=said | {"executor/second": there})
    assert (found.status, found.live) == (CONSISTENT, "second at kraken")
    late = Beat.of(heartbeat("executor", at=T0), T0)
    assert shine(beats=said | {"executor/second": late}).status == CRITICAL


def test_one_that_has_waited_and_serves_now_stands_once_in_the_table():
    services = heard(
        ("executor", "a", "0", {}),
        ("executor", "b", "standby", {"standby": "a has main"}),
        ("executor", "b", "0", {}),
    )
    (row,) = [
        row for row in services.table(services.beats, NOW, Limits()) if row["service"].startswith("executor")
    ]
    assert (row["service"], row["restarts"]) == ("executor", 1)


def test_one_that_only_waited_is_soon_forgotten():
    services = heard(("executor", "a", "0", {}), ("executor", "b", "standby", {"standby": "a has main"}))
    services.forget(NOW + 11_000)
    assert list(services.beats) == ["executor"]
