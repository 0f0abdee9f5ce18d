"""Simultaneous perturbation stochastic approximation (Spall 1992): the gradient in all directions from two looks.

At step k every coordinate is moved by +c_k or -c_k, by the toss of a coin each, and the whole the other way; the difference of
the two worths over the difference of a coordinate is its slope. Spall's schedule: a_k = a / (A + k + 1)^0.602, c_k = c / (k + 1)^0.101,
A a tenth of the steps, and a such that the first step is about `FIRST_STEP` long in each coordinate, from a few slopes at the start.

Both looks are at the same trades (common random numbers): what they have in common drops out of the difference. The point is
projected into the bounds after each step, and the answer is the mean of the second half of the points, which noise moves less
than the last one.

`Space` is where it walks: each threshold that may move, as 0 to 1 between its bounds, on a scale of ratios, because from 1 % to 2 % is
as far as from 10 % to 20 %.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal

import numpy as np
import numpy.typing as npt

from holdfast.domain.thresholds import Bounds, Values, clamped

Floats = npt.NDArray[np.float64]
Worths = Callable[[Sequence[Floats]], Sequence[float]]
"""The worth of several points, each looked at with the same trades."""

ALPHA, GAMMA = 0.602, 0.101
FIRST_STEP = 0.05
PERTURBATION = 0.08
LONGEST_STEP = 0.1
CALIBRATION = 8
_FINEST = 12
"""Digits of a value on its way from a float to a Decimal."""


def ascend(worths: Worths, start: Floats, *, steps: int, rng: np.random.Generator) -> Floats:
    """The point (0 to 1 in each coordinate) where *worths* is largest, as far as *steps* get from *start*; *start* where it is flat."""
    point, stability = np.clip(start, 0.0, 1.0), 0.1 * steps
    slopes = [_slope(worths, point, PERTURBATION, rng) for _ in range(CALIBRATION)]
    scale = float(np.abs(slopes).mean())
    if scale == 0.0 or not np.isfinite(scale):
        return start
    gain = FIRST_STEP * (stability + 1) ** ALPHA / scale
    points: list[Floats] = []
    for k in range(steps):
        slope = _slope(worths, point, PERTURBATION / (k + 1) ** GAMMA, rng)
        step = gain / (stability + k + 1) ** ALPHA * slope
        point = np.clip(point + np.clip(step, -LONGEST_STEP, LONGEST_STEP), 0.0, 1.0)
        points.append(point)
    return np.mean(points[steps // 2 :], axis=0) if points else start


def _slope(worths: Worths, point: Floats, reach: float, rng: np.random.Generator) -> Floats:
    signs = rng.choice(np.array([-1.0, 1.0]), size=point.size)
    ahead, behind = np.clip(point + reach * signs, 0.0, 1.0), np.clip(point - reach * signs, 0.0, 1.0)
    one, other = worths([ahead, behind])
    return (one - other) / (ahead - behind)


@dataclass(frozen=True, slots=True)
class Space:
    """The thresholds that may move: those that are on in *policy*, with the policy's own value inside their bounds."""

    policy: Values
    bounds: Bounds

    @property
    def names(self) -> list[str]:
        return [
            name
            for name, mine in self.policy.items()
            if self.bounds[name].holds(mine) and self.bounds[name].low < self.bounds[name].high
        ]

    def point(self, values: Values) -> Floats:
        """Where *values* are."""
        return np.array([self._at(name, values[name]) for name in self.names])

    def values(self, point: Floats) -> dict[str, Decimal]:
        """The allowed values at *point*."""
        wanted = {
            name: Decimal(f"{self._value(name, at):.{_FINEST}f}")
            for name, at in zip(self.names, point, strict=True)
        }
        return clamped(wanted, self.policy, self.bounds)

    def _at(self, name: str, value: Decimal) -> float:
        bound = self.bounds[name]
        inside = min(max(value, bound.low), bound.high)
        return math.log(inside / bound.low) / math.log(bound.high / bound.low)

    def _value(self, name: str, at: float) -> float:
        bound = self.bounds[name]
        return float(bound.low) * math.pow(bound.high / bound.low, at)
