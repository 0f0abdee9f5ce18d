"""A stop on spot locks the coins: what the ledger records of it and of exits beside it (INV-5), and what is to be done about it next."""

import sqlite3
from decimal import Decimal as D  # noqa: N817

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.contracts.codes import Code, ExitReason, FillKind, Kind, OrderState, OrderType, Role, StatusKind
from holdfast.contracts.money import add
from holdfast.domain.instruments import Instrument
from holdfast.domain.invariants import InvariantViolation, check_book, locked, working_exits
from holdfast.domain.protecting import Do, Locking, ProtectTerms, next_step, resting
from holdfast.store.opening import sqlite_path
from holdfast.store.reading import SqliteReader
from holdfast.store.verify import verify
from tests.unit._ledger import BOOK, NOW, Desk, Mem, entry, fill, leave, move_exits, order, status

RULES = Instrument("BTC/USDT", Kind.SPOT, "BTC", "USDT", "USDT", D(1), D("0.001"), D("0.1"), D("0.001"), D(5))
SPOT = {"kind": Kind.SPOT}


def stop(intent, position, **given):
    given = {"position_id": position.position_id, "stop_price": "90", "min_quantity": "0.05", **SPOT, **given}
    return order(intent, Role.PROTECT, given)


def out(intent, quantity=None, **given):
    """An exit, as it is proposed where nothing is reduce-only."""
    return leave(intent, quantity, **{"alone": True, "min_quantity": "0.05", **SPOT, **given})


@pytest.fixture
def m():
    m = Mem()
    m.do(entry("e", **SPOT))
    m.do(fill("t", "o-e", instrument=Kind.SPOT))
    return m


def stops(m):
    return m.state.live_orders(BOOK, Role.PROTECT)


def rest(m, intent, **given):
    assert m.answer(stop(intent, m.position(), **given)) == ("accepted", None)
    m.do(status(f"o-{intent}", StatusKind.ACCEPTED))
    return m.order(intent)


# -- the ledger -------------------------------------------------------------------------------------------------------


def test_there_is_one_and_never_a_second_whatever_it_names(m):
    rest(m, "s")
    assert m.answer(stop("t", m.position(), replaces="s")) == ("blocked", Code.ALREADY_PROTECTED)
    m.do(status("o-s", StatusKind.UNKNOWN))
    assert m.answer(stop("u", m.position())) == ("blocked", Code.ALREADY_PROTECTED)
    m.do(status("o-s", StatusKind.CANCELED))
    assert m.answer(stop("v", m.position())) == ("accepted", None)


@pytest.mark.parametrize("state", ["reserved", "open", "unknown", "canceling"])
def test_an_exit_asks_for_its_cancel_and_waits_for_the_proof(m, state):
    m.do(stop("s", m.position()))
    if state != "reserved":
        m.do(status("o-s", StatusKind.UNKNOWN if state == "unknown" else StatusKind.ACCEPTED))
    change = m.do(out("x"))
    assert ("x" in m.known.intents, m.order("s").code) == (False, Code.DISPLACED)
    assert m.order("s").state is (OrderState.UNKNOWN if state == "unknown" else OrderState.CANCELING)
    assert change.kind == "canceling"
    if state == "canceling":
        m.do(status("o-s", StatusKind.UNKNOWN))
    assert m.do(out("x")).is_empty, "asking again changes nothing"
    assert m.do(out("x", reason=ExitReason.STOP_LOSS)).is_empty, "however hard"
    m.do(status("o-s", StatusKind.CANCELED))
    assert (m.answer(out("x")), m.order("x").quantity) == (("accepted", None), 1)


def test_what_the_stop_sold_meanwhile_is_not_sold_again(m):
    rest(m, "s")
    m.do(out("x"))
    m.do(fill("ts", "o-s", "sell", "0.4", "89.5"))
    m.do(status("o-s", StatusKind.CANCELED, filled_quantity="0.6"))
    assert m.do(out("x")).is_empty, "it names more than we have read"
    m.do(fill("tt", "o-s", "sell", "0.2", "89.5"))
    m.do(out("x"))
    assert m.order("x").quantity == D("0.4")


