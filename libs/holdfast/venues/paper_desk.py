"""The paper venue's memory: who waits where, what a tick does to them, and the money behind it. No I/O, no time of its own.

Per symbol, orders before their first tick (and rests of market orders) are looked at with every tick; limits that rest
lie sorted by price, so that a tick touches only those it goes through.

Methods that change something write it into the `Batch` they are given; `venues.paper` commits the batch, and throws the
whole desk away when that fails. Nothing is here that the record cannot give back.
"""

import heapq
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from decimal import Decimal

from sortedcontainers import SortedDict

from holdfast.contracts.codes import TERMINAL_STATES, Code, FillKind, Kind, Leg, OrderState, OrderType, Side
from holdfast.contracts.messages import Fill, Tick
from holdfast.contracts.money import ZERO, add, divide, mul
from holdfast.contracts.rows import OrderRow
from holdfast.domain.matching import (
    Account,
    Holding,
    Limits,
    Match,
    Terms,
    Working,
    below_limits,
    drawn,
    match,
    opening,
    reducible,
    usable,
    worth,
)
from holdfast.venues.paper_rows import fill_id, shape_of
from holdfast.venues.port import Rules

_ANY_PRICE = Decimal("1e-18")
_CLOSES_LEG = {(Leg.LONG, Side.SELL), (Leg.SHORT, Side.BUY)}


@dataclass(slots=True)
class Batch:
    """What one call changes, until it is committed."""

    now_ms: int
    next_trade: int
    adopted: bool = False
    changed: dict[int, Working] = field(default_factory=dict)
    fills: list[Fill] = field(default_factory=list)
    holdings: dict[tuple[str, Leg], Holding] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.changed or self.fills)


class _Waiting:
    """The live orders of one symbol."""

    __slots__ = ("bids", "fresh", "offers")

    def __init__(self) -> None:
        self.fresh: dict[int, Working] = {}
        self.bids: SortedDict[tuple[Decimal, int], Working] = SortedDict()
        """Resting buys by (-price, number), so that the best comes first; `offers`: resting sells by (price, number)."""
        self.offers: SortedDict[tuple[Decimal, int], Working] = SortedDict()

    def put(self, order: Working) -> None:
        if not order.resting or order.price is None:
            self.fresh[order.number] = order
        elif order.side is Side.BUY:
            self.bids[-order.price, order.number] = order
        else:
            self.offers[order.price, order.number] = order

    def drop(self, order: Working) -> None:
        if self.fresh.pop(order.number, None) is None and order.price is not None:
            self.bids.pop((-order.price, order.number), None)
            self.offers.pop((order.price, order.number), None)

    def due(self, bid: Decimal, ask: Decimal) -> list[Working]:
        """Orders that this tick may do something to, in order of arrival."""
        found = dict(self.fresh)
        for resting, limit in ((self.bids, -ask), (self.offers, bid)):
            for (price, number), order in resting.items():
                if price > limit:
                    break
                found[number] = order
        return [found[number] for number in sorted(found)]


