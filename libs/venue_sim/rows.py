"""Rows as the wire has them: amounts as text with the instrument's decimals, times in ms, every field that clients read."""

from decimal import Decimal
from typing import Any

from venue_sim.account import BOTH, ZERO, Account, Position
from venue_sim.market import Spec
from venue_sim.orders import Algo, Order, Trade

Row = dict[str, Any]
PERPETUAL = 4133404800000
"""The delivery date of what is never delivered."""


def plain(amount: Decimal) -> str:
    """Digits without an exponent."""
    return f"{amount:f}"


def instrument(spec: Spec) -> Row:
    """One entry of exchangeInfo."""
    return {
        "symbol": spec.symbol, "pair": spec.symbol, "contractType": "PERPETUAL", "deliveryDate": PERPETUAL, "onboardDate": 1569398400000,
        "status": "TRADING", "baseAsset": spec.base, "quoteAsset": spec.quote, "marginAsset": spec.quote,
        "pricePrecision": _places(spec.tick), "quantityPrecision": _places(spec.step), "baseAssetPrecision": 8, "quotePrecision": 8,
        "underlyingType": "COIN", "triggerProtect": "0.05", "liquidationFee": "0.012500", "marketTakeBound": "0.05",
        "filters": [
            {"filterType": "PRICE_FILTER", "minPrice": plain(spec.tick), "maxPrice": "10000000", "tickSize": plain(spec.tick)},
            {"filterType": "LOT_SIZE", "minQty": plain(spec.least), "maxQty": plain(spec.most), "stepSize": plain(spec.step)},
            {"filterType": "MARKET_LOT_SIZE", "minQty": plain(spec.least), "maxQty": plain(spec.most), "stepSize": plain(spec.step)},
            {"filterType": "MAX_NUM_ORDERS", "limit": 200},
            {"filterType": "MAX_NUM_ALGO_ORDERS", "limit": 10},
            {"filterType": "MIN_NOTIONAL", "notional": plain(spec.least_notional)},
            {"filterType": "PERCENT_PRICE", "multiplierUp": "1.0500", "multiplierDown": "0.9500", "multiplierDecimal": "4"},
        ],
        "orderTypes": ["LIMIT", "MARKET", "STOP", "STOP_MARKET", "TAKE_PROFIT", "TAKE_PROFIT_MARKET", "TRAILING_STOP_MARKET"],
        "timeInForce": ["GTC", "IOC", "FOK", "GTX", "GTD"],
    }  # fmt: skip


def _places(step: Decimal) -> int:
    exponent = step.normalize().as_tuple().exponent
    return max(0, -exponent) if isinstance(exponent, int) else 0


def order_row(order: Order) -> Row:
    ask = order.ask
    average = order.value / order.filled if order.filled else ZERO
    return {
        "orderId": order.number, "symbol": ask.symbol, "status": order.status, "clientOrderId": ask.client_id,
        "price": plain(ask.price or ZERO), "avgPrice": f"{average:.5f}", "origQty": plain(ask.quantity), "executedQty": plain(order.filled),
        "cumQty": plain(order.filled), "cumQuote": f"{order.value:.5f}", "timeInForce": ask.time_in_force, "type": ask.type,
        "reduceOnly": ask.reduce_only, "closePosition": False, "side": ask.side, "positionSide": ask.position_side, "stopPrice": "0",
        "workingType": "CONTRACT_PRICE", "priceProtect": False, "origType": ask.type, "priceMatch": "NONE",
        "selfTradePreventionMode": "EXPIRE_MAKER", "goodTillDate": ask.till, "time": order.at, "updateTime": order.updated,
    }  # fmt: skip


def algo_row(algo: Algo) -> Row:
    ask = algo.ask
    return {
        "algoId": algo.number, "clientAlgoId": ask.client_id, "algoType": "CONDITIONAL", "orderType": ask.type, "symbol": ask.symbol,
        "side": ask.side, "positionSide": ask.position_side, "timeInForce": ask.time_in_force, "quantity": plain(ask.quantity),
        "algoStatus": algo.status, "actualOrderId": str(algo.order) if algo.order else "", "triggerPrice": plain(ask.trigger or ZERO),
        "price": plain(ask.price or ZERO), "icebergQuantity": None, "selfTradePreventionMode": "EXPIRE_MAKER",
        "workingType": "CONTRACT_PRICE", "priceMatch": "NONE", "closePosition": ask.close_position, "priceProtect": False,
        "reduceOnly": ask.reduce_only, "createTime": algo.at, "updateTime": algo.updated, "triggerTime": algo.triggered_at, "goodTillDate": 0,
    }  # fmt: skip


