"""One simulated world: the real services on a simulated machine, bus and venue, with faults, until a number of steps is reached.

Services are started as the supervisor starts them, and again whenever they end. Then faults stop, everything goes on for a bounded
time, prices sweep through every stop, and what must be true at rest is asked. After every step the auditor looks at what is
new in the ledger's store and the venue's records.
"""

import asyncio
import gc
from collections.abc import Callable, Sequence
from contextvars import Context
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from holdfast.bus.app import ServiceApp
from holdfast.bus.seams import Seams
from holdfast.contracts.messages import Fill
from holdfast.contracts.rows import OrderRow
from holdfast.contracts.streams import EXECUTOR, EXIT_SCANNER, LEDGER, STATE_PUBLISHER
from holdfast.runtime.faults import EXIT_UNAVAILABLE, Terminal, Transient
from holdfast.runtime.settings import Settings
from holdfast.venues.port import Outcome, OutcomeKind
from proving.sim import store, venue
from proving.sim.bus import SimBus, SimRedis
from proving.sim.clock import SimClock, SimIds
from proving.sim.dice import Dice, Faults
from proving.sim.inspector import Inspector
from proving.sim.loop import SimLoop
from proving.sim.market import Market
from proving.sim.person import Person
from proving.sim.process import Dead, Locks, Outages, Points, Process
from proving.sim.producer import Producer
from proving.sim.reading import PlainReading
from proving.sim.sometimes import Sometimes
from proving.sim.trace import Trace
from services.executor.app import build as build_executor
from services.exit_scanner.app import build as build_scanner
from services.ledger.app import build as build_ledger
from services.state_publisher.app import build as build_publisher

SERVICES = (LEDGER, EXECUTOR, EXIT_SCANNER, STATE_PUBLISHER)
RULES = {
    "cooldown_s": "20", "loss_streak": 2, "loss_streak_pause_s": "20", "max_daily_loss": "20", "max_total_drawdown_pct": "0.02",
    "shrink_drawdown_pct": "0.1", "shrink_volatility_pct": "1",
}  # fmt: skip
"""Rules of the portfolio that a few worlds have: tight enough that each holds entries back now and then."""
THREAD_S = (0.000_1, 0.004)
RESTART_S = (0.1, 4.0)


class Violated(Exception):  # noqa: N818 - reads as what happened
    """The simulation ends here: something that must not be is."""


@dataclass(slots=True)
class Setup:
    """What a world is made of, besides its seed."""

    directory: Path
    steps: int
    only: frozenset[str] | None = None
    kinds: frozenset[str] | None = None
    keep_lines: int | None = 200
    times: float = 1.0
    """Every rate of the menu is multiplied by it."""


@dataclass(slots=True)
class Ends:
    """How processes ended."""

    exits: dict[str, int] = field(default_factory=dict)
    """"service code" -> how often."""
    why: dict[str, str] = field(default_factory=dict)


