"""The portfolio rules in the ledger: each alone, at its boundary, through restart and rebuild; and no exit is ever stopped by one."""

from contextlib import closing
from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.contracts.codes import Code, ExitReason
from holdfast.contracts.portfolio import NavMark
from holdfast.domain.portfolio import take_mark
from holdfast.domain.portfolio_rules import DAY_MS, Portfolio, PortfolioRules, all_holds
from holdfast.store.journal import StoreJournal
from holdfast.store.opening import sqlite_path
from holdfast.store.reading import SqliteReader
from holdfast.store.rebuild import differences, rebuild_sqlite
from holdfast.store.verify import verify
from tests.unit._ledger import BOOK, BTC, ETH, NOW, Desk, Mem, entry, fill, leave, nav, rules, steer

D = Decimal
MIDNIGHT = NOW // DAY_MS * DAY_MS
PASSES = ("accepted", None)


def portfolio(of_all=None, accounts=("main",), **own):
    total = PortfolioRules(of_all=True, **(of_all or {}))
    return Portfolio(accounts=accounts, total=total, default=PortfolioRules(**own))


def ledger(of_all=None, accounts=("main",), limits=None, **own):
    return Mem(rules(portfolio=portfolio(of_all, accounts, **own), **(limits or {})))


def enters(mem, name, **given):
    """Status and code of a wish to open, or the code alone when it is refused."""
    status, code = mem.answer(entry(name, **given))
    return code or status


def trade(mem, name, price, *, symbol=BTC, account="main", side="buy"):
    """A position entered at 100 and left at *price*."""
    position = mem.open(side, intent=name, symbol=symbol, account=account)
    position = mem.state.position(f"{account}/paper/{symbol}")
    out = "sell" if side == "buy" else "buy"
    mem.do(
        leave(f"x-{name}", reason="close", position_id=position.position_id, symbol=symbol, account=account)
    )
    mem.do(fill(f"t-x-{name}", f"o-x-{name}", out, "1", price, symbol=symbol, account=account))
    assert mem.state.position(f"{account}/paper/{symbol}") is None


def reason_of(mem, name):
    return mem.known.intents[name].reason


# -- cooldown -----------------------------------------------------------------------------------------------------------------


def test_after_a_loss_the_book_rests_and_no_other():
    mem = ledger(cooldown_ms=60_000)
    trade(mem, "a", "99")

    assert enters(mem, "b") is Code.COOLDOWN
    assert "limits.cooldown_s is 60" in reason_of(mem, "b")
    assert enters(mem, "c", symbol=ETH) == "accepted"
    mem.now += 59_999
    assert enters(mem, "d") is Code.COOLDOWN
    mem.now += 1
    assert enters(mem, "e") == "accepted"


@pytest.mark.parametrize("price", ["100", "101"])
def test_a_trade_that_does_not_lose_starts_no_cooldown(price):
    mem = ledger(cooldown_ms=60_000)
    trade(mem, "a", price)
    assert enters(mem, "b") == "accepted"


def test_a_fee_can_make_the_trade_a_losing_one():
    mem = ledger(cooldown_ms=60_000)
    position = mem.open(intent="a")
    mem.do(leave("x", reason="close", position_id=position.position_id))
    mem.do(fill("t-x", "o-x", "sell", "1", "100", fee="0.01", fee_currency="USDT"))
    assert enters(mem, "b") is Code.COOLDOWN


# -- loss streak ----------------------------------------------------------------------------------------------------------------


def test_so_many_losses_in_a_row_pause_the_account():
    mem = ledger(loss_streak=2, loss_streak_pause_ms=10_000)
    trade(mem, "a", "99")
    trade(mem, "b", "99", symbol=ETH)

    assert enters(mem, "c") is Code.LOSS_STREAK
    assert "limits.loss_streak is 2" in reason_of(mem, "c")
    assert enters(mem, "d", account="other") == "accepted"
    mem.now += 9_999
    assert enters(mem, "e") is Code.LOSS_STREAK
    mem.now += 1
    assert enters(mem, "f") == "accepted"


def test_one_more_loss_after_the_pause_pauses_again_and_a_trade_that_does_not_lose_ends_the_row():
    mem = ledger(loss_streak=2, loss_streak_pause_ms=10_000)
    trade(mem, "a", "99")
    trade(mem, "b", "99")
    mem.now += 10_000
    trade(mem, "c", "99")
    assert enters(mem, "d") is Code.LOSS_STREAK
    mem.now += 10_000
    trade(mem, "e", "100")
    trade(mem, "f", "99")
    assert enters(mem, "g") == "accepted"


