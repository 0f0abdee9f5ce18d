"""Position arithmetic: tables for the book, properties for every fill there can be."""

from dataclasses import replace
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.contracts.codes import ExitReason, FillKind, Kind, PositionSide, Side
from holdfast.contracts.messages import Fill, Trade
from holdfast.contracts.money import canonical, divide
from holdfast.contracts.rows import PositionRow
from holdfast.domain.exit_policy import ExitPolicy
from holdfast.domain.invariants import check_position
from holdfast.domain.policy import tighter
from holdfast.domain.position import (
    INVERSE_PLACES,
    Folded,
    Opening,
    apply_fill,
    average,
    notional,
    settlement,
    share,
    signed,
    unrealized,
)

D = Decimal
POLICY = ExitPolicy(D(10), D(20))
SPOT = Opening("main/paper/BTC/USDT", "main", "paper", "BTC/USDT", "USDT", recorded_at=5)
LINEAR = replace(SPOT, kind=Kind.LINEAR)
INVERSE = Opening("main/paper/BTC/USD", "main", "paper", "BTC/USD", "BTC", recorded_at=5, kind=Kind.INVERSE)
OPENINGS = {Kind.SPOT: SPOT, Kind.LINEAR: LINEAR, Kind.INVERSE: INVERSE}


def fill(side: str, quantity: object, price: object, *, number: int = 1, **more: object) -> Fill:
    fields = {"id": f"f{number}", "at": 1000, "account": "main", "exchange": "paper", "symbol": "BTC/USDT"}
    fields |= {"trade_id": str(number), "side": side, "quantity": str(quantity), "price": str(price)}
    return Fill.model_validate({**fields, "executed_at": 1000 + number, **more})


class Book:
    """One book, fed with fills; it keeps what every fill made."""

    def __init__(self, opening: Opening = LINEAR, policy: ExitPolicy = POLICY) -> None:
        self.opening, self.policy = opening, policy
        self.position: PositionRow | None = None
        self.made: list[Folded] = []

    def take(self, one: Fill, **exits: object) -> Folded:
        opening = replace(self.opening, **exits)
        folded = apply_fill(self.position, one, opening, self.policy, exit_reason=ExitReason.CLOSE)
        if folded.rows:
            self.position = folded.rows[-1] if folded.rows[-1].is_open else None
        self.made.append(folded)
        return folded

    def deal(self, side: str, quantity: object, price: object, **more: object) -> Folded:
        return self.take(fill(side, quantity, price, number=len(self.made) + 1, **more))

    @property
    def held(self) -> PositionRow:
        assert self.position is not None
        return self.position

    @property
    def trades(self) -> list[Trade]:
        return [folded.trade for folded in self.made if folded.trade is not None]

    @property
    def realized(self) -> Fraction:
        return sum((Fraction(folded.realized) for folded in self.made), Fraction(0))


# One event a line.


def test_a_first_fill_opens_with_its_exits_seeded_from_policy() -> None:
    book = Book()
    row = book.deal("buy", "2", "100", fee="0.1").rows[0]
    assert (row.side, row.quantity, row.cost, row.entry_price) == (PositionSide.LONG, 2, 200, 100)
    assert (row.stop_loss, row.take_profit) == (90, 120)
    assert row.seeded == ["stop_loss: missing", "take_profit: missing"]
    assert (row.realized_pnl, row.fees, row.version) == (D("-0.1"), {}, 1)
    assert (row.opened_at, row.changed_at, row.recorded_at, row.expires_at) == (1001, 1001, 5, None)
    assert (row.bought, row.sold, row.entry_value) == (2, 0, 200)


def test_an_add_averages_and_a_reduction_keeps_the_average() -> None:
    book = Book()
    book.deal("buy", "1", "100")
    book.deal("buy", "2", "101")
    assert (book.held.cost, book.held.entry_price) == (302, D("100.666666666666666667"))
    book.deal("sell", "1", "110")
    assert book.held.cost == D("201.333333333333333333")
    assert book.held.entry_price == D("100.666666666666666667")
    assert book.held.realized_pnl == D("9.333333333333333333")
    assert book.held.version == 3


def test_the_last_reduction_takes_all_so_that_the_sum_is_exact() -> None:
    book = Book()
    for deal in (("buy", 1, 100), ("buy", 2, 101), ("sell", 1, 110), ("sell", 1, 110), ("sell", 1, 110)):
        folded = book.deal(*deal)
    assert book.position is None
    assert folded.rows[0].realized_pnl == 330 - 302
    assert (folded.rows[0].quantity, folded.rows[0].cost, folded.rows[0].version) == (0, 0, 5)


