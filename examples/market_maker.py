"""Keeps one post-only bid 0.1 % below the market, and moves it along: each new one takes the place of the one before.

`replaces` cancels the old order, waits for the proof, takes off what it has filled, and only then reserves the new one: the
bid is never there twice, and what several of them fill together is never more than SIZE.
"""

from decimal import Decimal

from holdfast.client import Client

SYMBOL, SIZE, BELOW, MOVE = "BTC/USDT:USDT", "0.01", Decimal("0.999"), Decimal("0.0005")
client, bid, placed = Client(name="maker"), None, Decimal(0)
for tick in client.ticks(SYMBOL):
    price = (tick.bid * BELOW).quantize(Decimal("0.01"))
    if bid is not None and abs(price - placed) < MOVE * placed:
        continue
    more = {"replaces": bid.id} if bid is not None else {}
    handle = client.buy(SYMBOL, SIZE, price=price, post_only=True, stop_loss="1%", **more)
    answer = handle.wait(accepted=True)
    print(answer.status.value, price, answer.code.value if answer.code else "", flush=True)
    if answer.status == "accepted":
        bid, placed = handle, price
    else:  # filled meanwhile, or refused: the next one stands for itself
        bid = None
