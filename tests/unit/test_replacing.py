"""Replacing an entry: canceled, proven ended, what it filled taken off, then reserved; at no moment two, whoever restarts when."""

from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from holdfast.contracts.codes import Code, OrderState, ResultStatus, Role
from holdfast.contracts.messages import OrderReserve
from holdfast.venues.port import OutcomeKind
from tests.unit._executor import TERMINAL, D, World
from tests.unit._ledger import BOOK, Desk, Mem, entry, fill, leave, refusal, status
from tests.unit.test_executor import ready
from tests.unit.test_precheck import intent

LIMIT = {"type": "limit", "price": "90"}


def live_entries(world_or_ledger) -> list:
    state = getattr(world_or_ledger, "ledger", world_or_ledger).state
    return [row for row in state.orders.values() if row.role is Role.ENTRY]


# -- the ledger -------------------------------------------------------------------------------------------------------


def test_the_old_entry_is_canceled_first_and_the_new_one_gets_no_answer_before_that():
    ledger = Mem()
    ledger.do(entry("a", quantity="5", **LIMIT))
    ledger.do(entry("b", quantity="5", replaces="a", **LIMIT))
    assert (ledger.order("a").state, ledger.order("a").code) == (OrderState.CANCELING, Code.REPLACED)
    assert "b" not in ledger.known.intents
    change = ledger.do(entry("b", quantity="5", replaces="a", **LIMIT))
    assert change.is_empty, "asking again changes nothing"
    ledger.do(status("o-a", "canceled"))
    assert ledger.answer(entry("b", quantity="5", replaces="a", **LIMIT)) == ("accepted", None)
    assert ledger.of("a") == ("canceled", Code.REPLACED)
    assert (ledger.order("b").quantity, ledger.order("b").replaces) == (5, "a")


def test_what_the_old_entry_filled_is_taken_off():
    ledger = Mem()
    ledger.do(entry("a", quantity="5", **LIMIT))
    ledger.do(fill("t", "o-a", quantity="2"))
    ledger.do(entry("b", quantity="5", replaces="a", **LIMIT))
    ledger.do(fill("u", "o-a", quantity="1"))
    ledger.do(status("o-a", "canceled"))
    ledger.do(entry("b", quantity="5", replaces="a", **LIMIT))
    assert ledger.order("b").quantity == 2
    assert ledger.of("a") == ("partly_filled", Code.REPLACED)


def test_an_end_that_names_more_fills_than_were_read_is_no_proof():
    ledger = Mem()
    ledger.do(entry("a", quantity="5", **LIMIT))
    ledger.do(entry("b", quantity="5", replaces="a", **LIMIT))
    ledger.do(status("o-a", "canceled", filled_quantity="3"))
    ledger.do(entry("b", quantity="5", replaces="a", **LIMIT))
    assert "b" not in ledger.known.intents
    ledger.do(fill("t", "o-a", quantity="3"))
    ledger.do(entry("b", quantity="5", replaces="a", **LIMIT))
    assert ledger.order("b").quantity == 2


@pytest.mark.parametrize(("filled", "least"), [("5", "0"), ("4.9995", "0"), ("4", "2")])
def test_when_nothing_is_left_the_new_intent_ends(filled, least):
    ledger = Mem()
    ledger.do(entry("a", quantity="5", **LIMIT))
    ledger.do(fill("t", "o-a", quantity=filled))
    ledger.do(status("o-a", "canceled"))
    answer = ledger.answer(entry("b", quantity="5", replaces="a", min_quantity=least, **LIMIT))
    assert answer == ("canceled", Code.NOTHING_LEFT)


def test_of_two_that_want_the_same_place_one_gets_it():
    ledger = Mem()
    ledger.do(entry("a", quantity="5", **LIMIT))
    ledger.do(entry("b", quantity="5", replaces="a", **LIMIT))
    assert ledger.answer(entry("c", quantity="5", replaces="a", **LIMIT)) == (
        "blocked",
        Code.ALREADY_REPLACED,
    )
    ledger.do(status("o-a", "canceled"))
    ledger.do(entry("b", quantity="5", replaces="a", **LIMIT))
    assert ledger.answer(entry("d", quantity="5", replaces="a", **LIMIT)) == (
        "blocked",
        Code.ALREADY_REPLACED,
    )
    assert [row.intent_id for row in live_entries(ledger)] == ["b"]


def test_a_place_whose_taker_came_to_nothing_is_free_again():
    ledger = Mem()
    ledger.do(entry("a", quantity="5", **LIMIT))
    ledger.do(entry("b", quantity="5", replaces="a", **LIMIT))
    ledger.do(refusal("b", Code.EXPIRED, "expired"))
    ledger.do(status("o-a", "canceled"))
    assert ledger.answer(entry("c", quantity="5", replaces="a", **LIMIT))[0] == "accepted"


