"""One account at a real exchange, through ccxt: see `port.Venue` for what the calls promise.

Sends are concurrent, each waits at most `answer_ms`, and what has no clear answer by then is UNKNOWN; the request goes on, and
its answer is not believed any more: look-ups find out. Absent is what three kinds of read agree on, twice, seconds apart, after
the exchange can no longer take the order. REST is the truth; nothing here is kept that cannot be read again.

What moves at the exchange is found by asking about the orders that the ledger shows live (`take_row`): soon after they were
sent, later less often. `Clients` is what is done to ccxt, `outcomes` what an answer proves, `ccxt_rows` what its rows mean.
"""

import asyncio
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any

from holdfast.contracts.codes import Code, Kind, OrderState, Role
from holdfast.contracts.messages import Fill, Tick
from holdfast.contracts.money import ZERO, add, canonical
from holdfast.contracts.rows import OrderRow
from holdfast.domain.coins import day_result
from holdfast.domain.orders import is_ours
from holdfast.runtime.clock import Clock
from holdfast.venues.capabilities import Capability
from holdfast.venues.ccxt_account import DAY_MS, AccountReads
from holdfast.venues.ccxt_client import Clients
from holdfast.venues.ccxt_rows import amount, fill_of, order_of, positions_of, unique
from holdfast.venues.ccxt_stream import UserStream
from holdfast.venues.ccxt_ways import SKEW_MS, became
from holdfast.venues.outcomes import Attempt, described, verdict
from holdfast.venues.port import (
    Events,
    Outcome,
    OutcomeKind,
    VenueOrder,
    VenuePosition,
    VenueUnreadable,
)

log = logging.getLogger("holdfast.venue")
AGREE_MS = 2_000
"""Between the two look-ups that must agree on an order's absence."""
_ENDED = frozenset({OrderState.CANCELED, OrderState.EXPIRED, OrderState.REJECTED})


