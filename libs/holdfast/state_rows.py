"""Rows on their way into a state file: checked, completed, their amounts turned into exact JSON numbers.

Whatever a bot has at hand is taken (int, float, Decimal, numeric text); what is not finite, missing or impossible is
refused in one sentence that names the row and the field, before anything is written.
"""

from collections import Counter
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from enum import Enum
from typing import Any

import orjson

from holdfast.contracts.money import ZERO, canonical, mul, sub

_NUMBERS = frozenset({
    "qty", "entry_price", "mark_price", "notional", "realized_pnl", "unrealized_pnl", "take_profit", "stop_loss", "tp", "sl",
    "ttl_ts", "leverage", "margin", "contract_size", "liquidation_price",
})  # fmt: skip
"""Fields whose texts are amounts."""
_SIDES = {"long": "LONG", "buy": "LONG", "short": "SHORT", "sell": "SHORT"}
_LARGEST_EXPONENT = 400
_LARGEST_INTEGER = 2**53


class BadState(ValueError):  # noqa: N818 - reads as what happened
    """What should be written is not a state; the text names the row and the field. Nothing was written."""


def ledger_of_any(ledger: Any) -> dict[str, Any]:
    """Entries, levels and metadata of any object that looks like a position ledger (see `build_positions_ledger_state`)."""
    items = ledger.entries.values() if isinstance(ledger.entries, Mapping) else ledger.entries
    entries = [_entry_of_any(item, f"entries[{number}]") for number, item in enumerate(items)]
    given = getattr(ledger, "tp_sl_levels", None) or {}
    levels = {name: {side: _attribute(level, side) for side in ("tp", "sl")} for name, level in given.items()}
    held = Counter(entry["symbol"] for entry in entries)
    for entry in entries:
        level = {"tp": entry["tp"], "sl": entry["sl"]}
        if level != {"tp": None, "sl": None}:
            levels.setdefault(entry["symbol"], level)
        if held[entry["symbol"]] > 1:
            side = _SIDES.get(str(entry["side"]).lower(), entry["side"])
            levels[
                f"{entry['symbol']}@{entry.get('account', 'main')}/{entry.get('exchange', 'paper')}/{side}"
            ] = level
    return {
        "entries": entries,
        "tp_sl_levels": levels,
        "metadata": {"version": "v1", "entry_count": len(entries)},
    }


def _entry_of_any(item: Any, where: str) -> dict[str, Any]:
    entry = {
        name: _attribute(item, name)
        for name in ("symbol", "side", "position_id", "qty", "entry_price", "tp", "sl", "ttl_ts")
    }
    for name in ("symbol", "side", "position_id", "qty", "entry_price"):
        if entry[name] is None:
            raise BadState(f"{where}.{name}: is required")
    extra = {name: _attribute(item, name) for name in ("account", "exchange")}
    return entry | {name: value for name, value in extra.items() if value is not None}


def _attribute(item: Any, name: str) -> Any:
    """A field of an object or of a mapping; of an enumeration its value."""
    value = item.get(name) if isinstance(item, Mapping) else getattr(item, name, None)
    return value.value if isinstance(value, Enum) else value


def position_row(row: Mapping[str, Any], where: str) -> dict[str, Any]:
    """A row of positions_state.json, complete and checked."""
    where = _name_and_side(row, where)
    out = {**with_numbers(row, where), "side": _side(row, where)}
    quantity = amount_of(row.get("qty"), f"{where}.qty")
    if not quantity:
        return out
    entry = _price(row.get("entry_price"), f"{where}.entry_price")
    mark = entry if row.get("mark_price") is None else _price(row["mark_price"], f"{where}.mark_price")
    if row.get("mark_price") is None:
        out |= {"mark_price": _number(entry), "mark_stale": True}
    if row.get("realized_pnl") is None:
        raise BadState(f"{where}.realized_pnl: is required")
    if row.get("notional") is None:
        out["notional"] = _number(mul(quantity.copy_abs(), mark))
    elif amount_of(row["notional"], f"{where}.notional") < 0:
        raise BadState(f"{where}.notional: must not be negative")
    if row.get("unrealized_pnl") is None:
        gain = mul(sub(mark, entry), quantity.copy_abs())
        out["unrealized_pnl"] = _number(gain if out["side"] == "LONG" else gain.copy_negate())
    return out


