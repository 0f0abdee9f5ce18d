"""The checks that the ledger runs before every commit: each invariant, broken on purpose, is noticed by number."""

from decimal import Decimal

import pytest

from holdfast.contracts.codes import OrderState, PositionSide, Side
from holdfast.domain.invariants import (
    STATEMENTS,
    InvariantViolation,
    check_book,
    check_position,
    exit_side,
    working_exits,
)
from tests.unit._ledger import Mem, entry, leave

D = Decimal


@pytest.fixture
def held():
    """A book with a position of 1, its exit of 1, and no entry."""
    m = Mem()
    m.open()
    m.do(leave("x"))
    return m.book, m.position(), m.state.live_orders(m.book.book_id)


def broken(number):
    return pytest.raises(InvariantViolation, match=f"^{number}: ")


def test_a_sound_book_passes(held):
    check_book(*held)


def test_every_invariant_has_its_statement():
    assert list(STATEMENTS) == [f"INV-{n}" for n in range(1, 11)]
    assert STATEMENTS["INV-5"] in str(InvariantViolation("INV-5", "a test"))


def test_a_book_with_entries_of_both_sides(held):
    book, _, _ = held
    m = Mem()
    m.do(entry("a"))
    long = m.order("a")

    with broken("INV-1"):
        check_book(book, None, [long, long.evolve(order_id="o-b", side=Side.SELL)])


def test_an_entry_against_the_position(held):
    book, position, _ = held
    m = Mem()
    m.do(entry("a", "sell"))

    with broken("INV-1"):
        check_book(book, position, [m.order("a")])
    check_book(book, position, [m.order("a").evolve(displaced=True)])
    check_book(book, position, [m.order("a").evolve(state=OrderState.CANCELED)])


def test_a_book_that_says_another_side_than_it_holds(held):
    book, position, orders = held

    with broken("INV-1"):
        check_book(book.evolve(side=PositionSide.SHORT), position, orders)
    with broken("INV-1"):
        check_book(book.evolve(side=None), position, orders)


@pytest.mark.parametrize(
    "changes",
    [
        {"stop_loss": None},
        {"stop_loss": D(0)},
        {"stop_loss": D(-1)},
        {"take_profit": None},
        {"take_profit": None, "take_profit_spec": "off"},
        {"take_profit": D(80)},
        {"take_profit": D(90)},
        {"side": PositionSide.SHORT},
    ],
)
def test_a_bare_position(held, changes):
    with broken("INV-2"):
        check_position(held[1].evolve(**changes))


def test_a_take_profit_may_be_off_where_there_is_a_deadline(held):
    check_position(held[1].evolve(take_profit=None, take_profit_spec="off", expires_at=5))


def test_exits_of_more_than_is_held(held):
    book, position, (order,) = held

    with broken("INV-5"):
        check_book(book, position, [order, order.evolve(order_id="o-y", quantity=D("0.001"))])
    check_book(book, position, [order, order.evolve(order_id="o-y", displaced=True)])
    check_book(book, position, [order, order.evolve(order_id="o-y", state=OrderState.FILLED)])


def test_an_exit_that_could_open(held):
    book, position, (order,) = held

    with broken("INV-5"):
        check_book(book, position, [order.evolve(reduce_only=False)])


def test_unknown_exits_count_and_what_has_filled_does_not(held):
    _, _, (order,) = held

    assert working_exits([order.evolve(state=OrderState.UNKNOWN)]) == 1
    assert working_exits([order.evolve(filled=D("0.4"))]) == D("0.6")
    assert working_exits([order.evolve(displaced=True)]) == 0


def test_the_sum_is_exact_to_the_last_digit(held):
    book, position, (order,) = held
    odd = D("0.30000000000000000000000000000000000001")
    rest = order.evolve(
        order_id="o-y", quantity=D("0.7"), filled=D("0.00000000000000000000000000000000000001")
    )

    assert rest.remaining == D("0.69999999999999999999999999999999999999")
    assert working_exits([order.evolve(quantity=odd), rest]) == 1
    check_book(book, position, [order.evolve(quantity=odd), rest])
    with broken("INV-5"):
        check_book(book, position, [order.evolve(quantity=odd), rest.evolve(filled=D(0))])


def test_what_reduces_a_side():
    assert (exit_side(PositionSide.LONG), exit_side(PositionSide.SHORT)) == (Side.SELL, Side.BUY)
