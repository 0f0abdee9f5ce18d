"""Drills on real processes, a real bus and a real store: break it while it trades, and measure when all is armed again.

`world` is Holdfast as a whole: `processes` runs it with `holdfast up`, `compose` with Docker Compose. `faults` breaks it,
`orders` trades on it meanwhile, `beats` tells when every open position is armed, `judge` says afterwards whether a promise
was broken, and `run` puts them together. Nothing here shares code with what is drilled but the table of streams.
"""
