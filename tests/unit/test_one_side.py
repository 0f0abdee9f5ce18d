"""The one rule about sides: entries never oppose, exits only shrink, unreadable is never flat."""

from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.contracts.base import ContractViolation
from holdfast.contracts.codes import Code, PositionSide, Side
from holdfast.domain.one_side import ALLOWED, FLAT, Held, Verdict, closes, judge, opens, parse_side

LONG, SHORT = PositionSide.LONG, PositionSide.SHORT
ONE = Decimal(1)


def verdict(attempted: Side, held: Held | None, **changes: object) -> Verdict:
    """`judge` with the plain case filled in: one unit, an entry, no hedging, no spot."""
    arguments: dict[str, object] = {"quantity": ONE, "reduce_only": False, "hedging": False} | changes
    return judge(attempted=attempted, held=held, **arguments)  # type: ignore[arg-type]


def code(attempted: Side, held: Held | None, **changes: object) -> Code | None:
    return verdict(attempted, held, **changes).code


@pytest.mark.parametrize(
    ("word", "side"),
    [
        ("buy", Side.BUY),
        ("LONG", Side.BUY),
        ("Sell", Side.SELL),
        ("short", Side.SELL),
        (Side.SELL, Side.SELL),
    ],
)
def test_four_words_name_two_sides(word: str, side: Side) -> None:
    assert parse_side(word) is side


@pytest.mark.parametrize("word", ["", "hold", " buy", None, 1, b"buy"])
def test_other_words_are_refused(word: object) -> None:
    with pytest.raises(ContractViolation, match="is not buy, sell, long or short") as caught:
        parse_side(word)
    assert caught.value.field == "side"


def test_what_a_side_opens_it_does_not_close() -> None:
    assert [(opens(side), closes(side)) for side in (Side.BUY, Side.SELL)] == [(LONG, SHORT), (SHORT, LONG)]


def test_held_is_read_from_a_signed_quantity() -> None:
    assert Held.of(Decimal(0)) == FLAT
    assert Held.of(Decimal(2)) == Held(long=Decimal(2))
    assert Held.of(Decimal(-2), in_flight=SHORT) == Held(short=Decimal(2), in_flight=(SHORT,))


@pytest.mark.parametrize(
    ("attempted", "held", "expected"),
    [
        (Side.BUY, FLAT, None),
        (Side.SELL, FLAT, None),
        (Side.BUY, Held.of(ONE), None),
        (Side.SELL, Held.of(-ONE), None),
        (Side.SELL, Held.of(ONE), Code.OPPOSED),
        (Side.BUY, Held.of(-ONE), Code.OPPOSED),
        (Side.BUY, Held(in_flight=(LONG,)), None),
        (Side.SELL, Held(in_flight=(LONG,)), Code.OPPOSED),
        (Side.BUY, Held(in_flight=(SHORT,)), Code.OPPOSED),
        (Side.BUY, Held(in_flight=(LONG, SHORT)), Code.OPPOSED),
        (Side.BUY, Held(long=ONE, short=ONE), Code.OPPOSED),
        (Side.SELL, Held(long=ONE, short=ONE), Code.OPPOSED),
        (Side.BUY, None, Code.POSITIONS_UNREADABLE),
    ],
)
def test_entries(attempted: Side, held: Held | None, expected: Code | None) -> None:
    assert code(attempted, held) is expected


def test_the_sentence_says_what_is_held() -> None:
    assert (
        verdict(Side.SELL, Held.of(Decimal("0.00100"))).reason
        == "Cannot open SHORT: existing LONG position of 0.001"
    )
    assert (
        verdict(Side.BUY, Held(in_flight=(SHORT,))).reason
        == "Cannot open LONG: an entry that opens SHORT is in flight"
    )
    assert (
        verdict(Side.BUY, None).reason
        == "Cannot open LONG: what is held could not be read, and unreadable is not flat"
    )


@pytest.mark.parametrize(
    ("attempted", "held", "quantity", "expected"),
    [
        (Side.SELL, Held.of(Decimal(2)), ONE, ALLOWED),
        (Side.SELL, Held.of(ONE), ONE, ALLOWED),
        (Side.SELL, Held.of(ONE), Decimal(5), Verdict(True, cut_to=ONE)),
        (Side.BUY, Held.of(-ONE), Decimal(5), Verdict(True, cut_to=ONE)),
        (Side.BUY, Held.of(-ONE), None, Verdict(True, cut_to=ONE)),
        (Side.SELL, Held(long=ONE, short=Decimal(3)), None, Verdict(True, cut_to=ONE)),
        (Side.SELL, Held.of(ONE, in_flight=LONG), ONE, ALLOWED),
    ],
)
def test_exits_shrink_and_are_cut_to_what_is_held(
    attempted: Side, held: Held, quantity: Decimal | None, expected: Verdict
) -> None:
    for hedging in (False, True):
        assert verdict(attempted, held, quantity=quantity, reduce_only=True, hedging=hedging) == expected


