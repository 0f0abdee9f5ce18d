"""The terms on which a position's exits work, beside its stop-loss, take-profit and time to live: one text, one value.

A position's row carries them as text, `emergency_loss_pct=20 min_hold_s=120 roi=0:5,60:2`, in one canonical form: only what
is on, in the order of `ExitTerms`. So equal terms are equal texts, reading is cached, and a row from before a rule existed
reads as "that rule is off". An intent overrides single keys; a key's value may be `off` wherever the rule can be switched off.

Percents are of the price move from the average entry price, times are market seconds (ROI: minutes), confidences 0 to 1.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from decimal import Decimal
from enum import StrEnum
from functools import lru_cache
from typing import Annotated

from pydantic import AfterValidator, Field

from holdfast.contracts.money import ONE, ZERO, canonical, divide, parse_amount

OFF = "off"
MOST_CHARACTERS = 1500
MOST_STEPS = 40
MOST_PERCENT = Decimal(10_000)
LONGEST_S = Decimal(10_000_000)


class TriggerPrice(StrEnum):
    """Which price the rules look at: what closing would get (bid for a long, ask for a short), the last trade, the mark."""

    QUOTE = "quote"
    LAST = "last"
    MARK = "mark"


@dataclass(frozen=True, slots=True)
class ExitTerms:
    """See the module. None, an empty table and False mean: off."""

    liquidation_guard_pct: Decimal | None = None
    """Share of the way from the liquidation price back to entry, within which a position is closed."""
    leverage: Decimal | None = None
    """None: bought with one's own money; there is no liquidation."""
    maintenance_pct: Decimal = ZERO
    """Maintenance margin, percent of the position's value: the venue liquidates when less is left."""
    emergency_loss_pct: Decimal | None = None
    extraordinary_profit_pct: Decimal | None = None
    reversal_confidence: Decimal | None = None
    roi: tuple[tuple[Decimal, Decimal], ...] = ()
    """(minutes since opening, minimum net profit in percent), by minutes."""
    signal: bool = False
    stagnation_after_s: Decimal | None = None
    stagnation_band_pct: Decimal = ZERO
    ai_hold_confidence: Decimal | None = None
    min_hold_s: Decimal | None = None
    min_loss_pct: Decimal | None = None
    trailing_distance_pct: Decimal | None = None
    trailing_distance_atr: Decimal | None = None
    trailing_activation_pct: Decimal | None = None
    trailing_activation_atr: Decimal | None = None
    trailing_only_after_activation: bool = False
    breakeven_trigger_pct: Decimal | None = None
    breakeven_buffer_pct: Decimal = ZERO
    fee_pct: Decimal = ZERO
    """Fee of one side, percent of its value: what "net" takes off, once for the entry and once for the exit."""
    trigger: TriggerPrice = TriggerPrice.QUOTE
    quantity_step: Decimal = ZERO
    min_quantity: Decimal = ZERO
    min_notional: Decimal = ZERO
    """Of the instrument: a ladder's rung below them joins the next."""
    learned: Decimal | None = None
    """Version of the learned thresholds in it."""

    def __str__(self) -> str:
        shown = ((key, getattr(self, name)) for key, name in _NAMES.items())
        return " ".join(f"{key}={_shown(value)}" for key, value in shown if value != _DEFAULTS[key])

    @property
    def trails(self) -> bool:
        return self.trailing_distance_pct is not None or self.trailing_distance_atr is not None


_NAMES = {field.name.replace("trailing_", "trailing.", 1): field.name for field in fields(ExitTerms)}
"""Key as it is written -> field."""
_DEFAULTS = {key: field.default for key, field in zip(_NAMES, fields(ExitTerms), strict=True)}
_POSITIVE_PCT = frozenset(
    {
        "liquidation_guard_pct", "emergency_loss_pct", "extraordinary_profit_pct", "min_loss_pct", "trailing.distance_pct",
        "trailing.activation_pct", "breakeven_trigger_pct",
    }
)  # fmt: skip
_AMOUNTS = frozenset(
    {
        "leverage", "maintenance_pct", "stagnation_band_pct", "trailing.distance_atr", "trailing.activation_atr", "breakeven_buffer_pct",
        "fee_pct", "quantity_step", "min_quantity", "min_notional", "learned",
    }
)  # fmt: skip
_SECONDS = frozenset({"stagnation_after_s", "min_hold_s"})
_CONFIDENCES = frozenset({"reversal_confidence", "ai_hold_confidence"})
_FLAGS = frozenset({"signal", "trailing.only_after_activation"})
_NOT_BY_INTENT = frozenset(
    {"leverage", "maintenance_pct", "fee_pct", "quantity_step", "min_quantity", "min_notional", "learned"}
)
OVERRIDABLE = frozenset(_NAMES) - _NOT_BY_INTENT
"""What an intent may say of its own position; the rest are facts of the venue."""
_EITHER = {
    "trailing.distance_pct": "trailing.distance_atr",
    "trailing.distance_atr": "trailing.distance_pct",
    "trailing.activation_pct": "trailing.activation_atr",
    "trailing.activation_atr": "trailing.activation_pct",
}
"""Naming one takes the other's place."""
ALL_OFF = ExitTerms()


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return "on" if value else OFF
    if isinstance(value, Decimal):
        return canonical(value)
    if isinstance(value, tuple):
        return ",".join(f"{canonical(minutes)}:{canonical(profit)}" for minutes, profit in value) or OFF
    return OFF if value is None else str(value)


