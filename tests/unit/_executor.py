"""A world for the executor's tests: the ledger's real decisions in memory, a scripted venue, a bus that can be wiped.

Everything the executor returns goes through JSON, as on the bus. `World.settle` delivers until nothing moves.
"""

from collections import Counter
from decimal import Decimal

import orjson

from holdfast.contracts import streams
from holdfast.contracts.codes import Code, Kind, Leg, OrderState, Side
from holdfast.contracts.messages import Fill, LedgerSnapshot, LedgerUpdated, OrderReserve, OrderStatus, Tick
from holdfast.contracts.portfolio import NavMark
from holdfast.contracts.rows import IntentRow
from holdfast.contracts.wire import Ack, Entry, Out, decode, digest
from holdfast.domain.exit_policy import ExitPolicy
from holdfast.domain.ledger_state import Known, LedgerState
from holdfast.domain.limits import Limits
from holdfast.domain.portfolio import take_mark
from holdfast.domain.reservation import Rules as LedgerRules
from holdfast.domain.reserve import reserve
from holdfast.domain.settle import settle_fill, settle_status
from holdfast.domain.view import LedgerView, snapshot_checksum
from holdfast.runtime.limit_settings import portfolio_of
from holdfast.runtime.settings import Settings
from holdfast.venues.port import (
    Events,
    Outcome,
    OutcomeKind,
    Rules,
    VenueOrder,
    VenuePosition,
    VenueUnreadable,
)
from services.executor.service import Executor
from services.ledger.outbox import caused

D = Decimal
START = 1_700_000_000_000
TERMINAL = {OrderState.FILLED, OrderState.CANCELED, OrderState.REJECTED, OrderState.EXPIRED}


class FakeClock:
    """Both clocks go with `now`; `ahead` is how far the wall clock has been put forward."""

    def __init__(self):
        self.now, self.ahead = START, 0

    def wall_ms(self):
        return self.now + self.ahead

    def monotonic_ms(self):
        return self.now - START + 1

    async def sleep(self, seconds):
        self.now += int(seconds * 1000)


class Numbers:
    """Ids 1, 2, 3 with a prefix."""

    def __init__(self, prefix):
        self.prefix, self.count = prefix, 0

    def new(self):
        self.count += 1
        return f"{self.prefix}{self.count}"


class ScriptedVenue:
    """Does what it is told: `outcome` for the next sends, fills when the test says so. Counts every send."""

    account, exchange = "main", "paper"

    def __init__(self, *, kind=Kind.LINEAR, minimum="0", min_notional="0"):
        self.kind, self.minimum, self.min_notional = kind, D(minimum), D(min_notional)
        self.sends, self.sent_order = Counter(), []
        self.outcome = OutcomeKind.ACCEPTED
        self.arrives = True
        self.unreadable = False
        self.orders, self.trades, self.events = {}, [], Events()
        self.canceled = []
        self.extra = D(0)

    def rules(self, symbol):
        base = symbol.replace("/", "").replace("-", "").upper().split(":")[0].removesuffix("USDT")
        if base not in {"BTC", "ETH", "SOL"}:
            return None
        return Rules(
            f"{base}/USDT",
            self.kind,
            base,
            "USDT",
            "USDT",
            D(1),
            D("0.001"),
            D("0.1"),
            self.minimum,
            self.min_notional,
        )

    def _check(self):
        if self.unreadable:
            raise VenueUnreadable("scripted: no answer")

    async def submit(self, orders, *, now_ms):
        outcomes = []
        for row in orders:
            self.sends[row.order_id] += 1
            self.sent_order.append(row)
            if self.arrives and self.outcome is not OutcomeKind.REJECTED:
                self.orders[row.order_id] = VenueOrder(
                    row.order_id,
                    row.symbol,
                    row.side,
                    OrderState.OPEN,
                    row.quantity,
                    D(0),
                    f"v-{row.order_id}",
                )
            code = Code.INSUFFICIENT_FUNDS if self.outcome is OutcomeKind.REJECTED else None
            outcomes.append(Outcome(row.order_id, self.outcome, code, "scripted"))
        return outcomes

    async def cancel(self, orders, *, now_ms):
        self._check()
        outcomes = []
        for row in orders:
            self.canceled.append(row.order_id)
            known = self.orders.get(row.order_id)
            if known is None:
                outcomes.append(Outcome(row.order_id, OutcomeKind.REJECTED, Code.NO_SUCH_ORDER))
                continue
            if known.state not in TERMINAL:
                self.end(row.order_id, OrderState.CANCELED, Code.ON_REQUEST)
            outcomes.append(Outcome(row.order_id, OutcomeKind.ACCEPTED))
        return outcomes

    def end(self, order_id, state, code=None):
        known = self.orders[order_id]
        self.orders[order_id] = VenueOrder(
            order_id,
            known.symbol,
            known.side,
            state,
            known.quantity,
            known.filled,
            known.venue_order_id,
            code,
        )
        self.events.orders.append(self.orders[order_id])

    def fill(self, order_id, quantity=None, price="100", *, told=True, at=None):
        """The order trades; *told*: the venue says so by itself at the next tick or poll."""
        known = self.orders[order_id]
        quantity = known.quantity - known.filled if quantity is None else D(quantity)
        filled = known.filled + quantity
        state = OrderState.FILLED if filled == known.quantity else OrderState.PARTIAL
        if known.state in TERMINAL:
            state = known.state
        self.orders[order_id] = VenueOrder(
            order_id, known.symbol, known.side, state, known.quantity, filled, known.venue_order_id
        )
        number = len(self.trades) + 1
        fill = Fill(
            id=f"f{number}", at=START, account="main", exchange="paper", symbol=known.symbol, order_id=order_id, trade_id=f"t{number}",
            side=known.side, quantity=quantity, price=D(price), executed_at=at or START + number, instrument=self.kind, settle="USDT",
        )  # fmt: skip
        self.trades.append(fill)
        if told:
            self.events.fills.append(fill)
        return fill

    def fill_all(self, **how):
        for order in list(self.orders.values()):
            if order.state not in TERMINAL:
                self.fill(order.order_id, **how)

    def _take(self):
        self._check()
        events, self.events = self.events, Events([], [])
        return events

    async def look_up(self, order_ids):
        self._check()
        return {key: self.orders.get(key) for key in order_ids}

    async def open_orders(self):
        self._check()
        return [order for order in self.orders.values() if order.state not in TERMINAL]

    async def trades_since(self, executed_at):
        self._check()
        return [fill for fill in self.trades if fill.executed_at >= executed_at]

    async def trades_of(self, order_ids):
        self._check()
        return [fill for fill in self.trades if fill.order_id in order_ids]

    async def positions(self):
        self._check()
        held = Counter()
        for fill in self.trades:
            held[fill.symbol] += fill.quantity if fill.side is Side.BUY else -fill.quantity
        held["BTC/USDT"] += self.extra
        return [VenuePosition(symbol, Leg.NET, quantity) for symbol, quantity in held.items() if quantity]

    async def on_ticks(self, ticks, *, now_ms):
        return self._take()

    async def poll(self, *, now_ms):
        return self._take()

    async def close(self):
        pass


