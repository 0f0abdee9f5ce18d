"""What the learner makes of a position's market: a bounded path, predictions, conditions, holes; once, and without anybody waiting."""

from collections import deque
from decimal import Decimal
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.contracts.codes import ExitReason, LearnMode, UpdateKind
from holdfast.contracts.exit_messages import Prediction
from holdfast.contracts.exit_terms import ExitTerms
from holdfast.contracts.messages import LedgerUpdated, Trade
from holdfast.contracts.outcomes import KeptOutcome
from holdfast.contracts.wire import Out
from holdfast.domain.exit_policy import ExitPolicy, PolicyTable
from holdfast.domain.learning_rules import LearningRules
from holdfast.domain.market import Markets
from services.learner.collector import GONE_MS, MOST_WATCHED, ORPHAN_MS, Collector, Limits
from services.learner.history import ASK_AGAIN_MS, MOST_TIMES, SEND_AGAIN_MS, History
from services.learner.named import named_in
from services.learner.path import Path
from services.learner.surroundings import Surroundings
from services.learner.track import MOST_BYTES, outcome_id, row_of
from tests.unit._ledger import Mem, entry, fill, rules
from tests.unit._state import BTC, T0, position, tick
from tests.unit._store import proposal

D = Decimal
MINUTE = 60_000


# -- a path ------------------------------------------------------------------------------------------------------------


@given(
    st.lists(st.tuples(st.integers(0, 5_000), st.integers(1, 1_000)), min_size=1, max_size=400),
    st.integers(2, 20),
)
def test_a_path_is_bounded_and_its_stretches_are_what_the_prices_were(moves, most):
    path, prices, at = Path(most), [], 0
    for step, price in moves:
        at += step
        path.take(at, D(price))
        prices.append((at, D(price)))
    points = path.points()

    assert 1 <= len(points) <= most
    assert points[0].at == prices[0][0]
    assert path.through == at
    edges = [*(point.at for point in points), at + 1]
    shown: list[Any] = []
    for point, end in zip(points, edges[1:], strict=True):
        inside = [price for when, price in prices if point.at <= when < end]
        shown += inside
        first_of_all = [price for when, price in prices if when == point.at]
        assert point.first in first_of_all
        assert (point.low, point.high, point.last) == (min(inside), max(inside), inside[-1])
    assert len(shown) == len(prices), "every price is in a stretch, and in one"


def test_a_price_from_before_the_last_one_is_not_taken():
    path = Path(10)
    for at, price in ((5_000, 100), (4_000, 1), (9_000, 101)):
        path.take(at, D(price))
    assert [(point.at, point.last) for point in path.points()] == [(5_000, 100), (9_000, 101)]


# -- a market ----------------------------------------------------------------------------------------------------------


def test_conditions_are_not_known_until_there_are_prices_and_then_they_are():
    around, markets = Surroundings(), Markets(D(100_000))
    assert around.now().spread_pct is None
    for minute in range(40):
        price = 100 + (minute % 2)
        around.take(
            markets.on_tick(tick(BTC, str(price), str(price + 1), at=T0 + minute * MINUTE), T0, minute)
        )
    found = around.now()
    assert found.atr == pytest.approx(D(1), abs=D("0.02"))
    assert found.spread_pct == pytest.approx(D("0.985"), abs=D("0.01"))
    assert found.volatility_pct == pytest.approx(D("0.99"), abs=D("0.02"))


# -- positions ----------------------------------------------------------------------------------------------------------


class Stage:
    """A collector, and a market that moves once a second."""

    def __init__(self, **limits: Any) -> None:
        self.collector = Collector(
            Markets(D(100_000)), Limits(**{"watch_after_ms": 10_000, **limits}), lambda _: ("guessed",)
        )
        self.now = T0

    @property
    def steady(self) -> int:
        return self.now - T0

    def price(self, *prices: object, symbol: str = BTC, spread: object = 0) -> None:
        for price in prices:
            self.now += 1000
            one = tick(symbol, str(price), str(D(str(price)) + D(str(spread))), at=self.now)
            quote = self.collector.markets.on_tick(one, self.now, self.steady)
            assert quote is not None
            self.collector.tick(symbol, quote, self.steady)

    def open(self, name: str = "p1", **given: Any) -> Any:
        row = position(name, **{"opened_at": self.now, "changed_at": self.now, "bought": D(2), **given})
        self.say(row)
        return row

    def say(self, *rows: Any, **more: Any) -> None:
        update = LedgerUpdated(
            id="u",
            at=self.now,
            seq=1,
            store_id="s",
            epoch=1,
            kind=UpdateKind.FILLED,
            positions=list(rows),
            **more,
        )
        self.collector.update(update, self.steady)

    def trade(self, row: Any, **given: Any) -> Trade:
        values = {
            "id": f"t-{row.position_id}", "at": self.now, "position_id": row.position_id, "account": "main", "exchange": "paper",
            "symbol": row.symbol, "side": row.side, "kind": row.kind, "contract_size": "1", "settle": "USDT", "quantity": "2",
            "entry_price": row.entry_price, "exit_price": "101", "opened_at": row.opened_at, "closed_at": self.now,
            "realized_pnl": "2", "exit_reason": ExitReason.TAKE_PROFIT, "stop_loss": row.stop_loss, "trigger_level": "101",
        }  # fmt: skip
        made = Trade(**(values | given))
        self.collector.trade(made, self.steady)
        return made

    def done(self) -> list[Any]:
        return list(self.collector.done(self.now, self.steady))


