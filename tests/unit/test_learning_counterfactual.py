"""What other thresholds would have made of a trade: the live rules' own answer, however fast it is found."""

from decimal import Decimal as D  # noqa: N817
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from holdfast.contracts.codes import ExitReason as R
from holdfast.contracts.exit_messages import Prediction
from holdfast.contracts.outcomes import MarketConditions, TradeOutcome
from holdfast.domain.exits import evaluate
from holdfast.domain.market import Quote
from holdfast.domain.trailing import advance
from learning import counterfactual
from learning.counterfactual import outcome_under
from learning.tape import tape_of
from tests.unit._exits import LONG, SHORT, T0
from tests.unit._learning import STEP, candle_point, outcome, says

# -- cases ------------------------------------------------------------------------------------------------------------


def ended(trade: TradeOutcome, values: Any = None, **more: Any) -> tuple[Any, ...]:
    """(reason, price, seconds since the opening)."""
    result = outcome_under(trade, values, **more)
    return result.reason, result.price, (result.closed_at - T0) / 1000


def test_the_thresholds_of_the_trade_give_what_happened():
    trade = outcome([100, 104, 95, 89, 130])
    assert ended(trade) == (R.STOP_LOSS, D(89), 3.0)


@pytest.mark.parametrize(
    ("values", "answer"),
    [
        ({"stop_loss_pct": D(4)}, (R.STOP_LOSS, D(95), 2.0)),
        ({"stop_loss_pct": D(20)}, (R.TAKE_PROFIT, D(130), 4.0)),
        ({"take_profit_pct": D(3)}, (R.TAKE_PROFIT, D(104), 1.0)),
        ({"take_profit_pct": D(3), "stop_loss_pct": D(1)}, (R.TAKE_PROFIT, D(104), 1.0)),
        ({"trail_distance_pct": D(1)}, (R.STOP_LOSS, D(89), 3.0)),  # off in the trade: it stays off
    ],
)
def test_other_thresholds_end_it_elsewhere(values, answer):
    assert ended(outcome([100, 104, 95, 89, 130]), values) == answer


def test_a_threshold_that_the_intent_named_stays():
    trade = outcome([100, 104, 95, 89], named=["stop_loss_pct"])
    assert ended(trade, {"stop_loss_pct": D(4)}) == (R.STOP_LOSS, D(89), 3.0)


def test_profit_is_net_of_both_fees():
    free, dear = outcome([100, 120]), outcome([100, 120], row={"terms": "fee_pct=0.1"})
    assert outcome_under(free).profit_ratio == pytest.approx(0.2)
    assert outcome_under(dear).profit_ratio == pytest.approx(0.2 - 0.001 - 0.0012)


def test_slippage_makes_every_exit_worse():
    for side, price in ((LONG, 120), (SHORT, 80)):
        result = outcome_under(outcome([100, price], side=side), slippage_pct=D("0.5"))
        assert result.price == D(price) * (D("0.995") if side is LONG else D("1.005"))


def test_within_a_stretch_the_worst_price_comes_first():
    both = outcome(points=[candle_point(T0, 100, 89, 121, 100)])
    assert ended(both) == (R.STOP_LOSS, D(90), 0.0)
    assert ended(both, {"stop_loss_pct": D(15)}) == (R.TAKE_PROFIT, D(120), 0.0)
    short = outcome(points=[candle_point(T0, 100, 79, 111, 100)], side=SHORT)
    assert ended(short) == (R.STOP_LOSS, D(110), 0.0)


def test_a_stretch_that_begins_beyond_a_level_gets_the_price_it_begins_at():
    trade = outcome(points=[candle_point(T0, 100, 99, 101, 100), candle_point(T0 + 60_000, 85, 84, 99, 98)])
    assert ended(trade) == (R.STOP_LOSS, D(85), 60.0)


