"""A run in words: the policy in force, the trades, the summary; for people, or as JSON lines."""

import json
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from holdfast.contracts.money import canonical
from holdfast.runtime.settings import Settings
from replay.outcome import Outcome, ReplayTrade
from replay.policy import NO_END_S
from replay.summary import summarize

_MOST_TRADES = 40
"""Listed for a person; `--json` has them all."""
_COLUMNS = ("opened", "symbol", "side", "quantity", "entry", "exit", "exit reason", "profit", "%")
_PERCENTS = ("win_rate", "profit_ratio", "max_drawdown", "exposure")


def effective_policy(settings: Settings) -> dict[str, str]:
    """The terms of the run by name: its exit rules, then what the paper venue asks."""
    paper = settings.paper
    costs = {"fee_pct": paper.fee_pct, "slippage_pct": paper.slippage_pct}
    money = {"capital": paper.capital, "leverage": paper.leverage}
    rules = dict(_rules("", settings.exits.model_dump(mode="json", exclude_none=True)))
    return rules | {name: canonical(value) for name, value in (costs | money).items()}


def _rules(prefix: str, table: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Key and value, as they would be written; a longest hold that never comes is off, and so is what is empty."""
    for name, value in table.items():
        if name in {"trailing", "symbols"} or "/" in name:
            yield from _rules(f"{prefix}{name}.", value)
        elif name == "roi":
            yield prefix + name, ", ".join(f"{at}: {least}" for at, least in value.items()) or "off"
        elif name == "take_profit_ladder":
            yield prefix + name, ", ".join(f"{rung['at_pct']}: {rung['fraction']}" for rung in value) or "off"
        elif isinstance(value, bool):
            yield prefix + name, "on" if value else "off"
        else:
            yield prefix + name, "off" if name == "max_hold_s" and value == str(NO_END_S) else str(value)


def policy_lines(settings: Settings) -> list[str]:
    """The terms of the run, one line each."""
    return [
        "effective policy:",
        *(f"  {name} = {value}" for name, value in effective_policy(settings).items()),
    ]


def as_json(outcome: Outcome) -> list[str]:
    """One line per trade, then one with the summary."""
    return json_lines([*(trade.as_row() for trade in outcome.trades), {"summary": summarize(outcome)}])


def json_lines(rows: Iterable[dict[str, Any]]) -> list[str]:
    return [json.dumps(row, ensure_ascii=False, separators=(",", ":")) for row in rows]


def as_text(outcome: Outcome) -> list[str]:
    """The last trades as a table, then the summary."""
    shown = outcome.trades[-_MOST_TRADES:]
    rows = [_COLUMNS, *(tuple(_cells(trade)) for trade in shown)]
    widths = [max(len(row[n]) for row in rows) for n in range(len(_COLUMNS))]
    table = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]
    if len(outcome.trades) > len(shown):
        table.insert(1, f"... {len(outcome.trades) - len(shown)} earlier trades; --json lists them all")
    return ["", *table, "", *_summary_lines(outcome)]


def _cells(trade: ReplayTrade) -> Iterator[str]:
    yield moment(trade.opened_ms)
    yield trade.symbol
    yield trade.side
    yield canonical(trade.quantity)
    yield short(trade.entry_price)
    yield short(trade.exit_price)
    yield trade.exit_reason
    yield short(trade.profit)
    yield f"{trade.profit_ratio * 100:.2f}"


def _summary_lines(outcome: Outcome) -> Iterator[str]:
    for name, value in summarize(outcome).items():
        if name.endswith("_ms"):
            yield f"{name.removesuffix('_ms'):<20}{moment(value)}"
        elif isinstance(value, dict):
            if value:
                yield f"{name:<20}{', '.join(f'{key} {count}' for key, count in value.items())}"
        elif value is None:
            yield f"{name:<20}-"
        else:
            yield f"{name:<20}{f'{value * 100:.2f} %' if name in _PERCENTS else value}"


def moment(at_ms: int) -> str:
    """Market time in UTC, to the second."""
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")


def short(amount: Decimal) -> str:
    """At most eight places: for the eye."""
    return canonical(amount.quantize(Decimal("1e-8"))) if amount.adjusted() < 15 else canonical(amount)
