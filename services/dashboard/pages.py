"""What the pages behind the first screen show, as cells: texts for people."""

from typing import Any

from holdfast.contracts.messages import Trade
from holdfast.contracts.money import canonical
from services.dashboard import api
from services.dashboard.service import Watcher
from services.dashboard.stories import Teller
from services.dashboard.words import NONE, Cells, duration, money, percent, price, short_age, signed, tone

SHOWN_TRADES, SHOWN_LETTERS, SHOWN_VERSIONS, SHOWN_BOOKS = 100, 100, 50, 1_000
OFF = "off"


def _trade_of(watcher: Watcher, position_id: str) -> Trade | None:
    return next((one for one in watcher.trades.last if one.position_id == position_id), None)


def scopes(watcher: Watcher) -> list[str]:
    """What a trading state can be set for: the accounts, then the books that have been traded."""
    return [*watcher.options.accounts, *sorted(watcher.view.books)[:SHOWN_BOOKS]]


async def timeline(watcher: Watcher, teller: Teller, position_id: str) -> list[dict[str, Any]]:
    row, trade = watcher.view.positions.get(position_id), _trade_of(watcher, position_id)
    known = row or trade
    names = [] if known is None else [known.intent_id or "", known.correlation_id or ""]
    return [
        {"at_ms": step.at_ms, "stream": step.stream, "entry_id": step.entry_id, "title": step.title, "raw": step.raw}
        for step in await teller.story(position_id, names)
    ]  # fmt: skip


def about(watcher: Watcher, position_id: str) -> dict[str, Any]:
    """How the position stands: open, closed, or not known here."""
    row, trade = watcher.view.positions.get(position_id), _trade_of(watcher, position_id)
    if row is not None:
        return {
            "state": "open", "name": f"{row.symbol} {row.side.value}", "correlation_id": row.correlation_id or "",
            "facts": {
                "quantity": canonical(row.quantity), "entry": price(row.entry_price), "stop-loss": f"{price(row.stop_loss)} ({row.stop_loss_spec})",
                "take-profit": f"{price(row.take_profit)} ({row.take_profit_spec})", "realised": f"{signed(row.realized_pnl)} {row.settle}",
                "account": f"{row.account}/{row.exchange}", "version": str(row.version), "seeded": "; ".join(row.seeded) or "nothing",
                "strategy": row.strategy or "none named",
            },
        }  # fmt: skip
    if trade is not None:
        return {
            "state": "closed", "name": f"{trade.symbol} {trade.side.value}", "correlation_id": trade.correlation_id or "",
            "facts": {
                "quantity": canonical(trade.quantity), "entry": price(trade.entry_price), "exit": price(trade.exit_price),
                "exit reason": trade.exit_reason.value, "realised": f"{signed(trade.realized_pnl)} {trade.settle}",
                "held": short_age(trade.closed_at - trade.opened_at), "stop-loss": price(trade.stop_loss), "take-profit": price(trade.take_profit),
                "account": f"{trade.account}/{trade.exchange}", "strategy": trade.strategy or "none named",
            },
        }  # fmt: skip
    return {"state": "unknown", "name": position_id, "correlation_id": "", "facts": {}}


def performance(watcher: Watcher) -> dict[str, Any]:
    found = api.kpis(watcher)["portfolio"]
    currency = watcher.options.base_currency
    tiles: list[tuple[str, str, str]] = []
    if found is not None:
        tiles = [
            ("NAV", money(found["nav"]), currency), ("Drawdown", percent(found["dd_pct"]), "below the high-water mark"),
            ("Realised", signed(found["realized_pnl"]), currency), ("Unrealised", signed(found["unrealized_pnl"]), currency),
            ("Exposure long", money(found["exposure_long"]), currency), ("Exposure short", money(found["exposure_short"]), currency),
            ("Closed trades", str(found["trades"]), f"{found['wins']} won"), ("Win rate", percent(found["win_rate"], 1), "of all closed"),
            ("Profit factor", money(found["profit_factor"]), "won / lost"), ("Expectancy", signed(found["expectancy"]), f"{currency} a trade"),
        ]  # fmt: skip
    reasons = [
        {
            "reason": row["exit_reason"], "count": str(row["count"]), "win-rate": percent(row["win_rate"], 0), "hold": duration(row["average_hold_ms"]),
            "pnl": f"{signed(row['realized_pnl'])} {row['settle']}", "tone": tone(row["realized_pnl"]),
        }
        for row in api.exit_reasons(watcher)
    ]  # fmt: skip
    newest = sorted(watcher.trades.last, key=lambda trade: trade.at, reverse=True)[:SHOWN_TRADES]
    return {"tiles": tiles, "reasons": reasons, "trades": [_trade(trade) for trade in newest]}


