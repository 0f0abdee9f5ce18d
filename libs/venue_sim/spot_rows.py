"""Rows of Binance spot as the wire has them: amounts as text, times in ms, every field that clients read."""

from collections.abc import Sequence
from typing import Any

from venue_sim.account import ZERO
from venue_sim.market import Spec
from venue_sim.orders import Order, Trade
from venue_sim.rows import plain
from venue_sim.wallet import Spot

Row = dict[str, Any]
TYPES = ["LIMIT", "LIMIT_MAKER", "MARKET", "STOP_LOSS", "STOP_LOSS_LIMIT", "TAKE_PROFIT", "TAKE_PROFIT_LIMIT"]
MOST_STOPS = 5
_NO_LIST = -1
_NOT_YET = -1


def instrument(spec: Spec) -> Row:
    """One entry of exchangeInfo."""
    return {
        "symbol": spec.symbol, "status": "TRADING", "baseAsset": spec.base, "baseAssetPrecision": 8, "quoteAsset": spec.quote,
        "quotePrecision": 8, "quoteAssetPrecision": 8, "baseCommissionPrecision": 8, "quoteCommissionPrecision": 8, "orderTypes": TYPES,
        "icebergAllowed": False, "ocoAllowed": False, "quoteOrderQtyMarketAllowed": False, "allowTrailingStop": False,
        "cancelReplaceAllowed": True, "isSpotTradingAllowed": True, "isMarginTradingAllowed": False,
        "filters": [
            {"filterType": "PRICE_FILTER", "minPrice": plain(spec.tick), "maxPrice": "1000000.00", "tickSize": plain(spec.tick)},
            {"filterType": "LOT_SIZE", "minQty": plain(spec.least), "maxQty": plain(spec.most), "stepSize": plain(spec.step)},
            {"filterType": "MARKET_LOT_SIZE", "minQty": "0.00000000", "maxQty": plain(spec.most), "stepSize": "0.00000000"},
            {"filterType": "NOTIONAL", "minNotional": plain(spec.least_notional), "applyMinToMarket": True, "maxNotional": "9000000.00",
             "applyMaxToMarket": False, "avgPriceMins": 0},
            {"filterType": "MAX_NUM_ORDERS", "maxNumOrders": 200},
            {"filterType": "MAX_NUM_ALGO_ORDERS", "maxNumAlgoOrders": MOST_STOPS},
        ],
        "permissions": [], "permissionSets": [["SPOT"]], "defaultSelfTradePreventionMode": "EXPIRE_MAKER",
        "allowedSelfTradePreventionModes": ["EXPIRE_TAKER", "EXPIRE_MAKER", "EXPIRE_BOTH"],
    }  # fmt: skip


def _type(order: Order) -> str:
    return "LIMIT_MAKER" if order.ask.time_in_force == "GTX" else order.ask.type


def _time_in_force(order: Order) -> str:
    return "GTC" if order.ask.time_in_force == "GTX" else order.ask.time_in_force


def order_row(order: Order) -> Row:
    """As look-ups and lists show it."""
    ask = order.ask
    return {
        "symbol": ask.symbol, "orderId": order.number, "orderListId": _NO_LIST, "clientOrderId": ask.client_id, "price": plain(ask.price or ZERO),
        "origQty": plain(ask.quantity), "executedQty": plain(order.filled), "cummulativeQuoteQty": plain(order.value),
        "origQuoteOrderQty": "0.00000000", "status": order.status, "timeInForce": _time_in_force(order), "type": _type(order), "side": ask.side,
        "stopPrice": plain(ask.trigger or ZERO), "icebergQty": "0.00000000", "time": order.at, "updateTime": order.updated,
        "isWorking": not order.waiting, "workingTime": _working_since(order), "selfTradePreventionMode": "EXPIRE_MAKER",
    }  # fmt: skip


def _working_since(order: Order) -> int:
    return _NOT_YET if order.waiting else order.triggered_at or order.at


def taken_row(order: Order, fills: Sequence[Trade]) -> Row:
    """The FULL answer to a new order."""
    rows = [
        {"price": plain(trade.price), "qty": plain(trade.quantity), "commission": plain(trade.fee), "commissionAsset": trade.fee_asset,
         "tradeId": trade.number}
        for trade in fills
    ]  # fmt: skip
    row = order_row(order)
    for left_out in ("time", "updateTime", "isWorking", "stopPrice", "icebergQty"):
        row.pop(left_out)
    return row | {"transactTime": order.updated, "fills": rows}


