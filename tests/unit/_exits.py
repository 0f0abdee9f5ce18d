"""Positions, ticks and a small ledger for tests of exits."""

import itertools
from decimal import Decimal as D  # noqa: N817
from typing import Any

from holdfast.contracts.codes import (
    ExitReason,
    Kind,
    OrderState,
    PositionSide,
    ResultStatus,
    Role,
    Side,
    UpdateKind,
)
from holdfast.contracts.exit_messages import ExitAdjust, ExitEvaluated, Prediction
from holdfast.contracts.messages import LedgerSnapshot, LedgerUpdated, OrderIntent, Tick
from holdfast.contracts.rows import IntentRow, OrderRow, PositionRow, book_id
from holdfast.contracts.streams import EXIT_ADJUST, EXIT_EVALUATED, MARKET_TICK, PREDICTION
from holdfast.contracts.wire import Entry, Out
from holdfast.domain.policy import apply_adjust
from holdfast.domain.view import LedgerView, snapshot_checksum
from holdfast.runtime.settings import ScannerSettings
from services.exit_scanner.service import ExitScanner

LONG, SHORT = PositionSide.LONG, PositionSide.SHORT
T0 = 1_700_000_000_000
"""Market time at which the test positions were opened, ms."""
SYMBOL = "BTC/USDT"


def position(name: str = "p1", side: PositionSide = LONG, **fields: Any) -> PositionRow:
    """A long at 100 with stop 90 and take-profit 120 (a short: 110 and 80), each in a book of its own."""
    long = side is LONG
    values: dict[str, Any] = {
        "position_id": name, "book_id": book_id(f"a-{name}", "paper", SYMBOL), "account": f"a-{name}", "exchange": "paper",
        "symbol": SYMBOL, "side": side, "kind": "linear", "contract_size": D(1), "settle": "USDT", "quantity": D(2), "cost": D(200),
        "entry_price": D(100), "take_profit": D(120) if long else D(80), "stop_loss": D(90) if long else D(110),
        "take_profit_spec": "20%", "stop_loss_spec": "10%", "opened_at": T0, "changed_at": T0, "recorded_at": T0,
        "bought": D(2), "entry_value": D(200),
    }  # fmt: skip
    return PositionRow(**(values | fields))


_numbers = itertools.count(1)


def tick(bid: object, ask: object | None = None, at: int = T0 + 1000, **fields: Any) -> Tick:
    """A tick of a replay; without *ask* there is no spread."""
    number = next(_numbers)
    values: dict[str, Any] = {
        "id": f"t{number}", "at": at, "symbol": SYMBOL, "bid": D(str(bid)), "ask": D(str(bid if ask is None else ask)),
        "last": D(str(bid)), "feed": "replay", "run": "r1",
    }  # fmt: skip
    return Tick(**(values | fields))


class FakeClock:
    """Wall and steady time, moved by hand."""

    def __init__(self) -> None:
        self.now = T0

    def wall_ms(self) -> int:
        return self.now

    def monotonic_ms(self) -> int:
        return self.now - T0 + 5_000_000

    async def sleep(self, seconds: float) -> None:
        self.now += round(seconds * 1000)


class FakeIds:
    def __init__(self) -> None:
        self._count = itertools.count(1)

    def new(self) -> str:
        return f"id{next(self._count)}"


