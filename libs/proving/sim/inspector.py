"""Looks at a simulated world from outside: the auditor after every step, what intents the executor has taken on, who is armed.

It reads the ledger's store, the venue's records and the bus; services cannot see it. What it finds is kept, and ends the run at
the next occasion.
"""

import sqlite3
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from holdfast.contracts.streams import EXECUTOR, EXIT_SCANNER, HEARTBEAT, ORDER_INTENT, ORDER_INTENT_EXIT
from holdfast.store.opening import sqlite_path
from holdfast.venues.paper_record import PaperRecord
from proving.audit import Audit
from proving.sim.server import Fields, Id
from proving.sim.store import template
from proving.sim.watch import Watch, intent_id_of
from services.executor.app import PAPER

if TYPE_CHECKING:
    from proving.sim.world import World


@dataclass(frozen=True, slots=True)
class Found:
    """Something that must not be."""

    number: str
    text: str
    at_s: float

    def __str__(self) -> str:
        return f"{self.number} at {self.at_s:.3f} s: {self.text}"


class Inspector:
    """See the module."""

    def __init__(self, world: "World") -> None:
        self._world = world
        directory = world.settings.dir
        world.settings.state_directory().mkdir(parents=True)
        self._ledger = _reader(_prepared(sqlite_path(directory)))
        self.records: dict[tuple[str, str], sqlite3.Connection] = {}
        for account in world.settings.accounts:
            path = directory / "paper" / f"{account}.db"
            PaperRecord(path, account, PAPER).close()
            self.records[account, PAPER] = _reader(path)
        self._audit = Audit(self._ledger, self.records)
        self.found: list[Found] = []
        self.checks = 0
        self._dirty = True
        self._entries: dict[tuple[bytes, Id], str] = {}
        self.taken: set[str] = set()
        """Intents whose entries an executor has read and acknowledged."""
        self.beats: dict[str, dict[str, Any]] = {}
        self.recoveries: list[float] = []
        self._down: list[float] = []
        self.waits: Counter[str] = Counter()
        self.watch = Watch(self._ledger, world.bus.server, self.report)
        world.bus.taps += [self._hear, self.watch.hear]
        world.bus.server.on_ack = self._acknowledged

    # -- what changes -------------------------------------------------------------------------------------------------

    def ledger_changed(self) -> None:
        self._dirty = True

    def venue_changed(self) -> None:
        self._dirty = True

    def step(self) -> None:
        """After every step: what of the ledger or the venue is new is audited."""
        if not self._dirty:
            return
        self._dirty = False
        self.checks += 1
        for violation in self._audit.step():
            self.report(violation.number, f"{violation.book} {violation.text}".strip())

    def report(self, number: str, text: str) -> None:
        found = Found(number, text, self._world.loop.time())
        self.found.append(found)
        self._world.trace.fault(self._world.loop.time(), f"VIOLATION {number} {text}")

    def raise_found(self) -> None:
        """Raises Violated when anything was found."""
        from proving.sim.world import Violated

        for failure in self._world.loop.failures:
            self.report("INV-10", f"nobody caught: {failure.get('exception')!r} {failure.get('message')}")
        self._world.loop.failures.clear()
        if self.found:
            raise Violated(str(self.found[0]))

    # -- what is asked --------------------------------------------------------------------------------------------------

    @property
    def seq(self) -> int:
        """The newest update that the ledger has committed."""
        row = self._ledger.execute("SELECT MAX(seq) FROM updates").fetchone()
        return int(row[0] or 0)

    def positions(self) -> list[dict[str, Any]]:
        """Open positions in the store."""
        return [
            orjson.loads(body)
            for (body,) in self._ledger.execute("SELECT body FROM positions ORDER BY position_id")
        ]

    def answers(self) -> dict[str, dict[str, Any]]:
        """Intents as the store has them, by id."""
        rows = self._ledger.execute("SELECT intent_id, body FROM intents")
        return {intent_id: orjson.loads(body) for intent_id, body in rows}

    def live_orders(self) -> list[dict[str, Any]]:
        return [
            orjson.loads(body) for (body,) in self._ledger.execute("SELECT body FROM orders WHERE live = 1")
        ]

    def at_rest(self) -> None:
        """The auditor's whole comparison. Quotes that every crossed stop has met by now are the market's."""
        marks = {symbol: self._world.market.quote(symbol)[0] for symbol in self._world.market.price}
        self.checks += 1
        for violation in self._audit.quiescent(marks):
            self.report(violation.number, f"{violation.book} {violation.text}".strip())

    def close(self) -> None:
        self._ledger.close()
        for record in self.records.values():
            record.close()

    # -- what the bus shows ---------------------------------------------------------------------------------------------

    def _hear(self, name: bytes, entry_id: Id, fields: Fields) -> None:
        if name in _INTENTS:
            intent_id = intent_id_of(fields.get(b"body", b""))
            if intent_id is not None:
                self._entries[name, entry_id] = intent_id
        elif name == _BEATS:
            beat = orjson.loads(fields[b"body"])
            self.beats[beat["service"]] = beat
            if self._down and beat["service"] == EXIT_SCANNER and self.is_armed():
                now = self._world.loop.time()
                self.recoveries += [now - at for at in self._down]
                self._down.clear()

    def went_down(self) -> None:
        """A process has died or a fault has hit the bus: until everything is armed again, somebody may be unwatched."""
        self._down.append(self._world.loop.time())

    def is_armed(self) -> bool:
        """Whether every service is there and the scanner watches every open position as of the newest update."""
        world, beat = self._world, self.beats.get(EXIT_SCANNER)
        if beat is None or beat.get("unarmed") or not all(map(world.lives, world.services)):
            return False
        return beat.get("armed_through") == self.seq and beat.get("armed") == len(self.positions())

    def _acknowledged(self, name: bytes, group: bytes, entry_id: Id) -> None:
        self.watch.acknowledged(name, group, entry_id)
        if name in _INTENTS and group == EXECUTOR.encode():
            intent_id = self._entries.get((name, entry_id))
            if intent_id is not None:
                self.taken.add(intent_id)


_INTENTS = frozenset({ORDER_INTENT.name.encode(), ORDER_INTENT_EXIT.name.encode()})
_BEATS = HEARTBEAT.name.encode()


def _prepared(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(template())
    return path


def _reader(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, isolation_level=None)