def test_when_the_stop_has_sold_all_the_exit_ends(m):
    rest(m, "s")
    m.do(out("x", position_id=m.position().position_id))
    position = m.position()
    m.do(fill("ts", "o-s", "sell", "1", "89.5"))
    assert m.answer(out("x", position_id=position.position_id)) == ("blocked", Code.POSITION_GONE)


def test_an_exit_that_cannot_be_takes_no_stop_away(m):
    rest(m, "s")
    for wrong in (out("x", "0.01"), out("y", side="buy"), out("z", position_id="p-other")):
        m.do(wrong)
    assert m.order("s").code is None


def test_even_one_that_was_not_said_to_be_alone_waits_for_it(m):
    rest(m, "s")
    m.do(leave("x", **SPOT))
    assert ("x" in m.known.intents, m.order("s").code) == (False, Code.DISPLACED)


def test_a_stop_covers_what_no_exit_may_still_sell(m):
    m.do(out("x", "0.4", type="limit", price="120"))
    assert rest(m, "s").quantity == D("0.6")
    m.do(status("o-s", StatusKind.CANCELED))
    m.do(status("o-x", StatusKind.UNKNOWN))
    assert rest(m, "t").quantity == D("0.6"), "in doubt is not ended"


def test_beside_an_exit_of_all_there_is_no_room_for_one(m):
    m.do(out("x"))
    assert m.answer(stop("s", m.position())) == ("blocked", Code.EXIT_IN_PROGRESS)


def test_coins_that_somebody_else_sold_make_it_give_way(m):
    rest(m, "s")
    m.do(fill("gone", "", "sell", "0.3", kind=FillKind.ADJUSTMENT, instrument=Kind.SPOT))
    assert (m.order("s").state, m.order("s").displaced, m.position().quantity) == (
        OrderState.CANCELING,
        True,
        D("0.7"),
    )
    m.do(out("x"))
    assert "x" not in m.known.intents, "it may still sell"


def test_its_fill_tells_the_story_though_dust_is_left(m):
    rest(m, "s", quantity="0.99")
    m.do(fill("ts", "o-s", "sell", "0.99", "89.5"))
    position = m.position()
    assert (position.exit_reason, position.trigger_level) == (ExitReason.EXIT_ON_VENUE, D(90))
    m.do(fill("dust", "", "sell", "0.01", "0", kind=FillKind.DUST, instrument=Kind.SPOT))
    (trade,) = m.updates[-1].trades
    assert (trade.exit_reason, trade.trigger_level) == (ExitReason.EXIT_ON_VENUE, D(90))


def test_two_stops_or_more_than_is_held_are_a_violation(m):
    row, book, position = rest(m, "s"), m.book, m.position()
    m.do(status("o-s", StatusKind.CANCELED))
    m.do(out("x", "0.4"))
    sale = m.order("x")
    check_book(book, position, [row.evolve(quantity=D("0.6")), sale])
    check_book(book, position, [row.evolve(displaced=True), sale])
    for wrong in ([row, sale], [row, row.evolve(order_id="o-2", replaces="s", displaced=True)]):
        with pytest.raises(InvariantViolation, match=r"^INV-5: "):
            check_book(book, position, wrong)


