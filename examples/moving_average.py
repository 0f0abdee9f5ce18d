"""Buys while the average of 5 prices lies above that of 20, and closes when it does not. The stop risks 1 % of NAV."""

from collections import deque

from holdfast.client import Client

client, prices = Client(name="ma"), deque(maxlen=20)
for tick in client.ticks("BTC/USDT"):
    prices.append(tick.last)
    if len(prices) < 20:
        continue
    rising = sum(list(prices)[-5:]) / 5 > sum(prices) / 20
    held = any(row.strategy == "ma" for row in client.positions())
    key = f"{rising}-{tick.at // 60_000}"  # the wish of this minute: asked for again, it is the same one
    if rising and not held:
        done = client.buy("BTC/USDT", risk_pct=1, stop_loss="2%", take_profit="4%", key=key).wait()
        print("in", done.status.value, done.filled_quantity, done.average_price, done.reason or "")
    elif held and not rising:
        done = client.close("BTC/USDT", key=key).wait()
        print("out", done.status.value, done.filled_quantity, done.average_price, done.reason or "")
