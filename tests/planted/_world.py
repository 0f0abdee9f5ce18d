"""The real ledger on a real store, the real executor at the real paper venue, the real exit scanner; bus and time by hand.

Work goes through the bus's own `Worker` (decode, handle, publish and acknowledge, isolate, dead-letter) to a bus that
is a few lists. So whatever a scenario sees is what those services do, and a bus can be wiped by emptying lists.

Everything is looked at from outside: what the venue was sent and has traded, what stands in the store, what is on the bus.
"""

from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import orjson

from holdfast.bus.work import Work, Worker
from holdfast.contracts import streams
from holdfast.contracts.base import Message
from holdfast.contracts.codes import Side
from holdfast.contracts.messages import Fill, IntentResult, LedgerUpdated, Tick
from holdfast.contracts.rows import OrderRow, PositionRow
from holdfast.contracts.streams import Stream
from holdfast.contracts.wire import Ack, Numbered, Outgoing, Trim, decode
from holdfast.domain.view import Gap, LedgerView
from holdfast.runtime.faults import Transient
from holdfast.runtime.settings import Settings
from holdfast.store.opening import open_store
from holdfast.venues.paper import PaperVenue
from holdfast.venues.paper_record import PaperRecord
from holdfast.venues.port import Events, Outcome, VenueUnreadable
from services.executor.app import rules_of as instruments_of
from services.executor.service import Executor
from services.exit_scanner.service import ExitScanner
from services.ledger.app import rules_of
from services.ledger.service import Ledger

START = 1_700_000_000_000
BTC, ETH = "BTC/USDT", "ETH/USDT"
LINEAR = {"market": "linear", "fee_pct": "0", "maker_fee_pct": "0", "slippage_pct": "0"}
LEDGER_WORK = (
    streams.ORDER_RESERVE, streams.FILL, streams.ORDER_STATUS, streams.EXIT_ADJUST, streams.CONTROL,
)  # fmt: skip
KEY = ("main", "paper")


class Time:
    def __init__(self) -> None:
        self.now = START

    def wall_ms(self) -> int:
        return self.now

    def monotonic_ms(self) -> int:
        return self.now - START + 1_000_000

    async def sleep(self, seconds: float) -> None:
        self.now += max(1, round(seconds * 1000))


class Names:
    """Ids that say who made them."""

    def __init__(self, prefix: str) -> None:
        self.prefix, self.count = prefix, 0

    def new(self) -> str:
        self.count += 1
        return f"{self.prefix}{self.count}"


class WatchedVenue(PaperVenue):
    """The paper venue, which counts what it is sent, and may lose its answer on the way back, or give none at all."""

    def watch(self, world: "World") -> None:
        self.world, self.lose_answers, self.unreadable = world, False, False

    async def poll(self, *, now_ms: int) -> Events:
        if self.unreadable:
            raise VenueUnreadable("no answer")
        return await super().poll(now_ms=now_ms)

    async def submit(self, orders: Sequence[OrderRow], *, now_ms: int) -> list[Outcome]:
        for row in orders:
            self.world.sends[row.order_id] += 1
            if self.world.stored("orders", "order_id", row.order_id) is None:
                self.world.unrecorded.append(row.order_id)
        outcomes = await super().submit(orders, now_ms=now_ms)
        if self.lose_answers:
            raise TimeoutError("the answer was lost")
        return outcomes


class Lists:
    """The publisher's side of a bus made of lists: entries by stream, as (id, fields)."""

    def __init__(self, time: Time) -> None:
        self.time, self.count = time, 0
        self.entries: dict[str, list[tuple[str, dict[bytes, bytes]]]] = defaultdict(list)

    def name(self, stream: Stream) -> str:
        return stream.name

    async def publish(self, outputs: Sequence[Outgoing], acks: object = ()) -> None:
        for out in outputs:
            if isinstance(out, Numbered):
                self.add(out.stream, out.body, out.entry_id)
            elif not isinstance(out, Ack | Trim):
                self.add(out.stream, type(out.message).parse(out.message.body()).body())

    def add(self, stream: Stream, body: bytes, entry_id: str = "") -> str:
        self.count += 1
        entry_id = entry_id or f"{self.time.now}-{self.count}"
        self.entries[stream.name].append((entry_id, {b"body": body}))
        return entry_id

    def of(self, stream: Stream) -> list[Any]:
        """The messages of a stream."""
        return [decode(stream, entry_id, fields).message for entry_id, fields in self.entries[stream.name]]


