"""The venue of a simulated world: the real paper venue on its real record, behind a wire that may fail.

The record is the truth about what happened at the exchange; services reach it through the wire alone. A request arrives within 90 ms
or not at all, whatever has become of its sender's loop meanwhile; its answer may be lost, late, or say "nothing" where there is
something. What the port promises is kept where a decision rests on it: that a look-up shows what has arrived, and that an order
is never accepted later than the paper venue's own visibility delay after `send_by`.
"""

import asyncio
import sqlite3
from collections.abc import Callable, Coroutine, Sequence
from contextvars import Context
from typing import Any, Protocol, TypeVar

from holdfast.contracts.messages import Fill, Tick
from holdfast.contracts.rows import OrderRow
from holdfast.runtime.settings import Settings
from holdfast.venues.paper import PaperVenue
from holdfast.venues.paper_record import PaperRecord
from holdfast.venues.port import Events, Outcome, Venue, VenueOrder, VenuePosition, VenueUnreadable
from proving.sim.process import Process
from proving.sim.store import let_go, sqlite_error
from services.executor.app import PAPER, rules_of

T = TypeVar("T")
THERE_S = (0.001, 0.03)
BACK_S = (0.001, 0.03)
SLOW_THERE_S = (0.03, 0.09)
SLOW_BACK_S = (0.3, 6.0)
LATE_S = (0.2, 8.0)


class Watcher(Protocol):
    """Sees what passes over the wire, for the figures and for what must not be."""

    def sending(self, rows: Sequence[OrderRow], now_ms: int) -> None:
        """Orders are about to go on the wire; *now_ms* is their sender's wall time."""
        ...

    def was_read(self, process: Process, account: str, operation: str, *, failed: bool) -> None:
        """*process* is about to hear how its read has ended."""
        ...

    def answered(self, outcomes: Sequence[Outcome], *, lost: bool) -> None:
        """The venue has answered a send; *lost*: nobody will hear of it."""
        ...

    def told(self, fills: Sequence[Fill]) -> None:
        """The venue has told these by itself."""
        ...


class Unanswered(TimeoutError):  # noqa: N818 - reads as what happened
    """A request without an answer: nobody knows whether it arrived."""


class SimRecord(PaperRecord):
    """The record, on a disk that may not take a commit."""

    process: Process
    on_commit: Callable[[], None]

    def commit(self, **what: Any) -> None:
        if self.process.strike("venue.record", "commit"):
            raise sqlite_error("database or disk is full", sqlite3.SQLITE_FULL)
        super().commit(**what)
        self.on_commit()

    def let_go(self) -> None:
        """What the kernel does with the connection of a dead process."""
        let_go(self._db)


