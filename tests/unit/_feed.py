"""What tests of feeds share: a clock that only moves when somebody sleeps, and a publisher that remembers."""

import asyncio

from holdfast.contracts.messages import Tick


class FakeClock:
    """Starts at 1,700,000,000,000 ms; `sleep` returns at once and moves both times."""

    def __init__(self, monotonic: int = 5000) -> None:
        self.wall, self.monotonic = 1_700_000_000_000, monotonic

    def wall_ms(self) -> int:
        return self.wall

    def monotonic_ms(self) -> int:
        return self.monotonic

    def move(self, ms: int) -> None:
        self.wall += ms
        self.monotonic += ms

    async def sleep(self, seconds: float) -> None:
        self.move(round(seconds * 1000))
        await asyncio.sleep(0)


class Enough(Exception):  # noqa: N818 - nothing went wrong
    """Raised by a publisher that has what it came for."""


class Sink:
    """Takes ticks with the moment they came; raises Enough *after* it has taken *most* of them."""

    def __init__(self, clock, most=None) -> None:
        self.clock, self.most = clock, most
        self.ticks: list[Tick] = []
        self.moments: list[int] = []
        self.batches: list[int] = []

    async def __call__(self, outputs) -> None:
        self.batches.append(len(outputs))
        for out in outputs:
            assert out.stream.name == "market.tick"
            self.ticks.append(out.message)
            self.moments.append(self.clock.monotonic)
        if self.most is not None and len(self.ticks) >= self.most:
            raise Enough
