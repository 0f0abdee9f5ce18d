"""A position's stop at the venue: what the ledger records of it (INV-5), and what is to be done about it next."""

from decimal import Decimal as D  # noqa: N817

import pytest

from holdfast.contracts.codes import (
    Code,
    ExitReason,
    Kind,
    OrderState,
    OrderType,
    PositionSide,
    Role,
    StatusKind,
)
from holdfast.domain.instruments import Instrument
from holdfast.domain.invariants import InvariantViolation, check_book
from holdfast.domain.protecting import Do, ProtectTerms, level_of, limit_of, next_step, resting
from tests.unit._ledger import BOOK, NOW, Mem, entry, fill, leave, order, status

RULES = Instrument(
    "BTC/USDT", Kind.LINEAR, "BTC", "USDT", "USDT", D(1), D("0.001"), D("0.1"), D("0.001"), D(100)
)
TERMS = ProtectTerms()


def stop(intent, position, **given):
    """A proposal of a stop for *position*."""
    given = {"position_id": position.position_id, "stop_price": "90", **given}
    return order(intent, Role.PROTECT, given)


@pytest.fixture
def m():
    m = Mem()
    m.open()
    return m


def stops(m):
    return m.state.live_orders(BOOK, Role.PROTECT)


def rest(m, intent, **given):
    """A stop that the venue has been seen to hold."""
    assert m.answer(stop(intent, m.position(), **given)) == ("accepted", None)
    m.do(status(f"o-{intent}", StatusKind.ACCEPTED))
    return m.order(intent)


# -- the ledger -------------------------------------------------------------------------------------------------------


def test_a_stop_is_recorded_like_any_order_reduce_only_and_not_larger_than_what_is_held(m):
    row = rest(m, "s", quantity="5")
    assert (row.quantity, row.side.value, row.reduce_only, row.stop_price) == (D(1), "sell", True, D(90))
    assert (row.state, row.reason, m.position().protects) == (OrderState.OPEN, ExitReason.EXIT_ON_VENUE, 1)


def test_it_stands_in_the_way_of_no_exit(m):
    rest(m, "s")
    assert m.answer(leave("x", reason=ExitReason.TAKE_PROFIT)) == ("accepted", None)
    assert m.order("x").quantity == 1


def test_a_second_stop_is_refused_unless_it_names_the_first(m):
    rest(m, "s")
    assert m.answer(stop("t", m.position())) == ("blocked", Code.ALREADY_PROTECTED)
    assert m.answer(stop("u", m.position(), replaces="other")) == ("blocked", Code.ALREADY_PROTECTED)
    assert m.answer(stop("v", m.position(), replaces="s")) == ("accepted", None)
    assert m.answer(stop("w", m.position(), replaces="v")) == ("blocked", Code.ALREADY_PROTECTED)
    assert [row.intent_id for row in stops(m)] == ["s", "v"]
    assert m.order("s").replaced_by == "v"


def test_the_old_one_goes_when_the_new_one_is_proven_to_rest_and_not_before(m):
    rest(m, "s")
    m.do(stop("t", m.position(), stop_price="91", replaces="s"))
    m.do(status("o-t", StatusKind.UNKNOWN))
    assert m.order("s").state is OrderState.OPEN
    m.do(status("o-t", StatusKind.ACCEPTED))
    assert (m.order("s").state, m.order("s").code) == (OrderState.CANCELING, Code.REPLACED)
    m.do(status("o-s", StatusKind.CANCELED))
    assert [row.intent_id for row in stops(m)] == ["t"]


@pytest.mark.parametrize("end", [StatusKind.REJECTED, StatusKind.ABSENT, StatusKind.CANCELED])
def test_the_old_one_stays_when_the_new_one_comes_to_nothing_and_may_be_replaced_again(m, end):
    rest(m, "s")
    m.do(stop("t", m.position(), replaces="s"))
    m.do(status("o-t", end))
    assert (m.order("s").state, m.order("s").replaced_by) == (OrderState.OPEN, None)
    assert m.answer(stop("u", m.position(), replaces="s")) == ("accepted", None)