def test_a_ledger_that_starts_again_waits_on_and_verify_finds_a_sale_beside_the_stop(tmp_path):
    desk = Desk(tmp_path)
    desk.run(entry("e", **SPOT), fill("t", "o-e", instrument=Kind.SPOT))
    (position,) = desk.state.positions.values()
    desk.run(stop("s", position), status("o-s", StatusKind.ACCEPTED))
    desk.run(out("x"))
    desk.restart()
    desk.run(out("x"), status("o-s", StatusKind.CANCELED, filled_quantity="0.3"))
    desk.restart()
    desk.run(out("x"), fill("ts", "o-s", "sell", "0.3", "90", instrument=Kind.SPOT), out("x"))
    (sale,) = desk.state.live_orders(BOOK)
    assert (sale.intent_id, sale.quantity) == ("x", D("0.7"))
    desk.check()
    desk.close()
    with sqlite3.connect(sqlite_path(tmp_path)) as store:
        store.execute(
            "UPDATE orders SET live = 1, state = 'open', body = replace(body, '\"state\":\"canceled\",', '\"state\":\"open\",') WHERE role = 'protect'"
        )
    store.close()
    with SqliteReader(sqlite_path(tmp_path)) as store:
        (check,) = [check for check in verify(store) if check.check == "invariants"]
    assert "exits of 0.7 and stops of 0.7 work against a position of 0.7" in check.problems[0]


ACTS = st.lists(
    st.tuples(
        st.sampled_from(
            ["stop", "exit", "part", "limit", "add", "accept", "unknown", "cancel", "fill", "half", "gone"]
        ),
        st.integers(0, 3),
    ),
    max_size=14,
)


@settings(max_examples=60, deadline=None)
@given(ACTS)
def test_whatever_happens_exits_and_the_stop_together_never_sell_more_than_is_held(acts):
    """`Mem` checks every book after every message; what is looked at besides is what the venue would have been sent."""
    m = Mem()
    m.do(entry("e", **SPOT))
    m.do(fill("t", "o-e", instrument=Kind.SPOT))
    for number, (act, which) in enumerate(acts):
        position = m.state.position(BOOK)
        live = [row for row in m.state.live_orders(BOOK) if row.role is not Role.ENTRY]
        row = live[which % len(live)] if live else None
        if act == "stop" and position is not None:
            m.do(stop(f"s{number}", position))
        elif act in {"exit", "part", "limit"}:
            more = {"type": "limit", "price": "120"} if act == "limit" else {}
            m.do(out(f"x{number % 5}", None if act == "exit" else "0.3", **more))
        elif act == "add":
            m.do(entry(f"e{number}", quantity="0.5", **SPOT))
            m.do(fill(f"t{number}", f"o-e{number}", quantity="0.5", instrument=Kind.SPOT))
        elif act == "gone" and position is not None:
            half = str(position.quantity / 2)
            m.do(fill(f"g{number}", "", "sell", half, kind=FillKind.ADJUSTMENT, instrument=Kind.SPOT))
        elif row is not None and act in {"accept", "unknown", "cancel"}:
            kind = {"accept": "accepted", "unknown": "unknown", "cancel": "canceled"}[act]
            m.do(status(row.order_id, kind, id=f"st{number}"))
        elif row is not None and act in {"fill", "half"} and position is not None and not row.displaced:
            part = row.remaining if act == "fill" else row.remaining / 2
            m.do(fill(f"f{number}", row.order_id, "sell", str(part), "95", instrument=Kind.SPOT))
        held, live = m.state.position(BOOK), m.state.live_orders(BOOK)
        assert len([one for one in live if one.role is Role.PROTECT]) <= 1
        if held is not None:
            assert add(working_exits(live), locked(live)) <= held.quantity
        assert m.state.books[BOOK].side != "short", "an exit sold what was not ours"


# -- what is to be done -----------------------------------------------------------------------------------------------


def decide(m, locking=None, after=10_000, **more):
    exits = m.state.live_orders(BOOK, Role.EXIT)
    locking = locking or Locking(exits)
    return next_step(
        m.position(), m.book, stops(m), ProtectTerms(), RULES, NOW + after, locking=locking, **more
    )


def test_to_be_moved_it_gives_way_first_and_then_another_one_is_placed(m):
    rest(m, "s")
    assert decide(m).do is Do.NOTHING
    m.do(move_exits(m.position().position_id, stop_loss="95"))
    step = decide(m)
    assert (step.do, step.stop.intent_id) == (Do.GIVE_WAY, "s")
    assert decide(m, after=4_999).do is Do.NOTHING, "as seldom as anywhere"
    m.do(status("o-s", StatusKind.CANCELED))
    step = decide(m)
    assert (step.do, step.price, step.quantity) == (Do.PLACE, D(95), D(1))