def test_a_closed_position_leaves_its_story() -> None:
    book = Book(replace(LINEAR, strategy="s", intent_id="i-1", correlation_id="c-1"))
    book.deal("sell", "1", "100", fee="0.01", fee_currency="BNB")
    book.deal("sell", "1", "104")
    row = book.deal("buy", "2", "99", fee="0.5").rows[0]
    (trade,) = book.trades
    assert trade.id == "t-" + row.position_id
    assert (trade.cause_id, trade.correlation_id, trade.at) == ("f3", "c-1", 1000)
    assert (trade.side, trade.quantity, trade.entry_price, trade.exit_price) == (
        PositionSide.SHORT,
        2,
        102,
        99,
    )
    assert (trade.realized_pnl, trade.fees) == (D("5.5"), {"BNB": D("0.01")})
    assert (trade.opened_at, trade.closed_at, trade.exit_reason) == (1001, 1003, ExitReason.CLOSE)
    assert trade.path == [(1001, 102), (1003, 99)]
    assert (trade.strategy, trade.intent_id) == ("s", "i-1")


def test_a_fill_through_zero_is_split_at_zero() -> None:
    book = Book()
    book.deal("buy", "1", "100")
    closed, opened = book.deal("sell", "3", "110", fee="1").rows
    assert (closed.quantity, closed.realized_pnl) == (0, D("9.666666666666666667"))
    assert (opened.side, opened.quantity, opened.entry_price) == (PositionSide.SHORT, 2, 110)
    assert opened.realized_pnl == D("-0.666666666666666667")
    assert closed.realized_pnl + opened.realized_pnl == 9
    assert closed.position_id != opened.position_id
    assert (opened.stop_loss, opened.take_profit) == (121, 88)
    assert len(book.trades) == 1


def test_position_ids_come_from_book_and_fill_and_are_never_reused() -> None:
    first, again = Book().deal("buy", 1, 1).rows[0], Book().deal("buy", 1, 1).rows[0]
    assert first.position_id == again.position_id
    other = Book(replace(LINEAR, book_id="b/paper/BTC/USDT")).deal("buy", 1, 1).rows[0]
    book = Book()
    ids = [book.deal(side, 1, 1).rows[0].position_id for side in ("buy", "sell", "buy", "sell", "sell")]
    assert len({*ids, other.position_id}) == 4


def test_contract_size_multiplies_profit_and_worth_only() -> None:
    book = Book(replace(LINEAR, contract_size=D("0.01")))
    book.deal("buy", "10", "100")
    assert (book.held.cost, book.held.entry_price) == (1000, 100)
    assert (unrealized(book.held, D(110)), notional(book.held, D(110))) == (1, 11)
    book.deal("sell", "10", "110")
    assert book.trades[0].realized_pnl == 1


def test_inverse_contracts_average_harmonically_and_profit_in_coin() -> None:
    book = Book(INVERSE)
    book.deal("buy", "100", "40000")
    book.deal("buy", "100", "50000")
    assert (book.held.cost, book.held.entry_price) == (D("0.0045"), D("44444.444444444444444444"))
    assert unrealized(book.held, D(50000)) == D("0.0005")
    assert notional(book.held, D(50000)) == 200
    book.deal("sell", "200", "50000", fee="0.0001", fee_currency="BTC")
    assert book.trades[0].realized_pnl == D("0.0004")


def test_inverse_fills_at_one_price_have_that_average() -> None:
    book = Book(INVERSE)
    for quantity in (100, 7, 1):
        book.deal("sell", quantity, "43123.4")
        assert book.held.entry_price == D("43123.4")


def test_on_spot_a_fee_in_the_base_coin_reduces_the_quantity_not_the_average() -> None:
    book = Book(SPOT)
    book.deal("buy", "1", "100", fee="0.001", fee_currency="BTC")
    assert (book.held.quantity, book.held.cost, book.held.entry_price) == (D("0.999"), D("99.9"), 100)
    assert (book.held.realized_pnl, book.held.fees) == (0, {"BTC": D("0.001")})
    book.deal("sell", "0.5", "110", fee="0.009", fee_currency="BTC")
    assert (book.held.quantity, book.held.cost, book.held.entry_price) == (D("0.49"), 49, 100)
    assert (book.held.realized_pnl, book.held.fees) == (5, {"BTC": D("0.01")})
    assert book.held.bought - book.held.sold == D("0.49")


