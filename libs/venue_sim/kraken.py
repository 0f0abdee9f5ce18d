"""The endpoints of Kraken spot, /0/public and /0/private: what each takes, does and answers. `PUBLIC` and `PRIVATE` are the list."""

import re
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from venue_sim.account import ZERO
from venue_sim.errors import Refusal, VenueError, Why
from venue_sim.kraken_door import KrakenDoor
from venue_sim.kraken_rows import (
    UNNAMED,
    altname,
    asset_row,
    described,
    named,
    number_of,
    order_row,
    pair_row,
    seconds,
    ticker_row,
    trade_row,
)
from venue_sim.market import Spec
from venue_sim.orders import Ask, Order, Trade
from venue_sim.wallet import Spot

Given = Mapping[str, str]
PAGE = 50
TOKEN_S = 900
LONGEST_DEADLINE_MS = 60_000
LEAST_TILL_MS = 4_000
"""Five seconds ahead, in whole seconds."""
CLIENT_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|[0-9a-f]{32}|[\x20-\x7e]{1,18}")
"""A UUID, with or without hyphens, or up to 18 characters of text."""
TYPES = frozenset({"market", "limit", "stop-loss", "stop-loss-limit", "take-profit", "take-profit-limit"})


class KrakenDesk:
    """Requests that have passed the door, on one exchange."""

    def __init__(self, exchange: Spot, door: KrakenDoor) -> None:
        self.exchange, self.door = exchange, door
        self.userrefs: dict[int, int] = {}
        """By order number."""
        self.token: str | None = None
        self.token_until = 0
        self._tokens = 0

    # -- public ------------------------------------------------------------------------------------------------------------

    def time(self, _: Given) -> Any:
        now = self.exchange.clock()
        return {"unixtime": now // 1000, "rfc1123": ""}

    def status(self, _: Given) -> Any:
        return {"status": "online", "timestamp": ""}

    def assets(self, _: Given) -> Any:
        names = {coin for spec in self.exchange.specs.values() for coin in (spec.base, spec.quote)}
        return {name: asset_row(name) for name in sorted(names)}

    def pairs(self, _: Given) -> Any:
        habits = self.exchange.habits
        return {
            name: pair_row(spec, habits.taker, habits.maker) for name, spec in self.exchange.specs.items()
        }

    def ticker(self, given: Given) -> Any:
        wanted = [self._spec(name).symbol for name in given.get("pair", "").split(",") if name]
        quotes = self.exchange.quotes
        first = self.exchange.first_today
        return {
            name: ticker_row(quotes[name], first(name) or quotes[name].last)
            for name in wanted or quotes
            if name in quotes
        }

    # -- orders ------------------------------------------------------------------------------------------------------------

    def add_order(self, given: Given) -> Any:
        ask = self._ask(given)
        self._check_deadline(given)
        self.door.count_order(ask.symbol)
        if given.get("validate") == "true":
            spec = self.exchange.specs[ask.symbol]
            return {"descr": {"order": described(Order(0, ask, 0, 0), spec)}}
        place = self.exchange.place if ask.trigger is None else self.exchange.place_stop
        order = place(ask)
        if given.get("userref"):
            self.userrefs[order.number] = int(given["userref"])
        spec = self.exchange.specs[ask.symbol]
        return {"descr": {"order": described(order, spec)}, "txid": [named("O", order.number)]}

    def _ask(self, given: Given) -> Ask:
        kind, side = _needed(given, "ordertype"), _needed(given, "type")
        if kind not in TYPES:
            raise VenueError("EGeneral:Invalid arguments:ordertype")
        if side not in {"buy", "sell"}:
            raise VenueError("EGeneral:Invalid arguments:type")
        if given.get("reduce_only") == "true" or given.get("leverage", "none") != "none":
            raise VenueError("EGeneral:Invalid arguments:leverage")
        flags = given.get("oflags", "").split(",")
        in_force = given.get("timeinforce", "GTC")
        if in_force not in {"GTC", "IOC", "GTD"} or "viqc" in flags:
            raise VenueError("EGeneral:Invalid arguments:timeinforce")
        client_id = given.get("cl_ord_id")
        if client_id and (not CLIENT_ID.fullmatch(client_id) or given.get("userref")):
            raise VenueError("EGeneral:Invalid arguments:cl_ord_id")
        is_stop = kind not in {"market", "limit"}
        priced = "price2" if kind.endswith("-limit") else "price" if kind == "limit" else ""
        return Ask(
            symbol=self._spec(_needed(given, "pair")).symbol,
            side=side.upper(),
            type=kind.upper().replace("-", "_"),
            client_id=client_id or f"{UNNAMED}{self.exchange.next()}",
            quantity=_amount(given, "volume"),
            price=_amount(given, priced) if priced else None,
            time_in_force="GTX" if "post" in flags else in_force,
            trigger=_amount(given, "price") if is_stop else None,
            till=self._till(given) if in_force == "GTD" else 0,
        )

    def _till(self, given: Given) -> int:
        """Unix seconds of the time until which an order rests, five seconds ahead at least."""
        till = int(_needed(given, "expiretm")) * 1000
        if till < self.exchange.clock() + LEAST_TILL_MS:
            raise VenueError("EGeneral:Invalid arguments:expiretm")
        return till

    def _check_deadline(self, given: Given) -> None:
        """The time after which the engine takes an order no more."""
        if not given.get("deadline"):
            return
        try:
            until = int(datetime.fromisoformat(given["deadline"]).timestamp() * 1000)
        except ValueError:
            raise VenueError("EGeneral:Invalid arguments:deadline") from None
        if until > self.exchange.clock() + LONGEST_DEADLINE_MS:
            raise VenueError("EGeneral:Invalid arguments:deadline")
        if until <= self.exchange.clock():
            raise VenueError("EService:Deadline elapsed")

    def cancel_order(self, given: Given) -> Any:
        found = [order for order in self._named(given) if order.is_open]
        if not found:
            raise Refusal(Why.NOT_OPEN)
        for order in found:
            self.door.count_cancel(order.ask.symbol, self.exchange.clock() - order.at)
            self.exchange.cancel(order)
        return {"count": len(found)}

    def _named(self, given: Given) -> list[Order]:
        """By cl_ord_id, or by txid, which may be a userref, too."""
        orders = self.exchange.orders.values()
        if given.get("cl_ord_id"):
            return [one for one in orders if one.ask.client_id == given["cl_ord_id"]]
        name = _needed(given, "txid")
        if name.isdecimal():
            return [one for one in orders if self.userrefs.get(one.number) == int(name)]
        order = self.exchange.orders.get(number_of(name) or 0)
        return [] if order is None else [order]

    def cancel_all(self, _: Given) -> Any:
        return {"count": len(self.exchange.cancel_all())}

    def cancel_all_after(self, given: Given) -> Any:
        """The dead man's switch: everything is canceled unless this is called again in time; 0 takes it back."""
        ms, now = int(_needed(given, "timeout")) * 1000, self.exchange.clock()
        if ms:
            self.exchange.countdowns[""] = now + ms
        else:
            self.exchange.countdowns.pop("", None)
        return {"currentTime": seconds(now), "triggerTime": seconds(now + ms) if ms else 0}

    def open_orders(self, given: Given) -> Any:
        return {"open": self._rows((one for one in self._shown(given) if one.is_open), given)}

    def closed_orders(self, given: Given) -> Any:
        """Fifty at once, the latest first; ended between *start*, exclusive, and *end*, by open or close time."""
        low, high = self._span(given)
        ended = [
            one
            for one in self._shown(given)
            if not one.is_open and (low < one.at <= high or low < one.updated <= high)
        ]
        ended.sort(key=lambda one: (one.updated, one.number), reverse=True)
        first = int(given.get("ofs", 0))
        return {"closed": self._rows(ended[first : first + PAGE], given), "count": len(ended)}

    def query_orders(self, given: Given) -> Any:
        found = []
        for name in _needed(given, "txid").split(","):
            order = self.exchange.orders.get(number_of(name) or 0)
            if order is None or not self.exchange.shows(order):
                raise VenueError("EOrder:Invalid order")
            found.append(order)
        return self._rows(found, given)

    def _shown(self, given: Given) -> list[Order]:
        name, userref = given.get("cl_ord_id"), given.get("userref")
        return [
            order
            for order in self.exchange.orders.values()
            if self.exchange.shows(order)
            and name in (None, order.ask.client_id)
            and (userref is None or self.userrefs.get(order.number) == int(userref))
        ]

    def _rows(self, orders: Iterable[Order], given: Given) -> dict[str, Any]:
        return {
            named("O", order.number): order_row(
                order,
                self.exchange.specs[order.ask.symbol],
                (one for one in self.exchange.trades if one.order == order.number),
                userref=self.userrefs.get(order.number),
                trades=given.get("trades", "").lower() == "true",
            )
            for order in orders
        }

    # -- trades and money ------------------------------------------------------------------------------------------------------

    def trades_history(self, given: Given) -> Any:
        """Fifty at once, of all pairs, the latest first; *start* is exclusive."""
        low, high = self._span(given)
        found = [
            trade for trade in self.exchange.trades if self.exchange.shows(trade) and low < trade.at <= high
        ]
        found.sort(key=lambda trade: (trade.at, trade.number), reverse=True)
        first = int(given.get("ofs", 0))
        return {"trades": self._trades(found[first : first + PAGE]), "count": len(found)}

    def query_trades(self, given: Given) -> Any:
        wanted = {number_of(name) for name in _needed(given, "txid").split(",")}
        return self._trades(
            trade for trade in self.exchange.trades if trade.number in wanted and self.exchange.shows(trade)
        )

    def _trades(self, trades: Iterable[Trade]) -> dict[str, Any]:
        orders = self.exchange.orders
        return {named("T", trade.number): trade_row(trade, orders[trade.order]) for trade in trades}

    def _span(self, given: Given) -> tuple[float, float]:
        """(start, end) in ms; Kraken counts in seconds."""
        return float(given.get("start") or -1) * 1000, float(given.get("end") or 2**40) * 1000

    def balance(self, _: Given) -> Any:
        return {coin: f"{amount:.10f}" for coin, amount in self.exchange.coins.items()}

    def balance_ex(self, _: Given) -> Any:
        return {
            coin: {"balance": f"{amount:.10f}", "hold_trade": f"{self.exchange.locked(coin):.10f}"}
            for coin, amount in self.exchange.coins.items()
        }

    # -- the user's stream ---------------------------------------------------------------------------------------------------

    def key_info(self, _: Given) -> Any:
        """What the key may do. Times in s, as text."""
        may = ["query-funds", "query-open-trades", "query-closed-trades", "modify-trades", "close-trades"]
        now = str(self.exchange.clock() // 1000)
        return {
            "apiKeyName": "simulated", "apiKey": self.door.key, "nonce": str(self.exchange.clock()), "nonceWindow": self.door.nonce_window,
            "permissions": [*may, "withdraw-funds"] if self.exchange.can_withdraw else may, "iban": "", "validUntil": "0", "queryFrom": "0",
            "queryTo": "0", "createdTime": "1", "modifiedTime": "1", "ipAllowlist": [], "lastUsed": now,
        }  # fmt: skip

    def new_token(self, _: Given) -> Any:
        """Good for a quarter of an hour, to subscribe with; a subscription goes on."""
        self._tokens += 1
        self.token = f"token{self._tokens:037d}"
        self.token_until = self.exchange.clock() + TOKEN_S * 1000
        return {"token": self.token, "expires": TOKEN_S}

    def _spec(self, name: str) -> Spec:
        for spec in self.exchange.specs.values():
            if name in (spec.symbol, altname(spec)):
                return spec
        raise Refusal(Why.UNKNOWN_SYMBOL)


Handler = Callable[[KrakenDesk, Given], Any]
PUBLIC: Mapping[str, Handler] = {
    "Time": KrakenDesk.time,
    "SystemStatus": KrakenDesk.status,
    "Assets": KrakenDesk.assets,
    "AssetPairs": KrakenDesk.pairs,
    "Ticker": KrakenDesk.ticker,
}
PRIVATE: Mapping[str, Handler] = {
    "AddOrder": KrakenDesk.add_order,
    "CancelOrder": KrakenDesk.cancel_order,
    "CancelAll": KrakenDesk.cancel_all,
    "CancelAllOrdersAfter": KrakenDesk.cancel_all_after,
    "OpenOrders": KrakenDesk.open_orders,
    "ClosedOrders": KrakenDesk.closed_orders,
    "QueryOrders": KrakenDesk.query_orders,
    "TradesHistory": KrakenDesk.trades_history,
    "QueryTrades": KrakenDesk.query_trades,
    "Balance": KrakenDesk.balance,
    "BalanceEx": KrakenDesk.balance_ex,
    "GetWebSocketsToken": KrakenDesk.new_token,
    "GetApiKeyInfo": KrakenDesk.key_info,
}


def _needed(given: Given, name: str) -> str:
    value = given.get(name)
    if not value:
        raise VenueError(f"EGeneral:Invalid arguments:{name}")
    return value


def _amount(given: Given, name: str) -> Decimal:
    try:
        amount = Decimal(_needed(given, name))
    except InvalidOperation:
        amount = ZERO
    if not amount.is_finite() or amount <= 0:
        raise VenueError(f"EGeneral:Invalid arguments:{name}")
    return amount
