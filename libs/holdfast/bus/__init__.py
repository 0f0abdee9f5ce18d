"""Redis Streams and FastStream: the only folder that imports them, and the only one that publishes.

`app` is what a service is wired with; `work` reads work streams through FastStream, `follow` reads views with plain
XREAD, `ledger_feed` rebuilds a LedgerView from snapshot and updates, `groups` creates groups and trims.
"""