def test_the_nearest_level_on_the_way_comes_first():
    terms = {"terms": "emergency_loss_pct=5 extraordinary_profit_pct=7"}
    down = outcome(points=[candle_point(T0, 100, 80, 100, 85)], row=terms)
    assert ended(down) == (R.EMERGENCY_LOSS, D(95), 0.0)
    up = outcome(points=[candle_point(T0, 100, 100, 150, 140)], row=terms)
    assert ended(up) == (R.EXTRAORDINARY_PROFIT, D(107), 0.0)


def test_a_trail_that_a_stretch_has_raised_is_filled_at_its_last_price_and_later_at_the_level():
    """Right below the top would be what no market pays: nobody knows how often the price turned round on its way there."""
    row = {"terms": "trailing.distance_pct=2"}
    within = outcome(points=[candle_point(T0, 100, 99, 110, 101)], row=row)
    assert ended(within) == (R.TRAILING_STOP, D(101), 0.0)
    later = [candle_point(T0, 100, 99, 110, 109), candle_point(T0 + 60_000, 109, 104, 109, 105)]
    assert ended(outcome(points=later, row=row)) == (R.TRAILING_STOP, D("107.8"), 60.0)


ONLY_THEN = "trailing.activation_pct=0.2 trailing.only_after_activation=on"


def test_a_close_trail_earns_nothing_on_a_fair_game():
    """Stretches of a random walk: a trail much closer than a stretch is wide must not make money."""
    rng = np.random.default_rng(11)
    profits = []
    for number in range(600):
        walk = 100 + np.cumsum(rng.standard_normal(20 * 30) * 0.1).reshape(20, 30)
        points = [
            candle_point(
                T0 + n * 60_000, *(round(float(v), 4) for v in (leg[0], leg.min(), leg.max(), leg[-1]))
            )
            for n, leg in enumerate(walk)
        ]
        row = {"terms": f"trailing.distance_pct=0.2 {ONLY_THEN}", "entry_price": points[0].first}
        profits.append(outcome_under(outcome(points=points, name=f"p{number}", row=row)).profit_ratio)
    mean, error = np.mean(profits), np.std(profits) / np.sqrt(len(profits))
    assert abs(mean) < 2 * error
    assert error < 0.001


def test_what_a_person_commanded_ends_the_trade_on_any_thresholds():
    trade = outcome([100, 101, 102], exit_reason=R.CLOSE, exit_price=D("101.5"), closed_at=T0 + 1500)
    assert ended(trade, {"stop_loss_pct": D(15)}) == (R.CLOSE, D("101.5"), 1.5)
    assert not outcome_under(trade).censored
    assert ended(trade, {"take_profit_pct": D(1)}) == (R.TAKE_PROFIT, D(101), 1.0)


def test_a_path_that_ends_first_is_closed_at_its_last_price_and_says_so():
    result = outcome_under(outcome([100, 101, 102]))
    assert (result.reason, result.price, result.censored) == (R.FORCE_EXIT, D(102), True)
    unknown = outcome_under(outcome([]))
    assert (unknown.price, unknown.censored) == (D(100), True)


def test_a_ladder_is_closed_in_its_parts():
    row = {
        "take_profit_spec": "5%:0.5,10%:0.25",
        "take_profit": D(105),
        "terms": "fee_pct=0",
        "expires_at": T0 + 10_000,
    }
    jumps = outcome([100, 106, 103, 111, 100, 89], row=row)
    assert outcome_under(jumps).profit_ratio == pytest.approx(0.5 * 0.06 + 0.25 * 0.11 - 0.25 * 0.11)
    moves = outcome(
        points=[candle_point(T0, 100, 100, 111, 100), candle_point(T0 + 1, 89, 89, 89, 89)], row=row
    )
    assert outcome_under(moves).profit_ratio == pytest.approx(0.5 * 0.05 + 0.25 * 0.1 - 0.25 * 0.11)


def test_a_deadline_ends_it_where_the_price_then_is():
    trade = outcome([100, 101, 102, 103], row={"expires_at": T0 + 2500})
    assert ended(trade) == (R.TTL, D(103), 3.0)
    assert ended(trade, {"max_hold_s": D(1)}) == (R.TTL, D(101), 1.0)


