"""hooks: the door for alerts from outside. POST /hooks/NAME becomes an intent. Runs only where a hook is configured.

CONSUMES       nothing of the bus.
PRODUCES       order.intent, heartbeat.
OWNS           nothing; the secrets of its hooks are files under keys/hooks.
ON RESTART     nothing to remember: a delivery that is repeated gives the same intent id, and the ledger knows it.
IF IT STOPS    no alert from outside becomes an intent; whoever delivers is told so by a refused connection.
"""