# -- NAV ------------------------------------------------------------------------------------------------------------------------

NEEDY = [
    {"max_daily_loss": D(100)},
    {"max_daily_loss_pct": D(1)},
    {"max_drawdown_pct": D(1)},
    {"shrink_drawdown_pct": D(10)},
    {"shrink_volatility_pct": D(5)},
]


@pytest.mark.parametrize("rule", NEEDY, ids=lambda rule: next(iter(rule)))
@pytest.mark.parametrize("of_all", [False, True])
def test_a_rule_that_needs_nav_refuses_entries_while_it_is_missing_or_old(rule, of_all):
    mem = ledger(of_all=rule) if of_all else ledger(**rule)

    assert enters(mem, "a") is Code.NAV_UNKNOWN
    mem.do(nav(main="100000"))
    assert enters(mem, "b") == "accepted"
    mem.now += 10_000
    assert enters(mem, "c") == "accepted"
    mem.now += 1
    assert enters(mem, "d") is Code.NAV_UNKNOWN
    assert "limits.max_nav_age_s is 10" in reason_of(mem, "d")
    mem.do(nav(at=mem.now, missing={"main": "no price of ETH/USDT yet"}))
    assert enters(mem, "e") is Code.NAV_UNKNOWN
    assert "no price of ETH/USDT yet" in reason_of(mem, "e")


def test_without_such_a_rule_nobody_asks_for_nav():
    mem = ledger(cooldown_ms=60_000, loss_streak=3)
    assert enters(mem, "a") == "accepted"


def test_the_total_is_not_known_while_one_account_is_not():
    mem = ledger(of_all={"max_drawdown_pct": D(1)}, accounts=("main", "second"))
    mem.do(nav(main="100000"))
    assert enters(mem, "a") is Code.NAV_UNKNOWN
    assert "account second" in reason_of(mem, "a")
    mem.do(nav(second="100000"))
    assert enters(mem, "b") == "accepted"
    mem.now += 10_001
    mem.do(nav(at=mem.now, main="100000"))
    assert enters(mem, "c") is Code.NAV_UNKNOWN, "the second account's executor is silent"


def test_a_mark_that_comes_late_or_twice_changes_nothing():
    mem = ledger(max_drawdown_pct=D(1))
    mem.now += 5_000
    mem.do(nav(at=NOW + 5_000, main="100000"))
    late = mem.do(nav(at=NOW, main="200000"))
    again = mem.do(nav(at=NOW + 5_000, main="100000"))

    assert late.is_empty
    assert again.is_empty
    assert mem.state.risk["main"].high_water == 100_000


def test_after_the_wall_clock_went_back_the_next_mark_counts():
    mem = ledger(max_drawdown_pct=D(1))
    mem.do(nav(main="100000"))
    mem.now -= 60_000
    mem.do(nav(at=mem.now, main="98999"))
    assert enters(mem, "a") is Code.MAX_DRAWDOWN


# -- daily loss -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rule", "within", "beyond"),
    [
        ({"max_daily_loss": D(500)}, "99500.00000001", "99500"),
        ({"max_daily_loss_pct": D("0.5")}, "99500.00000001", "99500"),
        ({"max_daily_loss": D(500), "max_daily_loss_pct": D(2)}, "99501", "99500"),
        ({"max_daily_loss": D(5000), "max_daily_loss_pct": D(1)}, "99001", "99000"),
    ],
)
@pytest.mark.parametrize("of_all", [False, True])
def test_the_days_loss_stops_entries_until_the_next_utc_day(rule, within, beyond, of_all):
    mem = ledger(of_all=rule) if of_all else ledger(**rule)
    mem.do(nav(main="100000"))
    mem.do(nav(at=NOW + 1, main=within))
    assert enters(mem, "a") == "accepted", "a little less is lost"
    mem.do(nav(at=NOW + 2, main=beyond))
    assert enters(mem, "b") is Code.DAILY_LOSS, "exactly that much is lost"
    key = next(iter(rule)).replace("max_", "max_total_") if of_all else next(iter(rule))
    assert f"limits.{key} is" in reason_of(mem, "b")

    mem.do(nav(at=NOW + 3, main="100000"))
    assert enters(mem, "c") is Code.DAILY_LOSS, "the day has had its loss, whatever it won back"
    mem.now = MIDNIGHT + DAY_MS - 1
    mem.do(nav(at=mem.now, main="100000"))
    assert enters(mem, "d") is Code.DAILY_LOSS
    mem.now += 1
    assert enters(mem, "e") == "accepted"
    mem.do(nav(at=mem.now, main=beyond))
    assert enters(mem, "f") == "accepted", "the new day begins with what there is"


