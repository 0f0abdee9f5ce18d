"""market_feed: prices onto the bus.

CONSUMES       nothing from the bus; files, a seed, or an exchange's public side, as `feed.spec` says (see `spec`).
PRODUCES       market.tick, heartbeat.
OWNS           feed/replay.json, feed/replay.mark, feed/synthetic.json under --dir: where a feed goes on.
ON RESTART     a replay goes on in the same run where it stopped; synthetic prices go on in a new run; an exchange is
               connected again, in a new run.
IF IT STOPS    prices grow old: no entries, the light turns yellow, exits wait for the next price. Nothing is lost.
"""
