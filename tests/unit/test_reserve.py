"""The ledger's word on every order: what may open, what may close, what stands aside, and what is answered."""

from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.contracts.codes import Code, ExitReason, Kind, OrderState, UpdateKind
from holdfast.contracts.streams import INTENT_RESULT
from holdfast.domain.exits import HARDNESS
from holdfast.domain.invariants import working_exits
from tests.unit._ledger import BOOK, ETH, NOW, Mem, cancel, entry, fill, leave, refusal, rules, status, steer

D = Decimal


# -- entries --------------------------------------------------------------------------------------------------------------


def test_an_entry_is_recorded_before_it_may_be_sent():
    m = Mem()

    change = m.do(entry("e", strategy="s1"))

    row = m.order("e")
    assert change.kind == UpdateKind.RESERVED
    assert (row.state, row.incarnation, row.epoch, row.send_by, row.strategy) == (
        OrderState.RESERVED,
        "e1",
        1,
        NOW + 2000,
        "s1",
    )
    assert (row.reduce_only, m.book.side) == (False, "long")
    assert m.of("e") == ("accepted", None)


@pytest.mark.parametrize("held", ["position", "entry", "unknown"])
def test_nothing_opens_against_what_is_held_or_in_flight(held):
    m = Mem()
    m.do(entry("e"))
    if held == "position":
        m.do(fill("t", "o-e"))
    if held == "unknown":
        m.do(status("o-e", "unknown"))

    change = m.do(entry("against", "sell"))

    code = Code.BOOK_UNKNOWN if held == "unknown" else Code.OPPOSED
    assert m.of("against") == ("blocked", code)
    (blocked,) = change.blocked
    assert (blocked.code, blocked.attempted_side, blocked.attempted_quantity) == (code, "sell", 1)
    assert (blocked.held_side, blocked.held_quantity) == (("long", 1) if held == "position" else (None, 0))
    assert blocked.in_the_way == ([] if held == "position" else ["o-e"])


def test_two_entries_of_one_batch_see_each_other():
    m = Mem()

    assert [m.answer(entry("a"))[0], m.answer(entry("b", "sell"))[0], m.answer(entry("c"))[0]] == [
        "accepted",
        "blocked",
        "accepted",
    ]


@pytest.mark.parametrize(
    ("state", "code"), [("halted", Code.HALTED), ("reduce_only", Code.REDUCE_ONLY_STATE), ("active", None)]
)
@pytest.mark.parametrize(("scope", "target"), [("all", ""), ("account", "main"), ("book", BOOK)])
def test_the_trading_state_of_everything_the_account_or_the_book_stops_entries_never_exits(
    state, code, scope, target
):
    m = Mem()
    m.open()
    m.do(steer(state, scope, target))

    assert m.answer(entry("e")) == (("blocked", code) if code else ("accepted", None))
    assert m.answer(leave("x"))[0] == "accepted"


def test_the_strictest_state_holds():
    m = Mem()
    m.do(steer("halted", "book", BOOK))
    m.do(steer("active", "all"))
    m.do(steer("reduce_only", "account", "main"))

    assert m.answer(entry("e"))[1] == Code.HALTED
    assert m.answer(entry("f", symbol=ETH))[1] == Code.REDUCE_ONLY_STATE
    assert m.answer(entry("g", account="other"))[0] == "accepted"


def test_no_entry_while_a_full_exit_has_not_ended():
    m = Mem()
    m.open()
    m.do(leave("x"))
    assert m.answer(entry("during")) == ("blocked", Code.EXIT_IN_PROGRESS)

    m.do(status("o-x", "rejected"))

    assert m.answer(entry("after"))[0] == "accepted"


def test_an_entry_may_join_while_only_a_part_is_being_closed():
    m = Mem()
    m.open()
    m.do(leave("x", "0.4"))

    assert m.answer(entry("e"))[0] == "accepted"


def test_on_spot_a_sell_needs_something_to_sell_unless_a_setting_allows_it():
    assert Mem().answer(entry("e", "sell", kind=Kind.SPOT)) == ("blocked", Code.SPOT_SHORT)
    assert Mem(rules(spot_short=True)).answer(entry("e", "sell", kind=Kind.SPOT))[0] == "accepted"
    assert Mem().answer(entry("e", "sell"))[0] == "accepted"


