"""Every decision Holdfast takes, as pure functions: no clock, no I/O, no logging, no async. Time, ids and randomness are arguments."""