class MemoryLedger:
    """The ledger's decisions, without a store: rows by key, and every update that was ever committed."""

    def __init__(self, clock, settings):
        self.clock, self.state, self.known = clock, LedgerState(), Known()
        self.rules = LedgerRules(
            limits=Limits.of(settings.limits), policy=ExitPolicy(D(10), D(20)), hedging=settings.hedging.allow, spot_short=settings.paper.spot_short,
            portfolio=portfolio_of(settings),
        )  # fmt: skip
        self.seq, self.updates, self.results = 0, [], []

    def take(self, message):
        """Apply one message; returns the update (or None) and the repeated answers."""
        now = self.clock.wall_ms()
        self.state.begin()
        if isinstance(message, OrderReserve):
            change = reserve(self.state, message, self.known, self.rules, now)
        elif isinstance(message, Fill):
            change = settle_fill(self.state, message, self.known, self.rules, now)
        elif isinstance(message, NavMark):
            change = take_mark(self.state, message, self.rules.portfolio, now)
        elif message.id in self.known.messages:
            change = None
        else:
            self.known.messages[message.id] = digest(message.body())
            change = settle_status(self.state, message, self.known, now)
        self.state.keep()
        return self.record(change) if change is not None else (None, [])

    def record(self, change):
        beside = [out.message for out in change.beside if isinstance(out, Out)]
        if change.is_empty:
            self.results += beside
            return None, beside
        self.seq += 1
        update = change.as_update(seq=self.seq, store_id="store-1", epoch=1, at=self.clock.wall_ms())
        update = LedgerUpdated.model_validate_json(update.body())
        for row in update.orders:
            self.known.orders[row.order_id] = row
        self.updates.append(update)
        self.results += beside + [
            out.message for out in caused(update) if out.stream is streams.INTENT_RESULT
        ]
        return update, beside

    def snapshot(self):
        state = self.state
        part = LedgerSnapshot(
            id="snap", at=self.clock.wall_ms(), snapshot_id="snap", seq=self.seq, chain="", store_id="store-1", epoch=1, part=1, parts=1, checksum="",
            positions=list(state.positions.values()), orders=list(state.orders.values()), books=list(state.books.values()),
            control=list(state.control.values()), totals=list(state.totals.values()), executors=dict(state.executors),
            quarantine=list(state.quarantine.values()), nav=list(state.nav.values()),
        )  # fmt: skip
        return [LedgerSnapshot.model_validate_json(part.evolve(checksum=snapshot_checksum([part])).body())]

    def intent(self, intent_id) -> IntentRow:
        return self.known.intents[intent_id]