def test_a_soft_close_waits_for_its_vetoes():
    row = {"terms": "signal=on min_loss_pct=2 min_hold_s=2"}
    trade = outcome([100, 99, 98.5, 97.5, 100], row=row, signal_at=T0 + 500, exit_reason=R.SIGNAL)
    assert ended(trade) == (R.SIGNAL, D("97.5"), 3.0)
    assert ended(trade, {"min_loss_pct": D(1)}) == (R.SIGNAL, D("98.5"), 2.0)
    assert ended(trade, {"min_hold_s": D(1), "min_loss_pct": D("0.5")}) == (R.SIGNAL, D(99), 1.0)


def test_predictions_count_while_they_last():
    row = {"terms": "reversal_confidence=0.6"}
    trade = outcome([100] * 10, row=row, predictions=[says(T0 + 1500, T0 + 5000, "short", "0.7")])
    assert ended(trade) == (R.REVERSAL, D(100), 1.5)
    assert outcome_under(trade, {"reversal_confidence": D("0.8")}).censored
    held = outcome(
        [100, 97, 97, 97, 97],
        row={"terms": "signal=on ai_hold_confidence=0.7"},
        signal_at=T0,
        exit_reason=R.SIGNAL,
        predictions=[says(T0 - 10, T0 + 2500, "long", "0.9")],
    )
    assert ended(held) == (R.SIGNAL, D(97), 2.5)
    assert ended(held, {"ai_hold_confidence": D("0.95")}) == (R.SIGNAL, D(100), 0.0)


def test_a_trail_in_atr_counts_in_the_atr_of_the_entry():
    row = {"terms": "trailing.distance_atr=2"}
    trade = outcome([100, 105, 102.9], row=row, at_entry=MarketConditions(atr=D(1)))
    assert ended(trade) == (R.TRAILING_STOP, D("102.9"), 2.0)


# -- properties -------------------------------------------------------------------------------------------------------

PERCENT = st.integers(1, 60).map(lambda tenths: D(tenths) / 10)


@st.composite
def trades(draw: st.DrawFn, *, stretches: bool = False) -> TradeOutcome:
    """Any trade: prices that wander and jump, any rules on, any predictions."""
    side = draw(st.sampled_from([LONG, SHORT]))
    steps = draw(st.lists(st.integers(-30, 30), min_size=1, max_size=60))
    prices, price = [D(100)], D(100)
    for step in steps:
        price = max(D(50), price + D(step) / 10)
        prices.append(price)
    at = [T0 + n * STEP for n in range(len(prices))]
    points = None
    if stretches:
        wide = st.integers(0, 25).map(lambda tenths: D(tenths) / 10)
        points = []
        for n in range(0, len(prices) - 1, 2):
            low, high = min(prices[n : n + 2]) - draw(wide), max(prices[n : n + 2]) + draw(wide)
            points.append(candle_point(at[n], prices[n], low, high, prices[n + 1]))
    terms = draw(
        st.fixed_dictionaries(
            {"fee_pct": st.just("0.1")},
            optional={
                "emergency_loss_pct": PERCENT, "extraordinary_profit_pct": PERCENT, "min_loss_pct": PERCENT,
                "min_hold_s": st.integers(1, 40), "trailing.distance_pct": PERCENT, "trailing.activation_pct": PERCENT,
                "trailing.only_after_activation": st.just("on"), "breakeven_trigger_pct": PERCENT, "signal": st.just("on"),
                "roi": st.sampled_from(["0:3", "0:4,0.5:1"]), "stagnation_after_s": st.just("30"), "stagnation_band_pct": st.just("0.5"),
                "reversal_confidence": st.just("0.6"), "ai_hold_confidence": st.just("0.7"),
            },
        )
    )  # fmt: skip
    stop, take = draw(PERCENT), draw(PERCENT)
    sign = 1 if side is LONG else -1
    ladder = draw(st.booleans())
    row: dict[str, Any] = {
        "terms": " ".join(f"{key}={value}" for key, value in terms.items()),
        "stop_loss": D(100) * (1 - sign * stop / 100), "stop_loss_spec": f"{stop}%",
        "take_profit": D(100) * (1 + sign * take / 100), "take_profit_spec": f"{take}%:0.5,{take * 2}%:0.5" if ladder else f"{take}%",
        "bought": D(2) if side is LONG else D(0), "sold": D(0) if side is LONG else D(2),
    }  # fmt: skip
    if draw(st.booleans()):
        row["expires_at"] = T0 + draw(st.integers(1, 60)) * 700
    voices = draw(
        st.lists(
            st.builds(
                lambda at, last, direction, confidence, model: says(
                    T0 + at * 300, T0 + (at + last) * 300, direction, D(confidence) / 10, model
                ),
                st.integers(0, 150), st.integers(1, 60), st.sampled_from(["long", "short", "hold"]), st.integers(1, 10), st.sampled_from("ab"),
            ),
            max_size=3,
        )
    )  # fmt: skip
    signal_at = draw(st.none() | st.integers(0, 60).map(lambda n: T0 + n * 900))
    return outcome(prices, side=side, row=row, points=points, predictions=voices, signal_at=signal_at)


