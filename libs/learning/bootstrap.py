"""How sure a mean is, of values that may depend on their neighbours: a circular block bootstrap, studentized.

Trades that were open at the same time saw the same market, so neighbours in time are drawn together, in blocks as long as the cube
root of their number. Each resample's mean is measured in its own standard error (from its blocks), which keeps an interval honest
where values are few and skewed, as differences between exits are: many small ones, a few large ones the other way. The plain
percentile interval is too narrow there; what both are worth is a test.
"""

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

CONFIDENCE = 0.95
RESAMPLES = 2000


class Interval(NamedTuple):
    """Where the true mean lies with a *confidence* of so much, two-sided; `above_zero`: the share of resamples that say so."""

    low: float
    high: float
    confidence: float
    above_zero: float


def interval_of_mean(
    values: Floats,
    rng: np.random.Generator,
    *,
    confidence: float = CONFIDENCE,
    resamples: int = RESAMPLES,
) -> Interval:
    """See the module. Without any spread in *values* both ends are their mean; without values the interval is endless."""
    count = values.size
    if not count:
        return Interval(-math.inf, math.inf, confidence, 0.0)
    length = max(1, round(count ** (1 / 3)))
    blocks = math.ceil(count / length)
    mean, error = float(values.mean()), _error(values, length)
    if error == 0.0:
        return Interval(mean, mean, confidence, float(mean > 0))
    sums = np.concatenate((values, values[: length - 1])).cumsum()
    of_block = sums[length - 1 :] - np.concatenate(([0.0], sums[: count - 1]))  # by where it begins
    drawn = of_block[rng.integers(0, count, size=(resamples, blocks))] / length
    means = drawn.mean(axis=1)
    errors = drawn.std(axis=1, ddof=1) / math.sqrt(blocks) if blocks > 1 else np.full(resamples, error)
    floor = error * 1e-3  # a resample of equal blocks has no error of its own
    distances = (means - mean) / np.maximum(errors, floor)
    tail = (1 - confidence) / 2
    upper, lower = np.quantile(distances, [1 - tail, tail])
    above = float((distances < mean / error).mean())
    return Interval(mean - float(upper) * error, mean - float(lower) * error, confidence, above)


def _error(values: Floats, length: int) -> float:
    """The standard error of the mean, from the means of neighbouring blocks of *length*."""
    whole = values[: values.size // length * length]
    blocks = whole.reshape(-1, length).mean(axis=1)
    return float(blocks.std(ddof=1) / math.sqrt(values.size / length)) if blocks.size > 1 else 0.0