def test_a_name_that_means_another_instrument_than_the_book_holds():
    m = Mem()
    m.open()

    assert m.answer(entry("e", kind=Kind.SPOT)) == ("blocked", Code.INSTRUMENT_MISMATCH)


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"max_positions": 1}, Code.MAX_POSITIONS),
        ({"max_symbol_notional": D("99.99")}, Code.MAX_SYMBOL_NOTIONAL),
        ({"max_account_notional": D("199.99")}, Code.MAX_ACCOUNT_NOTIONAL),
        ({"max_total_notional": D("199.99")}, Code.MAX_TOTAL_NOTIONAL),
        ({"max_orders_per_minute": 1}, Code.ORDER_RATE),
    ],
)
def test_limits_stop_entries_and_never_exits(changes, code):
    m = Mem(rules(**changes))
    if code is not Code.MAX_SYMBOL_NOTIONAL:
        m.open()

    assert m.answer(entry("e", symbol=ETH)) == ("blocked", code)
    if code is not Code.MAX_SYMBOL_NOTIONAL:
        assert m.answer(leave("x"))[0] == "accepted"


def test_limits_count_over_all_accounts_and_what_is_only_ordered():
    m = Mem(rules(max_total_notional=D(200)))
    m.do(entry("a", type="limit", price="120"))
    assert (
        m.answer(entry("b", account="other", symbol=ETH, type="limit", price="81"))[1]
        == Code.MAX_TOTAL_NOTIONAL
    )

    m.do(status("o-a", "canceled"))

    assert m.answer(entry("c", account="other", symbol=ETH, type="limit", price="81"))[0] == "accepted"


def test_the_deadlock_of_the_first_incident():
    """Six positions are open, six are allowed: nothing may open, and everything may close."""
    m = Mem(rules(max_positions=6))
    symbols = [f"C{n}/USDT" for n in range(6)]
    for symbol in symbols:
        m.open(symbol=symbol, intent=f"open-{symbol[:2]}")
    assert m.answer(entry("seventh"))[1] == Code.MAX_POSITIONS
    assert m.answer(entry("more", symbol="C0/USDT"))[0] == "accepted", "an add is no new position"
    m.do(status("o-more", "canceled"))

    for n, symbol in enumerate(symbols):
        position = m.position(symbol)
        assert (
            m.answer(leave(f"x{n}", symbol=symbol, reason="stop_loss", position_id=position.position_id))[0]
            == "accepted"
        )
        m.do(fill(f"x{n}", f"o-x{n}", "sell", symbol=symbol))

    assert not m.state.positions
    assert m.answer(entry("eighth"))[0] == "accepted"


# -- hedging ---------------------------------------------------------------------------------------------------------------


def test_hedged_books_hold_one_side_each():
    m = Mem(rules(hedged_symbols=frozenset({"BTC/USDT"})))

    assert m.answer(entry("a", leg="long"))[0] == "accepted"
    assert m.answer(entry("b", "sell", leg="short"))[0] == "accepted"
    m.do(fill("a", "o-a"))
    m.do(fill("b", "o-b", "sell"))
    assert {row.leg.value: row.side.value for row in m.state.positions.values()} == {
        "long": "long",
        "short": "short",
    }


@pytest.mark.parametrize(("hedging", "leg"), [(True, "net"), (False, "long")])
def test_executor_and_ledger_must_agree_on_hedging(hedging, leg):
    assert Mem(rules(hedging=hedging)).answer(entry("a", leg=leg)) == ("invalid", Code.MALFORMED)


@pytest.mark.parametrize(("side", "leg"), [("sell", "long"), ("buy", "short")])
def test_a_leg_is_opened_by_its_own_side_only(side, leg):
    assert Mem(rules(hedging=True)).answer(entry("a", side, leg=leg)) == ("invalid", Code.MALFORMED)


# -- exits ------------------------------------------------------------------------------------------------------------------


def test_an_exit_takes_what_is_held_and_stops_the_entries_in_the_same_update():
    m = Mem()
    p = m.open(quantity="2")
    m.do(entry("more"))

    change = m.do(
        leave(
            "x", reason="stop_loss", position_id=p.position_id, trigger_price="90", trigger_at=NOW, attempt=1
        )
    )

    row, position = m.order("x"), m.position()
    assert (row.side, row.quantity, row.reduce_only, row.reason, row.attempt) == (
        "sell",
        2,
        True,
        "stop_loss",
        1,
    )
    assert (position.exit_attempts, position.exit_reason, position.trigger_price, position.version) == (
        1,
        "stop_loss",
        90,
        p.version + 1,
    )
    assert m.book.exiting == "stop_loss"
    assert set(change.orders) == {"o-x", "o-more"}
    assert (m.order("more").state, m.order("more").code) == (OrderState.CANCELING, Code.STOPPED_BY_EXIT)


