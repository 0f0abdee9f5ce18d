"""Publishes a view of the market: the share of the last 20 moves that went up. Exits listen to it (docs/exits.md); nothing is opened.

A confident view *for* a position holds its soft exits back, a confident one *against* it closes it. `holdfast models` keeps score.
"""

from collections import deque
from itertools import pairwise

from holdfast.client import Client

SYMBOL = "ETH/USDT"
client, prices, said = Client(name="momentum"), deque(maxlen=21), 0
for tick in client.ticks(SYMBOL):
    prices.append(tick.last)
    if len(prices) < 21 or tick.at - said < 5_000:
        continue
    ups, downs = (sum(1 for a, b in pairwise(prices) if (b - a) * sign > 0) for sign in (1, -1))
    direction = "long" if ups > downs else "short" if downs > ups else "hold"
    confidence = f"{max(ups, downs) / 20:.2f}"
    client.predict(SYMBOL, direction, confidence, valid_s=60)
    said = tick.at
    print(direction, confidence, flush=True)
