"""The four incidents as models, before and as fixed. Comments quote the sentence that a line is there for."""

import asyncio
import json
from decimal import Decimal
from typing import ClassVar

from holdfast.contracts.codes import Role
from proving.designs.bot import LOOP_S, Bot, Held
from proving.designs.exchange import ExchangeError, Filled

STATE = "positions_state.json"


class Registry(Bot):
    """Incident of the empty registry, before: "On fill → register TP/SL"; after a restart "no fills occurred"."""

    name: ClassVar[str] = "registry of TP/SL in memory, filled on fills"
    promise: ClassVar[frozenset[str]] = frozenset({"bare", "stop"})
    models: ClassVar[str] = "before"

    def __init__(self, *args: object) -> None:
        super().__init__(*args)  # type: ignore[arg-type]
        self.registry: dict[str, Held] = {}

    async def signal(self, symbol: str, side: str, quantity: Decimal) -> None:
        if symbol in self.positions:
            return  # "max_concurrent": a position that is open takes no new fills, and is closed by TP/SL alone
        if await self.enter(symbol, side, quantity) is not None:
            self.registry[symbol] = self.positions[symbol].with_exits()

    def scanned(self) -> list[Held]:
        return list(self.registry.values())  # "Exit scanner trusted registry blindly"

    async def closed(self, held: Held) -> None:
        await super().closed(held)
        self.registry.pop(held.symbol, None)

    async def write_state(self) -> None:
        """What "positions were stored in positions_state.json" means: what the exchange shows, every loop."""
        shown = await self.exchange.fetch_positions()
        for symbol in self.positions.keys() - shown.keys():
            del self.positions[symbol]
        for symbol, quantity in shown.items():
            entry = self.positions[symbol].entry if symbol in self.positions else self.price(symbol)
            self.positions[symbol] = Held(symbol, "buy" if quantity > 0 else "sell", abs(quantity), entry)
        self.process.cross("file", STATE, "before")
        self.disk.files[STATE] = json.dumps(
            [[held.symbol, str(held.signed), str(held.entry)] for held in self.positions.values()]
        )
        self.process.cross("file", STATE, "after")


class LedgerFromState(Registry):
    """... as fixed: at start "read positions_state.json → normalize → compute TP/SL (seed) → write ledger → write registry view"."""

    models: ClassVar[str] = "as fixed: a ledger, seeded at start from the state file"

    async def start(self) -> None:
        for symbol, signed, entry in json.loads(self.disk.files.get(STATE, "[]")):
            quantity = Decimal(signed)
            held = Held(symbol, "buy" if quantity > 0 else "sell", abs(quantity), Decimal(entry))
            self.positions[symbol] = held
            self.registry[symbol] = held.with_exits()


class NeverSaved(Bot):
    """Incident of the missing rows, before: "NO DATABASE POSITIONS - DIRECT KRAKEN EXECUTION ONLY"."""

    name: ClassVar[str] = "order first, row second"
    promise: ClassVar[frozenset[str]] = frozenset({"lost", "stop"})
    models: ClassVar[str] = "before"

    async def signal(self, symbol: str, side: str, quantity: Decimal) -> None:
        held = self.disk.rows.get(symbol)
        if held is None or held.side == side:
            await self.exchange.create_order(symbol, side, quantity, role=Role.ENTRY)

    def scanned(self) -> list[Held]:
        return [
            held.with_exits() for held in self.disk.rows.values()
        ]  # "Positions load from database every cycle"

    def known(self) -> dict[str, Decimal]:
        return {held.symbol: held.signed for held in self.disk.rows.values()}


class OrderThenRow(NeverSaved):
    """... as fixed: "Place Kraken order FIRST", then the rows in one transaction, read back, "throw error" where that fails."""

    models: ClassVar[str] = "as fixed: one transaction after the order, verified, errors are thrown"

    async def signal(self, symbol: str, side: str, quantity: Decimal) -> None:
        held = self.disk.rows.get(symbol)
        if held is not None and held.side != side:
            return
        await self.exchange.create_order(symbol, side, quantity, role=Role.ENTRY)
        self.positions = dict(self.disk.rows)
        await self._save(self.grown(symbol, side, Filled(quantity, self.price(symbol))))

    async def closed(self, held: Held) -> None:
        await self._transaction()
        self.disk.rows.pop(held.symbol, None)
        self.process.cross("store", "commit", "after")

    async def _save(self, held: Held) -> None:
        await self._transaction()
        self.disk.rows[held.symbol] = held
        self.process.cross("store", "commit", "after")
        if self.disk.rows.get(held.symbol) != held:
            raise ExchangeError("Position persistence verification failed")

    async def _transaction(self) -> None:
        """A commit fails here as often as Holdfast's does. Raises what the bot logs."""
        process = self.process
        process.cross("store", "commit", "before")
        if any(process.strike(kind, "commit") for kind in ("store.busy", "store.full", "store.failing")):
            raise ExchangeError("Failed to persist position")


