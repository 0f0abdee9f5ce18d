"""Executor: turns intents into orders, and is the only one that talks to an exchange's private API.

CONSUMES     order.intent, order.intent.exit (its group; acknowledged when the ledger has answered), ledger.snapshot,
             ledger.updated, intent.result, market.tick, heartbeat (views)
PRODUCES     order.reserve, order.status, fill, nav.mark, executor.claim, snapshot.request, heartbeat
OWNS         nothing durable but the paper venue's record, which stands for an exchange's own books; one lock per account;
             the keys of live accounts, which nobody else reads
ON RESTART   it waits until nobody else has its accounts, and the ledger gives it a higher epoch: it sends nothing that an
             earlier one asked for. Every live order is looked up at the venue by client order id, and fills that the
             ledger lacks are published; unanswered intents are still pending on the bus and are proposed again, under
             the same client order ids.
IF IT STOPS  one that waits beside it takes over. Where none does, nothing is opened and no exit is sent; intents wait on the
             bus, entries until they expire, exits for ever. The light turns red after state.max_heartbeat_age_s.
"""