@pytest.mark.parametrize(
    ("new", "code"),
    [
        (entry("b", replaces="nobody"), Code.NO_SUCH_ORDER),
        (entry("b", "sell", replaces="a"), Code.MALFORMED),
        (entry("b", replaces="a", symbol="ETH/USDT"), Code.MALFORMED),
        (entry("b", replaces="x"), Code.MALFORMED),
    ],
)
def test_only_an_entry_of_the_same_book_and_side_gives_its_place(new, code):
    ledger = Mem()
    ledger.do(entry("a", quantity="5"))
    ledger.do(fill("t", "o-a", quantity="1"))
    ledger.do(leave("x", "0.5"))
    assert ledger.answer(new) == ("invalid", code)
    assert ledger.order("a").code is None, "and nothing was canceled for it"


def test_an_intent_that_was_refused_has_no_place_to_give():
    """Whoever was told so knows that the entry before it still stands, and replaces that."""
    ledger = Mem()
    ledger.do(refusal("a", Code.NO_PRICE))
    assert ledger.answer(entry("b", quantity="5", replaces="a")) == ("invalid", Code.NO_SUCH_ORDER)


def test_what_all_entries_of_a_chain_have_filled_is_taken_off():
    ledger = Mem()
    ledger.do(entry("a", quantity="5", **LIMIT))
    for trade, (name, before) in enumerate((("b", "a"), ("c", "b"), ("d", "c"))):
        ledger.do(fill(f"t{trade}", f"o-{before}", quantity="1"))
        ledger.do(status(f"o-{before}", "canceled"))
        ledger.do(entry(name, quantity="5", replaces=before, **LIMIT))
    assert (ledger.order("d").quantity, ledger.order("d").filled_before) == (2, 3)


def test_the_real_store_knows_an_entry_that_ended_long_ago(tmp_path):
    desk = Desk(tmp_path)
    desk.run(entry("a", quantity="5", **LIMIT))
    desk.run(fill("t", "o-a", quantity="2"))
    desk.run(status("o-a", "canceled"))
    desk.restart()
    desk.run(entry("b", quantity="5", replaces="a", **LIMIT))
    desk.restart()
    desk.run(entry("c", quantity="5", replaces="a", **LIMIT))
    (row,) = live_entries(desk.ledger)
    assert (row.intent_id, row.quantity, row.replaces) == ("b", 3, "a")
    assert desk.results[-1].code is Code.ALREADY_REPLACED
    desk.close()


EVENTS = st.lists(
    st.one_of(
        st.tuples(st.just("propose"), st.integers(1, 4)),
        st.tuples(st.just("fill"), st.integers(1, 5)),
        st.tuples(st.just("cancel"), st.sampled_from(["canceled", "unknown", "expired"])),
    ),
    min_size=5, max_size=40,
)  # fmt: skip


@given(EVENTS)
@settings(max_examples=150)
def test_whatever_comes_in_whatever_order_a_chain_of_replacements_never_buys_more_than_was_wished(events):
    """Each intent wishes for 5 in place of the one before. Each order may fill up to its size, and fills may come late."""
    ledger, trades = Mem(), 0
    ledger.do(entry("i0", quantity="5", **LIMIT))
    for what, how in events:
        if what == "propose":
            ledger.do(entry(f"i{how}", quantity="5", replaces=f"i{how - 1}", **LIMIT))
        for row in live_entries(ledger):
            if what == "fill":
                trades += 1
                quantity = min(row.remaining, D(how))
                ledger.do(fill(f"t{trades}", row.order_id, quantity=str(quantity)))
            elif what == "cancel" and row.code is Code.REPLACED:
                ledger.do(status(row.order_id, how, id=f"s{len(ledger.updates)}"))
        assert len(live_entries(ledger)) <= 1
    held = ledger.state.position(BOOK)
    waiting = sum((row.remaining for row in live_entries(ledger)), Decimal(0))
    assert (held.quantity if held is not None else 0) + waiting <= 5


# -- the executor -----------------------------------------------------------------------------------------------------


async def resting(world: World, name="a", **more) -> None:
    await world.give(world.buy("5", id=name, **LIMIT, **more))
    await world.settle()


async def test_a_reprice_goes_through_cancel_proof_and_reservation():
    world = await ready()
    await resting(world)
    first = world.order()
    wish = world.buy("5", id="b", type="limit", price="91", replaces="a")
    await world.give(wish)
    await world.deliver()
    assert world.venue.canceled == [first.order_id]
    assert "b" not in world.ledger.known.intents
    await world.settle()
    await world.time()  # the venue tells of the cancel
    await world.settle()
    (row,) = live_entries(world)
    assert (row.intent_id, row.price, row.quantity) == ("b", D("91"), D(5))
    assert world.venue.sends[row.order_id] == 1
    assert ("order.intent", wish.entry_id) in world.acked
    assert [order.state for order in world.venue.orders.values()] == [OrderState.CANCELED, OrderState.OPEN]


