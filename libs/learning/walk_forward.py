"""Whether other thresholds are better, said of trades that they were not learned from; and if they are, which.

`propose` splits the trades by time, anchored: learn from the first part, try on the next, learn from both, try on the third, and so
on. A trade that was still being watched when the next part began is left out of the learning, so that nothing is known ahead. What is
learned is a *target* anywhere inside the bounds: a small step alone changes too few trades to be judged by. What the targets of all
parts gained over the current thresholds, trade by trade, is one paired sample that no target has seen. A step is proposed only when
the mean of it, in net profit, is above zero with the confidence of a two-sided interval (`bootstrap`), its `worth` is not lower, enough
trades came out differently, and the limited steps towards the targets did not lose on the same trades. The target is then learned
anew from all trades, and what is proposed is the step towards it.

One call is one question. On trades without any edge it says yes in some calls, by chance: how often is measured in docs/learner.md.
Whoever asks every day asks often.
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal

import numpy as np
import numpy.typing as npt

from holdfast.contracts.money import EXACT, ZERO, add, canonical, sub
from holdfast.contracts.outcomes import TradeOutcome
from holdfast.domain.thresholds import BY_NAME, Bounds, Values, clamped
from learning.bootstrap import CONFIDENCE, RESAMPLES, Floats, Interval, interval_of_mean
from learning.counterfactual import Result
from learning.objective import RISK_AVERSION, Sample, worth
from learning.spsa import Space, Worths, ascend

MOST_CENSORED = 0.25
"""A larger share of results out of sample whose path ended before a rule fired proves nothing."""
SPARSE_SHARE = 0.1
"""A threshold moves only where the target would lose more than this share of what it gains without it, on what it was learned from."""
LEAST_LEARNED = 20
"""Trades that a part has to be learned from at least; otherwise it is not tried."""
MOST_WEIGHED = 100
"""Trades that this is judged by."""

Numbers = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Method:
    """How it is learned. The defaults are what the figures in docs/learner.md are of."""

    least_trades: int = 100
    folds: int = 3
    first_share: float = 0.4
    """Of the trades, learned from before the first trial."""
    confidence: float = CONFIDENCE
    least_different: int = 20
    """Trades out of sample that came out differently on the candidate."""
    steps: int = 40
    scouts: int = 24
    """Points anywhere inside the bounds that are looked at before the search begins."""
    batch: int = 40
    """Trades that each step looks at; all, where there are no more."""
    risk_aversion: float = RISK_AVERSION
    resamples: int = RESAMPLES
    slippage_pct: Decimal = ZERO
    """By how much every exit's price is worse than its path says, percent."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """What speaks for or against a candidate. Gains are net profit per trade, as a share of its entry value."""

    trades: int
    out_of_sample: int = 0
    different: int = 0
    """Of those out of sample: how many came out differently."""
    in_sample_gain: float = 0.0
    """Of the target, on the trades it was learned from; of a proposal only."""
    gain: float = 0.0
    """Of the targets, out of sample."""
    interval: Interval = field(default_factory=lambda: Interval(0.0, 0.0, CONFIDENCE, 0.0))
    """Of that gain."""
    worth_gain: float = 0.0
    """Of the targets, out of sample, with the penalty for losses."""
    step_gain: float = 0.0
    """Of the limited steps towards the targets, out of sample."""
    censored: float = 0.0
    """Share of results out of sample whose path ended before a rule fired."""
    moved: Mapping[str, tuple[Decimal, Decimal]] = field(default_factory=dict)
    """Threshold -> from, to: the step."""
    target: Mapping[str, Decimal] = field(default_factory=dict)
    """Where it leads to, in the end, if nothing new is learned."""

    def __str__(self) -> str:
        """One line for people, at most 1000 characters."""
        low, high = (f"{100 * end:+.4f}" for end in self.interval[:2])
        moves = ", ".join(f"{name} {canonical(a)} -> {canonical(b)}" for name, (a, b) in self.moved.items())
        text = (
            f"{self.trades} trades, {self.out_of_sample} out of sample ({self.different} differ): "
            f"gain per trade {100 * self.gain:+.4f} % ({self.interval.confidence:.0%}: {low} to {high}), "
            f"of the step {100 * self.step_gain:+.4f} %"
        )
        if moves:
            text += f", in sample {100 * self.in_sample_gain:+.4f} %; {moves}"
        return text[:1000]


