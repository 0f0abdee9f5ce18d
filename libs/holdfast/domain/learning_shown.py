"""How learning stands, as plain values for a page, a command and a state file: the twelve thresholds, the versions, exit quality."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from holdfast.contracts.codes import LearnMode
from holdfast.contracts.money import parse_amount
from holdfast.domain.learning_rules import Holder, LearningRules, standing, values_in_force
from holdfast.domain.thresholds import THRESHOLDS, Values

_COUNTS = ("outcomes", "soft_losses", "premature", "stops")
_AMOUNTS = ("average_hold_s", "premature_share", "average_slip_pct", "worst_slip_pct")


def shown(holder: Holder, own: Values, rules: LearningRules) -> dict[str, Any]:
    """Mode, version, and every threshold with the policy's value, the one in force, and its bounds. *own*: the policy's."""
    row, in_force = standing(holder, rules), values_in_force(holder, own, rules)
    version = holder.thresholds.get(row.version)
    values = {} if version is None else version.values
    return {
        "mode": row.mode.value, "frozen": row.frozen, "version": row.version, "applied": row.mode is LearnMode.APPLY and row.version > 0,
        "by": row.by, "why": row.why, "at": row.at,
        "thresholds": [
            {
                "name": one.name, "unit": one.unit, "safety": one.safety, "policy": own.get(one.name), "learned": values.get(one.name),
                "in_force": in_force.get(one.name), "low": rules.bounds[one.name].low, "high": rules.bounds[one.name].high,
                "step_per_day": rules.bounds[one.name].step,
            }
            for one in THRESHOLDS
        ],
    }  # fmt: skip


def versions(holder: Holder) -> list[dict[str, Any]]:
    """Every version that is live, newest first, with its evidence."""
    rows = sorted(holder.thresholds.values(), key=lambda row: -row.version)
    return [row.model_dump(mode="json") for row in rows]


def exit_quality(details: Mapping[str, str]) -> dict[str, int | Decimal | None]:
    """What the learner's heartbeat says of exits, as numbers; None: not known. Shares are 0 to 1, slips percent of the stop's level."""
    found: dict[str, int | Decimal | None] = {name: _count(details.get(name, "")) for name in _COUNTS}
    return found | {name: _amount(details.get(name, "")) for name in _AMOUNTS}


def _count(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else None


def _amount(text: str) -> Decimal | None:
    try:
        return parse_amount(text)
    except ValueError:
        return None
