"""What `/api` answers: rows and documents of plain values, made from the watcher's picture."""

from collections.abc import Callable, Iterable
from dataclasses import asdict
from decimal import Decimal
from typing import Any

from holdfast.contracts.messages import Trade
from holdfast.contracts.money import ONE, ZERO, add, divide, sub
from holdfast.contracts.streams import LEARNER
from holdfast.domain import kpi
from holdfast.domain.learning_shown import exit_quality, shown, versions
from holdfast.domain.registry import positions_state
from services.dashboard.service import Watcher

Row = dict[str, Any]
MOST_TRADES, MOST_POINTS = 500, 2_000


def status(watcher: Watcher) -> Row:
    picture, clock = watcher.picture(), watcher.protection
    return {
        **picture.light.as_fields(), "at_ms": picture.now_ms, "seq": watcher.view.seq, "store_id": watcher.view.store_id,
        "control": [row.model_dump(mode="json") for row in watcher.view.control.values()], "services": picture.services,
        "blocked": {"count": watcher.refusals.count, "per_minute": round(watcher.refusals.per_minute(picture.now_ms), 3), "by_code": watcher.refusals.by_code},
        "unprotected_ms": {"open": picture.unprotected_ms, "closed": {"positions": clock.closed, "total": clock.closed_total_ms, "worst": clock.closed_worst_ms}},
        "dead_letters": watcher.dead_count,
    }  # fmt: skip


def kpis(watcher: Watcher) -> Row:
    found = watcher.picture().kpis
    if found is None:
        return {"portfolio": None, "per_symbol": {}}
    return kpi.document(found, kpi.NavHistory(), watcher.quality(), watcher.options.base_currency)


def positions(watcher: Watcher) -> list[Row]:
    picture, limits = watcher.picture(), watcher.options.limits
    rows = positions_state(picture.positions, watcher.marks.by_symbol, picture.now_ms, limits.max_tick_age_ms)
    rows = [
        {**row, "armed": row["position_id"] in picture.armed, "unprotected_ms": picture.unprotected_ms.get(row["position_id"], 0)}
        for row in rows
    ]  # fmt: skip
    return sorted(rows, key=lambda row: bool(row["armed"]))


def orders(watcher: Watcher) -> list[Row]:
    return [row.model_dump(mode="json") for row in watcher.view.orders.values()]


def blocked(watcher: Watcher) -> list[Row]:
    return [row.model_dump(mode="json") for row in reversed(watcher.refusals.last)]


def trades(watcher: Watcher) -> list[Row]:
    newest = sorted(watcher.trades.last, key=lambda trade: trade.at, reverse=True)[:MOST_TRADES]
    return [trade.model_dump(mode="json", exclude={"path", "thresholds"}) for trade in newest]


def services(watcher: Watcher) -> list[Row]:
    return watcher.picture().services


def quarantine(watcher: Watcher) -> list[Row]:
    return [row.model_dump(mode="json") for row in watcher.view.quarantine.values()]


def holds(watcher: Watcher) -> list[Row]:
    return [asdict(hold) for hold in watcher.holds(watcher.clock.wall_ms())]


def alerts(watcher: Watcher) -> list[Row]:
    return [
        {**row.model_dump(mode="json"), "undelivered": watcher.undelivered.get(key, "")}
        for key, row in reversed(watcher.alarms.items())
    ]


def dead_letters(watcher: Watcher) -> list[Row]:
    return [
        {"entry_id": key, **letter.model_dump(mode="json")} for key, letter in reversed(watcher.dead.items())
    ]


def learning(watcher: Watcher) -> Row:
    now, options, beat = watcher.clock.wall_ms(), watcher.options, watcher.services.beats.get(LEARNER)
    details = {} if beat is None else beat.message.details
    return {
        **shown(watcher.view, options.own, options.learning), "versions": versions(watcher.view), "exit_quality": exit_quality(details),
        "last_look": details.get("last_look"),
        "predictions": [{**one.model_dump(mode="json"), "expired": one.expires_at <= now} for one in watcher.predictions.values()],
    }  # fmt: skip


