"""exit_scanner: watches the exits of every open position, and asks for its close when one fires.

CONSUMES       ledger.snapshot and ledger.updated (its only truth), market.tick.
PRODUCES       order.intent.exit, snapshot.request, heartbeat (armed, armed_through, unarmed, warnings).
OWNS           nothing: it is a function of ledger and prices. Its registry of exits is a view of the ledger.
ON RESTART     arms every position from the newest snapshot, looks at the latest ticks on the bus, and goes on with exits
               that had fired where the ledger stands: attempt = 1 + the exit orders it has recorded.
IF IT STOPS    positions keep their exits in the ledger, but nobody watches them: the light turns red within seconds.
               If the *ledger* falls silent, the scanner goes on with the positions it knows.
"""