def test_a_close_of_more_than_is_held_is_cut():
    m = Mem()
    m.open(quantity="2")

    m.do(leave("x", "5"))

    assert (m.order("x").quantity, m.book.exiting) == (2, "close")


def test_parts_of_a_position_are_closed_until_nothing_is_free():
    m = Mem()
    m.open(quantity="1.0005")
    m.do(leave("a", "0.40077"))
    assert m.order("a").quantity == D("0.400"), "rounded down to the step"
    assert m.book.exiting is None

    m.do(leave("b"))

    assert m.order("b").quantity == D("0.6005"), "all that was left, whatever the step"
    assert m.book.exiting == "close"
    assert m.answer(leave("c")) == ("blocked", Code.EXIT_IN_FLIGHT)


def test_less_than_a_step_is_not_rounded_to_nothing():
    m = Mem()
    m.open(quantity="1")

    m.do(leave("a", "0.0004"))

    assert m.order("a").quantity == D("0.0004")


def test_dust_can_be_closed():
    m = Mem()
    m.open(quantity="1." + "0" * 59 + "1")
    m.do(fill("v", "", "sell", "1", kind="adjustment"))

    assert m.answer(leave("x"))[0] == "accepted"
    assert m.order("x").quantity == D("1e-60")


def test_nothing_open_is_nothing_to_close():
    m = Mem()
    assert m.answer(leave("x")) == ("blocked", Code.NOTHING_TO_CLOSE)
    m.do(entry("e"))
    assert m.answer(leave("y")) == ("blocked", Code.NOTHING_TO_CLOSE)


def test_an_exit_of_another_position_than_the_open_one_has_come_to_its_end():
    m = Mem()
    p = m.open()
    m.do(leave("x"))
    m.do(fill("x", "o-x", "sell"))
    assert m.answer(leave("late", reason="stop_loss", position_id=p.position_id)) == (
        "blocked",
        Code.POSITION_GONE,
    )

    m.open(intent="second")

    assert m.answer(leave("later", reason="stop_loss", position_id=p.position_id)) == (
        "blocked",
        Code.POSITION_GONE,
    )
    assert m.book.exiting is None


@pytest.mark.parametrize(
    ("side", "reason", "price", "told"),
    [
        ("buy", "stop_loss", "90", "accepted"),
        ("buy", "stop_loss", "90.01", "blocked"),
        ("buy", "take_profit", "120", "accepted"),
        ("buy", "take_profit", "119.99", "blocked"),
        ("sell", "stop_loss", "110", "accepted"),
        ("sell", "stop_loss", "109.99", "blocked"),
        ("sell", "take_profit", "80", "accepted"),
        ("sell", "take_profit", "80.01", "blocked"),
        ("buy", "ttl", "100", "accepted"),
        ("buy", "close", "100", "accepted"),
    ],
)
def test_what_fired_for_a_level_that_has_moved_since_is_judged_again(side, reason, price, told):
    m = Mem()
    p = m.open(side)

    answer = m.answer(
        leave("x", reason=reason, position_id=p.position_id, position_version=99, trigger_price=price)
    )

    assert answer == (told, Code.POSITION_GONE if told == "blocked" else None)


def test_what_fills_while_its_book_is_being_closed_is_closed_at_any_price():
    """Its reason is the stop of the position before it; its own stop is far away."""
    m = Mem()
    p = m.open()
    m.do(entry("more"))
    m.do(leave("x", reason="stop_loss", position_id=p.position_id, trigger_price="89"))
    m.do(fill("x", "o-x", "sell", price="89"))
    m.do(fill("late", "o-more", price="100"))
    late = m.position()
    assert (late.closing, late.stop_loss) == ("stop_loss", 90)

    answer = m.answer(leave("y", reason="stop_loss", position_id=late.position_id, trigger_price="101"))

    assert answer == ("accepted", None)