def test_a_coin_fee_never_opens_the_other_side() -> None:
    book = Book(SPOT)
    book.deal("buy", "1", "100")
    assert book.deal("sell", "1", "110", fee="0.001", fee_currency="BTC").rows[0].quantity == 0
    assert (book.position, book.trades[0].realized_pnl, book.trades[0].fees) == (
        None,
        10,
        {"BTC": D("0.001")},
    )


def test_a_coin_fee_that_eats_the_whole_fill_opens_nothing() -> None:
    folded = Book(SPOT).deal("buy", "1", "100", fee="1", fee_currency="BTC")
    assert (folded.rows, folded.trade, folded.fees) == ([], None, {"BTC": 1})


def test_a_coin_fee_on_a_contract_is_only_listed() -> None:
    book = Book(LINEAR)
    book.deal("buy", "1", "100", fee="0.001", fee_currency="BTC")
    assert (book.held.quantity, book.held.fees) == (1, {"BTC": D("0.001")})


def test_funding_moves_profit_and_nothing_else() -> None:
    book = Book()
    book.deal("buy", "1", "100")
    before = book.held
    book.deal("buy", "0", "0", fee="0.7", kind="funding")
    book.deal("sell", "1", "100", fee="-0.2", fee_currency="USDT", kind="funding")
    assert book.held.realized_pnl == D("-0.5")
    assert book.held.version == 3
    same = {"quantity", "cost", "entry_price", "stop_loss", "take_profit", "bought", "sold"}
    assert book.held.model_dump(include=same) == before.model_dump(include=same)


def test_funding_without_a_position_touches_no_row_but_counts() -> None:
    folded = Book().deal("buy", "0", "0", fee="0.7", kind="funding")
    assert (folded.rows, folded.trade, folded.realized, folded.fees) == ([], None, D("-0.7"), {})


def test_liquidation_and_adjustment_are_folded_like_trades() -> None:
    book = Book()
    book.deal("buy", "2", "100")
    book.deal("sell", "1", "0", kind="adjustment")
    assert (book.held.quantity, book.held.realized_pnl) == (1, 0), (
        "a correction without a price has no profit"
    )
    book.deal("sell", "1", "0", kind="liquidation")
    assert book.trades[0].realized_pnl == -100, "a price of zero is a price: the money is gone"


def test_an_adoption_brings_its_own_exits() -> None:
    book = Book()
    book.deal("buy", "1", "100", kind="adoption", take_profit="130", stop_loss="4%", ttl_s="60")
    assert (book.held.take_profit, book.held.stop_loss, book.held.seeded) == (130, 96, [])
    assert book.held.expires_at == 1001 + 60_000


def test_adds_never_loosen_and_percents_follow_the_average() -> None:
    book = Book()
    book.take(fill("buy", 1, 100, number=1), take_profit="10%", stop_loss="5%")
    book.take(fill("buy", 1, 120, number=2), take_profit="50%", stop_loss="20%")
    assert (book.held.entry_price, book.held.stop_loss, book.held.take_profit) == (110, D("104.5"), 121)
    book.take(fill("buy", 2, 90, number=3))
    assert (book.held.entry_price, book.held.stop_loss, book.held.take_profit) == (100, D("104.5"), 110)
    book.take(fill("buy", 4, 100, number=4), take_profit="108", stop_loss="106")
    assert (book.held.stop_loss, book.held.take_profit) == (106, 108)
    assert (book.held.stop_loss_spec, book.held.take_profit_spec) == ("106", "108")


def test_clocks_start_at_the_first_fill_and_only_come_nearer() -> None:
    book = Book(policy=ExitPolicy(D(10), D(20), max_hold_s=D(100)))
    book.take(fill("buy", 1, 100, number=1))
    assert book.held.expires_at == 1001 + 100_000
    book.take(fill("buy", 1, 100, number=2), ttl_s=D(200))
    assert book.held.expires_at == 1001 + 100_000
    book.take(fill("buy", 1, 100, number=3), ttl_s=D("50.5"))
    assert (book.held.opened_at, book.held.expires_at) == (1001, 1001 + 50_500)


def test_what_fills_while_its_book_is_being_closed_is_marked_for_closing() -> None:
    book = Book()
    book.take(fill("buy", 1, 100, number=1))
    book.take(fill("buy", 1, 100, number=2), closing=ExitReason.STOP_LOSS)
    assert book.held.closing is ExitReason.STOP_LOSS