class SimVenue(PaperVenue):
    """See the module."""

    process: Process
    watcher: "Watcher"

    def connect(self, process: Process, watcher: "Watcher") -> None:
        self.process, self.watcher = process, watcher
        self._late: list[tuple[float, Fill | VenueOrder]] = []

    # -- the wire -----------------------------------------------------------------------------------------------------

    async def _call(self, operation: str, run: Coroutine[Any, Any, T]) -> T:
        """The answer to a request. Raises Unanswered, and what the venue raises."""
        process = self.process
        try:
            process.cross("venue", operation, "before")
            is_down = process.loop.time() < process.outages.venue_until_s
            if is_down or process.strike("venue.lost_request", operation):
                await process.wait("venue.lost", *SLOW_BACK_S)
                raise Unanswered(f"{operation}: no answer")
            answer = await self._arrive(operation, run)
        finally:
            run.close()
        process.cross("venue", operation, "arrived")
        slow = process.strike("venue.slow", operation)
        await process.wait(f"venue.{operation}.back", *(SLOW_BACK_S if slow else BACK_S))
        process.cross("venue", operation, "after")
        if isinstance(answer, BaseException):
            raise answer
        return answer

    async def _arrive(self, operation: str, run: Coroutine[Any, Any, T]) -> T | BaseException:
        """The request is on its way: it arrives even where its sender is paused meanwhile."""
        process = self.process
        slow = process.strike("venue.slow", f"{operation}.there")
        delay = process.dice.between(
            f"{process.service}|venue.{operation}.there", *(SLOW_THERE_S if slow else THERE_S)
        )
        future: asyncio.Future[T | BaseException] = process.loop.create_future()

        def arrive() -> None:
            if not process.is_dead and not future.done():
                future.set_result(_answered(run))

        process.loop.call_later(delay, arrive, context=Context())
        return await future

    async def _read(self, operation: str, run: Coroutine[Any, Any, T], nothing: T | None = None) -> T:
        """A read. *nothing*: what an answer says that leaves out everything."""
        process = self.process
        try:
            if process.strike("venue.unreadable", operation):
                await process.wait("venue.lost", *BACK_S)
                raise VenueUnreadable(f"{operation}: <html>502 Bad Gateway</html>")
            answer = await self._call(operation, run)
        except (Unanswered, VenueUnreadable) as error:
            self.watcher.was_read(process, self.account, operation, failed=True)
            raise VenueUnreadable(str(error)) from error
        finally:
            run.close()
        self.watcher.was_read(process, self.account, operation, failed=False)
        if nothing is not None and answer != nothing and process.strike("venue.empty", operation):
            return nothing
        return answer

    # -- the port -----------------------------------------------------------------------------------------------------

    async def submit(self, orders: Sequence[OrderRow], *, now_ms: int) -> list[Outcome]:
        self.watcher.sending(orders, now_ms)
        process = self.process
        if process.strike("venue.overtaken", "submit"):
            await self._overtaken(orders, now_ms)
        outcomes = await self._call("submit", super().submit(orders, now_ms=now_ms))
        lost = self.process.strike("venue.lost_reply", "submit")
        self.watcher.answered(outcomes, lost=lost)
        if lost:
            await self.process.wait("venue.lost", *SLOW_BACK_S)
            raise Unanswered("submit: the answer was lost")
        return outcomes

    async def _overtaken(self, orders: Sequence[OrderRow], now_ms: int) -> None:
        """The sender gives up before its orders arrive; they do, as late as `send_by` allows."""
        process, submit = self.process, super().submit
        within_s = max(0, min(order.send_by for order in orders) - now_ms) / 1000
        delay = within_s * process.dice.roll("venue.overtaken")

        def arrive() -> None:
            if not process.is_dead:
                _answered(submit(orders, now_ms=now_ms))

        process.loop.call_later(delay, arrive, context=Context())
        await process.wait("venue.lost", *BACK_S)
        raise Unanswered("submit: no answer")

    async def cancel(self, orders: Sequence[OrderRow], *, now_ms: int) -> list[Outcome]:
        return await self._read("cancel", super().cancel(orders, now_ms=now_ms))

    async def on_ticks(self, ticks: Sequence[Tick], *, now_ms: int) -> Events:
        return self._told(await self._read("on_ticks", super().on_ticks(ticks, now_ms=now_ms)))

    async def poll(self, *, now_ms: int) -> Events:
        return self._told(await self._read("poll", super().poll(now_ms=now_ms)))

    async def look_up(self, order_ids: Sequence[str]) -> dict[str, VenueOrder | None]:
        return await self._read("look_up", super().look_up(order_ids))

    async def open_orders(self) -> list[VenueOrder]:
        return await self._read("open_orders", super().open_orders(), [])

    async def trades_since(self, executed_at: int) -> list[Fill]:
        return self._shuffled(await self._read("trades_since", super().trades_since(executed_at), []))

    async def trades_after(self, number: int, limit: int = 10_000) -> list[Fill]:
        return self._shuffled(await self._read("trades_after", super().trades_after(number, limit), []))

    async def trades_of(self, order_ids: Sequence[str]) -> list[Fill]:
        return self._shuffled(await self._read("trades_of", super().trades_of(order_ids), []))

    async def positions(self) -> list[VenuePosition]:
        return await self._read("positions", super().positions(), [])

    async def close(self) -> None:
        self.process.check()
        await super().close()

    # -- how things are told --------------------------------------------------------------------------------------------

    def _told(self, events: Events) -> Events:
        """The same events: some later, some twice, in another order. Told at the latest with the next after they are due."""
        process, now = self.process, self.process.loop.time()
        due = [what for at, what in self._late if at <= now]
        self._late = [(at, what) for at, what in self._late if at > now]
        fills = [what for what in due if isinstance(what, Fill)]
        ends = [what for what in due if isinstance(what, VenueOrder)]
        for fill in events.fills:
            if not self._is_late(fill):
                fills += [fill, fill] if process.strike("venue.twice", "events") else [fill]
        ends += [order for order in events.orders if not self._is_late(order)]
        self.watcher.told(fills)
        return Events(self._shuffled(fills), ends)

    def _is_late(self, what: Fill | VenueOrder) -> bool:
        process = self.process
        if not process.strike("venue.late", "events"):
            return False
        self._late.append((process.loop.time() + process.dice.between("venue.late", *LATE_S), what))
        return True

    def _shuffled(self, fills: list[Fill]) -> list[Fill]:
        if len(fills) > 1 and self.process.strike("venue.shuffled", "trades"):
            return fills[::-1]
        return fills


def _answered(run: Coroutine[Any, Any, T]) -> T | BaseException:
    """The outcome of a call that never waits for anything: the paper venue's."""
    try:
        run.send(None)
    except StopIteration as stop:
        answer: T = stop.value
        return answer
    except Exception as error:  # noqa: BLE001 - it goes back to who asked
        return error
    raise RuntimeError("the paper venue waited")


def opener(
    process: Process,
    on_commit: Callable[[], None],
    watcher: Watcher,
) -> Callable[[Settings, str], Venue]:
    """`open_venue` for *process*."""

    def opening(settings: Settings, account: str) -> Venue:
        process.check()
        record = SimRecord(settings.dir / "paper" / f"{account}.db", account, PAPER)
        record.process, record.on_commit = process, on_commit
        process.owns(record.let_go)
        venue = SimVenue(
            account, PAPER, settings=settings.paper, instruments=rules_of(settings), record=record
        )
        venue.connect(process, watcher)
        return venue

    return opening
