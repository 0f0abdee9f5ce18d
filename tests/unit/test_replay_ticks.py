"""`--ticks`: nothing assumed. An order fills at the first tick after it arrived, exits are judged at every tick."""

from decimal import Decimal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.unit._replay import BTC, ETH, T0, run_files, write_signals

D = Decimal

SECOND = 1000


def write_quotes(path, quotes, step=SECOND):
    """Each (bid, ask), a second apart."""
    lines = [f"{T0 + n * step},{bid},{ask}" for n, (bid, ask) in enumerate(quotes)]
    path.write_text("\n".join(["ts_ms,bid,ask", *lines]) + "\n")
    return path


def run(folder, quotes, signals, **more):
    file = write_quotes(folder / "quotes.csv", quotes)
    signals = [(T0 + round(second * SECOND), *rest) for second, *rest in signals]
    return run_files(
        [file], write_signals(folder / "signals.csv", signals), candles=False, names=[BTC], **more
    )


def told(outcome):
    return [
        (one.side, (one.opened_ms - T0) / SECOND, (one.closed_ms - T0) / SECOND, one.entry_price, one.exit_price, one.exit_reason)
        for one in outcome.trades
    ]  # fmt: skip


def test_a_signal_fills_at_the_ask_of_the_next_tick_and_leaves_at_a_bid(tmp_path):
    quotes = [(99, 100), (101, 102), (103, 104), (105, 106)]
    assert told(run(tmp_path, quotes, [(0.5, "enter_long"), (1.5, "exit_long")])) == [
        ("long", 1, 2, 102, 103, "close")
    ]


def test_a_signal_at_the_very_time_of_a_tick_comes_after_it(tmp_path):
    quotes = [(99, 100), (101, 102), (103, 104), (103, 104)]
    (trade,) = run(tmp_path, quotes, [(1, "enter_long")]).trades
    assert trade.entry_price == 104


def test_a_stop_fires_at_one_tick_and_fills_at_the_next(tmp_path):
    quotes = [(100, 100), (100, 100), (95, 95), (93, 94), (93, 94)]
    outcome = run(tmp_path, quotes, [(0, "enter_long")], exits={"stop_loss_pct": "5"})
    assert told(outcome) == [("long", 1, 3, 100, 93, "stop_loss")]


def test_a_short_is_closed_at_the_ask(tmp_path):
    quotes = [(100, 100), (100, 100), (94, 95), (94, 96)]
    outcome = run(tmp_path, quotes, [(0, "enter_short")], exits={"take_profit_pct": "5"})
    assert told(outcome) == [("short", 1, 3, 100, 96, "take_profit")]


def test_a_longest_hold_counts_market_time(tmp_path):
    quotes = [(100, 100)] * 5
    outcome = run(tmp_path, quotes, [(0, "enter_long")], exits={"max_hold_s": "2"})
    assert told(outcome) == [("long", 1, 4, 100, 100, "ttl")]


def test_what_is_open_at_the_end_closes_at_the_last_tick_and_an_entry_without_one_is_not_made(tmp_path):
    quotes = [(100, 100), (100, 100), (102, 103)]
    outcome = run(tmp_path, quotes, [(0, "enter_long"), (2, "enter_long")])
    assert told(outcome) == [("long", 1, 2, 100, 102, "force_exit")]
    assert [why for _, why in outcome.ignored] == ["no tick follows it"]
    assert outcome.trades[0].quantity == 1


def test_an_entry_behind_an_unfilled_exit_is_refused_as_it_would_be_live(tmp_path):
    quotes = [(100, 100)] * 5
    outcome = run(tmp_path, quotes, [(0, "enter_long"), (1.5, "exit_long"), (1.5, "enter_short")])
    assert told(outcome) == [("long", 1, 2, 100, 100, "close")]
    assert sum(outcome.refused.values()) == 1


def test_a_bad_print_fires_nothing(tmp_path):
    quotes = [(100, 100), (100, 100), (50, 50), (101, 101), (102, 102)]
    outcome = run(tmp_path, quotes, [(0, "enter_long")], exits={"stop_loss_pct": "5"})
    assert told(outcome) == [("long", 1, 4, 100, 102, "force_exit")]


