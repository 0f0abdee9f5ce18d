"""The page: is everything protected, and the buttons to act.

CONSUMES    ledger.snapshot + ledger.updated (the view), market.tick, heartbeat, order.blocked_by_invariant, ledger.trade,
            dead.letter, prediction; intent.result while a button waits for its answer
PRODUCES    what a person with the role `operate` asks for: order.intent.exit, control, exit.adjust, fill (an adoption), and
            entries of dead.letter put back onto their stream; and its heartbeat
OWNS        DIR/dashboard: the tokens' hashes, the port, the audit trail. Everything else is memory, and bounded
ON RESTART  follows the ledger again from a snapshot, reads the last entries of the other views; open pages reconnect by
            themselves, people have to log in again
IF IT STOPS trading and protection go on; nobody sees it on this page: `holdfast check` and status.json still tell
"""
