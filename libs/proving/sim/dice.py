"""All chance of a simulated world, from one seed, and the list of faults that chance has decided.

Every decision has a name, and draws from a generator of its own, seeded by (seed, name). So one decision more or less in one
place does not move those in another: when a fault is left out to see whether a failure needs it, everything before it
stays the same, and most of what comes after it.
"""

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from proving.sim.menu import KINDS

T = TypeVar("T")


class Dice:
    """Named streams of numbers between 0 and 1, the same for the same seed on every machine and Python."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self._streams: dict[str, random.Random] = {}

    def roll(self, name: str) -> float:
        """The next number of the stream *name*."""
        stream = self._streams.get(name)
        if stream is None:
            stream = self._streams[name] = random.Random(f"{self.seed}|{name}")  # noqa: S311 - seeded on purpose
        return stream.random()

    def between(self, name: str, low: float, high: float) -> float:
        return low + (high - low) * self.roll(name)

    def whole(self, name: str, low: int, high: int) -> int:
        """A whole number from *low* to *high*, both included."""
        return low + int(self.roll(name) * (high - low + 1))

    def pick(self, name: str, choices: Sequence[T]) -> T:
        return choices[int(self.roll(name) * len(choices))]


@dataclass(frozen=True, slots=True)
class Fault:
    """One decision to do harm. `key` names it in every run of its seed."""

    key: str
    kind: str
    where: str
    at_s: float


class Faults:
    """Decides which faults happen: kinds and rates are chosen by the seed (swarm testing), each decision by its name.

    *times* multiplies every rate. *only*: when given, no fault happens whose key is not in it. Shrinking uses that.
    """

    def __init__(
        self,
        dice: Dice,
        only: frozenset[str] | None = None,
        kinds: frozenset[str] | None = None,
        times: float = 1.0,
    ) -> None:
        self._dice, self._only = dice, only
        self.happened: list[Fault] = []
        self.counts: Counter[str] = Counter()
        self._seen: Counter[tuple[str, str]] = Counter()
        self.active = True
        self.rates: dict[str, float] = {}
        for kind in KINDS:
            is_on = dice.roll(f"swarm|{kind}") < 0.45
            factor = 2.0 ** dice.between(f"swarm-rate|{kind}", -2.0, 1.0)
            if kinds is not None:
                is_on = kind in kinds
            self.rates[kind] = KINDS[kind] * factor * times if is_on else 0.0

    def strike(self, kind: str, where: str, at_s: float, weight: float = 1.0) -> bool:
        """Whether *kind* happens here and now; *weight* multiplies its rate."""
        rate = self.rates[kind] * weight
        if not self.active or not rate:
            return False
        number = self._seen[kind, where]
        self._seen[kind, where] = number + 1
        if self._dice.roll(f"{kind}|{where}") >= rate:
            return False
        key = f"{kind}@{where}#{number}"
        if self._only is not None and key not in self._only:
            return False
        self.happened.append(Fault(key, kind, where, at_s))
        self.counts[kind] += 1
        return True
