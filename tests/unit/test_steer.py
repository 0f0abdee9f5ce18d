"""Halting, reducing, resuming; and moving the exits of a position."""

from decimal import Decimal

import pytest

from holdfast.contracts.base import ContractViolation
from holdfast.contracts.codes import Code, OrderState, UpdateKind
from tests.unit._ledger import BOOK, ETH, NOW, Mem, entry, fill, leave, move_exits, status, steer

D = Decimal


def test_halting_cancels_resting_entries_and_lets_exits_pass():
    m = Mem()
    m.open()
    m.do(entry("resting", type="limit", price="90"))
    m.do(status("o-resting", "accepted"))
    m.do(entry("elsewhere", symbol=ETH))
    m.do(leave("x", "0.5"))

    change = m.do(steer("halted", why="enough"))

    assert change.kind == UpdateKind.CONTROL
    assert set(change.orders) == {"o-resting", "o-elsewhere"}
    assert {m.order(name).state for name in ("resting", "elsewhere")} == {OrderState.CANCELING}
    assert (m.order("resting").code, m.order("x").state) == (Code.HALTED, OrderState.RESERVED)
    assert m.answer(leave("y"))[0] == "accepted"
    assert m.answer(entry("e"))[1] == Code.HALTED


def test_what_a_halted_entry_still_fills_has_its_exits():
    m = Mem()
    m.do(entry("resting"))
    m.do(steer("halted"))

    m.do(fill("late", "o-resting"))

    assert (m.position().stop_loss, m.position().take_profit) == (90, 120)
    assert m.answer(leave("x"))[0] == "accepted"


@pytest.mark.parametrize(
    ("scope", "target", "hit"), [("all", "", "abc"), ("account", "main", "ab"), ("book", BOOK, "a")]
)
def test_a_halt_reaches_as_far_as_its_scope(scope, target, hit):
    m = Mem()
    m.do(entry("a"))
    m.do(entry("b", symbol=ETH))
    m.do(entry("c", account="other"))

    m.do(steer("halted", scope, target))

    assert "".join(name for name in "abc" if m.order(name).state == OrderState.CANCELING) == hit


def test_an_unknown_entry_stays_unknown_with_its_cancel_wanted():
    m = Mem()
    m.do(entry("a"))
    m.do(status("o-a", "unknown"))

    m.do(steer("halted"))

    assert (m.order("a").state, m.order("a").code) == (OrderState.UNKNOWN, Code.HALTED)


def test_reduce_only_lets_resting_entries_be_and_resuming_lets_new_ones_in():
    m = Mem()
    m.do(entry("a"))
    m.do(steer("reduce_only"))
    assert m.order("a").state == OrderState.RESERVED
    assert m.answer(entry("b"))[1] == Code.REDUCE_ONLY_STATE

    m.do(steer("active"))

    assert m.answer(entry("c"))[0] == "accepted"
    (row,) = m.state.control.values()
    assert (row.state, row.by, row.why, row.at) == ("active", "a person", "a test", NOW)


# -- exits -----------------------------------------------------------------------------------------------------------------


def test_exits_are_only_tightened():
    m = Mem()
    p = m.open()

    change = m.do(move_exits(p.position_id, stop_loss="95", take_profit="130"))

    assert (m.position().stop_loss, m.position().take_profit, m.position().version) == (
        95,
        120,
        p.version + 1,
    )
    assert "loosen" in change.why


def test_a_person_may_insist():
    m = Mem()
    p = m.open()

    m.do(move_exits(p.position_id, stop_loss="50", take_profit="500", insist=True))

    assert (m.position().stop_loss, m.position().take_profit) == (50, 500)


def test_what_changes_nothing_is_no_update_but_an_answer():
    m = Mem()
    p = m.open()

    change = m.do(move_exits(p.position_id, stop_loss="10"))

    assert change.is_empty
    (answer,) = [out.message for out in change.beside]
    assert (answer.status, answer.code) == ("blocked", Code.BAD_EXITS)
    assert answer.reason == "stop_loss: 10 would loosen 10%, kept"


def test_an_adjustment_that_is_taken_is_answered_too():
    m = Mem()
    p = m.open()
    wish = move_exits(p.position_id, stop_loss="95")

    (answer,) = [out.message for out in m.do(wish).beside]

    assert (answer.intent_id, answer.status, answer.code) == (wish.id, "accepted", None)


def test_an_adjustment_of_a_position_that_is_gone_changes_nothing_and_says_so():
    change = Mem().do(move_exits("p-other", stop_loss="95"))

    (answer,) = [out.message for out in change.beside]
    assert change.is_empty
    assert change.why.startswith("position_gone: p-other is not open")
    assert (answer.status, answer.code) == ("blocked", Code.POSITION_GONE)


def test_an_adjustment_is_for_the_open_position_as_it_is():
    m = Mem()
    p = m.open()
    with pytest.raises(ContractViolation, match="at version 1"):
        m.do(move_exits(p.position_id, position_version=7, stop_loss="95"))

    m.do(move_exits(p.position_id, position_version=1, stop_loss="95"))

    assert m.position().stop_loss == 95
