"""Watches the seams from outside: what is sent and when, what is acknowledged before it is committed, what nobody ever takes up.

The auditor reads what was recorded; here is what leaves no record. An order goes to the venue once and before its `send_by`; the same
intent is always proposed under the same order id; the ledger acknowledges only what it has committed or kept as a dead letter; at
rest, every entry of a work stream that is still there has been taken up by its group.
"""

import sqlite3
from collections.abc import Callable, Sequence
from typing import Any

import orjson

from holdfast.contracts.rows import OrderRow
from holdfast.contracts.streams import (
    CONTROL,
    DEAD_LETTER,
    EXECUTOR,
    EXIT_ADJUST,
    FILL,
    LEDGER,
    ORDER_INTENT,
    ORDER_INTENT_EXIT,
    ORDER_RESERVE,
    ORDER_STATUS,
    STREAMS,
    Reading,
)
from proving.sim.groups import GroupServer
from proving.sim.loop import PROCESS
from proving.sim.process import START_MS, Process
from proving.sim.server import Fields, Id, shown

_WORK = {stream.name.encode(): stream.groups for stream in STREAMS if stream.reading is Reading.WORK}
_RESERVE, _FILL, _DEAD = (stream.name.encode() for stream in (ORDER_RESERVE, FILL, DEAD_LETTER))
_INBOX = frozenset(stream.name.encode() for stream in (ORDER_STATUS, CONTROL, EXIT_ADJUST))
_OURS = frozenset({_FILL, *_INBOX})
"""Streams whose messages can all be applied, but for an id that was used before with other content."""
STALE = "position_version:"
OF_ONE_ORDER = frozenset({"cancel", "look"})
"""Questions that are over when their order has ended by itself; until then its book takes no entry, which the ledger shows."""
_LEDGER = LEDGER.encode()
_EXECUTOR = EXECUTOR.encode()
_INTENTS = frozenset(stream.name.encode() for stream in (ORDER_INTENT, ORDER_INTENT_EXIT))
_ANSWERED = "SELECT 1 FROM intents WHERE intent_id = ?"
_APPLIED = (
    "SELECT 1 FROM fills WHERE trade_id = ? AND order_id = ? AND account = ? AND exchange = ? AND symbol = ?"
)


