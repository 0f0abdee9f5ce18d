"""A venue to test against: the wire of Binance USD-M futures on loopback, so that unmodified clients trade with nobody.

    clock, tape ──▶ exchange (matching, orders, positions) ◀── futures (endpoints) ◀── door (keys, clock, weights) ◀── server
                                                                                                     faults ──▶ server

Everything is in memory and follows from the requests, the tape and the seed. `faults` says what can go wrong on demand;
`server` is the only part that knows of sockets. Nothing of the product imports it.
"""