def test_signed_and_settlement() -> None:
    book = Book()
    assert signed(None) == 0
    book.deal("sell", 2, 100)
    assert signed(book.held) == -2
    assert [settlement(kind, "BTC", "USD") for kind in (Kind.SPOT, Kind.LINEAR, Kind.INVERSE)] == [
        "USD",
        "USD",
        "BTC",
    ]


def test_shares_of_dust_leave_dust() -> None:
    cost = D("1e-40")
    left = cost - share(cost, D("0.9"), D(1))
    assert 0 < left < cost
    assert average(Kind.LINEAR, D(0), D(1)) > 0


# For every fill there can be.

MILLIS = st.integers(0, 9_999_999_999_999)


@st.composite
def amounts(draw: st.DrawFn) -> Decimal:
    """Any positive amount that a message may carry: tiny, huge, long."""
    digits = draw(st.integers(1, 10 ** draw(st.integers(1, 40))))
    leading = draw(st.integers(-24, 24))
    amount = D(digits).scaleb(leading - D(digits).adjusted())
    return amount if len(canonical(amount)) <= 64 else D(1).scaleb(leading)


LEVELS = (
    st.none()
    | st.just("off")
    | st.from_regex(r"[0-9]{1,6}(\.[0-9]{1,4})?%?", fullmatch=True)
    | amounts().map(canonical)
)


@st.composite
def any_fill(draw: st.DrawFn) -> Fill:
    nothing = st.just(D(0))
    return fill(
        draw(st.sampled_from(["buy", "sell"])),
        canonical(draw(amounts() | nothing)),
        canonical(draw(amounts() | nothing)),
        number=draw(st.integers(1, 99)),
        kind=draw(st.sampled_from(list(FillKind))),
        fee=canonical(draw(amounts() | nothing | amounts().map(lambda amount: -amount))),
        fee_currency=draw(st.sampled_from([None, "BTC", "USDT", "BNB"])),
        executed_at=draw(MILLIS),
        take_profit=draw(LEVELS),
        stop_loss=draw(LEVELS),
        ttl_s=draw(st.none() | st.integers(0, 10_000_000)),
    )


@settings(max_examples=300, deadline=None)
@given(
    kind=st.sampled_from(list(Kind)),
    size=st.just(D(1)) | amounts(),
    fills=st.lists(any_fill(), min_size=1, max_size=8),
    percents=st.tuples(amounts(), amounts() | st.none()),
)
def test_no_fill_is_refused_and_no_position_is_ever_bare(
    kind: Kind, size: Decimal, fills: list[Fill], percents: tuple[Decimal, Decimal | None]
) -> None:
    policy = ExitPolicy(*percents, max_hold_s=None if percents[1] else D(60))
    book = Book(replace(OPENINGS[kind], contract_size=size), policy)
    for one in fills:
        before = book.position
        folded = book.take(one)
        for row in folded.rows:
            assert PositionRow.model_validate_json(row.model_dump_json()) == row, "followers can read it"
            check_position(row)
            assert row.stop_loss > 0
            assert abs(Fraction(row.bought) - Fraction(row.sold)) == row.quantity
            assert (row.cost == 0) or row.is_open
            if before is not None and before.position_id == row.position_id:
                assert row.version == before.version + 1
                assert tighter(row.side, before.stop_loss, row.stop_loss) == row.stop_loss
        if folded.trade is not None:
            assert Trade.model_validate_json(folded.trade.model_dump_json()) == folded.trade
            assert folded.trade.position_id == folded.rows[0].position_id
        changed = sum((Fraction(row.realized_pnl) for row in folded.rows), Fraction(0))
        if folded.rows:
            assert changed - Fraction(before.realized_pnl if before else 0) == Fraction(folded.realized)


deals = st.lists(
    st.tuples(
        st.sampled_from(["buy", "sell"]),
        st.decimals("0.001", "1000", places=3),
        st.decimals("0.01", "100000", places=2),
        st.decimals("-1", "5", places=4),
    ),
    min_size=1,
    max_size=30,
)
Deals = list[tuple[str, Decimal, Decimal, Decimal]]
SIGN = {"buy": 1, "sell": -1}


@settings(max_examples=200, deadline=None)
@given(
    kind=st.sampled_from([Kind.SPOT, Kind.LINEAR]),
    size=st.sampled_from([D(1), D("0.001"), D(50)]),
    deals=deals,
)
def test_cash_is_profit_and_open_cost_to_the_last_digit(kind: Kind, size: Decimal, deals: Deals) -> None:
    book, cash = Book(replace(OPENINGS[kind], contract_size=size)), Fraction(0)
    for side, quantity, price, fee in deals:
        book.deal(side, quantity, price, fee=str(fee))
        cash += -SIGN[side] * Fraction(size) * Fraction(quantity) * Fraction(price) - Fraction(fee)
        held = book.position
        cost = Fraction(held.cost) * (1 if held.side is PositionSide.LONG else -1) if held else 0
        assert book.realized - Fraction(size) * cost == cash
        net = sum(SIGN[deal[0]] * deal[1] for deal in deals[: len(book.made)])
        assert signed(book.position) == net