def test_a_person_who_resumes_does_not_end_a_days_loss():
    mem = ledger(max_daily_loss=D(500))
    mem.do(nav(main="100000"))
    mem.do(nav(at=NOW + 1, main="99000"))
    mem.do(steer("active"))
    assert enters(mem, "a") is Code.DAILY_LOSS


# -- drawdown -------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("of_all", [False, True])
def test_drawdown_stops_entries_until_a_person_resumes(of_all):
    rule = {"max_drawdown_pct": D(10)}
    mem = ledger(of_all=rule) if of_all else ledger(**rule)
    mem.do(nav(main="100000"))
    mem.do(nav(at=NOW + 1, main="110000"))
    mem.do(nav(at=NOW + 2, main="99000"))
    assert enters(mem, "a") == "accepted", "exactly the limit is within it"
    mem.do(nav(at=NOW + 3, main="98999.99"))
    assert enters(mem, "b") is Code.MAX_DRAWDOWN
    assert "high-water mark of 110000" in reason_of(mem, "b")
    mem.do(nav(at=NOW + 4, main="120000"))
    assert enters(mem, "c") is Code.MAX_DRAWDOWN, "winning back is no person's word"

    mem.do(steer("halted", id="k-1"))
    assert enters(mem, "d") is Code.HALTED
    mem.do(steer("active", id="k-2"))
    mem.do(nav(at=NOW + 5, main="100000"))
    assert enters(mem, "e") == "accepted"
    row = mem.state.risk["" if of_all else "main"]
    assert (row.high_water, row.drawdown_since) == (100_000, None), "it counts anew, from where NAV stands"


@pytest.mark.parametrize(
    ("scope", "target", "answer"),
    [
        ("account", "main", "accepted"),
        ("account", "other", Code.MAX_DRAWDOWN),
        ("book", BOOK, Code.MAX_DRAWDOWN),
        ("all", "", "accepted"),
    ],
)
def test_only_who_resumes_this_account_ends_its_drawdown(scope, target, answer):
    mem = ledger(max_drawdown_pct=D(10))
    mem.do(nav(main="100000"))
    mem.do(nav(at=NOW + 1, main="80000"))
    mem.do(steer("active", scope, target))
    assert enters(mem, "a") == answer


def test_resuming_one_account_leaves_the_drawdown_of_all_together():
    mem = ledger(of_all={"max_drawdown_pct": D(10)})
    mem.do(nav(main="100000"))
    mem.do(nav(at=NOW + 1, main="80000"))
    mem.do(steer("active", "account", "main"))
    assert enters(mem, "a") is Code.MAX_DRAWDOWN
    mem.do(steer("active"))
    assert enters(mem, "b") == "accepted"


def test_one_account_falls_and_the_other_goes_on():
    mem = ledger(accounts=("main", "other"), max_drawdown_pct=D(10))
    mem.do(nav(main="100000", other="100000"))
    mem.do(nav(at=NOW + 1, main="80000", other="100000"))
    assert enters(mem, "a") is Code.MAX_DRAWDOWN
    assert enters(mem, "b", account="other") == "accepted"


# -- exposure per side ------------------------------------------------------------------------------------------------------------


def test_each_side_has_its_limit_over_all_accounts():
    mem = ledger(limits={"max_total_long_notional": D(250), "max_total_short_notional": D(100)})
    mem.open("buy", intent="a")
    mem.open("buy", intent="b", account="other")
    assert enters(mem, "c", symbol=ETH, quantity="0.5") == "accepted", "exactly the limit is within it"
    assert enters(mem, "d", symbol="SOL/USDT", quantity="0.001") is Code.MAX_SIDE_NOTIONAL
    assert (
        "limits.max_total_long_notional is 250; the long side of all accounts together uses 250"
        in reason_of(mem, "d")
    )
    assert enters(mem, "e", side="sell", symbol="SOL/USDT") == "accepted"
    assert enters(mem, "f", side="sell", symbol="XRP/USDT", quantity="0.001") is Code.MAX_SIDE_NOTIONAL


# -- shrinking ----------------------------------------------------------------------------------------------------------------------


