"""Identifiers as an argument: sortable by time, unique per process, or seeded for tests and simulations."""

import secrets
from typing import Protocol

from holdfast.runtime.clock import Clock


class Ids(Protocol):
    def new(self) -> str:
        """A fresh id: 26 characters, later ids sort after earlier ones of the same maker."""
        ...


class SystemIds:
    """Milliseconds (11 hex digits), a counter (5), this process's random tail (10): ordered even within a millisecond."""

    def __init__(self, clock: Clock, tail: str | None = None) -> None:
        self._clock, self._tail = clock, tail or secrets.token_hex(5)
        self._last_ms, self._counter = 0, 0

    def new(self) -> str:
        now = self._clock.wall_ms()
        if now > self._last_ms:
            self._last_ms, self._counter = now, 0
        else:
            self._counter += 1
        return f"{self._last_ms:011x}{self._counter:05x}{self._tail}"