def _trade(trade: Trade) -> Cells:
    return {
        "id": trade.position_id, "at": str(trade.at), "symbol": trade.symbol, "side": trade.side.value, "quantity": canonical(trade.quantity),
        "entry": price(trade.entry_price), "exit": price(trade.exit_price), "reason": trade.exit_reason.value,
        "pnl": f"{signed(trade.realized_pnl)} {trade.settle}", "tone": tone(trade.realized_pnl),
        "held": short_age(trade.closed_at - trade.opened_at), "strategy": trade.strategy or "",
    }  # fmt: skip


def learning(watcher: Watcher) -> dict[str, Any]:
    found, now = api.learning(watcher), watcher.clock.wall_ms()
    models = [
        {
            "model": one.model, "symbol": one.symbol, "direction": one.direction, "confidence": percent(one.confidence, 0), "at": str(one.at),
            "state": "expired" if one.expires_at <= now else "in force",
        }
        for one in reversed(watcher.predictions.values())
    ]  # fmt: skip
    return {
        "mode": found["mode"], "frozen": found["frozen"], "by": found["by"], "why": found["why"], "in_force": str(found["version"]),
        "applied": found["applied"], "last_look": found["last_look"], "thresholds": [_threshold(row) for row in found["thresholds"]],
        "versions": [_version(row) for row in found["versions"][:SHOWN_VERSIONS]], "tiles": _quality(found["exit_quality"]), "models": models,
    }  # fmt: skip


def _threshold(row: dict[str, Any]) -> Cells:
    return {
        "name": row["name"], "unit": row["unit"], "policy": OFF if row["policy"] is None else canonical(row["policy"]),
        "learned": NONE if row["learned"] is None else canonical(row["learned"]),
        "in_force": OFF if row["in_force"] is None else canonical(row["in_force"]),
        "bounds": f"{canonical(row['low'])} to {canonical(row['high'])}", "step": canonical(row["step_per_day"]),
        "safety": "only tighter" if row["safety"] else "",
    }  # fmt: skip


def _version(row: dict[str, Any]) -> Cells:
    return {
        "version": str(row["version"]), "at": str(row["at"]), "by": row["by"], "why": row["why"],
        "what": "in shadow" if not row["adopted"] else "adopted" if row["restores"] is None else f"back to {row['restores']}",
        "values": ", ".join(f"{name} {value}" for name, value in row["values"].items()) or "the policy's own",
        "evidence": ", ".join(f"{name} {value}" for name, value in row["evidence"].items()) or "none given",
    }  # fmt: skip


def _quality(found: dict[str, Any]) -> list[tuple[str, str, str]]:
    hold, average, worst = found["average_hold_s"], found["average_slip_pct"], found["worst_slip_pct"]
    slips = [NONE if slip is None else f"{price(slip)} %" for slip in (average, worst)]
    return [
        ("Outcomes kept", NONE if found["outcomes"] is None else str(found["outcomes"]), "closed trades with their paths"),
        ("Premature exits", percent(found["premature_share"], 0), f"of {found['soft_losses'] or 0} soft exits at a loss"),
        ("Average hold", NONE if hold is None else duration(int(hold * 1000)), "market time"),
        ("Slip of stops", slips[0], f"worse than the level; at worst {slips[1]}"),
    ]  # fmt: skip


def dead_letters(watcher: Watcher, requeued: dict[str, str]) -> list[dict[str, Any]]:
    newest = list(reversed(watcher.dead.items()))[:SHOWN_LETTERS]
    return [
        {
            "id": key, "at": str(letter.at), "service": letter.service, "stream": letter.stream, "entry": letter.entry_id, "error": letter.error,
            "payload": letter.payload[:4000], "deliveries": str(letter.deliveries), "requeued": requeued.get(key, ""), "truncated": letter.truncated,
        }
        for key, letter in newest
    ]  # fmt: skip
