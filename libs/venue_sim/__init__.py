"""A venue to test against: the wires of real ones on loopback, so that unmodified clients trade with nobody.

    clock, tape ──▶ matching ◀── dialect: endpoints, keys, weights, rows, codes ◀── server (sockets) ◀── clients
                    exchange (margin), wallet (coins)                               faults ──▶ server

Everything is in memory and follows from the requests, the tape and the seed. Orders, matching and faults are the same for
all; a dialect (`catalog` lists them) is what one venue says and checks. `faults` says what can go wrong on demand; `server` is
the only part that knows of sockets. Nothing of the product imports it.
"""
