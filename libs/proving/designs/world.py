"""The world in which the designs live: the simulator's loop, dice, prices, faults and venue; wishes of the same kind; the same rest.

What is judged, from outside: the venue's own record, what the bot knows and scans, its file. Each seed counts once per kind.
"""

import asyncio
import json
from contextvars import Context
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import orjson

from holdfast.contracts.codes import Role
from holdfast.contracts.messages import Tick
from holdfast.contracts.streams import MARKET_TICK, ORDER_INTENT
from holdfast.runtime.settings import Settings
from holdfast.venues.paper import PaperVenue
from holdfast.venues.paper_record import PaperRecord
from proving.designs.bot import Bot, Disk
from proving.designs.exchange import ACCOUNT, Exchange, answered
from proving.designs.incidents import STATE
from proving.sim.bus import SimBus
from proving.sim.dice import Dice, Faults
from proving.sim.loop import SimLoop
from proving.sim.market import Market
from proving.sim.process import START_MS, Points, Process
from proving.sim.producer import Producer
from proving.sim.trace import Trace
from services.executor.app import rules_of

KINDS = {
    "bare": "at rest a position is open that nobody watches",
    "lost": "at rest the bot knows of other positions than the exchange has",
    "opposed": "an entry was sent against what was held or on its way",
    "flipped": "an exit opened or turned a position",
    "stop": "prices went through every stop, and a position was still open",
    "file": "the state file could not be parsed, or said for seconds that nothing was held",
}
RESTART_S, REST_S, SWEEP_S, BOUND_S, SWEEP_PCT = (0.1, 4.0), 60.0, 12.0, 20.0, 0.2
LOOK_S = 0.02
"""How often a reader opens the state file: the dashboard's reader is one of many."""
FLAT_S = 5.0
_WISHES, _TICKS = ORDER_INTENT.name.encode(), MARKET_TICK.name.encode()


@dataclass(slots=True)
class Outcome:
    """What one seed has shown of one design."""

    seed: int
    kinds: set[str] = field(default_factory=set)
    crashes: int = 0
    orders: int = 0
    steps: int = 0