def test_a_path_goes_from_the_entry_until_some_time_after_the_close():
    stage = Stage()
    stage.price(90, 100)
    row = stage.open()
    stage.price(101, 99, 103)
    stage.trade(row)
    stage.price(*range(200, 209))
    assert stage.done() == []
    stage.price(209)
    (outcome,) = stage.done()

    assert [point.last for point in outcome.path] == [100, 101, 99, 103, *range(200, 210)]
    assert (outcome.hole_ms, outcome.through, outcome.id) == (0, stage.now, outcome_id("p1"))
    assert (outcome.row, outcome.closed_at, outcome.trigger_level) == (row, row.opened_at + 3000, 101)
    assert stage.collector.watching == 0, "it is let go"


def test_a_short_is_watched_by_what_buying_back_would_cost():
    stage = Stage()
    stage.price(100)
    stage.open(side="short", bought=D(0), sold=D(2))
    stage.price(101, spread=2)
    (track,) = stage.collector.tracks.values()
    assert [point.last for point in track.path.points()] == [100, 103]


@pytest.mark.parametrize(
    ("expires_in", "watched"), [(5_000, 5_000), (60_000, 10_000), (-1_000, 0), (None, 10_000)]
)
def test_it_is_watched_no_longer_than_it_could_have_been_held_and_no_longer_than_the_limit(
    expires_in, watched
):
    stage = Stage()
    stage.price(100)
    row = stage.open(expires_at=None if expires_in is None else stage.now + expires_in)
    closed = stage.now
    stage.trade(row)
    while not (found := stage.done()):
        stage.price(100)
    assert found[0].through == closed + watched


def test_an_add_begins_the_path_anew_with_the_row_as_it_then_is():
    stage = Stage()
    stage.price(100)
    row = stage.open()
    stage.price(50)
    grown = row.evolve(bought=D(3), quantity=D(3), changed_at=stage.now, stop_loss=D(40), version=2)
    stage.say(grown)
    stage.price(60)
    part = grown.evolve(quantity=D(1), sold=D(2), version=3, stop_loss=D(55), signal_at=stage.now)
    stage.say(part)
    stage.trade(row)
    stage.now += 100_000
    stage.price(61)
    (outcome,) = stage.done()
    assert outcome.row == grown, "a reduction, a moved stop, change nothing of what it was entered on"
    assert [point.last for point in outcome.path] == [50, 60, 61]
    assert outcome.signal_at == part.signal_at


def test_what_the_intent_named_itself_is_said():
    mem = Mem(rules())
    mem.do(entry("i", stop_loss="3%", ttl_s="60", exits={"min_hold_s": "10"}))
    row = mem.do(fill("t", "o-i")).positions
    stage = Stage()
    stage.say(*row.values(), orders=[mem.order("i")])
    assert next(iter(stage.collector.tracks.values())).named == ("max_hold_s", "min_hold_s", "stop_loss_pct")
    stage.open("p2", intent_id="long-ago")
    assert stage.collector.tracks["p2"].named == ("guessed",), "its order is not known any more"


def test_of_an_order_that_is_not_known_any_more_what_differs_from_policy_and_version_was_named():
    policies = PolicyTable(ExitPolicy(D(10), D(20), terms=ExitTerms(min_hold_s=D(120))))
    mem = Mem(rules(policy=policies.default, learning=LearningRules(mode=LearnMode.APPLY)))
    named = partial(named_in, policies=policies, holder=mem.view, rules=mem.rules.learning)
    assert named(mem.open()) == ()
    assert named(mem.open(symbol="ETH/USDT", intent="e", exits={"min_hold_s": "60"}, ttl_s="600")) == (
        "max_hold_s",
        "min_hold_s",
    )
    mem.do(proposal(1, stop_loss_pct="9.5"))
    assert named(mem.open(symbol="SOL/USDT", intent="s")) == ()
    assert named(mem.open(symbol="XRP/USDT", intent="x", stop_loss="10%")) == ("stop_loss_pct",)


