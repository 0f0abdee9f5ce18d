"""NAV is counted exactly or not at all, drawdown from the high-water mark, risk only from enough returns."""

from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.contracts.codes import ExitReason, Kind, PositionSide
from holdfast.contracts.messages import Trade
from holdfast.contracts.rows import NavRow, TotalRow
from holdfast.domain import kpi
from holdfast.domain.kpi import BUCKET_MS, Appraiser, NavHistory, value_at_risk
from holdfast.domain.valuation import Capital, Mark, Marks, Rates, notional_of, unrealized_of, value_in_settle
from tests.unit._state import BTC, COIN, ETH, T0, D, position, tick

XRPETH = "XRP/ETH"


def marks(**prices):
    return {name.replace("_", "/"): Mark(D(price), T0) for name, price in prices.items()}


def inputs(*positions, marks=None, totals=(), navs=(), now=T0, accounts=("main",)):
    return kpi.Inputs(positions, totals, navs, marks or {}, now, 60_000, accounts, Capital(D(1000)), "USDT")


def nav_row(cash, high=None, account="main"):
    return NavRow(
        account=account, currency="USDT", cash=D(cash), nav=D(cash), high_water=D(high or cash), at=T0
    )


def total(realized, symbol=BTC, settle="USDT", fees=None, trades=0, wins=0):
    return TotalRow(
        account="main",
        exchange="paper",
        symbol=symbol,
        settle=settle,
        realized_pnl=D(realized),
        fees=fees or {},
        trades=trades,
        wins=wins,
    )


def test_before_anything_was_traded_nav_is_the_capital():
    kpis = Appraiser().appraise(inputs())
    assert (kpis.nav, kpis.nav_stale, kpis.dd_pct, kpis.open_positions) == (D(1000), [], D(0), 0)


def test_an_account_may_have_begun_with_a_capital_of_its_own():
    own = Capital(D(1000), {"second": D(50)})
    kpis = Appraiser().appraise(
        replace(inputs(accounts=("main", "second"), navs=[nav_row("1005")]), capital=own)
    )
    assert (kpis.nav, kpis.capital, kpis.cash) == (D(1055), D(1050), D(1055))


def test_nav_is_not_known_before_the_ledger_has_recorded_what_an_account_began_with():
    one = replace(inputs(), capital=Capital(D(100_000), unsaid=frozenset({"main"})))
    appraiser = Appraiser()
    kpis = appraiser.appraise(one)
    assert kpis.nav_stale == ["what account main began with is not recorded yet"]
    kpis = appraiser.appraise(replace(one, navs=[nav_row("1005").evolve(began=D(1000))]))
    assert (kpis.nav, kpis.nav_stale, kpis.capital, kpis.dd_pct) == (D(1005), [], D(1000), D(0))
    older = replace(one, navs=[nav_row("100005")])
    assert Appraiser().appraise(older).capital == 100_000


def test_nav_is_cash_plus_positions_at_mark():
    kpis = Appraiser().appraise(
        inputs(
            position(quantity="2", price="100"),
            marks=marks(BTC_USDT="110"),
            navs=[nav_row("1005")],
            totals=[total("5")],
        )
    )
    assert kpis.nav == D(1025)
    assert (kpis.realized_pnl, kpis.unrealized_pnl, kpis.exposure_long, kpis.exposure_short) == (
        D(5),
        D(20),
        D(220),
        D(0),
    )
    assert kpis.per_symbol[BTC]["pnl"] == D(25)
    assert kpis.per_symbol[BTC]["pnl_pct"] == D("0.025")
    assert kpis.per_symbol[BTC]["exposure_nav_pct"] == D("0.2146341463")


def test_a_short_gains_when_the_price_falls():
    assert unrealized_of(position(side="short", quantity="2", price="100"), D(90)) == D(20)


def test_an_inverse_position_settles_in_its_base_currency():
    long = position(symbol=COIN, kind=Kind.INVERSE, quantity="1000", price="50000", side="long")
    assert (long.cost, long.settle) == (D("0.02"), "BTC")
    assert unrealized_of(long, D(100_000)) == D("0.01")
    assert unrealized_of(long.evolve(side=PositionSide.SHORT), D(100_000)) == D("-0.01")
    assert value_in_settle(long, D(100_000)) == D("0.01")
    assert notional_of(long, D(100_000)) == D(1000)
    kpis = Appraiser().appraise(inputs(long, marks=marks(BTC_USD="100000", BTC_USDT="100000")))
    assert kpis.nav == D(2000)


def test_contracts_of_another_size_than_one_are_worth_that_many_units():
    held = position(quantity="3", price="100").evolve(contract_size=D("0.1"))
    assert (value_in_settle(held, D(110)), notional_of(held, D(110)), unrealized_of(held, D(110))) == (
        33,
        33,
        3,
    )
    coin = position(COIN, quantity="10", price="50000", kind=Kind.INVERSE).evolve(contract_size=D(100))
    assert (value_in_settle(coin, D(100_000)), unrealized_of(coin, D(100_000))) == (D("0.01"), D("0.01"))


