"""The learner: what became of each closed trade, and which exit thresholds would have done better.

CONSUMES     ledger.snapshot, ledger.updated, ledger.trade, ledger.outcome, market.tick, prediction (views)
PRODUCES     trade.outcome, exit.thresholds, snapshot.request, heartbeat
OWNS         nothing durable: outcomes, versions and the mode are in the ledger
ON RESTART   asks the ledger for the outcomes that are kept, and takes up open paths from the ticks that the bus keeps
IF IT STOPS  trading goes on with the thresholds in force; paths of that time have a hole, or are not known
"""
