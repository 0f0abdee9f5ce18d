"""One simulated process: an incarnation of a service, its numbered points, its death.

Everything that leaves a service crosses a seam, and each crossing is a point before and a point after: (service, seam,
operation, before or after). At a point the process may be killed. From then on it has no effect on the world: its callbacks are
dropped by the loop, whatever it still calls while its stack unwinds raises `Dead`, its locks are let go and its connections
closed, so that an open transaction rolls back. Its coroutines are closed afterwards, so that nothing of it is left.
"""

import asyncio
import contextlib
from asyncio import events
from collections.abc import Callable, Coroutine
from contextvars import Context, copy_context
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from holdfast.bus.app import ServiceApp
from holdfast.runtime.locks import AlreadyHeld, Holder
from proving.sim.dice import Dice, Faults
from proving.sim.loop import PROCESS, SimLoop
from proving.sim.trace import Trace

START_MS = 1_700_000_000_000
"""Wall time at which every simulated world begins, ms."""
CLOSE_ATTEMPTS = 50
"""A coroutine that awaits while it is closed is closed again, this often at most."""
EARLY = 8
"""A point that was crossed this often is half as likely to kill as at first: rare points are reached, too."""


class Dead(BaseException):
    """Raised to whatever a dead process still calls. No `except Exception` catches it."""

    is_death = True


class Points:
    """Counts crossings and kills by point, over any number of worlds."""

    def __init__(self) -> None:
        self.crossed: dict[str, int] = {}
        self.killed: dict[str, int] = {}


@dataclass(slots=True)
class Outages:
    """What is down, and until when (virtual s)."""

    store_until_s: float = 0.0
    """The disk of the ledger is full."""
    venue_until_s: float = 0.0
    """The venue answers nobody."""


