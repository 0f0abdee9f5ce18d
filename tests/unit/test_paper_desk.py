"""Any trading, killed at any time: what the paper venue's memory, record and answers have in common."""

import asyncio
import shutil
import tempfile
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from holdfast.contracts.codes import Kind, OrderState
from holdfast.domain.matching import Account, worth
from tests.unit._paper import BTC, BUY, COIN, FOK, GTC, IOC, SELL, SPOT, D, Desk, order, tick

quantities = st.integers(1, 300).map(lambda n: D(n) / 100)
prices = st.integers(9500, 10500).map(lambda n: D(n) / 100)
KNOWN = [BTC, SPOT, COIN]


class AnyTrading(RuleBasedStateMachine):
    """Whatever comes in whatever order, money and positions are the sum of the trades, and nothing is told twice."""

    @initialize(partial=st.sampled_from([0, 50]), capital=st.sampled_from([200, 10**7]), short=st.booleans())
    def open(self, partial, capital, short):
        self.folder = Path(tempfile.mkdtemp())
        self.desk = Desk(
            self.folder / "r.db", partial_fill_pct=D(partial), reject_pct=D(10), capital=D(capital),
            spot_short=short, fee_pct=D("0.05"), maker_fee_pct=D("-0.01"), slippage_pct=D("0.03"),
        )  # fmt: skip
        self.short, self.at, self.rows, self.told = short, 0, {}, []

    def run_(self, coroutine):
        return asyncio.run(coroutine)

    @rule(
        symbol=st.sampled_from(KNOWN), side=st.sampled_from([BUY, SELL]), quantity=quantities, price=st.none() | prices,
        tif=st.sampled_from([GTC, GTC, IOC, FOK]), reduce=st.booleans(), post=st.booleans(), till=st.none() | st.integers(0, 60),
    )  # fmt: skip
    def submit(self, symbol, side, quantity, price, tif, reduce, post, till):
        name = f"o{len(self.rows)}"
        post = post and price is not None and tif is GTC
        self.rows[name] = order(
            name,
            side,
            str(quantity),
            price,
            symbol=symbol,
            tif=tif,
            reduce=reduce,
            post_only=post,
            good_till=till,
        )
        self.run_(self.desk.submit(self.rows[name]))

    @rule(pick=st.integers(0, 50))
    def submit_again(self, pick):
        if self.rows:
            row = list(self.rows.values())[pick % len(self.rows)]
            before = self.run_(self.desk.venue.look_up([row.order_id]))
            self.run_(self.desk.submit(row))
            assert self.run_(self.desk.venue.look_up([row.order_id])) == before

    @rule(symbol=st.sampled_from(KNOWN), bid=prices, gap=st.integers(-1, 30), back=st.integers(0, 9))
    def tick(self, symbol, bid, gap, back):
        self.at += 1
        before = self.run_(self.desk.held())
        at = max(0, self.at - (3 if back == 0 else 0))
        events = self.run_(self.desk.ticks(tick(at, bid, bid + D(gap) / 100, symbol), now_ms=self.at))
        self.told += events.fills
        shrinking = [fill for fill in events.fills if self.rows[fill.order_id].reduce_only]
        if shrinking and len(shrinking) == len(events.fills):
            held, was = self.run_(self.desk.held()).get(symbol, D(0)), before.get(symbol, D(0))
            assert abs(held) < abs(was)
            assert held * was >= 0

    @rule(pick=st.integers(0, 50))
    def cancel(self, pick):
        if self.rows:
            row = list(self.rows.values())[pick % len(self.rows)]
            self.run_(self.desk.venue.cancel([row], now_ms=self.at))
            assert self.run_(self.desk.state(row.order_id)) not in {OrderState.OPEN, OrderState.PARTIAL}

    @rule()
    def restart(self):
        self.desk.restart()

    @invariant()
    def sums_are_the_trades(self):
        if not hasattr(self, "desk"):
            return
        fills = self.run_(self.desk.venue.trades_after(0))
        assert fills == self.told
        cash, held = {}, {}
        for fill in fills:
            value = worth(fill.instrument, fill.quantity, fill.price, fill.contract_size)
            flow = -value if (fill.side is BUY) != (fill.instrument is Kind.INVERSE) else value
            cash[fill.settle] = cash.get(fill.settle, D(0)) + flow - fill.fee
            held[fill.symbol] = held.get(fill.symbol, D(0)) + (
                fill.quantity if fill.side is BUY else -fill.quantity
            )
        assert self.desk.venue.cash() == cash
        assert self.run_(self.desk.held()) == {
            symbol: quantity for symbol, quantity in held.items() if quantity
        }
        assert self.short or held.get(SPOT, D(0)) >= 0
        assert self.desk.record.verify() == []

    @invariant()
    def orders_are_the_trades(self):
        if not hasattr(self, "desk"):
            return
        shown = self.run_(self.desk.venue.look_up(list(self.rows)))
        for name, row in self.rows.items():
            filled = sum((fill.quantity for fill in self.told if fill.order_id == name), D(0))
            assert shown[name].filled == filled <= row.quantity
            assert (filled == row.quantity) == (shown[name].state is OrderState.FILLED)

    @invariant()
    def memory_is_what_the_record_gives_back(self):
        if not hasattr(self, "desk"):
            return
        live, books = self.desk.venue._desk.live.values(), self.desk.venue._desk.books
        assert [(o.number, o.filled, o.hold, o.resting, o.state) for o in live] == [
            (o.number, o.filled, o.hold, o.resting, o.state) for o in self.desk.record.live_orders()
        ]
        again = Account(books.terms)
        again.restore(self.desk.record.holdings(), self.desk.record.cash())
        for settle, kind in (("USDT", Kind.LINEAR), ("BTC", Kind.INVERSE)):
            held = sum((order.hold for order in live if order.settle == settle), D(0))
            assert books.free(settle, kind, D(100)) == again.free(settle, kind, D(100)) - held

    def teardown(self):
        if hasattr(self, "desk"):
            self.desk.record.close()
            shutil.rmtree(self.folder)


AnyTrading.TestCase.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)
TestAnyTrading = AnyTrading.TestCase