def test_profit_in_another_currency_is_converted_by_ticks_either_way_round():
    held = position(symbol=XRPETH, quantity="10", price="0.1")
    prices = {XRPETH: "0.2", "ETH/USDT": "2000"}
    direct = Appraiser().appraise(
        inputs(held, marks={name: Mark(D(price), T0) for name, price in prices.items()})
    )
    assert direct.nav == D(3000)
    turned = Appraiser().appraise(
        inputs(held, marks={XRPETH: Mark(D("0.2"), T0), "USDT/ETH": Mark(D("0.0005"), T0)})
    )
    assert turned.nav == D(3000)


def test_two_prices_in_a_row_lead_to_the_base_currency_too():
    rates = Rates(marks(XRP_ETH="0.1", ETH_USDT="2000"), "USDT")
    assert rates.of("XRP").factor == D(200)
    assert rates.of("DOGE") is None


def test_what_cannot_be_converted_leaves_nav_at_its_last_value_and_says_why():
    appraiser = Appraiser()
    held = position(symbol=XRPETH, quantity="10", price="0.1")
    full = {XRPETH: Mark(D("0.2"), T0), ETH: Mark(D(2000), T0)}
    assert appraiser.appraise(inputs(held, marks=full)).nav == D(3000)
    blind = appraiser.appraise(inputs(held, marks={XRPETH: Mark(D("0.9"), T0)}))
    assert blind.nav == D(3000)
    assert blind.nav_stale == ["no price leads from ETH to USDT"]
    assert blind.unrealized_pnl is None
    assert blind.per_symbol[XRPETH]["pnl"] is None


def test_without_a_last_value_nav_is_what_the_ledger_counted():
    kpis = Appraiser().appraise(inputs(position(), navs=[nav_row("990", "1100")]))
    assert kpis.nav == D(990)
    assert kpis.nav_stale == [f"no price of {BTC} yet"]
    assert kpis.unrealized_pnl is None
    assert kpis.high_water == D(1100)


def test_an_old_price_keeps_nav_and_says_so():
    appraiser, held = Appraiser(), position(quantity="1", price="100")
    assert appraiser.appraise(inputs(held, marks=marks(BTC_USDT="110"))).nav == D(1010)
    later = appraiser.appraise(inputs(held, marks=marks(BTC_USDT="110"), now=T0 + 60_001))
    assert later.nav == D(1010)
    assert "older than 60 s" in later.nav_stale[0]


def test_fees_in_other_currencies_are_taken_off():
    kpis = Appraiser().appraise(
        inputs(
            totals=[total("0", fees={"BNB": D("0.1")})], navs=[nav_row("1000")], marks=marks(BNB_USDT="300")
        )
    )
    assert kpis.nav == D(970)
    assert kpis.fees == D(30)


def test_realized_profit_is_not_counted_twice():
    """What was realised in the base currency is in the ledger's cash already; what was realised elsewhere is not."""
    totals = [total("50"), total("0.5", symbol=XRPETH, settle="ETH")]
    kpis = Appraiser().appraise(inputs(totals=totals, navs=[nav_row("1050")], marks=marks(ETH_USDT="2000")))
    assert kpis.nav == D(2050)
    assert kpis.realized_pnl == D(1050)


def test_drawdown_is_measured_from_the_highest_nav():
    appraiser, held = Appraiser(), position(quantity="10", price="100")
    assert appraiser.appraise(inputs(held, marks=marks(BTC_USDT="200"))).dd_pct == 0
    assert appraiser.appraise(inputs(held, marks=marks(BTC_USDT="150"))).dd_pct == D("0.25")


def test_the_high_water_mark_of_the_ledger_survives_a_restart():
    assert Appraiser().appraise(inputs(navs=[nav_row("1500", "2000")])).dd_pct == D("0.25")


def test_peaks_of_several_accounts_are_not_added():
    rows = [nav_row("1500", "2000", "a"), nav_row("900", "1500", "b")]
    kpis = Appraiser().appraise(inputs(navs=rows, accounts=("a", "b")))
    assert kpis.nav == kpis.high_water == D(2400)


def test_a_long_and_a_short_of_one_symbol_net_in_its_exposure_but_not_in_the_portfolio():
    rows = [position("a", quantity="3"), position("b", quantity="1", side="short", account="other")]
    kpis = Appraiser().appraise(inputs(*rows, marks=marks(BTC_USDT="100")))
    assert (kpis.exposure_long, kpis.exposure_short) == (D(300), D(100))
    assert kpis.per_symbol[BTC]["exposure_nav_pct"] == D("0.1")


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["long", "short"]),
            st.decimals("0.001", "100", places=3),
            st.decimals("1", "1000", places=2),
        ),
        min_size=1,
        max_size=8,
    ),
    st.decimals("1", "1000", places=2),
)
def test_nav_is_exactly_the_sum_of_its_parts(legs, price):
    rows = [
        position(f"p{number}", side=side, quantity=str(quantity), price=str(entry))
        for number, (side, quantity, entry) in enumerate(legs)
    ]
    kpis = Appraiser().appraise(inputs(*rows, marks=marks(BTC_USDT=str(price))))
    gains = sum(
        ((price - entry) * quantity * (1 if side == "long" else -1) for side, quantity, entry in legs),
        Decimal(0),
    )
    assert kpis.nav == D(1000) + gains


