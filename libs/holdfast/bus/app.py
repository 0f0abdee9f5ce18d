"""One service on the bus: what it reads, what it does on time, how it starts, how it stops, and with which exit code.

A service is wired here and decides nothing here. Its handlers return messages; this publishes them. Order at start:
reach the bus, create groups, `on_start`, load the ledger view, drain what was left pending, then read new work.
"""

import asyncio
import gc
import logging
import signal
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import nullcontext
from typing import Any, Literal

from holdfast import __version__
from holdfast.bus.connection import Publisher, is_passing
from holdfast.bus.follow import Reader, Wanted, follow, text
from holdfast.bus.groups import create_groups, lag_and_pending
from holdfast.bus.health_file import HealthFile
from holdfast.bus.housekeeping import claim_for_ever, fullness_pct, trim_for_ever
from holdfast.bus.ledger_feed import LedgerFeed
from holdfast.bus.patience import patiently
from holdfast.bus.presence import named, watch
from holdfast.bus.seams import Seams
from holdfast.bus.tasks import cancel_all
from holdfast.bus.work import Decode, Handler, Work, Worker
from holdfast.contracts.codes import UpdateKind
from holdfast.contracts.messages import Heartbeat, LedgerUpdated, SnapshotRequest
from holdfast.contracts.streams import HEARTBEAT, SNAPSHOT_REQUEST, Stream
from holdfast.contracts.wire import Entry, Out, Outgoing, decode
from holdfast.domain.view import LedgerView
from holdfast.runtime.bus_address import complete
from holdfast.runtime.faults import EXIT_TERMINAL, EXIT_UNAVAILABLE, Terminal, Transient
from holdfast.runtime.keys import signing_key
from holdfast.runtime.settings import Settings

log = logging.getLogger("holdfast.bus")

View = Callable[[Sequence[Entry]], Awaitable[list[Outgoing]]]
Timed = Callable[[], Awaitable[list[Outgoing]]]
Publish = Callable[[list[Outgoing]], Awaitable[None]]
HEARTBEAT_EVERY_S = 1.0
WATCH_EVERY_S = 0.2


def collect_seldom() -> None:
    """What is loaded by now stays: collecting it again and again costs a tenth of the ledger's time."""
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


