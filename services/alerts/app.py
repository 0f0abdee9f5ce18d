"""Wiring of alerts."""

from holdfast.bus.app import ServiceApp
from holdfast.bus.seams import Seams
from holdfast.contracts import streams
from holdfast.domain.view import LedgerView
from holdfast.notify.courier import Apprise, Courier
from holdfast.runtime.settings import Settings
from services.alerts.service import Alerts, Options

LOOK_EVERY_S = 1.0
TICKS_BACK, BEATS_BACK, BLOCKED_BACK, LETTERS_BACK, PAST = 2_000, 2_000, 1_000, 200, 10_000
"""How many entries of each view are read again at start."""


def build(
    settings: Settings,
    seams: Seams | None = None,
    *,
    first: Courier | None = None,
    second: Courier | None = None,
) -> ServiceApp:
    """The service, ready to run. Raises Terminal when an address is none. *first*, *second*: who delivers, in a test."""
    app = ServiceApp(streams.ALERTS, settings, seams)
    view, urls = LedgerView(), settings.alerts
    first = first or Apprise(urls.urls.get_secret_value().split(), "alerts.urls")
    second = second or Apprise(urls.escalation_urls.get_secret_value().split(), "alerts.escalation_urls")
    alerts = Alerts(view, app.clock, Options.of(settings), first, second)
    app.follow(streams.ALERT, alerts.on_past, last=PAST)
    app.follow(streams.HEARTBEAT, alerts.on_heartbeats, last=BEATS_BACK)
    app.follow(streams.MARKET_TICK, alerts.on_ticks, last=TICKS_BACK)
    app.follow(streams.ORDER_BLOCKED, alerts.on_blocked, last=BLOCKED_BACK)
    app.follow(streams.DEAD_LETTER, alerts.on_dead_letters, last=LETTERS_BACK)
    app.ledger(view, on_reset=alerts.on_reset, on_updates=alerts.on_updates)
    app.work(streams.ALERT_ACK, alerts.on_acks)
    app.presence(alerts.on_presence)
    app.every(LOOK_EVERY_S, alerts.on_time)
    app.background(alerts.deliver)
    app.heartbeat(alerts.beat)
    return app