class World:
    """One executor after another against one ledger and one venue."""

    def __init__(self, venue=None, **sections):
        self.settings = Settings.model_validate(sections)
        self.clock = FakeClock()
        self.ledger = MemoryLedger(self.clock, self.settings)
        self.venue = venue or ScriptedVenue()
        self.bus, self.acked, self.lives, self.entries = [], set(), 0, 0
        self.fullness = 0.0

    async def start(self):
        """A new incarnation, as after a restart of the process."""
        self.lives += 1
        self.view = LedgerView()
        venues = {("main", "paper"): self.venue}
        self.executor = Executor(
            self.settings, self.clock, Numbers(f"x{self.lives}-"), self.view, venues, f"life{self.lives}", bus_fullness_pct=lambda: self.fullness
        )  # fmt: skip
        await self.reset()
        return self

    async def reset(self):
        self.view.load(self.ledger.snapshot())
        self.publish(await self.executor.on_reset())

    def publish(self, outputs):
        for out in outputs:
            if isinstance(out, Ack):
                self.acked.add((out.stream.name, out.entry_id))
            else:
                message = type(out.message).parse(out.message.body())
                assert message == out.message, "what goes on the wire is what was meant, every field named"
                self.bus.append((out.stream, message))

    def entry(self, stream=streams.ORDER_INTENT, *, body=None, at=None, **fields) -> Entry:
        self.entries += 1
        raw = body if body is not None else orjson.dumps(fields)
        return decode(stream, f"{at or self.clock.now}-{self.entries}", {b"body": raw})

    def buy(self, quantity="1", symbol="BTC/USDT", **fields):
        return self.entry(symbol=symbol, side="buy", quantity=quantity, **fields)

    def sell(self, quantity="1", symbol="BTC/USDT", **fields):
        return self.entry(symbol=symbol, side="sell", quantity=quantity, **fields)

    def close(self, symbol="BTC/USDT", **fields):
        return self.entry(streams.ORDER_INTENT_EXIT, action="close", symbol=symbol, **fields)

    async def give(self, *entries):
        """Entries of order.intent."""
        self.publish(await self.executor.on_entries(entries))

    async def give_exits(self, *entries):
        self.publish(await self.executor.on_exits(entries))

    async def tick(self, bid="99", ask="101", symbol="BTC/USDT"):
        self.clock.now += 1
        message = Tick(
            id=f"t{self.clock.now}",
            at=self.clock.now,
            symbol=symbol,
            bid=D(bid),
            ask=D(ask),
            last=D(bid),
            feed="f",
            run="r",
        )
        entry = decode(streams.MARKET_TICK, f"{self.clock.now}-0", {b"body": message.body()})
        self.publish(await self.executor.on_ticks([entry]))

    async def deliver(self, *, to_executor=True):
        """The ledger takes what is on the bus now; the executor hears of it unless told otherwise."""
        batch, self.bus = self.bus, []
        updates, repeated = [], []
        for _, message in batch:
            update, beside = self.ledger.take(message)
            updates += [update] if update is not None else []
            repeated += beside
        if to_executor:
            await self.hear(updates, repeated)
        return updates

    async def hear(self, updates, repeated=()):
        for update in updates:
            self.view.apply(update)
        if updates:
            self.publish(await self.executor.on_updates(updates))
        if repeated:
            entries = [
                decode(streams.INTENT_RESULT, f"{self.clock.now}-0", {b"body": message.body()})
                for message in repeated
            ]
            self.publish(await self.executor.on_results(entries))

    async def settle(self):
        """Deliver until the bus is empty."""
        for _ in range(20):
            if not self.bus:
                return
            await self.deliver()
        raise AssertionError(f"the bus never came to rest: {self.bus[:3]}")

    async def time(self, ms=200):
        """Time passes and the executor's timer runs."""
        self.clock.now += ms
        self.publish(await self.executor.on_time())

    async def pass_time(self, ms, step=200):
        for _ in range(ms // step):
            await self.time(step)
            await self.settle()

    def of(self, kind):
        return [message for _, message in self.bus if isinstance(message, kind)]

    def refusal(self):
        """The one refusal on the bus."""
        (reserve_,) = self.of(OrderReserve)
        assert reserve_.refusal is not None, reserve_.order
        return reserve_.refusal

    def order(self):
        """The one live order."""
        (row,) = self.ledger.state.orders.values()
        return row

    def statuses(self):
        return [(message.status.value, message.evidence) for message in self.of(OrderStatus)]