class Desk:
    """A scanner, its clock, and a ledger that says what the test wants it to say."""

    def __init__(
        self,
        *positions: PositionRow,
        clock: FakeClock | None = None,
        patience: dict[tuple[str, Kind], int] | None = None,
        **settings: Any,
    ) -> None:
        self.clock, self.ids, self.view = clock or FakeClock(), FakeIds(), LedgerView()
        self.positions = {row.position_id: row for row in positions}
        self.orders: dict[str, OrderRow] = {}
        self.seq = 10
        self.scanner = ExitScanner(
            ScannerSettings(**settings), self.clock, self.ids, self.view, patience=patience or {}
        )
        self.adjusts: list[ExitAdjust] = []
        self.told: list[ExitEvaluated] = []

    def _sort(self, out: Any) -> list[OrderIntent]:
        """Adjustments and evaluations are kept; intents are the answer."""
        self.adjusts += [one.message for one in out if one.stream is EXIT_ADJUST]
        self.told += [one.message for one in out if one.stream is EXIT_EVALUATED]
        return intents(out)

    # what the bus does

    async def load(self) -> list[OrderIntent]:
        """A snapshot of what the ledger holds."""
        live = [row for row in self.positions.values() if row.is_open]
        orders = [row for row in self.orders.values() if row.is_live]
        part = LedgerSnapshot(
            id="s1", at=T0, snapshot_id=f"s{self.seq}", seq=self.seq, chain="", store_id="store", epoch=1, part=1, parts=1,
            checksum="", positions=live, orders=orders,
        )  # fmt: skip
        self.view.load([part.evolve(checksum=snapshot_checksum([part]))])
        return self._sort(await self.scanner.on_reset())

    async def update(
        self,
        *positions: PositionRow,
        orders: tuple[OrderRow, ...] = (),
        answers: tuple[IntentRow, ...] = (),
        kind: UpdateKind = UpdateKind.FILLED,
    ) -> list[OrderIntent]:
        """One update of the ledger with these rows."""
        self.seq += 1
        self.positions.update({row.position_id: row for row in positions})
        self.orders.update({row.order_id: row for row in orders})
        message = LedgerUpdated(
            id=f"u{self.seq}", at=self.clock.now, seq=self.seq, store_id="store", epoch=1, kind=kind,
            positions=list(positions), orders=list(orders), intents=list(answers),
        )  # fmt: skip
        assert self.view.apply(message)
        return self._sort(await self.scanner.on_updates([message]))

    async def ticks(self, *ticks: Tick) -> list[OrderIntent]:
        entries = [Entry(MARKET_TICK, f"{self.clock.now}-0", b"", one) for one in ticks]
        return self._sort(await self.scanner.on_ticks(entries))

    async def predict(self, *predictions: Prediction) -> list[OrderIntent]:
        entries = [Entry(PREDICTION, f"{self.clock.now}-0", b"", one) for one in predictions]
        return self._sort(await self.scanner.on_predictions(entries))

    async def adjusted(self) -> list[OrderIntent]:
        """The ledger takes what it has been told about stops."""
        out: list[OrderIntent] = []
        while self.adjusts:
            said = self.adjusts.pop(0)
            if said.position_id in self.positions:
                out += await self.update(
                    apply_adjust(self.positions[said.position_id], said)[0], kind=UpdateKind.ADJUSTED
                )
        return out

    async def after(self, seconds: float) -> list[OrderIntent]:
        """What comes of *seconds* passing, looked at four times a second."""
        out: list[OrderIntent] = []
        for _ in range(round(seconds * 4)):
            self.clock.now += 250
            out += self._sort(await self.scanner.on_time())
        return out

    # what the ledger does

    async def accept(self, intent: OrderIntent, quantity: D | None = None, **order: Any) -> list[OrderIntent]:
        """The ledger reserves an exit order for *intent*."""
        held = self.positions[intent.position_id or ""]
        row = exit_order(held, intent, quantity or held.quantity, self.clock.now, **order)
        changed = held.evolve(
            exit_attempts=held.exit_attempts + 1, version=held.version + 1, exit_reason=intent.reason,
            trigger_price=intent.trigger_price, trigger_at=intent.trigger_at,
        )  # fmt: skip
        return await self.update(
            changed, orders=(row,), answers=(answer(intent, ResultStatus.ACCEPTED),), kind=UpdateKind.RESERVED
        )

    async def end(
        self, intent: OrderIntent, status: ResultStatus, filled: D = D(0), **fields: Any
    ) -> list[OrderIntent]:
        """The order of *intent* ends; the position shrinks by what was filled."""
        held = self.positions[intent.position_id or ""]
        mine = [row for row in self.orders.values() if row.intent_id == intent.id]
        state = OrderState.FILLED if status is ResultStatus.FILLED else OrderState.CANCELED
        rows = tuple(row.evolve(state=state, filled=filled, changed_at=self.clock.now) for row in mine)
        changed = held.evolve(quantity=held.quantity - filled, version=held.version + 1)
        return await self.update(changed, orders=rows, answers=(answer(intent, status, filled, **fields),))


def intents(out: Any) -> list[OrderIntent]:
    found = []
    for one in out:
        assert isinstance(one, Out)
        if one.stream in {EXIT_ADJUST, EXIT_EVALUATED}:
            continue
        assert one.stream.name == "order.intent.exit"
        assert isinstance(one.message, OrderIntent)
        found.append(OrderIntent.parse(one.message.body()))
        assert found[-1] == one.message
    return found


def answer(intent: OrderIntent, status: ResultStatus, filled: D = D(0), **fields: Any) -> IntentRow:
    return IntentRow(intent_id=intent.id, digest="d", status=status, filled_quantity=filled, at=T0, **fields)


def exit_order(
    held: PositionRow, intent: OrderIntent | None, quantity: D, now: int, **fields: Any
) -> OrderRow:
    """A live exit order of *held*, at the venue since *now*."""
    values: dict[str, Any] = {
        "order_id": f"h-{intent.id if intent else next(_numbers)}", "intent_id": intent.id if intent else f"manual{next(_numbers)}",
        "book_id": held.book_id, "account": held.account, "exchange": "paper", "symbol": held.symbol, "contract_size": D(1),
        "settle": "USDT", "role": Role.EXIT, "side": Side.SELL if held.side is LONG else Side.BUY, "quantity": quantity,
        "state": OrderState.OPEN, "reduce_only": True, "position_id": held.position_id,
        "reason": intent.reason if intent else ExitReason.CLOSE, "attempt": intent.attempt if intent else 0, "incarnation": "i",
        "epoch": 1, "send_by": now + 2000, "reserved_at": now, "changed_at": now,
    }  # fmt: skip
    return OrderRow(**(values | fields))