def test_a_tick_without_a_price_sizes_nothing_and_closes_nothing(tmp_path):
    quotes = [(100, 100), (0, 0), (100, 100), (101, 101), (0, 0)]
    outcome = run(tmp_path, quotes, [(1, "enter_long")])
    assert told(outcome) == [("long", 2, 4, 100, 101, "force_exit")]
    assert outcome.drawdown == 0


def test_several_symbols_share_one_timeline_and_one_purse(tmp_path):
    btc = write_quotes(tmp_path / "a.csv", [(100, 100)] * 4)
    eth = write_quotes(tmp_path / "b.csv", [(10, 10)] * 4)
    signals = tmp_path / "signals.csv"
    signals.write_text(
        f"ts_ms,symbol,action,quantity\n{T0 + 500},{BTC},enter_long,1\n{T0 + 1500},{ETH},enter_short,10\n"
    )
    outcome = run_files([btc, eth], signals, candles=False, names=[BTC, ETH])
    assert {(one.symbol, one.side, one.quantity) for one in outcome.trades} == {
        (BTC, "long", 1),
        (ETH, "short", 10),
    }
    poor = run_files([btc, eth], signals, candles=False, names=[BTC, ETH], capital=D(150))
    assert [one.symbol for one in poor.trades] == [BTC]
    assert poor.refused == {"insufficient_funds": 1}


PRICES = st.lists(st.integers(90, 110), min_size=6, max_size=14)
ACTIONS = st.lists(
    st.sampled_from(["enter_long", "enter_short", "exit_long", "exit_short"]), min_size=1, max_size=8
)
QUICK = settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.too_slow])
EXITS = {"stop_loss_pct": "4", "take_profit_pct": "6"}


@QUICK
@given(PRICES, ACTIONS)
def test_whatever_is_entered_leaves_and_money_adds_up(tmp_path_factory, prices, actions):
    """Quantity is conserved: nothing stays open, and profit is what fills at these prices make."""
    folder = tmp_path_factory.mktemp("conserved")
    signals = [(n + 0.5, action, "2") for n, action in enumerate(actions)]
    outcome = run(folder, [(price, price) for price in prices], signals, exits=EXITS, fee_pct=D("0.1"))
    for trade in outcome.trades:
        direction = 1 if trade.side == "long" else -1
        gross = direction * (trade.exit_price - trade.entry_price) * trade.quantity
        assert trade.profit == pytest.approx(gross - trade.fees, abs=D("1e-12"))
        assert trade.quantity % 2 == 0
    assert outcome.value() == pytest.approx(100_000 + float(sum(one.profit for one in outcome.trades)))


@QUICK
@given(PRICES, ACTIONS)
def test_the_mirror_image_makes_the_mirrored_trades(tmp_path_factory, prices, actions):
    """Absolute levels: with prices mirrored, the other side makes the same profit."""
    swapped = {
        "enter_long": "enter_short",
        "enter_short": "enter_long",
        "exit_long": "exit_short",
        "exit_short": "exit_long",
    }
    signals = [(n + 0.5, action, "2") for n, action in enumerate(actions)]
    other = [(at, swapped[action], quantity) for at, action, quantity in signals]
    one = run(tmp_path_factory.mktemp("m"), [(p, p) for p in prices], signals)
    two = run(tmp_path_factory.mktemp("m"), [(200 - p, 200 - p) for p in prices], other)
    assert [(t.opened_ms, t.closed_ms, t.profit, t.exit_reason) for t in one.trades] == [
        (t.opened_ms, t.closed_ms, t.profit, t.exit_reason) for t in two.trades
    ]


@QUICK
@given(PRICES, ACTIONS)
def test_the_same_tape_makes_the_same_trades(tmp_path_factory, prices, actions):
    folder = tmp_path_factory.mktemp("twice")
    signals = [(n + 0.5, action) for n, action in enumerate(actions)]
    once, twice = (run(folder, [(p, p) for p in prices], signals, exits=EXITS) for _ in range(2))
    assert once.trades == twice.trades
    assert once.equity.points == twice.equity.points