class World:
    """See the module. `settle` delivers until nothing moves; `tick` moves a price; `wait` lets time pass."""

    def __init__(self, directory: Path, **sections: Any) -> None:
        self.directory, self.time = directory, Time()
        self.settings = Settings.model_validate({"dir": directory, "paper": LINEAR, **sections})
        self.bus = Lists(self.time)
        self.read: Counter[str] = Counter()
        self.sends: Counter[str] = Counter()
        self.unrecorded: list[str] = []
        self.lives = 0
        record = PaperRecord(directory / "paper.db", *KEY)
        self.venue = WatchedVenue(
            *KEY, settings=self.settings.paper, instruments=instruments_of(self.settings), record=record
        )
        self.venue.watch(self)
        self.start_ledger()

    # -- services -----------------------------------------------------------------------------------------------------

    def start_ledger(self) -> None:
        self.store = open_store(
            url="", directory=self.directory, who="ledger", ids=Names("store-"), check=False
        )
        self.ledger = Ledger(
            self.store, rules_of(self.settings), clock=self.time, snapshot_every_updates=1_000_000, snapshot_every_ms=10**9
        )  # fmt: skip
        self.workers = {
            stream.name: self._worker(
                "ledger",
                stream,
                self.ledger.on_work,
                on_dead=self.ledger.on_dead if stream in {streams.FILL, streams.ORDER_STATUS} else None,
            )
            for stream in LEDGER_WORK
        }

    def _worker(self, service: str, stream: Stream, handler: Any, **work: Any) -> Worker:
        return Worker(
            Work(stream=stream, handler=handler, batch=100, **work), service=service, consumer=f"{service}-0", client=None,  # type: ignore[arg-type]
            publisher=self.bus, clock=self.time, block_ms=100, max_deliveries=3, patience_s=5, claim_idle_ms=1000,  # type: ignore[arg-type]
        )  # fmt: skip

    async def start(self) -> "World":
        """Executor and scanner begin a new life, as after a kill."""
        self.lives += 1
        self.view, self.watching = LedgerView(), LedgerView()
        self.executor = Executor(
            self.settings, self.time, Names(f"x{self.lives}-"), self.view, {KEY: self.venue}, f"life{self.lives}"
        )  # fmt: skip
        self.scanner = ExitScanner(self.settings.scanner, self.time, Names(f"s{self.lives}-"), self.watching)
        for stream, handler in (
            (streams.ORDER_INTENT_EXIT, self.executor.on_exits),
            (streams.ORDER_INTENT, self.executor.on_entries),
        ):
            self.workers[stream.name] = self._worker(
                "executor", stream, handler, handler_acks=True, takes_malformed=True
            )
        await self.load()
        return self

    async def load(self) -> None:
        """Followers take the ledger's newest snapshot."""
        await self.bus.publish(self.ledger._snapshot())
        snapshot = self.bus.of(streams.LEDGER_SNAPSHOT)[-1]
        for view in (self.view, self.watching):
            view.load([snapshot])
        await self.bus.publish(await self.executor.on_reset())
        await self.bus.publish(await self.scanner.on_reset())

    async def close(self) -> None:
        await self.venue.close()
        self.ledger.close()

    @asynccontextmanager
    async def at_work(self) -> AsyncIterator["World"]:
        try:
            yield await self.start()
        finally:
            await self.close()

    # -- what happens -------------------------------------------------------------------------------------------------

    def send(self, stream: Stream, message: Message | None = None, **document: Any) -> None:
        """A message, or the JSON of *document*, as somebody puts it on the bus."""
        self.bus.add(stream, message.body() if message is not None else orjson.dumps(document))

    def intent(self, name: str, side: str, quantity: str = "1", symbol: str = BTC, **more: Any) -> None:
        self.send(streams.ORDER_INTENT, id=name, side=side, quantity=quantity, symbol=symbol, **more)

    def close_intent(self, name: str, **more: Any) -> None:
        self.send(streams.ORDER_INTENT_EXIT, id=name, action="close", symbol=BTC, **more)

    async def settle(self, *, until: Stream | None = None) -> None:
        """Deliver until nothing moves, or until something new is on *until*."""
        for _ in range(50):
            if until is not None and self._new(until):
                return
            if not await self._round():
                return
        raise AssertionError("the bus never came to rest")

    def _new(self, stream: Stream) -> list[tuple[str, dict[bytes, bytes]]]:
        return self.bus.entries[stream.name][self.read[stream.name] :]

    async def _round(self) -> bool:
        moved = False
        for name, worker in self.workers.items():
            batch = self._new(streams.BY_NAME[name])
            if batch:
                moved = True
                self.read[name] += len(batch)
                await worker.process(batch)
        return await self._follow() or moved

    async def _follow(self) -> bool:
        """`ledger.updated` and `intent.result` reach their followers; a gap makes them start from a snapshot."""
        rows = self._new(streams.LEDGER_UPDATED)
        self.read[streams.LEDGER_UPDATED.name] += len(rows)
        updates = [LedgerUpdated.model_validate_json(fields[b"body"]) for _, fields in rows]
        try:
            fresh = [update for update in updates if self.view.apply(update)]
            for update in fresh:
                self.watching.apply(update)
        except Gap:
            await self.load()
            return True
        if fresh:
            await self.bus.publish(await self.executor.on_updates(fresh))
            await self.bus.publish(await self.scanner.on_updates(fresh))
        answers = self._new(streams.INTENT_RESULT)
        self.read[streams.INTENT_RESULT.name] += len(answers)
        decoded = [decode(streams.INTENT_RESULT, entry_id, fields) for entry_id, fields in answers]
        await self.bus.publish(await self.executor.on_results(decoded))
        return bool(rows or answers)

    async def tick(self, price: str, symbol: str = BTC) -> None:
        """A price reaches venue and scanner; nothing else is delivered."""
        self.time.now += 1000
        tick = Tick(
            id=f"t{self.time.now}{symbol}", at=self.time.now, symbol=symbol, bid=Decimal(price), ask=Decimal(price), last=Decimal(price),
            feed="f", run="r",
        )  # fmt: skip
        entries = [decode(streams.MARKET_TICK, f"{self.time.now}-0", {b"body": tick.body()})]
        await self.bus.publish(await self.executor.on_ticks(entries))
        await self.bus.publish(await self.scanner.on_ticks(entries))

    async def wait(self, seconds: int) -> None:
        """Time passes: timers run, what comes of it is delivered."""
        for _ in range(seconds * 2):
            self.time.now += 500
            await self.bus.publish(await self.executor.on_time())
            await self.bus.publish(await self.scanner.on_time())
            await self.settle()

    def wipe(self) -> None:
        """The bus forgets everything."""
        self.bus.entries.clear()
        self.read.clear()

    async def opened(
        self, name: str = "first", side: str = "buy", price: str = "100", **more: Any
    ) -> PositionRow:
        """A position of 1, all the way through."""
        await self.tick(price)
        self.intent(name, side, **more)
        await self.settle()
        await self.tick(price)
        await self.settle()
        return self.position()

    # -- what there is ------------------------------------------------------------------------------------------------

    def stored(self, table: str, key: str, value: str) -> Any:
        """The row's body as the store has it; None when it has none."""
        rows = self.store.query(f"SELECT body FROM {table} WHERE {key} = ?", (value,))
        return orjson.loads(rows[0][0]) if rows else None

    def positions(self) -> list[PositionRow]:
        return [
            PositionRow.model_validate_json(body)
            for (body,) in self.store.query("SELECT body FROM positions")
        ]

    def position(self) -> PositionRow:
        found = self.positions()
        assert len(found) == 1, f"one position is expected, the store holds {found}"
        return found[0]

    def orders(self) -> list[OrderRow]:
        """Live orders, as the store has them."""
        return [
            OrderRow.model_validate_json(body)
            for (body,) in self.store.query("SELECT body FROM orders WHERE live = 1")
        ]

    def answer(self, name: str) -> IntentResult:
        found = [result for result in self.bus.of(streams.INTENT_RESULT) if result.intent_id == name]
        return found[-1]

    async def venue_fills(self) -> list[Fill]:
        return await self.venue.trades_since(0)

    async def venue_holds(self, symbol: str = BTC) -> Decimal:
        return sum(
            (
                fill.quantity if fill.side is Side.BUY else -fill.quantity
                for fill in await self.venue_fills()
                if fill.symbol == symbol
            ),
            Decimal(0),
        )

    async def check_fills(self) -> None:
        """Every trade of the venue is in the ledger once, and nothing else is."""
        applied = [row[0] for row in self.store.query("SELECT trade_id FROM fills ORDER BY trade_id")]
        assert applied == sorted(fill.trade_id for fill in await self.venue_fills()), (
            "fills applied != trades of the venue"
        )


__all__ = ["BTC", "ETH", "START", "Transient", "World"]