def test_limits_shrink_in_a_straight_line_with_the_drawdown_down_to_the_floor():
    shrink = {"shrink_drawdown_pct": D(20), "shrink_floor_pct": D(25)}
    mem = ledger(limits={"max_account_notional": D(1000)}, **shrink)
    mem.do(nav(main="100000"))
    assert enters(mem, "a", quantity="10") == "accepted"
    mem.do(nav(at=NOW + 1, main="90000"))
    assert enters(mem, "b", symbol=ETH, quantity="0.001") is Code.MAX_ACCOUNT_NOTIONAL
    assert "limits.max_account_notional is 625, now, shrunk to 62.5 %" in reason_of(mem, "b")
    mem.do(nav(at=NOW + 2, main="10000"))
    enters(mem, "c", symbol=ETH, quantity="0.001")
    assert "is 250, now, shrunk to 25.0 %" in reason_of(mem, "c")
    mem.do(nav(at=NOW + 3, main="100000"))
    assert mem.answer(leave("x", symbol=ETH))[1] is Code.NOTHING_TO_CLOSE
    assert enters(mem, "d", account="other") is Code.NAV_UNKNOWN


def test_limits_shrink_when_nav_moves_more_than_it_may():
    mem = ledger(limits={"max_symbol_notional": D(100)}, shrink_volatility_pct=D(5), shrink_floor_pct=D(10))
    for step, amount in enumerate(["100000", "100001", "100000", "99999"]):
        mem.now = NOW + step * 300_000
        mem.do(nav(at=mem.now, main=amount))
    assert enters(mem, "a") == "accepted"
    mem.now += 300_000
    mem.do(nav(at=mem.now, main="98000"))
    assert enters(mem, "b", symbol=ETH) is Code.MAX_SYMBOL_NOTIONAL
    assert "shrunk to 60." in reason_of(mem, "b"), (
        "one return of 2 % weighs 0.06: 8.3 % a day, where 5 % are whole"
    )


def test_a_hole_between_two_marks_is_no_return():
    mem = ledger(shrink_volatility_pct=D(5))
    mem.do(nav(main="100000"))
    mem.now += 700_000
    mem.do(nav(at=mem.now, main="50000"))
    assert mem.state.risk["main"].variance is None


def test_limits_of_all_accounts_shrink_with_all_accounts():
    limits = {"max_total_notional": D(100), "max_total_long_notional": D(100)}
    mem = ledger(of_all={"shrink_drawdown_pct": D(10)}, limits=limits)
    mem.do(nav(main="100000"))
    mem.do(nav(at=NOW + 1, main="95000"))
    assert enters(mem, "a", quantity="0.601") is Code.MAX_TOTAL_NOTIONAL
    assert enters(mem, "b", quantity="0.6") == "accepted"


# -- what is kept -------------------------------------------------------------------------------------------------------------------

ALL_RULES = {
    "cooldown_ms": 600_000,
    "loss_streak": 1,
    "loss_streak_pause_ms": 600_000,
    "max_daily_loss": D(100),
    "max_drawdown_pct": D(1),
    "shrink_drawdown_pct": D(50),
    "shrink_volatility_pct": D(5),
}
OF_ALL = {"max_daily_loss_pct": D(1), "max_drawdown_pct": D(1)}


def everything_is_wrong(desk):
    """A long of ETH that is held, a loss on BTC, and NAV that has fallen by a half."""
    desk.run(nav(main="100000"))
    desk.run(entry("e", symbol=ETH), fill("t-e", "o-e", symbol=ETH))
    desk.run(entry("a"), fill("t-a", "o-a"))
    desk.run(leave("x", reason="close"), fill("t-x", "o-x", "sell", "1", "99"))
    desk.run(nav(at=NOW + 1, main="50000"))


def codes_held(desk):
    state = desk.state
    found = all_holds(state.risk, state.books.values(), desk.rules.portfolio, desk.clock.now)
    return {(hold.scope, hold.code) for hold in found}


@pytest.fixture
def desk(tmp_path):
    desk = Desk(tmp_path, rules(portfolio=portfolio(OF_ALL, **ALL_RULES)))
    yield desk
    desk.close()


HELD = {
    ("all", Code.MAX_DRAWDOWN),
    ("all", Code.DAILY_LOSS),
    ("main", Code.MAX_DRAWDOWN),
    ("main", Code.DAILY_LOSS),
    ("main", Code.LOSS_STREAK),
    (BOOK, Code.COOLDOWN),
}


def test_a_restart_forgets_no_hold(desk):
    everything_is_wrong(desk)
    assert codes_held(desk) == HELD
    desk.check()
    desk.restart()
    desk.publish(desk.heal(desk.newest))
    assert codes_held(desk) == HELD
    desk.run(entry("b"))
    assert desk.result("b").code is Code.MAX_DRAWDOWN
    desk.check()