class DesignWorld:
    """One seed of one design."""

    def __init__(self, design: type[Bot], seed: int, directory: Path, seconds: float) -> None:
        self._design, self._seconds = design, seconds
        self.outcome = Outcome(seed)
        self.dice, self.trace, self.points = Dice(seed), Trace(0), Points()
        self.loop = SimLoop(lambda: 0.001)
        self.faults = Faults(self.dice)
        bus = SimBus(self.loop)
        self.market = Market(bus, self.dice, self.faults, self.trace)
        self.producer = Producer(bus, self.market, self.dice, self.faults, self.trace, [ACCOUNT])
        settings = Settings.model_validate(
            {"dir": directory, "paper": {"market": "linear", "seed": seed % 1_000_000}}
        )
        record = PaperRecord(directory / "paper.db", ACCOUNT)
        self.venue = PaperVenue(
            ACCOUNT, "paper", settings=settings.paper, instruments=rules_of(settings), record=record
        )
        self.disk, self._numbers = Disk(), [0]
        self.bot: Bot | None = None
        self._process: Process | None = None
        self._lives = 0
        self._roles: dict[str, Role] = {}
        self._net: dict[str, Decimal] = {}
        self._flat_since_s: float | None = None
        self._seen_wishes: set[str] = set()
        bus.taps.append(self._hear)

    # -- the bot's lives ------------------------------------------------------------------------------------------------

    def _spawn(self) -> None:
        self._lives += 1
        process = Process(
            "bot", self._lives, loop=self.loop, dice=self.dice, faults=self.faults, trace=self.trace, points=self.points
        )  # fmt: skip
        process.on_death = self._died
        exchange = Exchange(process, self.venue, self._numbers)
        exchange.on_order = self._sent
        self._process = process
        self.bot = self._design(process, exchange, self.disk, lambda symbol: self.market.quote(symbol)[0])
        process.tasks.append(process.run(self.bot.run()))

    def _died(self, _: Process, __: str) -> None:
        self.outcome.crashes += 1
        self.bot = None
        delay = self.dice.between("world|restart", *RESTART_S)
        self.loop.call_later(delay, self._spawn, context=Context())

    # -- what it hears and does -----------------------------------------------------------------------------------------

    def _hear(self, name: bytes, _: Any, fields: dict[bytes, bytes]) -> None:
        if name == _TICKS:
            events = answered(
                self.venue.on_ticks([Tick.model_validate_json(fields[b"body"])], now_ms=START_MS)
            )
            for fill in events.fills:
                self._filled(
                    fill.order_id, fill.symbol, fill.quantity if fill.side == "buy" else -fill.quantity
                )
        elif name == _WISHES and self.bot is not None and self._process is not None:
            wish = _wish(fields[b"body"])
            if wish is not None and wish[0] not in self._seen_wishes:
                self._seen_wishes.add(wish[0])
                self._process.tasks.append(self._process.run(self.bot.take(*wish[1:])))

    def _sent(self, order_id: str, symbol: str, side: str, role: Role) -> None:
        """An order has reached the exchange."""
        self.outcome.orders += 1
        sign = 1 if side == "buy" else -1
        if role is Role.ENTRY:
            against = self._net.get(symbol, Decimal(0)) * sign < 0
            live = answered(self.venue.open_orders())
            crossing = any(
                order.symbol == symbol
                and order.side != side
                and self._roles.get(order.order_id) is Role.ENTRY
                for order in live
            )
            if against or crossing:
                self.outcome.kinds.add("opposed")
        self._roles[order_id] = role

    def _filled(self, order_id: str, symbol: str, move: Decimal) -> None:
        before = self._net.get(symbol, Decimal(0))
        self._net[symbol] = before + move
        if self._roles.get(order_id) is Role.EXIT and (before * move >= 0 or before * (before + move) < 0):
            self.outcome.kinds.add("flipped")

    def _read_file(self) -> None:
        """The dashboard's reader."""
        self.loop.call_later(LOOK_S * (0.5 + self.dice.roll("reader")), self._read_file, context=Context())
        if STATE not in self.disk.files:
            return
        try:
            rows = json.loads(self.disk.files[STATE])
        except ValueError:
            self.outcome.kinds.add("file")
            return
        now, holds = self.loop.time(), any(self._net.values())
        self._flat_since_s = (
            (self._flat_since_s or now) if holds and not rows and self.bot is not None else None
        )
        if self._flat_since_s is not None and now - self._flat_since_s > FLAT_S:
            self.outcome.kinds.add("file")

    # -- life -----------------------------------------------------------------------------------------------------------

    def run(self) -> Outcome:
        """From the first start to the last question."""
        asyncio.events._set_running_loop(None)  # noqa: SLF001 - a loop of ours inside nobody else's

        async def live() -> None:
            self._spawn()
            if "file" in self._design.promise:
                self._read_file()
            self.market.start()
            self.producer.start()
            await asyncio.sleep(self._seconds)
            self.faults.active = self.producer.is_wishing = False
            await self._rest()

        try:
            self.loop.run_until_complete(live())
        finally:
            if self._process is not None:
                self._process.end()
                self._process.reap()
            answered(self.venue.close())
            self.loop.close()
        self.outcome.steps = self.trace.steps
        self.outcome.kinds &= self._design.promise
        return self.outcome

    async def _rest(self) -> None:
        """Faults are over; then prices go through every stop."""
        await asyncio.sleep(REST_S)
        held = {symbol: net for symbol, net in self._net.items() if net}
        if self.bot is None or held != {symbol: net for symbol, net in self.bot.known().items() if net}:
            self.outcome.kinds.add("lost")
        if self.bot is None or held.keys() - {position.symbol for position in self.bot.scanned()}:
            self.outcome.kinds.add("bare")
        for direction in (-1, 2):
            self.market.drift_pct = SWEEP_PCT * direction
            await asyncio.sleep(SWEEP_S)
            self.market.drift_pct = 0.0
            await asyncio.sleep(BOUND_S)
        if any(self._net.values()):
            self.outcome.kinds.add("stop")


def _wish(body: bytes) -> tuple[str, str, str, Decimal] | None:
    """(id, symbol, side, quantity) of a wish to open at market; a bot of the incidents takes no others."""
    try:
        document = orjson.loads(body)
        if document.get("action", "open") != "open" or document.get("type", "market") != "market":
            return None
        return document["id"], document["symbol"], document["side"], Decimal(document["quantity"])
    except (orjson.JSONDecodeError, AttributeError, KeyError, ArithmeticError, TypeError, ValueError):
        return None