def ledger_entry(entry: Mapping[str, Any], where: str) -> dict[str, Any]:
    """An entry of positions_ledger.json, complete and checked."""
    where = _name_and_side(entry, where)
    if not entry.get("position_id"):
        raise BadState(f"{where}.position_id: is required")
    if amount_of(entry.get("qty"), f"{where}.qty"):
        _price(entry.get("entry_price"), f"{where}.entry_price")
    return {**with_numbers(entry, where), "side": _side(entry, where)}


def _name_and_side(row: Mapping[str, Any], where: str) -> str:
    if not isinstance(row, Mapping):
        raise BadState(f"{where}: an object is expected")
    if not isinstance(row.get("symbol"), str) or not row["symbol"]:
        raise BadState(f"{where}.symbol: is required")
    return f"{where} ({row['symbol']})"


def _side(row: Mapping[str, Any], where: str) -> str:
    side = _SIDES.get(str(getattr(row.get("side"), "value", row.get("side"))).lower())
    if side is None:
        raise BadState(f"{where}.side: LONG or SHORT is expected, not {row.get('side')!r}")
    return side


def with_numbers(row: Mapping[str, Any], where: str) -> dict[str, Any]:
    """*row* with its amounts as numbers."""
    return {
        name: value if value is None or name not in _NUMBERS else _number(amount_of(value, where, name))
        for name, value in row.items()
    }


def _price(value: Any, where: str) -> Decimal:
    price = amount_of(value, where)
    if price <= 0:
        raise BadState(f"{where}: must be greater than zero while qty is not 0")
    return price


def amount_of(value: Any, where: str, field: str = "") -> Decimal:
    """A finite Decimal from an int, a float (its shortest digits), a Decimal or a numeric text."""
    if type(value) is Decimal and value.is_finite() and abs(value.adjusted()) <= _LARGEST_EXPONENT:
        return value or ZERO
    where = f"{where}.{field}" if field else where
    if value is None:
        raise BadState(f"{where}: is required")
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal | str):
        raise BadState(f"{where}: an amount is expected, not {value!r}")
    try:
        amount = value if isinstance(value, Decimal) else Decimal(str(value).strip())
    except InvalidOperation:
        raise BadState(f"{where}: {value!r} is no number") from None
    if not amount.is_finite():
        raise BadState(f"{where}: {value} is no amount; NaN and infinity are refused")
    if amount and abs(amount.adjusted()) > _LARGEST_EXPONENT:
        raise BadState(f"{where}: {value} is beyond all amounts")
    return amount or ZERO


def _number(amount: Decimal) -> orjson.Fragment:
    """A JSON number with exactly the digits of *amount*."""
    return orjson.Fragment(canonical(amount))


def plain(value: Any, *path: str) -> Any:
    """*value* ready for JSON: amounts by their digits, what is not finite refused by the name of its field.

    *path* is where it stands; it is only put together when something is refused, because files are large.
    """
    kind = type(value)
    if kind is dict:
        return {
            key if type(key) is str else str(key): item
            if type(item) in _AS_THEY_ARE
            else plain(item, *path, f".{key}")
            for key, item in value.items()
        }
    if kind is list or kind is tuple:
        return [plain(item, *path, f"[{number}]") for number, item in enumerate(value)]
    if isinstance(value, Decimal | float):
        return _number(amount_of(value, "".join(path).lstrip(".")))
    if isinstance(value, int):
        return orjson.Fragment(str(value)) if abs(value) > _LARGEST_INTEGER else value
    if isinstance(value, Mapping):
        return plain(dict(value), *path)
    if isinstance(value, str) or kind in _AS_THEY_ARE:
        return value
    raise BadState(f"{''.join(path).lstrip('.')}: a {kind.__name__} has no place in a state file")


_AS_THEY_ARE = frozenset({str, bool, type(None), orjson.Fragment})
