"""Bugs in the executor and the exit scanner: what they send, believe, forget."""

from collections import Counter
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from holdfast.contracts.codes import FillKind, Role, Side, StatusKind
from holdfast.contracts.messages import Fill, OrderReserve
from holdfast.contracts.streams import FILL
from holdfast.contracts.wire import Out, digest
from holdfast.domain import pursuit
from holdfast.domain.ledger_state import Change
from holdfast.venues.paper_record import PaperRecord
from holdfast.venues.port import OutcomeKind
from proving.planted.bug import Bug, Patch, original
from services.executor import desk, dispatch, guard, intake, owed, reconcile
from services.executor import service as executor
from services.exit_scanner import service as scanner
from services.ledger import decide as ledger


def retry_on_timeout(patch: Patch) -> None:
    send = guard.Guard.send

    async def once_more(self: guard.Guard, key: Any, rows: Sequence[Any], now_ms: int) -> Any:
        outcomes = await send(self, key, rows, now_ms)
        if any(outcome.kind is OutcomeKind.UNKNOWN for outcome in outcomes):
            return await send(self, key, rows, now_ms)
        return outcomes

    patch.setattr(guard.Guard, "send", once_more)


def not_found_is_failed(patch: Patch) -> None:
    looks: Counter[str] = Counter()

    def three_times(self: dispatch.Dispatcher, row: Any, _: int) -> Any:
        looks[row.order_id] += 1
        if looks[row.order_id] >= 3:
            return self._say(row, StatusKind.ABSENT, evidence="not found three times")
        self.look_up_soon(row.order_id)
        self.lookups[row.order_id].due = 0
        return []

    patch.setattr(dispatch.Dispatcher, "_absent", three_times)


def empty_is_flat(patch: Patch) -> None:
    compare = reconcile.Reconciler._compare_positions

    async def believing(self: reconcile.Reconciler, key: Any) -> Any:
        outputs = list(await compare(self, key))
        shown = await self._guard.read(key, "positions", self._guard.venues[key].positions())
        now = self._clock.wall_ms()
        gone = self._view.positions.values() if shown == [] else ()
        outputs += [Out(FILL, _closing(row, now)) for row in gone if (row.account, row.exchange) == key]
        return outputs

    patch.setattr(reconcile.Reconciler, "_compare_positions", believing)


def _closing(row: Any, now: int) -> Fill:
    """The adjustment with which a position that is not there any more would be taken out."""
    name = "gone-" + digest(row.position_id, str(row.version))
    return Fill(
        id=name, at=now, account=row.account, exchange=row.exchange, symbol=row.symbol, trade_id=name, kind=FillKind.ADJUSTMENT,
        side=Side.SELL if row.side.value == "long" else Side.BUY, quantity=row.quantity, price=row.entry_price, executed_at=row.changed_at,
        leg=row.leg, instrument=row.kind, contract_size=row.contract_size, settle=row.settle,
    )  # fmt: skip


def exits_are_plain_orders(patch: Patch) -> None:
    send = guard.Guard.send

    async def plain(self: guard.Guard, key: Any, rows: Sequence[Any], now_ms: int) -> Any:
        return await send(self, key, [row.evolve(reduce_only=False) for row in rows], now_ms)

    patch.setattr(guard.Guard, "send", plain)


def send_by_is_a_hint(patch: Patch) -> None:
    async def submit(self: dispatch.Dispatcher, key: Any, rows: Sequence[Any], deadlines: Any) -> Any:
        wall, mono = self._clock.wall_ms(), self._clock.monotonic_ms()
        self._sent.update({row.order_id: mono for row in rows})
        outcomes = {one.order_id: one for one in await self._guard.send(key, list(rows), wall)}
        return (
            [out for row in rows for out in self._outcome(row, outcomes.get(row.order_id))]
            if deadlines
            else []
        )

    patch.setattr(dispatch.Dispatcher, "_submit", submit)


def no_look_at_the_clock(patch: Patch) -> None:
    propose = original(intake, "propose_entry")

    def without_expiry(intent: Any, *rest: Any) -> Any:
        return propose(intent.evolve(expires_at=None), *rest)

    patch.setattr(intake, "out_of_time", lambda *_: None)
    patch.setattr(intake, "propose_entry", without_expiry)


def order_ids_are_random(patch: Patch) -> None:
    made = intake.Intake._answer
    numbers = iter(range(10**9))

    def at_random(self: intake.Intake, *args: Any) -> Any:
        answer = made(self, *args)
        if answer.order is None:
            return answer
        return answer.evolve(order=answer.order.evolve(order_id=f"h{next(numbers)}-{answer.id}"))

    patch.setattr(intake.Intake, "_answer", at_random)


def acknowledged_on_arrival(patch: Patch) -> None:
    open_desk = desk.Desk.open
    early: list[Any] = []

    def at_once(self: desk.Desk, entry: Any, reserve: Any, *rest: Any) -> Any:
        out = open_desk(self, entry, reserve, *rest)
        early.extend(self.pending[reserve.intent_id].acks)
        self.pending[reserve.intent_id].acks = []
        return out

    take = executor.Executor._take_held_back
    entries = executor.Executor.on_entries

    def with_acks(self: executor.Executor) -> Any:
        acks = early[:]
        early.clear()
        return take(self) + acks

    async def taking(self: executor.Executor, batch: Any) -> Any:
        return await entries(self, batch) + with_acks(self)

    patch.setattr(desk.Desk, "open", at_once)
    patch.setattr(executor.Executor, "_take_held_back", with_acks)
    patch.setattr(executor.Executor, "on_entries", taking)


