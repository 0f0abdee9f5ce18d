"""`trace ID`: everything the bus still holds about one intent, order, position or trade, on all streams, in order of time.

One id leads to others: an intent to its order, the order to its position, the position to its exits. So the search is repeated
with every id that the entries found so far name, until nothing new comes. What is shared by many (accounts, symbols) is no id.
"""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from holdfast.cli.asking import on_bus
from holdfast.cli.common import Config, Dir, fail
from holdfast.cli.show import Json, console, plain

if TYPE_CHECKING:
    from holdfast.bus.client import Client
    from holdfast.contracts.wire import Entry

_NAMES = frozenset({"intent_id", "order_id", "position_id", "correlation_id", "quarantine_id"})
_ROUNDS = 4
_MOST_IDS = 50
_TOO_SHORT = 6
"""A shorter text is in too many entries to be an id."""


def register(app: typer.Typer) -> None:
    app.command("trace")(trace)


def trace(
    key: Annotated[str, typer.Argument(metavar="ID", help="An intent, order, position, trade or message id.")],
    most: Annotated[int, typer.Option(min=100, help="Newest entries of each stream that are looked through.")] = 20_000,
    directory: Dir = None,
    config: Config = None,
    as_json: Json = False,
) -> None:  # fmt: skip
    """From wish to exit: every entry about ID, with what it led to. With --json one object per line, as `tail` prints them."""
    from holdfast.cli.watch import as_line, pretty

    if len(key) < _TOO_SHORT:
        fail(
            f"{plain(key)} is too short for an id; copy one from `holdfast positions`, `orders` or `trades`",
            2,
        )

    async def work(client: "Client") -> "list[Entry]":
        return await gather(client, key, most)

    entries = on_bus(directory, config, work)
    if not entries:
        fail(f"nothing on the bus names {plain(key)}; the bus keeps only the newest entries of each stream")
    out = console()
    for entry in entries:
        if as_json:
            print(as_line(entry))
        else:
            out.print(pretty(entry), soft_wrap=True)


async def gather(client: "Client", key: str, most: int) -> "list[Entry]":
    """Every entry that names *key*, or an id that such an entry names; oldest first."""
    from holdfast.bus.many import time_of
    from holdfast.contracts.streams import HEARTBEAT, LEDGER_SNAPSHOT, MARKET_TICK, STREAMS

    quiet = (HEARTBEAT, MARKET_TICK, LEDGER_SNAPSHOT)
    found: dict[tuple[str, str], Entry] = {}
    known, fresh = {key}, [key]
    for _ in range(_ROUNDS):
        named: set[str] = set()
        for stream in STREAMS:
            if stream in quiet:
                continue
            for entry in await client.containing(stream, fresh, most):
                found[stream.name, entry.entry_id] = entry
                named |= _ids_of(entry, known)
        fresh = sorted(named - known)[:_MOST_IDS]
        if not fresh:
            break
        known.update(fresh)
    return sorted(found.values(), key=lambda entry: (time_of(entry), entry.stream.name, entry.entry_id))


def _ids_of(entry: "Entry", known: set[str]) -> set[str]:
    """Ids named beside one that is known: an update may carry rows of other positions, which lead elsewhere."""
    from holdfast.contracts.wire import describe

    ids: set[str] = set()
    _collect(describe(entry), known, ids)
    return ids


def _collect(value: Any, known: set[str], into: set[str]) -> None:
    if isinstance(value, dict):
        if any(isinstance(text, str) and text in known for text in value.values()):
            into.update(
                text for name, text in value.items() if name in _NAMES and isinstance(text, str) and text
            )
        for part in value.values():
            _collect(part, known, into)
    elif isinstance(value, list):
        for part in value:
            _collect(part, known, into)
