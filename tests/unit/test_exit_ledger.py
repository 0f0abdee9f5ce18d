"""What the ledger makes of the policy, of ladders, of soft closes and of stops that follow the price."""

from decimal import Decimal as D  # noqa: N817

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.contracts.codes import Code, ExitReason, OrderState, StopBy
from holdfast.contracts.exit_terms import parse_terms
from holdfast.domain.exit_policy import ExitPolicy, PolicyTable
from holdfast.domain.invariants import working_exits
from tests.unit._ledger import BOOK, ETH, NOW, Mem, entry, fill, leave, move_exits, rules, status

TERMS = parse_terms(
    "emergency_loss_pct=20 signal=on min_hold_s=120 leverage=5 liquidation_guard_pct=20 trailing.distance_pct=2"
)
POLICY = ExitPolicy(D(10), D(20), terms=TERMS)
LADDER = "5%:0.5,10%:0.5"
RUNG = {"reason": ExitReason.TAKE_PROFIT, "trigger_price": "105", "trigger_level": "105"}


def ledger(policy: ExitPolicy = POLICY, **more: object) -> Mem:
    return Mem(rules(policy=policy, **more))


# -- the policy at the fill -----------------------------------------------------------------------------------------


def test_a_position_gets_the_terms_of_its_policy_and_what_its_intent_overrides() -> None:
    m = ledger()
    row = m.open(exits={"min_hold_s": "off", "trailing.distance_pct": "1"})
    terms = parse_terms(row.terms)
    assert (terms.min_hold_s, terms.trailing_distance_pct, terms.emergency_loss_pct) == (None, D(1), D(20))
    assert (row.stop_by, row.trail_active, row.laddered) == (StopBy.SET, False, 0)


def test_each_account_and_symbol_has_its_own() -> None:
    tight = ExitPolicy(D(3), D(6), terms=TERMS)
    m = ledger(policies=PolicyTable(POLICY, {("", ETH): tight}))
    assert (m.open().stop_loss, m.open(symbol=ETH, intent="eth").stop_loss) == (90, 97)


def test_exit_keys_that_contradict_the_policy_refuse_the_entry() -> None:
    m = ledger(ExitPolicy(D(10), None, terms=TERMS))
    assert m.answer(entry("e", exits={"trailing.distance_pct": "off"})) == ("invalid", Code.BAD_EXITS)


@pytest.mark.parametrize(
    ("side", "stop", "answer"),
    [
        ("buy", "84", "accepted"),
        ("buy", "83.99", "invalid"),
        ("buy", "17%", "invalid"),
        ("sell", "116", "accepted"),
        ("sell", "116.01", "invalid"),
    ],
)
def test_an_entry_whose_stop_the_venue_would_get_to_first_is_refused(
    side: str, stop: str, answer: str
) -> None:
    """Leverage 5: liquidation at 80 (120), the guard's band reaches to 84 (116)."""
    m = ledger()
    assert m.answer(entry("e", side, stop_loss=stop))[0] == answer
    if answer == "invalid":
        assert m.of("e")[1] is Code.STOP_BEYOND_LIQUIDATION
        reason = m.known.intents["e"].reason or ""
        assert "liquidation_guard_pct" in reason
        assert ("80" if side == "buy" else "120") in reason


def test_a_seeded_stop_never_lies_beyond_the_guard_and_spot_has_none() -> None:
    wide = ExitPolicy(D(18), D(20), terms=TERMS)
    row = ledger(wide).open()
    assert row.stop_loss == 84
    assert any("beyond the liquidation guard" in note for note in row.seeded)
    assert ledger(wide).open(kind="spot").stop_loss == 82


# -- soft closes ----------------------------------------------------------------------------------------------------


def test_a_soft_close_stands_on_the_position_and_takes_nothing_out() -> None:
    m = ledger()
    m.open()
    assert m.answer(leave("soft", soft=True)) == ("noted", Code.SIGNAL_NOTED)
    assert m.known.intents["soft"].is_final
    assert (m.position().signal_at, m.position().exit_attempts) == (NOW, 0)
    assert m.answer(leave("again", soft=True))[0] == "noted"
    assert m.answer(leave("hard"))[0] == "accepted"