def exit_reasons(watcher: Watcher) -> list[Row]:
    """By exit reason and settlement currency: how many, how many won, how long they were held, what they brought."""
    groups: dict[tuple[str, str], list[Trade]] = {}
    for trade in watcher.trades.last:
        groups.setdefault((trade.exit_reason.value, trade.settle), []).append(trade)
    rows = [_reason(reason, settle, found) for (reason, settle), found in groups.items()]
    return sorted(rows, key=lambda row: -row["count"])


def _reason(reason: str, settle: str, found: list[Trade]) -> Row:
    count, won = len(found), sum(trade.realized_pnl > 0 for trade in found)
    held = sum(trade.closed_at - trade.opened_at for trade in found)
    return {
        "exit_reason": reason, "settle": settle, "count": count, "wins": won, "win_rate": divide(Decimal(won), Decimal(count)),
        "average_hold_ms": held // count, "realized_pnl": summed(trade.realized_pnl for trade in found),
    }  # fmt: skip


def summed(amounts: Iterable[Decimal]) -> Decimal:
    total = ZERO
    for amount in amounts:
        total = add(total, amount)
    return total


def equity(watcher: Watcher) -> Row:
    """NAV since this service started, every ten seconds; before that, cash after each closed trade, counted back from now.

    Both are thinned to at most 2,000 points each.
    """
    picture = watcher.picture()
    points = thinned([[point.at_ms, point.nav, point.drawdown] for point in watcher.equity])
    return {
        "currency": watcher.options.base_currency, "points": points, "realized": thinned(_realized(watcher, picture.kpis)),
        "marks": [[mark.at_ms, mark.kind, mark.text] for mark in watcher.events],
    }  # fmt: skip


def _realized(watcher: Watcher, found: kpi.Kpis | None) -> list[list[Any]]:
    if found is None:
        return []
    base = watcher.options.base_currency
    cash, points, high = found.cash, list[list[Any]](), ZERO
    for trade in sorted(
        (one for one in watcher.trades.last if one.settle == base), key=lambda one: one.at, reverse=True
    ):
        points.append([trade.at, cash])
        cash = sub(cash, trade.realized_pnl)
    for point in reversed(points):
        high = max(high, point[1])
        point.append(sub(ONE, divide(point[1], high)) if high > 0 else ZERO)
    return points[::-1]


def thinned(points: list[list[Any]]) -> list[list[Any]]:
    """At most MOST_POINTS of *points*, evenly, the last included."""
    step = -(-len(points) // MOST_POINTS) if points else 1
    return points if step == 1 else points[::-1][::step][::-1]


Read = tuple[str, Callable[[Watcher], Any], str]
DOCUMENTS: tuple[Read, ...] = (
    ("/status", status, "The light, its reasons, trading states, services, time unprotected."),
    ("/kpis", kpis, "NAV, drawdown, profit, exposure, win rate, profit factor."),
    ("/equity", equity, "Points of NAV and drawdown, cash after each closed trade, and marks."),
    (
        "/learning",
        learning,
        "Exit thresholds: mode, version in force, policy, bounds, versions with evidence; exit quality; the models' newest views.",
    ),
)
LISTS: tuple[Read, ...] = (
    ("/positions", positions, "Open positions at mark, what is not armed first."),
    ("/orders", orders, "Live orders."),
    ("/blocked", blocked, "The last refused intents, newest first."),
    ("/trades", trades, "The last closed positions, newest first."),
    ("/exit-reasons", exit_reasons, "Closed positions by exit reason: count, wins, average hold, profit."),
    ("/services", services, "Every service: beat, lag, pending, dead letters, restarts."),
    ("/quarantine", quarantine, "What is at the exchange and was not opened by Holdfast."),
    ("/holds", holds, "Rules of the portfolio that hold entries back: since when, until when, why."),
    ("/alerts", alerts, "Open alerts, the newest word first; why one reached nobody."),
    ("/dead-letters", dead_letters, "Entries that a service could not use, newest first."),
)
"""Path below /api, what makes the answer, what the API's page says of it."""
