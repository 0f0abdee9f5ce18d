"""Which predictions count, which are refused and why, and how good those were that counted."""

import itertools
from decimal import Decimal as D  # noqa: N817

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.contracts.exit_messages import Prediction
from holdfast.domain.model_scores import Scores
from holdfast.domain.predictions import AFTER_FILL_MS, MOST_TURNS, Predictions

T0, S = 1_700_000_000_000, "BTC/USDT"
_numbers = itertools.count(1)


def said(
    direction: str, at: int = T0, *, model: str = "m", lasts: int = 600_000, confidence: str = "0.8"
) -> Prediction:
    return Prediction(
        id=f"v{next(_numbers)}", at=at, symbol=S, direction=direction, confidence=D(confidence), model=model, expires_at=at + lasts
    )  # fmt: skip


def test_the_latest_word_of_each_model_counts_until_it_expires() -> None:
    guard = Predictions()
    first, second, other = said("long"), said("long", T0 + 5000), said("short", model="n", lasts=1000)
    assert [guard.hear(one, S, T0 + 5000 if one is second else T0) for one in (first, second, other)] == [
        None,
        None,
        None,
    ]
    assert set(guard.current(S, T0 + 999)) == {second, other}
    assert guard.current(S, T0 + 1000) == (second,)
    assert guard.current("ETH/USDT", T0) == ()
    assert list(guard.expire(T0 + 1000)) == [S]
    assert list(guard.expire(T0 + 1000)) == []


def test_an_older_word_that_comes_late_takes_nobodys_place() -> None:
    guard = Predictions()
    newer, older = said("long", T0 + 5000), said("long", T0)
    guard.hear(newer, S, T0 + 5000)
    assert guard.hear(older, S, T0 + 6000) is None
    assert guard.current(S, T0 + 6000) == (newer,)


@pytest.mark.parametrize(
    ("one", "code"),
    [
        (said("long", T0 + 60_001), "from_the_future"),
        (said("long", T0 + 60_000), None),
        (said("long", T0 - 10_000, lasts=10_000), "expired"),
        (said("long", T0 - 10_000, lasts=10_001), None),
        (said("long", T0, lasts=0), "expired"),
    ],
)
def test_a_prediction_of_another_time_is_refused(one: Prediction, code: str | None) -> None:
    guard = Predictions()
    assert guard.hear(one, S, T0) == code
    assert bool(guard.current(S, T0)) is (code is None)


def test_a_model_that_turns_round_too_often_is_not_used_until_it_has_calmed_down() -> None:
    guard = Predictions()
    words = itertools.cycle(["long", "short"])
    codes = [guard.hear(said(next(words), T0 + 2000 * n), S, T0 + 2000 * n) for n in range(8)]
    assert codes[: MOST_TURNS + 1] == [None] * (MOST_TURNS + 1)
    assert set(codes[MOST_TURNS + 1 :]) == {"flapping"}
    assert guard.current(S, T0 + 14_000) == ()
    assert guard.refused["m"]["flapping"] == 4
    assert guard.hear(said("long", T0 + 120_000), S, T0 + 120_000) is None


def test_holding_in_between_is_no_turn() -> None:
    guard = Predictions()
    words = itertools.cycle(["long", "hold"])
    assert {guard.hear(said(next(words), T0 + 2000 * n), S, T0 + 2000 * n) for n in range(12)} == {None}


def test_a_model_that_says_both_for_one_moment_is_believed_in_neither() -> None:
    guard = Predictions()
    assert guard.hear(said("long"), S, T0) is None
    assert guard.hear(said("short", T0 + 500), S, T0 + 500) == "contradicts_itself"
    assert guard.current(S, T0 + 500) == ()


def test_a_model_that_merely_follows_our_fills_is_found_out() -> None:
    """Turns that come right after a position of ours, towards it; one that turns first is believed."""
    guard, honest = Predictions(), Predictions()
    codes, others = [], []
    for n in range(10):
        side, at = ("long", "short")[n % 2], T0 + 100_000 * n
        guard.opened(S, side, at)
        codes.append(guard.hear(said(side, at + AFTER_FILL_MS), S, at + AFTER_FILL_MS))
        others.append(honest.hear(said(side, at), S, at))
        honest.opened(S, side, at + 1)
    assert codes[:5] == [None] * 5
    assert set(codes[5:]) == {"follows_our_fills"}
    assert set(others) == {None}


@given(
    words=st.lists(
        st.tuples(
            st.sampled_from(["long", "short", "hold"]),
            st.integers(-100_000, 100_000),
            st.integers(-5, 100_000),
        ),
        max_size=40,
    )
)
@settings(max_examples=100, deadline=None)
def test_what_counts_was_taken_and_has_not_expired(words: list[tuple[str, int, int]]) -> None:
    guard, wall = Predictions(), T0
    for word, off, lasts in words:
        wall += 500
        one = said(word, max(0, wall + off), lasts=max(0, lasts))
        code = guard.hear(one, S, wall)
        current = guard.current(S, wall)
        assert code is None or one not in current
        assert all(view.expires_at > wall for view in current)


# -- how good they were ---------------------------------------------------------------------------------------------


def test_hits_brier_score_and_calibration() -> None:
    """Of four that gave 0.8, three were right; of two that gave 0.6, one."""
    scores = Scores()
    scores.price(S, D(100), T0)
    plan = [
        ("long", "0.8", 101),
        ("short", "0.8", 100),
        ("hold", "0.8", "100.1"),
        ("long", "0.8", 99),
        ("short", "0.6", 98),
        ("long", "0.6", 97),
    ]
    wall = T0
    for word, confidence, then in plan:
        wall += 100_000
        assert scores.hear(said(word, wall, lasts=1000, confidence=confidence), S, wall) is None
        assert scores.pending == {"m": 1}
        scores.price(S, D(str(then)), wall + 999)
        assert scores.pending == {"m": 1}
        scores.price(S, D(str(then)), wall + 1000)
    score = scores.scores["m"]
    assert (score.judged, score.hits, score.hit_rate) == (6, 4, D("0.6667"))
    expected = (3 * D("0.04") + D("0.64") + D("0.16") + D("0.36")) / 6
    assert score.brier is not None
    assert abs(score.brier - expected) < D("0.0001")
    assert score.calibration() == [
        {"count": 2, "confidence": "0.6000", "right": "0.5000"},
        {"count": 4, "confidence": "0.8000", "right": "0.7500"},
    ]


def test_what_was_refused_or_has_no_price_is_not_judged() -> None:
    scores = Scores()
    scores.hear(said("long", T0, lasts=10), S, T0)
    scores.price(S, D(100), T0 + 20)
    scores.hear(said("long", T0 + 90_000, model="n"), S, T0)
    scores.price(S, D(200), T0 + 10**9)
    assert (scores.scores["m"].judged, scores.scores["n"].judged) == (0, 0)
    assert scores.scores["m"].hit_rate is None
    assert scores.guard.refused["n"] == {"from_the_future": 1}