def canceled_row(order: Order, client_id: str) -> Row:
    """The answer to a cancel: *client_id* is that of the cancel itself, as the real one has it."""
    row = order_row(order)
    for left_out in ("time", "updateTime", "isWorking", "workingTime", "stopPrice", "icebergQty"):
        row.pop(left_out, None)
    return row | {
        "origClientOrderId": order.ask.client_id,
        "clientOrderId": client_id,
        "transactTime": order.updated,
    }


def trade_row(trade: Trade) -> Row:
    return {
        "symbol": trade.symbol, "id": trade.number, "orderId": trade.order, "orderListId": _NO_LIST, "price": plain(trade.price),
        "qty": plain(trade.quantity), "quoteQty": plain(trade.quantity * trade.price), "commission": plain(trade.fee),
        "commissionAsset": trade.fee_asset, "time": trade.at, "isBuyer": trade.side == "BUY", "isMaker": trade.maker, "isBestMatch": True,
    }  # fmt: skip


def balance_rows(exchange: Spot) -> list[Row]:
    """Every coin, what is free of it and what open orders lock."""
    return [
        {"asset": coin, "free": f"{exchange.free(coin):.8f}", "locked": f"{exchange.locked(coin):.8f}"}
        for coin in sorted(exchange.coins)
    ]


def account_row(exchange: Spot) -> Row:
    taker, maker = exchange.habits.taker, exchange.habits.maker
    return {
        "makerCommission": int(maker * 10_000), "takerCommission": int(taker * 10_000), "buyerCommission": 0, "sellerCommission": 0,
        "commissionRates": {"maker": f"{maker:.8f}", "taker": f"{taker:.8f}", "buyer": "0.00000000", "seller": "0.00000000"},
        "canTrade": True, "canWithdraw": exchange.can_withdraw, "canDeposit": True, "brokered": False, "requireSelfTradePrevention": False,
        "preventSor": False, "updateTime": exchange.clock(), "accountType": "SPOT", "balances": balance_rows(exchange), "permissions": ["SPOT"],
        "uid": 1,
    }  # fmt: skip


def order_event(order: Order, trade: Trade | None, now: int) -> Row:
    """An executionReport."""
    ask = order.ask
    if trade is not None:
        happened = "TRADE"
    else:
        happened = order.status if order.status in {"CANCELED", "EXPIRED"} else "NEW"
    row: Row = {
        "e": "executionReport", "E": now, "s": ask.symbol, "c": ask.client_id, "S": ask.side, "o": _type(order), "f": _time_in_force(order),
        "q": plain(ask.quantity), "p": plain(ask.price or ZERO), "P": plain(ask.trigger or ZERO), "F": "0.00000000", "g": _NO_LIST, "C": "",
        "x": happened, "X": order.status, "r": "NONE", "i": order.number, "l": plain(trade.quantity) if trade else "0", "z": plain(order.filled),
        "L": plain(trade.price) if trade else "0", "n": plain(trade.fee) if trade else "0", "N": trade.fee_asset if trade else None,
        "T": order.updated, "t": trade.number if trade else -1, "I": order.updated, "w": order.is_open and not order.waiting,
        "m": bool(trade and trade.maker), "M": False, "O": order.at, "Z": plain(order.value),
        "Y": plain(trade.quantity * trade.price) if trade else "0", "Q": "0.00000000", "V": "EXPIRE_MAKER",
    }  # fmt: skip
    return row if order.waiting else row | {"W": _working_since(order)}


def account_event(exchange: Spot, symbol: str, now: int) -> Row:
    """An outboundAccountPosition: the coins that an order of *symbol* may have changed."""
    spec = exchange.specs[symbol]
    coins = [
        {"a": coin, "f": f"{exchange.free(coin):.8f}", "l": f"{exchange.locked(coin):.8f}"}
        for coin in (spec.base, spec.quote)
    ]
    return {"e": "outboundAccountPosition", "E": now, "u": now, "B": coins}
