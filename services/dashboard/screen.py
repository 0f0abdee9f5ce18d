"""The first screen as *cells*: every text that a person reads, made here once, for the first page and for every update.

A cell is `name: text`. `name@attribute` is an attribute of the element of that name (`row` is the whole row). The page's
templates put cells where they belong, and so does the small script that follows `/events`; neither formats anything. So
there is one place that knows how a price looks, and texts from outside stay texts: both set them as text, never as markup.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from holdfast.contracts.codes import OrderState, PositionSide
from holdfast.contracts.money import HUNDRED, ZERO, canonical, divide, mul, sub
from holdfast.contracts.rows import OrderRow, PositionRow
from holdfast.domain.conditions import closing_price
from holdfast.domain.light import CONSISTENT, CRITICAL, PARTIAL, age, missing_exits
from holdfast.domain.protecting import resting_prices
from holdfast.domain.valuation import unrealized_of
from services.dashboard.attention import alerts, control_rows, holds, quarantine
from services.dashboard.service import Picture, Watcher
from services.dashboard.words import NONE, Cells, duration, money, percent, price, short_age, signed, tone

WORDS = {CONSISTENT: "consistent", PARTIAL: "partial", CRITICAL: "critical"}
TONES = {CONSISTENT: "good", PARTIAL: "warn", CRITICAL: "bad"}
SHAPES = {CONSISTENT: "●", PARTIAL: "▲", CRITICAL: "■"}
"""Never colour alone: each state has a shape and a word of its own."""
BLOCKED_SHOWN, REASONS_SHOWN, ORDERS_SHOWN = 12, 20, 100
LOUD_ORDER_MS = 10_000
"""An order without an end for longer is pointed at."""
_SPAN = Decimal(100)


@dataclass(slots=True)
class Screen:
    """Cells of the page itself, and of the rows of each list, in order."""

    cells: Cells = field(default_factory=dict)
    lists: dict[str, dict[str, Cells]] = field(default_factory=dict)


def screen_of(watcher: Watcher, picture: Picture) -> Screen:
    """The whole first screen."""
    return Screen(
        cells=_light(watcher, picture) | _money(watcher, picture) | _control(watcher) | _counts(watcher, picture),
        lists={
            "reasons": _reasons(picture),
            "alerts": alerts(watcher, picture),
            "positions": positions(watcher, picture),
            "orders": orders(picture),
            "blocked": blocked(watcher, picture),
            "services": services(picture),
            "quarantine": quarantine(watcher, picture),
            "holds": holds(watcher, picture),
            "control": control_rows(watcher),
        },
    )  # fmt: skip


# -- the page's own cells -------------------------------------------------------------------------------------------------


def _reasons(picture: Picture) -> dict[str, Cells]:
    """Every reason; none where the sentence has said the only one."""
    reasons = picture.light.reasons[:REASONS_SHOWN]
    return {str(index): {"text": text} for index, text in enumerate(reasons)} if len(reasons) > 1 else {}


def _light(watcher: Watcher, picture: Picture) -> Cells:
    lamp = picture.light
    count = lamp.open_positions
    armed = "positions not known" if count is None else f"{lamp.armed}/{count} positions armed"
    longest = max(picture.unprotected_ms.values(), default=0)
    clock = watcher.protection
    return {
        "light": WORDS[lamp.status], "lamp@data-tone": TONES[lamp.status], "lamp-shape": SHAPES[lamp.status], "sentence": lamp.sentence,
        "armed": armed, "armed@data-tone": "" if count is None or lamp.armed + lamp.arming >= count else "bad",
        "unprotected": duration(longest),
        "unprotected-closed": f"of those closed {duration(clock.closed_worst_ms)}" if clock.closed else "none closed yet",
        "mode": "LIVE" if lamp.live else "PAPER", "mode-more": f"real money: {lamp.live}" if lamp.live else "no real money",
        "mode@data-tone": "bad" if lamp.live else "",
        "title": ("LIVE · " if lamp.live else "") + f"{lamp.symbol} {WORDS[lamp.status]}" + ("" if count is None else f" · {lamp.armed}/{count} armed"),
    }  # fmt: skip


def _money(watcher: Watcher, picture: Picture) -> Cells:
    kpis, currency = picture.kpis, watcher.options.base_currency
    if kpis is None:
        unknown = dict.fromkeys(("nav", "unrealized", "drawdown", "exposure", "realized"), NONE)
        return unknown | {"nav-note": "the ledger is not known yet"}
    note = f"in {currency}" if not kpis.nav_stale else f"last known, in {currency}: {kpis.nav_stale[0]}"
    return {
        "nav": money(kpis.nav), "nav-note": note, "nav@data-tone": "warn" if kpis.nav_stale else "",
        "unrealized": signed(kpis.unrealized_pnl), "unrealized@data-tone": tone(kpis.unrealized_pnl),
        "realized": signed(kpis.realized_pnl), "realized@data-tone": tone(kpis.realized_pnl),
        "drawdown": percent(kpis.dd_pct), "exposure": f"{money(kpis.exposure_long)} / {money(kpis.exposure_short)}",
    }  # fmt: skip


def _control(watcher: Watcher) -> Cells:
    row = watcher.view.control.get(("all", ""))
    state = "active" if row is None else row.state.value
    others = sum(
        1 for key, one in watcher.view.control.items() if key[0] != "all" and one.state.value != "active"
    )
    told = "never changed" if row is None else f"by {row.by}" + (f": {row.why}" if row.why else "")
    return {
        "trading": state.replace("_", "-"), "trading@data-tone": {"active": "good", "reduce_only": "warn", "halted": "bad"}[state],
        "trading-who": told, "trading-at@data-ms": "" if row is None else str(row.at),
        "trading-others": f"({others} account or book restricted)" if others == 1 else f"({others} accounts or books restricted)" if others else "",
    }  # fmt: skip


def _counts(watcher: Watcher, picture: Picture) -> Cells:
    unknown = [row for row in picture.orders if row.state is OrderState.UNKNOWN]
    rate = watcher.refusals.per_minute(picture.now_ms)
    down = [row["service"] for row in picture.services if not row["alive"]]
    return {
        "positions-count": str(len(picture.positions)), "orders-count": str(len(picture.orders)),
        "unknown-count": f"{len(unknown)} unknown" if unknown else "none unknown", "unknown-count@data-tone": "bad" if unknown else "",
        "blocked-count": f"{watcher.refusals.count}", "blocked-rate": f"{rate:.1f} a minute over 5 min",
        "blocked-codes": ", ".join(f"{code} {count}" for code, count in sorted(watcher.refusals.by_code.items(), key=lambda pair: -pair[1])[:5]),
        "services-note": f"not heard: {', '.join(down)}" if down else "all heard", "services-note@data-tone": "bad" if down else "",
        "dead-count": str(watcher.dead_count), "dead-count@data-tone": "warn" if watcher.dead_count else "",
        "alerts@hidden": "" if watcher.alarms else "hidden", "alerts-count": str(len(watcher.alarms)),
        "quarantine@hidden": "" if watcher.view.quarantine else "hidden",
        "holds@hidden": "" if watcher.holds(picture.now_ms) else "hidden",
    }  # fmt: skip


# -- rows -----------------------------------------------------------------------------------------------------------------


def positions(watcher: Watcher, picture: Picture) -> dict[str, Cells]:
    """What is bare or unarmed first, then by symbol."""
    changed = {one.row.position_id: one.changed_ms for one in picture.inputs.positions or ()}
    stops = resting_prices(picture.positions, picture.orders)

    def loud(row: PositionRow) -> bool:
        young = picture.now_ms - changed.get(row.position_id, 0) <= picture.inputs.limits.arming_grace_ms
        return missing_exits(row) is not None or (row.position_id not in picture.armed and not young)

    rows = sorted(
        picture.positions, key=lambda row: (not loud(row), row.symbol, row.recorded_at, row.position_id)
    )
    return {
        row.position_id: _position(watcher, picture, row, loud(row), stops.get(row.position_id))
        for row in rows
    }


def _position(
    watcher: Watcher, picture: Picture, row: PositionRow, loud: bool, at_venue: Decimal | None
) -> Cells:
    mark = watcher.marks.by_symbol.get(row.symbol)
    value = None if mark is None else mark.price
    pnl = None if value is None else unrealized_of(row, value)
    mark_age = None if mark is None else picture.now_ms - mark.heard_ms
    is_old = mark_age is None or mark_age > picture.inputs.limits.max_tick_age_ms
    at_stop = unrealized_of(row, row.stop_loss)
    armed = row.position_id in picture.armed
    lacks = missing_exits(row)
    return {
        "row@data-tone": "bad" if loud else "warn" if is_old else "", "symbol": row.symbol, "link@href": f"/position/{row.position_id}",
        "side": row.side.value, "side@data-side": row.side.value, "quantity": canonical(row.quantity), "account": f"{row.account}/{row.exchange}",
        "entry": price(row.entry_price), "mark": price(value), "mark-age": short_age(mark_age), "mark-age@data-tone": "warn" if is_old else "",
        "pnl": f"{signed(pnl)} {row.settle}", "pnl@data-tone": tone(pnl), "pnl-pct": _gain(row, value),
        "sl": price(row.stop_loss), "tp": "off" if row.take_profit is None else price(row.take_profit),
        "sl-distance": _distance(row.stop_loss, value), "tp-distance": _distance(row.take_profit, value),
        "risk": f"{money(max(ZERO, at_stop.copy_negate()))} {row.settle}",
        "atr": _atr(watcher, row),
        "stop-where": f"order at the exchange, {price(at_venue)}" if at_venue else "Holdfast watches it",
        "seeded": "seeded" if any(note.startswith("stop_loss") for note in row.seeded) else "",
        "armed": lacks or ("armed" if armed else "not armed" if loud else "arming"), "armed@data-tone": "bad" if loud else "" if armed else "warn",
        "unprotected": duration(picture.unprotected_ms.get(row.position_id, 0)),
        "held": _held(watcher, row, picture.now_ms), "why": _why_open(watcher, picture, row), **_bar(row, value),
    }  # fmt: skip


def _gain(row: PositionRow, value: Decimal | None) -> str:
    if value is None:
        return ""
    change = divide(sub(value, row.entry_price), row.entry_price)
    return percent(change if row.side is PositionSide.LONG else change.copy_negate())


def _distance(level: Decimal | None, value: Decimal | None) -> str:
    """How far the price is from a level, in percent of the price."""
    if level is None or not value:
        return NONE
    return percent(divide(abs(sub(level, value)), value))


def _atr(watcher: Watcher, row: PositionRow) -> str:
    """The average true range that the scanner uses; empty where it says none."""
    told = watcher.evaluated.get(row.position_id)
    return "" if told is None or told.atr is None else f"ATR {price(told.atr)}"


def _held(watcher: Watcher, row: PositionRow, now_ms: int) -> str:
    """Market time since the first fill, and until its longest hold."""
    market = watcher.marks.markets.now(row.symbol, now_ms)
    if market is None:
        return short_age(max(0, now_ms - row.recorded_at))
    held = short_age(max(0, market - row.opened_at))
    return held if row.expires_at is None else f"{held}, {short_age(max(0, row.expires_at - market))} left"


def _why_open(watcher: Watcher, picture: Picture, row: PositionRow) -> str:
    """In one line: what every exit rule waits for, or what is under way."""
    if row.exit_reason is not None and row.exit_attempts:
        since = picture.seen.get(row.position_id)
        began = (
            ""
            if since is None or since.exit_since_ms is None
            else f" for {age(picture.now_ms - since.exit_since_ms)}"
        )
        return f"closing: {row.exit_reason.value}, attempt {row.exit_attempts}{began}"
    quote = watcher.marks.markets.quote(row.symbol)
    if quote is None:
        return "no price has come yet"
    value = closing_price(row, quote)
    parts = [f"stop {_distance(row.stop_loss, value)} away"]
    parts.append(
        "no take-profit" if row.take_profit is None else f"target {_distance(row.take_profit, value)} away"
    )
    told = watcher.evaluated.get(row.position_id)
    if told is not None and told.position_version == row.version and told.held_rule is not None:
        parts.append(f"{told.held_rule} held back by {told.held_by}: {told.held_why}")
    return ", ".join(parts)


def _bar(row: PositionRow, value: Decimal | None) -> Cells:
    """Places on a bar from stop-loss (0) to take-profit (100); without a take-profit it ends as far beyond the entry."""
    end = (
        row.take_profit
        if row.take_profit is not None
        else sub(mul(row.entry_price, Decimal(2)), row.stop_loss)
    )
    entry, mark = (
        _place(row.stop_loss, end, row.entry_price),
        None if value is None else _place(row.stop_loss, end, value),
    )
    at = entry if mark is None else mark
    text = f"stop {price(row.stop_loss)}, entry {price(row.entry_price)}, mark {price(value)}, target {price(row.take_profit)}"
    return {
        "bar@aria-label": text, "bar-entry@x": f"{entry:.1f}", "bar-mark@cx": f"{at:.1f}",
        "bar-fill@x": f"{min(entry, at):.1f}", "bar-fill@width": f"{abs(entry - at):.1f}", "bar-fill@data-tone": "good" if at >= entry else "bad",
    }  # fmt: skip


def _place(start: Decimal, end: Decimal, value: Decimal) -> Decimal:
    """Where *value* stands between *start* and *end*, 0 to 100, held inside."""
    width = sub(end, start)
    if not width:
        return _SPAN / 2
    return min(_SPAN, max(ZERO, mul(divide(sub(value, start), width), HUNDRED)))


def orders(picture: Picture) -> dict[str, Cells]:
    """Live orders, the unknown first, then the oldest."""
    rows = sorted(picture.orders, key=lambda row: (row.state is not OrderState.UNKNOWN, row.reserved_at))
    return {row.order_id: _order(row, picture.now_ms) for row in rows[:ORDERS_SHOWN]}


def _order(row: OrderRow, now_ms: int) -> Cells:
    unknown, since = row.state is OrderState.UNKNOWN, now_ms - row.changed_at
    resting = row.state in (OrderState.OPEN, OrderState.PARTIAL) and (row.price or row.stop_price) is not None
    late = since > LOUD_ORDER_MS and not resting
    return {
        "row@data-tone": "bad" if unknown else "warn" if late else "", "symbol": row.symbol, "role": row.role.value,
        "what": f"{row.side.value} {canonical(row.quantity)} at " + (price(row.price) if row.price is not None else "market")
        + (f" once {price(row.stop_price)} is reached" if row.stop_price is not None else ""),
        "filled": canonical(row.filled), "state": "UNKNOWN: no clear answer from the exchange" if unknown else row.state.value,
        "age": short_age(since), "reason": row.reason.value if row.reason is not None else "", "account": f"{row.account}/{row.exchange}",
        "order": row.order_id,
    }  # fmt: skip


def blocked(watcher: Watcher, picture: Picture) -> dict[str, Cells]:
    """The newest refusals first."""
    newest: Sequence[Any] = list(watcher.refusals.last)[-BLOCKED_SHOWN:][::-1]
    return {
        row.id: {
            "at@data-ms": str(row.at), "age": short_age(max(0, picture.now_ms - row.at)), "symbol": row.symbol, "code": row.code.value,
            "attempted": f"{row.attempted_side.value if row.attempted_side else ''} {canonical(row.attempted_quantity) if row.attempted_quantity else ''}".strip() or NONE,
            "held": f"{row.held_side.value} {canonical(row.held_quantity)}" if row.held_side is not None else "flat",
            "reason": row.reason, "strategy": row.strategy or NONE,
        }
        for row in newest
    }  # fmt: skip


def services(picture: Picture) -> dict[str, Cells]:
    return {row["service"]: _service(row) for row in picture.services}


def _service(row: dict[str, Any]) -> Cells:
    if row["beat_age_ms"] is None:
        silent = dict.fromkeys(
            ("seq", "lag", "pending", "oldest", "dead", "restarts", "version", "armed"), NONE
        )
        return {
            "row@data-tone": "bad",
            "service": row["service"],
            "beat": "never heard",
            "complaint": "",
            **silent,
        }
    complaint = row["unreadable"] or "; ".join(row["warnings"])
    return {
        "row@data-tone": "bad" if not row["alive"] or row["unreadable"] else "warn" if row["warnings"] else "", "service": row["service"],
        "beat": ("" if row["alive"] else "silent for ") + short_age(row["beat_age_ms"]), "seq": str(row["seq"]), "lag": str(row["lag"]),
        "pending": str(row["pending"]), "oldest": duration(row["oldest_pending_ms"]) if row["pending"] else NONE, "dead": str(row["dead_letters"]),
        "restarts": str(row["restarts"]), "version": row["version"] or NONE, "armed": NONE if row["armed"] is None else str(row["armed"]),
        "complaint": complaint,
    }  # fmt: skip


# -- what changed -----------------------------------------------------------------------------------------------------------


def whole(screen: Screen) -> dict[str, Any]:
    """The screen as a message that replaces whatever a page shows."""
    return {
        "whole": True, "cells": screen.cells,
        "lists": {name: {"order": list(rows), "rows": rows} for name, rows in screen.lists.items()},
    }  # fmt: skip


def difference(old: Screen, new: Screen) -> dict[str, Any]:
    """What turns *old* into *new*; empty when nothing changed."""
    out: dict[str, Any] = {}
    if cells := _changed(old.cells, new.cells):
        out["cells"] = cells
    lists = {
        name: found
        for name, rows in new.lists.items()
        if (found := _list_difference(old.lists.get(name, {}), rows))
    }
    if lists:
        out["lists"] = lists
    return out


def _list_difference(old: dict[str, Cells], new: dict[str, Cells]) -> dict[str, Any]:
    out: dict[str, Any] = {}
    if list(old) != list(new):
        out["order"] = list(new)
    rows = {key: changed for key, row in new.items() if (changed := _changed(old.get(key, {}), row))}
    if rows:
        out["rows"] = rows
    return out


def _changed(old: Cells, new: Cells) -> Cells:
    return {name: text for name, text in new.items() if old.get(name) != text}