class NoCheck(Bot):
    """Incident of long and short at once, before: "No position check performed" on "4+ independent order placement paths"."""

    name: ClassVar[str] = "position check before an order"
    promise: ClassVar[frozenset[str]] = frozenset({"opposed", "flipped"})
    several_paths: ClassVar[bool] = True
    reduce_only: ClassVar[bool] = False  # "only TP/SL orders, no integration needed"
    models: ClassVar[str] = "before"

    async def signal(self, symbol: str, side: str, quantity: Decimal) -> None:
        if await self.enter(symbol, side, quantity) is not None:
            self.positions[symbol] = self.positions[symbol].with_exits()

    async def start(self) -> None:
        """Its position monitor works on what the exchange shows."""
        await self._monitor()

    async def write_state(self) -> None:
        await self._monitor()

    async def _monitor(self) -> None:
        shown = await self.exchange.fetch_positions()
        for symbol in self.positions.keys() - shown.keys():
            del self.positions[symbol]
        for symbol, quantity in shown.items():
            known = self.positions.get(symbol)
            if known is None or known.signed != quantity:
                entry = known.entry if known else self.price(symbol)
                self.positions[symbol] = Held(
                    symbol, "buy" if quantity > 0 else "sell", abs(quantity), entry
                ).with_exits()


class Enforcer(NoCheck):
    """... as fixed: a check in the process, before every entry; TP/SL orders "manage existing positions" and need none."""

    models: ClassVar[str] = "as fixed: an enforcer in the process, {} where positions cannot be read"

    async def signal(self, symbol: str, side: str, quantity: Decimal) -> None:
        held = (await self._current_positions()).get(symbol, Decimal(0))
        if held and (held > 0) != (side == "buy"):
            return  # PositionInvariantViolation: "Cannot open SHORT: existing LONG position"
        await super().signal(symbol, side, quantity)

    async def _current_positions(self) -> dict[str, Decimal]:
        try:
            return await self.exchange.fetch_positions()
        except ExchangeError:
            return {}  # "Failed to get current positions"


class PlainFiles(NoCheck):
    """Incident of the state files, before: executor and sync_state write the same files, in place."""

    name: ClassVar[str] = "state files"
    models: ClassVar[str] = "before"
    promise: ClassVar[frozenset[str]] = frozenset({"file"})
    several_paths: ClassVar[bool] = False
    reduce_only: ClassVar[bool] = True

    async def run(self) -> None:
        await asyncio.gather(super().run(), self._every(LOOP_S, "sync_state", self._write))

    async def write_state(self) -> None:
        await super().write_state()
        await self._write()

    def _rows(self) -> str:
        return json.dumps(
            [[held.symbol, str(held.signed), str(held.entry)] for held in self.positions.values()]
        )

    async def _write(self) -> None:
        self.disk.files[STATE] = ""  # opened for writing: what was there is gone
        self.process.cross("file", STATE, "opened")
        await self.process.wait("file", 0.000_1, 0.002)
        self.disk.files[STATE] = self._rows()
        self.process.cross("file", STATE, "after")


class AtomicFiles(PlainFiles):
    """... as fixed: "only the executor writes", a temporary file and os.replace, "once per main loop"."""

    models: ClassVar[str] = "as fixed: one writer, a temporary file and a rename"

    async def run(self) -> None:
        await Bot.run(self)

    async def _write(self) -> None:
        self.process.cross("file", STATE, "before")
        self.disk.files[STATE] = self._rows()
        self.process.cross("file", STATE, "after")


DESIGNS: tuple[type[Bot], ...] = (
    Registry, LedgerFromState, NeverSaved, OrderThenRow, NoCheck, Enforcer, PlainFiles, AtomicFiles,
)  # fmt: skip
