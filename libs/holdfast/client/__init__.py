"""What a strategy imports: wishes go in, answers, positions, trades and prices come out. Needs redis and the contracts, no more.

    from holdfast.client import Client

    client = Client(name="mine")
    done = client.buy("BTC/USDT", risk_pct=1, stop_loss="2%", key="2026-11-26T21:00").wait()

`Client` blocks, `AsyncClient` is the same for asyncio. A `key` names the wish by what it is about (the candle, the signal), so that a
strategy which was killed may simply run again: the same key is the same intent, it is acted upon once, and its recorded answer is
repeated. Whatever is gone (the bus, a service, the answer) is waited for and asked again. docs/recipes/my-own-strategy.md tells more.
"""

from holdfast.client.aio import AsyncClient, AsyncHandle
from holdfast.client.blocking import Client, Following, Handle
from holdfast.client.core import Event
from holdfast.client.troubles import Forbidden, NotConfirmed, Trouble, Unreachable, WrongIntent
from holdfast.contracts.messages import IntentResult, OrderIntent, Tick, Trade
from holdfast.contracts.rows import OrderRow, PositionRow

__all__ = [
    "AsyncClient", "AsyncHandle", "Client", "Event", "Following", "Forbidden", "Handle", "IntentResult", "NotConfirmed", "OrderIntent",
    "OrderRow", "PositionRow", "Tick", "Trade", "Trouble", "Unreachable", "WrongIntent",
]  # fmt: skip
