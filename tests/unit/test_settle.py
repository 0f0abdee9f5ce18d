"""Folding in what happened at the venue: no fill is ever refused, none is applied twice, and exits never sum to too much."""

from decimal import Decimal

import pytest

from holdfast.contracts.codes import Code, Kind, OrderState, PositionSide, UpdateKind
from holdfast.domain.settle import fill_digest, is_owed, taken_in
from holdfast.domain.valuation import Capital
from tests.unit._ledger import BOOK, BTC, ETH, NOW, Mem, cancel, entry, fill, leave, rules, status

D = Decimal


def test_a_position_that_opens_has_its_exits():
    m = Mem()

    p = m.open(take_profit="120", stop_loss="5%")

    assert (p.take_profit, p.stop_loss, p.seeded) == (D(120), D(95), [])
    assert m.book.side == "long"


def test_exits_that_nobody_named_are_seeded_from_policy_and_the_row_says_so():
    p = Mem().open()

    assert (p.take_profit, p.stop_loss) == (D(120), D(90))
    assert sorted(note.partition(":")[0] for note in p.seeded) == ["stop_loss", "take_profit"]


@pytest.mark.parametrize(
    ("take", "stop"), [("90", "120"), ("0.00001%", "99.9999999%"), ("100", "100"), (None, "5000%")]
)
def test_exits_that_cannot_be_never_refuse_a_fill(take, stop):
    p = Mem().open(take_profit=take, stop_loss=stop)

    assert p.stop_loss < p.take_profit


# -- exits that fill ------------------------------------------------------------------------------------------------------


def test_an_exit_that_fills_in_parts_goes_on_working():
    m = Mem()
    m.open()
    m.do(leave("x"))

    m.do(fill("a", "o-x", "sell", "0.4", "110"))

    assert (m.order("x").state, m.order("x").displaced, m.order("x").remaining) == (
        OrderState.PARTIAL,
        False,
        D("0.6"),
    )
    assert m.position().quantity == D("0.6")
    assert m.book.exiting == "close"
    m.do(fill("b", "o-x", "sell", "0.6", "110"))
    assert (m.position(), m.order("x").state, m.order("x").code) == (None, OrderState.FILLED, None)
    assert m.of("x") == ("filled", None)
    assert (m.book.side, m.book.exiting) == (None, None)


def test_what_closes_a_position_takes_its_other_exits_out_of_the_way():
    m = Mem()
    m.open()
    m.do(leave("half", "0.5", order_id="o-half"))
    m.do(leave("rest", "0.5", order_id="o-rest"))

    m.do(fill("a", "o-rest", "sell", "1"))

    assert m.position() is None
    assert (m.order("half").state, m.order("half").displaced, m.order("half").code) == (
        OrderState.CANCELING,
        True,
        Code.POSITION_GONE,
    )
    assert m.book.exiting is not None, "an exit of the book has not ended"
    m.do(status("o-half", "canceled"))
    assert m.book.exiting is None
    assert m.of("half") == ("canceled", Code.POSITION_GONE)


def test_a_trade_tells_which_exit_ended_it():
    m = Mem()
    p = m.open()
    m.do(
        leave(
            "x",
            reason="stop_loss",
            position_id=p.position_id,
            trigger_price="89",
            trigger_at=NOW + 5,
            attempt=1,
        )
    )

    change = m.do(fill("a", "o-x", "sell", "1", "90"))

    (trade,) = change.trades
    assert (trade.exit_reason, trade.trigger_price, trade.trigger_at, trade.exit_attempts) == (
        "stop_loss",
        D(89),
        NOW + 5,
        1,
    )
    assert trade.realized_pnl == D(-10)


def test_a_reduction_by_something_else_lets_the_softest_exits_give_way():
    m = Mem()
    p = m.open(quantity="2")
    m.do(leave("soft", "1", reason="ttl", position_id=p.position_id))
    m.do(leave("hard", "1", reason="close"))

    m.do(fill("venue", "", "sell", "0.5", kind="adjustment"))

    assert (m.order("soft").displaced, m.order("hard").displaced) == (True, False)
    assert m.order("soft").state == OrderState.CANCELING


