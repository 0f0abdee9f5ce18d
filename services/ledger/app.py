"""Wiring of the ledger."""

from collections.abc import Callable

from holdfast.bus.app import ServiceApp
from holdfast.bus.seams import Seams
from holdfast.contracts import streams
from holdfast.contracts.wire import Outgoing
from holdfast.domain.limits import Limits
from holdfast.domain.reservation import Rules
from holdfast.runtime.exit_settings import policy_table
from holdfast.runtime.learner_settings import learning_rules
from holdfast.runtime.limit_settings import portfolio_of
from holdfast.runtime.live_settings import capital_of
from holdfast.runtime.settings import Settings
from holdfast.store.opening import OpenStore, open_store
from services.ledger.service import Ledger

HEAL_EVERY_S = 0.5
SNAPSHOT_CHECK_S = 0.2
OUTCOMES_AT_ONCE = 20
"""Outcomes in one commit: they are large, and nothing waits for them."""


def rules_of(settings: Settings) -> Rules:
    """The configuration as the domain's decisions take it."""
    policies = policy_table(settings)
    return Rules(
        limits=Limits.of(settings.limits),
        policy=policies.default,
        policies=policies,
        hedging=settings.hedging.allow,
        hedged_symbols=frozenset(settings.hedging.symbols),
        spot_short=settings.paper.spot_short,
        capital=capital_of(settings),
        base_currency=settings.ledger.base_currency,
        learning=learning_rules(settings.learner),
        portfolio=portfolio_of(settings),
    )


def build(
    settings: Settings, seams: Seams | None = None, *, open_store: Callable[..., OpenStore] = open_store
) -> ServiceApp:
    """The ledger, ready to run. Opening the store may raise Terminal: another ledger has it."""
    app = ServiceApp(streams.LEDGER, settings, seams, serial=True)
    store = open_store(
        url=settings.ledger.url,
        directory=settings.dir,
        who=streams.LEDGER,
        ids=app.ids,
        check=settings.ledger.verify_on_start,
    )
    ledger = Ledger(
        store, rules_of(settings), clock=app.clock,
        snapshot_every_updates=settings.ledger.snapshot_every_updates, snapshot_every_ms=int(settings.ledger.snapshot_every_s * 1000),
    )  # fmt: skip

    async def heal() -> list[Outgoing]:
        newest = await app.newest(streams.LEDGER_UPDATED)
        snapshot = await app.newest(streams.LEDGER_SNAPSHOT)
        ledger.follow_snapshots(int(snapshot[0].partition("-")[0]) if snapshot else 0)
        if snapshot is None:
            ledger.want_snapshot()
        return await ledger.heal(
            (int(newest[0].partition("-")[0]), newest[1].get("hash", "")) if newest else None
        )

    async def heal_first() -> None:
        await app.publish(await heal())

    async def close() -> None:
        ledger.close()

    batch = settings.ledger.batch
    app.on_start(heal_first)
    app.work(streams.ORDER_RESERVE, ledger.on_work, batch=batch)
    app.work(streams.FILL, ledger.on_work, batch=batch, on_dead=ledger.on_dead)
    app.work(streams.ORDER_STATUS, ledger.on_work, batch=batch, on_dead=ledger.on_dead)
    app.work(streams.EXIT_ADJUST, ledger.on_work, batch=batch)
    app.work(streams.CONTROL, ledger.on_work, batch=batch)
    app.work(streams.EXIT_THRESHOLDS, ledger.on_work, batch=batch)
    app.work(streams.TRADE_OUTCOME, ledger.on_work, batch=OUTCOMES_AT_ONCE)
    app.work(streams.NAV_MARK, ledger.on_work, batch=batch)
    app.work(streams.EXECUTOR_CLAIM, ledger.on_work, batch=batch)
    app.work(streams.SNAPSHOT_REQUEST, ledger.on_snapshot_requests, batch=batch)
    app.every(SNAPSHOT_CHECK_S, ledger.on_time)
    app.every(HEAL_EVERY_S, heal)
    app.keep_house()
    app.heartbeat(ledger.beat)
    app.on_stop(close)
    return app
