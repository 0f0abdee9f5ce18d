"""The closed catalogue of what `/metrics` tells: name, kind, unit, labels, meaning. docs/metrics.md is written from it.

A series that is not here is not exported, and what is here always is: tests compare both.
"""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Metric:
    """One family of series. A counter's name has no `_total`; its series do."""

    name: str
    kind: Literal["gauge", "counter", "histogram"]
    unit: str
    what: str
    labels: tuple[str, ...] = ()


_OF_SERVICE = ("service",)
METRICS: tuple[Metric, ...] = (
    Metric("holdfast_light", "gauge", "0, 1 or 2", "The light: 0 consistent, 1 partial, 2 critical; what `holdfast check` ends with."),
    Metric("holdfast_positions_open", "gauge", "positions", "Open positions."),
    Metric("holdfast_positions_armed", "gauge", "positions", "Open positions whose exits a living scanner has armed."),
    Metric("holdfast_unprotected_seconds", "gauge", "seconds", "Time without provable protection, summed over the open positions."),
    Metric("holdfast_unprotected_worst_closed_seconds", "gauge", "seconds", "The longest such time of a position that has closed since the start."),
    Metric("holdfast_orders_live", "gauge", "orders", "Live orders by state.", ("state",)),
    Metric("holdfast_orders_blocked", "counter", "intents", "Refused intents since the start, by reason code.", ("code",)),
    Metric("holdfast_orders_blocked_per_minute", "gauge", "intents a minute", "Refused intents over the last five minutes."),
    Metric("holdfast_order_duration_seconds", "histogram", "seconds", "From the ledger's reservation to the order's end, of orders that filled.", ("role",)),
    Metric("holdfast_view_delay_seconds", "histogram", "seconds", "From the ledger's commit to this service having read the update."),
    Metric("holdfast_quarantine", "gauge", "things", "Things at the exchange that Holdfast did not open."),
    Metric("holdfast_books_disputed", "gauge", "books", "Books on which no entry is allowed until a person has looked."),
    Metric("holdfast_dead_letters", "counter", "entries", "Entries on dead.letter seen since the start."),
    Metric("holdfast_trading_state", "gauge", "0, 1 or 2", "For everything: 0 active, 1 reduce-only, 2 halted."),
    Metric("holdfast_nav", "gauge", "base currency", "Net asset value; the last known one where holdfast_nav_stale is 1."),
    Metric("holdfast_nav_stale", "gauge", "0 or 1", "1 where NAV could not be counted anew."),
    Metric("holdfast_drawdown_ratio", "gauge", "share", "How far NAV lies below its high-water mark; 0.05 is five percent."),
    Metric("holdfast_service_up", "gauge", "0 or 1", "1 while the service's heartbeat is young.", _OF_SERVICE),
    Metric("holdfast_service_beat_age_seconds", "gauge", "seconds", "Since the service's last heartbeat.", _OF_SERVICE),
    Metric("holdfast_service_lag", "gauge", "entries", "Entries of its work streams that were not delivered to it yet.", _OF_SERVICE),
    Metric("holdfast_service_pending", "gauge", "entries", "Entries delivered to it and not acknowledged.", _OF_SERVICE),
    Metric("holdfast_service_oldest_pending_seconds", "gauge", "seconds", "Age of the oldest of these.", _OF_SERVICE),
    Metric("holdfast_service_restarts", "counter", "restarts", "Its restarts since this service started.", _OF_SERVICE),
    Metric("holdfast_service_sequence", "gauge", "sequence", "The last ledger sequence it has applied.", _OF_SERVICE),
    Metric("holdfast_price_age_seconds", "gauge", "seconds", "Age of the oldest price among the open positions; -1 where one has none."),
    Metric("holdfast_dashboard_clients", "gauge", "pages", "Open pages that follow /events."),
    Metric("holdfast_dashboard_clients_refused", "counter", "pages", "Pages turned away because all places were taken."),
    Metric("holdfast_dashboard_screen_seconds", "gauge", "seconds", "How long the last screen took to make."),
)  # fmt: skip


def page() -> str:
    """docs/metrics.md."""
    head = """\
<!-- Written by `make docs` from contracts/metrics.py; edit that. -->

# Metrics

`GET /metrics` of the dashboard, in Prometheus' text format. The catalogue is closed: these and no others. Counters end in `_total`,
histograms in `_bucket`, `_sum` and `_count`. `docker compose --profile observe up` brings a Prometheus that reads them and a Grafana with a
board; see [dashboard.md](dashboard.md#prometheus-and-grafana).

| metric | kind | unit | labels | meaning |
|---|---|---|---|---|
"""
    rows = [
        f"| `{one.name}` | {one.kind} | {one.unit} | {', '.join(f'`{label}`' for label in one.labels) or '–'} | {one.what} |"
        for one in METRICS
    ]
    return head + "\n".join(rows) + "\n"
