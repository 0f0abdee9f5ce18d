"""The market's clock, and prices that fire nothing."""

from decimal import Decimal as D  # noqa: N817

import pytest

from holdfast.domain.market import FUTURE_MS, Markets
from tests.unit._exits import SYMBOL, T0, tick


def markets() -> Markets:
    return Markets(D(20))


def test_the_first_quote_counts_and_a_replay_clock_stands_still_without_ticks() -> None:
    """There is nothing to compare the first quote with; and only ticks move a replay."""
    market = markets()
    assert market.now(SYMBOL, 0) is None
    assert market.quote(SYMBOL) is None
    quote = market.on_tick(tick(99, 101), T0, 0)
    assert (quote or ())[:3] == (D(99), D(101), T0 + 1000)
    assert market.now(SYMBOL, 3_600_000) == T0 + 1000
    assert market.age_ms(SYMBOL, 3_600_000) == 3_600_000


def test_a_live_clock_goes_on_with_time_and_never_goes_back() -> None:
    """It goes on when ticks stop; a tick that comes with an earlier time than that does not set it back."""
    market = markets()
    market.on_tick(tick(100, at=T0, live=True), T0, 1_000)
    assert market.now(SYMBOL, 61_000) == T0 + 60_000
    assert market.on_tick(tick(100, at=T0 + 59_000, live=True), T0 + 60_000, 61_000) is not None
    assert market.now(SYMBOL, 61_000) == T0 + 60_000
    assert market.now(SYMBOL, 62_000) == T0 + 61_000


def test_an_older_tick_of_the_run_is_ignored_and_a_new_run_starts_anew() -> None:
    """Within a run time never runs back; another run may be at any time."""
    market = markets()
    market.on_tick(tick(100, at=T0 + 10), T0, 0)
    assert market.on_tick(tick(101, at=T0 + 9), T0, 0) is None
    assert market.on_tick(tick(102, at=T0 + 10), T0, 0) is not None, "of the same millisecond, but later"
    assert market.on_tick(tick(103, at=T0 - 5, run="r2"), T0, 0) is not None
    assert market.now(SYMBOL, 0) == T0 - 5
    assert (market.quote(SYMBOL) or ())[:3] == (D(103), D(103), T0 - 5)


def test_symbols_of_one_feed_share_its_clock() -> None:
    """Market time is the feed's, so a symbol that is quiet grows older with the others."""
    market = markets()
    market.on_tick(tick(100, at=T0), T0, 0)
    market.on_tick(tick(50, at=T0 + 500, symbol="ETH/USDT"), T0, 0)
    assert market.now(SYMBOL, 0) == T0 + 500
    assert market.on_tick(tick(101, at=T0 + 400), T0, 0) is not None, "newer than the last of its own symbol"
    assert market.now(SYMBOL, 0) == T0 + 500


@pytest.mark.parametrize(("bid", "ask"), [(0, 100), (-1, 100), (100, -1), (0, 0), (101, 100)])
def test_a_quote_that_cannot_be_true_never_counts(bid: int, ask: int) -> None:
    """Not positive, or crossed: not even if it comes twice."""
    market = markets()
    market.on_tick(tick(100), T0, 0)
    for _ in range(3):
        assert market.on_tick(tick(bid, ask), T0, 0) is None
    assert (market.quote(SYMBOL) or ())[:3] == (D(100), D(100), T0 + 1000)
    assert market.bad_prints == 3


def test_a_live_tick_from_the_future_does_not_blind_the_feed() -> None:
    """Its time would make every later tick an old one."""
    market = markets()
    market.on_tick(tick(100, at=T0, live=True), T0, 0)
    assert market.on_tick(tick(100, at=T0 + FUTURE_MS + 1, live=True), T0, 0) is None
    assert market.on_tick(tick(100, at=T0 + 5, live=True), T0, 0) is not None


@pytest.mark.parametrize("jump", ["79.99", "120.01"])
def test_a_jump_counts_once_a_second_tick_near_it_says_the_same(jump: str) -> None:
    market = markets()
    market.on_tick(tick(100), T0, 0)
    first = tick(jump)
    assert market.on_tick(first, T0, 0) is None
    assert market.on_tick(first, T0, 0) is None, "the same message again confirms nothing"
    assert (market.quote(SYMBOL) or ())[:3] == (D(100), D(100), T0 + 1000)
    confirmed = tick(D(jump) * D("1.01"), at=T0 + 1001)
    assert (market.on_tick(confirmed, T0, 0) or ())[:3] == (confirmed.bid, confirmed.ask, T0 + 1001)


def test_a_jump_that_nothing_confirms_is_forgotten() -> None:
    """A good tick drops it; so a later one alone does not count either. Another jump elsewhere does not confirm it."""
    market = markets()
    market.on_tick(tick(100), T0, 0)
    assert market.on_tick(tick(50), T0, 0) is None
    assert market.on_tick(tick(100), T0, 0) is not None
    assert market.on_tick(tick(50), T0, 0) is None
    assert market.on_tick(tick(200), T0, 0) is None
    assert market.on_tick(tick(201), T0, 0) is not None


def test_exactly_the_limit_is_no_jump_and_either_price_alone_can_be_one() -> None:
    market = markets()
    market.on_tick(tick(100), T0, 0)
    assert market.on_tick(tick(80), T0, 0) is not None
    assert market.on_tick(tick(60, 80), T0, 0) is None, "the bid fell by a quarter while the ask stood"
    assert market.on_tick(tick(80, 97), T0, 0) is None, (
        "the ask rose by more than a fifth while the bid stood"
    )


def test_a_new_run_at_another_price_is_confirmed_by_its_second_tick() -> None:
    """Its first tick could be a bad print as well as any."""
    market = markets()
    market.on_tick(tick(100), T0, 0)
    assert market.on_tick(tick(1000, at=5, run="r2"), T0, 0) is None
    assert market.on_tick(tick(1001, at=6, run="r2"), T0, 0) is not None
    assert market.now(SYMBOL, 0) == 6
