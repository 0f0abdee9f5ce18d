"""The paper venue: an exchange that is not there, and the default. It answers, forgets nothing, and fills from ticks.

Orders wait until the first tick of their symbol *after* they arrived: an order never fills at a price that was known
when it was sent. `domain.matching` says what a tick does to an order, `venues.paper_desk` holds who waits, and here
things are recorded and told.

Each call is decided in memory, written in one commit, and only then answered. When the commit fails, memory is thrown
away and read again from the record. So a kill at any moment leaves either nothing or a recorded fact, which `trades_of`,
`trades_after` and `look_up` tell again. What `Events` tell is told once: whoever missed it asks.

SQLite is called inline, not in a thread: a commit takes a fraction of a millisecond, and a thread would cost more and
let two batches interleave. A second submit of an order id is answered with the first one's outcome. That is this venue's
last line only: real venues do *not* make client order ids idempotent.
"""

import logging
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from decimal import Decimal

from holdfast.contracts.codes import TERMINAL_STATES, Code, OrderState
from holdfast.contracts.messages import Fill, Tick
from holdfast.contracts.rows import OrderRow, PositionRow
from holdfast.domain.matching import Terms, Working
from holdfast.runtime.settings import PaperSettings
from holdfast.venues.paper_desk import Batch, Desk
from holdfast.venues.paper_record import PaperRecord
from holdfast.venues.port import (
    Events,
    Outcome,
    OutcomeKind,
    Rules,
    VenueOrder,
    VenuePosition,
    VenueUnreadable,
)

log = logging.getLogger("holdfast.paper")


def terms_of(settings: PaperSettings) -> Terms:
    """The settings as the matching rules take them."""
    return Terms(
        taker_fee_pct=settings.fee_pct,
        maker_fee_pct=settings.maker_fee_pct,
        slippage_pct=settings.slippage_pct,
        capital=settings.capital,
        leverage=settings.leverage,
        partial_fill_pct=settings.partial_fill_pct,
        reject_pct=settings.reject_pct,
        spot_short=settings.spot_short,
        seed=settings.seed,
    )