class ServiceApp:
    """See the module. `run` blocks until the service stops and returns its exit code."""

    def __init__(
        self,
        name: str,
        settings: Settings,
        seams: Seams | None = None,
        *,
        instance: str = "0",
        group: str | None = None,
        serial: bool = False,
    ) -> None:
        self.name, self.settings, self.instance, self.group = name, settings, instance, group or name
        self.seams = seams or Seams()
        self.clock, self._patience_ms = self.seams.clock, int(settings.bus.store_patience_s * 1000)
        self.ids = self.seams.ids(self.clock)
        self.incarnation = self.ids.new()
        self.bus_fullness_pct: float | None = None
        """Share of the bus's memory in use, percent; None while it is not known."""
        self._serial = asyncio.Lock() if serial else None
        """One handler at a time, publishing included: what is decided first is published first."""
        self._keeps_house = False
        self._works: list[Work] = []
        self._follows: list[tuple[Stream, View, int, Wanted | None]] = []
        self._timers: list[tuple[float, Timed]] = []
        self._backgrounds: list[Callable[[Publish], Coroutine[Any, Any, None]]] = []
        self._starters: list[Callable[[], Awaitable[None]]] = []
        self._stoppers: list[Callable[[], Awaitable[None]]] = []
        self._ledger: (
            tuple[
                LedgerView,
                Callable[[], Awaitable[list[Outgoing]]],
                Callable[[Sequence[LedgerUpdated]], Awaitable[list[Outgoing]]],
                frozenset[UpdateKind] | None,
            ]
            | None
        ) = None
        self._gates: list[Callable[[], Coroutine[Any, Any, object]]] = []
        self._beat: Callable[[], dict[str, Any]] = dict
        self._exit: tuple[int, str] | None = None
        self._stopping: asyncio.Event | None = None
        self._workers: list[Worker] = []
        self._lag = (0, 0, 0)
        self._started_at = self.clock.wall_ms()
        self._beat_now = asyncio.Event()

    # -- wiring -------------------------------------------------------------------------------------------------------

    def work(
        self,
        stream: Stream,
        handler: Handler,
        *,
        batch: int | None = None,
        acks: Literal["bus", "handler"] = "bus",
        malformed: Literal["dead_letter", "handler"] = "dead_letter",
        on_dead: Callable[[Entry], Awaitable[list[Outgoing]]] | None = None,
        decode: Decode = decode,
    ) -> None:
        """Read *stream* as work, in this service's group."""
        self._works.append(
            Work(
                stream=stream,
                handler=handler,
                batch=batch or self.settings.bus.batch,
                handler_acks=acks == "handler",
                takes_malformed=malformed == "handler",
                on_dead=on_dead,
                decode=decode,
            )
        )

    def ledger(
        self,
        view: LedgerView,
        *,
        on_reset: Callable[[], Awaitable[list[Outgoing]]],
        on_updates: Callable[[Sequence[LedgerUpdated]], Awaitable[list[Outgoing]]],
        kinds: frozenset[UpdateKind] | None = None,
    ) -> None:
        """Keep *view* equal to the ledger; *kinds* limits which updates are decoded."""
        self._ledger = (view, on_reset, on_updates, kinds)

    def follow(self, stream: Stream, handler: View, *, last: int = 0, wanted: Wanted | None = None) -> None:
        """Read *stream* as a view, from now on or from *last* entries back; only entries that are *wanted*, if given."""
        self._follows.append((stream, handler, last, wanted))

    def every(self, seconds: float, handler: Timed) -> None:
        """Call *handler* each *seconds* of wall time, publish what it returns."""
        self._timers.append((seconds, handler))

    def background(self, run: Callable[[Publish], Coroutine[Any, Any, None]]) -> None:
        """Run *run(publish)* beside everything else, until it returns or the service stops."""
        self._backgrounds.append(run)

    def presence(self, handler: Callable[[frozenset[str]], None]) -> None:
        """Tell *handler* again and again which lives (incarnations) of services are connected, where the bus says so."""
        self.background(lambda _: watch(self.client, self.clock, handler))

    def keep_house(self) -> None:
        """Trim the work streams: one service does it for all."""
        self._keeps_house = True

    def heartbeat(self, fields: Callable[[], dict[str, Any]]) -> None:
        self._beat = fields

    def on_start(self, run: Callable[[], Awaitable[None]]) -> None:
        self._starters.append(run)

    def before_work(self, run: Callable[[], Coroutine[Any, Any, object]]) -> None:
        """New work is read only after *run* has returned, however long that takes; views are followed meanwhile."""
        self._gates.append(run)

    def beat_soon(self) -> None:
        """There is news for the heartbeat."""
        self._beat_now.set()

    def on_stop(self, run: Callable[[], Awaitable[None]]) -> None:
        self._stoppers.append(run)

    @property
    def view(self) -> LedgerView | None:
        """Its view of the ledger, where it has one."""
        return self._ledger[0] if self._ledger else None

    @property
    def ended_because(self) -> str:
        """Why it stopped; empty when it was asked to, or still runs."""
        return self._exit[1] if self._exit else ""

    def stop(self, code: int = 0, why: str = "") -> None:
        """End the service. The first call decides the exit code."""
        if self._exit is None:
            self._exit = (code, why)
            if code:
                log.critical("%s stops with exit code %d: %s", self.name, code, why)
                for worker in self._workers:
                    worker.stopping = (
                        True  # what this service knows can no longer be trusted: not one more batch
                    )
        if self._stopping is not None:
            self._stopping.set()

    # -- running ------------------------------------------------------------------------------------------------------

    def run(self) -> int:
        """Run until stopped; returns the exit code."""
        collect_seldom()
        return asyncio.run(self.serve())

    async def serve(self) -> int:
        """As `run`, inside a running loop."""
        self._stopping = asyncio.Event()
        loop = asyncio.get_running_loop()
        for signum in (signal.SIGTERM, signal.SIGINT):
            try:
                loop.add_signal_handler(signum, self.stop)
            except (NotImplementedError, RuntimeError, ValueError):  # not the main thread: a test drives us
                break
        try:
            url = complete(self.settings.bus.url, self.settings, self.name)
            key = signing_key(self.settings, self.name)
        except Terminal as error:
            self.stop(error.code, str(error))
            return error.code
        self.client = self.seams.connect(named(url, self.name, self.incarnation))
        self.publisher = Publisher(self.client, self.name, self.settings.bus.prefix, key)
        self._reading = self.seams.reading(url)
        tasks: list[asyncio.Task[None]] = []
        try:
            await self._start(tasks)
            await self._stopping.wait()
        except Terminal as error:
            self.stop(error.code, str(error))
        except Exception as error:
            log.exception("%s could not start", self.name)
            self.stop(EXIT_TERMINAL, f"{type(error).__name__}: {error}")
        finally:
            await self._shut(tasks)
        return self._exit[0] if self._exit else 0

    async def _start(self, tasks: list[asyncio.Task[None]]) -> None:
        await patiently(self._reach_bus, self.clock, self._patience_ms)
        for starter in self._starters:
            await patiently(starter, self.clock, self._patience_ms)
        self._spawn(tasks, self._heartbeats())
        for stream, handler, last, wanted in self._follows:
            self._spawn(tasks, self._follow_view(stream, handler, last, wanted))
        for seconds, timed in self._timers:
            self._spawn(tasks, self._timer(seconds, timed))
        for background in self._backgrounds:
            self._spawn(tasks, background(self.publish))
        if self._ledger is not None:
            await self._follow_ledger(tasks)
        for gate in self._gates:
            await self._unless_stopped(gate())
        if not self._is_stopping:
            await self._start_working(tasks)

    async def _reach_bus(self) -> None:
        try:
            await self.client.ping()
            await self._create_groups()
        except Exception as error:
            if is_passing(error):
                raise Transient(f"no bus at {self.settings.bus.url.rpartition('@')[2]}: {error}") from error
            raise

    async def _create_groups(self) -> None:
        """Everybody's; where the bus has users, a service may create its own only."""
        only = self.group if self.settings.bus.acl else None
        await create_groups(self.client, self.settings.bus.prefix, self.settings.streams(), only)

    def _spawn(self, tasks: list[asyncio.Task[None]], coroutine: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(coroutine)
        task.add_done_callback(self._ended)
        tasks.append(task)

    def _ended(self, task: "asyncio.Task[None]") -> None:
        if task.cancelled() or (error := task.exception()) is None:
            return
        code = error.code if isinstance(error, Terminal) else EXIT_TERMINAL
        if not isinstance(error, Terminal):
            log.error("%s: a task failed", self.name, exc_info=error)
        self.stop(code, f"{type(error).__name__}: {error}")

    async def publish(self, outputs: list[Outgoing]) -> None:
        """Publish, waiting out a bus that is gone."""
        if outputs:
            await patiently(lambda: self.publisher.publish(outputs), self.clock, self._patience_ms)

    async def _shut(self, tasks: list[asyncio.Task[None]]) -> None:
        for worker in self._workers:
            await worker.stop()
        await cancel_all(tasks)
        for stopper in self._stoppers:
            await stopper()
        await self._reading.stop()
        await self.client.aclose()

    # -- views ----------------------------------------------------------------------------------------------------------

    async def _follow_view(self, stream: Stream, handler: View, last: int, wanted: Wanted | None) -> None:
        async def handle(entries: Sequence[Entry]) -> None:
            await self.publish(await handler(entries))

        bus = self.settings.bus
        reader = Reader(self.client, stream, clock=self.clock, prefix=bus.prefix, block_ms=bus.block_ms)
        await follow(reader, handle, last=last, wanted=wanted)

    async def _follow_ledger(self, tasks: list[asyncio.Task[None]]) -> None:
        """Start following; returns when the view is loaded (or the service is stopping)."""
        assert self._ledger is not None
        view, on_reset, on_updates, kinds = self._ledger
        loaded = asyncio.Event()

        async def reset() -> None:
            await self.publish(await on_reset())
            loaded.set()
            self._beat_now.set()

        async def updated(updates: Sequence[LedgerUpdated]) -> None:
            await self.publish(await on_updates(updates))

        async def ask(why: str) -> None:
            request = SnapshotRequest(
                id=self.ids.new(), at=self.clock.wall_ms(), by=self.name, why=why[:1000]
            )
            await self.publish([Out(SNAPSHOT_REQUEST, request)])

        bus = self.settings.bus
        feed = LedgerFeed(
            self.client, view, clock=self.clock, prefix=bus.prefix, ask=ask, on_reset=reset, on_updates=updated, kinds=kinds,
            block_ms=bus.block_ms,
        )  # fmt: skip
        self._spawn(tasks, feed.run())
        await self._unless_stopped(loaded.wait())

    @property
    def _is_stopping(self) -> bool:
        return self._stopping is not None and self._stopping.is_set()

    async def _unless_stopped(self, something: Coroutine[Any, Any, Any]) -> None:
        """Wait for it, or until the service is to stop."""
        assert self._stopping is not None
        stop, waiting = asyncio.ensure_future(self._stopping.wait()), asyncio.ensure_future(something)
        await asyncio.wait({stop, waiting}, return_when=asyncio.FIRST_COMPLETED)
        stop.cancel()
        waiting.cancel()

    # -- work -----------------------------------------------------------------------------------------------------------

    async def _start_working(self, tasks: list[asyncio.Task[None]]) -> None:
        bus = self.settings.bus
        for work in self._works:
            worker = Worker(
                work, service=self.name, group=self.group, consumer=f"{self.group}-{self.instance}", client=self.client, publisher=self.publisher, clock=self.clock,
                block_ms=bus.block_ms, max_deliveries=bus.max_deliveries, patience_s=bus.store_patience_s, claim_idle_ms=bus.claim_idle_ms,
                lock=self._serial,
            )  # fmt: skip
            worker.bind(self._reading, lambda error: self.stop(error.code, str(error)))
            self._workers.append(worker)
        if self._workers:
            await self._reading.connect()
        for worker in self._workers:
            self._spawn(tasks, self._keep_reading(worker))
        if self._workers:
            self._spawn(tasks, claim_for_ever(self._workers, self.clock))
        if self._keeps_house:
            self._spawn(tasks, trim_for_ever(self.client, self.clock, bus.prefix, self.settings.streams()))

    async def _keep_reading(self, worker: Worker) -> None:
        """Start the worker, and start it again whenever its read loop ended: after a wipe (NOGROUP) or a lost server."""
        while not worker.stopping:
            try:
                await self._create_groups()
                await worker.start()
                while worker.is_reading and not worker.stopping:
                    await self.clock.sleep(WATCH_EVERY_S)
                if not worker.stopping:
                    log.warning(
                        "%s: reading stopped; creating groups and starting again", worker.work.stream.name
                    )
            except Exception as error:
                if not is_passing(error) and not isinstance(error, TimeoutError | Transient):
                    raise
                log.warning("%s: %s; trying again", worker.work.stream.name, error)
            await self.clock.sleep(WATCH_EVERY_S)

    # -- time ----------------------------------------------------------------------------------------------------------

    async def _timer(self, seconds: float, handler: Timed) -> None:
        while True:
            started = self.clock.monotonic_ms()
            await patiently(lambda: self._once(handler), self.clock, self._patience_ms)
            await self.clock.sleep(max(0.0, seconds - (self.clock.monotonic_ms() - started) / 1000))

    async def _once(self, handler: Timed) -> None:
        async with self._serial or nullcontext():
            outputs = await handler()
            if outputs:
                await self.publisher.publish(outputs)

    async def newest(self, stream: Stream) -> tuple[str, dict[str, str]] | None:
        """Id and fields of the newest entry of *stream*, None when it has none. Raises Transient."""
        try:
            rows = await self.client.xrevrange(self.settings.bus.prefix + stream.name, count=1)
        except Exception as error:
            if is_passing(error):
                raise Transient(f"bus: {error}") from error
            raise
        if not rows:
            return None
        entry_id, fields = rows[0]
        return text(entry_id), {text(name): text(value) for name, value in (fields or {}).items()}

    async def _heartbeats(self) -> None:
        pause_s, health_file = HEARTBEAT_EVERY_S, HealthFile(self.settings.health_file)
        while True:
            self._beat_now.clear()
            try:
                await self._measure()
                await self.publisher.publish([Out(HEARTBEAT, beat := self._heartbeat())])
                health_file.note(beat)
                pause_s = HEARTBEAT_EVERY_S
            except Exception as error:
                if not is_passing(error) and not isinstance(error, Transient):
                    raise
                if pause_s == HEARTBEAT_EVERY_S:
                    log.warning("heartbeat: %s; trying until it can be published", error)
                pause_s = WATCH_EVERY_S  # heard of again as soon as the bus takes it
            await self._until_next_beat(pause_s)

    async def _until_next_beat(self, pause_s: float) -> None:
        """*pause_s*, or less when there is news: that the ledger's view has been loaded, at start or after a wipe."""
        pause, news = (
            asyncio.ensure_future(self.clock.sleep(pause_s)),
            asyncio.ensure_future(self._beat_now.wait()),
        )
        await asyncio.wait({pause, news}, return_when=asyncio.FIRST_COMPLETED)
        pause.cancel()
        news.cancel()

    async def _measure(self) -> None:
        self.bus_fullness_pct = await fullness_pct(self.client)
        self._lag = await lag_and_pending(
            self.client, self.group, [work.stream for work in self._works], self.settings.bus.prefix
        )

    def _heartbeat(self) -> Heartbeat:
        lag, pending, oldest = self._lag
        fields: dict[str, Any] = {
            "service": self.name, "instance": self.instance, "incarnation": self.incarnation, "started_at": self._started_at,
            "lag": lag, "pending": pending, "oldest_pending_ms": oldest, "version": __version__,
            "dead_letters": sum(worker.dead_letters for worker in self._workers),
        }  # fmt: skip
        waiting = [
            f"{worker.work.stream.name} waits: {worker.waiting_for}"
            for worker in self._workers
            if worker.waiting_for
        ]
        fields |= self._beat()
        if waiting and not fields.get("unreadable"):
            fields["unreadable"] = waiting[0][:1000]
        return Heartbeat(id=self.ids.new(), at=self.clock.wall_ms(), **fields)


__all__ = ["EXIT_UNAVAILABLE", "Publish", "ServiceApp"]
