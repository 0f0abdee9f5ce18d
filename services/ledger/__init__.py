"""The ledger: the one true record of every position, and the last word on every order.

CONSUMES    order.reserve, fill, order.status, exit.adjust, control, nav.mark, executor.claim, exit.thresholds,
            trade.outcome, snapshot.request (work)
PRODUCES    ledger.updated, ledger.snapshot, ledger.trade, ledger.outcome, intent.result, order.blocked_by_invariant, dead.letter
OWNS        the store: positions with their exits, orders, fills, trades and their outcomes, intents' ends, control,
            learned thresholds (one writer, locked, fenced)
ON RESTART  loads the store, checks it, publishes what it had committed but not published, then a snapshot
IF IT STOPS no order is reserved and so none is sent; fills wait on their stream and with the executor; exits wait too
"""
