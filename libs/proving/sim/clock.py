"""Time and ids of a simulated process: the loop's virtual time, its own skew, ids that a seed repeats."""

import asyncio

from holdfast.runtime.ids import SystemIds
from proving.sim.process import START_MS, Process

SCHEDULING_S = (0.000_01, 0.002)
"""How much later than asked for a sleeper wakes."""


class SimClock:
    """The clocks of one process. Wall time may jump; monotonic time never goes back."""

    def __init__(self, process: Process) -> None:
        self._process = process

    def wall_ms(self) -> int:
        self._process.check()
        return START_MS + int(self._process.loop.time() * 1000) + self._process.skew_ms

    def monotonic_ms(self) -> int:
        self._process.check()
        return 1_000_000 + int(self._process.loop.time() * 1000)

    async def sleep(self, seconds: float) -> None:
        process = self._process
        process.check()
        await asyncio.sleep(seconds + process.dice.between(f"{process.service}|sleep", *SCHEDULING_S))
        process.cross("clock", "sleep", "after")


class SimIds(SystemIds):
    """Ids of one incarnation; each is asked for at a point."""

    def __init__(self, clock: SimClock, process: Process) -> None:
        super().__init__(clock, f"{process.number:010x}")
        self._process = process

    def new(self) -> str:
        self._process.check()
        return super().new()