def trades_are_never_read_back(patch: Patch) -> None:
    patch.setattr(owed.Owed, "history", lambda *_: [])


def no_fence_at_the_venue(patch: Patch) -> None:
    from contextlib import contextmanager

    @contextmanager
    def unfenced(self: PaperRecord) -> Any:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield self._db
            self._db.execute("COMMIT")
        except BaseException:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise

    patch.setattr(PaperRecord, "_transaction", unfenced)
    patch.setattr(executor.Executor, "_check_epochs", lambda *_: None)


def any_executor_is_right(patch: Patch) -> None:
    no_fence_at_the_venue(patch)
    decide = original(ledger, "reserve")

    def without_epochs(state: Any, request: OrderReserve, *rest: Any) -> Change:
        epoch = max(request.epoch, state.executors.get(request.account, 0))
        change: Change = decide(state, request.evolve(epoch=epoch), *rest)
        return change

    patch.setattr(ledger, "reserve", without_epochs)


def registry_in_memory(patch: Patch) -> None:
    async def on_fills_alone(self: scanner.ExitScanner) -> list[Any]:
        self.armed_through = self._view.seq
        return []

    patch.setattr(scanner.ExitScanner, "on_reset", on_fills_alone)
    patch.setattr(scanner.ExitScanner, "_missing", lambda _: [])


def fired_is_done(patch: Patch) -> None:
    step = pursuit.next_step

    def once(one: Any, *args: Any, **named: Any) -> Any:
        if one.intent is not None:
            return pursuit.Step(pursuit.Do.WAIT, pursuit.NEVER)
        return step(one, *args, **named)

    patch.setattr(scanner, "next_step", once)


def stops_are_looked_at_once(patch: Patch) -> None:
    """Longs are watched; who goes short?"""
    reached = scanner.ExitScanner._look

    def long_only(self: scanner.ExitScanner, position_id: str, *rest: Any) -> None:
        held = self._view.positions.get(position_id)
        if held is None or held.side.value == "long":
            reached(self, position_id, *rest)

    patch.setattr(scanner.ExitScanner, "_look", long_only)


def an_exit_closes_twice_what_is_held(patch: Patch) -> None:
    send = guard.Guard.send

    async def doubled(self: guard.Guard, key: Any, rows: Sequence[Any], now_ms: int) -> Any:
        rows = [
            row.evolve(quantity=row.quantity * Decimal(2)) if row.role is Role.EXIT else row for row in rows
        ]
        return await send(self, key, rows, now_ms)

    patch.setattr(guard.Guard, "send", doubled)


OF_EXECUTOR: tuple[Bug, ...] = (
    Bug("retry on timeout", "INV-4", "no answer, so once more", retry_on_timeout, kinds=("venue.lost_reply",)),
    Bug("not found three times is failed", "INV-7", "what the exchange does not show was never sent", not_found_is_failed, kinds=("venue.overtaken",)),
    Bug("empty is flat", "INV-7", "no positions in the answer, so the ledger's are gone", empty_is_flat, kinds=("venue.empty", "process.crash"), steps=8_000),
    Bug("exits are plain orders", "INV-5", "a sell is a sell: nothing tells the exchange that it may only reduce", exits_are_plain_orders),
    Bug("an exit sent twice as large", "INV-5", "to be sure that all of it goes", an_exit_closes_twice_what_is_held),
    Bug("send_by not checked", "INV-7", "an order is sent when its turn comes, however late", send_by_is_a_hint, kinds=("process.pause", "bus.delay", "store.busy")),
    Bug("expiry not checked", "INV-3", "an intent is an intent", no_look_at_the_clock, kinds=("input.expired",)),
    Bug("random client order ids", "INV-4", "a fresh id for each try", order_ids_are_random, kinds=("process.crash", "input.replayed")),
    Bug("intents acknowledged on arrival", "INV-4", "read is done", acknowledged_on_arrival, kinds=("process.crash",)),
    Bug("trades never read back", "INV-4", "what happened while nobody listened did not happen", trades_are_never_read_back, kinds=("process.crash", "venue.late")),
    Bug("no fence at the venue", "INV-9", "two executors of one account", no_fence_at_the_venue, kinds=("process.pause", "process.twin"), steps=10_000),
    Bug("no executor epoch", "INV-9", "whoever asks is the executor", any_executor_is_right, kinds=("process.pause", "process.twin"), steps=10_000),
    Bug("registry only in memory", "INV-2", "exits are registered when a fill is seen (the incident of the empty registry)", registry_in_memory, kinds=("process.crash",)),
    Bug("fired is done", "INV-6", "an exit is sent once, and what becomes of it is its own business", fired_is_done, kinds=("venue.lost_request", "venue.lost_reply", "process.crash")),
    Bug("only longs are watched", "INV-6", "one comparison for both sides", stops_are_looked_at_once),
)  # fmt: skip
