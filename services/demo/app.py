"""Wiring of demo."""

from holdfast.bus.app import ServiceApp
from holdfast.bus.seams import Seams
from holdfast.contracts.base import ContractViolation
from holdfast.contracts.streams import DEMO, INTENT_RESULT, MARKET_TICK
from holdfast.domain.view import LedgerView
from holdfast.runtime.faults import EXIT_CONFIG, Terminal
from holdfast.runtime.settings import Settings
from services.demo.service import Demo


def build(settings: Settings, seams: Seams | None = None) -> ServiceApp:
    """The service, ready to run. Raises Terminal when `demo` cannot work as it is set."""
    if settings.demo.fast >= settings.demo.slow:
        raise Terminal(
            f"demo.fast ({settings.demo.fast}) must be less than demo.slow ({settings.demo.slow})",
            EXIT_CONFIG,
        )
    app = ServiceApp(DEMO, settings, seams)
    view = LedgerView()
    try:
        demo = Demo(settings, view, app.clock)
    except ContractViolation as error:
        raise Terminal(f"demo.symbol: {error}", EXIT_CONFIG) from error
    app.ledger(view, on_reset=demo.on_reset, on_updates=demo.on_updates)
    app.follow(MARKET_TICK, demo.on_ticks)
    app.follow(INTENT_RESULT, demo.on_results)
    app.every(0.5, demo.on_timer)
    app.heartbeat(demo.heartbeat)
    return app