def test_in_the_gap_none_rests(m):
    row = rest(m, "s")
    assert resting([row], m.position()) is row
    assert resting([row.evolve(state=OrderState.CANCELING, code=Code.REPLACED)], m.position()) is None, (
        "nothing has taken its place"
    )


def test_none_is_placed_while_an_exit_waits_or_is_on_its_way(m):
    assert decide(m, Locking(exit_waits=True)).why == "an exit wants its coins"
    m.do(out("x", "0.4"))
    assert decide(m).why == "an exit is on its way"
    m.do(status("o-x", StatusKind.REJECTED))
    assert decide(m).do is Do.PLACE


def test_one_guards_what_was_bought_after_an_exit_of_all_had_begun_to_rest(m):
    m.do(out("x", type="limit", price="200"))
    m.do(status("o-x", StatusKind.ACCEPTED))
    assert (decide(m).do, decide(m).why) == (Do.NOTHING, "it is being closed")
    m.do(fill("t2", "o-e", quantity="0.5", instrument=Kind.SPOT))
    assert (decide(m).do, decide(m).quantity) == (Do.PLACE, D("0.5"))
    assert m.answer(stop("s", m.position(), quantity="0.5")) == ("accepted", None)


def test_one_is_placed_for_what_is_to_be_closed_at_once_too(m):
    """That is the scanner's business, and it may be dead."""
    position = m.position().evolve(closing=ExitReason.CLOSE)
    assert next_step(position, m.book, [], ProtectTerms(), RULES, NOW, locking=Locking()).do is Do.PLACE


def test_the_smallest_stop_limit_is_worth_enough_at_its_limit(m):
    terms = ProtectTerms(type=OrderType.LIMIT, limit_pct=D(20))
    found = [
        next_step(m.position(), m.book, [], terms, RULES, NOW, locking=Locking(room=D(room))).do
        for room in ("0.069", "0.070")
    ]
    assert found == [Do.NOTHING, Do.PLACE], "5 / 72 is 0.0694"


def test_beside_a_resting_exit_it_guards_the_rest(m):
    m.do(out("x", "0.4", type="limit", price="120"))
    m.do(status("o-x", StatusKind.ACCEPTED))
    assert (decide(m).do, decide(m).quantity) == (Do.PLACE, D("0.6"))


@pytest.mark.parametrize(
    ("locking", "do", "quantity"),
    [
        (Locking(room=D("0.7")), Do.PLACE, D("0.7")),
        (Locking(room=D("0.0554")), Do.NOTHING, None),
        (Locking(room=D("0.0556")), Do.NOTHING, None),
        (Locking(room=D("0.056")), Do.PLACE, D("0.056")),
        (Locking(room=D(3)), Do.PLACE, D(1)),
        (Locking(), Do.PLACE, D(1)),
    ],
)
def test_it_is_as_large_as_the_free_coins_and_not_smaller_than_the_venue_takes(m, locking, do, quantity):
    """At 90 the smallest order, worth 5, is 0.0556, in steps 0.056."""
    step = decide(m, locking)
    assert (step.do, step.quantity) == (do, quantity)


@pytest.mark.parametrize(
    ("locking", "do"),
    [
        (Locking(cut=True), Do.NOTHING),
        (Locking(cut=True, room=D("0.7")), Do.NOTHING),
        (Locking(cut=True, room=D(1)), Do.GIVE_WAY),
        (Locking(cut=False), Do.GIVE_WAY),
    ],
)
def test_one_that_was_cut_grows_when_the_coins_are_seen_to_be_free(m, locking, do):
    rest(m, "s", quantity="0.7")
    assert decide(m, locking).do is do