def test_an_add_takes_the_signal_back() -> None:
    m = ledger()
    m.open()
    m.do(leave("soft", soft=True))
    m.open(intent="more")
    assert m.position().signal_at is None


def test_a_soft_close_where_signals_are_off_or_nothing_is_open_says_so() -> None:
    m = ledger(ExitPolicy(D(10), D(20)))
    assert m.answer(leave("none", soft=True))[1] is Code.NOTHING_TO_CLOSE
    m.open()
    assert m.answer(leave("soft", soft=True)) == ("blocked", Code.SIGNALS_OFF)


# -- ladders --------------------------------------------------------------------------------------------------------


def test_a_rung_takes_its_part_once_and_entries_may_go_on() -> None:
    m = ledger()
    m.open(quantity="4", take_profit=LADDER)
    assert m.answer(leave("rung", **RUNG))[0] == "accepted"
    assert m.order("rung").quantity == 2
    assert m.book.exiting is None
    assert m.answer(leave("twin", **RUNG)) == ("blocked", Code.POSITION_GONE)
    m.do(fill("t1", "o-rung", "sell", "2", "105"))
    assert (m.position().laddered, m.position().take_profit, m.position().quantity) == (2, 110, 2)
    assert m.answer(leave("late", **RUNG)) == ("blocked", Code.POSITION_GONE)


def test_a_rung_that_fills_in_part_leaves_the_rest_of_it_to_be_taken() -> None:
    m = ledger()
    m.open(quantity="4", take_profit=LADDER)
    m.do(leave("rung", **RUNG))
    m.do(fill("t1", "o-rung", "sell", "0.5", "105"))
    m.do(status("o-rung", "canceled", filled_quantity="0.5"))
    assert m.position().take_profit == 105
    m.do(leave("rest", **RUNG))
    assert m.order("rest").quantity == D("1.5")


def test_a_stop_displaces_a_rung_in_flight_and_takes_all() -> None:
    """INV-6, and INV-5 counts what is left once."""
    m = ledger()
    m.open(quantity="4", take_profit=LADDER)
    m.do(leave("rung", **RUNG))
    assert m.answer(leave("stop", reason=ExitReason.STOP_LOSS, trigger_price="90"))[0] == "accepted"
    assert (m.order("stop").quantity, m.order("rung").displaced, m.order("rung").state) == (
        4,
        True,
        OrderState.CANCELING,
    )
    assert m.book.exiting is ExitReason.STOP_LOSS
    m.do(fill("t1", "o-rung", "sell", "2", "105"))
    assert working_exits(m.state.live_orders(BOOK)) <= m.position().quantity


def test_the_trade_says_which_level_fired_and_on_what_thresholds() -> None:
    m = ledger()
    m.open()
    m.do(leave("x", reason=ExitReason.STOP_LOSS, trigger_price="85", trigger_level="90", thresholds="v1.a"))
    assert m.order("x").thresholds == "v1.a"
    change = m.do(fill("out", "o-x", "sell", "1", "85"))
    (trade,) = change.trades
    assert (trade.trigger_price, trade.trigger_level, trade.exit_price) == (85, 90, 85)
    assert trade.thresholds["emergency_loss_pct"] == "20"
    assert trade.thresholds["stop_loss"] == "10%"


# -- stops that follow ----------------------------------------------------------------------------------------------


def trailed(m: Mem, stop: str, high: str, at: int, **more: object) -> None:
    m.do(
        move_exits(
            m.position().position_id, id=f"j-{at}", by="exit_scanner", stop_by=StopBy.TRAILING, stop_loss=stop, high_water=high,
            high_water_at=at, trail_active=True, **more,
        )
    )  # fmt: skip


