"""Stops at the venue in the seeded histories: counted while they come and go, taken away by hand, judged at rest."""

import contextlib

from tests.venue._stage import D
from tests.venue._world import FUTURES
from venue_sim.errors import Refusal
from venue_sim.orders import Ask


class FuturesStops:
    """Conditional orders at endpoints of their own. *wrong*: where to say what should not be."""

    reads = ("/algoOrder", "/openAlgoOrders", "/allAlgoOrders")
    """What else can fail to be read."""

    def __init__(self, world, wrong):
        self.world, self.exchange, self.wrong = world, world.exchange, wrong
        place = self.exchange.place_conditional

        def counted(ask):
            algo = place(ask)
            live = [one for one in self.open() if one.symbol == ask.symbol]
            if len(live) > 2:
                self.wrong.append(f"{len(live)} stops of {ask.symbol}")
            return algo

        self.exchange.place_conditional = counted

    def open(self):
        return [algo.ask for algo in self.exchange.algos.values() if algo.is_open]

    def take(self, name):
        """Somebody cancels those of a symbol by hand."""
        self.exchange.cancel_conditionals(name)

    def take_locks(self):
        """Nothing is locked here."""

    def judge(self):
        """At rest every position has its one stop, as large as it is."""
        there = [(ask.symbol, ask.side, ask.quantity) for ask in self.open()]
        wanted = [
            (self.world.name(row.symbol), "SELL" if row.side.value == "long" else "BUY", row.quantity)
            for row in self.world.ledger.state.positions.values()
        ]
        if sorted(there) != sorted(wanted):
            self.wrong.append(f"stops {there}, positions {wanted}")


class SpotStops:
    """Ordinary orders that lock their coins: one of a symbol at most, and never more on orders than is ours."""

    reads = ()

    def __init__(self, world, wrong):
        self.world, self.exchange, self.wrong = world, world.exchange, wrong
        self.exchange.place = self._counted(self.exchange.place)
        self.exchange.place_stop = self._counted(self.exchange.place_stop)

    def _counted(self, place):
        def placed(ask):
            order = place(ask)
            self._count(ask.symbol)
            return order

        return placed

    def _count(self, name):
        sales = [order for order in self.sales() if order.ask.symbol == name]
        stops = [order for order in sales if order.ask.trigger is not None]
        if len(stops) > 1:
            self.wrong.append(f"{len(stops)} stops of {name}")
        held = {self.world.name(symbol): quantity for symbol, quantity in self.world.held().items()}
        if sum((order.remaining for order in sales), D(0)) > held.get(name, 0):
            self.wrong.append(
                f"{len(sales)} orders could sell more of {name} than the {held.get(name, 0)} that are ours"
            )

    def sales(self):
        """Ours that are open and sell."""
        return [
            order
            for order in self.exchange.orders.values()
            if order.is_open and not order.ask.buys and self.world.of_ours(order.ask.client_id) is not None
        ]

    def open(self):
        return [order for order in self.sales() if order.ask.trigger is not None]

    def take(self, name):
        for order in self.open():
            if order.ask.symbol == name:
                self.exchange.cancel(order)

    def lock(self, name, quantity):
        """Somebody sells *quantity* far above the price, if there is so much."""
        ask = Ask(name, "SELL", "LIMIT", f"web_{len(self.exchange.orders)}", D(quantity), D(90_000))
        with contextlib.suppress(Refusal):
            self.exchange.place(ask)
            self.exchange.received.remove(ask)  # of what ours sent nothing is missing

    def take_locks(self):
        """Somebody takes them back. Whether there were any."""
        locks = [
            order
            for order in self.exchange.orders.values()
            if order.is_open and order.ask.client_id.startswith("web_")
        ]
        for order in locks:
            self.exchange.cancel(order)
        return bool(locks)

    def judge(self):
        """At rest every position has its one stop, for what no exit still sells, in whole steps, where the venue takes so little."""
        there, wanted = [(order.ask.symbol, order.ask.quantity) for order in self.open()], []
        for row in self.world.ledger.state.positions.values():
            spec = self.exchange.specs[self.world.name(row.symbol)]
            leaving = [
                one.remaining
                for one in self.sales()
                if one.ask.symbol == spec.symbol and one.ask.trigger is None
            ]
            free = row.quantity - sum(leaving, D(0))
            quantity = free - free % spec.step
            if quantity >= spec.least and quantity * row.stop_loss >= spec.least_notional:
                wanted.append((spec.symbol, quantity))
        if sorted(there) != sorted(wanted):
            self.wrong.append(f"stops {there}, positions {wanted}")


def stops_of(world, wrong):
    """What watches the stops of *world*."""
    return (FuturesStops if world.wire == FUTURES else SpotStops)(world, wrong)
