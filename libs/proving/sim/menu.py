"""The fault menu: every kind of harm there is, with its rate where a seed has it switched on, before the seed's own factor.

Kinds named `world.*`, `process.pause`, `process.twin`, `clock.jump`, `bus.wipe` … are tried once a virtual second; the others at each
crossing of a seam that they concern.
"""

KINDS: dict[str, float] = {
    # processes
    "process.crash": 0.004,  # at a numbered point; rarer where a point is crossed often
    "process.pause": 0.03,  # for up to a minute; its lock may be lost meanwhile, so that a successor runs beside it
    "process.twin": 0.02,  # a second one is started beside the first, refused by its lock or not
    # the bus
    "bus.delay": 0.01,  # one command or its answer takes up to three seconds
    "bus.lost_request": 0.004,  # an error, and nothing has happened
    "bus.lost_reply": 0.004,  # an error, and it has happened: an ambiguous append
    "bus.duplicate": 0.004,  # a write happens twice
    "bus.gone": 0.02,  # the server is unreachable for a while
    "bus.cut": 0.02,  # one service does not reach it for a while
    "bus.rewind": 0.03,  # it restarts without the last commands, as from an old append-only file
    "bus.wipe": 0.015,  # it restarts empty
    "bus.trim": 0.04,  # a work stream loses entries that its group has not finished with
    "bus.trim_view": 0.6,  # while a process was paused, the updates that it missed were trimmed away, but for the last
    "bus.full": 0.02,  # no write is taken for a while
    # the ledger's store
    "store.busy": 0.03,
    "store.down": 0.02,  # the disk is full for a while
    "store.full": 0.03,
    "store.failing": 0.02,  # an I/O error before the commit
    "store.ambiguous": 0.05,  # an I/O error after the commit
    # the venue
    "venue.lost_request": 0.05,  # a timeout before it has accepted
    "venue.overtaken": 0.06,  # a timeout, while the order is still on its way, and arrives before its send_by
    "venue.lost_reply": 0.1,  # a timeout after it has accepted
    "venue.slow": 0.03,
    "venue.unreadable": 0.02,  # a read has no usable answer
    "venue.empty": 0.05,  # a read says "nothing" where there is something
    "venue.late": 0.15,  # a trade or an end is told later, perhaps after a cancel
    "venue.twice": 0.1,  # a trade is told twice
    "venue.shuffled": 0.2,  # trades are told in another order
    "venue.down": 0.02,  # it answers nobody for a while
    "venue.record": 0.02,  # its record does not take a commit
    # clocks
    "clock.jump": 0.02,  # a service's wall clock jumps
    "clock.server": 0.02,  # the bus server's does
    "clock.skew": 0.5,  # services' wall clocks differ from the start
    # producers
    "input.forged": 0.05,
    "input.expired": 0.03,
    "input.replayed": 0.05,
    "input.changed": 0.03,  # an id once more, with another body
    "input.opposed": 0.08,  # long and short at once
    # people; no faults, but left out as faults are when a failure is shrunk
    "person.control": 0.03,
    "person.adjust": 0.15,
    "person.close": 0.05,
    # prices
    "market.gap": 0.01,
    "market.bad_print": 0.01,
    "market.silent": 0.02,
}