def test_what_a_stopped_entry_still_fills_is_position_and_is_closed_for_the_same_reason():
    m = Mem()
    p = m.open()
    m.do(entry("more"))
    m.do(leave("x", reason="stop_loss", position_id=p.position_id))
    assert (m.order("more").state, m.order("more").code) == (OrderState.CANCELING, Code.STOPPED_BY_EXIT)
    m.do(fill("a", "o-x", "sell", "1", "90"))

    m.do(fill("late", "o-more", "buy", "0.3"))

    late = m.position()
    assert (late.quantity, late.closing, late.stop_loss > 0) == (D("0.3"), "stop_loss", True)
    assert m.answer(entry("again")) == ("blocked", Code.EXIT_IN_PROGRESS)


def test_an_entry_that_was_being_canceled_already_is_closed_too_when_it_fills_after_a_full_exit():
    m = Mem()
    p = m.open()
    m.do(entry("more"))
    m.do(cancel("stop"))
    assert m.order("more").code == Code.ON_REQUEST
    m.do(leave("x", reason="flatten", position_id=p.position_id))
    m.do(fill("a", "o-x", "sell", "1"))

    m.do(fill("late", "o-more", "buy", "0.3"))

    assert m.position().closing == "flatten"


def test_an_unknown_entry_that_a_full_exit_met_is_closed_too_when_it_turns_out_to_have_filled():
    m = Mem()
    p = m.open()
    m.do(entry("more"))
    m.do(status("o-more", "unknown", code=Code.VENUE_UNREADABLE))
    m.do(leave("x", reason="stop_loss", position_id=p.position_id))
    m.do(fill("a", "o-x", "sell", "1", "90"))

    m.do(fill("late", "o-more", "buy", "0.3"))

    assert m.position().closing == "stop_loss"
    assert m.order("more").state == OrderState.CANCELING


# -- fills whenever and however ------------------------------------------------------------------------------------------------


def test_a_fill_after_the_cancel_is_real():
    m = Mem()
    m.do(entry("e"))
    m.do(status("o-e", "canceled"))
    assert m.book.side is None

    m.do(fill("late", "o-e"))

    assert m.position().quantity == 1
    assert m.of("e") == ("canceled", None), "an end that was given is never taken back"
    assert m.order("e").filled == 1


def test_a_late_fill_that_opposes_newer_entries_turns_them_out_and_disputes_the_book():
    m = Mem()
    m.do(entry("long"))
    m.do(status("o-long", "canceled"))
    m.do(entry("short", "sell"))

    m.do(fill("late", "o-long"))

    assert (m.position().side, m.book.side) == ("long", "long")
    assert (m.order("short").state, m.order("short").displaced, m.order("short").code) == (
        OrderState.CANCELING,
        True,
        Code.OPPOSED,
    )
    assert m.book.disputed
    assert m.answer(entry("next")) == ("blocked", Code.BOOK_DISPUTED)


def test_an_exit_that_is_told_before_the_entry_it_reduced_disputes_nothing_and_the_late_fill_sets_it_right():
    m = Mem()
    p = m.open()
    m.do(entry("more"))
    m.do(leave("first", type="limit", price="120"))
    m.do(leave("stop", position_id=p.position_id, reason="stop_loss"))
    assert m.order("first").displaced, "and yet it fills"
    m.do(fill("a", "o-first", "sell", "1"))

    m.do(fill("b", "o-stop", "sell", "0.3"))  # at the venue it reduced what `more` had bought
    assert m.position().side == "short"
    assert m.book.disputed is None
    assert (m.order("more").state, m.order("more").displaced) == (OrderState.CANCELING, True)

    m.do(fill("late", "o-more", "buy", "0.3"))
    assert (m.state.position(m.book.book_id), m.book.disputed) == (None, None)


