"""Rows of Kraken as the wire has them: names like XXBT, ids like OAAAAA-AAAAA-AAAAAA, times in seconds, stops as words."""

from collections.abc import Iterable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from venue_sim.account import ZERO
from venue_sim.market import Quote, Spec
from venue_sim.orders import STOPS, Order, Trade
from venue_sim.rows import plain
from venue_sim.wallet import Spot

Row = dict[str, Any]
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
_LENGTH = 16
UNNAMED = "no-cl-ord-id-of-its-own-"
"""How the internal names of orders without a cl_ord_id begin: longer than any that a client may choose."""
STATUS = {
    "NEW": "open", "PARTIALLY_FILLED": "open", "FILLED": "closed", "CANCELED": "canceled", "EXPIRED": "expired",
}  # fmt: skip
_WS_STATUS = {"NEW": "new", "PARTIALLY_FILLED": "partially_filled", "FILLED": "filled"}
_TRIGGERED = {True: "stopped", False: "touched"}
"""The flag of an order whose trigger has come, a stop's and a take-profit's: its status stays `open`."""
CODES = {"XXBT": "BTC", "XETH": "ETH", "ZUSD": "USD"}
"""What the WebSocket calls what REST calls otherwise."""
ALTNAMES = {"XXBT": "XBT", "XETH": "ETH", "ZUSD": "USD"}


def named(prefix: str, number: int) -> str:
    """*number* as an id of Kraken's: O for orders, T for trades."""
    text = ""
    for _ in range(_LENGTH):
        number, digit = divmod(number, len(_LETTERS))
        text = _LETTERS[digit] + text
    whole = prefix + text
    return f"{whole[:6]}-{whole[6:11]}-{whole[11:]}"


def number_of(name: str) -> int | None:
    """The number behind an id; None for what is none."""
    text = name.replace("-", "")[1:]
    if len(text) != _LENGTH or any(letter not in _LETTERS for letter in text):
        return None
    number = 0
    for letter in text:
        number = number * len(_LETTERS) + _LETTERS.index(letter)
    return number


def seconds(ms: int) -> float:
    return ms / 1000


def altname(spec: Spec) -> str:
    return ALTNAMES.get(spec.base, spec.base) + ALTNAMES.get(spec.quote, spec.quote)


def ws_name(spec: Spec) -> str:
    return f"{CODES.get(spec.base, spec.base)}/{CODES.get(spec.quote, spec.quote)}"


def _decimals(step: Decimal) -> int:
    exponent = step.normalize().as_tuple().exponent
    return max(0, -exponent) if isinstance(exponent, int) else 0


def pair_row(spec: Spec, taker: Decimal, maker: Decimal) -> Row:
    """One entry of AssetPairs. Fees in percent."""
    base, quote = ALTNAMES.get(spec.base, spec.base), ALTNAMES.get(spec.quote, spec.quote)
    return {
        "altname": altname(spec), "wsname": f"{base}/{quote}", "aclass_base": "currency", "base": spec.base, "aclass_quote": "currency",
        "quote": spec.quote, "lot": "unit", "cost_decimals": 6, "pair_decimals": _decimals(spec.tick), "lot_decimals": _decimals(spec.step),
        "lot_multiplier": 1, "leverage_buy": [], "leverage_sell": [], "fees": [[0, float(taker * 100)]], "fees_maker": [[0, float(maker * 100)]],
        "fee_volume_currency": "ZUSD", "margin_call": 80, "margin_stop": 40, "ordermin": plain(spec.least), "costmin": plain(spec.least_notional),
        "tick_size": plain(spec.tick), "status": "online",
    }  # fmt: skip


def asset_row(name: str) -> Row:
    return {
        "aclass": "currency",
        "altname": ALTNAMES.get(name, name),
        "decimals": 10,
        "display_decimals": 5,
        "status": "enabled",
    }


def ticker_row(quote: Quote, first: Decimal) -> Row:
    """*first*: the first price of this UTC day."""
    bid, ask, last, size = plain(quote.bid), plain(quote.ask), plain(quote.last), plain(quote.size)
    return {
        "a": [ask, "1", size], "b": [bid, "1", size], "c": [last, size], "v": ["0", "0"], "p": [last, last], "t": [0, 0], "l": [last, last],
        "h": [last, last], "o": plain(first),
    }  # fmt: skip


def order_type(order: Order) -> str:
    """market, limit, stop-loss, stop-loss-limit, take-profit, take-profit-limit."""
    return order.ask.type.lower().replace("_", "-")


def described(order: Order, spec: Spec) -> str:
    """Buy 1.25000000 XBTUSD @ limit 27500.0"""
    ask = order.ask
    start = f"{ask.side.lower()} {ask.quantity:.8f} {altname(spec)} @ "
    if ask.trigger is None:
        return start + (f"limit {plain(ask.price)}" if ask.price is not None else "market")
    kind = "stop loss" if ask.type.startswith("STOP") else "take profit"
    limit = "limit" if ask.price is None else f"limit {plain(ask.price)}"
    return f"{start}{kind} {plain(ask.trigger)} -> {'market' if ask.price is None else limit}"


