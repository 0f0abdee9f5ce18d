"""The only writer of the state files, and the light.

CONSUMES    ledger.snapshot + ledger.updated (the view), market.tick, heartbeat, order.blocked_by_invariant, ledger.trade
PRODUCES    nothing on the bus but its heartbeat; positions_state.json, positions_ledger.json, kpis_v7.json, status.json
OWNS        the lock of the state directory; no durable state: files are written, never read back as a truth
ON RESTART  takes the lock, removes temporary files of its killed predecessor, waits for a snapshot (the last good files
            stay as they are, status.json is red meanwhile), then goes on; `seq` never goes back
IF IT STOPS trading and protection go on; the files grow old, and their readers see that by `updated_at`
"""
