"""An exchange as an ordinary bot sees it: place an order, wait for its fill, ask for positions. The same venue and the same wire.

The exchange itself is the paper venue and outlives the bot; each call crosses the wire of the simulator's fault menu, with the
same kinds and rates as Holdfast's own calls: a timeout before or after the order was accepted, a slow answer, an answer
that cannot be read, an answer that leaves out what there is.
"""

from collections.abc import Callable, Coroutine
from decimal import Decimal
from typing import Any, NamedTuple

from holdfast.contracts.codes import TERMINAL_STATES, Kind, Role, Side
from holdfast.contracts.messages import Fill
from holdfast.contracts.rows import OrderRow
from holdfast.venues.paper import PaperVenue
from holdfast.venues.port import Outcome, OutcomeKind
from proving.sim.process import Process

ACCOUNT = "main"
THERE_S, BACK_S, SLOW_S = (0.001, 0.03), (0.001, 0.03), (0.3, 6.0)
FILL_PAUSE_S = (0.2, 0.4)


class ExchangeError(Exception):
    """The exchange refused, timed out, or answered with something that cannot be read: a bot sees one exception."""


class Filled(NamedTuple):
    """A market order that has filled."""

    quantity: Decimal
    price: Decimal


def answered(run: Coroutine[Any, Any, Any]) -> Any:
    """The outcome of a call of the paper venue, which never waits."""
    try:
        run.send(None)
    except StopIteration as stop:
        return stop.value
    raise RuntimeError("the paper venue waited")


class Exchange:
    """See the module. One per life of a bot; the venue is the world's."""

    def __init__(self, process: Process, venue: PaperVenue, numbers: "list[int]") -> None:
        self._process, self._venue, self._numbers = process, venue, numbers
        self.on_order: Callable[[str, str, str, Role], None] = lambda *_: None
        """Told of each order that has reached the exchange: its id, symbol, side, and what it was sent for."""

    async def create_order(
        self, symbol: str, side: str, quantity: Decimal, *, role: Role, reduce_only: bool = False
    ) -> str:
        """Place a market order; its id. Raises ExchangeError; then it may have been accepted all the same."""
        self._numbers[0] += 1
        row = _row(f"o{self._numbers[0]}", symbol, side, quantity, role).evolve(reduce_only=reduce_only)
        (outcome,) = await self._call("submit", self._submit(row), "venue.lost_reply")
        if outcome.kind is not OutcomeKind.ACCEPTED:
            raise ExchangeError(outcome.reason or "rejected")
        return row.order_id

    async def filled(self, order_id: str) -> Filled | None:
        """Wait until the order has ended, however long; None when it ended without a fill. A failed read is repeated."""
        while True:
            await self._process.wait("filling", *FILL_PAUSE_S)
            try:
                shown = (await self._read("look_up", self._venue.look_up([order_id])))[order_id]
                fills: list[Fill] = await self._read("trades_of", self._venue.trades_of([order_id]))
            except ExchangeError:
                continue
            filled = sum((fill.quantity for fill in fills), Decimal(0))
            if shown is not None and shown.state in TERMINAL_STATES and filled == shown.filled:
                paid = sum((fill.quantity * fill.price for fill in fills), Decimal(0))
                return Filled(filled, paid / filled) if filled else None

    async def _submit(self, row: OrderRow) -> list[Outcome]:
        self.on_order(row.order_id, row.symbol, row.side.value, row.role)
        return await self._venue.submit([row], now_ms=0)

    async def fetch_positions(self) -> dict[str, Decimal]:
        """Signed net quantities by symbol. Raises ExchangeError."""
        found = await self._read("positions", self._venue.positions(), [])
        return {held.symbol: held.quantity for held in found if held.quantity}

    async def _read(self, operation: str, run: Coroutine[Any, Any, Any], nothing: Any = None) -> Any:
        process = self._process
        try:
            if process.strike("venue.unreadable", operation):
                await process.wait("venue.lost", *BACK_S)
                raise ExchangeError("502 Bad Gateway")
            answer = await self._call(operation, run)
        finally:
            run.close()
        return nothing if nothing is not None and process.strike("venue.empty", operation) else answer

    async def _call(self, operation: str, run: Coroutine[Any, Any, Any], lost: str = "") -> Any:
        process = self._process
        try:
            process.cross("venue", operation, "before")
            await process.wait(f"venue.{operation}.there", *THERE_S)
            if process.strike("venue.lost_request", operation):
                await process.wait("venue.lost", *SLOW_S)
                raise ExchangeError("timeout")
            answer = answered(run)
        finally:
            run.close()
        process.cross("venue", operation, "arrived")
        if lost and process.strike(lost, operation):
            await process.wait("venue.lost", *SLOW_S)
            raise ExchangeError("timeout")
        slow = process.strike("venue.slow", operation)
        await process.wait(f"venue.{operation}.back", *(SLOW_S if slow else BACK_S))
        process.cross("venue", operation, "after")
        return answer


def _row(order_id: str, symbol: str, side: str, quantity: Decimal, role: Role) -> OrderRow:
    return OrderRow(
        order_id=order_id, intent_id=order_id, book_id=f"{ACCOUNT}/paper/{symbol}", account=ACCOUNT, exchange="paper", symbol=symbol,
        kind=Kind.LINEAR, contract_size=Decimal(1), settle="USDT", role=role, side=Side(side), quantity=quantity,
        incarnation="bot", epoch=0, send_by=1, reserved_at=0, changed_at=0,
    )  # fmt: skip