def trade_row(trade: Trade, quote: str = "USDT") -> Row:
    return {
        "symbol": trade.symbol, "id": trade.number, "orderId": trade.order, "side": trade.side, "price": plain(trade.price),
        "qty": plain(trade.quantity), "realizedPnl": f"{trade.realised:.8f}", "quoteQty": plain(trade.quantity * trade.price),
        "commission": plain(trade.fee), "commissionAsset": quote, "time": trade.at, "positionSide": trade.position_side,
        "buyer": trade.side == "BUY", "maker": trade.maker, "marginAsset": quote,
    }  # fmt: skip


def position_row(account: Account, symbol: str, side: str, position: Position, *, old: bool) -> Row:
    """One row of positionRisk; *old*: as version 2 has it."""
    mark = account.mark(symbol) or position.entry
    notional = position.quantity * mark
    row: Row = {
        "symbol": symbol, "positionSide": side, "positionAmt": plain(position.quantity), "entryPrice": f"{position.entry:.8f}",
        "breakEvenPrice": f"{position.entry:.8f}", "markPrice": f"{mark:.8f}", "unRealizedProfit": f"{position.profit(mark):.8f}",
        "liquidationPrice": "0", "isolatedMargin": "0", "notional": f"{notional:.8f}", "marginAsset": "USDT", "isolatedWallet": "0",
        "initialMargin": f"{abs(notional) / account.leverage_of(symbol):.8f}",
        "maintMargin": f"{abs(notional) * account.specs[symbol].maintenance:.8f}",
        "positionInitialMargin": f"{abs(notional) / account.leverage_of(symbol):.8f}", "openOrderInitialMargin": "0", "adl": "1",
        "bidNotional": "0", "askNotional": "0", "updateTime": position.at,
    }  # fmt: skip
    if old:
        row |= {
            "leverage": str(account.leverage_of(symbol)), "maxNotionalValue": "20000000", "marginType": "cross",
            "isAutoAddMargin": "false", "adlQuantile": 1,
        }  # fmt: skip
    return row


def empty_hedge_rows(symbol: str) -> list[Row]:
    """How an account in hedge mode shows a symbol that it does not hold."""
    return [
        {
            "symbol": symbol, "positionSide": side, "positionAmt": "0.000", "entryPrice": "0.0", "markPrice": "0", "notional": "0",
            "unRealizedProfit": "0", "isolatedMargin": "0", "isolatedWallet": "0", "initialMargin": "0", "liquidationPrice": "0", "updateTime": 0,
        }
        for side in (BOTH, "LONG", "SHORT")
    ]  # fmt: skip


def account_row(account: Account) -> Row:
    """What `account` answers, as far as balances go."""
    asset = {
        "asset": "USDT", "walletBalance": f"{account.wallet:.8f}", "unrealizedProfit": f"{account.unrealised():.8f}",
        "marginBalance": f"{account.equity():.8f}", "maintMargin": "0", "initialMargin": f"{account.margin():.8f}",
        "positionInitialMargin": f"{account.margin():.8f}", "openOrderInitialMargin": "0", "crossWalletBalance": f"{account.wallet:.8f}",
        "crossUnPnl": f"{account.unrealised():.8f}", "availableBalance": f"{account.available():.8f}",
        "maxWithdrawAmount": f"{account.available():.8f}", "marginAvailable": True, "updateTime": 1,
    }  # fmt: skip
    return {
        "feeTier": 0, "canTrade": True, "canDeposit": True, "canWithdraw": account.can_withdraw, "multiAssetsMargin": False,
        "totalWalletBalance": f"{account.wallet:.8f}", "totalMarginBalance": f"{account.equity():.8f}",
        "availableBalance": f"{account.available():.8f}", "assets": [asset], "positions": [],
    }  # fmt: skip