def test_a_fill_through_zero_closes_and_opens():
    m = Mem()
    m.open()
    m.do(leave("x"))

    change = m.do(fill("big", "o-x", "sell", "1.5", "110"))

    assert len(change.trades) == 1
    assert (m.position().side, m.position().quantity, m.book.side) == (PositionSide.SHORT, D("0.5"), "short")
    assert m.position().stop_loss > 110 > m.position().take_profit
    assert m.order("x").state == OrderState.FILLED


def test_an_exit_of_a_gone_position_that_still_fills_counts_for_the_book():
    m = Mem()
    m.open()
    m.do(leave("first", "1"))
    m.do(status("o-first", "unknown"))
    m.do(leave("second"))
    assert m.order("first").displaced
    m.do(fill("a", "o-second", "sell"))
    assert m.position() is None

    m.do(fill("b", "o-first", "sell"))

    assert (m.position().side, m.position().quantity) == ("short", 1)


def test_an_overfilled_leg_of_a_hedged_book_is_recorded_and_disputed():
    m = Mem(rules(hedging=True))
    m.do(entry("e", leg="long"))
    m.do(fill("a", "o-e"))
    m.do(leave("x", leg="long"))

    m.do(fill("b", "o-x", "sell", "3"))

    book = m.state.books[f"{BOOK}#long"]
    assert (m.state.position(book.book_id).side, m.state.position(book.book_id).quantity) == ("short", 2)
    assert book.disputed


def test_a_refused_exit_is_forgotten_with_its_position():
    m = Mem()
    p = m.open()
    m.do(leave("x"))
    assert m.answer(leave("stop", reason="stop_loss", position_id=p.position_id)) == (
        "blocked",
        Code.EXIT_IN_FLIGHT,
    )
    assert m.book.refused_exit

    m.do(fill("flip", "o-x", "sell", "2"))

    assert m.position().side == "short"
    assert m.book.refused_exit is None


@pytest.mark.parametrize("kind", ["funding", "liquidation", "adjustment"])
@pytest.mark.parametrize("quantity", ["0", "1", "7"])
def test_what_the_venue_does_by_itself_needs_no_order(kind, quantity):
    m = Mem()
    m.open()

    m.do(fill("v", "", "sell", quantity, kind=kind, fee="0.5", fee_currency="USDT"))

    held = (
        {"0": ("long", D(1)), "1": None, "7": ("short", D(6))}[quantity]
        if kind != "funding"
        else ("long", D(1))
    )
    assert (held is None and m.position() is None) or (m.position().side, m.position().quantity) == held
    assert m.state.totals["main", "paper", BTC].fills == 2


def test_a_fill_that_names_an_order_of_another_book_settles_both():
    m = Mem()
    m.do(entry("e"))

    m.do(fill("odd", "o-e", symbol=ETH))

    assert (m.position(), m.position(ETH).quantity) == (None, 1)
    assert (m.order("e").state, m.book.side) == (OrderState.FILLED, None)
    assert m.state.exposure.total_notional == 100


def test_funding_that_names_an_order_does_not_fill_it():
    m = Mem()
    m.do(entry("e"))

    m.do(fill("v", "o-e", kind="funding", quantity="1", fee="0.5", fee_currency="USDT"))

    assert (m.order("e").filled, m.position()) == (0, None)


def test_digits_of_any_length_are_taken():
    m = Mem()
    long = "1." + "1" * 61
    m.open(quantity=long, price=long, contract_size=long)

    m.do(fill("b", "o-open", "buy", "9" * 24, "9" * 24))
    m.do(fill("c", "", "sell", "9" * 24, "0." + "0" * 23 + "7" * 38, kind="adjustment"))

    assert m.position().quantity == D(long)


# -- once -----------------------------------------------------------------------------------------------------------------