def parse_value(key: str, text: str) -> object:
    """What *text* means for *key*. Raises ValueError in words that fit behind the key."""
    if key not in _NAMES:
        raise ValueError("no such exit key")
    if key == "trigger":
        return TriggerPrice(text) if text in set(TriggerPrice) else _raise("one of quote, last, mark")
    if key == "roi":
        return () if text == OFF else _steps(text)
    if key in _FLAGS:
        return (
            {"on": True, "true": True, OFF: False, "false": False}.get(text)
            if text in _WORDS
            else _raise("on or off")
        )
    if text == OFF:
        return _DEFAULTS[key]
    amount = parse_amount(text)
    if amount < 0 or (amount == 0 and key in _POSITIVE_PCT | _CONFIDENCES):
        raise ValueError("must be greater than zero" if key not in _AMOUNTS else "must not be negative")
    limit = ONE if key in _CONFIDENCES else LONGEST_S if key in _SECONDS else None
    limit = MOST_PERCENT if key in _POSITIVE_PCT else limit
    if limit is not None and amount > limit:
        raise ValueError(f"at most {canonical(limit)}")
    return amount


_WORDS = frozenset({"on", "true", OFF, "false"})


def _raise(text: str) -> object:
    raise ValueError(text)


def _steps(text: str) -> tuple[tuple[Decimal, Decimal], ...]:
    """`0:5,60:2`: minutes and percents. A percent may be negative: after so long, a small loss will do."""
    pairs: dict[Decimal, Decimal] = {}
    for part in text.split(","):
        minutes, colon, profit = part.partition(":")
        if not colon:
            raise ValueError("minutes:percent pairs are expected, like 0:5,60:2")
        at, least = parse_amount(minutes.strip()), parse_amount(profit.strip())
        if at < 0 or at in pairs:
            raise ValueError("minutes are not negative, and each stands there once")
        if abs(least) > MOST_PERCENT:
            raise ValueError(f"at most {canonical(MOST_PERCENT)}")
        pairs[at] = least
    if len(pairs) > MOST_STEPS:
        raise ValueError(f"at most {MOST_STEPS} steps")
    return tuple(sorted(pairs.items()))


@lru_cache(maxsize=4096)
def parse_terms(text: str) -> ExitTerms:
    """The terms of a row. Raises ValueError that names the key."""
    values: dict[str, object] = {}
    for part in text.split():
        key, _, value = part.partition("=")
        try:
            values[_NAMES.get(key, key)] = parse_value(key, value)
        except ValueError as error:
            raise ValueError(f"{key}: {error}") from None
    return replace(ALL_OFF, **values)  # type: ignore[arg-type]


def overridden(terms: ExitTerms, keys: Mapping[str, str]) -> ExitTerms:
    """*terms* with single keys replaced, as an intent or a table of the policy asks. Raises ValueError that names the key."""
    values: dict[str, object] = {}
    for key, text in keys.items():
        if key not in OVERRIDABLE:
            raise ValueError(f"{key}: no such exit key; known: {', '.join(sorted(OVERRIDABLE))}")
        try:
            values[_NAMES[key]] = value = parse_value(key, text)
        except ValueError as error:
            raise ValueError(f"{key}: {error}") from None
        other = _EITHER.get(key)
        if other is not None and value is not None:
            if keys.get(other, OFF) != OFF:
                raise ValueError(f"{key}: {other} is named, too; a distance is in percent or in ATR")
            values[_NAMES[other]] = None
    return replace(terms, **values)  # type: ignore[arg-type]


_ON_MARGIN = (
    "emergency_loss_pct", "extraordinary_profit_pct", "min_loss_pct", "trailing_distance_pct", "trailing_activation_pct",
    "breakeven_trigger_pct", "breakeven_buffer_pct", "stagnation_band_pct",
)  # fmt: skip


def on_margin(terms: ExitTerms, leverage: Decimal) -> ExitTerms:
    """Percents of the margin as percents of the price move: each divided by *leverage*."""
    values = {name: getattr(terms, name) for name in _ON_MARGIN}
    scaled = {name: None if value is None else divide(value, leverage) for name, value in values.items()}
    roi = tuple((minutes, divide(profit, leverage)) for minutes, profit in terms.roi)
    return replace(terms, roi=roi, **scaled)  # type: ignore[arg-type]


def fraction(percent: Decimal) -> Decimal:
    """2 % is 0.02, exact."""
    return percent.scaleb(-2) if percent else ZERO


def exit_level(value: object) -> object:
    """`"5%"` and prices in canonical form, so that equal wishes are equal texts; each rung of a ladder, too."""
    if value is None or value == "off":
        return value
    if isinstance(value, str) and ":" in value:
        return ",".join(_rung(part) for part in value.split(","))
    text = value.strip() if isinstance(value, str) else value
    percent = isinstance(text, str) and text.endswith("%")
    amount = parse_amount(text[:-1] if percent and isinstance(text, str) else text)
    if amount <= 0:
        raise ValueError("must be greater than zero")
    digits = format(amount, "f")
    digits = digits.rstrip("0").rstrip(".") if "." in digits else digits
    return digits + ("%" if percent else "")


def _rung(part: str) -> str:
    level, _, share = part.partition(":")
    return f"{exit_level(level)}:{canonical(parse_amount(share.strip()))}"


def _exit_keys(keys: dict[str, str]) -> dict[str, str]:
    overridden(ALL_OFF, keys)
    return keys


ExitKeys = Annotated[
    dict[Annotated[str, Field(max_length=64)], Annotated[str, Field(max_length=400)]],
    AfterValidator(_exit_keys),
]
"""Keys of the exit policy and what they are for this position alone: `{"trailing.distance_pct": "2", "min_hold_s": "off"}`."""
