"""Builders for the tests of the paper venue: instruments, orders, ticks, and a venue that can be killed and opened again."""

from decimal import Decimal

from holdfast.contracts.codes import FillKind, Kind, OrderType, Role, Side, TimeInForce
from holdfast.contracts.messages import Fill, Tick
from holdfast.contracts.rows import OrderRow
from holdfast.runtime.settings import PaperSettings
from holdfast.venues.paper import PaperVenue
from holdfast.venues.paper_record import PaperRecord
from holdfast.venues.port import Rules

D = Decimal
BUY, SELL = Side.BUY, Side.SELL
GTC, IOC, FOK = TimeInForce.GTC, TimeInForce.IOC, TimeInForce.FOK
BTC, ETH, SPOT, COIN = "BTC/USDT", "ETH/USDT", "XRP/USDT", "BTC/USD"
PLAIN = {"fee_pct": D(0), "maker_fee_pct": D(0), "slippage_pct": D(0)}


def rules_of(symbol):
    base, _, quote = symbol.partition("/")
    kind = {SPOT: Kind.SPOT, COIN: Kind.INVERSE}.get(symbol, Kind.LINEAR)
    settle = base if kind is Kind.INVERSE else quote
    known = Rules(symbol, kind, base, quote, settle, D(1), D("0.01"), D("0.01"), D("0.02"), D(5))
    return known if symbol in {BTC, ETH, SPOT, COIN} else None


def order(order_id, side=BUY, quantity="1", price=None, *, symbol=BTC, tif=GTC, reduce=False, **more):
    rules = rules_of(symbol)
    values = {
        "order_id": order_id, "intent_id": f"i-{order_id}", "correlation_id": f"c-{order_id}", "book_id": f"main/paper/{symbol}",
        "account": "main", "exchange": "paper", "symbol": symbol, "kind": rules.kind if rules else Kind.SPOT,
        "contract_size": D(1), "settle": rules.settle if rules else "USDT", "role": Role.EXIT if reduce else Role.ENTRY,
        "side": side, "type": OrderType.MARKET if price is None else OrderType.LIMIT, "price": None if price is None else D(price),
        "quantity": D(quantity), "reduce_only": reduce, "time_in_force": tif, "incarnation": "me", "epoch": 1,
        "send_by": 10_000, "reserved_at": 0, "changed_at": 0,
    }  # fmt: skip
    return OrderRow(**{**values, **more})


def tick(at, bid="99", ask="101", symbol=BTC, run="r1", feed="f"):
    return Tick(id=f"t{at}", at=at, symbol=symbol, bid=D(bid), ask=D(ask), last=D(bid), feed=feed, run=run)


class Desk:
    """A venue over a file that can be killed and opened again."""

    def __init__(self, path, **paper):
        self.path, self.settings = path, PaperSettings(**{**PLAIN, **paper})
        self.start()

    def start(self):
        self.record = PaperRecord(self.path, "main")
        self.venue = PaperVenue("main", settings=self.settings, instruments=rules_of, record=self.record)

    def restart(self):
        self.record.close()
        self.start()

    async def submit(self, *orders, now_ms=1):
        return await self.venue.submit(orders, now_ms=now_ms)

    async def ticks(self, *ticks, now_ms=2):
        return await self.venue.on_ticks(ticks, now_ms=now_ms)

    async def held(self):
        return {position.symbol: position.quantity for position in await self.venue.positions()}

    async def state(self, order_id):
        return (await self.venue.look_up([order_id]))[order_id].state


def adoption(**more):
    values = {
        "id": "x", "at": 1, "account": "main", "exchange": "paper", "symbol": BTC, "trade_id": "a-1", "kind": FillKind.ADOPTION,
        "side": BUY, "quantity": D(2), "price": D(50), "executed_at": 1, "instrument": Kind.LINEAR,
    }  # fmt: skip
    return Fill(**{**values, **more})
