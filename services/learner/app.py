"""Wiring of the learner."""

from holdfast.bus.app import ServiceApp
from holdfast.bus.seams import Seams
from holdfast.contracts import streams
from holdfast.contracts.codes import Role
from holdfast.contracts.trusted import Tables
from holdfast.domain.view import LedgerView
from holdfast.runtime.settings import Settings
from services.learner.service import LOOK_EVERY_S, Learner, Options

TICKS_BACK, PREDICTIONS_BACK, TRADES_BACK = 20_000, 1_000, 1_000
"""How many entries of each view are read again at start."""


def build(settings: Settings, seams: Seams | None = None) -> ServiceApp:
    """The service, ready to run."""
    app = ServiceApp(streams.LEARNER, settings, seams)
    view = LedgerView(
        Tables("positions", "learning", "thresholds", orders=lambda row: row["role"] == Role.ENTRY)
    )
    learner = Learner(view, app.clock, app.ids, Options.of(settings))
    app.follow(streams.MARKET_TICK, learner.on_ticks, last=TICKS_BACK)
    app.follow(streams.PREDICTION, learner.on_predictions, last=PREDICTIONS_BACK)
    app.follow(streams.LEDGER_OUTCOME, learner.on_kept)
    app.follow(streams.LEDGER_TRADE, learner.on_trades, last=TRADES_BACK)
    app.ledger(view, on_reset=learner.on_reset, on_updates=learner.on_updates)
    app.every(LOOK_EVERY_S, learner.on_time)
    app.background(learner.think)
    app.heartbeat(learner.beat)
    return app
