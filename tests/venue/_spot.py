"""Binance spot and Kraken on a socket, each with a plain client: what tests of the two wires begin with."""

from contextlib import asynccontextmanager

from tests.venue._stage import BITCOIN, D, HandClock, plain_client, quote, venue

BTC = "BTC/USDT"
WIRES = ("binance", "kraken")
ADD = {"binance": ("POST", "/api/v3/order"), "kraken": ("POST", "/AddOrder")}
CANCEL = {"binance": ("DELETE", "/order"), "kraken": ("POST", "/CancelOrder")}
COIN = {"binance": "BTC", "kraken": "XXBT"}
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