def test_after_a_start_the_path_is_taken_from_what_the_bus_keeps_and_a_hole_is_said():
    stage = Stage()
    opened = stage.now
    stage.now += 7_000
    stage.price(100, 101)
    stage.collector.rows([position(bought=D(2), opened_at=opened, changed_at=opened)], [], stage.steady)
    (track,) = stage.collector.tracks.values()
    assert [point.last for point in track.path.points()] == [100, 101]
    assert track.hole_ms == 8_000


def test_a_position_that_is_met_on_its_way_counts_as_it_was_entered():
    entered = position(
        bought=D(2), entry_value=D(200), stop_loss=D(97), stop_loss_spec="3%", take_profit=D(105), take_profit_spec="5%",
        terms="trailing.distance_pct=2", changed_at=T0, opened_at=T0,
    )  # fmt: skip
    lived = entered.evolve(
        quantity=D(1), cost=D(100), sold=D(1), exit_value=D(104), stop_loss=D(102), stop_by="trailing", trail_active=True, high_water=D(104),
        high_water_at=T0 + 9, changed_at=T0 + 9, version=4,
    )  # fmt: skip
    stage = Stage()
    stage.collector.rows([lived], [], stage.steady)
    assert stage.collector.tracks["p1"].row == entered.evolve(version=4)


def test_a_trade_that_nobody_watched_is_an_outcome_all_the_same():
    stage = Stage()
    row = position(terms="min_hold_s=60", opened_at=T0, changed_at=T0)
    thresholds = {
        "stop_loss": "3%",
        "take_profit": "5%",
        "max_hold_s": "600",
        "min_hold_s": "60",
        "learned": "4",
    }
    stage.now += 20_000
    stage.trade(row, thresholds=thresholds, closed_at=T0 + 1000)
    stage.collector.adopt_orphans(lambda _: False, stage.steady)
    assert stage.collector.watching == 0, "its position may still be heard of"
    stage.now += ORPHAN_MS
    stage.collector.adopt_orphans(lambda _: False, stage.steady)
    stage.price(100)
    (outcome,) = stage.done()
    made = outcome.row
    assert (made.stop_loss_spec, made.stop_loss, made.take_profit, made.expires_at) == (
        "3%",
        97,
        105,
        T0 + 600_000,
    )
    assert (made.terms, made.bought, made.entry_value) == ("min_hold_s=60 learned=4", 2, 200)


def test_a_trade_whose_outcome_is_known_is_let_go():
    stage = Stage()
    stage.trade(position())
    stage.collector.adopt_orphans(lambda _: True, stage.steady)
    stage.now += 10 * ORPHAN_MS
    stage.collector.adopt_orphans(lambda _: False, stage.steady)
    assert stage.collector.watching == 0


def test_a_trade_of_an_older_release_has_at_least_its_levels():
    stage = Stage()
    made = row_of(stage.trade(position(), thresholds={"stop_loss_pct": "10", "unheard_of": "1"}))
    assert made.terms == ""
    assert made.stop_loss_spec == "10%"


def test_prices_that_have_stopped_end_the_path_as_it_is():
    stage = Stage(feed_patience_ms=30_000)
    stage.price(100)
    stage.trade(stage.open())
    stage.now += 29_000
    assert stage.done() == []
    stage.now += 2_000
    (outcome,) = stage.done()
    assert [point.last for point in outcome.path] == [100]


def test_a_position_that_is_gone_without_a_word_is_let_go():
    stage = Stage()
    stage.price(100)
    stage.open()
    stage.collector.rows([], [], stage.steady)
    stage.now += GONE_MS
    assert stage.done() == []
    assert stage.collector.watching == 0


def test_more_positions_than_can_be_watched_are_not_watched():
    stage = Stage()
    for number in range(MOST_WATCHED + 5):
        stage.open(f"p{number}")
    assert stage.collector.watching == MOST_WATCHED


def test_an_outcome_is_merged_until_it_fits_into_one_entry():
    stage = Stage(path_points=600)
    stage.price(100)
    row = stage.open()
    stage.price(*(D("43123.123456789012") + n * D("0.111111111111") for n in range(599)))
    stage.trade(row)
    stage.now += 100_000
    stage.price(45000)
    (outcome,) = stage.done()
    assert len(outcome.body()) <= MOST_BYTES
    assert 150 <= len(outcome.path) <= 600
    assert outcome.path[-1].last == 45000


# -- predictions ----------------------------------------------------------------------------------------------------------


def prediction(at: int, direction: str = "long", lasts: int = 60_000, **given: Any) -> Prediction:
    values = {
        "id": f"m-{at}",
        "at": at,
        "symbol": "BTCUSDT",
        "direction": direction,
        "confidence": "0.8",
        "model": "m",
    }
    return Prediction(**(values | {"expires_at": at + lasts} | given))