def order_row(order: Order, spec: Spec, fills: Iterable[Trade], *, userref: int | None, trades: bool) -> Row:
    """As OpenOrders, ClosedOrders and QueryOrders show it."""
    ask, fills = order.ask, list(fills)
    fee = sum((trade.fee for trade in fills), ZERO)
    average = order.value / order.filled if order.filled else ZERO
    first, second = (ask.price, None) if ask.trigger is None else (ask.trigger, ask.price)
    is_stop, triggered = ask.trigger is not None, order.triggered_at > 0
    flags = "fciq,post" if ask.time_in_force == "GTX" else "fciq"
    row: Row = {
        "refid": None, "userref": userref, "status": STATUS[order.status], "opentm": seconds(order.at), "starttm": 0, "expiretm": ask.till // 1000,
        "descr": {
            "pair": altname(spec), "aclass": "forex", "type": ask.side.lower(), "ordertype": order_type(order), "price": plain(first or ZERO),
            "price2": plain(second or ZERO), "leverage": "none", "order": described(order, spec), "close": "",
        },
        "vol": f"{ask.quantity:.8f}", "vol_exec": f"{order.filled:.8f}", "cost": f"{order.value:.5f}", "fee": f"{fee:.5f}",
        "price": f"{average:.5f}", "stopprice": plain(ask.trigger or ZERO), "limitprice": plain(ask.price or ZERO) if triggered else "0.00000",
        "misc": _TRIGGERED[ask.type in STOPS] if triggered else "", "oflags": flags,
    }  # fmt: skip
    if is_stop:
        row["trigger"] = "last"
    if not ask.client_id.startswith(UNNAMED):
        row["cl_ord_id"] = ask.client_id
    if trades and fills:
        row["trades"] = [named("T", trade.number) for trade in fills]
    if not order.is_open:
        row |= {"closetm": seconds(order.updated), "reason": order.reason or None}
    return row


def trade_row(trade: Trade, order: Order) -> Row:
    return {
        "ordertxid": named("O", trade.order), "postxid": "TKH2SE-M7IF5-CFI7LT", "pair": trade.symbol, "aclass": "forex",
        "time": seconds(trade.at), "type": trade.side.lower(), "ordertype": order_type(order), "price": plain(trade.price),
        "cost": plain(trade.quantity * trade.price), "fee": plain(trade.fee), "vol": f"{trade.quantity:.8f}", "margin": "0.00000",
        "leverage": "0", "misc": "", "trade_id": trade.number, "maker": trade.maker,
    }  # fmt: skip


def iso(ms: int) -> str:
    """2025-10-11T15:11:47.695000Z"""
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def execution_row(order: Order, trade: Trade | None, spec: Spec, userref: int | None) -> Row:
    """One row of the executions channel: an order that has changed, or a trade of it."""
    ask = order.ask
    status = _WS_STATUS.get(order.status, STATUS[order.status])
    row: Row = {
        "order_id": named("O", order.number), "order_userref": userref or 0, "symbol": ws_name(spec), "side": ask.side.lower(),
        "order_type": order_type(order), "order_status": status, "order_qty": float(ask.quantity), "cum_qty": float(order.filled),
        "cum_cost": float(order.value), "time_in_force": "GTC" if ask.time_in_force == "GTX" else ask.time_in_force,
        "exec_type": "trade" if trade else status, "timestamp": iso(order.updated), "fee_ccy_pref": "fciq",
    }  # fmt: skip
    if not ask.client_id.startswith(UNNAMED):
        row["cl_ord_id"] = ask.client_id
    if ask.price is not None:
        row["limit_price"] = float(ask.price)
    if ask.trigger is not None:
        row["triggers"] = {
            "reference": "last", "price": float(ask.trigger), "price_type": "static", "actual_price": float(ask.trigger),
            "status": "triggered" if order.triggered_at else "untriggered",
        }  # fmt: skip
        if order.triggered_at:
            row["triggers"]["timestamp"] = iso(order.triggered_at)
    if trade is not None:
        row |= {
            "exec_id": named("T", trade.number), "trade_id": trade.number, "last_qty": float(trade.quantity), "last_price": float(trade.price),
            "liquidity_ind": "m" if trade.maker else "t", "cost": float(trade.quantity * trade.price),
            "fees": [{"asset": CODES.get(trade.fee_asset, trade.fee_asset), "qty": float(trade.fee)}],
        }  # fmt: skip
    elif order.reason:
        row |= {"reason": order.reason, "cancel_reason": order.reason}
    return row


def balance_rows(exchange: Spot, coins: Iterable[str]) -> list[Row]:
    """Rows of the balances channel."""
    return [
        {
            "asset": CODES.get(coin, coin),
            "asset_class": "currency",
            "balance": float(exchange.coins.get(coin, ZERO)),
        }
        for coin in coins
    ]
