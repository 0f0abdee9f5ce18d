"""Quotes become ticks: unique ids, valid on the wire, market time that never runs back within a run."""

from decimal import Decimal

from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.contracts.messages import Tick
from holdfast.domain.candles import Quote
from services.market_feed.service import MarketFeed
from services.market_feed.source import Batch


class Named:
    name, live = "replay", False

    def details(self):
        return {"state": "playing"}

    def warnings(self):
        return ["late"]


def quote(at):
    return Quote("BTC/USDT", at, Decimal("1.10"), Decimal("1.30"), Decimal("1.2"))


def test_a_tick_is_what_its_message_says_it_is():
    """Ticks are built unvalidated, for speed: reading one back from the wire gives the same."""
    (out,) = MarketFeed(Named()).outputs(Batch("r1", 7, [quote(1_600_000_000_000)]))
    assert out.message == Tick.parse(out.message.body())
    assert (
        out.message.id,
        out.message.feed,
        out.message.run,
        out.message.live,
    ) == ("r1:7", "replay", "r1", False)
    assert b'"bid":"1.1"' in out.message.body()


@settings(max_examples=200)
@given(
    st.lists(
        st.tuples(st.sampled_from(["r1", "r2"]), st.lists(st.integers(0, 100), min_size=1, max_size=5)),
        max_size=10,
    )
)
def test_market_time_never_runs_back_within_a_run(parts):
    """Even when a clock or a source does; a new run begins where it says."""
    feed, index, ticks = MarketFeed(Named()), 0, []
    for run, moments in sorted(parts):
        ticks += [out.message for out in feed.outputs(Batch(run, index, [quote(at) for at in moments]))]
        index += len(moments)
    for run in ("r1", "r2"):
        reached = [tick.at for tick in ticks if tick.run == run]
        assert sorted(reached) == reached
        first = [moments[0] for name, moments in sorted(parts) if name == run][:1]
        assert first == reached[:1]
    assert len(ticks) == len({tick.id for tick in ticks})


def test_the_heartbeat_says_what_is_fed():
    feed = MarketFeed(Named())
    feed.outputs(Batch("r1", 0, [quote(1)]))
    assert feed.heartbeat() == {
        "details": {"feed": "replay", "run": "r1", "ticks": "0", "state": "playing"},
        "warnings": ["late"],
    }
