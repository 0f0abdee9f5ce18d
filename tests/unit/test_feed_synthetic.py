"""Synthetic prices: a seed always gives the same ones, and a restart makes no jump."""

from decimal import Decimal
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.runtime.faults import Terminal
from services.market_feed.record import Record
from services.market_feed.service import MarketFeed
from services.market_feed.spec import SyntheticSpec, parse
from services.market_feed.synthetic import SyntheticSource, first_price, step
from tests.unit._feed import Enough, FakeClock, Sink


async def play(folder, spec="synthetic", most=80, run="r1", clock=None):
    """(sink, source) of one life that ends after *most* ticks."""
    sink = Sink(clock or FakeClock(), most)
    source = SyntheticSource(parse(spec), Record(folder, "synthetic"), sink.clock, lambda: run)
    await source.open()
    with pytest.raises(Enough):
        await MarketFeed(source).pump(sink)
    return sink, source


async def test_two_symbols_four_times_a_second_in_wall_time(tmp_path):
    sink, _ = await play(tmp_path)
    assert [tick.symbol for tick in sink.ticks] == ["BTC/USDT", "ETH/USDT"] * 40
    bitcoin = sink.ticks[::2]
    assert [bitcoin[0].at + 250 * n for n in range(40)] == [tick.at for tick in bitcoin]
    assert (Decimal(42000), Decimal(2500)) == (sink.ticks[0].last, sink.ticks[1].last)
    assert all(tick.live and tick.bid < tick.last < tick.ask for tick in sink.ticks)
    assert len({tick.id for tick in sink.ticks}) == 80


async def test_a_seed_always_gives_the_same_prices(tmp_path):
    one, _ = await play(tmp_path / "1", "synthetic?seed=5")
    two, _ = await play(tmp_path / "2", "synthetic?seed=5")
    other, _ = await play(tmp_path / "3", "synthetic?seed=6")
    assert [tick.last for tick in one.ticks] == [tick.last for tick in two.ticks]
    assert [tick.last for tick in one.ticks] != [tick.last for tick in other.ticks]


async def test_a_restart_goes_on_with_the_prices_in_a_new_run(tmp_path):
    whole, _ = await play(tmp_path / "whole", most=80)
    first, source = await play(tmp_path / "parts", most=41, run="r1")
    source.published(last_batch(first))
    await source.close()
    second, _ = await play(tmp_path / "parts", most=40, run="r2")
    assert [tick.last for tick in whole.ticks[:82]][: len(first.ticks) + 38] == [
        tick.last for tick in [*first.ticks, *second.ticks]
    ][: len(first.ticks) + 38]
    assert {"r2"} == {tick.run for tick in second.ticks}


def last_batch(sink):
    from services.market_feed.source import Batch

    return Batch("r1", len(sink.ticks) - 2, sink.ticks[-2:])


async def test_a_kill_loses_at_most_a_second_of_the_walk(tmp_path):
    first, _ = await play(tmp_path, most=80)
    second, _ = await play(tmp_path, most=2, run="r2")
    assert second.ticks[0].last in [tick.last for tick in first.ticks[-12::2]]


async def test_another_specification_begins_again(tmp_path):
    _, source = await play(tmp_path, "synthetic?seed=1", most=20)
    await source.close()
    sink, _ = await play(tmp_path, "synthetic?seed=2", most=2)
    assert Decimal(42000) == sink.ticks[0].last


async def test_a_record_that_cannot_be_read_stops_it(tmp_path):
    _, source = await play(tmp_path, most=20)
    await source.close()
    path = tmp_path / "synthetic.json"
    path.write_text(path.read_text().replace('"BTC/USDT"', '"BTC"'))
    with pytest.raises(Terminal, match="remove it to begin again"):
        await play(tmp_path)


async def test_when_the_clock_stalls_steps_are_left_out_not_rushed(tmp_path):
    clock = FakeClock()
    sink = Sink(clock, 20)
    source = SyntheticSource(parse("synthetic?symbols=BTC/USDT"), Record(tmp_path, "s"), clock, lambda: "r1")

    async def publish(outputs):
        await sink(outputs)
        if len(sink.ticks) == 5:
            clock.move(10_000)

    await source.open()
    with pytest.raises(Enough):
        await MarketFeed(source).pump(publish)
    gaps = [after - before for before, after in pairwise(sink.moments)]
    assert gaps == [250] * 4 + [10_000] + [250] * 14


@settings(max_examples=200)
@given(
    st.integers(0, 10**9),
    st.integers(0, 10**6),
    st.decimals("0.01", "10", places=2),
    st.decimals("0", "50", places=1),
)
def test_prices_stay_positive_and_short(seed, number, volatility, jump):
    spec = SyntheticSpec(("BTC/USDT",), seed, volatility, jump)
    price = step(spec, "BTC/USDT", number, Decimal("42000.17"))
    assert price > 0
    assert len(price.as_tuple().digits) <= 7


def test_it_jumps_now_and_then():
    spec = SyntheticSpec(("BTC/USDT",), 1, Decimal("0.02"), Decimal(1))
    moves = [abs(step(spec, "BTC/USDT", n, Decimal(42000)) / 42000 - 1) * 100 for n in range(4000)]
    assert 2 <= sum(move > Decimal("0.8") for move in moves) <= 30
    assert Decimal(100) == first_price("NEW/USDT")
