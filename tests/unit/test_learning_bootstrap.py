"""An interval that says 95 % is right about 95 times in a hundred: also where values are skewed, and hang together."""

import numpy as np
import pytest

from learning.bootstrap import interval_of_mean

RUNS, COUNT = 400, 100


def independent(rng: np.random.Generator) -> np.ndarray:
    return rng.standard_normal(COUNT)


def skewed(rng: np.random.Generator) -> np.ndarray:
    """Many small gains and a few large losses, fair in the mean: what a tighter exit looks like."""
    return np.where(rng.random(COUNT) < 0.1, -0.9, 0.1) * rng.uniform(0.5, 1.5, COUNT)


def neighbours(rng: np.random.Generator) -> np.ndarray:
    """Each hangs together with the one before."""
    noise = rng.standard_normal(COUNT + 20)
    for n in range(1, noise.size):
        noise[n] += 0.4 * noise[n - 1]
    return noise[20:]


@pytest.mark.parametrize(("make", "least"), [(independent, 0.92), (skewed, 0.9), (neighbours, 0.86)])
def test_the_interval_holds_the_truth_about_as_often_as_it_says(make, least):
    hits = false_gains = 0
    for seed in range(RUNS):
        rng = np.random.default_rng(seed)
        found = interval_of_mean(make(rng), rng, resamples=400)
        hits += found.low <= 0 <= found.high
        false_gains += found.low > 0
    assert least <= hits / RUNS <= 0.99
    assert false_gains / RUNS <= 0.06


def test_a_clear_gain_is_above_zero_and_a_clear_loss_is_not():
    values = 0.5 + 0.1 * np.random.default_rng(1).standard_normal(50)
    gain, loss = (interval_of_mean(one, np.random.default_rng(2)) for one in (values, -values))
    assert gain.low > 0.4
    assert gain.above_zero == 1.0
    assert loss.high < -0.4
    assert loss.above_zero == 0.0


def test_nothing_and_no_spread_have_an_answer():
    rng = np.random.default_rng(0)
    assert interval_of_mean(np.array([]), rng)[:2] == (-np.inf, np.inf)
    assert interval_of_mean(np.full(30, 0.25), rng) == (0.25, 0.25, 0.95, 1.0)
    assert interval_of_mean(np.zeros(30), rng).above_zero == 0.0


def test_a_higher_confidence_is_a_wider_interval():
    values = np.random.default_rng(3).standard_normal(80)
    narrow = interval_of_mean(values, np.random.default_rng(4), confidence=0.8)
    wide = interval_of_mean(values, np.random.default_rng(4), confidence=0.99)
    assert wide.low < narrow.low < values.mean() < narrow.high < wide.high
