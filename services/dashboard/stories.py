"""The timeline of one position, from the intent to the exit, with the raw entries behind each step.

Nothing is kept for it: the bus is asked when somebody wants to see. First the ledger's own updates tell which orders and
intents belong to it, then every stream is looked through for entries that name one of them. What the bus has trimmed away is
missing, and the page says how far back the bus goes.
"""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import orjson

from holdfast.bus.client import Client
from holdfast.bus.many import time_of
from holdfast.contracts.base import Message
from holdfast.contracts.exit_messages import ExitAdjust
from holdfast.contracts.messages import (
    Fill,
    IntentResult,
    LedgerUpdated,
    OrderBlocked,
    OrderIntent,
    OrderReserve,
    OrderStatus,
    Trade,
)
from holdfast.contracts.money import canonical
from holdfast.contracts.streams import (
    EXIT_ADJUST,
    FILL,
    INTENT_RESULT,
    LEDGER_TRADE,
    LEDGER_UPDATED,
    ORDER_BLOCKED,
    ORDER_INTENT,
    ORDER_INTENT_EXIT,
    ORDER_RESERVE,
    ORDER_STATUS,
)
from holdfast.contracts.wire import Entry, describe

LOOKED_THROUGH = 20_000
"""Most entries of each stream that are looked through."""
MOST_STEPS = 300
MOST_NAMES = 200
SOURCES = (
    ORDER_INTENT, ORDER_INTENT_EXIT, ORDER_RESERVE, INTENT_RESULT, ORDER_BLOCKED, ORDER_STATUS, FILL, EXIT_ADJUST, LEDGER_UPDATED, LEDGER_TRADE,
)  # fmt: skip
"""In the order in which one thing leads to the next, for steps of the same millisecond."""


@dataclass(frozen=True, slots=True)
class Step:
    at_ms: int
    stream: str
    entry_id: str
    title: str
    raw: str


class Teller:
    """Tells one story at a time: looking through streams is work for the bus."""

    def __init__(self, client: Client) -> None:
        self._client, self._one = client, asyncio.Semaphore(1)

    async def story(self, key: str, names: Iterable[str]) -> list[Step]:
        """Steps of the position *key*, oldest first; *names* are further ids that are known to belong to it."""
        async with self._one:
            wanted = dict.fromkeys([key, *(name for name in names if name)])
            updates = await self._client.containing(LEDGER_UPDATED, list(wanted), LOOKED_THROUGH)
            for entry in updates:
                if isinstance(entry.message, LedgerUpdated):
                    wanted |= dict.fromkeys(_names(entry.message, key))
            words = list(wanted)[:MOST_NAMES]
            found = [entry for entry in updates if entry.message is not None]
            for stream in SOURCES:
                if stream is not LEDGER_UPDATED:
                    found += await self._client.containing(stream, words, LOOKED_THROUGH)
        order = {stream.name: index for index, stream in enumerate(SOURCES)}
        found.sort(key=lambda entry: (time_of(entry), order[entry.stream.name], entry.entry_id))
        return [_step(entry) for entry in found[-MOST_STEPS:]]


def _names(update: LedgerUpdated, position_id: str) -> list[str]:
    """Ids of the orders and intents with which *update* concerns the position."""
    names = [
        name
        for row in update.positions
        if row.position_id == position_id
        for name in (row.intent_id, row.correlation_id)
    ]
    for order in update.orders:
        names += [order.order_id, order.intent_id]
    return [name for name in names if name]


def _step(entry: Entry) -> Step:
    raw = orjson.dumps(describe(entry), option=orjson.OPT_INDENT_2).decode()
    return Step(time_of(entry), entry.stream.name, entry.entry_id, title(entry.message), raw)


def title(message: Message | None) -> str:
    """One line about a message."""
    for kind, words in _TITLES.items():
        if isinstance(message, kind):
            return str(words(message))
    return "an entry that cannot be read"


def _intent(wish: OrderIntent) -> str:
    what = wish.side.value if wish.side is not None else wish.action.value
    amount = f" {canonical(wish.quantity)}" if wish.quantity is not None else ""
    why = f" because of {wish.reason.value}" if wish.reason is not None else ""
    at = f" at {canonical(wish.trigger_price)}" if wish.trigger_price is not None else ""
    return f"wish: {what}{amount} {wish.symbol or wish.order_id}{why}{at}"


def _reserve(message: OrderReserve) -> str:
    if message.refusal is not None:
        return f"executor refuses: {message.refusal.code.value}: {message.refusal.reason}"
    return (
        "executor asks to cancel"
        if message.cancel is not None
        else "executor checked it, and asks the ledger to reserve the order"
    )


def _result(message: IntentResult) -> str:
    code = f" {message.code.value}" if message.code is not None else ""
    return f"answer: {message.status.value}{code}" + (f": {message.reason}" if message.reason else "")


def _status(message: OrderStatus) -> str:
    return f"exchange: order {message.status.value}" + (f": {message.reason}" if message.reason else "")


def _fill(message: Fill) -> str:
    return f"{message.kind.value}: {message.side.value} {canonical(message.quantity)} at {canonical(message.price)}"


def _adjust(message: ExitAdjust) -> str:
    new = [
        f"{name.replace('_', '-')} {level}"
        for name, level in (("stop_loss", message.stop_loss), ("take_profit", message.take_profit))
        if level
    ]
    return f"new exits asked for by {message.by}: {', '.join(new) or 'longest hold'}"


def _update(message: LedgerUpdated) -> str:
    parts = [f"order {row.role.value} {row.state.value}" for row in message.orders]
    parts += [
        f"position {row.side.value} {canonical(row.quantity)}, stop {canonical(row.stop_loss)}, target {canonical(row.take_profit) if row.take_profit else 'off'}"
        if row.is_open
        else "position closed"
        for row in message.positions
    ]
    why = f" ({message.why})" if message.why else ""
    return f"ledger records {message.seq}: {message.kind.value}{why}" + (
        f": {'; '.join(parts[:4])}" if parts else ""
    )


def _trade(message: Trade) -> str:
    return f"closed for {message.exit_reason.value}: {canonical(message.realized_pnl)} {message.settle}"


_TITLES: dict[type[Message], Any] = {
    OrderIntent: _intent, OrderReserve: _reserve, IntentResult: _result, OrderStatus: _status, Fill: _fill, ExitAdjust: _adjust,
    LedgerUpdated: _update, Trade: _trade, OrderBlocked: lambda message: f"blocked {message.code.value}: {message.reason}",
}  # fmt: skip
