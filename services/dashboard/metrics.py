"""`/metrics`: the catalogue of `contracts.metrics`, filled from the watcher when Prometheus asks. Nothing is counted twice."""

from collections import Counter
from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import generate_latest
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.registry import Collector, CollectorRegistry

from holdfast.contracts.codes import OrderState
from holdfast.contracts.metrics import METRICS, Metric
from services.dashboard.events import Hub
from services.dashboard.service import LATENCY_BUCKETS_S, Latencies, Picture, Watcher

Values = dict[tuple[str, ...], float]
_STATES = {"active": 0.0, "reduce_only": 1.0, "halted": 2.0}


def exposition(watcher: Watcher, hub: Hub) -> bytes:
    """All series, as text."""
    registry = CollectorRegistry()
    registry.register(_Collector(watcher, hub))
    return generate_latest(registry)


class _Collector(Collector):
    def __init__(self, watcher: Watcher, hub: Hub) -> None:
        self._watcher, self._hub = watcher, hub

    def collect(self) -> Iterator[Family]:
        picture = self._watcher.picture()
        values = _overall(self._watcher, picture) | _services(picture) | _page(self._hub)
        histograms: dict[str, dict[tuple[str, ...], Latencies]] = {
            "holdfast_order_duration_seconds": {(role,): found for role, found in self._watcher.order_latency.items()},
            "holdfast_view_delay_seconds": {(): self._watcher.view_delay},
        }  # fmt: skip
        for metric in METRICS:
            if metric.kind == "histogram":
                yield _histogram(metric, histograms[metric.name])
            else:
                yield _family(metric, values[metric.name])


def _family(metric: Metric, values: Values) -> Family:
    kind = CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily
    family = kind(metric.name, metric.what, labels=metric.labels)
    for labels, value in values.items():
        family.add_metric(labels, value)
    return family


def _histogram(metric: Metric, values: dict[tuple[str, ...], Latencies]) -> Family:
    family = HistogramMetricFamily(metric.name, metric.what, labels=metric.labels)
    for labels, found in values.items():
        buckets = [
            (str(bound), float(count)) for bound, count in zip(LATENCY_BUCKETS_S, found.counts, strict=True)
        ]
        family.add_metric(labels, [*buckets, ("+Inf", float(found.count))], found.sum_ms / 1000)
    return family


def _overall(watcher: Watcher, picture: Picture) -> dict[str, Values]:
    view, kpis = watcher.view, picture.kpis
    states = Counter(row.state.value for row in picture.orders)
    control = view.control.get(("all", ""))
    single = {
        "holdfast_light": float(picture.light.exit_code), "holdfast_positions_open": float(len(picture.positions)),
        "holdfast_positions_armed": float(picture.light.armed), "holdfast_unprotected_seconds": sum(picture.unprotected_ms.values()) / 1000,
        "holdfast_unprotected_worst_closed_seconds": watcher.protection.closed_worst_ms / 1000,
        "holdfast_orders_blocked_per_minute": watcher.refusals.per_minute(picture.now_ms), "holdfast_quarantine": float(len(view.quarantine)),
        "holdfast_books_disputed": float(sum(book.disputed is not None for book in view.books.values())),
        "holdfast_dead_letters": float(watcher.dead_count), "holdfast_trading_state": _STATES["active" if control is None else control.state.value],
        "holdfast_price_age_seconds": _price_age(watcher, picture),
        "holdfast_nav_stale": float(kpis is None or bool(kpis.nav_stale)),
    }  # fmt: skip
    return {
        **{name: {(): value} for name, value in single.items()},
        "holdfast_nav": {} if kpis is None else {(): float(kpis.nav)},
        "holdfast_drawdown_ratio": {} if kpis is None else {(): float(kpis.dd_pct)},
        "holdfast_orders_live": {(state.value,): float(states[state.value]) for state in OrderState},
        "holdfast_orders_blocked": {
            (code,): float(count) for code, count in watcher.refusals.by_code.items()
        },
    }


def _price_age(watcher: Watcher, picture: Picture) -> float:
    marks = [watcher.marks.by_symbol.get(row.symbol) for row in picture.positions]
    if not all(marks):
        return -1.0
    return max((picture.now_ms - mark.heard_ms for mark in marks if mark is not None), default=0) / 1000


def _services(picture: Picture) -> dict[str, Values]:
    heard = [row for row in picture.services if row["beat_age_ms"] is not None]

    def each(field: str, per: float = 1.0) -> Values:
        return {(row["service"],): float(row[field]) / per for row in heard}

    return {
        "holdfast_service_up": {(row["service"],): float(row["alive"]) for row in picture.services},
        "holdfast_service_beat_age_seconds": each("beat_age_ms", 1000), "holdfast_service_lag": each("lag"),
        "holdfast_service_pending": each("pending"), "holdfast_service_oldest_pending_seconds": each("oldest_pending_ms", 1000),
        "holdfast_service_restarts": each("restarts"), "holdfast_service_sequence": each("seq"),
    }  # fmt: skip


def _page(hub: Hub) -> dict[str, Values]:
    return {
        "holdfast_dashboard_clients": {(): float(hub.clients)}, "holdfast_dashboard_clients_refused": {(): float(hub.refused)},
        "holdfast_dashboard_screen_seconds": {(): hub.made_ms / 1000},
    }  # fmt: skip