def test_a_reduce_only_order_that_would_enlarge():
    m = Mem()
    m.open("sell")

    assert m.answer(leave("x", side="sell")) == ("blocked", Code.WRONG_SIDE)
    assert m.answer(leave("y", side="buy"))[0] == "accepted"


def test_a_disputed_or_unknown_book_lets_its_exits_pass():
    m = Mem()
    m.open()
    m.do(fill("t-open", "o-open", "buy", "9"))
    m.do(entry("e"))

    assert m.book.disputed
    assert m.answer(leave("x"))[0] == "accepted"


# -- displacement ------------------------------------------------------------------------------------------------------------


def test_a_stop_is_never_refused_because_a_softer_exit_holds_the_quantity():
    m = Mem()
    p = m.open()
    m.do(leave("soft", reason="take_profit", position_id=p.position_id))

    change = m.do(leave("stop", reason="stop_loss", position_id=p.position_id))

    soft = m.order("soft")
    assert m.of("stop")[0] == "accepted"
    assert (soft.displaced, soft.state, soft.code) == (True, OrderState.CANCELING, Code.DISPLACED)
    assert set(change.orders) == {"o-soft", "o-stop"}, "its cancel is asked for in the same update"
    assert m.book.exiting == "stop_loss"
    m.do(status("o-soft", "canceled"))
    assert (m.of("soft"), m.book.exiting) == (("canceled", Code.DISPLACED), "stop_loss")


@pytest.mark.parametrize("doubt", ["unknown", "limit"])
def test_an_exit_as_hard_gives_way_where_it_may_never_fill(doubt):
    m = Mem()
    p = m.open()
    m.do(leave("first", reason="stop_loss", **({"type": "limit", "price": "91"} if doubt == "limit" else {})))
    if doubt == "unknown":
        m.do(status("o-first", "unknown"))

    assert m.answer(leave("second", reason="stop_loss", position_id=p.position_id))[0] == "accepted"

    assert m.order("first").displaced
    assert m.order("first").state == (OrderState.UNKNOWN if doubt == "unknown" else OrderState.CANCELING)


def test_a_hard_exit_that_finds_no_room_says_what_holds_it_and_turns_the_light_red():
    m = Mem()
    p = m.open()
    m.do(leave("first", reason="stop_loss", position_id=p.position_id))

    change = m.do(leave("second", reason="stop_loss", position_id=p.position_id))

    assert m.of("second") == ("blocked", Code.EXIT_IN_FLIGHT)
    assert change.blocked[0].in_the_way == ["o-first"]
    assert m.book.refused_exit == "stop_loss: held by o-first"
    m.do(status("o-first", "rejected"))
    m.do(leave("third", reason="stop_loss", position_id=p.position_id))
    assert m.book.refused_exit is None


def test_a_refused_soft_exit_turns_no_light_red():
    m = Mem()
    p = m.open()
    m.do(leave("first"))

    m.do(leave("second", reason="roi", position_id=p.position_id))

    assert m.of("second")[0] == "blocked"
    assert m.book.refused_exit is None


exits = st.lists(
    st.tuples(
        st.sampled_from(sorted(ExitReason)),
        st.sampled_from([None, "0.1", "0.35", "1", "3"]),
        st.sampled_from(["market", "limit"]),
        st.sampled_from(["", "unknown", "accepted", "canceled", "fill 0.1", "fill 0.3", "fill 5"]),
    ),
    max_size=12,
)


@settings(max_examples=150, deadline=None)
@given(exits)
def test_exits_never_sum_to_more_than_is_held_and_the_hardest_always_passes(plan):
    m = Mem()
    m.open(quantity="1")
    for n, (reason, quantity, kind, then) in enumerate(plan):
        position = m.position()
        if position is None:
            break
        working = [row for row in m.state.live_orders(BOOK) if not row.displaced]
        hardest = max((HARDNESS[row.reason] for row in working), default=-1)
        price = {"type": "limit", "price": "100"} if kind == "limit" else {}

        told = m.answer(leave(f"x{n}", quantity, reason=reason, position_id=position.position_id, **price))

        if position.side == "long" and HARDNESS[reason] > hardest:
            assert told == ("accepted", None)
        assert working_exits(m.state.live_orders(BOOK)) <= position.quantity
        if told[0] == "accepted" and then.startswith("fill"):
            m.do(fill(f"t{n}", f"o-x{n}", m.order(f"x{n}").side, then.removeprefix("fill ")))
        elif told[0] == "accepted" and then:
            m.do(status(f"o-x{n}", then))


