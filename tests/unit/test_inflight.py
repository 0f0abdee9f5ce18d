"""What books are burdened with: proposals and rows take each other's place, and the sums never drift."""

from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.contracts.codes import Kind, OrderState, PositionSide, Role, Side
from holdfast.contracts.rows import OrderRow, book_id
from holdfast.domain.inflight import InFlight
from holdfast.domain.one_side import Held
from holdfast.domain.view import LedgerView
from tests.unit._executor import D
from tests.unit.test_precheck import position

LONG, SHORT = PositionSide.LONG, PositionSide.SHORT
BOOKS = [book_id("main", "paper", symbol) for symbol in ("BTC/USDT", "ETH/USDT")]


def order(
    order_id, book=BOOKS[0], side=Side.BUY, state=OrderState.RESERVED, role=Role.ENTRY, filled="0", **more
) -> OrderRow:
    values = {
        "order_id": order_id, "intent_id": order_id, "book_id": book, "account": "main", "exchange": "paper", "symbol": book.removeprefix("main/paper/"),
        "kind": Kind.LINEAR, "contract_size": D(1), "settle": "USDT", "role": role, "side": side, "quantity": D(4), "filled": D(filled), "state": state,
        "notional": D(400) if role is Role.ENTRY else D(0), "incarnation": "x", "epoch": 1, "send_by": 1, "reserved_at": 1, "changed_at": 1,
    }  # fmt: skip
    return OrderRow(**{**values, **more})


def test_a_proposal_holds_its_side_until_the_ledger_shows_or_refuses_it():
    books = InFlight()
    books.propose("a", BOOKS[0], "main", LONG, D(400), 1)
    books.propose("b", BOOKS[1], "main", SHORT, D(100), 1)
    assert books.held(BOOKS[0], None) == Held(in_flight=(LONG,))
    assert books.is_moving(BOOKS[0])
    assert (books.exposure.busy_books, books.exposure.total_notional) == (2, D(500))
    books.take_order(order("a"))
    assert not books.is_moving(BOOKS[0])
    assert books.exposure.total_notional == D(500)
    books.withdraw("a")
    books.withdraw("b")
    assert books.held(BOOKS[1], None) == Held()
    assert books.held(BOOKS[0], None) == Held(in_flight=(LONG,)), "what the ledger shows is not withdrawn"
    assert (books.exposure.busy_books, books.exposure.total_notional) == (1, D(400))


def test_what_has_filled_moves_from_the_order_to_the_position():
    books = InFlight()
    books.take_order(order("a", filled="1", state=OrderState.PARTIAL))
    books.take_position(position(quantity="1"))
    assert books.exposure.total_notional == D(400)
    books.take_order(order("a", filled="4", state=OrderState.FILLED))
    books.take_position(position(quantity="4", cost=D(404)))
    assert books.exposure.total_notional == D(404)
    assert books.held(BOOKS[0], position(quantity="4")) == Held(long=D(4))
    books.take_position(position(quantity="0"))
    assert (books.exposure.busy_books, books.exposure.total_notional) == (0, D(0))


def test_exits_burden_nothing_unless_they_are_unknown():
    books = InFlight()
    books.take_order(order("x", role=Role.EXIT))
    assert books.exposure.busy_books == 0
    books.take_order(order("x", role=Role.EXIT, state=OrderState.UNKNOWN))
    assert books.is_unknown(BOOKS[0])
    assert books.exposure.busy_books == 1
    books.take_order(order("x", role=Role.EXIT, state=OrderState.CANCELED))
    assert not books.is_unknown(BOOKS[0])


def test_a_displaced_entry_holds_no_side():
    books = InFlight()
    books.take_order(order("a", displaced=True, state=OrderState.CANCELING))
    assert books.held(BOOKS[0], None) == Held()


def test_a_fresh_view_keeps_proposals_it_does_not_show_and_the_rate():
    books, view = InFlight(), LedgerView()
    books.propose("a", BOOKS[0], "main", LONG, D(400), 1000)
    books.propose("b", BOOKS[0], "main", LONG, D(400), 1000)
    books.take_order(order("gone", book=BOOKS[1]))
    view.orders["a"] = order("a")
    books.load(view)
    assert (books.exposure.busy_books, books.exposure.total_notional) == (1, D(800))
    assert books.exposure.entries_in_last_minute("main", 1000) == 2
    assert books.is_moving(BOOKS[0])


STATES = st.sampled_from(list(OrderState))
STEPS = st.lists(
    st.tuples(st.integers(0, 5), st.sampled_from(BOOKS), st.sampled_from(Side), st.sampled_from(["propose", "withdraw", "row"]), STATES, st.sampled_from(["0", "1", "3"])),
    max_size=40,
)  # fmt: skip


@given(STEPS)
@settings(max_examples=100, deadline=None)
def test_kept_up_and_computed_afresh_are_the_same(steps):
    """After any history, the sums are those of the claims that are left."""
    books, truth = InFlight(), {}
    for number, book, side, what, state, filled in steps:
        key = f"{number}@{book}"
        opens = LONG if side is Side.BUY else SHORT
        if what == "propose":
            books.propose(key, book, "main", opens, D(100), 1)
            truth[key] = (book, opens, D(100), True, False)
        elif what == "withdraw":
            books.withdraw(key)
            if key in truth and truth[key][3]:
                del truth[key]
        else:
            row = order(key, book=book, side=side, state=state, filled=filled)
            books.take_order(row)
            truth.pop(key, None)
            if row.is_live:
                truth[key] = (book, opens, D(400) * row.remaining / 4, False, state is OrderState.UNKNOWN)
    assert books.exposure.total_notional == sum((part[2] for part in truth.values()), D(0))
    assert books.exposure.busy_books == len({part[0] for part in truth.values()})
    for book in BOOKS:
        sides = {part[1] for part in truth.values() if part[0] == book}
        assert set(books.held(book, None).in_flight) == sides
        assert books.is_unknown(book) == any(part[4] for part in truth.values() if part[0] == book)