@dataclass(frozen=True, slots=True)
class Proposal:
    """A step that is worth taking: all thresholds that are on, allowed as they are, with what speaks for them."""

    values: Mapping[str, Decimal]
    evidence: Evidence


@dataclass(frozen=True, slots=True)
class NoProposal:
    """Stay where you are, and why, in words for people."""

    why: str
    evidence: Evidence


def propose(
    outcomes: Sequence[TradeOutcome],
    current: Values,
    bounds: Bounds,
    policy: Values,
    seed: int,
    *,
    limits: Mapping[str, Decimal] | None = None,
    method: Method | None = None,
) -> Proposal | NoProposal:
    """The next step from *current*, or why there is none. The same arguments give the same answer, to the last digit.

    *policy*: the operator's own thresholds, which say what is on and how loose safety may be. *limits*: by how much each may still move,
    in its own unit; a threshold's step where it is not named. Outcomes in any order; those without a path are not looked at.
    """
    how = method or Method()
    sample = Sample((one for one in outcomes if one.path), how.slippage_pct)
    trades = len(sample)
    if trades < how.least_trades:
        return NoProposal(f"{trades} trades with a path, {how.least_trades} are needed", Evidence(trades))
    learner = _Learner(sample, Space(policy, bounds), clamped(current, policy, bounds), limits or {}, how)
    if not learner.space.names:
        return NoProposal("no threshold may move: all are off, or outside their bounds", Evidence(trades))
    return learner.answer(np.random.default_rng(seed))


