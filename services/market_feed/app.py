"""Wiring of market_feed."""

from functools import partial

from holdfast.bus.app import ServiceApp
from holdfast.bus.seams import Seams
from holdfast.contracts.streams import MARKET_FEED
from holdfast.runtime.clock import Clock
from holdfast.runtime.faults import EXIT_CONFIG, Terminal
from holdfast.runtime.ids import Ids
from holdfast.runtime.settings import Settings
from holdfast.venues.ccxt_feed import CcxtFeed, open_exchange
from services.market_feed.live import LiveSource
from services.market_feed.record import Record
from services.market_feed.replay import ReplaySource
from services.market_feed.service import MarketFeed
from services.market_feed.source import Source
from services.market_feed.spec import BadSpec, CcxtSpec, ReplaySpec, parse
from services.market_feed.synthetic import SyntheticSource


def source_of(settings: Settings, clock: Clock, ids: Ids) -> Source:
    """The source that `feed.spec` asks for. Raises Terminal when it cannot be used."""
    try:
        spec = parse(settings.feed.spec)
    except BadSpec as error:
        raise Terminal(f"feed.spec: {error}", EXIT_CONFIG) from error
    directory = settings.dir / "feed"
    if isinstance(spec, ReplaySpec):
        return ReplaySource(spec, Record(directory, "replay"), clock, ids.new)
    if isinstance(spec, CcxtSpec):
        return LiveSource(
            spec.exchange,
            CcxtFeed(spec.exchange, spec.symbols, clock, partial(open_exchange, url=spec.url)),
            clock,
            ids.new,
        )
    return SyntheticSource(spec, Record(directory, "synthetic"), clock, ids.new)


def build(settings: Settings, seams: Seams | None = None) -> ServiceApp:
    """The service, ready to run. Raises Terminal when `feed.spec` is wrong."""
    app = ServiceApp(MARKET_FEED, settings, seams)
    source = source_of(settings, app.clock, app.ids)
    feed = MarketFeed(source)

    app.on_start(source.open)
    app.background(feed.pump)
    app.heartbeat(feed.heartbeat)
    app.on_stop(source.close)
    return app
