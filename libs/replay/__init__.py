"""`holdfast replay`: recorded prices and signals through the running system's own handlers, in one process, in market time.

    python -m replay --candles FILE --signals FILE      what `holdfast replay` starts

`machine` puts ledger, executor, paper venue and exit scanner together without a bus between processes: what one of them
publishes is delivered to the others before anything else happens. `candles` and `ticks` decide which prices they are
shown; what happens at a price is decided by those services and the rules of `holdfast.domain`, and nowhere here.
`outcome` listens to the ledger and keeps score, `summary` sums up, `report` draws. `journal` folds a recorded ledger anew.

This package stands above the services, as nothing else does but proofs: it may import both, and nothing imports it.
"""