class _Learner:
    def __init__(
        self, sample: Sample, space: Space, current: Values, limits: Mapping[str, Decimal], how: Method
    ) -> None:
        self.space = space
        self._sample, self._current, self._how = sample, current, how
        self._reach = {name: limits.get(name, space.bounds[name].step) for name in space.names}
        self._now = sample.profits(current)

    def answer(self, rng: np.random.Generator) -> Proposal | NoProposal:
        """Learn and try, fold by fold; then learn from everything, if that has proved its worth."""
        tried: list[int] = []
        there: list[Result] = []
        steps: list[Result] = []
        for train, test in self._folds():
            target = self._learn(train, rng)
            there += self._sample.results(target, test)
            steps += self._sample.results(self._towards(target), test)
            tried += test
        if not tried:
            return NoProposal("the trades overlap too much in time to be split", Evidence(len(self._sample)))
        evidence = self._weigh(tried, there, steps, rng)
        why = self._against(evidence)
        return NoProposal(why, evidence) if why else self._step(evidence, rng)

    def _weigh(
        self, tried: list[int], there: list[Result], steps: list[Result], rng: np.random.Generator
    ) -> Evidence:
        """What the targets and the steps towards them gained over the current thresholds, on trades they had not seen."""
        aversion, now = self._how.risk_aversion, self._now[tried]
        target, step = _profits(there), _profits(steps)
        gain = target - now
        return Evidence(
            trades=len(self._sample),
            out_of_sample=len(tried),
            different=int(np.count_nonzero(gain)),
            gain=float(gain.mean()),
            worth_gain=worth(target, aversion) - worth(now, aversion),
            interval=interval_of_mean(
                gain, rng, confidence=self._how.confidence, resamples=self._how.resamples
            ),
            step_gain=float((step - now).mean()),
            censored=sum(one.censored for one in there) / len(there),
        )

    def _against(self, evidence: Evidence) -> str:
        if evidence.different < self._how.least_different:
            least = self._how.least_different
            return f"only {evidence.different} trades came out differently, {least} are needed"
        if evidence.censored > MOST_CENSORED:
            return f"{evidence.censored:.0%} of the paths end before a rule fires: watch trades for longer"
        if evidence.interval.low <= 0:
            return "the gain out of sample is not above zero with enough confidence"
        if evidence.worth_gain < 0:
            return "it would gain, at more risk than that is worth"
        return "the way there loses" if evidence.step_gain < 0 else ""

    def _step(self, evidence: Evidence, rng: np.random.Generator) -> Proposal | NoProposal:
        """As far as it may go towards the target of all trades."""
        target, before = self._learn(list(range(len(self._sample))), rng), self._current
        values = self._towards(target)
        whole = replace(
            evidence,
            in_sample_gain=float((self._sample.profits(target) - self._now).mean()),
            moved={name: (before[name], value) for name, value in values.items() if value != before[name]},
            target={name: value for name, value in target.items() if value != before[name]},
        )
        return Proposal(values, whole) if whole.moved else NoProposal("nothing would move", whole)

    def _learn(self, which: Sequence[int], rng: np.random.Generator) -> dict[str, Decimal]:
        """The best values for *which* trades, anywhere inside the bounds."""
        many = np.array(which)

        def worths(points: Sequence[Floats]) -> list[float]:
            drawn = _some(many, self._how.batch, rng)
            found = (self._sample.profits(self.space.values(point), drawn) for point in points)
            return [worth(profits, self._how.risk_aversion) for profits in found]

        start = self._scouted(worths, rng)
        found = self.space.values(ascend(worths, start, steps=self._how.steps, rng=rng))
        return self._sparse(found, _some(many, MOST_WEIGHED, rng))

    def _scouted(self, worths: Worths, rng: np.random.Generator) -> Floats:
        """Where to begin: at the current values, or at the best of some points anywhere, where that is worth more: the gradient
        alone leads to the nearest top only.
        """
        here = self.space.point(self._current)
        points: list[Floats] = [here, *rng.random((self._how.scouts, here.size))]
        return points[int(np.argmax(worths(points)))]

    def _sparse(self, target: dict[str, Decimal], which: Numbers) -> dict[str, Decimal]:
        """*target* with everything put back that it does not owe its worth to: chance moves what does not matter, too.

        The current values, where it is worth no more than they are. *which*: some of the trades it was learned from.
        """

        def worth_of(values: Values) -> float:
            return worth(self._sample.profits(values, which), self._how.risk_aversion)

        best, here = worth_of(target), worth(self._now[which], self._how.risk_aversion)
        if best <= here:
            return dict(self._current)
        least = best - SPARSE_SHARE * (best - here)
        moved = [name for name in target if target[name] != self._current[name]]
        alone = {name: worth_of(self._without(target, name)) for name in moved}
        for name in sorted(moved, key=alone.__getitem__, reverse=True):
            without = self._without(target, name)
            if worth_of(without) >= least:
                target = without
        return target

    def _without(self, target: Values, name: str) -> dict[str, Decimal]:
        """*target* with one threshold as it is now; still allowed: an emergency loss does not become the stop of a wider one."""
        return clamped({**target, name: self._current[name]}, self.space.policy, self.space.bounds)

    def _towards(self, target: Values) -> dict[str, Decimal]:
        """From the current values to *target*, each as far as it may move; allowed, and never beyond its reach by rounding."""
        values = dict(self._current)
        for name in self.space.names:
            here, grain = self._current[name], BY_NAME[name].grain
            move = max(-self._reach[name], min(self._reach[name], sub(target[name], here)))
            value = add(here, move)
            whole = value.quantize(grain, rounding=ROUND_FLOOR if move > 0 else ROUND_CEILING, context=EXACT)
            if move and (whole > here) == (move > 0) and whole != here:
                values[name] = whole
        return clamped(values, self.space.policy, self.space.bounds)

    def _folds(self) -> list[tuple[list[int], list[int]]]:
        """Anchored parts: (learned from, tried on). Trades come by their opening."""
        tapes, count = self._sample.tapes, len(self._sample)
        first = int(count * self._how.first_share)
        edges = [first + (count - first) * n // self._how.folds for n in range(self._how.folds + 1)]
        found = []
        for begin, end in itertools.pairwise(edges):
            opened = tapes[begin].outcome.row.opened_at
            train = [n for n in range(begin) if tapes[n].outcome.through <= opened]
            if len(train) >= LEAST_LEARNED and end > begin:
                found.append((train, list(range(begin, end))))
        return found


def _some(which: Numbers, most: int, rng: np.random.Generator) -> Numbers:
    return which if which.size <= most else np.sort(rng.choice(which, size=most, replace=False))


def _profits(results: Sequence[Result]) -> Floats:
    return np.array([one.profit_ratio for one in results], dtype=np.float64)