def test_a_position_that_is_gone_takes_its_stops_along(m):
    rest(m, "s")
    m.do(stop("t", m.position(), replaces="s"))
    m.do(leave("x"))
    m.do(fill("tx", "o-x", "sell"))
    assert [(row.state, row.displaced) for row in stops(m)] == [(OrderState.CANCELING, True)] * 2
    assert m.answer(stop("u", stops(m)[0])) == ("blocked", Code.POSITION_GONE)


def test_two_stops_of_a_closed_position_leave_no_room_for_one_of_the_next(m):
    rest(m, "s")
    m.do(stop("t", m.position(), replaces="s"))
    m.do(leave("x"))
    m.do(fill("tx", "o-x", "sell"))
    m.open(intent="again")
    assert m.answer(stop("u", m.position())) == ("blocked", Code.ALREADY_PROTECTED)
    m.do(status("o-s", StatusKind.CANCELED))
    assert m.answer(stop("v", m.position())) == ("accepted", None)


def test_its_fill_closes_the_position_as_exit_on_venue_with_the_level(m):
    rest(m, "s")
    m.do(leave("x", "0.4", reason=ExitReason.TAKE_PROFIT))
    m.do(fill("ts", "o-s", "sell", price="89.5"))
    (trade,) = m.updates[-1].trades
    assert (trade.exit_reason, trade.trigger_level, trade.exit_price) == (
        ExitReason.EXIT_ON_VENUE,
        D(90),
        D("89.5"),
    )
    assert m.order("x").state is OrderState.CANCELING, "others have nothing left to close"


def test_a_part_that_fills_leaves_the_rest_with_the_exits_it_had(m):
    rest(m, "s")
    m.do(fill("ts", "o-s", "sell", "0.4", "89.5"))
    assert (m.position().quantity, m.position().exit_reason, m.order("s").state) == (
        D("0.6"),
        None,
        OrderState.PARTIAL,
    )


@pytest.mark.parametrize(
    ("given", "answer"),
    [
        ({"stop_price": None}, ("invalid", Code.MALFORMED)),
        ({"side": "buy"}, ("blocked", Code.WRONG_SIDE)),
        ({"position_id": "p-other"}, ("blocked", Code.POSITION_GONE)),
    ],
)
def test_what_is_no_stop_of_this_position_is_refused(m, given, answer):
    assert m.answer(stop("s", m.position(), **given)) == answer


def test_stops_that_pile_up_open_something_or_guard_nothing_are_a_violation(m):
    row = rest(m, "s")
    book, position = m.book, m.position()
    check_book(book, position, [row, row.evolve(order_id="o-2", intent_id="2", replaces="s")])
    for wrong in (
        [row, row.evolve(order_id="o-2", intent_id="2")],
        [row, row.evolve(order_id="o-2", displaced=True), row.evolve(order_id="o-3", displaced=True)],
        [row.evolve(reduce_only=False)],
        [row.evolve(stop_price=None)],
        [row.evolve(position_id="p-other")],
    ):
        with pytest.raises(InvariantViolation, match=r"^INV-5: "):
            check_book(book, position, wrong)
    check_book(book, position, [row.evolve(position_id="p-other", displaced=True)])


# -- what is to be done -----------------------------------------------------------------------------------------------


def decide(m, after=10_000, **more):
    given = {"terms": TERMS} | more
    terms = given.pop("terms")
    return next_step(m.position(), m.book, stops(m), terms, RULES, NOW + after, **given)


def test_a_position_without_a_stop_gets_one_at_its_stop_loss_for_all_of_it(m):
    step = decide(m)
    assert (step.do, step.price, step.quantity, step.stop) == (Do.PLACE, D(90), D(1), None)


def test_one_that_rests_as_it_should_is_left_alone(m):
    rest(m, "s")
    assert decide(m).do is Do.NOTHING


def test_it_is_as_large_as_the_position(m):
    rest(m, "s")
    m.do(entry("more", quantity="2"))
    m.do(fill("tm", "o-more", quantity="2"))
    assert decide(m, after=500).do is Do.NOTHING, "not at every fill of many"
    step = decide(m)
    assert (step.do, step.quantity, step.stop.intent_id) == (Do.REPLACE, D(3), "s")
    m.do(leave("x", "2.5"))
    m.do(fill("tx", "o-x", "sell", "2.5"))
    assert decide(m).quantity == D("0.5")


