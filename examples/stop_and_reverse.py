"""Turns a position round: closes what is held, waits for that, opens the other side. `python stop_and_reverse.py buy|sell [KEY]`.

Holdfast never lets one order do both: a sell of twice the size, sent twice or filled late, is how bots end up on the wrong side.
Run it again with the same KEY after a crash, at any line: what was done is done, what was not is done now.
"""

import sys

from holdfast.client import Client

SYMBOL = "BTC/USDT:USDT"  # a perpetual: spot cannot be sold short
side, key = sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else None
client = Client(name="reverse")

closed = client.close(SYMBOL, key=key and f"close-{key}").wait()
if closed.status != "filled" and closed.code != "nothing_to_close":
    sys.exit(f"not closed, so nothing is opened: {closed.status.value} {closed.reason or ''}")
enter = client.buy if side == "buy" else client.sell
opened = enter(SYMBOL, quote_amount=500, stop_loss="2%", key=key and f"open-{key}").wait()
print(opened.status.value, opened.filled_quantity, "at", opened.average_price, opened.reason or "")