VALUES = st.fixed_dictionaries(
    {},
    optional=dict.fromkeys(
        (
            "stop_loss_pct",
            "take_profit_pct",
            "trail_distance_pct",
            "trail_activation_pct",
            "emergency_loss_pct",
            "breakeven_trigger_pct",
            "min_loss_pct",
        ),
        PERCENT,
    ),
)


def counting(trade: TradeOutcome, now: int) -> tuple[Prediction, ...]:
    """By the definition: of each model the latest word, while it has not expired."""
    words: dict[str, Prediction] = {}
    for one in sorted(trade.predictions, key=lambda one: one.at):
        if one.at <= now:
            words[one.model] = Prediction(
                id="x", at=one.at, symbol=trade.row.symbol, direction=one.direction, confidence=one.confidence,
                model=one.model, expires_at=one.expires_at,
            )  # fmt: skip
    return tuple(one for one in words.values() if one.expires_at > now)


def asked_at_every_price(trade: TradeOutcome) -> tuple[Any, ...] | None:
    """The live rules at every price and at every moment at which a prediction or a signal changes."""
    row, price = trade.row, None
    moments = {point.at: point.first for point in trade.path}
    changes = {trade.signal_at} - {None}
    changes |= {at for one in trade.predictions for at in (one.at, one.expires_at)}
    for at in sorted({*moments, *(at for at in changes if T0 <= at <= trade.through)}):
        price = moments.get(at, price)
        row = advance(row, price, at)
        if trade.signal_at is not None and at >= trade.signal_at:
            row = row.evolve(signal_at=trade.signal_at)
        decision = evaluate(row, Quote(price, price, at), at, counting(trade, at))
        if decision.fire is not None and decision.quantity is None:
            return decision.fire, price, at
        if decision.fire is not None:
            return None  # rungs have a test of their own
    return R.FORCE_EXIT, price, trade.path[-1].at


@given(trades())
@settings(max_examples=150, deadline=None)
def test_on_a_fine_path_the_answer_is_that_of_the_live_rules_at_every_price(trade):
    expected = asked_at_every_price(trade)
    result = outcome_under(trade)
    if expected is not None:
        assert (result.reason, result.price, result.closed_at) == expected


class Everywhere(counterfactual._Walk):
    """The same walk, without leaving anything out."""

    def _skip(self, index: int) -> int:
        return index + 1


@given(trades(stretches=True), VALUES)
@settings(max_examples=150, deadline=None)
@example(outcome([100, 101, 103, 102, 104, 101.5], row={"terms": "trailing.distance_pct=2"}), {})
def test_prices_that_are_not_asked_about_would_have_changed_nothing(trade, values):
    row = counterfactual.in_row(trade.row, values)
    assert outcome_under(trade, values) == Everywhere(tape_of(trade), row, D(0)).result()
