"""An order's life: every event in every state, and the one answer its intent gets."""

from decimal import Decimal

import pytest

from holdfast.contracts.codes import TERMINAL_STATES, Code, OrderState, ResultStatus, StatusKind
from holdfast.contracts.rows import IntentRow
from holdfast.domain.orders import CANCEL_ASKED, TRANSITIONS, on_fill, on_status, result_of, to_canceling
from tests.unit._ledger import NOW, Mem, entry, status

D = Decimal
S, K, R = OrderState, StatusKind, ResultStatus
LIVE = [state for state in S if state not in TERMINAL_STATES]


def order(state=S.RESERVED, **changes):
    m = Mem()
    m.do(entry("e"))
    return m.order("e").evolve(state=state, **changes)


def intent(status=R.ACCEPTED, **changes):
    values = {"intent_id": "e", "digest": "d", "status": status, "order_id": "o-e", "at": NOW}
    return IntentRow(**(values | changes))


def told(kind, **given):
    return status("o-e", kind, **given)


@pytest.mark.parametrize("state", list(S))
@pytest.mark.parametrize("kind", list(K))
def test_every_status_in_every_state(state, kind):
    """Ended orders stay; live ones end, or move along; nothing raises."""
    row = on_status(order(state), told(kind, evidence="seen"))

    if state in TERMINAL_STATES:
        assert row is None
    elif kind in {K.REJECTED, K.CANCELED, K.EXPIRED, K.ABSENT}:
        assert row.state in TERMINAL_STATES
        assert row.evidence == "seen"
    else:
        assert row is None or row.state is TRANSITIONS[state, kind]


@pytest.mark.parametrize("state", list(S))
@pytest.mark.parametrize("quantity", ["0.4", "1", "3"])
def test_a_fill_counts_in_every_state(state, quantity):
    row = on_fill(order(state), D(quantity), D(100), NOW)

    assert row.filled == D(quantity)
    assert row.filled_value == D(quantity) * 100
    if row.filled >= 1:
        assert row.state is S.FILLED
    elif state in TERMINAL_STATES:
        assert row.state is state
    else:
        assert row.state is (S.CANCELING if state is S.CANCELING else S.PARTIAL)


@pytest.mark.parametrize("kind", [K.REJECTED, K.ABSENT])
def test_what_has_fills_was_at_the_venue_whatever_is_said(kind):
    assert on_status(order(S.PARTIAL, filled=D("0.1")), told(kind)).state is S.CANCELED


@pytest.mark.parametrize("state", LIVE)
@pytest.mark.parametrize("kind", [K.CANCELED, K.EXPIRED, K.REJECTED])
def test_an_end_that_names_more_than_we_have_read_is_no_end_yet(state, kind):
    row = on_status(order(state, filled=D("0.1")), told(kind, filled_quantity="0.3"))

    assert (row.state, row.claimed) == (S.UNKNOWN, D("0.3"))
    row = on_fill(row, D("0.1"), D(100), NOW)
    assert row.state is S.UNKNOWN
    assert on_fill(row, D("0.1"), D(100), NOW).state is S.CANCELED


def test_an_acceptance_of_what_has_filled_in_part_is_partial():
    assert on_status(order(S.UNKNOWN, filled=D("0.1")), told(K.ACCEPTED)).state is S.PARTIAL


@pytest.mark.parametrize("code", sorted(CANCEL_ASKED))
def test_a_wanted_cancel_is_not_forgotten_while_the_order_is_in_doubt(code):
    row = to_canceling(order(S.UNKNOWN), code, NOW)

    assert row.state is S.UNKNOWN
    assert on_status(row, told(K.ACCEPTED)).state is S.CANCELING
    assert on_fill(row, D("0.1"), D(100), NOW).state is S.CANCELING


def test_an_ended_order_still_learns_its_name_at_the_venue():
    row = on_status(order(S.FILLED), told(K.ACCEPTED, venue_order_id="v-1"))

    assert (row.state, row.venue_order_id) == (S.FILLED, "v-1")


def test_an_order_keeps_the_first_code_of_its_end():
    row = to_canceling(to_canceling(order(S.OPEN), Code.ON_REQUEST, NOW), Code.DISPLACED, NOW, displaced=True)

    assert (row.code, row.displaced) == (Code.ON_REQUEST, True)


# -- answers -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("state", "filled", "code", "expected"),
    [
        (S.OPEN, "0", None, None),
        (S.PARTIAL, "0.5", None, R.ACCEPTED),
        (S.CANCELING, "0", Code.ON_REQUEST, None),
        (S.UNKNOWN, "0", None, R.UNKNOWN),
        (S.FILLED, "1", None, R.FILLED),
        (S.FILLED, "1", Code.ON_REQUEST, R.FILLED),
        (S.CANCELED, "0", Code.ON_REQUEST, R.CANCELED),
        (S.CANCELED, "0.5", Code.ON_REQUEST, R.PARTLY_FILLED),
        (S.EXPIRED, "0", Code.UNFILLED, R.EXPIRED),
        (S.EXPIRED, "0.5", Code.UNFILLED, R.PARTLY_FILLED),
        (S.REJECTED, "0", Code.INSUFFICIENT_FUNDS, R.REJECTED),
        (S.ABANDONED, "0", Code.NOT_SENT, R.EXPIRED),
        (S.ABANDONED, "0", Code.HALTED, R.CANCELED),
    ],
)
def test_the_answer_to_the_intent(state, filled, code, expected):
    value = D(filled) * 100
    row = result_of(order(state, filled=D(filled), filled_value=value, code=code), intent(), NOW)

    if expected is None:
        assert row is None
        return
    assert row.status is expected
    assert row.code is (None if expected is R.FILLED else code)
    assert row.filled_quantity == D(filled)
    assert row.average_price == (D(100) if D(filled) else None)


@pytest.mark.parametrize("end", [status for status in R if status not in {R.ACCEPTED, R.UNKNOWN}])
@pytest.mark.parametrize("state", list(S))
def test_an_end_is_never_taken_back(end, state):
    assert result_of(order(state, filled=D(1)), intent(end), NOW) is None


def test_doubt_that_is_over_is_told():
    assert result_of(order(S.OPEN), intent(R.UNKNOWN), NOW).status is R.ACCEPTED
