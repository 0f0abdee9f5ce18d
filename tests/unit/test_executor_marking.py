"""The executor tells the ledger what its accounts are worth, where a rule needs it; entries are refused while it cannot."""

from decimal import Decimal

import pytest

from holdfast.contracts.codes import Code
from holdfast.contracts.messages import Fill
from holdfast.contracts.portfolio import NavMark
from tests.unit._executor import World

D = Decimal


async def world(**limits):
    return await World(limits=limits, executor={"max_tick_age_s": 5}).start()


@pytest.mark.parametrize(
    "limits", [{}, {"cooldown_s": "60", "loss_streak": 2, "max_total_long_notional": "1000"}]
)
async def test_nobody_is_told_where_no_rule_needs_it(limits):
    w = await world(**limits)
    await w.tick()
    await w.time(5_000)
    assert w.of(NavMark) == []


async def test_once_a_second_the_ledger_is_told():
    w = await world(max_drawdown_pct="10")
    await w.tick()
    await w.time(0)
    await w.time(200)
    assert [mark.navs for mark in w.of(NavMark)] == [{"main": 100_000}]
    await w.time(800)
    assert len(w.of(NavMark)) == 2


async def test_positions_count_at_the_middle_of_the_market():
    w = await world(max_drawdown_pct="10")
    await w.tick("99", "101")
    await w.time()
    await w.give(w.buy("2"))
    await w.settle()
    await fills(w, "101")
    await w.tick("109", "111")
    await w.time(1_000)
    (mark,) = w.of(NavMark)
    assert mark.navs == {"main": 100_000 + 2 * (110 - 101)}


async def fills(w, price):
    """The venue fills the one live order, whole."""
    row = w.order()
    w.venue.trades.append(
        Fill(
            id="f-1", at=w.clock.now, account="main", exchange="paper", symbol=row.symbol, order_id=row.order_id, trade_id="t-1", side=row.side,
            quantity=row.quantity, price=price, executed_at=w.clock.now, instrument=row.kind,
        )
    )  # fmt: skip
    w.venue.events.fills.append(w.venue.trades[-1])
    await w.tick()
    await w.settle()


async def test_without_a_fresh_price_of_what_is_held_the_account_is_missing_and_takes_no_entry():
    w = await world(max_daily_loss="10")
    await w.tick()
    await w.time()
    await w.give(w.buy("2"))
    await w.settle()
    await fills(w, "101")
    await w.pass_time(6_000)
    await w.tick(symbol="ETH/USDT")
    await w.time(1_000)
    (mark,) = w.of(NavMark)
    assert (mark.navs, mark.missing) == ({}, {"main": "the price of BTC/USDT is older than 5 s"})
    await w.settle()
    await w.give(w.buy("1", "ETH/USDT", id="late"))
    await w.settle()
    assert w.ledger.intent("late").code is Code.NAV_UNKNOWN


async def test_after_a_new_view_positions_are_counted_anew():
    w = await world(max_drawdown_pct="10")
    await w.tick()
    await w.time()
    await w.give(w.buy("2"))
    await w.settle()
    await fills(w, "101")
    await w.reset()
    await w.tick("109", "111")
    await w.time(1_000)
    assert w.of(NavMark)[-1].navs == {"main": 100_000 + 2 * (110 - 101)}


async def test_a_bad_print_marks_nothing():
    w = await world(max_drawdown_pct="10")
    await w.tick()
    await w.time()
    await w.give(w.buy("2"))
    await w.settle()
    await fills(w, "101")
    await w.tick("9900", "10100")
    await w.time(1_000)
    assert w.of(NavMark)[-1].navs == {"main": 100_000 - 2}


async def test_the_accounts_own_limit_counts_from_the_first_line_on():
    w = await World(
        limits={"max_account_notional": "1000"},
        account={"main": {"limits": {"max_account_notional": "5000"}}},
    ).start()
    await w.tick()
    await w.give(w.buy("20", id="more"))
    assert w.of(NavMark) == []
    await w.deliver()
    w = await World(account={"main": {"limits": {"max_account_notional": "50"}}}).start()
    await w.tick()
    await w.give(w.buy("1"))
    assert w.refusal().code is Code.MAX_ACCOUNT_NOTIONAL