def test_the_same_fill_again_changes_nothing():
    m = Mem()
    m.open()
    before = m.position()

    change = m.do(fill("t-open", "o-open"))

    assert change.is_empty
    assert m.position() is before


def test_the_same_key_with_other_content_disputes_the_book_and_counts_nothing():
    m = Mem()
    m.open()

    change = m.do(fill("t-open", "o-open", "buy", "2"))

    assert change.kind == UpdateKind.DISPUTED
    assert m.position().quantity == 1
    assert m.answer(entry("next")) == ("blocked", Code.BOOK_DISPUTED)
    assert m.answer(leave("x"))[0] == "accepted", "exits pass"


def test_content_is_compared_to_the_last_digit():
    one = fill("t", quantity="1.0000000000000000000000000000000001")
    other = fill("t", quantity="1.0000000000000000000000000000000002")

    assert fill_digest(one) != fill_digest(other)
    assert fill_digest(fill("t", quantity="100")) == fill_digest(fill("t", quantity="1E+2"))


def test_two_symbols_two_accounts_and_two_orders_may_share_a_trade_id():
    m = Mem()
    m.do(entry("a"))
    m.do(entry("b"))
    m.do(entry("c", symbol=ETH))
    m.do(entry("d", account="other"))

    for intent, given in (("a", {}), ("b", {}), ("c", {"symbol": ETH}), ("d", {"account": "other"})):
        m.do(fill("7", f"o-{intent}", **given))

    assert (m.position().quantity, m.position(ETH).quantity) == (2, 1)
    assert m.state.position("other/paper/BTC/USDT").quantity == 1


# -- strangers -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("order_id", ["", "somebody-elses"])
def test_a_fill_of_no_known_order_goes_to_quarantine(order_id):
    m = Mem()

    change = m.do(fill("x", order_id))

    (row,) = m.state.quarantine.values()
    assert (change.kind, row.side, row.quantity, row.symbol) == (UpdateKind.QUARANTINED, "long", 1, BTC)
    assert not m.state.positions
    assert m.do(fill("x", order_id)).is_empty


def test_fills_in_quarantine_are_taken_in_each_once_in_the_order_of_their_execution():
    m = Mem()
    m.do(fill("a", "lost-1", quantity="2", price="100", fee="0.5", instrument="linear"))
    m.do(fill("b", "lost-2", "sell", "2", "110", fee="0.5", instrument="linear"))
    m.do(fill("c", "lost-3", symbol=ETH, quantity="3", price="10", instrument="linear"))
    held = list(m.state.quarantine.values())

    changes = [m.do(taken_in(row, NOW)) for row in held]

    assert [change.kind for change in changes] == [UpdateKind.FILLED] * 3
    assert m.state.quarantine == {}
    assert m.state.position(BOOK) is None
    (trade,) = changes[1].trades
    assert (trade.exit_reason, trade.realized_pnl) == ("exit_on_venue", D(19))
    position = m.position(ETH)
    assert (position.quantity, position.kind) == (3, "linear")
    assert position.stop_loss == 9, "seeded"
    assert all(m.do(taken_in(row, NOW)).is_empty for row in held)


def test_a_person_adopts_a_position_with_seeded_exits_and_no_order():
    m = Mem()

    change = m.do(fill("adopt-1", "", kind="adoption", quantity="2", stop_loss="95"))

    p = m.position()
    assert (change.kind, p.quantity, p.stop_loss, p.take_profit) == (UpdateKind.ADOPTED, 2, D(95), D(120))
    assert m.answer(leave("x")) == ("accepted", None)


# -- statuses --------------------------------------------------------------------------------------------------------------


