"""What the four designs have in common: a bot in one process with concurrent signals, an exit scanner, a loop that publishes.

A design says what to do with a signal, what is scanned, and what its files or tables keep. Everything in memory is gone when
its process dies; what it wrote to its disk is there when it starts again.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from decimal import Decimal
from functools import partial
from typing import Any, ClassVar

from holdfast.contracts.codes import Role
from proving.designs.exchange import Exchange, ExchangeError, Filled
from proving.sim.process import Process

STOP_PCT, PROFIT_PCT = Decimal(3), Decimal(4)
SCAN_S, LOOP_S = (0.9, 1.1), (0.9, 1.1)


@dataclass(slots=True)
class Held:
    """A position as a bot knows it."""

    symbol: str
    side: str
    quantity: Decimal
    entry: Decimal
    stop_loss: Decimal | None = None
    take_profit: Decimal | None = None

    @property
    def signed(self) -> Decimal:
        return self.quantity if self.side == "buy" else -self.quantity

    def with_exits(self) -> "Held":
        """Seeded: percents of the entry price."""
        up = 1 if self.side == "buy" else -1
        stop = self.entry * (1 - up * STOP_PCT / 100)
        return Held(
            self.symbol, self.side, self.quantity, self.entry, stop, self.entry * (1 + up * PROFIT_PCT / 100)
        )

    def is_due(self, price: Decimal) -> bool:
        if self.stop_loss is None or self.take_profit is None:
            return False
        low, high = sorted((self.stop_loss, self.take_profit))
        return price <= low or price >= high


@dataclass(slots=True)
class Disk:
    """What survives the bot: files by name, rows of a database by key."""

    files: dict[str, str] = field(default_factory=dict)
    rows: dict[str, Held] = field(default_factory=dict)


class Bot:
    """See the module; one instance is one life."""

    name: ClassVar[str] = ""
    models: ClassVar[str] = ""
    """What of its incident report it models."""
    promise: ClassVar[frozenset[str]] = frozenset()
    """Kinds of violations (`world.KINDS`) that its report is about; it is judged by no others."""
    several_paths: ClassVar[bool] = False
    """Whether signals and exits run beside each other; otherwise one after the other, as in a loop."""
    reduce_only: ClassVar[bool] = True
    """Of exits. Where a report does not say, it is assumed in the design's favour."""

    def __init__(
        self, process: Process, exchange: Exchange, disk: Disk, price: Callable[[str], Decimal]
    ) -> None:
        self.process, self.exchange, self.disk, self.price = process, exchange, disk, price
        self.positions: dict[str, Held] = {}
        """What it works with, in memory."""
        self._one_path = asyncio.Lock()

    # -- what a design decides ------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """What it does before anything else."""

    async def signal(self, symbol: str, side: str, quantity: Decimal) -> None:
        """A signal to buy or sell."""
        raise NotImplementedError

    def scanned(self) -> list[Held]:
        """What the exit scanner looks at."""
        return list(self.positions.values())

    async def closed(self, held: Held) -> None:
        """An exit was accepted."""
        self.positions.pop(held.symbol, None)

    async def write_state(self) -> None:
        """Once a loop."""

    def known(self) -> dict[str, Decimal]:
        """Signed quantities that it knows of: what its operator is shown."""
        return {held.symbol: held.signed for held in self.positions.values()}

    # -- the same for all -----------------------------------------------------------------------------------------------

    async def run(self) -> None:
        await self.start()
        await asyncio.gather(
            self._every(SCAN_S, "scan", self._scan), self._every(LOOP_S, "loop", self.write_state)
        )

    async def _every(
        self, pause_s: tuple[float, float], name: str, work: Callable[[], Awaitable[Any]]
    ) -> None:
        while True:
            await self.process.wait(name, *pause_s)
            try:
                await work()
            except ExchangeError:
                continue  # logged; the next turn tries again

    async def _scan(self) -> None:
        for held in self.scanned():
            if held.is_due(self.price(held.symbol)):
                await self._alone(partial(self.exit, held))

    async def exit(self, held: Held) -> None:
        """A market order for all of *held*. Raises ExchangeError."""
        side = "sell" if held.side == "buy" else "buy"
        await self.exchange.create_order(
            held.symbol, side, held.quantity, role=Role.EXIT, reduce_only=self.reduce_only
        )
        await self.closed(held)

    async def take(self, symbol: str, side: str, quantity: Decimal) -> None:
        """A signal, as the bot handles it: one after the other, unless it has several paths; an exception is logged."""
        with suppress(ExchangeError):
            await self._alone(partial(self.signal, symbol, side, quantity))

    async def _alone(self, work: Callable[[], Awaitable[None]]) -> None:
        if self.several_paths:
            await work()
            return
        async with self._one_path:
            await work()

    async def enter(self, symbol: str, side: str, quantity: Decimal) -> Filled | None:
        """An order and its fill, in the bot's memory. Raises ExchangeError."""
        order_id = await self.exchange.create_order(symbol, side, quantity, role=Role.ENTRY)
        filled = await self.exchange.filled(order_id)
        if filled is not None:
            self.positions[symbol] = self.grown(symbol, side, filled)
        return filled

    def grown(self, symbol: str, side: str, filled: Filled) -> Held:
        """The position after an entry has filled: netted, at its average price."""
        before = self.positions.get(symbol)
        if before is None or before.side != side:
            net = (before.signed if before else Decimal(0)) + (
                filled.quantity if side == "buy" else -filled.quantity
            )
            return Held(symbol, "buy" if net >= 0 else "sell", abs(net), filled.price)
        quantity = before.quantity + filled.quantity
        entry = (before.entry * before.quantity + filled.price * filled.quantity) / quantity
        return Held(symbol, side, quantity, entry)
