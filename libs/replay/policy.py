"""Which exit rules a run has: those of the configuration, or those of a policy file and no others.

A policy file is a `holdfast.toml` that says nothing but exits: `[exits]`, `[exits."BTC/USDT"]`, `[exits.trailing]`. Rules that
it does not name are off, except the stop-loss, which keeps its default: no position is ever without one. A position needs a
second end beside its stop; where a policy names none, the end of the tape is that end (a longest hold that never comes).
"""

import os
import tomllib
from collections.abc import Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

from holdfast.runtime.configuration import ConfigurationError, load
from holdfast.runtime.exit_settings import ExitKeys, TrailingSettings
from holdfast.runtime.settings import Settings

SECTION = "exits"
NO_END_S = 9_000_000_000
"""A longest hold of 285 years."""
_KEPT = frozenset({"stop_loss_pct", "basis", "trigger", "stagnation_band_pct", "breakeven_buffer_pct"})
"""Keys that switch nothing on."""
_NONE: dict[str, Any] = {"roi": {}, "take_profit_ladder": [], "signal": False}


def exits_of(base: Settings, policy: Path | None, *, soft: bool = False) -> dict[str, Any]:
    """The `[exits]` that a run is made with. Raises ConfigurationError, which names line and key.

    *soft*: exit signals may be held back, so signal exits are on unless the policy itself says otherwise.
    """
    if policy is None:
        exits = base.exits.model_dump(mode="python", exclude_none=True)
        return exits | {"signal": True} if soft else exits
    named = _named(policy)
    unnamed = {
        f"{SECTION}.{key}": value
        for key, value in _flat(completed(named, soft=soft))
        if key not in dict(_flat(named))
    }
    settings = load(config=policy, env={}, overrides=unnamed, dotenv=Path(os.devnull))
    return settings.exits.model_dump(mode="python", exclude_none=True)


def completed(named: Mapping[str, Any], *, soft: bool = False) -> dict[str, Any]:
    """*named* keys of `[exits]` with all others off, and with an end where they name none."""
    exits = _all_off() | ({"signal": True} if soft else {})
    trailing = exits["trailing"] | dict(named.get("trailing", {}))
    exits |= dict(named) | {"trailing": trailing}
    if _has_no_end(exits):
        exits["max_hold_s"] = NO_END_S
    return exits


def _named(policy: Path) -> dict[str, Any]:
    """What the file says below `[exits]`; whether it may say so is checked later, with its lines."""
    try:
        with policy.open("rb") as file:
            document = tomllib.load(file, parse_float=Decimal)
    except (OSError, ValueError):
        load(config=policy, env={}, dotenv=Path(os.devnull))  # says what is wrong, as for any configuration
        raise
    foreign = [name for name in document if name != SECTION]
    if foreign:
        raise ConfigurationError(
            f"{policy}: [{foreign[0]}] is no exit rule; a policy file has [{SECTION}] and nothing else"
        )
    found = document.get(SECTION, {})
    if not isinstance(found, dict):
        raise ConfigurationError(f"{policy}: {SECTION} is a section; write [{SECTION}] and its keys below it")
    return {
        name: value for name, value in found.items() if "/" not in name
    }  # a symbol's table overrides key by key


def _flat(exits: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in exits.items():
        if name == "trailing" and isinstance(value, dict):
            yield from ((f"{name}.{inner}", one) for inner, one in value.items())
        else:
            yield name, value


def _all_off() -> dict[str, Any]:
    exits: dict[str, Any] = {
        name: field.get_default(call_default_factory=True) if name in _KEPT else _NONE.get(name, "off")
        for name, field in ExitKeys.model_fields.items()
    }
    trailing = {name: field.default for name, field in TrailingSettings.model_fields.items()}
    return exits | {"trailing": trailing}  # which is off by default


def _has_no_end(exits: Mapping[str, Any]) -> bool:
    """Whether a position could stay for ever: no take-profit for all of it, no longest hold, no trail."""
    trailing = exits["trailing"]
    trails = any(trailing[name] != "off" for name in ("distance_pct", "distance_atr"))
    profits = exits["take_profit_ladder"] or exits["take_profit_pct"] != "off"
    return not trails and not profits and exits["max_hold_s"] == "off"
