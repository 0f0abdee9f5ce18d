"""Predictions that may be used, and those that may not: what makes a model's word count.

A prediction counts from when it comes until it expires, the latest of each model and symbol. Refused, counted by model and by
code, and not used:

    from_the_future     its time lies more than a minute ahead of the wall clock
    expired             it was over when it came, or ends before it begins
    flapping            the model turned round (long to short, or back) more than `MOST_TURNS` times within `TURN_WINDOW_MS`
    contradicts_itself  it says long and short for the same moment: both are dropped
    follows_our_fills   of its last turns, nearly all came right after a position of ours opened, towards that position

What cannot be read as a prediction at all (confidence outside 0..1, a direction nobody knows) never comes here; the caller counts
it as `malformed`. Pure; times are wall ms.
"""

from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass, field

from holdfast.contracts.exit_messages import Prediction

FUTURE_MS = 60_000
TURN_WINDOW_MS = 60_000
MOST_TURNS = 3
SAME_MOMENT_MS = 1_000
AFTER_FILL_MS = 5_000
LEAST_TURNS = 5
FOLLOWING_OF_TEN = 8
MOST_MODELS = 1_000
MALFORMED = "malformed"
UNREADABLE = "(unreadable)"
"""Stands for the model of what is no prediction."""
_SIDES = frozenset({"long", "short"})


@dataclass(slots=True)
class _Voice:
    """One model on one symbol."""

    last: Prediction | None = None
    side: str | None = None
    """The last of long and short that it said."""
    turns: deque[int] = field(default_factory=lambda: deque(maxlen=64))
    followed: deque[bool] = field(default_factory=lambda: deque(maxlen=20))
    """Of its turns: whether each came right after a fill of ours, towards it."""


class Predictions:
    """See the module. `hear` takes one in; `current` says what counts for a symbol."""

    def __init__(self) -> None:
        self._voices: dict[tuple[str, str], _Voice] = {}
        self._by_symbol: dict[str, set[str]] = {}
        self.refused: dict[str, Counter[str]] = {}
        self.taken: Counter[str] = Counter()
        self._opened: dict[str, deque[tuple[int, str]]] = {}

    def opened(self, symbol: str, side: str, at: int) -> None:
        """A position of ours was opened or grew, at wall time *at*."""
        self._opened.setdefault(symbol, deque(maxlen=20)).append((at, side))

    def refuse(self, model: str, code: str) -> str:
        if model in self.refused or len(self.refused) < MOST_MODELS:
            self.refused.setdefault(model, Counter())[code] += 1
        return code

    def hear(self, one: Prediction, symbol: str, wall_ms: int) -> str | None:
        """Why it is refused; None: it counts. *symbol*: the canonical name of the prediction's."""
        if one.at > wall_ms + FUTURE_MS:
            return self.refuse(one.model, "from_the_future")
        if one.expires_at <= max(one.at, wall_ms):
            return self.refuse(one.model, "expired")
        key = (symbol, one.model)
        voice = self._voices.get(key)
        if voice is None:
            if len(self._voices) >= MOST_MODELS:
                return self.refuse(one.model, "too_many_models")
            voice = self._voices[key] = _Voice()
            self._by_symbol.setdefault(symbol, set()).add(one.model)
        code = self._judge(voice, one, symbol)
        if code is not None:
            voice.last = None
            return self.refuse(one.model, code)
        if voice.last is None or one.at >= voice.last.at:
            voice.last = one
        self.taken[one.model] += 1
        return None

    def _judge(self, voice: _Voice, one: Prediction, symbol: str) -> str | None:
        before = voice.last
        if one.direction in _SIDES:
            turned = voice.side is not None and voice.side != one.direction
            if (
                turned
                and before is not None
                and abs(one.at - before.at) < SAME_MOMENT_MS
                and before.direction != one.direction
            ):
                voice.side = one.direction
                return "contradicts_itself"
            if turned:
                voice.turns.append(one.at)
                voice.followed.append(self._follows(symbol, one))
            voice.side = one.direction
        if sum(one.at - at < TURN_WINDOW_MS for at in voice.turns) > MOST_TURNS:
            return "flapping"
        turns = len(voice.followed)
        if turns >= LEAST_TURNS and sum(voice.followed) * 10 >= turns * FOLLOWING_OF_TEN:
            return "follows_our_fills"
        return None

    def _follows(self, symbol: str, one: Prediction) -> bool:
        return any(
            0 <= one.at - at <= AFTER_FILL_MS and side == one.direction
            for at, side in self._opened.get(symbol, ())
        )

    def current(self, symbol: str, wall_ms: int) -> tuple[Prediction, ...]:
        """The latest word of each model for *symbol* that has not expired."""
        return tuple(
            last
            for model in sorted(self._by_symbol.get(symbol, ()))
            if (last := self._voices[symbol, model].last) is not None and last.expires_at > wall_ms
        )

    def expire(self, wall_ms: int) -> Iterator[str]:
        """Symbols for which a prediction has just ended."""
        for (symbol, _), voice in self._voices.items():
            if voice.last is not None and voice.last.expires_at <= wall_ms:
                voice.last = None
                yield symbol
