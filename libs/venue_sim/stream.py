"""What the user's stream says: one event for each change of an order, in the words of the real one."""

from typing import Any

from venue_sim.account import Account
from venue_sim.orders import Order, Trade
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
