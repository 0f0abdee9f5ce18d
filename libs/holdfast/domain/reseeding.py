"""New terms for an open position: what is tighter is taken, what is looser only when a person insists.

Tighter means: what protects fires sooner, and what holds an exit back holds it back less. A trail that has begun is never
loosened by this, whoever insists: the stop itself stands in the row, and only ever ratchets.
"""

from dataclasses import replace
from decimal import Decimal

from holdfast.contracts.exit_terms import ExitTerms, parse_terms

_SOONER_IS_LESS = (
    "emergency_loss_pct", "extraordinary_profit_pct", "reversal_confidence", "stagnation_after_s", "trailing_distance_pct",
    "trailing_distance_atr", "trailing_activation_pct", "trailing_activation_atr", "breakeven_trigger_pct",
)  # fmt: skip
"""Tighter when smaller; off is loosest."""
_EITHER = {
    "trailing_distance_pct": "trailing_distance_atr",
    "trailing_distance_atr": "trailing_distance_pct",
    "trailing_activation_pct": "trailing_activation_atr",
    "trailing_activation_atr": "trailing_activation_pct",
}
_LATER_IS_LESS = ("min_hold_s", "min_loss_pct")
"""Vetoes that hold back longer when larger; off is tightest."""
_SOONER_IS_MORE = (
    "liquidation_guard_pct",
    "stagnation_band_pct",
    "breakeven_buffer_pct",
    "ai_hold_confidence",
)
"""Tighter when larger: a wider guard, a wider band, a higher bar for the AI's veto (off, for that one, is tightest)."""


def new_terms(now: str, wanted: str, *, insist: bool) -> tuple[str, list[str]]:
    """The terms that take the place of *now* when *wanted* are asked for, and notes on what was kept, and why."""
    if insist:
        return str(parse_terms(wanted)), []
    held, asked = parse_terms(now), parse_terms(wanted)
    values: dict[str, object] = {
        name: getattr(asked, name)
        for name in ("fee_pct", "quantity_step", "min_quantity", "min_notional", "learned")
    }
    notes: list[str] = []
    for name in (*_SOONER_IS_LESS, *_LATER_IS_LESS, *_SOONER_IS_MORE):
        old, new = getattr(held, name), getattr(asked, name)
        if old == new:
            continue
        if name in _EITHER and getattr(held, _EITHER[name]) is not None and new is not None:
            notes.append(f"{name}: percent and ATR cannot be compared, {_EITHER[name]} kept")
        elif _is_tighter(name, old, new):
            values[name] = new
        else:
            notes.append(f"{name}: {_said(new)} would loosen {_said(old)}, kept")
    if asked.roi != held.roi:
        if _is_earlier(held, asked):
            values["roi"] = asked.roi
        else:
            notes.append("roi: the table asks for more somewhere, kept")
    if asked.signal and not held.signal:
        values["signal"] = True
    if held.trailing_only_after_activation and asked.trails and not asked.trailing_only_after_activation:
        values["trailing_only_after_activation"] = False
    return str(replace(held, **values)), notes  # type: ignore[arg-type]


def _is_tighter(name: str, old: Decimal | None, new: Decimal | None) -> bool:
    if name == "ai_hold_confidence" or name in _LATER_IS_LESS:
        if old is None or new is None:
            return new is None
        return new > old if name == "ai_hold_confidence" else new < old
    if old is None or new is None:
        return old is None
    return new > old if name in _SOONER_IS_MORE else new < old


def _is_earlier(held: ExitTerms, asked: ExitTerms) -> bool:
    """Whether *asked* wants no more profit than *held* at any minute."""
    if not held.roi:
        return True

    def least(terms: ExitTerms, minute: Decimal) -> Decimal | None:
        begun = [profit for at, profit in terms.roi if at <= minute]
        return begun[-1] if begun else None

    for minute in sorted({at for at, _ in (*held.roi, *asked.roi)}):
        old, new = least(held, minute), least(asked, minute)
        if old is not None and (new is None or new > old):
            return False
    return True


def _said(value: Decimal | None) -> str:
    return "off" if value is None else format(value, "f")