# -- cancels -------------------------------------------------------------------------------------------------------------


def test_a_cancel_names_one_order_by_its_id_or_its_intent():
    m = Mem()
    m.do(entry("a"))
    m.do(entry("b"))

    change = m.do(cancel("c1", "o-a"))
    assert change.kind == UpdateKind.CANCELING
    assert m.of("c1") == ("canceled", Code.ON_REQUEST)
    m.do(cancel("c2", "b"))

    assert [m.order(name).state for name in "ab"] == [OrderState.CANCELING] * 2


def test_a_cancel_without_a_name_means_all_entries_of_the_book_and_no_exit():
    m = Mem()
    m.open()
    m.do(entry("a"))
    m.do(leave("x", "0.5"))

    m.do(cancel("c"))

    assert (m.order("a").state, m.order("x").state) == (OrderState.CANCELING, OrderState.RESERVED)


def test_a_cancel_is_never_blocked():
    m = Mem()
    m.do(entry("a"))
    m.do(steer("halted"))
    m.do(status("o-a", "unknown"))

    assert m.answer(cancel("c", "o-a"))[0] == "canceled"
    assert m.answer(cancel("d"))[0] == "canceled"
    assert m.answer(cancel("e", "nothing")) == ("invalid", Code.NO_SUCH_ORDER)


# -- answers --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", ["blocked", "invalid", "expired", "rejected"])
def test_the_executors_refusal_is_the_intents_end(state):
    m = Mem()

    change = m.do(refusal("r", Code.NO_PRICE, state, attempted_side="buy", attempted_quantity="2"))

    assert m.of("r") == (state, Code.NO_PRICE)
    assert [(row.attempted_side, row.attempted_quantity) for row in change.blocked] == (
        [("buy", 2)] if state == "blocked" else []
    )


def test_a_known_intent_gets_its_recorded_answer_again_and_changes_nothing():
    m = Mem()
    m.open()

    change = m.do(entry("open", "sell", "9", id="another-proposal"))

    assert change.is_empty
    (out,) = change.beside
    assert (out.stream, out.message.status, out.message.order_id) == (INTENT_RESULT, "filled", "o-open")
    assert (out.message.filled_quantity, out.message.average_price, out.message.repeated) == (1, 100, True)


def test_the_same_intent_id_with_other_content_is_told_so_and_the_record_stays():
    m = Mem()
    m.open()

    change = m.do(entry("open", intent_digest="another"))

    (out,) = change.beside
    assert (out.message.status, out.message.code, out.message.order_id) == (
        "duplicate",
        Code.INTENT_ID_REUSED,
        None,
    )
    assert change.is_empty
    assert m.of("open") == ("filled", None)


def test_an_order_id_is_used_by_one_intent():
    m = Mem()
    m.do(entry("a"))

    assert m.answer(entry("b", order_id="o-a")) == ("invalid", Code.MALFORMED)
    assert m.order("a").intent_id == "a"


def test_an_executor_that_was_replaced_is_not_listened_to():
    m = Mem()
    m.do(entry("new", epoch=5))
    assert m.state.executors == {"main": 5}

    change = m.do(entry("old", epoch=4))

    assert change.is_empty
    assert "old" not in m.known.intents
    assert Code.STALE_EXECUTOR.value in change.why
    assert m.answer(entry("elsewhere", epoch=1, account="other"))[0] == "accepted"


def test_a_replaced_executor_still_hears_the_answer_to_what_it_asked_before():
    m = Mem()
    m.do(entry("a", epoch=4))
    m.do(entry("b", epoch=5))

    assert m.do(entry("a", epoch=4)).beside[0].message.status == "accepted"


def test_what_is_exposed_does_not_depend_on_the_order_in_which_it_is_counted():
    """A restart counts a book's entries in another order than they came in."""
    sums = set()
    for names in ("abc", "cba", "bca"):
        m = Mem()
        for name in names:
            quantity = {"a": "999999999999999999999999", "b": "0.7", "c": "3"}[name]
            m.do(entry(name, quantity=quantity, reference_price="0.3"))
        for name in names:
            m.do(fill(name, f"o-{name}", quantity="0.1", price="0.3"))
        sums.add(m.state.exposure.total_notional)

    assert len(sums) == 1