class Desk:
    """All live orders, positions and money of one account."""

    def __init__(
        self, account: str, exchange: str, terms: Terms, instruments: Callable[[str], Rules | None]
    ) -> None:
        self.account, self.exchange, self._terms, self._instruments = account, exchange, terms, instruments
        self.live: dict[str, Working] = {}
        self.books = Account(terms)
        self._waiting: dict[str, _Waiting] = {}
        self._expiries: list[tuple[int, str]] = []
        self._clock: dict[tuple[str, str], tuple[str, int]] = {}
        """(feed, symbol) -> run and market time of its last tick."""
        self._last: dict[str, Tick] = {}

    def restore(
        self, holdings: Iterable[Holding], cash: dict[str, Decimal], orders: Iterable[Working]
    ) -> None:
        """Take over what the record says."""
        self.books.restore(holdings, cash)
        for order in orders:
            # The tick that stood at its arrival may be read once more after a restart; that is no later one.
            order.after += 1 if order.run else 0
            self.watch(order)

    def watch(self, order: Working) -> None:
        """An accepted order waits for ticks, and its money is set aside."""
        self.live[order.order_id] = order
        waiting = self._waiting.get(order.symbol)
        if waiting is None:
            waiting = self._waiting[order.symbol] = _Waiting()
        waiting.put(order)
        self.books.set_hold(order.settle, ZERO, order.hold)
        if order.good_till is not None:
            heapq.heappush(self._expiries, (order.good_till, order.order_id))

    def arrive(self, row: OrderRow, number: int) -> Working:
        """The order of *row*: accepted and watched, or REJECTED with code and reason."""
        rules, tick = self._instruments(row.symbol), self._last.get(row.symbol)
        run, after = self._clock[tick.feed, tick.symbol] if tick else ("", 0)
        order = Working(
            number, row.order_id, row.intent_id, row.correlation_id, row.symbol, row.leg, row.kind, row.contract_size,
            row.settle, row.side, row.type, row.price, row.quantity,
            row.reduce_only or (row.leg, row.side) in _CLOSES_LEG, row.time_in_force, row.post_only, row.good_till,
            rules.quantity_step if rules else row.quantity, rules.price_step if rules else _ANY_PRICE,
            run=run, after=after,
        )  # fmt: skip
        refused = self._refusal(order, row, rules)
        if refused:
            order.state, (order.code, order.reason) = OrderState.REJECTED, refused
        else:
            self.watch(order)
        return order

    def _refusal(self, order: Working, row: OrderRow, rules: Rules | None) -> tuple[Code, str] | None:
        """Why the venue does not take the order; None when it does, and then its hold is set."""
        terms, held = self._terms, self.books.held(order.symbol, order.leg)
        if drawn(terms.reject_pct, terms.seed, order.order_id, "reject"):
            return Code.VENUE_REJECTED, "rejected by chance, as the settings ask"
        price = self._reference(order, row)
        if rules is not None:
            limits = Limits(rules.quantity_step, rules.price_step, rules.min_quantity, rules.min_notional)
            refused = below_limits(order, limits, held, price)
            if refused:
                return refused
        if order.shrink_only:
            return None
        if rules is None:
            return Code.UNKNOWN_SYMBOL, f"no instrument {order.symbol}"
        if (
            rules.contract_size != order.contract_size
        ):  # the kind is the name's business where the market is "auto"
            return Code.INSTRUMENT_MISMATCH, f"{order.symbol} has contract size {rules.contract_size} here"
        if order.kind is Kind.SPOT and order.side is Side.SELL and not terms.spot_short:
            return (Code.SPOT_SHORT, f"{held} held") if order.quantity > reducible(held, order.side) else None
        return self._funds(order, held, price)

    def _reference(self, order: Working, row: OrderRow) -> Decimal | None:
        """Where minimums and money are judged: at the limit, else the last touch, else the reservation's own price."""
        if order.price is not None:
            return order.price
        tick = self._last.get(order.symbol)
        if tick is not None:
            return tick.ask if order.side is Side.BUY else tick.bid
        if row.notional and order.kind is not Kind.INVERSE:
            return divide(row.notional, mul(order.quantity, order.contract_size)) or None
        return None

    def _funds(self, order: Working, held: Decimal, price: Decimal | None) -> tuple[Code, str] | None:
        """Set money aside for what the order opens. Without any price that is judged when it fills."""
        opens = opening(held, order.side, order.quantity)
        if not opens or price is None:
            return None
        value = worth(order.kind, opens, price, order.contract_size)
        need = self.books.needs(order.kind, value, self._terms.taker_fee_pct)
        free = self.books.free(order.settle, order.kind, price)
        if need > free:
            return Code.INSUFFICIENT_FUNDS, f"needs {need:.8f} {order.settle}, {free:.8f} free"
        order.hold = need
        return None

    def tick(self, tick: Tick, batch: Batch) -> None:
        """Let the orders of its symbol meet it. A bad print, or one older than the last of its run, does nothing."""
        key = (tick.feed, tick.symbol)
        run, at = self._clock.get(key, ("", 0))
        if not usable(tick.bid, tick.ask) or (run == tick.run and tick.at < at):
            return
        self._clock[key], self._last[tick.symbol] = (tick.run, tick.at), tick
        waiting = self._waiting.get(tick.symbol)
        for order in waiting.due(tick.bid, tick.ask) if waiting else ():
            if order.run != tick.run or tick.at >= order.after:
                self._meet(order, tick, batch)

    def _meet(self, order: Working, tick: Tick, batch: Batch) -> None:
        result = match(order, self.books, tick.bid, tick.ask)
        rests = order.type is OrderType.LIMIT and result.state not in TERMINAL_STATES
        if not result.quantity and result.state is order.state and rests == order.resting:
            return
        if result.quantity:
            self._fill(order, result, tick.at, batch)
        self._waiting[order.symbol].drop(order)
        order.run, order.after, order.resting = tick.run, tick.at, rests
        self.settle(order, result.state, result.code, batch)
        if order.order_id in self.live:
            self._waiting[order.symbol].put(order)

    def _fill(self, order: Working, result: Match, executed_at: int, batch: Batch) -> None:
        trade_id = f"p{batch.next_trade}"
        batch.next_trade += 1
        fill = Fill.trusted(
            id=fill_id(f"{self.account}|{self.exchange}|{order.symbol}|{order.order_id}|{trade_id}"),
            cause_id=order.intent_id, correlation_id=order.correlation_id, at=batch.now_ms, account=self.account,
            exchange=self.exchange, symbol=order.symbol, order_id=order.order_id, trade_id=trade_id, kind=FillKind.TRADE, side=order.side,
            quantity=result.quantity, price=result.price, fee=result.fee, fee_currency=order.settle,
            executed_at=executed_at, leg=order.leg, instrument=order.kind, contract_size=order.contract_size,
            settle=order.settle, take_profit=None, stop_loss=None, ttl_s=None,
        )  # fmt: skip
        batch.fills.append(fill)
        holding = self.books.apply(order, order.side, result.quantity, result.price, result.fee)
        batch.holdings[order.symbol, order.leg] = holding
        before, order.filled = order.remaining, add(order.filled, result.quantity)
        if order.hold:
            self._hold(order, divide(mul(order.hold, order.remaining), before))

    def _hold(self, order: Working, amount: Decimal) -> None:
        self.books.set_hold(order.settle, order.hold, amount)
        order.hold = amount

    def settle(self, order: Working, state: OrderState, code: Code | None, batch: Batch) -> None:
        """The order's state from now on; an ended one waits no more and holds no money."""
        order.state, order.code = state, code
        batch.changed[order.number] = order
        if state in TERMINAL_STATES:
            self._hold(order, ZERO)
            self._waiting[order.symbol].drop(order)
            del self.live[order.order_id]

    def expire(self, batch: Batch) -> None:
        """End what is past its `good_till` (wall time)."""
        while self._expiries and self._expiries[0][0] <= batch.now_ms:
            order = self.live.get(heapq.heappop(self._expiries)[1])
            if order is not None:
                self.settle(order, OrderState.EXPIRED, Code.UNFILLED, batch)

    def adopt(self, fill: Fill, batch: Batch) -> None:
        """A position that existed before. ValueError when nothing says what it settles in."""
        rules = self._instruments(fill.symbol)
        settle = fill.settle or (rules.settle if rules else None)
        if settle is None:
            raise ValueError(
                f"adoption {fill.trade_id}: {fill.symbol} is unknown and no settlement currency is given"
            )
        fee = fill.fee if fill.fee_currency in {None, settle} else ZERO
        taken = fill.evolve(settle=settle, fee=fee, fee_currency=settle)
        batch.fills.append(taken)
        holding = self.books.apply(shape_of(taken), fill.side, fill.quantity, fill.price, fee)
        batch.holdings[fill.symbol, fill.leg] = holding

    def cash(self, batch: Batch) -> dict[str, Decimal]:
        """The money that *batch* changed."""
        return {held.settle: self.books.cash[held.settle] for held in batch.holdings.values()}
