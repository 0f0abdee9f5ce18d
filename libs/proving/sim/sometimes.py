"""Rare situations that must have been reached: proof that the simulator goes where it hurts, and not only around it.

They are recognised from outside: from what is appended to the bus, from what the seams did, from how processes end.
"""

from collections import Counter
from typing import Any

import orjson

from holdfast.contracts.streams import DEAD_LETTER, LEDGER_UPDATED, MARKET_TICK
from proving.sim.server import Fields, Id

SOMETIMES: dict[str, str] = {
    "killed between accept and commit": "an executor died after the venue had accepted its order and before anybody was told",
    "killed at commit": "the ledger died right before or after COMMIT",
    "answer to a send lost": "the venue accepted, and its answer did not arrive",
    "unknown resolved as filled": "an order without a clear answer turned out to be filled",
    "unknown resolved as absent": "an order without a clear answer was proven never to have arrived",
    "abandoned": "an order that an executor before this one had asked for was proven never sent",
    "ambiguous commit": "a COMMIT landed and said that it had failed",
    "rewound behind the ledger": "the bus came back without updates that the ledger had published",
    "wiped while holding": "the bus came back empty while positions were open",
    "trimmed past a group": "work was lost from a stream before its group had finished with it",
    "a second ledger refused": "by the lock of the first",
    "a second executor waited": "for the lock of the first",
    "a stand-by executor took over": "when the one that it had waited for was killed",
    "zombie ledger fenced": "a ledger woke beside its successor, and could not write",
    "zombie executor fenced": "an executor woke beside its successor, and could not trade",
    "fill after its end": "a fill came after the end of its order had been told, or recorded",
    "partial fill": "an order filled in parts",
    "stop-loss fired": "",
    "take-profit fired": "",
    "hold time over": "",
    "gap through a stop": "a stop filled more than 2 % beyond its level",
    "harder exit displaced a softer": "",
    "opposite side refused": "",
    "entry expired": "",
    "intent id with other content refused": "",
    "malformed intent answered": "",
    "entries refused for a full bus": "",
    "book unknown refused": "an entry was refused because an order of its book had no clear answer",
    "entry replaced": "an entry took the place of another, which was canceled and proven ended first",
    "held back by a portfolio rule": "an entry was refused for a cooldown, a row of losses, a day's loss or a drawdown",
    "dead letter": "an entry could not be used, and was kept",
    "reconciled": "a fill reached the ledger though it was never told, or told and lost",
    "in hand at a crash": "a service died with work in hand, and its successor took it up",
    "late price told": "no price for half a minute",
}

_UPDATED, _DEAD, _TICK = LEDGER_UPDATED.name.encode(), DEAD_LETTER.name.encode(), MARKET_TICK.name.encode()
_ENDED = frozenset({"filled", "canceled", "rejected", "expired", "abandoned"})
_CODES = {
    "opposed": "opposite side refused",
    "expired": "entry expired",
    "intent_id_reused": "intent id with other content refused",
    "malformed": "malformed intent answered",
    "bus_full": "entries refused for a full bus",
    "book_unknown": "book unknown refused",
    **dict.fromkeys(
        ("cooldown", "loss_streak", "daily_loss", "max_drawdown"), "held back by a portfolio rule"
    ),
    "displaced": "harder exit displaced a softer",
}
_REUSED = b"was used before with other content"
_REASONS = {"stop_loss": "stop-loss fired", "take_profit": "take-profit fired", "ttl": "hold time over"}


class Sometimes:
    """Counts what was seen, by name."""

    def __init__(self) -> None:
        self.seen: Counter[str] = Counter()
        self._states: dict[str, str] = {}
        self._unknown: set[str] = set()
        self._claimed: set[str] = set()
        """Orders whose end has been told, with more filled than the ledger had seen."""
        self.told: set[tuple[str, str]] = set()
        """(account, trade id) of every fill that the venue has told by itself."""
        self._last_tick_ms = 0
        self.trades = 0
        self._stops: dict[str, float] = {}

    def note(self, name: str) -> None:
        """*name* of SOMETIMES has happened."""
        if name not in SOMETIMES:
            raise KeyError(name)
        self.seen[name] += 1

    def hear(self, name: bytes, entry_id: Id, fields: Fields) -> None:
        """An entry was appended to the bus."""
        if name == _UPDATED:
            self._update(orjson.loads(fields[b"body"]))
        elif name == _DEAD:
            self.note("dead letter")
            if _REUSED in fields[b"body"]:
                self.note("intent id with other content refused")
        elif name == _TICK:
            if self._last_tick_ms and entry_id[0] - self._last_tick_ms > 30_000:
                self.note("late price told")
            self._last_tick_ms = entry_id[0]

    def _update(self, update: dict[str, Any]) -> None:
        for fill in update.get("fills", ()):
            if fill["order_id"] in self._claimed or self._states.get(fill["order_id"]) in _ENDED:
                self.note("fill after its end")
            if (fill["account"], fill["trade_id"]) not in self.told:
                self.note("reconciled")
        for order in update.get("orders", ()):
            self._order(order)
        for intent in update.get("intents", ()):
            if intent.get("code") in _CODES:
                self.note(_CODES[intent["code"]])
        for position in update.get("positions", ()):
            self._stops[position["position_id"]] = float(position["stop_loss"])
        for trade in update.get("trades", ()):
            self._trade(trade)

    def _order(self, order: dict[str, Any]) -> None:
        order_id, state = order["order_id"], order.get("state", "reserved")
        if order.get("claimed"):
            self._claimed.add(order_id)
        before = self._states.get(order_id)
        if before is None and order.get("replaces"):
            self.note("entry replaced")
        self._states[order_id] = state
        if state == before:
            return
        if order.get("code") in _CODES:
            self.note(_CODES[order["code"]])
        if state == "unknown":
            self._unknown.add(order_id)
        if state == "partial":
            self.note("partial fill")
        if state == "abandoned":
            self.note("unknown resolved as absent" if order_id in self._unknown else "abandoned")
        if state == "filled" and order_id in self._unknown:
            self.note("unknown resolved as filled")

    def _trade(self, trade: dict[str, Any]) -> None:
        self.trades += 1
        reason = trade.get("exit_reason")
        if reason in _REASONS:
            self.note(_REASONS[reason])
        stop = self._stops.pop(trade["position_id"], None)
        average = trade.get("exit_price")
        if reason == "stop_loss" and stop and average and abs(float(average) / stop - 1) > 0.02:
            self.note("gap through a stop")