@settings(max_examples=200, deadline=None)
@given(deals=deals, size=st.sampled_from([D(1), D(100)]))
def test_inverse_profit_is_the_closed_form_and_exact_in_rounded_values(deals: Deals, size: Decimal) -> None:
    book, net, ideal, rounded = Book(replace(INVERSE, contract_size=size)), D(0), Fraction(0), Fraction(0)
    for side, quantity, price, fee in deals:
        sign = SIGN[side]
        first = min(quantity, max(D(0), -sign * net)) or quantity
        parts = [part for part in (first, quantity - first) if part]
        book.deal(side, quantity, price, fee=str(fee), fee_currency="BTC")
        net += sign * quantity
        ideal += sign * Fraction(size) * Fraction(quantity) / Fraction(price) - Fraction(fee)
        for part in parts:
            rounded += sign * Fraction(size) * Fraction(divide(part, price, INVERSE_PLACES))
        rounded -= Fraction(fee)
        held = book.position
        cost = Fraction(held.cost) * (1 if held.side is PositionSide.LONG else -1) if held else 0
        assert book.realized + Fraction(size) * cost == rounded
        assert abs(rounded - ideal) < Fraction(1, 10**30)


@settings(max_examples=100, deadline=None)
@given(deals=deals, cut=st.integers(1, 9))
def test_a_fill_split_in_two_makes_the_same_position(deals: Deals, cut: int) -> None:
    whole, split = Book(), Book()
    for side, quantity, price, _ in deals:
        whole.deal(side, quantity, price)
        part = quantity * cut / 10
        split.deal(side, part, price)
        split.deal(side, quantity - part, price)
        assert signed(split.position) == signed(whole.position)
    assert len(whole.trades) == len(split.trades)
    if whole.position is not None:
        assert split.held.cost == pytest.approx(whole.held.cost, rel=D("1e-12"))
    only_buys = [deal for deal in deals if deal[0] == "buy"]
    whole, split = Book(), Book()
    for side, quantity, price, _ in only_buys:
        whole.deal(side, quantity, price)
        split.deal(side, quantity * cut / 10, price)
        split.deal(side, quantity - quantity * cut / 10, price)
        assert (split.held.quantity, split.held.cost) == (whole.held.quantity, whole.held.cost)
        assert split.held.entry_price == whole.held.entry_price


@settings(max_examples=100, deadline=None)
@given(deals=deals, kind=st.sampled_from(list(Kind)))
def test_replay_is_the_same_and_short_mirrors_long(deals: Deals, kind: Kind) -> None:
    book, again, mirror = Book(OPENINGS[kind]), Book(OPENINGS[kind]), Book(OPENINGS[kind])
    other = {"buy": "sell", "sell": "buy"}
    for side, quantity, price, _ in deals:
        assert book.deal(side, quantity, price) == again.deal(side, quantity, price)
        mirror.deal(other[side], quantity, price)
        assert signed(mirror.position) == -signed(book.position)
        assert mirror.realized == -book.realized
        if book.position is not None:
            assert (mirror.held.cost, mirror.held.entry_price) == (book.held.cost, book.held.entry_price)
            assert unrealized(mirror.held, price) == unrealized(book.held, price).copy_negate()


@settings(max_examples=100, deadline=None)
@given(
    side=st.sampled_from(list(Side)),
    adds=st.lists(st.tuples(amounts(), amounts(), LEVELS, LEVELS), min_size=2, max_size=8),
)
def test_over_any_adds_the_stop_never_moves_against_the_position(
    side: Side, adds: list[tuple[Decimal, Decimal, str | None, str | None]]
) -> None:
    book, stop = Book(), None
    for number, (quantity, price, take_profit, stop_loss) in enumerate(adds, 1):
        one = fill(side.value, canonical(quantity), canonical(price), number=number)
        book.take(one, take_profit=take_profit, stop_loss=stop_loss)
        if stop is not None:
            assert book.held.stop_loss >= stop if side is Side.BUY else book.held.stop_loss <= stop
        stop = book.held.stop_loss
