"""An asyncio event loop whose time is virtual, and whose callbacks belong to simulated processes.

When nothing is ready, time jumps to the next timer. Timers are taken one at a time, so what happens never depends on how
asyncio batches them; callbacks run in asyncio's own order (first in, first out), because shuffling it would find bugs that
cannot happen. What is explored comes from seeded latencies at the seams.

Every callback carries the context of the process that made it. Those of a paused process are kept for later; those of a dead
one are dropped, as when the kernel ends it: not one more line of it runs. Real input and output are refused.
"""

import asyncio
import heapq
from asyncio import events
from collections import deque
from collections.abc import Callable
from contextvars import Context, ContextVar
from typing import Any, Protocol, TypeVar

T = TypeVar("T")


class Runs(Protocol):
    """What the loop asks of a process."""

    is_dead: bool
    is_paused: bool

    def park(self, handle: events.Handle) -> None:
        """Keep *handle* until the process goes on."""
        ...


PROCESS: ContextVar[Runs | None] = ContextVar("process", default=None)
"""The process whose code is running; None: the world around them."""


class Stalled(Exception):  # noqa: N818 - reads as what happened
    """Nothing is ready, nothing is scheduled: the simulation waits for something that cannot come."""


class SimLoop(asyncio.BaseEventLoop):
    """See the module. `latency` says how long work in another thread takes, in seconds."""

    _ready: deque[events.Handle]
    _stopping: bool

    def __init__(self, latency: Callable[[], float]) -> None:
        super().__init__()
        self._latency = latency
        self._virtual_s = 0.0
        self._timers: list[tuple[float, int, events.TimerHandle]] = []
        self._made = 0
        self.turns = 0
        """Callbacks run so far."""
        self.failures: list[dict[str, Any]] = []
        """What nobody caught, in callbacks and tasks."""

    def time(self) -> float:
        """Virtual seconds since the beginning."""
        return self._virtual_s

    def _run_once(self) -> None:
        ready = self._ready
        if not ready and not self._stopping:
            timer = self._next_timer()
            self._virtual_s = max(self._virtual_s, timer.when())
            ready.append(timer)
        while ready:
            handle = ready.popleft()
            if handle.cancelled():
                continue
            process = handle._context.get(PROCESS)  # type: ignore[attr-defined]  # noqa: SLF001 - no public way
            if process is not None:
                if process.is_dead:
                    continue
                if process.is_paused:
                    process.park(handle)
                    continue
            self.turns += 1
            handle._run()  # noqa: SLF001 - what the base class does

    def _next_timer(self) -> events.TimerHandle:
        while self._timers:
            timer = heapq.heappop(self._timers)[2]
            if not timer.cancelled():
                return timer
        raise Stalled

    def call_at(  # type: ignore[override]  # typeshed's variadic generics say the same
        self, when: float, callback: Callable[..., Any], *args: Any, context: Context | None = None
    ) -> events.TimerHandle:
        """As asyncio's. Timers of the same moment run in the order in which they were made."""
        timer = events.TimerHandle(when, callback, args, self, context)
        self._made += 1
        heapq.heappush(self._timers, (when, self._made, timer))
        return timer

    def call_later(  # type: ignore[override]  # typeshed's variadic generics say the same
        self, delay: float, callback: Callable[..., Any], *args: Any, context: Context | None = None
    ) -> events.TimerHandle:
        """As asyncio's."""
        return self.call_at(self._virtual_s + delay, callback, *args, context=context)

    def call_soon(  # type: ignore[override]  # typeshed's variadic generics say the same
        self, callback: Callable[..., Any], *args: Any, context: Context | None = None
    ) -> events.Handle:
        """As asyncio's."""
        handle = events.Handle(callback, args, self, context)
        self._ready.append(handle)
        return handle

    def again(self, handles: list[events.Handle]) -> None:
        """Put parked *handles* in line once more."""
        self._ready.extend(handles)

    def run_in_executor(self, executor: Any, func: Callable[..., T], *args: Any) -> "asyncio.Future[T]":  # type: ignore[override]  # noqa: ARG002
        """Run *func* at once; its outcome is known after a latency, as if a thread had done it."""
        future: asyncio.Future[T] = self.create_future()
        try:
            result = func(*args)
        except Exception as error:  # noqa: BLE001 - a thread's outcome, whatever it is
            self.call_later(self._latency(), _fail, future, error)
        else:
            self.call_later(self._latency(), _finish, future, result)
        return future

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """Keep what nobody caught. A dead process has nobody who could."""
        error = context.get("exception")
        if error is None or not getattr(error, "is_death", False):
            self.failures.append(context)

    def _process_events(self, event_list: Any) -> None:
        """There are none."""

    def _write_to_self(self) -> None:
        """Nobody sleeps."""


def _finish(future: "asyncio.Future[T]", result: T) -> None:
    if not future.done():
        future.set_result(result)


def _fail(future: "asyncio.Future[Any]", error: Exception) -> None:
    if not future.done():
        future.set_exception(error)