async def test_a_fill_on_the_way_is_taken_off():
    world = await ready()
    await resting(world)
    first = world.order()
    await world.give(world.buy("5", id="b", type="limit", price="91", replaces="a"))
    world.venue.fill(first.order_id, "2")
    await world.settle()
    await world.pass_time(2000)
    (row,) = live_entries(world)
    assert (row.intent_id, row.quantity) == ("b", 3)
    assert world.ledger.state.position(BOOK).quantity == 2


async def test_while_the_old_order_has_no_clear_answer_nothing_is_reserved():
    world = await ready()
    world.venue.outcome, world.venue.arrives = OutcomeKind.UNKNOWN, True
    await world.give(world.buy("5", id="a", **LIMIT))
    await world.settle()
    world.venue.unreadable = True
    await world.give(world.buy("5", id="b", replaces="a", **LIMIT))
    await world.pass_time(3000)
    assert [row.intent_id for row in live_entries(world)] == ["a"]
    world.venue.unreadable, world.venue.outcome = False, OutcomeKind.ACCEPTED
    await world.pass_time(5000)
    (row,) = live_entries(world)
    assert (row.intent_id, row.state) == ("b", OrderState.OPEN)


@pytest.mark.parametrize("at", ["proposed", "canceling", "canceled", "reserved"])
async def test_a_restart_of_the_executor_at_any_step_leaves_one(at):
    world = await ready()
    await resting(world)
    wish = world.buy("5", id="b", type="limit", price="91", replaces="a")
    await world.give(wish)
    if at == "proposed":
        world.bus.clear()
    elif at == "canceling":
        await world.deliver(to_executor=False)
    elif at == "canceled":
        await world.settle()
    else:
        await world.settle()
        await world.time()
        await world.deliver()
        await world.deliver(to_executor=False)
    await world.start()
    await world.tick()
    if ("order.intent", wish.entry_id) not in world.acked:
        await world.give(wish)
    await world.pass_time(10_000)
    end = world.ledger.intent("b")
    open_there = [order for order in world.venue.orders.values() if order.state not in TERMINAL]
    assert max(world.venue.sends.values()) == 1
    if end.status is ResultStatus.ACCEPTED:
        assert [row.intent_id for row in live_entries(world)] == ["b"]
        assert len(open_there) == 1
    else:
        assert (end.status, live_entries(world), open_there) == (ResultStatus.EXPIRED, [], []), (
            "reserved by a life that is over"
        )


async def test_a_chain_of_reprices_in_one_breath_ends_with_the_last():
    world = await ready()
    await resting(world)
    wishes = [
        world.buy("5", id=name, type="limit", price=price, replaces=before)
        for name, before, price in (("b", "a", "91"), ("c", "b", "92"), ("d", "c", "93"))
    ]
    await world.give(*wishes)
    for _ in range(40):
        await world.time()
        await world.settle()
        assert len([order for order in world.venue.orders.values() if order.state not in TERMINAL]) <= 1
    (row,) = live_entries(world)
    assert (row.intent_id, row.price) == ("d", 93)


async def test_a_reprice_that_waits_too_long_expires_and_buys_nothing():
    world = await ready()
    await resting(world)
    world.venue.unreadable = True
    await world.give(world.buy("5", id="b", type="limit", price="91", replaces="a"))
    await world.pass_time(62_000, step=500)
    assert world.ledger.intent("b").status is ResultStatus.EXPIRED
    assert not world.executor.desk.pending
    assert not world.executor.desk.asked


async def test_waiting_for_a_place_fills_no_batch():
    world = await ready()
    await resting(world)
    world.venue.unreadable = True
    for name in ("b", "c", "d"):
        await world.give(world.buy("5", id=name, type="limit", price="91", replaces="a"))
    assert not world.executor.desk.is_full


async def test_a_new_entry_that_cannot_be_leaves_the_old_one_where_it_is():
    world = await ready()
    await resting(world)
    await world.give(world.buy("5", id="b", type="limit", price="91", replaces="a", stop_loss="95"))
    assert world.of(OrderReserve)[0].refusal.code is Code.BAD_EXITS
    await world.settle()
    assert world.order().state is OrderState.OPEN


@pytest.mark.parametrize(
    "fields", [{"action": "close", "quantity": None}, {"reduce_only": True}, {"replaces": "i-1"}]
)
def test_only_an_entry_replaces_and_never_itself(fields):
    with pytest.raises(ValidationError, match="replaces names another entry"):
        intent(**{"replaces": "a", **fields})
