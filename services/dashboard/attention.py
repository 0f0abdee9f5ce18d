"""Rows of what asks for attention, as cells: alerts, quarantine, what holds entries back, trading states. See `services.dashboard.screen`."""

from holdfast.contracts.alarms import Alert
from holdfast.contracts.codes import AlertState
from holdfast.contracts.money import canonical
from services.dashboard.service import Picture, Watcher
from services.dashboard.words import NONE, Cells, price, short_age

ALERTS_SHOWN = 50


def alerts(watcher: Watcher, picture: Picture) -> dict[str, Cells]:
    """Open alerts: what nobody has seen first, then the gravest, then the oldest."""
    rows = sorted(
        watcher.alarms.values(),
        key=lambda row: (row.state is AlertState.ACKNOWLEDGED, not row.critical, row.opened_at, row.key),
    )
    return {
        row.key: _alert(row, watcher.undelivered.get(row.key, ""), picture.now_ms)
        for row in rows[:ALERTS_SHOWN]
    }


def _alert(row: Alert, undelivered: str, now_ms: int) -> Cells:
    seen = row.state is AlertState.ACKNOWLEDGED
    called = "kept silent" if row.silent else f"called {row.times} times" if row.times > 1 else "called once"
    return {
        "row@data-tone": "" if seen else "bad" if row.critical else "warn", "event": row.event.value.replace("_", " "), "text": row.text,
        "state": f"seen by {row.by}" if seen else row.state.value, "since": short_age(max(0, now_ms - row.opened_at)), "called": called,
        "undelivered": f"could not be delivered: {undelivered}" if undelivered else "", "ack@hidden": "hidden" if seen else "",
    }  # fmt: skip


def quarantine(watcher: Watcher, picture: Picture) -> dict[str, Cells]:
    return {
        row.quarantine_id: {
            "row@data-tone": "warn", "symbol": row.symbol, "account": f"{row.account}/{row.exchange}", "side": row.side.value if row.side else NONE,
            "quantity": canonical(row.quantity), "price": price(row.price), "why": row.why, "age": short_age(picture.now_ms - row.at),
        }
        for row in watcher.view.quarantine.values()
    }  # fmt: skip


def holds(watcher: Watcher, picture: Picture) -> dict[str, Cells]:
    """What the rules of the portfolio hold back: entries, never exits."""
    return {
        f"{hold.scope}-{hold.code.value}": {
            "row@data-tone": "warn", "scope": "all accounts" if hold.scope == "all" else hold.scope, "rule": hold.code.value.replace("_", " "),
            "why": hold.reason, "since": short_age(max(0, picture.now_ms - hold.since_ms)),
            "until": "a person resumes" if hold.until_ms is None else "", "until-at@data-ms": "" if hold.until_ms is None else str(hold.until_ms),
        }
        for hold in watcher.holds(picture.now_ms)
    }  # fmt: skip


def control_rows(watcher: Watcher) -> dict[str, Cells]:
    """The trading state of every scope that was ever set."""
    return {
        f"{row.scope.value}-{row.target}": {
            "row@data-tone": {"active": "", "reduce_only": "warn", "halted": "bad"}[row.state.value], "scope": f"{row.scope.value} {row.target}".strip(),
            "state": row.state.value.replace("_", "-"), "by": row.by, "why": row.why or NONE, "at@data-ms": str(row.at),
        }
        for row in watcher.view.control.values()
    }  # fmt: skip
