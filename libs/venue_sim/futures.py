"""The endpoints of /fapi: what each takes, does and answers. `ENDPOINTS` is the whole list."""

from collections.abc import Callable, Mapping
from typing import Any

from venue_sim.account import BOTH, ZERO
from venue_sim.binance import KEYED, PUBLIC, SIGNED, Given, amount_of, flag_of, needed_of
from venue_sim.errors import Refusal, VenueError, Why
from venue_sim.exchange import Exchange
from venue_sim.orders import Algo, Ask, Order
from venue_sim.rows import account_row, algo_row, instrument, order_row, plain, position_row, trade_row

MOST_ROWS = 1_000
TRADES_WINDOW_MS = 7 * 24 * 3600 * 1000
LISTEN_MS = 60 * 60 * 1000
LEAST_TILL_MS, MOST_TILL_MS = 600_000, 253_402_300_799_000


class Futures:
    """Requests that have passed the door, on one exchange."""

    def __init__(self, exchange: Exchange) -> None:
        self.exchange = exchange
        self.listen_key: str | None = None
        self.listen_until = 0
        self._keys = 0

    # -- public ------------------------------------------------------------------------------------------------------------

    def ping(self, _: Given) -> Any:
        return {}

    def time(self, _: Given) -> Any:
        return {"serverTime": self.exchange.clock()}

    def exchange_info(self, _: Given) -> Any:
        limits = [
            {"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1, "limit": 2400},
            {"rateLimitType": "ORDERS", "interval": "SECOND", "intervalNum": 10, "limit": 300},
        ]
        return {
            "timezone": "UTC", "serverTime": self.exchange.clock(), "futuresType": "U_MARGINED", "rateLimits": limits, "exchangeFilters": [],
            "assets": [{"asset": "USDT", "marginAvailable": True, "autoAssetExchange": "-10000"}],
            "symbols": [instrument(spec) for spec in self.exchange.specs.values()],
        }  # fmt: skip

    def book_ticker(self, given: Given) -> Any:
        named = given.get("symbol")
        if named is not None and named not in self.exchange.specs:
            raise Refusal(Why.UNKNOWN_SYMBOL)
        rows = [
            {"symbol": symbol, "bidPrice": plain(quote.bid), "bidQty": plain(quote.size), "askPrice": plain(quote.ask),
             "askQty": plain(quote.size), "time": quote.at}
            for symbol, quote in self.exchange.quotes.items() if named in (None, symbol)
        ]  # fmt: skip
        return rows if named is None else rows[0] if rows else {}

    # -- orders ------------------------------------------------------------------------------------------------------------

    def new_order(self, given: Given) -> Any:
        return order_row(self.exchange.place(self._ask(given)))

    def new_algo(self, given: Given) -> Any:
        if given.get("algoType") != "CONDITIONAL":
            raise Refusal(Why.MISSING, "algoType")
        return algo_row(self.exchange.place_conditional(self._ask(given, id_key="clientAlgoId")))

    def _ask(self, given: Given, id_key: str = "newClientOrderId") -> Ask:
        type_ = needed_of(given, "type")
        close = flag_of(given, "closePosition")
        if type_ in {"LIMIT", "STOP", "TAKE_PROFIT"}:
            needed_of(given, "price")
        if type_ == "LIMIT":
            needed_of(given, "timeInForce")
        return Ask(
            symbol=needed_of(given, "symbol"),
            side=needed_of(given, "side"),
            type=type_,
            client_id=given.get(id_key) or f"auto{self.exchange.next()}",
            quantity=ZERO if close else amount_of(given, "quantity"),
            price=amount_of(given, "price") if given.get("price") else None,
            time_in_force=given.get("timeInForce", "GTC"),
            reduce_only=flag_of(given, "reduceOnly"),
            close_position=close,
            position_side=given.get("positionSide", BOTH),
            trigger=amount_of(given, "triggerPrice") if given.get("triggerPrice") else None,
            till=self._till(given) if given.get("timeInForce") == "GTD" else 0,
        )

    def _till(self, given: Given) -> int:
        """Of an order that rests until a time: in whole seconds, ten minutes ahead at least."""
        till = int(needed_of(given, "goodTillDate"))
        if not self.exchange.clock() + LEAST_TILL_MS < till < MOST_TILL_MS:
            raise VenueError(-5040, "goodTillDate must be 600 seconds ahead at least.")
        return till // 1000 * 1000

    def get_order(self, given: Given) -> Any:
        return order_row(self._order(given, Refusal(Why.NO_ORDER)))

    def cancel_order(self, given: Given) -> Any:
        return order_row(self.exchange.cancel(self._order(given, Refusal(Why.NOT_OPEN))))

    def cancel_all(self, given: Given) -> Any:
        self.exchange.cancel_all(needed_of(given, "symbol"))
        return {"code": 200, "msg": "The operation of cancel all open order is done."}

    def _order(self, given: Given, otherwise: Refusal) -> Order:
        symbol = needed_of(given, "symbol")
        if given.get("orderId"):
            order = self.exchange.orders.get(int(given["orderId"]))
            if order is not None and (order.ask.symbol != symbol or not self.exchange.shows(order)):
                order = None
        else:
            order = self.exchange.find(symbol, needed_of(given, "origClientOrderId"))
        if order is None:
            raise otherwise
        return order

    def get_algo(self, given: Given) -> Any:
        return algo_row(self._algo(given, Refusal(Why.NO_ORDER)))

    def cancel_algo(self, given: Given) -> Any:
        algo = self.exchange.cancel_conditional(self._algo(given, Refusal(Why.NOT_OPEN)))
        return {"algoId": algo.number, "clientAlgoId": algo.ask.client_id, "code": "200", "msg": "success"}

    def _algo(self, given: Given, otherwise: Refusal) -> Algo:
        number, name = given.get("algoId"), given.get("clientAlgoId")
        for algo in reversed(self.exchange.algos.values()):
            if (str(algo.number) == number or algo.ask.client_id == name) and self.exchange.shows(algo):
                return algo
        raise otherwise

    def open_orders(self, given: Given) -> Any:
        return [order_row(order) for order in self._orders(given) if order.is_open]

    def all_orders(self, given: Given) -> Any:
        needed_of(given, "symbol")
        since, until = int(given.get("startTime", 0)), int(given.get("endTime", 2**62))
        rows = [order_row(order) for order in self._orders(given) if since <= order.at <= until]
        return rows[-int(given.get("limit", 500)) :]

    def _orders(self, given: Given) -> list[Order]:
        symbol = given.get("symbol")
        return [
            order
            for order in self.exchange.orders.values()
            if symbol in (None, order.ask.symbol) and self.exchange.shows(order)
        ]

    def all_algos(self, given: Given) -> Any:
        symbol = needed_of(given, "symbol")
        since, until = int(given.get("startTime", 0)), int(given.get("endTime", 2**62))
        rows = [
            algo_row(algo)
            for algo in self.exchange.algos.values()
            if algo.ask.symbol == symbol and since <= algo.at <= until and self.exchange.shows(algo)
        ]
        return rows[-int(given.get("limit", 500)) :]

    def cancel_algos(self, given: Given) -> Any:
        self.exchange.cancel_conditionals(needed_of(given, "symbol"))
        return {"code": "200", "msg": "The operation of cancel all open order is done."}

    def open_algos(self, given: Given) -> Any:
        symbol = given.get("symbol")
        return [
            algo_row(algo)
            for algo in self.exchange.algos.values()
            if algo.is_open and symbol in (None, algo.ask.symbol) and self.exchange.shows(algo)
        ]

    def countdown(self, given: Given) -> Any:
        """The dead man's switch: everything of the symbol is canceled unless this is called again in time; 0 takes it back."""
        symbol, ms = needed_of(given, "symbol"), int(needed_of(given, "countdownTime"))
        if symbol not in self.exchange.specs:
            raise Refusal(Why.UNKNOWN_SYMBOL)
        if ms:
            self.exchange.countdowns[symbol] = self.exchange.clock() + ms
        else:
            self.exchange.countdowns.pop(symbol, None)
        return {"symbol": symbol, "countdownTime": str(ms)}

    # -- trades, positions, money --------------------------------------------------------------------------------------------

    def user_trades(self, given: Given) -> Any:
        """At most a week at once, the oldest first; without a time the latest ones of the last week."""
        symbol, limit = needed_of(given, "symbol"), min(int(given.get("limit", 500)), MOST_ROWS)
        start = int(given["startTime"]) if "startTime" in given else None
        end = int(given["endTime"]) if "endTime" in given else None
        if start is not None and end is not None and end - start > TRADES_WINDOW_MS:
            raise VenueError(-4166, "Search window is restricted to recent 7 days only.")
        now = self.exchange.clock()
        low = start if start is not None else (end if end is not None else now) - TRADES_WINDOW_MS
        high = end if end is not None else (start + TRADES_WINDOW_MS if start is not None else now)
        rows = [
            trade_row(trade)
            for trade in self.exchange.trades
            if trade.symbol == symbol
            and self.exchange.shows(trade)
            and ("orderId" not in given or str(trade.order) == given["orderId"])
            and trade.number >= int(given.get("fromId", 0))
            and ("fromId" in given or low <= trade.at <= high)
        ]
        return rows[:limit] if start is not None or "fromId" in given else rows[-limit:]

    def income(self, given: Given) -> Any:
        """Funding, the oldest first, at most a week at once; without a start the last week's."""
        if given.get("incomeType", "FUNDING_FEE") != "FUNDING_FEE":
            return []
        now, limit = self.exchange.clock(), min(int(given.get("limit", 100)), MOST_ROWS)
        end = int(given.get("endTime", now))
        start = int(given.get("startTime", end - TRADES_WINDOW_MS))
        if end - start > TRADES_WINDOW_MS:
            raise VenueError(-4166, "Search window is restricted to recent 7 days only.")
        rows = [
            {"symbol": one.symbol, "incomeType": "FUNDING_FEE", "income": f"{one.amount:.8f}", "asset": one.asset, "time": one.at,
             "info": "FUNDING_FEE", "tranId": one.number, "tradeId": ""}
            for one in self.exchange.incomes if given.get("symbol") in (None, one.symbol) and start <= one.at <= end
        ]  # fmt: skip
        return rows[:limit]

    def funding_rate(self, given: Given) -> Any:
        """Rates of the past, the oldest first."""
        limit = min(int(given.get("limit", 100)), MOST_ROWS)
        low, high = int(given.get("startTime", 0)), int(given.get("endTime", 2**62))
        rows = [
            {"symbol": one.symbol, "fundingTime": one.at, "fundingRate": f"{one.rate:.8f}", "markPrice": f"{one.mark:.8f}"}
            for one in self.exchange.rates if given.get("symbol") in (None, one.symbol) and low <= one.at <= high
        ]  # fmt: skip
        return rows[:limit]

    def position_risk_v2(self, given: Given) -> Any:
        """Version 2 shows every symbol, held or not."""
        account, named = self.exchange.account, given.get("symbol")
        sides = ("LONG", "SHORT") if account.hedged else (BOTH,)
        return [
            position_row(account, symbol, side, account.of(symbol, side), old=True)
            for symbol in self.exchange.specs if named in (None, symbol) for side in sides
        ]  # fmt: skip

    def position_risk_v3(self, given: Given) -> Any:
        """Version 3 shows what is held."""
        account, named = self.exchange.account, given.get("symbol")
        return [
            position_row(account, symbol, side, position, old=False)
            for (symbol, side), position in account.positions.items()
            if position.quantity and named in (None, symbol)
        ]

    def account(self, _: Given) -> Any:
        return account_row(self.exchange.account)

    def balance(self, _: Given) -> Any:
        (asset,) = account_row(self.exchange.account)["assets"]
        return [asset | {"balance": asset["walletBalance"], "accountAlias": "sim"}]

    def leverage(self, given: Given) -> Any:
        symbol, leverage = needed_of(given, "symbol"), int(needed_of(given, "leverage"))
        if symbol not in self.exchange.specs:
            raise Refusal(Why.UNKNOWN_SYMBOL)
        if not 1 <= leverage <= 125:
            raise VenueError(-4028, f"Leverage {leverage} is not valid")
        self.exchange.account.leverage[symbol] = leverage
        return {"leverage": leverage, "maxNotionalValue": "20000000", "symbol": symbol}

    def position_side(self, _: Given) -> Any:
        return {"dualSidePosition": self.exchange.account.hedged}

    def set_position_side(self, given: Given) -> Any:
        wanted = flag_of(given, "dualSidePosition")
        account = self.exchange.account
        if wanted is account.hedged:
            raise VenueError(-4059, "No need to change position side.")
        if any(position.quantity for position in account.positions.values()):
            raise VenueError(-4068, "Position side cannot be changed if there exists position.")
        account.hedged = wanted
        return {"code": 200, "msg": "success"}

    def leverage_bracket(self, _: Given) -> Any:
        return [
            {
                "symbol": spec.symbol,
                "brackets": [
                    {"bracket": 1, "initialLeverage": 125, "notionalCap": 20_000_000, "notionalFloor": 0,
                     "maintMarginRatio": float(spec.maintenance), "cum": 0.0}
                ],
            }
            for spec in self.exchange.specs.values()
        ]  # fmt: skip

    def restrictions(self, _: Given) -> Any:
        """What the key may do."""
        account = self.exchange.account
        return {
            "ipRestrict": True, "createTime": 1, "enableReading": True, "enableWithdrawals": account.can_withdraw,
            "enableInternalTransfer": False, "permitsUniversalTransfer": False, "enableFutures": True, "enableMargin": False,
            "enableSpotAndMarginTrading": False,
        }  # fmt: skip

    def coins(self, _: Given) -> Any:
        """What the wallet could hold; clients read it when they load the markets."""
        names = {spec.base for spec in self.exchange.specs.values()} | {"USDT"}
        return [
            {"coin": name, "name": name, "trading": True, "depositAllEnable": True, "withdrawAllEnable": True, "isLegalMoney": False,
             "free": "0", "locked": "0", "freeze": "0", "networkList": []}
            for name in sorted(names)
        ]  # fmt: skip

    def margin_pairs(self, _: Given) -> Any:
        """Nothing is traded on margin here."""
        return []

    # -- the user's stream ---------------------------------------------------------------------------------------------------

    def new_listen_key(self, _: Given) -> Any:
        if self.listen_key is None or self.exchange.clock() > self.listen_until:
            self._keys += 1
            self.listen_key = f"listen{self._keys:058d}"
        self.listen_until = self.exchange.clock() + LISTEN_MS
        return {"listenKey": self.listen_key}

    def keep_listen_key(self, given: Given) -> Any:
        if self.listen_key is None or self.exchange.clock() > self.listen_until:
            raise VenueError(-1125, "This listenKey does not exist.")
        return self.new_listen_key(given)

    def end_listen_key(self, _: Given) -> Any:
        self.listen_key = None
        return {}


Handler = Callable[[Futures, Given], Any]
ENDPOINTS: Mapping[tuple[str, str], tuple[str, Handler]] = {
    ("GET", "/fapi/v1/ping"): (PUBLIC, Futures.ping),
    ("GET", "/fapi/v1/time"): (PUBLIC, Futures.time),
    ("GET", "/fapi/v1/exchangeInfo"): (PUBLIC, Futures.exchange_info),
    ("GET", "/fapi/v1/ticker/bookTicker"): (PUBLIC, Futures.book_ticker),
    ("POST", "/fapi/v1/order"): (SIGNED, Futures.new_order),
    ("GET", "/fapi/v1/order"): (SIGNED, Futures.get_order),
    ("DELETE", "/fapi/v1/order"): (SIGNED, Futures.cancel_order),
    ("POST", "/fapi/v1/algoOrder"): (SIGNED, Futures.new_algo),
    ("GET", "/fapi/v1/algoOrder"): (SIGNED, Futures.get_algo),
    ("DELETE", "/fapi/v1/algoOrder"): (SIGNED, Futures.cancel_algo),
    ("GET", "/fapi/v1/openAlgoOrders"): (SIGNED, Futures.open_algos),
    ("GET", "/fapi/v1/allAlgoOrders"): (SIGNED, Futures.all_algos),
    ("DELETE", "/fapi/v1/algoOpenOrders"): (SIGNED, Futures.cancel_algos),
    ("GET", "/fapi/v1/openOrders"): (SIGNED, Futures.open_orders),
    ("GET", "/fapi/v1/allOrders"): (SIGNED, Futures.all_orders),
    ("DELETE", "/fapi/v1/allOpenOrders"): (SIGNED, Futures.cancel_all),
    ("POST", "/fapi/v1/countdownCancelAll"): (SIGNED, Futures.countdown),
    ("GET", "/fapi/v1/userTrades"): (SIGNED, Futures.user_trades),
    ("GET", "/fapi/v1/fundingRate"): (PUBLIC, Futures.funding_rate),
    ("GET", "/fapi/v1/income"): (SIGNED, Futures.income),
    ("GET", "/fapi/v2/positionRisk"): (SIGNED, Futures.position_risk_v2),
    ("GET", "/fapi/v3/positionRisk"): (SIGNED, Futures.position_risk_v3),
    ("GET", "/fapi/v2/account"): (SIGNED, Futures.account),
    ("GET", "/fapi/v3/account"): (SIGNED, Futures.account),
    ("GET", "/fapi/v2/balance"): (SIGNED, Futures.balance),
    ("GET", "/fapi/v3/balance"): (SIGNED, Futures.balance),
    ("POST", "/fapi/v1/leverage"): (SIGNED, Futures.leverage),
    ("GET", "/fapi/v1/leverageBracket"): (SIGNED, Futures.leverage_bracket),
    ("GET", "/fapi/v1/positionSide/dual"): (SIGNED, Futures.position_side),
    ("POST", "/fapi/v1/positionSide/dual"): (SIGNED, Futures.set_position_side),
    ("GET", "/sapi/v1/account/apiRestrictions"): (SIGNED, Futures.restrictions),
    ("GET", "/sapi/v1/capital/config/getall"): (SIGNED, Futures.coins),
    ("GET", "/sapi/v1/margin/allPairs"): (SIGNED, Futures.margin_pairs),
    ("POST", "/fapi/v1/listenKey"): (KEYED, Futures.new_listen_key),
    ("PUT", "/fapi/v1/listenKey"): (KEYED, Futures.keep_listen_key),
    ("DELETE", "/fapi/v1/listenKey"): (KEYED, Futures.end_listen_key),
}
"""Method and path: who may ask, and what answers."""