def test_a_terminal_status_that_names_more_than_the_fills_leaves_the_order_unknown_until_the_trades_are_read():
    m = Mem()
    m.do(entry("e"))
    m.do(fill("a", "o-e", quantity="0.2"))

    m.do(status("o-e", "canceled", filled_quantity="0.5"))

    assert (m.order("e").state, is_owed(m.order("e"))) == (OrderState.UNKNOWN, True)
    assert m.of("e")[0] == "unknown"
    assert m.answer(entry("next")) == ("blocked", Code.BOOK_UNKNOWN)
    m.do(fill("b", "o-e", quantity="0.1"))
    assert is_owed(m.order("e"))
    m.do(fill("c", "o-e", quantity="0.2"))
    assert (m.order("e").state, m.of("e")[0]) == (OrderState.CANCELED, "partly_filled")
    assert m.known.intents["e"].filled_quantity == D("0.5")


def test_statuses_of_ended_orders_are_old_news():
    m = Mem()
    m.open()

    for kind in ("accepted", "canceled", "rejected", "expired", "unknown", "absent"):
        assert m.do(status("o-open", kind)).is_empty
    assert m.order("open").state == OrderState.FILLED


def test_a_status_of_an_order_that_nobody_reserved_changes_nothing_and_says_so():
    change = Mem().do(status("o-nobody", "canceled"))

    assert change.is_empty
    assert "o-nobody" in change.why


def test_an_order_that_was_stopped_before_it_was_sent_ends_as_canceled():
    m = Mem()
    m.do(entry("e"))
    m.do(cancel("stop"))

    m.do(status("o-e", "absent", code=Code.NOT_SENT))

    assert (m.order("e").state, m.of("e")) == (OrderState.ABANDONED, ("canceled", Code.ON_REQUEST))


def test_an_order_that_was_never_sent_ends_as_expired():
    m = Mem()
    m.do(entry("e"))

    m.do(status("o-e", "absent"))

    assert m.of("e") == ("expired", Code.NOT_SENT)


def test_an_unknown_order_whose_cancel_is_wanted_is_canceling_once_it_is_found():
    m = Mem()
    m.do(entry("e"))
    m.do(status("o-e", "unknown"))
    m.do(cancel("stop"))
    assert m.order("e").state == OrderState.UNKNOWN

    m.do(status("o-e", "accepted"))

    assert m.order("e").state == OrderState.CANCELING


# -- sums ------------------------------------------------------------------------------------------------------------------


def test_totals_and_cash_follow_the_fills():
    m = Mem(rules(capital=Capital(D(5), {"main": D(1000)})))
    m.open(price="100")
    m.do(leave("x"))
    m.do(fill("a", "o-x", "sell", "1", "130", fee="1", fee_currency="USDT"))

    total, nav = m.state.totals["main", "paper", BTC], m.state.nav["main"]

    assert (total.realized_pnl, total.trades, total.wins, total.fills) == (D(29), 1, 1, 2)
    assert (nav.cash, nav.high_water) == (D(1029), D(1029))


def test_no_cash_is_counted_from_a_number_that_nobody_said():
    m = Mem(rules(capital=Capital(D(5), unsaid=frozenset({"main"}))))
    m.open(price="100")
    m.do(leave("x"))
    m.do(fill("a", "o-x", "sell", "1", "130"))
    assert (m.state.nav, m.state.totals["main", "paper", BTC].realized_pnl) == ({}, D(30))


def test_an_inverse_contract_counts_its_notional_in_quote_and_its_profit_in_coins():
    m = Mem()
    given = {"kind": Kind.INVERSE, "settle": "BTC", "contract_size": "10"}
    m.do(entry("e", quantity="100", price="50000", type="limit", **given))
    assert m.state.exposure.total_notional == 1000

    m.do(fill("a", "o-e", "buy", "100", "50000", instrument=Kind.INVERSE))
    assert m.state.exposure.total_notional == 1000
    m.do(leave("x", **given))
    m.do(fill("b", "o-x", "sell", "100", "100000"))

    assert m.state.totals["main", "paper", BTC].realized_pnl == D("0.01")
    assert m.state.nav == {}, "coins are not the base currency"
    assert m.state.exposure.total_notional == 0