class World:
    """See the module."""

    services = SERVICES

    def __init__(self, seed: int, setup: Setup, points: Points) -> None:
        self.seed, self.setup, self.points = seed, setup, points
        self.dice = Dice(seed)
        self.loop = SimLoop(lambda: self.dice.between("thread", *THREAD_S))
        self.loop.set_task_factory(self._task)
        self.trace = Trace(setup.keep_lines, str(setup.directory))
        self.faults = Faults(self.dice, setup.only, setup.kinds, setup.times)
        self.bus = SimBus(self.loop)
        self.locks, self.outages = Locks(), Outages()
        self.settings = self._settings()
        self.sometimes = Sometimes()
        self.bus.taps += [self.trace.entry, self.sometimes.hear]
        self.market = Market(self.bus, self.dice, self.faults, self.trace)
        self.producer = Producer(
            self.bus, self.market, self.dice, self.faults, self.trace, self.settings.accounts
        )
        self.processes: dict[str, Process] = {}
        """The supervised one of each service; None while it is down."""
        self.others: list[Process] = []
        """Zombies and twins: alive beside the supervised one."""
        self.ends = Ends()
        self._numbers = 0
        self.is_ending = False
        self._skews = {
            name: self.dice.whole(f"clock|skew|{name}", -3_000, 3_000)
            if self.faults.strike("clock.skew", name, 0.0)
            else 0
            for name in SERVICES
        }
        self.inspector = Inspector(self)

    def lives(self, service: str) -> bool:
        """Whether the service runs: the supervised one, or a twin that has its lock, beside which a supervised one cannot start."""
        return service in self.processes or any(process.service == service for process in self.others)

    def _settings(self) -> Settings:
        dice = self.dice
        return Settings.model_validate(
            {
                "dir": self.setup.directory,
                "accounts": ["main"] if dice.roll("world|accounts") < 0.6 else ["main", "second"],
                "bus": {"url": "redis://sim", "store_patience_s": 20, "claim_idle_ms": 5_000, "batch": 100},
                "ledger": {"snapshot_every_s": 10, "snapshot_every_updates": 60, "verify_on_start": False},
                "limits": {"max_positions": dice.pick("world|positions", (2, 1000, 1000, 1000))}
                | (RULES if dice.roll("world|rules") < 0.15 else {}),
                "exits": {"stop_loss_pct": "3", "take_profit_pct": "4"},
                "hedging": {"allow": dice.roll("world|hedging") < 0.2},
                "paper": {
                    "market": dice.pick("world|market", ("linear", "linear", "spot")),
                    "partial_fill_pct": dice.pick("world|partial", ("0", "30")),
                    "reject_pct": dice.pick("world|reject", ("0", "3")),
                    "seed": self.seed % 1_000_000,
                },
                "executor": {"reconcile_every_s": 10, "resend_after_ms": 1_000, "entry_batch": 10},
                "state": {"every_s": 2},
            }
        )

    def _task(self, loop: asyncio.AbstractEventLoop, coroutine: Any, **named: Any) -> "asyncio.Task[Any]":
        task: asyncio.Task[Any] = asyncio.Task(coroutine, loop=loop, **named)
        context: Context | None = named.get("context")
        process = running(context)
        if process is not None:
            process.tasks.append(task)
            if len(process.tasks) > 200:
                process.tasks = [one for one in process.tasks if not one.done()]
        return task

    # -- processes ------------------------------------------------------------------------------------------------------

    def start(self, service: str) -> Process:
        """A new incarnation of *service*."""
        self._numbers += 1
        process = Process(
            service, self._numbers, loop=self.loop, dice=self.dice, faults=self.faults, trace=self.trace, points=self.points
        )  # fmt: skip
        process.skew_ms, process.outages = self._skews[service], self.outages
        process.on_death, process.on_step = self._died, self.inspector.step
        self.trace.fault(self.loop.time(), f"{process!r} starts")
        task = process.run(self._serve(process))
        task.add_done_callback(lambda done: self._ended(process, done), context=Context())
        return process

    async def _serve(self, process: Process) -> int:
        try:
            app = process.app = self._build(process)
            code = await app.serve()
        except Terminal as error:  # as runtime.entry does
            process.why = str(error)
            return error.code
        except Transient as error:
            process.why = str(error)
            return EXIT_UNAVAILABLE
        process.why = app.ended_because
        return code

    def _build(self, process: Process) -> ServiceApp:
        clock = SimClock(process)

        def connect(_: str = "") -> Any:
            process.check()
            return SimRedis(self.bus, process)

        seams = Seams(
            clock=clock, ids=lambda _: SimIds(clock, process), connect=connect,
            reading=lambda _: PlainReading(process, connect), hold=lambda path, who, _: self.locks.take(str(path), process, who),
        )  # fmt: skip
        if process.service == LEDGER:
            return build_ledger(
                self.settings,
                seams,
                open_store=store.opener(process, self.locks, self.inspector.ledger_changed),
            )
        if process.service == EXECUTOR:
            return build_executor(
                self.settings,
                seams,
                open_venue=venue.opener(process, self.inspector.venue_changed, self),
            )
        build = build_scanner if process.service == EXIT_SCANNER else build_publisher
        return build(self.settings, seams)

    def answered(self, outcomes: Sequence[Outcome], *, lost: bool) -> None:
        """See `venue.Watcher`."""
        if lost and any(outcome.kind is OutcomeKind.ACCEPTED for outcome in outcomes):
            self.sometimes.note("answer to a send lost")

    def sending(self, rows: Sequence[OrderRow], now_ms: int) -> None:
        """See `venue.Watcher`."""
        self.inspector.watch.sending(rows, now_ms)

    def was_read(self, process: Process, account: str, operation: str, *, failed: bool) -> None:
        """See `venue.Watcher`."""
        self.inspector.watch.was_read(process, account, operation, failed=failed)

    def told(self, fills: Sequence[Fill]) -> None:
        """See `venue.Watcher`."""
        self.sometimes.told.update((fill.account, fill.trade_id) for fill in fills)

    def _ended(self, process: Process, task: "asyncio.Task[int]") -> None:
        """A process has ended by itself."""
        if process.is_dead:
            return
        error = None if task.cancelled() else task.exception()
        if isinstance(error, Dead):
            return
        if error is not None:
            self.inspector.report("INV-10", f"{process!r} ended with {type(error).__name__}: {error}")
        process.exit_code = None if error is not None else task.result()
        process.end()
        self.loop.call_soon(process.reap, context=Context())
        self.ends.why[process.service] = process.why
        key = f"{process.service} {process.exit_code}"
        self.ends.exits[key] = self.ends.exits.get(key, 0) + 1
        self.trace.fault(self.loop.time(), f"{process!r} exits with {process.exit_code}: {process.why}")
        if process in self.others:
            self.others.remove(process)
            self._note_refusal(process)
        else:
            self._respawn(process.service)

    def _note_refusal(self, process: Process) -> None:
        """A zombie or a twin has ended."""
        if process.exit_code == 0 or process.service not in {LEDGER, EXECUTOR}:
            return
        is_zombie = process.was_paused
        self.sometimes.note(
            f"zombie {process.service} fenced" if is_zombie else f"a second {process.service} refused"
        )

    def _died(self, process: Process, why: str) -> None:
        if process in self.others:
            self.others.remove(process)
            return
        if why.startswith(f"crash at {LEDGER}.store.commit"):
            self.sometimes.note("killed at commit")
        if why.endswith(("venue.submit.arrived", "venue.submit.after")):
            self.sometimes.note("killed between accept and commit")
        if self.bus.server.has_pending(process.service.encode()):
            self.sometimes.note("in hand at a crash")
        self.inspector.went_down()
        self._respawn(process.service)

    def _respawn(self, service: str) -> None:
        self.processes.pop(service, None)
        if not self.is_ending:
            delay = self.dice.between("world|restart", *RESTART_S)
            self.loop.call_later(delay, self._spawn, service, context=Context())

    def _spawn(self, service: str) -> None:
        if not self.is_ending and service not in self.processes:
            self.processes[service] = self.start(service)

    def set_clocks_right(self) -> None:
        """Every service's wall clock is the world's from now on."""
        self._skews = dict.fromkeys(SERVICES, 0)
        for process in [*self.processes.values(), *self.others]:
            process.skew_ms = 0

    # -- life -----------------------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Everything, from the first start to the last question. Raises Violated."""
        from proving.sim.mischief import Mischief
        from proving.sim.rest import come_to_rest

        asyncio.events._set_running_loop(None)  # noqa: SLF001 - a loop of ours inside nobody else's
        mischief, person = Mischief(self), Person(self)

        async def live() -> None:
            for service in SERVICES:
                self.loop.call_later(
                    self.dice.between("world|first", 0.0, 0.5), self._spawn, service, context=Context()
                )
            self.market.start()
            self.loop.call_later(2.0, self.producer.start)
            mischief.start()
            person.start()
            await self._until(lambda: self.trace.steps >= self.setup.steps, 3_600.0)
            self.faults.active = False
            self.producer.is_wishing = False
            mischief.end()
            person.leave()
            await come_to_rest(self)

        try:
            self.loop.run_until_complete(live())
        finally:
            self._close()

    async def _until(self, condition: Callable[[], bool], limit_s: float) -> None:
        end = self.loop.time() + limit_s
        while not condition() and self.loop.time() < end:
            await asyncio.sleep(0.5)
            self.inspector.raise_found()

    def _close(self) -> None:
        self.is_ending = True
        for process in [*self.processes.values(), *self.others]:
            process.end()
            process.reap()
        for task in asyncio.all_tasks(self.loop):
            task._log_destroy_pending = False  # type: ignore[attr-defined]  # noqa: SLF001 - its world has ended
        self.inspector.close()
        self.loop.close()
        gc.unfreeze()


def running(context: Context | None) -> Process | None:
    """The process that *context*, or the running code, belongs to."""
    from proving.sim.loop import PROCESS

    found = context.get(PROCESS) if context is not None else PROCESS.get()
    return found if isinstance(found, Process) else None
