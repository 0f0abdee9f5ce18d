"""What the streams say, in the words of the real ones: an event for each change of an order, and prices to whoever subscribes."""

import json
from collections.abc import Callable, Sequence
from typing import Any

from venue_sim.account import Account
from venue_sim.binance_errors import FUTURES, said
from venue_sim.dialects import Document
from venue_sim.market import Quote
from venue_sim.orders import Algo, Order, Trade
from venue_sim.rows import plain


def order_event(order: Order, trade: Trade | None, now: int) -> dict[str, Any]:
    """ORDER_TRADE_UPDATE."""
    ask = order.ask
    if trade is not None:
        happened = "TRADE"
    else:
        happened = {"NEW": "NEW", "CANCELED": "CANCELED"}.get(order.status, "EXPIRED")
    average = order.value / order.filled if order.filled else order.filled
    body: dict[str, Any] = {
        "s": ask.symbol, "c": ask.client_id, "S": ask.side, "o": ask.type, "f": ask.time_in_force, "q": plain(ask.quantity),
        "p": plain(ask.price or order.filled * 0), "ap": plain(average), "sp": "0", "x": happened, "X": order.status, "i": order.number,
        "l": plain(trade.quantity) if trade else "0", "z": plain(order.filled), "L": plain(trade.price) if trade else "0",
        "T": order.updated, "t": trade.number if trade else 0, "b": "0", "a": "0", "m": bool(trade and trade.maker),
        "R": ask.reduce_only, "wt": "CONTRACT_PRICE", "ot": ask.type, "ps": ask.position_side, "cp": False,
        "rp": plain(trade.realised) if trade else "0", "pP": False, "si": 0, "ss": 0, "V": "EXPIRE_MAKER", "pm": "NONE", "gtd": 0,
    }  # fmt: skip
    if trade is not None:
        body |= {"N": "USDT", "n": plain(trade.fee)}
    return {"e": "ORDER_TRADE_UPDATE", "E": now, "T": order.updated, "o": body}


def algo_event(algo: Algo, became: Order | None, now: int) -> dict[str, Any]:
    """ALGO_UPDATE; *became*: the ordinary order that the conditional one is by now."""
    ask, zero = algo.ask, "0"
    body = {
        "caid": ask.client_id, "aid": algo.number, "at": "CONDITIONAL", "o": ask.type, "s": ask.symbol, "S": ask.side, "ps": ask.position_side,
        "f": ask.time_in_force, "q": plain(ask.quantity), "X": algo.status, "ai": str(algo.order) if algo.order else "", "ap": zero, "aq": zero,
        "act": zero, "tp": plain(ask.trigger) if ask.trigger is not None else zero, "p": plain(ask.price) if ask.price is not None else zero,
        "V": "EXPIRE_MAKER", "wt": "CONTRACT_PRICE", "pm": "NONE", "cp": ask.close_position, "pP": False, "R": ask.reduce_only,
        "tt": algo.triggered_at, "gtd": 0, "rm": said(algo.refused, FUTURES).text if algo.refused else "",
    }  # fmt: skip
    if became is not None:
        average = became.value / became.filled if became.filled else became.filled
        body |= {"ap": plain(average), "aq": plain(became.filled), "act": became.ask.type}
    return {"e": "ALGO_UPDATE", "T": algo.updated, "E": now, "o": body}


def account_event(account: Account, symbol: str, now: int) -> dict[str, Any]:
    """ACCOUNT_UPDATE after a trade of *symbol*."""
    positions = [
        {"s": name, "pa": plain(position.quantity), "ep": plain(position.entry), "cr": "0", "up": "0", "mt": "cross", "iw": "0", "ps": side}
        for (name, side), position in account.positions.items() if name == symbol
    ]  # fmt: skip
    balance = {"a": "USDT", "wb": plain(account.wallet), "cw": plain(account.wallet), "bc": "0"}
    return {
        "e": "ACCOUNT_UPDATE",
        "E": now,
        "T": now,
        "a": {"m": "ORDER", "B": [balance], "P": positions},
    }


def expired_event(key: str, now: int) -> dict[str, Any]:
    return {"e": "listenKeyExpired", "E": now, "listenKey": key}


class PriceLine:
    """Public prices: SUBSCRIBE to SYMBOL@ticker, @miniTicker or @bookTicker, as at Binance. Volumes are not counted here."""

    def __init__(self, clock: Callable[[], int]) -> None:
        self._clock = clock
        self._channels: dict[str, None] = {}

    @property
    def listens(self) -> bool:
        """Of orders nothing is told here."""
        return False

    def hear(self, text: str) -> Sequence[Document]:
        try:
            given = json.loads(text)
            names, number = [str(one) for one in given["params"]], given["id"]
        except (ValueError, KeyError, TypeError):
            return ({"error": {"code": 2, "msg": "Invalid request"}, "id": None},)
        if given.get("method") == "SUBSCRIBE":
            self._channels |= dict.fromkeys(names)
        else:
            self._channels = {name: None for name in self._channels if name not in names}
        return ({"result": None, "id": number},)

    def tell(self, order: Order | Algo, trade: Trade | None) -> Sequence[Document]:  # noqa: ARG002 - orders are nobody else's business
        return ()

    def price(self, symbol: str, quote: Quote) -> Sequence[Document]:
        wanted = [
            name.partition("@")[2] for name in self._channels if name.partition("@")[0].upper() == symbol
        ]
        return [price_event(symbol, quote, channel, self._clock()) for channel in wanted]

    def farewell(self) -> Sequence[Document]:
        return ()


def price_event(symbol: str, quote: Quote, channel: str, now: int) -> dict[str, Any]:
    """24hrTicker, 24hrMiniTicker or bookTicker; of a day's figures only the last price is true."""
    last = plain(quote.last)
    if channel == "bookTicker":
        size = plain(quote.size)
        return {
            "e": "bookTicker", "u": now, "s": symbol, "b": plain(quote.bid), "B": size, "a": plain(quote.ask), "A": size, "T": now, "E": now,
        }  # fmt: skip
    day = {"s": symbol, "c": last, "o": last, "h": last, "l": last, "v": "0", "q": "0", "E": now}
    if channel == "miniTicker":
        return {"e": "24hrMiniTicker", **day}
    return {
        "e": "24hrTicker", **day, "p": "0", "P": "0", "w": last, "Q": "0", "O": now - 86_400_000, "C": now, "F": 0, "L": 0, "n": 0,
    }  # fmt: skip