def test_predictions_that_counted_while_the_path_lasted_are_kept_in_market_time():
    stage = Stage()
    stage.price(100)
    hear = stage.collector.predict
    hear(prediction(stage.now), stage.now, stage.now, stage.steady)
    row = stage.open()
    stage.price(101)
    wall = stage.now + 500_000  # a replay: its market is not where the wall clock is
    hear(prediction(wall, "short"), wall, wall, stage.steady)
    hear(prediction(wall, confidence="0.1", expires_at=wall - 1), wall, wall, stage.steady)
    stage.trade(row)
    stage.now += 100_000
    stage.price(101)
    (outcome,) = stage.done()
    said = [(one.at - row.opened_at, one.direction, one.expires_at - one.at) for one in outcome.predictions]
    assert said == [(0, "long", 60_000), (1000, "short", 60_000)], "what the exit rules refuse is not there"


# -- what the ledger keeps ------------------------------------------------------------------------------------------------


class Numbers:
    def __init__(self) -> None:
        self.given = deque(f"q{number}" for number in range(1, 100))

    def new(self) -> str:
        return self.given.popleft()


def kept(name: int, last: int, of: int, asked: str = "q1", **given: Any) -> KeptOutcome:
    stage = Stage()
    stage.price(100)
    trade = stage.trade(stage.open(f"p{name}"), closed_at=T0 + name)
    outcome = stage.collector.tracks[f"p{name}"].outcome(trade, T0)
    return KeptOutcome(
        **{
            "id": "k",
            "at": T0,
            "cause_id": asked,
            "number": name,
            "last": last,
            "of": of,
            "outcome": outcome,
            **given,
        }
    )


def test_the_history_is_asked_for_page_by_page_until_it_is_whole():
    history = History(10, Numbers())
    (asked,) = history.turn(T0, 0)
    assert (asked.message.id, asked.message.of, asked.message.skip) == ("q1", "outcomes", 0)
    assert list(history.turn(T0, 100)) == []
    for number in (1, 2):
        history.hear(kept(number, 2, 3))
    assert not history.is_loaded
    (asked,) = history.turn(T0, 200)
    assert (asked.message.id, asked.message.skip) == ("q2", 2)
    (again,) = history.turn(T0, 200 + ASK_AGAIN_MS)
    assert (again.message.id, again.message.skip) == ("q3", 2), "no answer came"
    history.hear(kept(3, 3, 3, asked="q2"))
    assert not history.is_loaded, "an answer to a question that was given up"
    history.hear(kept(3, 3, 3, asked="q3"))
    assert (history.is_loaded, sorted(history.kept)) == (True, ["p1", "p2", "p3"])
    assert list(history.turn(T0, 99_999)) == []


def test_an_empty_history_is_whole_at_once():
    history = History(10, Numbers())
    list(history.turn(T0, 0))
    history.hear(kept(1, 0, 0, number=0, outcome=None))
    assert history.is_loaded
    assert history.kept == {}


def test_what_was_published_is_published_again_until_the_ledger_tells_that_it_is_kept():
    history = History(10, Numbers())
    list(history.turn(T0, 0))
    news = kept(1, 0, 0, asked="elsewhere", number=0)
    first = history.owe(news.outcome, 0)
    assert history.is_known("p1")
    assert [out for out in history.turn(T0, SEND_AGAIN_MS) if isinstance(out, Out) and out == first] == [
        first
    ]
    history.hear(news)
    assert (history.owed, history.news) == ({}, 1)
    history.hear(news)
    assert history.news == 1, "the same again is no news"


def test_what_the_ledger_never_keeps_is_given_up():
    history = History(10, Numbers())
    list(history.turn(T0, 0))
    history.hear(kept(1, 0, 0, number=0, outcome=None))
    history.owe(kept(2, 0, 0).outcome, 0)
    sent = [out for hour in range(100) for out in history.turn(T0, hour * 3_600_000)]
    assert len(sent) == MOST_TIMES - 1
    assert not history.is_known("p2")


def test_a_trade_older_than_all_that_a_full_history_keeps_is_not_told_again():
    history = History(2, Numbers())
    trade = Stage().trade(position("old"))
    for number in (1, 2):
        assert not history.is_settled(trade)
        message = kept(number, 0, 0, number=0)
        history.hear(message.evolve(outcome=message.outcome.evolve(at=T0 + 5)))
    assert history.is_settled(trade)
    assert not history.is_settled(trade.evolve(at=T0 + 6))
    assert history.is_settled(trade.evolve(position_id="p1", at=T0 + 6))


def test_the_oldest_outcomes_leave_when_there_are_too_many():
    history = History(2, Numbers())
    for number in (2, 1, 3):
        history.hear(kept(number, 0, 0, number=0))
    assert sorted(history.kept) == ["p2", "p3"]