class Watch:
    """See the module. *report* takes the number of an invariant and a sentence."""

    def __init__(
        self, ledger: sqlite3.Connection, server: GroupServer, report: Callable[[str, str], None]
    ) -> None:
        self._ledger, self._server, self._report = ledger, server, report
        self._sent: set[str] = set()
        self._proposed: dict[tuple[str, str], str] = {}
        self._bodies: dict[tuple[bytes, Id], bytes] = {}
        self._dead: set[tuple[str, str]] = set()
        self._first: dict[tuple[bytes, str], bytes] = {}
        self._acked: set[tuple[bytes, bytes, Id]] = set()
        self._unreadable: dict[tuple[int, str], dict[str, tuple[int, int]]] = {}
        """(process, account) -> kind of read that has failed since it last succeeded -> (its wall time then, its skew then)."""

    # -- the venue ----------------------------------------------------------------------------------------------------

    def sending(self, rows: Sequence[OrderRow], now_ms: int) -> None:
        """Orders are about to go on the wire."""
        for row in rows:
            if row.order_id in self._sent:
                self._report("INV-4", f"{row.book_id} order {row.order_id} is sent a second time")
            self._sent.add(row.order_id)
            if now_ms > row.send_by:
                late = now_ms - row.send_by
                self._report(
                    "INV-7", f"{row.book_id} order {row.order_id} is sent {late} ms after its send_by"
                )

    def was_read(self, process: Process, account: str, operation: str, *, failed: bool) -> None:
        """A read of the venue has ended."""
        failing = self._unreadable.setdefault((process.number, account), {})
        kind = operation.partition("_")[0]  # trades_of, trades_since, trades_after are one kind
        if kind in OF_ONE_ORDER:
            return
        if failed:
            wall_ms = START_MS + int(process.loop.time() * 1000) + process.skew_ms
            failing.setdefault(kind, (wall_ms, process.skew_ms))
        else:
            failing.pop(kind, None)

    def _judge_entry(self, reserve: dict[str, Any]) -> None:
        """INV-7: no entry is proposed while the venue of its account cannot be read."""
        process = PROCESS.get()
        if not isinstance(process, Process):
            return
        failing = self._unreadable.get((process.number, reserve["account"]), {})
        for kind, (since_ms, skew_ms) in failing.items():
            if reserve["at"] > since_ms and skew_ms == process.skew_ms:
                late = reserve["at"] - since_ms
                self._report(
                    "INV-7",
                    f"{reserve['account']}: entry {reserve['intent_id']} was proposed {late} ms after {kind} had failed",
                )

    # -- the bus ------------------------------------------------------------------------------------------------------

    def hear(self, name: bytes, entry_id: Id, fields: Fields) -> None:
        """An entry was appended."""
        if name in _WORK:
            self._bodies[name, entry_id] = fields.get(b"body", b"")
        if name in _OURS:
            self._first.setdefault((name, orjson.loads(fields[b"body"])["id"]), fields[b"body"])
        if name == _RESERVE:
            reserve = orjson.loads(fields[b"body"])
            order = reserve.get("order")
            if order and order["role"] == "entry":
                self._judge_entry(reserve)
            # A close without a side means the leg that is open: seen again later, that may be the other one.
            key = (reserve["intent_id"], reserve.get("leg", "net"))
            known = self._proposed.setdefault(key, order["order_id"]) if order else None
            if order and known != order["order_id"]:
                text = (
                    f"intent {reserve['intent_id']} was proposed as order {known}, now as {order['order_id']}"
                )
                self._report("INV-4", text)
        elif name == _DEAD:
            letter = orjson.loads(fields[b"body"])
            self._dead.add((letter["stream"], letter["entry_id"]))
            is_stale = STALE in letter["error"]  # a person's wish for a position that has changed since
            if not is_stale and self._could_be_used(letter["stream"].encode(), letter["payload"].encode()):
                text = f"{letter['stream']} {letter['entry_id']} is a dead letter: {letter['error']}"
                self._report("INV-4", text)

    def _could_be_used(self, name: bytes, body: bytes) -> bool:
        """Whether this is the first message of its id. (An entry without content was trimmed away before it was read.)"""
        return name in _OURS and bool(body) and self._first.get((name, orjson.loads(body)["id"])) == body

    def acknowledged(self, name: bytes, group: bytes, entry_id: Id) -> None:
        """A group is done with an entry."""
        self._acked.add((name, group, entry_id))
        body = self._bodies.get((name, entry_id))
        if name in _INTENTS and group == _EXECUTOR and body:
            self._judge_answer(name, body, entry_id)
        if group != _LEDGER or not body or (name.decode(), shown(entry_id).decode()) in self._dead:
            return
        if not self._is_committed(name, orjson.loads(body)):
            self._report(
                "INV-8", f"{name.decode()} {shown(entry_id).decode()} is acknowledged, and not committed"
            )

    def _judge_answer(self, name: bytes, body: bytes, entry_id: Id) -> None:
        """INV-4: an intent is finished with when the ledger has answered it."""
        intent_id = intent_id_of(body)
        if intent_id is None or self._ledger.execute(_ANSWERED, (intent_id,)).fetchone():
            return
        self._report(
            "INV-4",
            f"intent {intent_id} ({name.decode()} {shown(entry_id).decode()}) is acknowledged, and not answered",
        )

    def _is_committed(self, name: bytes, document: dict[str, Any]) -> bool:
        ask = self._ledger.execute
        if name == _FILL:
            key = (
                document["trade_id"],
                document.get("order_id", ""),
                document["account"],
                document["exchange"],
                document["symbol"],
            )
            return ask(_APPLIED, key).fetchone() is not None
        if name == _RESERVE:
            if ask(_ANSWERED, (document["intent_id"],)).fetchone() or self._has_place(document):
                return True
            epoch = ask("SELECT epoch FROM executors WHERE account = ?", (document["account"],)).fetchone()
            return epoch is not None and int(epoch[0]) > int(
                document["epoch"]
            )  # of an executor that was replaced
        if name in _INBOX:
            return ask("SELECT 1 FROM inbox WHERE message_id = ?", (document["id"],)).fetchone() is not None
        return True

    def _has_place(self, reserve: dict[str, Any]) -> bool:
        """Whether the entry that it replaces is kept for it: then it is proposed again when that has ended."""
        replaces = (reserve.get("order") or {}).get("replaces")
        if replaces is None:
            return False
        rows = self._ledger.execute("SELECT body FROM orders WHERE intent_id = ?", (replaces,))
        return any(orjson.loads(body).get("replaced_by") == reserve["intent_id"] for (body,) in rows)

    def leftovers(self) -> list[tuple[str, str]]:
        """At rest: entries of work streams that no consumer of their group has taken up, or finished with."""
        found = []
        for name, groups in _WORK.items():
            stream = self._server.keys.get(name)
            if stream is None:
                continue
            for group in groups:
                left = [entry for entry in stream.ids if (name, group.encode(), entry) not in self._acked]
                if left:
                    text = f"{len(left)} entries of {name.decode()} were never taken up by {group}, like {shown(left[0]).decode()}"
                    found.append(("INV-4", text))
        return found


def intent_id_of(body: bytes) -> str | None:
    """The id that an intent's sender gave it; None where that cannot be told."""
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    found = document.get("id") if isinstance(document, dict) else None
    return found if isinstance(found, str) else None