@pytest.mark.parametrize(
    ("stop_loss", "after", "do"),
    [
        ("90.05", 10_000, Do.NOTHING),
        ("90.1", 4_999, Do.NOTHING),
        ("90.1", 5_000, Do.REPLACE),
        ("95", 5_000, Do.REPLACE),
        ("89", 5_000, Do.REPLACE),
    ],
)
def test_it_follows_the_stop_loss_in_steps_and_not_more_often_than_every_five_seconds(
    m, stop_loss, after, do
):
    rest(m, "s")
    position = m.position().evolve(stop_loss=D(stop_loss))
    assert next_step(position, m.book, stops(m), TERMS, RULES, NOW + after).do is do


@pytest.mark.parametrize("state", [OrderState.RESERVED, OrderState.UNKNOWN, OrderState.CANCELING])
def test_one_in_doubt_counts_as_live_and_is_waited_for(m, state):
    row = rest(m, "s").evolve(state=state)
    position = m.position().evolve(stop_loss=D(95))
    assert next_step(position, m.book, [row], TERMS, RULES, NOW + 60_000).do is Do.NOTHING


def test_nothing_is_done_while_one_replaces_the_other_or_the_position_is_being_closed(m):
    rest(m, "s")
    m.do(stop("t", m.position(), replaces="s", quantity="0.5"))
    assert decide(m).do is Do.NOTHING
    m.do(leave("x"))
    assert decide(m).why == "it is being closed"


def test_a_stop_that_triggers_and_does_not_fill_is_given_up_for_a_market_exit(m):
    rest(m, "s")
    assert decide(m, after=4_999, triggered_at=NOW).do is Do.NOTHING
    step = decide(m, after=5_000, triggered_at=NOW)
    assert (step.do, step.price, step.stop.intent_id) == (Do.EXIT, D(90), "s")


def test_a_stop_that_the_price_has_passed_already_is_an_exit(m):
    assert decide(m, refused_there=True).do is Do.EXIT
    rest(m, "s")
    assert decide(m, refused_there=True).do is Do.EXIT, "whether or not an older one rests"


def test_an_account_that_is_protected_otherwise_has_its_stops_taken_away(m):
    assert decide(m, terms=None).do is Do.NOTHING
    rest(m, "s")
    step = decide(m, terms=None)
    assert (step.do, step.stop.intent_id) == (Do.CANCEL, "s")
    m.do(status("o-s", StatusKind.CANCELED))
    assert decide(m, terms=None).do is Do.NOTHING


def test_less_than_the_venue_takes_is_left_to_the_scanner(m):
    m.do(leave("x", "0.9995"))
    m.do(fill("tx", "o-x", "sell", "0.9995"))
    assert (decide(m).do, "less than" in decide(m).why) == (Do.NOTHING, True)


@pytest.mark.parametrize(
    ("side", "stop_loss", "level", "limit"),
    [
        (PositionSide.LONG, "90.07", "90", "89.1"),
        (PositionSide.LONG, "90.1", "90.1", "89.1"),
        (PositionSide.SHORT, "110.03", "110.1", "111.3"),
    ],
)
def test_prices_are_rounded_to_the_same_level_of_the_grid_and_limits_towards_filling(
    m, side, stop_loss, level, limit
):
    position = m.position().evolve(side=side, stop_loss=D(stop_loss))
    found = level_of(position, D("0.1"))
    assert (found, limit_of(position, found, D(1), D("0.1"))) == (D(level), D(limit))


def test_what_is_proven_to_rest(m):
    assert resting(stops(m), m.position()) is None
    m.do(stop("s", m.position()))
    assert resting(stops(m), m.position()) is None, "reserved is not resting"
    m.do(status("o-s", StatusKind.ACCEPTED))
    assert resting(stops(m), m.position()).intent_id == "s"
    m.do(stop("t", m.position(), stop_price="91", replaces="s", type=OrderType.LIMIT, price="89"))
    assert resting(stops(m), m.position()).intent_id == "s"
    m.do(status("o-t", StatusKind.ACCEPTED))
    assert resting(stops(m), m.position()).intent_id == "t"
