"""Portfolio rules as arithmetic: shrinking is monotone and never lifts a limit; and what NAV is made of."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.contracts.money import ZERO
from holdfast.contracts.portfolio import NavMark, RiskRow
from holdfast.contracts.rows import BookRow
from holdfast.domain.holdings import Basis, Holdings
from holdfast.domain.kpi import Appraiser, Inputs
from holdfast.domain.ledger_state import LedgerState
from holdfast.domain.limits import Limits
from holdfast.domain.portfolio import limits_in_force, marked, take_mark
from holdfast.domain.portfolio_rules import (
    DAY_MS,
    Portfolio,
    PortfolioRules,
    all_holds,
    drawdown_of,
    shrink_factor,
    variance_with,
    volatility_of,
)
from holdfast.domain.valuation import Capital, Mark
from tests.unit._ledger import BOOK, NOW, Mem, fill

D = Decimal
amounts = st.decimals("0.00000001", "1000000000", places=8)
shares = st.decimals("0", "1", places=10)
percents = st.decimals("0.01", "100", places=2)
variances = st.none() | st.decimals("0", "0.1", places=18)
shrinking = st.builds(
    PortfolioRules,
    shrink_drawdown_pct=st.none() | percents,
    shrink_volatility_pct=st.none() | percents,
    shrink_floor_pct=percents,
)


@given(rules=shrinking, drawdowns=st.tuples(shares, shares), known=st.tuples(variances, variances))
def test_the_deeper_the_drawdown_and_the_wilder_nav_the_smaller_the_factor(rules, drawdowns, known):
    low, high = sorted(drawdowns)
    calm, wild = sorted(known, key=lambda variance: variance or ZERO)

    assert shrink_factor(high, wild, rules) <= shrink_factor(low, wild, rules)
    assert shrink_factor(high, wild, rules) <= shrink_factor(high, calm, rules)


@given(rules=shrinking, drawdown=shares, variance=variances)
def test_the_factor_lies_between_the_floor_and_one(rules, drawdown, variance):
    assert rules.shrink_floor_pct / 100 <= shrink_factor(drawdown, variance, rules) <= 1


@given(
    rules=shrinking,
    navs=st.lists(amounts, min_size=1, max_size=8),
    base=st.tuples(amounts, amounts, amounts, amounts, amounts),
)
def test_limits_in_force_are_never_above_their_base(rules, navs, base):
    portfolio = Portfolio(
        accounts=("main",), default=rules, total=PortfolioRules(of_all=True, shrink_drawdown_pct=D(10))
    )
    state = LedgerState()
    for step, worth in enumerate(navs):
        at = NOW + step * 300_000
        take_mark(state, NavMark(id=f"n-{step}", at=at, currency="USDT", navs={"main": worth}), portfolio, at)
    limits = Limits(7, base[0], base[1], base[2], 9, base[3], base[4])
    found = limits_in_force(state, "main", limits, portfolio)

    for key in (
        "max_symbol_notional",
        "max_account_notional",
        "max_total_notional",
        "max_total_long_notional",
        "max_total_short_notional",
    ):
        assert 0 < getattr(found, key) <= getattr(limits, key)
    assert (found.max_positions, found.max_orders_per_minute) == (7, 9)


@given(navs=st.lists(amounts, min_size=1, max_size=20))
def test_the_high_water_mark_is_the_highest_and_the_hold_the_first_too_deep_one(navs):
    rules, row = PortfolioRules(max_drawdown_pct=D(10)), RiskRow(account="main")
    first = None
    for at, worth in enumerate(navs):
        row = marked(row, worth, at, rules)
        high = max(navs[: at + 1])
        if first is None and (high - worth) * 100 > high * 10:
            first = at
        assert (row.high_water, row.drawdown_since) == (high, first)


def test_a_mark_that_says_nothing_new_gives_the_same_row():
    rules = PortfolioRules(max_drawdown_pct=D(10), max_daily_loss=D(5), shrink_volatility_pct=D(5))
    row = marked(RiskRow(account="main"), D(100), NOW, rules)
    assert marked(row, D(99), NOW + 1, rules) is row


def test_volatility_of_a_day_follows_from_returns_of_five_minutes():
    """A return of 0.1 % each five minutes is 0.1 % x sqrt(288) a day, however long it goes on."""
    variance, worth = None, D(100000)
    for _ in range(50):
        after = worth * D("1.001")
        variance, worth = variance_with(variance, worth, after), after
    assert round(volatility_of(variance), 3) == D("1.697")


@pytest.mark.parametrize("worth", ["0", "-5"])
def test_nav_of_nothing_has_no_return_and_no_drawdown(worth):
    assert variance_with(D("0.5"), D(worth), D(7)) == D("0.5")
    assert drawdown_of(D(-7), D(worth)) == 0


def test_holds_are_told_with_their_ends_hardest_first():
    day = NOW // DAY_MS
    risk = {
        "main": RiskRow(account="main", losses=3, lost_at=NOW - 10),
        "": RiskRow(high_water=D(9), drawdown_since=NOW - 5, day=day, day_nav=D(8), daily_loss_since=NOW - 3),
    }
    book = BookRow(book_id=BOOK, account="main", exchange="paper", symbol="BTC/USDT", lost_at=NOW - 7)
    portfolio = Portfolio(
        total=PortfolioRules(
            of_all=True, max_drawdown_pct=D(1), max_daily_loss=D(2), max_daily_loss_pct=D(3)
        ),
        default=PortfolioRules(cooldown_ms=1000, loss_streak=2, loss_streak_pause_ms=60_000),
    )
    found = all_holds(risk, [book, book.evolve(lost_at=None)], portfolio, NOW)

    assert [(hold.scope, hold.code.value, hold.since_ms - NOW, hold.until_ms) for hold in found] == [
        ("all", "max_drawdown", -5, None),
        ("all", "daily_loss", -3, (day + 1) * DAY_MS),
        ("main", "loss_streak", -10, NOW - 10 + 60_000),
        (BOOK, "cooldown", -7, NOW - 7 + 1000),
    ]
    assert "limits.max_total_daily_loss is 2 and limits.max_total_daily_loss_pct is 3" in found[1].reason
    assert all_holds(risk, [book], Portfolio(), NOW) == [], "a rule that is off holds nothing back"


# -- what an account is worth -----------------------------------------------------------------------------------------------------

SYMBOLS = ["BTC/USDT", "ETH/USDT", "SOL/BTC"]


def basis_of(mem, marks, now=NOW):
    return Basis(
        totals=mem.view.totals.values(), navs=mem.view.nav.values(), marks=marks, now_ms=now, max_mark_age_ms=60_000,
        capital=Capital(D(100000)), base_currency="USDT",
    )  # fmt: skip


@given(
    fills=st.lists(
        st.tuples(
            st.sampled_from(SYMBOLS),
            st.sampled_from(["main", "other"]),
            st.sampled_from(["buy", "sell"]),
            st.decimals("0.001", "10", places=3),
            st.decimals("1", "1000", places=2),
            st.sampled_from(["linear", "inverse"]),
        ),
        max_size=12,
    ),
    prices=st.tuples(*[st.decimals("1", "1000", places=2) for _ in SYMBOLS]),
)
def test_nav_by_sums_is_nav_position_by_position(fills, prices):
    """Kept up through opening, adding, shrinking, closing and turning; the state files' own arithmetic says the same."""
    mem, holdings = Mem(), Holdings()
    kinds = {}
    for number, (symbol, account, side, quantity, price, wanted) in enumerate(fills):
        kind = kinds.setdefault((account, symbol), wanted)
        change = mem.do(
            fill(f"t-{number}", "", side, str(quantity), str(price), kind="adjustment", symbol=symbol, account=account, instrument=kind)
        )  # fmt: skip
        for row in change.positions.values():
            holdings.take(row)
    marks = {symbol: Mark(price, NOW) for symbol, price in zip(SYMBOLS, prices, strict=True)}

    for account in ("main", "other"):
        positions = [row for row in mem.view.positions.values() if row.account == account]
        inputs = Inputs(
            positions=positions, totals=[row for row in mem.view.totals.values() if row.account == account],
            navs=[row for row in mem.view.nav.values() if row.account == account], marks=marks, now_ms=NOW, max_mark_age_ms=60_000,
            accounts=(account,), capital=Capital(D(100000)), base_currency="USDT",
        )  # fmt: skip
        expected = Appraiser().appraise(inputs)
        found = holdings.nav_of(account, basis_of(mem, marks))
        assert expected.nav_stale == []
        assert abs(found - expected.nav) < D("1e-8"), (found, expected.nav)
    for row in list(mem.view.positions.values()):
        holdings.take(row.evolve(quantity=ZERO))
    assert holdings.unrealized("main", marks, NOW, 1) == ({}, [])


def test_nav_is_not_known_without_a_fresh_price_of_all_that_is_held():
    mem, holdings = Mem(), Holdings()
    holdings.take(mem.open(symbol="ETH/USDT"))

    assert holdings.nav_of("main", basis_of(mem, {})) == "no price of ETH/USDT yet"
    marks = {"ETH/USDT": Mark(D(110), NOW)}
    assert holdings.nav_of("main", basis_of(mem, marks)) == 100_010
    assert (
        holdings.nav_of("main", basis_of(mem, marks, NOW + 60_001))
        == "the price of ETH/USDT is older than 60 s"
    )
    assert holdings.nav_of("other", basis_of(mem, {})) == 100_000


def test_contracts_count_with_their_size():
    mem, holdings = Mem(), Holdings()
    mem.do(fill("t-1", "", "sell", "5", "100", kind="adjustment", contract_size="0.01"))
    holdings.load(mem.state.positions.values())
    assert holdings.unrealized("main", {"BTC/USDT": Mark(D(90), NOW)}, NOW, 1)[0] == {"USDT": D("0.5")}
