"""Binance spot and Kraken on a socket, each with a plain client, or with our venue: what tests of the two wires begin with."""

from contextlib import asynccontextmanager

from holdfast.venues.ccxt_ways import ways_of
from tests.venue._stage import BITCOIN, D, HandClock, ccxt_venue, plain_client, quote, row, venue
from venue_sim.faults import Fault

BTC = "BTC/USDT"
WIRES = ("binance", "kraken")
ADD = {"binance": ("POST", "/api/v3/order"), "kraken": ("POST", "/AddOrder")}
CANCEL = {"binance": ("DELETE", "/order"), "kraken": ("POST", "/CancelOrder")}
COIN = {"binance": "BTC", "kraken": "XXBT"}
OURS = "h6004b7c577787d597266f5a39f13d5"
FEE = {"binance": D("0.001"), "kraken": D("0.004")}


class Stage:
    """One wire: its server, a plain client, and the little in which the two differ."""

    def __init__(self, wire, server, client, clock):
        self.wire, self.server, self.client, self.clock = wire, server, client, clock
        self.exchange = server.venue.exchange

    def quote(self, bid, ask, size="10"):
        quote(self.server, bid, ask, size, BITCOIN[self.wire])

    async def order(self, *what, client_id="h1", **given):
        return await self.client.create_order(BTC, *what, params={"clientOrderId": client_id, **given})

    async def found(self, client_id):
        """By its client order id, in a list: what Kraken has for it, and Binance, too."""
        if self.wire == "binance":
            listed = await self.client.fetch_orders(BTC)
        else:
            given = {"clientOrderId": client_id}
            listed = await self.client.fetch_open_orders(BTC, params=given)
            listed += await self.client.fetch_closed_orders(BTC, params=given)
        return [one for one in listed if one["clientOrderId"] == client_id]

    async def cancel(self, client_id="h1"):
        return await self.client.cancel_order(None, BTC, {"clientOrderId": client_id})


@asynccontextmanager
async def on_stage(wire):
    """A venue of that wire, and a client that has read its markets."""
    clock = HandClock()
    async with venue(clock, dialect=wire) as server, plain_client(server, clock, wire) as client:
        await client.load_markets()
        yield Stage(wire, server, client, clock)


# -- with our venue ------------------------------------------------------------------------------------------------------


class Adapted:
    """One wire: its server, our venue, and coins in the wallet."""

    def __init__(self, wire, server, adapter, clock):
        self.wire, self.server, self.adapter, self.clock = wire, server, adapter, clock
        self.exchange, self.symbol = server.venue.exchange, BITCOIN[wire]

    def row(self, order_id=OURS, **fields):
        given = {"exchange": self.wire, "kind": "spot", "book_id": f"main/{self.wire}/BTC/USDT"}
        return row(order_id, clock=self.clock, **given | fields)

    def arm(self, kind, method, path, **more):
        self.server.venue.faults.arm(Fault(kind, method, path, **more))

    async def send(self, order):
        (outcome,) = await self.adapter.submit([order], now_ms=self.clock.now)
        return outcome

    async def resolve(self, order):
        """Look-ups as the executor repeats them, until they say something."""
        self.adapter.take_row(order)
        for _ in range(20):
            self.clock.now += 1_500
            shown = await self.adapter.look_up([order.order_id])
            if order.order_id in shown:
                return shown[order.order_id]
        raise AssertionError("never resolved")

    def truth(self, order):
        """The simulated venue's own record of it."""
        name = ways_of(self.adapter.capability, self.adapter.clients).named(order.order_id)
        return self.exchange.find(self.symbol, name)


def numbered(number):
    return f"h{number:030x}"


@asynccontextmanager
async def on_adapter(wire):
    """A venue of that wire with 50 coins in the wallet, and ours that trades there."""
    clock = HandClock()
    async with venue(clock, dialect=wire) as server, ccxt_venue(server, clock, dialect=wire) as adapter:
        server.venue.dialect.adjust({"nonce_window": 60_000, "coins": {COIN[wire]: "50"}})
        if wire == "kraken":
            server.venue.dialect.door.calls.limit = 1_000_000  # the tests' time hardly moves
        yield Adapted(wire, server, adapter, clock)
