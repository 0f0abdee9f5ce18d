"""Ledger, executor, paper venue and exit scanner in one process, on a clock that only the tape moves.

They are the services' own classes with their own store and record, put together as their `app` modules do it. Between
them there is no Redis but a queue: whatever a handler returns is encoded as on the wire, decoded again, and given to
those who read that stream, until nobody has anything to say. Only then does time go on. So a run has no latency and no
race, and the same tape makes the same trades to the last digit.

Wall time is market time here: an order's times are those of the market it was placed in.
"""

from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from holdfast.contracts import streams
from holdfast.contracts.base import ContractViolation, Message
from holdfast.contracts.codes import Role
from holdfast.contracts.messages import LedgerSnapshot, LedgerUpdated, Tick
from holdfast.contracts.rows import PositionRow, book_id
from holdfast.contracts.streams import Stream
from holdfast.contracts.trusted import Tables, snapshot_of, update_of
from holdfast.contracts.wire import Ack, Entry, Numbered, Outgoing, Trim, decode
from holdfast.domain.atr import Atr
from holdfast.domain.view import LedgerView
from holdfast.runtime.faults import Terminal
from holdfast.runtime.ids import SystemIds
from holdfast.runtime.settings import Settings
from holdfast.store.opening import open_store
from holdfast.venues.paper import PaperVenue
from holdfast.venues.paper_record import PaperRecord
from services.executor.app import PAPER, may_be_repeated
from services.executor.app import rules_of as instruments_of
from services.executor.service import Executor
from services.exit_scanner.app import HISTORY
from services.exit_scanner.service import ExitScanner
from services.ledger.app import rules_of
from services.ledger.service import Ledger

ACCOUNT = "main"
_NEVER = 10**12
_MOST_DELIVERIES = 100_000
"""More than any single price can lead to; a run that does not come to rest within them would never do."""

Handler = Callable[[Sequence[Entry]], Awaitable[list[Outgoing]]]
Listener = Callable[[LedgerUpdated], None]


class MarketClock:
    """Wall and steady time of a replay: the time of the tape."""

    def __init__(self) -> None:
        self.now = 0

    def wall_ms(self) -> int:
        return self.now

    def monotonic_ms(self) -> int:
        return self.now

    async def sleep(self, seconds: float) -> None:
        """Nobody waits in a replay: time is the tape's."""