@pytest.mark.parametrize(
    ("attempted", "held", "expected"),
    [
        (Side.SELL, FLAT, Code.NOTHING_TO_CLOSE),
        (Side.SELL, Held(in_flight=(LONG,)), Code.NOTHING_TO_CLOSE),
        (Side.BUY, Held.of(ONE), Code.WRONG_SIDE),
        (Side.SELL, Held.of(-ONE), Code.WRONG_SIDE),
        (Side.SELL, None, Code.POSITIONS_UNREADABLE),
    ],
)
def test_exits_that_would_open_or_enlarge(attempted: Side, held: Held | None, expected: Code) -> None:
    assert code(attempted, held, reduce_only=True) is expected


def test_hedging_allows_both_sides() -> None:
    for attempted in Side:
        for held in (Held.of(ONE), Held.of(-ONE), Held(long=ONE, short=ONE), Held(in_flight=(LONG, SHORT))):
            assert verdict(attempted, held, hedging=True) == ALLOWED
    assert code(Side.BUY, None, hedging=True) is Code.POSITIONS_UNREADABLE


def test_on_spot_a_sell_needs_something_to_sell() -> None:
    assert code(Side.SELL, FLAT, spot=True) is Code.SPOT_SHORT
    assert code(Side.SELL, Held.of(-ONE), spot=True) is Code.SPOT_SHORT
    assert code(Side.SELL, Held.of(ONE), spot=True, hedging=True) is Code.SPOT_SHORT
    assert code(Side.SELL, Held.of(ONE), spot=True) is Code.OPPOSED
    assert code(Side.BUY, FLAT, spot=True) is None
    assert code(Side.SELL, FLAT, spot=True, spot_short=True) is None
    assert code(Side.SELL, Held.of(ONE), spot=True, reduce_only=True) is None


def test_a_quantity_is_greater_than_zero_and_required_to_open() -> None:
    assert [code(Side.BUY, FLAT, quantity=Decimal(bad)) for bad in ("0", "-1")] == [Code.MALFORMED] * 2
    assert code(Side.BUY, FLAT, quantity=None) is Code.MALFORMED


amounts = st.decimals(min_value=0, max_value=10, places=2)
held_books = st.builds(Held, amounts, amounts, st.lists(st.sampled_from(PositionSide), max_size=2).map(tuple))


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from(Side),
    held_books,
    st.decimals(min_value="0.01", max_value=20, places=2),
    st.booleans(),
    st.booleans(),
)
def test_an_exit_never_opens_enlarges_or_flips(
    attempted: Side, held: Held, quantity: Decimal, hedging: bool, spot: bool
) -> None:
    answer = verdict(attempted, held, quantity=quantity, reduce_only=True, hedging=hedging, spot=spot)
    available = held.quantity(closes(attempted))
    assert answer.allowed is (available > 0), "an exit passes exactly when there is something to close"
    if answer.allowed:
        assert 0 < (quantity if answer.cut_to is None else answer.cut_to) <= available


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from(Side), st.booleans(), st.integers(1, 3), st.booleans()), max_size=40)
)
def test_a_book_ruled_by_it_never_has_two_sides(steps: list[tuple[Side, bool, int, bool]]) -> None:
    """Orders wait in flight for a while and then fill, in any order; closes come between."""
    long, short = Decimal(0), Decimal(0)
    waiting: list[tuple[PositionSide, int]] = []
    for attempted, reduce_only, quantity, fill_one in steps:
        held = Held(long, short, tuple(side for side, _ in waiting))
        answer = verdict(attempted, held, quantity=Decimal(quantity), reduce_only=reduce_only)
        if answer.allowed and not reduce_only:
            waiting.append((opens(attempted), quantity))
        elif answer.allowed:
            sent = Decimal(quantity) if answer.cut_to is None else answer.cut_to
            long, short = (long - sent, short) if attempted is Side.SELL else (long, short - sent)
        if fill_one and waiting:
            side, filled = waiting.pop(0)
            long, short = (long + filled, short) if side is LONG else (long, short + filled)
        assert min(long, short) == 0
        assert max(long, short) >= 0