def test_a_trailed_stop_only_goes_forward_and_what_was_asked_for_stays_in_the_row() -> None:
    m = ledger()
    m.open()
    trailed(m, "98", "100", NOW + 1)
    trailed(m, "107.8", "110", NOW + 2)
    trailed(m, "102.9", "105", NOW + 3)
    row = m.position()
    assert (row.stop_loss, row.high_water, row.high_water_at) == (D("107.8"), 110, NOW + 3)
    assert (row.stop_by, row.stop_loss_spec, row.trail_active) == (StopBy.TRAILING, "10%", True)


def test_an_add_moves_no_trailed_stop_back() -> None:
    m = ledger()
    m.open()
    trailed(m, "107.8", "110", NOW + 2)
    m.open(intent="more", price="90")
    assert (m.position().stop_loss, m.position().stop_by) == (D("107.8"), StopBy.TRAILING)


def test_a_trailed_exit_is_taken_though_its_move_is_still_on_its_way() -> None:
    m = ledger()
    m.open()
    assert m.answer(leave("x", reason=ExitReason.TRAILING_STOP, trigger_price="107"))[0] == "accepted"


def test_new_terms_are_taken_where_they_are_tighter_and_all_of_them_when_a_person_insists() -> None:
    m = ledger()
    key = m.open().position_id
    change = m.do(move_exits(key, terms="emergency_loss_pct=15 min_hold_s=600", id="a"))
    terms = parse_terms(m.position().terms)
    assert (terms.emergency_loss_pct, terms.min_hold_s, terms.trailing_distance_pct) == (D(15), D(120), D(2))
    assert "min_hold_s: 600 would loosen 120, kept" in change.why
    m.do(move_exits(key, terms="emergency_loss_pct=50", id="b", insist=True))
    assert m.position().terms == "emergency_loss_pct=50"


# -- any sequence ---------------------------------------------------------------------------------------------------

moves = st.lists(
    st.tuples(
        st.sampled_from(["add", "rung", "close", "stop", "fill", "part", "cancel", "reject"]), st.integers(1, 4), st.sampled_from(["105", "110", "121"])
    ),
    max_size=25,
)  # fmt: skip


@given(plan=moves)
@settings(max_examples=120, deadline=None)
def test_open_exit_quantity_never_exceeds_the_position(plan: list[tuple[str, int, str]]) -> None:
    """Adds, rungs, closes, stops; orders that fill, fill in part, end: INV-5 and INV-2 hold after each (`Mem` looks), and the rungs
    never take out more than their share, but for the last that takes the rest."""
    m = ledger()
    m.open(quantity="4", take_profit="5%:0.25,10%:0.25,20%:0.25")
    entered = D(4)
    for number, (what, quantity, price) in enumerate(plan):
        key = f"{what}{number}"
        live = sorted(m.state.live_orders(BOOK), key=lambda row: row.order_id)
        if m.position() is None:
            return
        if what == "add":
            if m.answer(entry(key, "buy", str(quantity)))[0] == "accepted":
                m.do(fill(key, f"o-{key}", "buy", str(quantity), "100"))
                entered += quantity
        elif what == "rung":
            m.do(leave(key, **(RUNG | {"trigger_price": price})))
        elif what == "close":
            m.do(leave(key, str(quantity)))
        elif what == "stop":
            m.do(leave(key, reason=ExitReason.STOP_LOSS, trigger_price="80"))
        elif live:
            row = live[quantity % len(live)]
            if what in {"fill", "part"}:
                part = row.remaining if what == "fill" else row.remaining / 2
                if 0 < part <= m.position().quantity:
                    m.do(fill(key, row.order_id, "sell", str(part), price))
            else:
                m.do(
                    status(
                        row.order_id,
                        "canceled" if what == "cancel" else "rejected",
                        filled_quantity=str(row.filled),
                    )
                )
        held = m.position()
        if held is None:
            return
        assert working_exits(m.state.live_orders(BOOK)) <= held.quantity
        assert held.laddered <= entered * 3 / 4