class Process:
    """See the module. Made by the world for one incarnation."""

    def __init__(
        self,
        service: str,
        number: int,
        *,
        loop: SimLoop,
        dice: Dice,
        faults: Faults,
        trace: Trace,
        points: Points,
    ) -> None:
        self.service, self.number, self.loop = service, number, loop
        self.dice, self.faults, self.trace, self.points = dice, faults, trace, points
        self.is_dead = self.is_paused = False
        self.outages = Outages()
        self.cut_until_s = 0.0
        """Until then it does not reach the bus."""
        self.skew_ms = 0
        """Its wall clock minus the world's."""
        self.exit_code: int | None = None
        self.why = ""
        self.app: ServiceApp | None = None
        self.was_paused = False
        """Whether a successor was started while it was away or its lock was lost."""
        self.on_death: Callable[[Process, str], None] = lambda _process, _why: None
        self.on_step: Callable[[], None] = lambda: None
        self.held: list[SimLock] = []
        self.tasks: list[asyncio.Task[Any]] = []
        self._closers: list[Callable[[], None]] = []
        self._parked: list[events.Handle] = []
        self.context: Context = copy_context()
        self.context.run(PROCESS.set, self)

    def __repr__(self) -> str:
        return f"{self.service}.{self.number}"

    # -- points -------------------------------------------------------------------------------------------------------

    def check(self) -> None:
        """Raises Dead in a dead process."""
        if self.is_dead:
            raise Dead(repr(self))

    def cross(self, seam: str, operation: str, when: str, note: str = "") -> None:
        """Arrive at a point. Raises Dead when the process is, or is killed here."""
        self.check()
        point = f"{self.service}.{seam}.{operation}.{when}"
        crossed = self.points.crossed.get(point, 0)
        self.points.crossed[point] = crossed + 1
        self.trace.step(self.loop.time(), self.service, self.number, point, note)
        self.on_step()
        weight = 2 * EARLY / (EARLY + crossed)
        if self.faults.strike("process.crash", point, self.loop.time(), weight):
            self.points.killed[point] = self.points.killed.get(point, 0) + 1
            self.kill(f"crash at {point}")
            raise Dead(repr(self))

    def strike(self, kind: str, where: str, weight: float = 1.0) -> bool:
        """Whether a fault of this kind happens to this process now."""
        if self.faults.strike(kind, f"{self.service}.{where}", self.loop.time(), weight):
            self.trace.fault(self.loop.time(), f"{kind} {self!r} {where}")
            return True
        return False

    async def wait(self, name: str, low_s: float, high_s: float) -> None:
        """Let a latency pass, chosen by the seed under *name*."""
        future: asyncio.Future[None] = self.loop.create_future()
        self.loop.call_later(self.dice.between(f"{self.service}|{name}", low_s, high_s), _wake, future)
        await future

    # -- life and death -------------------------------------------------------------------------------------------------

    def run(self, coroutine: Coroutine[Any, Any, Any]) -> "asyncio.Task[Any]":
        """Start *coroutine* as part of this process."""
        return self.loop.create_task(coroutine, context=self.context)

    def owns(self, close: Callable[[], None]) -> None:
        """*close* is called when the process ends: what the kernel would do with an open connection."""
        self._closers.append(close)

    def pause(self) -> None:
        self.is_paused = True

    def resume(self) -> None:
        self.is_paused = False
        parked, self._parked = self._parked, []
        self.loop.again(parked)

    def park(self, handle: events.Handle) -> None:
        self._parked.append(handle)

    def kill(self, why: str) -> None:
        """End it at once. Its coroutines are closed once the one that runs has unwound."""
        if self.is_dead:
            return
        self.end()
        self.trace.fault(self.loop.time(), f"{self!r} dies: {why}")
        self.loop.call_soon(self.reap, context=Context())
        self.on_death(self, why)

    def end(self) -> None:
        """Nothing of it has an effect from now on; what it held is free."""
        self.is_dead = True
        self._parked.clear()
        for lock in list(self.held):
            lock.release()
        closers, self._closers = self._closers, []
        for close in closers:
            close()

    def reap(self) -> None:
        """Close what is left of its coroutines, so that none is found later."""
        tasks, self.tasks = self.tasks, []
        for task in tasks:
            task._log_destroy_pending = False  # type: ignore[attr-defined]  # noqa: SLF001 - nobody will await it
            coroutine: Any = task.get_coro()
            for _ in range(CLOSE_ATTEMPTS):
                try:
                    coroutine.close()
                except RuntimeError:  # it awaits while it is closed
                    continue
                except BaseException:  # noqa: BLE001 - the last words of a dead process
                    break
                break
            if task.done() and not task.cancelled():
                with contextlib.suppress(BaseException):
                    task.exception()


def _wake(future: "asyncio.Future[None]") -> None:
    if not future.done():
        future.set_result(None)


class SimLock:
    """A lock held by a process: free as soon as it ends."""

    def __init__(self, locks: "Locks", path: str, process: Process) -> None:
        self._locks, self._path, self._process = locks, path, process
        process.held.append(self)

    def release(self) -> None:
        if self in self._process.held:
            self._process.held.remove(self)
        self._locks.free(self._path, self)

    def lose(self) -> None:
        """Somebody else may take it, and its holder does not know: what a lease or a lost connection does."""
        self._locks.free(self._path, self)


class Locks:
    """All locks of the world, by path."""

    def __init__(self) -> None:
        self._held: dict[str, tuple[SimLock, Process]] = {}
        self.refused = 0

    def take(self, path: str, process: Process, who: str) -> SimLock:
        """Raises AlreadyHeld while a living process holds it."""
        process.check()
        if path in self._held:
            self.refused += 1
            holder = self._held[path][1]
            raise AlreadyHeld(Path(path), Holder(holder.number, "sim", who, "then"))
        lock = SimLock(self, path, process)
        self._held[path] = (lock, process)
        return lock

    def free(self, path: str, lock: SimLock) -> None:
        found = self._held.get(path)
        if found is not None and found[0] is lock:
            del self._held[path]