def test_the_store_can_be_verified_and_rebuilt_from_its_journal(desk, tmp_path):
    everything_is_wrong(desk)
    with SqliteReader(sqlite_path(tmp_path)) as reader:
        failed = {check.check: check.problems for check in verify(reader) if not check.passed}
        rebuild_sqlite(StoreJournal(reader), tmp_path / "new.db")
        with SqliteReader(tmp_path / "new.db") as other:
            assert differences(reader, other) == {}
    assert failed == {}


def test_verify_sees_a_row_of_risk_that_the_journal_does_not_say(desk, tmp_path):
    everything_is_wrong(desk)
    desk.store.query("UPDATE risk SET body = replace(body, '100000', '999') WHERE account = 'main'")
    with SqliteReader(sqlite_path(tmp_path)) as reader:
        failed = [check.check for check in verify(reader) if not check.passed]
    assert failed == ["tables"]


def test_what_a_wallet_began_with_is_recorded_once_and_is_the_same_after_any_restart_and_rebuild(
    desk, tmp_path
):
    def told(amount, at):
        return NavMark(id=f"n-{at}", at=at, currency="USDT", began={"main": amount})

    desk.run(told("1234.5", NOW), told("7", NOW + 1), nav(main="1234.5"))
    desk.run(entry("a"), fill("t-a", "o-a"))
    desk.run(leave("x", reason="close"), fill("t-x", "o-x", "sell", "1", "99"))
    desk.restart()
    desk.publish(desk.heal(desk.newest))
    desk.run(told("8", NOW + 2))
    row = desk.state.nav["main"]
    assert (row.began, row.cash, row.high_water) == (D("1234.5"), D("1233.5"), D("1234.5"))
    with SqliteReader(sqlite_path(tmp_path)) as reader:
        assert [check.check for check in verify(reader) if not check.passed] == []
        rebuild_sqlite(StoreJournal(reader), tmp_path / "new.db")
        with SqliteReader(tmp_path / "new.db") as other:
            assert differences(reader, other) == {}
    desk.check()


def test_a_batch_that_fails_takes_its_marks_back(desk):
    desk.run(nav(main="100000"))
    desk.state.begin()
    take_mark(desk.state, nav(at=NOW + 1, main="50000"), desk.rules.portfolio, NOW + 1)
    desk.state.rollback()
    assert (desk.state.marks["main"].nav, desk.state.risk["main"].drawdown_since) == (100_000, None)
    desk.check()


def test_marks_that_say_nothing_new_leave_no_trace_in_the_journal(desk):
    desk.run(nav(main="100000"))
    before = desk.ledger.seq
    for second in range(1, 50):
        desk.run(nav(at=NOW + second * 1000, main="99999"))
    assert desk.ledger.seq == before
    assert desk.store.query("SELECT count(*) FROM inbox") == [(0,)]


# -- exits --------------------------------------------------------------------------------------------------------------------------


@given(
    reason=st.sampled_from(sorted(ExitReason)),
    quantity=st.sampled_from([None, "0.001", "0.5", "1", "7"]),
    later=st.integers(0, 3 * DAY_MS),
    known=st.booleans(),
)
@settings(deadline=None)
def test_an_exit_passes_while_every_rule_is_violated(reason, quantity, later, known):
    mem = ledger(OF_ALL, limits={"max_total_long_notional": D(150)}, **ALL_RULES)
    mem.do(nav(main="100000"))
    held = mem.open(symbol=ETH, intent="held")
    trade_of = mem.rules
    mem.rules = replace(trade_of, limits=replace(trade_of.limits, max_total_long_notional=D(250)))
    trade(mem, "a", "99")
    mem.rules = replace(trade_of, limits=replace(trade_of.limits, max_total_long_notional=D("0.01")))
    mem.do(nav(at=NOW + 1, main="50000"))
    assert enters(mem, "b", symbol=ETH) is Code.MAX_DRAWDOWN
    mem.now += later
    if known:
        mem.do(nav(at=mem.now, main="1"))

    assert mem.answer(leave("x", quantity, reason=reason, symbol=ETH, position_id=held.position_id)) == PASSES


def test_a_store_of_before_the_rules_is_opened(tmp_path):
    desk = Desk(tmp_path)
    with closing(desk):
        desk.run(entry("a"), fill("t-a", "o-a"))
        assert desk.state.risk == {}
        desk.restart(rules(portfolio=portfolio(OF_ALL, **ALL_RULES)))
        desk.run(nav(main="100000"), entry("b"))
        assert desk.result("b").code is None
