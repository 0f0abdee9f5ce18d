"""Some of the seeded histories, and proof that they would notice: with a wrong reading of answers they report what it costs."""

import pytest

from holdfast.contracts.codes import Code
from holdfast.venues import ccxt_venue
from holdfast.venues.outcomes import Verdict
from holdfast.venues.port import OutcomeKind
from tests.venue._runs import PATIENCE_MS, STEPS, History, Tally, several
from tests.venue._world import bench, started

SEEDS = 12


@pytest.mark.parametrize("first", range(0, 24, SEEDS))
async def test_nothing_is_ordered_twice_and_nothing_is_lost(first):
    tally = Tally()
    await several(range(first, first + SEEDS), STEPS, tally.take)
    assert (tally.runs, tally.doubled, tally.lost, tally.bad) == (SEEDS, 0, 0, 0), tally.text()
    assert tally.orders > SEEDS
    assert len(tally.faults) > 15


@pytest.mark.parametrize("first", [0])
async def test_with_stops_at_the_venue_every_position_ends_with_one_and_none_ever_had_three(first):
    tally = Tally()
    await several(range(first, first + SEEDS), STEPS, tally.take, stops=True)
    assert (tally.runs, tally.doubled, tally.lost, tally.bad) == (SEEDS, 0, 0, 0), tally.text()
    assert tally.faults["POST no_answer"] + tally.faults["DELETE reset"] > 0


@pytest.mark.parametrize("wire", ["binance", "kraken"])
async def test_on_spot_nothing_is_sold_that_is_not_ours_either(wire):
    tally = Tally()
    await several(range(SEEDS), STEPS, tally.take, wire)
    assert (tally.runs, tally.doubled, tally.lost, tally.bad) == (SEEDS, 0, 0, 0), tally.text()
    assert tally.orders > SEEDS


@pytest.mark.parametrize("wire", ["binance", "kraken"])
async def test_on_spot_stops_stand_alone_and_nothing_of_ours_could_ever_sell_what_is_not(wire):
    tally = Tally()
    await several(range(6), 40, tally.take, wire, stops=True)
    assert (tally.runs, tally.doubled, tally.lost, tally.bad) == (6, 0, 0, 0), tally.text()
    assert tally.orders > 20


@pytest.mark.parametrize(
    ("wire", "seeds"), [("binanceusdm", (5062, 5246, 5449)), ("binance", (187,)), ("kraken", (29, 82, 97))]
)
async def test_histories_that_once_ended_badly_end_well(wire, seeds):
    """5062, 5246, 5449: a reduce-only exit that the exchange had cut to what was held, and called filled, was waited for for ever.
    187, 29, 82, 97: a purchase that was told after the sale that followed it made the ledger differ from the sum of the trades.
    """
    tally = Tally()
    await several(seeds, STEPS, tally.take, wire)
    assert tally.bad == 0, tally.text()


async def test_a_history_with_stops_on_spot_that_once_ended_badly_ends_well():
    """A look-up whose trades could not be read, and that nobody had reason to repeat, kept entries out for up to a minute."""
    tally = Tally()
    await several([50009], 50, tally.take, "kraken", stops=True)
    assert tally.bad == 0, tally.text()


@pytest.mark.parametrize("naive", ["every error is a refusal", "every error is a refusal, and is sent again"])
async def test_reading_an_exception_as_a_refusal_is_noticed(monkeypatch, naive):
    """What the manual of the library suggests: ExchangeError means that the same input gives the same error."""
    monkeypatch.setattr(
        ccxt_venue,
        "verdict",
        lambda exchange, error, attempt: Verdict(OutcomeKind.REJECTED, "naive", Code.VENUE_REJECTED),
    )
    if naive.endswith("again"):
        create = ccxt_venue.CcxtVenue._create

        async def twice(self, row, attempt, deadline):
            outcome = await create(self, row, attempt, deadline)
            return (
                outcome
                if outcome.kind is OutcomeKind.ACCEPTED
                else await create(self, row, attempt, deadline)
            )

        monkeypatch.setattr(ccxt_venue.CcxtVenue, "_create", twice)
    tally = Tally()
    async with bench(PATIENCE_MS) as tools:
        for seed in range(40):
            tally.take(await History(seed, await started(*tools)).run(STEPS))
            if tally.doubled if naive.endswith("again") else tally.lost:
                return
    pytest.fail(f"nothing was noticed: {tally.text()}")