def test_a_bad_print_moves_nothing_until_it_is_confirmed():
    known = Marks(D(20))
    assert known.take(tick(bid="100", ask="102"), T0)
    assert known.by_symbol[BTC].price == D(101)
    assert not known.take(tick(bid="1000", at=T0 + 1), T0 + 1)
    assert not known.take(tick(bid="0", at=T0 + 2), T0 + 2)
    assert not known.take(tick(bid="100", at=T0 - 1), T0 + 3)
    assert known.by_symbol[BTC] == Mark(D(101), T0)


def history(navs, run="r", start=0):
    kept = NavHistory()
    for number, nav in enumerate(navs):
        kept.note(run, start + number * BUCKET_MS, D(nav))
    return kept


def test_a_return_is_from_one_five_minutes_close_to_the_next():
    kept = history([])
    for at, nav in [
        (0, 100),
        (BUCKET_MS - 1, 110),
        (BUCKET_MS, 115),
        (BUCKET_MS + 1, 121),
        (2 * BUCKET_MS, 1),
    ]:
        kept.note("r", at, D(nav))
    assert list(kept.returns) == [D("0.1")]


def test_gaps_new_runs_and_older_times_give_no_return():
    kept = history([100, 110, 121])
    assert list(kept.returns) == [D("0.1")]
    kept.note("r", 9 * BUCKET_MS, D(500))
    kept.note("r", 3 * BUCKET_MS, D(1))
    kept.note("s", 0, D(900))
    kept.note("s", BUCKET_MS, D(990))
    assert list(kept.returns) == [D("0.1"), D("0.1")]
    kept.note("s", 2 * BUCKET_MS, D(990))
    assert list(kept.returns) == [D("0.1"), D("0.1"), D("0.1")]


def test_the_history_is_bounded(monkeypatch):
    monkeypatch.setattr(kpi, "KEEP_RETURNS", 5)
    assert len(history(range(1, 100)).returns) == 5


def test_risk_is_unknown_with_fewer_than_a_hundred_returns():
    assert value_at_risk([D("-0.01")] * 99) is None
    assert value_at_risk([D("-0.01")] * 100) is not None
    assert history([100] * 50).risk == (None, None)


def test_value_at_risk_by_hand():
    returns = [D("-0.05"), D("-0.04"), D("-0.03"), D("-0.02"), D("-0.01"), *[D("0.001")] * 95]
    root = Decimal(288).sqrt()
    var, cvar = value_at_risk(reversed(returns))
    assert var == (D("0.01") * root).quantize(D("1e-10"))
    assert cvar == (D("0.03") * root).quantize(D("1e-10"))


def test_a_book_that_only_won_has_no_value_at_risk():
    assert value_at_risk([D("0.01")] * 200) == (D(0), D(0))


def trade(number, pnl, settle="USDT"):
    return Trade(
        id=f"t{number}", at=T0, position_id=f"p{number}", account="main", exchange="paper", symbol=BTC, side=PositionSide.LONG, kind=Kind.LINEAR,
        contract_size=D(1), settle=settle, quantity=D(1), entry_price=D(1), exit_price=D(1), opened_at=T0, closed_at=T0, realized_pnl=D(pnl),
        exit_reason=ExitReason.CLOSE, take_profit=None, stop_loss=D(1),
    )  # fmt: skip


def test_quality_of_trades():
    quality = kpi.trade_quality([trade(1, "30"), trade(2, "-10"), trade(3, "-5")], Rates({}, "USDT"))
    assert quality == {"profit_factor": D(2), "expectancy": D(5), "quality_trades": 3}


@pytest.mark.parametrize("trades", [[], [trade(1, "3")], [trade(1, "3", "DOGE"), trade(2, "-1")]])
def test_quality_is_none_where_it_cannot_be_told(trades):
    assert kpi.trade_quality(trades, Rates({}, "USDT"))["profit_factor"] is None


def test_the_document_has_the_contracts_keys():
    kpis = Appraiser().appraise(
        inputs(position(), marks=marks(BTC_USDT="110"), totals=[total("0", trades=4, wins=3)])
    )
    body = kpi.document(kpis, NavHistory(), {}, "USDT")
    assert {"nav", "dd_pct", "var_nav_pct", "cvar_nav_pct", "nav_stale"} <= set(body["portfolio"])
    assert body["portfolio"]["win_rate"] == D("0.75")
    assert {"pnl", "pnl_pct", "exposure_nav_pct"} <= set(body["per_symbol"][BTC])
