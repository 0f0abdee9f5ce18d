"""Alerts: calls somebody, so that nobody has to keep looking.

CONSUMES     ledger.snapshot, ledger.updated, heartbeat, market.tick, order.blocked_by_invariant, dead.letter, alert (views);
             alert.ack (work)
PRODUCES     alert, snapshot.request, heartbeat
OWNS         nothing durable: what is open is the last word on each key of its own stream
ON RESTART   takes up what was open from that stream, says nothing twice, and goes on counting the day's loss
IF IT STOPS  trading goes on and nobody is called; the light and the page still say what is wrong
"""