class PaperVenue:
    """One paper account. See `venues.port.Venue` for what the calls promise.

    Every call may raise `RecordTaken` (INV-9): another process has opened the record, and this one must stop.
    """

    def __init__(
        self,
        account: str,
        exchange: str = "paper",
        *,
        settings: PaperSettings,
        instruments: Callable[[str], Rules | None],
        record: PaperRecord,
    ) -> None:
        if (record.account, record.exchange) != (account, exchange):
            raise ValueError(f"the record is of {record.account}/{record.exchange}, not {account}/{exchange}")
        self.account, self.exchange, self.record = account, exchange, record
        self._terms, self._instruments = terms_of(settings), instruments
        self._ended: dict[str, VenueOrder] = {}
        """Ends that no Events have told yet."""
        self._load()

    def _load(self) -> None:
        """Memory as the record has it."""
        self._desk = Desk(self.account, self.exchange, self._terms, self._instruments)
        self._desk.restore(self.record.holdings(), self.record.cash(), self.record.live_orders())
        self._stale = False

    @contextmanager
    def _reading(self) -> Iterator[Desk]:
        """Memory that agrees with the record. Raises VenueUnreadable when SQLite fails."""
        try:
            if self._stale:
                self._load()
            yield self._desk
        except sqlite3.Error as error:
            raise VenueUnreadable(f"the paper record {self.record.path} failed: {error}") from error

    @contextmanager
    def _changing(self, now_ms: int, *, adopted: bool = False) -> Iterator[Batch]:
        """What is put into the batch is committed at the end; when anything fails on the way, memory is read again."""
        batch = Batch(now_ms, self.record.last_trade_number + 1, adopted)
        try:
            with self._reading() as desk:
                yield batch
                if batch:
                    self.record.commit(
                        changed=batch.changed.values(),
                        fills=batch.fills,
                        holdings=batch.holdings.values(),
                        cash=desk.cash(batch),
                        adopted=adopted,
                    )
        except BaseException:
            self._stale = True
            raise
        for order in batch.changed.values():
            self._tell_end(order)

    def rules(self, symbol: str) -> Rules | None:
        return self._instruments(symbol)

    async def submit(self, orders: Sequence[OrderRow], *, now_ms: int) -> list[Outcome]:
        """Accept or reject, and record both, in one commit. A record that fails leaves every order of the batch UNKNOWN."""
        new: list[Working] = []
        try:
            with self._reading():
                known = self.record.orders([row.order_id for row in orders])
                outcomes = [self._take(row, known, new, now_ms) for row in orders]
                if new:
                    self.record.commit(new=new)
        except VenueUnreadable as error:
            self._stale = True
            return [Outcome(row.order_id, OutcomeKind.UNKNOWN, reason=str(error)) for row in orders]
        except BaseException:
            self._stale = True
            raise
        return outcomes

    def _take(self, row: OrderRow, known: dict[str, Working], new: list[Working], now_ms: int) -> Outcome:
        order = known.get(row.order_id)
        if order is not None:
            log.error("order %s was submitted twice; a real venue might have filled it twice", row.order_id)
            self._tell_end(order)
            return _outcome(order)
        if (row.account, row.exchange) != (self.account, self.exchange):
            reason = f"this is {self.account}/{self.exchange}, the order is for {row.account}/{row.exchange}"
            return Outcome(row.order_id, OutcomeKind.REJECTED, Code.UNKNOWN_ACCOUNT, reason)
        if now_ms > row.send_by:
            return Outcome(row.order_id, OutcomeKind.NOT_SENT, Code.NOT_SENT, "its send_by had passed")
        order = self._desk.arrive(row, self.record.last_order_number + len(new) + 1)
        new.append(order)
        known[row.order_id] = order
        return _outcome(order)

    async def on_ticks(self, ticks: Sequence[Tick], *, now_ms: int) -> Events:
        """Fill what these ticks fill, in one commit. Bad prints and ticks older than the last of their run do nothing."""
        with self._changing(now_ms) as batch:
            self._desk.expire(batch)
            for tick in ticks:
                self._desk.tick(tick, batch)
        return Events(batch.fills, self._take_ends())

    async def poll(self, *, now_ms: int) -> Events:
        """Orders that ended without a tick: canceled, or past their `good_till`."""
        with self._changing(now_ms) as batch:
            self._desk.expire(batch)
        return Events(orders=self._take_ends())

    async def cancel(self, orders: Sequence[OrderRow], *, now_ms: int) -> list[Outcome]:
        """Cancel at once in the record. The end is told by the next Events; canceling an ended order tells it again."""
        try:
            with self._changing(now_ms) as batch:
                live = self._desk.live
                found = self.record.orders([row.order_id for row in orders if row.order_id not in live])
                for row in orders:
                    order = live.get(row.order_id)
                    if order is not None:
                        self._desk.settle(order, OrderState.CANCELED, row.code or Code.ON_REQUEST, batch)
                        found[row.order_id] = order
        except VenueUnreadable as error:
            return [Outcome(row.order_id, OutcomeKind.UNKNOWN, reason=str(error)) for row in orders]
        return [self._canceled(row.order_id, found.get(row.order_id)) for row in orders]

    def _canceled(self, order_id: str, order: Working | None) -> Outcome:
        if order is None:
            return Outcome(
                order_id, OutcomeKind.REJECTED, Code.NO_SUCH_ORDER, "the venue never saw this order"
            )
        self._tell_end(order)
        if order.state in {OrderState.FILLED, OrderState.REJECTED}:
            reason = f"the order is {order.state.value}"
            return Outcome(order_id, OutcomeKind.REJECTED, Code.NO_SUCH_ORDER, reason, _venue_id(order))
        return Outcome(order_id, OutcomeKind.ACCEPTED, venue_order_id=_venue_id(order))

    def _tell_end(self, order: Working) -> None:
        if order.state in TERMINAL_STATES and order.state is not OrderState.FILLED:
            self._ended[order.order_id] = _shown(order)

    def _take_ends(self) -> list[VenueOrder]:
        ends, self._ended = list(self._ended.values()), {}
        return ends

    async def look_up(self, order_ids: Sequence[str]) -> dict[str, VenueOrder | None]:
        """As the record shows them, ended ones included; None is proof that the order never arrived."""
        with self._reading() as desk:
            known = self.record.orders([key for key in order_ids if key not in desk.live])
            found = {key: desk.live.get(key) or known.get(key) for key in order_ids}
        return {key: _shown(order) if order else None for key, order in found.items()}

    async def open_orders(self) -> list[VenueOrder]:
        with self._reading() as desk:
            return [_shown(order) for order in desk.live.values()]

    async def trades_since(self, executed_at: int) -> list[Fill]:
        """Executions at or after this market time. A new run may begin at an earlier one: `trades_after` is exact."""
        with self._reading():
            return self.record.trades_since(executed_at)

    async def trades_after(self, number: int, limit: int = 10_000) -> list[Fill]:
        """Executions with a higher trade number ("p57" has 57), in order, at most *limit*."""
        with self._reading():
            return self.record.trades_after(number, limit)

    async def trades_of(self, order_ids: Sequence[str]) -> list[Fill]:
        with self._reading():
            return self.record.trades_of(order_ids)

    async def positions(self) -> list[VenuePosition]:
        with self._reading() as desk:
            return [
                VenuePosition(held.symbol, held.leg, held.quantity) for held in desk.books.holdings.values()
            ]

    @property
    def last_trade_number(self) -> int:
        return self.record.last_trade_number

    def cash(self) -> dict[str, Decimal]:
        """Settlement currency -> what trades brought less what they cost, on top of the capital."""
        with self._reading() as desk:
            return dict(desk.books.cash)

    async def adopt(self, fills: Iterable[Fill], *, now_ms: int) -> None:
        """Positions that the ledger took over enter the record, once per trade id; they are never reported as trades."""
        with self._changing(now_ms, adopted=True) as batch:
            for fill in {fill.trade_id: fill for fill in fills}.values():
                if not self.record.knows_adoption(fill.trade_id):
                    self._desk.adopt(fill, batch)

    async def rebuild_from_ledger(
        self, positions: Sequence[PositionRow], store_id: str, *, now_ms: int, last_trade: str | None = None
    ) -> None:
        """See `PaperRecord.rebuild_from_ledger`; memory follows."""
        with self._reading():
            self.record.rebuild_from_ledger(positions, store_id, now_ms=now_ms, last_trade=last_trade)
            self._ended = {}
            self._load()

    async def close(self) -> None:
        self.record.close()


def _venue_id(order: Working) -> str:
    return f"paper-{order.number}"


def _outcome(order: Working) -> Outcome:
    if order.state is OrderState.REJECTED:
        return Outcome(order.order_id, OutcomeKind.REJECTED, order.code, order.reason, _venue_id(order))
    return Outcome(order.order_id, OutcomeKind.ACCEPTED, venue_order_id=_venue_id(order))


def _shown(order: Working) -> VenueOrder:
    evidence = order.reason or f"paper record, order {order.number}"
    return VenueOrder(
        order.order_id, order.symbol, order.side, order.state, order.quantity, order.filled, _venue_id(order), order.code, evidence
    )  # fmt: skip