class Machine:
    """See the module. `async with` it; then `tick`, `send`, and look at `view`. *listen* hears every update of the ledger."""

    def __init__(
        self, settings: Settings, directory: Path, listen: Listener, *, restartable: bool = False
    ) -> None:
        """*restartable*: what a bus would keep is kept, so that a scanner can be started again."""
        self._settings, self._directory, self._listen = settings, directory, listen
        self._atr_of: Callable[[str], Atr] = lambda _: Atr()
        self.clock = MarketClock()
        self._ids = SystemIds(self.clock, "replay")
        self._queue: deque[tuple[Stream, str, dict[bytes, bytes]]] = deque()
        self._written = 0
        self._kept: deque[Entry] = deque(maxlen=HISTORY if restartable else 0)
        self._behind: deque[bytes] = deque(maxlen=None if restartable else 0)
        """Updates behind the snapshot that was made at the start."""
        self.ticks = 0

    async def __aenter__(self) -> Self:
        settings, directory = self._settings, self._directory
        record = PaperRecord(directory / "paper.db", ACCOUNT, PAPER, durable=False)
        self._venue = PaperVenue(
            ACCOUNT, PAPER, settings=settings.paper, instruments=instruments_of(settings), record=record
        )
        store = open_store(
            url="", directory=directory, who="replay", ids=self._ids, check=False, durable=False
        )
        self._ledger = Ledger(
            store,
            rules_of(settings),
            clock=self.clock,
            snapshot_every_updates=_NEVER,
            snapshot_every_ms=_NEVER,
        )
        self.view = LedgerView()
        self._executor = Executor(
            settings, self.clock, self._ids, self.view, {(ACCOUNT, PAPER): self._venue}, "replay"
        )
        self._work: dict[str, Handler] = {
            stream.name: self._ledger.on_work
            for stream in (
                streams.ORDER_RESERVE, streams.FILL, streams.ORDER_STATUS, streams.EXIT_ADJUST, streams.NAV_MARK,
            )
        }  # fmt: skip
        self._work[streams.ORDER_INTENT.name] = self._executor.on_entries
        self._work[streams.ORDER_INTENT_EXIT.name] = self._executor.on_exits
        await self._load()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._venue.close()
        self._ledger.close()

    async def _load(self) -> None:
        """Executor and scanner take the ledger's snapshot, as at any start."""
        self._start = await self._snapshot()
        self.view.load(self._start)
        self._publish(await self._executor.on_reset())
        self._new_scanner(self._start)
        self._publish(await self._scanner.on_reset())
        await self._settle()

    async def _snapshot(self) -> list[LedgerSnapshot]:
        self._ledger.want_snapshot()
        outputs = await self._ledger.on_time()
        return [
            snapshot_of(out.body)
            for out in outputs
            if isinstance(out, Numbered) and out.stream is streams.LEDGER_SNAPSHOT
        ]

    def _new_scanner(self, snapshot: Sequence[LedgerSnapshot]) -> None:
        self._watched = LedgerView(
            Tables("positions", "intents", orders=lambda row: row["role"] != Role.ENTRY)
        )
        self._watched.load(snapshot)
        self._scanner = ExitScanner(self._settings.scanner, self.clock, self._ids, self._watched)
        self._scanner.stops.atr_of = self._atr_of

    async def restart_scanner(self) -> None:
        """Throw the exit scanner away and start another one, as after a kill: from the snapshot that there is and the updates behind
        it, with the ticks that a bus would keep. Of a machine that is *restartable*.
        """
        self._new_scanner(self._start)
        for body in self._behind:
            self._watched.apply(update_of(body))
        self._publish(await self._scanner.on_ticks(list(self._kept)))
        self._publish(await self._scanner.on_reset())
        await self._settle()

    def take_atr(self, atr_of: Callable[[str], Atr]) -> None:
        """Before the first tick: where the average true range of a symbol comes from, if not from ticks."""
        self._atr_of = self._scanner.stops.atr_of = atr_of

    # -- what the tape does ---------------------------------------------------------------------------------------------

    async def tick(self, tick: Tick) -> None:
        """A price, heard by venue and scanner at once, as over the bus: both answer it on what they knew before.

        What the venue fills reaches the ledger first, for an exit takes one hop more.
        """
        self.ticks += 1
        self.clock.now = max(self.clock.now, tick.at)
        entries = [Entry(streams.MARKET_TICK, f"{self.clock.now}-{self.ticks}", b"", tick)]
        self._kept.append(entries[0])
        self._publish(await self._executor.on_ticks(entries) + await self._scanner.on_ticks(entries))
        await self._settle()
        await self._mark()
        if self._scanner.chase.pursuits:
            await self.time_passes()

    async def _mark(self) -> None:
        """The ledger is told what the account is worth, where a rule needs it and it is time again."""
        self._publish(self._executor.marking.due())
        await self._settle()

    async def time_passes(self) -> None:
        """Timers: retries of exits that are on their way, and what the ledger is told of stops that move.

        Without an exit on its way they have nothing to do here: the ledger hears of a stop before the exit that relies on it.
        """
        self._publish(await self._executor.on_time())
        self._publish(await self._scanner.on_time())
        await self._settle()

    async def send(self, stream: Stream, message: Message, at: int) -> None:
        """An intent reaches the bus at market time *at*, and everybody does what follows from it."""
        self.clock.now = max(self.clock.now, at)
        await self._mark()
        self._put(stream, message.body())
        await self._settle()

    # -- questions --------------------------------------------------------------------------------------------------------

    def position(self, symbol: str) -> PositionRow | None:
        """The open position of *symbol*, in canonical form."""
        return self.view.position(book_id(ACCOUNT, PAPER, symbol))

    def watched(self, symbol: str) -> PositionRow | None:
        """The open position as the exit scanner sees it: its stop may have moved further than the ledger has heard yet."""
        row = self.position(symbol)
        return None if row is None else self._scanner.stops.row(row.position_id)

    def is_entering(self, symbol: str) -> bool:
        """Whether an entry of it waits for its fill."""
        return bool(self.view.live_orders(book_id(ACCOUNT, PAPER, symbol), Role.ENTRY))

    def is_leaving(self, symbol: str) -> bool:
        """Whether an exit of it waits for its fill."""
        return bool(self.view.live_orders(book_id(ACCOUNT, PAPER, symbol), Role.EXIT))

    # -- the bus ----------------------------------------------------------------------------------------------------------

    def _publish(self, outputs: Sequence[Outgoing]) -> None:
        for out in outputs:
            if isinstance(out, Numbered):
                self._queue.append((out.stream, out.entry_id, {b"body": out.body}))
            elif not isinstance(out, Ack | Trim):
                self._put(out.stream, out.message.body())

    def _put(self, stream: Stream, body: bytes) -> None:
        self._written += 1
        self._queue.append((stream, f"{self.clock.now}-{self._written}", {b"body": body}))

    async def _settle(self) -> None:
        """Deliver until nobody has anything more to say. Raises Terminal for what a bus would have put aside as dead."""
        for _ in range(_MOST_DELIVERIES):
            if not self._queue:
                return
            stream, entry_id, fields = self._queue.popleft()
            if stream is streams.LEDGER_UPDATED:
                await self._updated(fields[b"body"])
                continue
            handler = self._work.get(stream.name)
            if handler is not None:
                entry = decode(stream, entry_id, fields)
                if entry.message is None:
                    raise Terminal(f"{stream.name} {entry_id}: {entry.error}")
                await self._handle(handler, entry)
            elif stream is streams.INTENT_RESULT and may_be_repeated(fields):
                self._publish(await self._executor.on_results([decode(stream, entry_id, fields)]))
            elif stream is streams.DEAD_LETTER:
                raise Terminal(f"dead letter: {fields[b'body'].decode(errors='replace')}")
        raise Terminal(f"{_MOST_DELIVERIES} messages at one price, and no end")

    async def _handle(self, handler: Handler, entry: Entry) -> None:
        """A stop's move that comes when its position has just closed is put aside, as the bus does with what cannot be used."""
        try:
            self._publish(await handler([entry]))
        except ContractViolation:
            if entry.stream is not streams.EXIT_ADJUST:
                raise

    async def _updated(self, body: bytes) -> None:
        self._behind.append(body)
        update = update_of(body)
        self.view.apply(update)
        self._watched.apply(update)
        self._listen(update)
        self._publish(await self._executor.on_updates([update]))
        self._publish(await self._scanner.on_updates([update]))
