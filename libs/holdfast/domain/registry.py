"""The registry of exits as the state files show it: rows of positions, entries of the ledger, TP/SL by symbol.

It is a view, built from the ledger's rows each time and never read back: the registry that could become empty while
positions were open is what this project exists to prevent.
"""

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

from holdfast.contracts.codes import Leg
from holdfast.contracts.rows import PositionRow
from holdfast.domain.valuation import Mark, notional_of, unrealized_of


def in_order(positions: Iterable[PositionRow]) -> list[PositionRow]:
    """By symbol, then the oldest first: the order of every file, and what "the first of a symbol" means."""
    return sorted(positions, key=lambda row: (row.symbol, row.recorded_at, row.position_id))


def level_key(row: PositionRow) -> str:
    """`BTC/USDT@main/paper/LONG`: one position of a symbol that several accounts, exchanges or sides hold."""
    return f"{row.symbol}@{row.account}/{row.exchange}/{row.side.value.upper()}"


def positions_ledger(positions: Iterable[PositionRow]) -> dict[str, Any]:
    """Entries, `tp_sl_levels` and metadata of `positions_ledger.json`."""
    rows = in_order(positions)
    per_symbol = dict[str, int]()
    for row in rows:
        per_symbol[row.symbol] = per_symbol.get(row.symbol, 0) + 1
    levels = dict[str, dict[str, Decimal | None]]()
    for row in rows:
        levels.setdefault(row.symbol, {"tp": row.take_profit, "sl": row.stop_loss})
        if per_symbol[row.symbol] > 1:
            levels[level_key(row)] = {"tp": row.take_profit, "sl": row.stop_loss}
    return {
        "entries": [_entry(row) for row in rows],
        "tp_sl_levels": levels,
        "metadata": {"version": "v1", "entry_count": len(rows)},
    }


def _entry(row: PositionRow) -> dict[str, Any]:
    return {
        "symbol": row.symbol, "side": row.side.value.upper(), "position_id": row.position_id, "qty": row.quantity, "entry_price": row.entry_price,
        "tp": row.take_profit, "sl": row.stop_loss, "ttl_ts": row.expires_at,
        "account": row.account, "exchange": row.exchange, "leg": row.leg.value, "version": row.version,
        "take_profit_spec": row.take_profit_spec, "stop_loss_spec": row.stop_loss_spec, "seeded": row.seeded,
        "opened_at_ms": row.opened_at, "recorded_at_ms": row.recorded_at, "strategy": row.strategy,
        "closing": row.closing.value if row.closing is not None else None, "exit_attempts": row.exit_attempts,
    }  # fmt: skip


def positions_state(
    positions: Iterable[PositionRow], marks: Mapping[str, Mark], now_ms: int, max_mark_age_ms: int
) -> list[dict[str, Any]]:
    """Rows of `positions_state.json`. Profit is in `settle`, notional in the quote currency."""
    return [_row(row, marks.get(row.symbol), now_ms, max_mark_age_ms) for row in in_order(positions)]


def _row(row: PositionRow, mark: Mark | None, now_ms: int, max_mark_age_ms: int) -> dict[str, Any]:
    price = row.entry_price if mark is None else mark.price
    return {
        "symbol": row.symbol, "side": row.side.value.upper(), "qty": row.quantity, "entry_price": row.entry_price, "mark_price": price,
        "notional": notional_of(row, price), "realized_pnl": row.realized_pnl, "unrealized_pnl": unrealized_of(row, price),
        "account": row.account, "exchange": row.exchange, "position_id": row.position_id,
        "take_profit": row.take_profit, "stop_loss": row.stop_loss,
        "kind": row.kind.value, "settle": row.settle, "leg": None if row.leg is Leg.NET else row.leg.value, "version": row.version, "strategy": row.strategy,
        "mark_stale": mark is None or now_ms - mark.heard_ms > max_mark_age_ms,
        "mark_age_ms": None if mark is None else max(0, now_ms - mark.heard_ms),
    }  # fmt: skip
