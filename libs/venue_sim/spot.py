"""The endpoints of Binance spot, /api/v3: what each takes, does and answers. `ENDPOINTS` is the whole list."""

import json
from decimal import Decimal
from typing import Any

from venue_sim import binance_errors
from venue_sim.binance import KEYED, PUBLIC, SIGNED, Endpoints, Given, amount_of, needed_of
from venue_sim.errors import Refusal, VenueError, Why
from venue_sim.matching import DAY_MS
from venue_sim.orders import Ask, Order
from venue_sim.rows import plain
from venue_sim.spot_rows import TYPES, account_row, canceled_row, instrument, order_row, taken_row, trade_row
from venue_sim.wallet import Spot

MOST_ROWS = 1_000
TRADES_WINDOW_MS = 24 * 3600 * 1000
STOPS = frozenset({"STOP_LOSS", "STOP_LOSS_LIMIT", "TAKE_PROFIT", "TAKE_PROFIT_LIMIT"})
PRICED = frozenset({"LIMIT", "LIMIT_MAKER", "STOP_LOSS_LIMIT", "TAKE_PROFIT_LIMIT"})


class SpotDesk:
    """Requests that have passed the door, on one exchange."""

    def __init__(self, exchange: Spot) -> None:
        self.exchange = exchange

    # -- public ------------------------------------------------------------------------------------------------------------

    def ping(self, _: Given) -> Any:
        return {}

    def time(self, _: Given) -> Any:
        return {"serverTime": self.exchange.clock()}

    def exchange_info(self, _: Given) -> Any:
        limits = [
            {"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1, "limit": 6000},
            {"rateLimitType": "ORDERS", "interval": "SECOND", "intervalNum": 10, "limit": 100},
        ]
        return {
            "timezone": "UTC", "serverTime": self.exchange.clock(), "rateLimits": limits, "exchangeFilters": [],
            "symbols": [instrument(spec) for spec in self.exchange.specs.values()],
        }  # fmt: skip

    def no_contracts(self, _: Given) -> Any:
        """Clients that load every market ask for these, too."""
        return {"timezone": "UTC", "serverTime": self.exchange.clock(), "symbols": []}

    def book_ticker(self, given: Given) -> Any:
        named = given.get("symbol")
        if named is not None and named not in self.exchange.specs:
            raise Refusal(Why.UNKNOWN_SYMBOL)
        rows = [
            {"symbol": symbol, "bidPrice": plain(quote.bid), "bidQty": plain(quote.size), "askPrice": plain(quote.ask), "askQty": plain(quote.size)}
            for symbol, quote in self.exchange.quotes.items() if named in (None, symbol)
        ]  # fmt: skip
        return rows if named is None else rows[0] if rows else {}

    def trading_day(self, given: Given) -> Any:
        """The prices of this UTC day, of the *symbols* that are named."""
        if given.get("timeZone", "0") != "0":
            raise VenueError(-1100, "Only the time zone 0 is simulated.")
        named = json.loads(given["symbols"]) if "symbols" in given else [needed_of(given, "symbol")]
        if not set(named) <= self.exchange.specs.keys():
            raise Refusal(Why.UNKNOWN_SYMBOL)
        found = {one: (self.exchange.first_today(one), self.exchange.mark(one)) for one in named}
        rows = [
            {"symbol": symbol, "openPrice": plain(first), "lastPrice": plain(last), "openTime": self.exchange.clock() // DAY_MS * DAY_MS,
             "closeTime": self.exchange.clock()}
            for symbol, (first, last) in found.items() if first is not None and last is not None
        ]  # fmt: skip
        return rows if "symbols" in given else rows[0] if rows else {}

    # -- orders ------------------------------------------------------------------------------------------------------------

    def new_order(self, given: Given) -> Any:
        ask = self._ask(given)
        before = len(self.exchange.trades)
        order = self.exchange.place(ask) if ask.trigger is None else self.exchange.place_stop(ask)
        return taken_row(order, self.exchange.trades[before:])

    def _ask(self, given: Given) -> Ask:
        type_ = needed_of(given, "type")
        if type_ not in TYPES:
            raise VenueError(-1116, "Invalid orderType.")
        if given.get("reduceOnly") or given.get("quoteOrderQty"):
            raise VenueError(
                -1104, "Not all sent parameters were read; read '8' parameter(s) but was sent '9'."
            )
        in_force = given.get("timeInForce", "GTC")
        if type_ in {"LIMIT", "STOP_LOSS_LIMIT", "TAKE_PROFIT_LIMIT"}:
            needed_of(given, "timeInForce")
        return Ask(
            symbol=needed_of(given, "symbol"),
            side=needed_of(given, "side"),
            type="LIMIT" if type_ == "LIMIT_MAKER" else type_,
            client_id=given.get("newClientOrderId") or f"auto{self.exchange.next()}",
            quantity=amount_of(given, "quantity"),
            price=amount_of(given, "price") if type_ in PRICED else None,
            time_in_force="GTX" if type_ == "LIMIT_MAKER" else in_force,
            trigger=amount_of(given, "stopPrice") if type_ in STOPS else None,
        )

    def get_order(self, given: Given) -> Any:
        return order_row(self._order(given, "origClientOrderId", "orderId", Why.NO_ORDER))

    def cancel_order(self, given: Given) -> Any:
        order = self.exchange.cancel(self._order(given, "origClientOrderId", "orderId", Why.NOT_OPEN))
        return canceled_row(order, given.get("newClientOrderId") or f"auto{self.exchange.next()}")

    def cancel_open(self, given: Given) -> Any:
        ended = self.exchange.cancel_all(needed_of(given, "symbol"))
        if not ended:
            raise Refusal(Why.NOT_OPEN)
        return [canceled_row(order, f"auto{self.exchange.next()}") for order in ended]

    def cancel_replace(self, given: Given) -> Any:
        """Cancel one, then place another; STOP_ON_FAILURE leaves everything as it was when the cancel fails."""
        if needed_of(given, "cancelReplaceMode") != "STOP_ON_FAILURE":
            raise VenueError(-1145, "Only STOP_ON_FAILURE is simulated.")
        ask = self._ask(given)
        old = self._order(given, "cancelOrigClientOrderId", "cancelOrderId", Why.NOT_OPEN)
        canceled = canceled_row(self.exchange.cancel(old), f"auto{self.exchange.next()}")
        before = len(self.exchange.trades)
        try:
            order = self.exchange.place(ask) if ask.trigger is None else self.exchange.place_stop(ask)
        except Refusal as refusal:
            why = binance_errors.said(refusal, binance_errors.SPOT)
            raise VenueError(-2021, f"Order cancel-replace partially failed: {why.text}", 409) from None
        placed = taken_row(order, self.exchange.trades[before:])
        return {
            "cancelResult": "SUCCESS", "newOrderResult": "SUCCESS", "cancelResponse": canceled, "newOrderResponse": placed,
        }  # fmt: skip

    def _order(self, given: Given, name_key: str, number_key: str, otherwise: Why) -> Order:
        symbol = needed_of(given, "symbol")
        if given.get(number_key):
            order = self.exchange.orders.get(int(given[number_key]))
            if order is not None and (order.ask.symbol != symbol or not self.exchange.shows(order)):
                order = None
        else:
            order = self.exchange.find(symbol, needed_of(given, name_key))
        if order is None:
            raise Refusal(otherwise)
        return order

    def open_orders(self, given: Given) -> Any:
        return [order_row(order) for order in self._orders(given) if order.is_open]

    def all_orders(self, given: Given) -> Any:
        """At most a day at once, when both ends are named."""
        needed_of(given, "symbol")
        since, until = self._span(given)
        rows = [order_row(order) for order in self._orders(given) if since <= order.at <= until]
        limit = min(int(given.get("limit", 500)), MOST_ROWS)
        return rows[:limit] if "startTime" in given else rows[-limit:]

    def _orders(self, given: Given) -> list[Order]:
        symbol = given.get("symbol")
        return [
            order
            for order in self.exchange.orders.values()
            if symbol in (None, order.ask.symbol) and self.exchange.shows(order)
        ]

    # -- trades and money ------------------------------------------------------------------------------------------------------

    def my_trades(self, given: Given) -> Any:
        """Of one symbol, the oldest first from a start, else the latest; at most a day when both ends are named."""
        symbol, limit = needed_of(given, "symbol"), min(int(given.get("limit", 500)), MOST_ROWS)
        since, until = self._span(given)
        rows = [
            trade_row(trade)
            for trade in self.exchange.trades
            if trade.symbol == symbol
            and self.exchange.shows(trade)
            and ("orderId" not in given or str(trade.order) == given["orderId"])
            and trade.number >= int(given.get("fromId", 0))
            and since <= trade.at <= until
        ]
        return rows[:limit] if "startTime" in given or "fromId" in given else rows[-limit:]

    def _span(self, given: Given) -> tuple[int, int]:
        since, until = int(given.get("startTime", 0)), int(given.get("endTime", 2**62))
        if "startTime" in given and "endTime" in given and until - since > TRADES_WINDOW_MS:
            raise VenueError(-1127, "More than 24 hours between startTime and endTime.")
        return since, until

    def account(self, given: Given) -> Any:
        row = account_row(self.exchange)
        if given.get("omitZeroBalances") == "true":
            row["balances"] = [
                one for one in row["balances"] if Decimal(one["free"]) or Decimal(one["locked"])
            ]
        return row

    def restrictions(self, _: Given) -> Any:
        """What the key may do."""
        return {
            "ipRestrict": True, "createTime": 1, "enableReading": True, "enableWithdrawals": self.exchange.can_withdraw,
            "enableInternalTransfer": False, "permitsUniversalTransfer": False, "enableFutures": False, "enableMargin": False,
            "enableSpotAndMarginTrading": True,
        }  # fmt: skip

    def coins(self, _: Given) -> Any:
        """What the wallet could hold; clients read it when they load the markets."""
        names = {coin for spec in self.exchange.specs.values() for coin in (spec.base, spec.quote)}
        return [
            {"coin": name, "name": name, "trading": True, "depositAllEnable": True, "withdrawAllEnable": True, "isLegalMoney": False,
             "free": f"{self.exchange.free(name):f}", "locked": f"{self.exchange.locked(name):f}", "freeze": "0", "networkList": []}
            for name in sorted(names)
        ]  # fmt: skip

    def nothing(self, _: Given) -> Any:
        """Nothing is traded on margin here."""
        return []


ENDPOINTS: Endpoints[SpotDesk] = {
    ("GET", "/api/v3/ping"): (PUBLIC, SpotDesk.ping),
    ("GET", "/api/v3/time"): (PUBLIC, SpotDesk.time),
    ("GET", "/api/v3/exchangeInfo"): (PUBLIC, SpotDesk.exchange_info),
    ("GET", "/fapi/v1/exchangeInfo"): (PUBLIC, SpotDesk.no_contracts),
    ("GET", "/dapi/v1/exchangeInfo"): (PUBLIC, SpotDesk.no_contracts),
    ("GET", "/api/v3/ticker/bookTicker"): (PUBLIC, SpotDesk.book_ticker),
    ("GET", "/api/v3/ticker/tradingDay"): (PUBLIC, SpotDesk.trading_day),
    ("POST", "/api/v3/order"): (SIGNED, SpotDesk.new_order),
    ("GET", "/api/v3/order"): (SIGNED, SpotDesk.get_order),
    ("DELETE", "/api/v3/order"): (SIGNED, SpotDesk.cancel_order),
    ("POST", "/api/v3/order/cancelReplace"): (SIGNED, SpotDesk.cancel_replace),
    ("GET", "/api/v3/openOrders"): (SIGNED, SpotDesk.open_orders),
    ("DELETE", "/api/v3/openOrders"): (SIGNED, SpotDesk.cancel_open),
    ("GET", "/api/v3/allOrders"): (SIGNED, SpotDesk.all_orders),
    ("GET", "/api/v3/myTrades"): (SIGNED, SpotDesk.my_trades),
    ("GET", "/api/v3/account"): (SIGNED, SpotDesk.account),
    ("GET", "/sapi/v1/account/apiRestrictions"): (SIGNED, SpotDesk.restrictions),
    ("GET", "/sapi/v1/capital/config/getall"): (SIGNED, SpotDesk.coins),
    ("GET", "/sapi/v1/margin/allPairs"): (KEYED, SpotDesk.nothing),
    ("GET", "/sapi/v1/margin/isolated/allPairs"): (KEYED, SpotDesk.nothing),
}
"""Method and path: who may ask, and what answers."""
