"""The ways out of a service, as one argument: clock, ids and bus here; the store and the venue are arguments of who has one.

Production uses the defaults. The simulator and tests give their own, so that the same wiring runs in another world and
nothing has to be patched. Locks are here because whoever holds the store, an account or a directory holds a lock.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from redis.asyncio import Redis

from holdfast.bus.connection import connect
from holdfast.bus.subscription import FastStreamReading, Reading
from holdfast.runtime.clock import Clock, SystemClock
from holdfast.runtime.ids import Ids, SystemIds
from holdfast.runtime.locks import Held, hold


@dataclass(frozen=True, slots=True, kw_only=True)
class Seams:
    """What a service is given of the world."""

    clock: Clock = field(default_factory=SystemClock)
    ids: Callable[[Clock], Ids] = SystemIds
    connect: Callable[[str], Redis] = connect
    """A client of the bus at an address."""
    reading: Callable[[str], Reading] = FastStreamReading
    """How new work is read from the bus at an address."""
    hold: Callable[[Path, str, Clock], Held] = hold
    """Take a lock for somebody, or raise AlreadyHeld."""
