"""demo: a small moving-average signal, so that a new user sees trades. Off unless asked for; no advice.

CONSUMES       market.tick, intent.result, ledger.snapshot, ledger.updated.
PRODUCES       order.intent (strategy "demo"), snapshot.request, heartbeat.
OWNS           nothing.
ON RESTART     waits until whatever an earlier life wished for has been answered or has expired, and until its averages
               are full again; what is held it reads from the ledger. It doubles nothing.
IF IT STOPS    no new demonstration trades; open ones keep their exits.
"""