class CcxtVenue(AccountReads):
    """See the module. `open` must have been awaited. *symbols*: canonical names of what the account trades."""

    def __init__(
        self,
        account: str,
        capability: Capability,
        clients: Clients,
        clock: Clock,
        *,
        symbols: Sequence[str],
        answer_ms: int = 3_000,
        hedged: bool = False,
    ) -> None:
        super().__init__(account, capability, clients, clock, symbols=symbols)
        self._answer_ms, self.hedged = answer_ms, hedged
        self._names: dict[str, str] = {}
        """The exchange's order number -> client order id, as reads have shown them."""
        self._became: dict[str, str] = {}
        """Stop that has triggered -> the exchange's number of the order that it has become."""
        self._missing: dict[str, int] = {}
        """Orders that no read shows -> since when, monotonic ms."""
        self._late: set[asyncio.Task[Any]] = set()
        self.stream: UserStream | None = None

    def follow(self) -> None:
        """From now on hear of orders by the user's stream, too, where the exchange has one."""
        if self.capability.listens and self.stream is None:
            self.stream = UserStream(
                self.clients.read,
                self.clients.errors,
                self._clock,
                moved=self._heard,
                connected=self._heard_all,
            )
            self.stream.start()

    def _heard(self, order_id: str) -> None:
        """An order that nobody here knows may be what a stop has become."""
        rows, now = self._watch.rows, self._clock.monotonic_ms()
        moved = (
            [order_id] if order_id in rows else [key for key, row in rows.items() if self._ways.is_apart(row)]
        )
        for one in moved:
            self._watch.soon(one, now)

    def _heard_all(self) -> None:
        for order_id in list(self._watch.rows):
            self._heard(order_id)

    async def close(self) -> None:
        if self.stream is not None:
            await self.stream.stop()
        for task in list(self._late):
            task.cancel()
        await asyncio.gather(*self._late, return_exceptions=True)
        await self.clients.close()

    # -- sending -----------------------------------------------------------------------------------------------------------

    async def submit(self, orders: Sequence[OrderRow], *, now_ms: int) -> list[Outcome]:
        """All at once; `send_by` is checked again behind the limiter, by both clocks."""
        mono = self._clock.monotonic_ms()
        return list(
            await asyncio.gather(*(self._send(row, mono + max(0, row.send_by - now_ms)) for row in orders))
        )

    async def _send(self, row: OrderRow, deadline: int) -> Outcome:
        self._watch.sent(row)
        attempt = Attempt()
        task = asyncio.ensure_future(self._create(row, attempt, deadline))
        done, _ = await asyncio.wait({task}, timeout=self._answer_ms / 1000)
        if not done:
            self._late.add(task)
            task.add_done_callback(self._forget)
            return Outcome(
                row.order_id, OutcomeKind.UNKNOWN, reason=f"no answer to the send within {self._answer_ms} ms"
            )
        return task.result()

    def _forget(self, task: "asyncio.Task[Any]") -> None:
        """A late answer proves nothing that a look-up would not; only what is no outcome at all is told."""
        self._late.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("a send that was given up ended in %s", described(error))

    async def _create(self, row: OrderRow, attempt: Attempt, deadline: int) -> Outcome:
        """Never raises but for being canceled: whatever happens is an outcome."""
        if row.stop_price is not None and not self.capability.rests_stops:
            why = f"{self.exchange}: no stop of a position rests there"
            return Outcome(row.order_id, OutcomeKind.REJECTED, Code.NO_REDUCE_ONLY, why)
        client = self.clients.trade if row.role is Role.ENTRY else self.clients.leave
        try:
            with self.clients.sending(attempt, wall=row.send_by, monotonic=deadline):
                answer = await client.create_order(
                    self._there(row.symbol),
                    row.type.value,
                    row.side.value,
                    canonical(row.quantity),
                    None if row.price is None else canonical(row.price),
                    self._ways.parameters(row, hedged=self.hedged),
                )
            number, named = answer.get("id"), answer.get("clientOrderId")
        except Exception as error:  # noqa: BLE001 - after the wire anything may be raised, and none of it is a proof
            found = verdict(self.exchange, error, attempt)
            return Outcome(row.order_id, found.kind, found.code, found.reason)
        if number is None or not self._is_named(row.order_id, named):
            return Outcome(row.order_id, OutcomeKind.UNKNOWN, reason="the answer does not name the order")
        if not self._ways.is_apart(row):
            self._names[str(number)] = row.order_id
        self._watch.soon(row.order_id, self._clock.monotonic_ms())
        return Outcome(row.order_id, OutcomeKind.ACCEPTED, venue_order_id=str(number))

    def _is_named(self, order_id: str, named: Any) -> bool:
        """Whether an answer is about this order; an exchange that says no name is believed by its number."""
        return bool(named == self._ways.named(order_id)) or (
            named is None and not self._ways.names_in_answers
        )

    async def cancel(self, orders: Sequence[OrderRow], *, now_ms: int) -> list[Outcome]:  # noqa: ARG002 - a cancel is never too late
        return list(await asyncio.gather(*(self._cancel(row) for row in orders)))

    async def _cancel(self, row: OrderRow) -> Outcome:
        try:
            await self._ways.cancel(
                self._there(row.symbol),
                self._ways.named(row.order_id),
                stop=self._ways.is_apart(row),
                number=self._became.get(row.order_id),
            )
        except self.clients.not_found as error:
            return Outcome(row.order_id, OutcomeKind.REJECTED, Code.NO_SUCH_ORDER, described(error))
        except self._failures as error:
            return Outcome(row.order_id, OutcomeKind.UNKNOWN, reason=described(error))
        except VenueUnreadable as error:
            return Outcome(row.order_id, OutcomeKind.UNKNOWN, reason=str(error))
        self._watch.soon(row.order_id, self._clock.monotonic_ms())
        return Outcome(row.order_id, OutcomeKind.ACCEPTED)

    # -- orders ------------------------------------------------------------------------------------------------------------

    def take_row(self, row: OrderRow) -> None:
        """An order as the ledger shows it: a live one is asked about until it has ended."""
        self._watch.take(row, self._clock.monotonic_ms())
        if row.venue_order_id is not None and not self._ways.is_apart(row):
            self._names[row.venue_order_id] = row.order_id
        if not row.is_live:
            self._missing.pop(row.order_id, None)
            self._became.pop(row.order_id, None)

    def start_again(self) -> None:
        """The ledger's view was loaded afresh: what is live is told once more."""
        self._watch.clear()

    async def look_up(self, order_ids: Sequence[str]) -> dict[str, VenueOrder | None]:
        """Of some an answer may be missing: then nothing is known of them yet. Raises VenueUnreadable when all are."""
        rows = [row for key in order_ids if (row := self._watch.rows.get(key)) is not None]
        answers = await asyncio.gather(*(self._look_up(row) for row in rows), return_exceptions=True)
        shown: dict[str, VenueOrder | None] = {}
        unreadable: VenueUnreadable | None = None
        for row, answer in zip(rows, answers, strict=True):
            if isinstance(answer, VenueUnreadable):
                unreadable = answer
            elif isinstance(answer, BaseException):
                raise answer
            elif answer is not None:
                self._missing.pop(row.order_id, None)
                shown[row.order_id] = answer
            elif self._is_absent(row):
                shown[row.order_id] = None
        if unreadable is not None and not shown:
            raise unreadable
        return shown

    def _is_absent(self, row: OrderRow) -> bool:
        """Whether this is the second read that does not show it, late enough after the first, and both late enough after `send_by`."""
        now = self._clock.monotonic_ms()
        if self._clock.wall_ms() <= row.send_by + (self.capability.receive_window_ms or 0) + SKEW_MS:
            return False
        return now - self._missing.setdefault(row.order_id, now) >= AGREE_MS

    async def _look_up(self, row: OrderRow) -> VenueOrder | None:
        """By every read that may show it. None: they all answered, and none does."""
        apart = self._ways.is_apart(row)
        find = self._ways.find_stop if apart else self._ways.find
        name, since = self._ways.named(row.order_id), row.reserved_at - SKEW_MS
        found = await self._asked(find(self._there(row.symbol), name, since), "look-up")
        if found is None:
            return None
        order = self._read(found, row.symbol, f"look-up: {found.get('status')}", noted=not apart)
        if (number := found.get("became")) is not None:
            self._names[number], self._became[row.order_id] = row.order_id, number
            order = replace(order, triggered=True, evidence=f"{order.evidence}, triggered as order {number}")
        elif row.stop_price is not None and not apart:
            order = replace(order, triggered=order.filled > 0 or self._ways.has_triggered(found))
        if order.state is OrderState.FILLED and order.filled < row.quantity:
            return replace(
                order,
                state=OrderState.EXPIRED,
                code=Code.UNFILLED,
                evidence=f"closed with {canonical(order.filled)} of {canonical(row.quantity)}: the exchange has cut it",
            )
        return order

    def _read(self, row: Mapping[str, Any], symbol: str, evidence: str, *, noted: bool = True) -> VenueOrder:
        """An order of ccxt's, under our id: that of the stop which has become it, or its own, and then noted."""
        name = row.get("clientOrderId")
        order = order_of({**row, "clientOrderId": name and self._ways.ours(name)}, symbol, evidence)
        if not noted or order.venue_order_id is None:
            return order
        stop = self._names.get(order.venue_order_id)
        if stop is not None and self._became.get(stop) == order.venue_order_id:
            return replace(order, order_id=stop, triggered=True)
        self._names[order.venue_order_id] = order.order_id
        return order

    async def open_orders(self) -> list[VenueOrder]:
        """Conditional ones included, where those live elsewhere."""
        read = self.clients.read
        listed = await self._listed(read.fetch_open_orders(), "open orders")
        shown = [self._read(row, self._ours(row), "open orders") for row in listed]
        if self.capability.algo_orders:
            given = {"trigger": True}
            listed = await self._listed(read.fetch_open_orders(params=given), "conditional orders")
            shown += [self._read(row, self._ours(row), "open orders", noted=False) for row in listed]
        return shown

    def _ours(self, row: Mapping[str, Any]) -> str:
        """The canonical symbol of a row of ccxt's."""
        theirs = str(row.get("symbol"))
        return next((ours for ours, other in self._theirs.items() if other == theirs), theirs)

    async def positions(self) -> list[VenuePosition]:
        """Raises VenueUnreadable on spot: a balance is not a position, and "none" would be a claim that nobody has made."""
        if self.capability.kind is Kind.SPOT:
            raise VenueUnreadable(
                f"{self.exchange} is spot: it knows coins, and not which of them are a position"
            )
        rows = await self._listed(self.clients.read.fetch_positions(), "positions")
        ours = {theirs: symbol for symbol, theirs in self._theirs.items()}
        return positions_of(rows, ours, hedged=self.hedged)

    # -- trades ------------------------------------------------------------------------------------------------------------

    async def trades_since(self, executed_at: int) -> list[Fill]:
        """Of every symbol that the account trades, or that an order was seen of."""
        fills: list[Fill] = []
        for symbol, rows in (await self._trade_rows(self.traded_symbols(), executed_at)).items():
            fills += [await self._fill(row, symbol) for row in rows]
        return sorted(fills, key=lambda fill: fill.executed_at)

    async def day_result(self, held: Mapping[str, Decimal]) -> Decimal:
        """On spot: our own orders' trades since UTC midnight, and our coins at the day's first and at its last price."""
        if not self.shows_coins:
            return await super().day_result(held)
        midnight = self._clock.wall_ms() // DAY_MS * DAY_MS
        ours = [fill for fill in await self.trades_since(midnight) if is_ours(fill.order_id)]
        symbols = {fill.symbol for fill in ours} | {symbol for symbol, quantity in held.items() if quantity}
        theirs = {self._there(symbol): symbol for symbol in sorted(symbols)}
        found = await self._asked(self._ways.day_prices(list(theirs)), "prices of the day") if theirs else {}
        prices = {
            symbol: (amount(found[name][0], "first price"), amount(found[name][1], "last price"))
            for name, symbol in theirs.items()
            if name in found
        }
        if len(prices) < len(theirs):
            raise VenueUnreadable(
                f"prices of the day: {len(theirs) - len(prices)} of {len(theirs)} are missing"
            )
        return day_result(ours, held, prices)

    async def trades_of(self, order_ids: Sequence[str]) -> list[Fill]:
        rows = [row for key in order_ids if (row := self._watch.rows.get(key)) is not None]
        found = await asyncio.gather(*(self._trades_of(row) for row in rows))
        return [fill for fills in found for fill in fills]

    async def _trades_of(self, row: OrderRow) -> list[Fill]:
        own = self._became.get(row.order_id) if self._ways.is_apart(row) else row.venue_order_id
        number = own or next((number for number, name in self._names.items() if name == row.order_id), None)
        if number is None:
            return []
        listed = await self._asked(
            self._ways.trades_of(self._there(row.symbol), number), "trades of an order"
        )
        rules = self._rules[row.symbol]
        mine = [one for one in unique(listed) if str(one.get("order")) == number]
        return [fill_of(one, rules, self.account, self.exchange, row.order_id) for one in mine]

    async def _fill(self, row: Mapping[str, Any], symbol: str) -> Fill:
        """A trade names the exchange's number of its order; whose it is, the order says."""
        number = str(row.get("order"))
        if number not in self._names:
            found = await self._asked(self.clients.read.fetch_order(number, self._there(symbol)), "an order")
            name = self._read(found, symbol, "the order of a trade").order_id
            self._names.setdefault(number, number)
            if self.capability.algo_orders and name not in self._watch.rows:
                await self._find_stop_of(number, symbol)
        return fill_of(row, self._rules[symbol], self.account, self.exchange, self._names[number])

    async def _find_stop_of(self, number: str, symbol: str) -> None:
        """Note the stop that has become the order *number*, where one has: a live one of ours, or one that has ended lately."""
        for row in [one for one in self._watch.rows.values() if one.stop_price and one.symbol == symbol]:
            await self._look_up(row)
            if self._became.get(row.order_id) == number:
                return
        stops = await self._asked(self._ways.stops(self._there(symbol), None), "conditional orders")
        for stop in stops:
            if became(stop) == number and stop.get("clientOrderId"):
                self._names[number] = self._ways.ours(stop["clientOrderId"])

    # -- what happens meanwhile -----------------------------------------------------------------------------------------------

    async def on_ticks(self, ticks: Sequence[Tick], *, now_ms: int) -> Events:  # noqa: ARG002 - the exchange matches by itself
        return Events()

    async def poll(self, *, now_ms: int) -> Events:  # noqa: ARG002 - asks what is due by the steady clock
        due = self._watch.due(self._clock.monotonic_ms())
        if not due:
            return Events()
        shown = await asyncio.gather(*(self._moved(row) for row in due), return_exceptions=True)
        events = Events()
        for one in shown:
            if isinstance(one, BaseException):
                raise one
            fills, order = one
            events.fills.extend(fills)
            if order is not None:
                events.orders.append(order)
        return events

    async def _moved(self, row: OrderRow) -> tuple[Iterable[Fill], VenueOrder | None]:
        """New fills of a live order, and its end once all fills that it names are here."""
        order = await self._look_up(row)
        if order is None:
            return (), None
        fills: Sequence[Fill] = await self._trades_of(row) if order.filled > row.filled else ()
        total = ZERO
        for fill in fills:
            total = add(total, fill.quantity)
        if order.filled > max(total, row.filled):
            self._watch.soon(row.order_id, self._clock.monotonic_ms())
            return fills, None
        return fills, order if order.state in _ENDED or order.triggered else None
