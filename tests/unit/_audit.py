"""A small real run, of which every test of the auditor gets a copy, and the tools to corrupt a copy.

`Copy.edit` changes updates of the journal and writes their hashes anew, as a ledger that is wrong would have written them.
"""

import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson

from holdfast.contracts import streams
from holdfast.contracts.codes import TradingState
from holdfast.contracts.messages import Control
from holdfast.store.batch import GENESIS, chain
from proving.audit import Audit, Violation
from tests.planted._world import BTC, ETH, START, World

INVERSE, SOL = "BTC/USD:BTC", "SOL/USDT:USDT"
PAPER = {"market": "auto", "fee_pct": "0.05", "slippage_pct": "0.01", "partial_fill_pct": "30"}
Document = dict[str, Any]


async def small_run(directory: Path) -> None:
    """Adds, partial fills, a stop, a take-profit, a flip to short, a resting limit, an inverse contract, a halt, a refusal."""
    async with World(directory, paper=PAPER).at_work() as world:
        await _rounds(world, BTC, "buy", "100", ("106", "95"))
        await _rounds(world, SOL, "sell", "50", ("48", "53"))
        await _rounds(world, INVERSE, "buy", "30000", ("30700", "29100"))
        await _go(world, ETH, "10")
        world.intent("more", "buy", "0.4", stop_loss="3%")
        world.intent("rest", "buy", "2", ETH, type="limit", price="9")
        world.intent("no", "sell", "1")
        await _go(world, BTC, "100", "100.5", "101")
        world.intent("again", "buy", "0.7", stop_loss="3%")
        await _go(world, BTC, "101.3", "101.4", "101.5")
        world.send(streams.CONTROL, Control(id="halt", at=START, state=TradingState.HALTED, by="ann"))
        await _go(world, BTC, "101.5")
        world.intent("late", "buy")
        await world.wait(1)
        world.send(streams.CONTROL, Control(id="go", at=START, state=TradingState.ACTIVE, by="ann"))
        world.close_intent("part", quantity="0.2")
        await _go(world, BTC, "101.7", "101.8")
        await _go(world, ETH, "10.2")
        world.intent("anew", "buy", "2", ETH, type="limit", price="9")
        world.close_intent("soft", type="limit", price="140")
        await _go(world, BTC, "102")


async def _rounds(world: World, symbol: str, side: str, start: str, ends: tuple[str, ...]) -> None:
    """Three intents to a position, then a price that closes it; once for each of *ends*."""
    await _go(world, symbol, start)
    for number, end in enumerate(ends):
        for part, quantity in enumerate(("1", "0.5", "0.3")):
            name = f"{symbol}-{number}-{part}"
            world.intent(name, side, quantity, symbol, stop_loss="2%", take_profit="2%")
            await _go(world, symbol, start, start)
        await _go(world, symbol, end, end, end)
        await world.wait(1)
        await _go(world, symbol, end)


async def _go(world: World, symbol: str, *prices: str) -> None:
    for price in prices:
        await world.settle()
        await world.tick(price, symbol)
        await world.settle()


class Copy:
    """A copy of the run, with connections that may write."""

    def __init__(self, run: Path, directory: Path) -> None:
        (directory / "ledger").mkdir()
        for name in ("ledger/ledger.db", "paper.db"):
            shutil.copy(run / name, directory / name)
        self.directory = directory
        self.ledger = sqlite3.connect(directory / "ledger/ledger.db", isolation_level=None)
        self.record = sqlite3.connect(directory / "paper.db", isolation_level=None)
        self.ledger.execute("PRAGMA foreign_keys=OFF")
        self.ledger.execute("PRAGMA ignore_check_constraints=ON")
        self.audit = Audit(self.ledger, {("main", "paper"): self.record})

    def close(self) -> None:
        self.ledger.close()
        self.record.close()

    def updates(self) -> list[Document]:
        return [
            orjson.loads(body) for (body,) in self.ledger.execute("SELECT body FROM updates ORDER BY seq")
        ]

    def edit(self, change: Callable[[Document], bool | None]) -> None:
        """Let *change* alter the first update for which it returns True; the chain is written anew."""
        previous, done = GENESIS, False
        for seq, body in self.ledger.execute("SELECT seq, body FROM updates ORDER BY seq").fetchall():
            update = orjson.loads(body)
            if not done:
                done = bool(change(update))
            new = orjson.dumps(update)
            previous = chain(previous, new)
            self.ledger.execute(
                "UPDATE updates SET body = ?, hash = ?, kind = ? WHERE seq = ?",
                (new.decode(), previous, update["kind"], seq),
            )
        assert done, "no update of the run is like that"

    def append(self, **tables: Any) -> None:
        """One more update, as the ledger would number it."""
        last, head = self.ledger.execute(
            "SELECT body, hash FROM updates ORDER BY seq DESC LIMIT 1"
        ).fetchone()
        update = {key: orjson.loads(last)[key] for key in ("id", "at", "seq", "store_id", "epoch")}
        update |= {"kind": "status", **tables, "seq": update["seq"] + 1}
        body = orjson.dumps(update)
        self.ledger.execute(
            "INSERT INTO updates VALUES (?, ?, 1, ?, ?)",
            (update["seq"], update["kind"], chain(head, body), body.decode()),
        )

    def last(self, table: str, **like: Any) -> Document:
        """The newest row of *table* that is *like* that."""
        found = [
            row
            for update in self.updates()
            for row in update.get(table, ())
            if all(row.get(name) == value for name, value in like.items())
        ]
        return found[-1]

    def found(self, **marks: Any) -> list[Violation]:
        return self.audit.quiescent(marks or None)
