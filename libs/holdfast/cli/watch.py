"""`tail`: every stream as one, one line per entry, in order of time; it never loses an entry and survives a bus restart."""

import asyncio
import difflib
import re
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import orjson
import typer

from holdfast.cli.asking import on_bus
from holdfast.cli.common import Config, Dir, fail, settings_of
from holdfast.cli.show import Json, console, plain

if TYPE_CHECKING:
    from rich.text import Text

    from holdfast.bus.client import Client
    from holdfast.contracts.streams import Stream
    from holdfast.contracts.wire import Entry

USAGE = 2
_UNITS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_SPAN = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_COLOURS = {
    "order.intent": "cyan", "order.intent.exit": "bright_cyan", "order.reserve": "blue", "order.blocked_by_invariant": "bold red",
    "intent.result": "bright_blue", "order.status": "blue", "fill": "bold green", "ledger.updated": "magenta", "ledger.trade": "bold yellow",
    "ledger.snapshot": "dim", "snapshot.request": "dim", "control": "bold red", "dead.letter": "bold red", "market.tick": "dim", "heartbeat": "dim",
}  # fmt: skip
_LEFT_OUT = frozenset(
    {"id", "at", "cause_id", "correlation_id", "store_id", "epoch", "incarnation", "account", "exchange"}
)
"""Fields that say little to a person who reads along; --json has them."""
_FIRST = ("symbol", "action", "side", "quantity", "price", "status", "state", "kind", "code", "reason")


def register(app: typer.Typer) -> None:
    app.command("tail")(tail)


def tail(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="[STREAM]...", help="Streams, or beginnings like `order`. Default: all but ticks and heartbeats."),
    ] = None,
    since: Annotated[str | None, typer.Option(help="10m, 2h, 45s; an ISO time; or ms since 1970.", show_default=False)] = None,
    grep: Annotated[str | None, typer.Option(help="Only entries that contain this text (any case).", show_default=False)] = None,
    follow: Annotated[bool, typer.Option("--follow/--no-follow", help="Wait for more, or end with what is there.")] = True,
    directory: Dir = None,
    config: Config = None,
    as_json: Json = False,
) -> None:  # fmt: skip
    """Show what happens on the streams as it happens. With --json one object per line: stream, entry_id, body."""
    streams = _chosen(names or [], settings_of(directory, config).streams())
    start = None if since is None else _moment(since)
    if not follow and start is None:
        start = 0

    async def work(client: "Client") -> None:
        await _show(client, streams, start, (grep or "").casefold(), follow=follow, as_json=as_json)

    on_bus(directory, config, work)


def _chosen(names: list[str], every: "Sequence[Stream]") -> "list[Stream]":
    """The streams meant, of *every* one there is. Ends the command with code 2 where a name means none."""
    from holdfast.contracts.streams import HEARTBEAT, MARKET_TICK

    if not names:
        return [stream for stream in every if stream not in (MARKET_TICK, HEARTBEAT)]
    chosen: dict[str, Stream] = {}
    for name in names:
        found = [stream for stream in every if stream.name == name] or [
            stream for stream in every if stream.name.startswith(name)
        ]
        if not found:
            known = [stream.name for stream in every]
            near = difflib.get_close_matches(name, known, 1)
            hint = f"; did you mean {near[0]}?" if near else f"; there are {', '.join(known)}"
            fail(f"no stream {plain(name)}{hint}", USAGE)
        chosen.update((stream.name, stream) for stream in found)
    return list(chosen.values())


def _moment(since: str) -> int:
    """Wall time in ms. Ends the command with code 2 where *since* means none."""
    now = datetime.now(UTC).timestamp()
    if (span := _SPAN.fullmatch(since)) is not None:
        return max(0, int(now * 1000 - float(span[1]) * _UNITS[span[2]]))
    if since.isdecimal():
        return int(since)
    try:
        return int(datetime.fromisoformat(since).timestamp() * 1000)
    except ValueError:
        fail(f"--since {plain(since)}: 10m, 2h, an ISO time like 2026-01-31T12:00, or ms since 1970", USAGE)


async def _show(
    client: "Client", streams: "list[Stream]", start: int | None, grep: str, *, follow: bool, as_json: bool
) -> None:
    from holdfast.bus.many import ManyReader

    out = console()
    reader = ManyReader(client.redis, streams, clock=client.clock, prefix=client.prefix)
    await reader.start(start)
    while True:
        entries = await reader.read(block=follow)
        for entry in entries:
            if grep and grep not in f"{entry.stream.name} {entry.body.decode('utf-8', 'replace')}".casefold():
                continue
            if as_json:
                print(as_line(entry))
            else:
                out.print(pretty(entry), soft_wrap=True)
        sys.stdout.flush()
        if not follow and not entries:
            return
        await asyncio.sleep(0)


def as_line(entry: "Entry") -> str:
    """One JSON object: stream, entry_id, body."""
    from holdfast.contracts.wire import describe

    return orjson.dumps(
        {"stream": entry.stream.name, "entry_id": entry.entry_id, "body": describe(entry)}
    ).decode()


def pretty(entry: "Entry") -> "Text":
    """Local time, stream, then the fields a person reads first."""
    from rich.text import Text

    from holdfast.bus.many import time_of
    from holdfast.contracts.wire import describe

    at = datetime.fromtimestamp(time_of(entry) / 1000).astimezone().strftime("%H:%M:%S.%f")[:-3]
    line = Text(f"{at} ", style="dim")
    line.append(f"{entry.stream.name:26} ", style=_COLOURS.get(entry.stream.name, ""))
    line.append(plain(" ".join(_words(describe(entry)))))
    if entry.error is not None:
        line.append(f"  ✗ {plain(str(entry.error))}", style="bold red")
    return line


def _words(body: dict[str, Any]) -> list[str]:
    order = [name for name in _FIRST if name in body] + [name for name in body if name not in _FIRST]
    return [word for name in order if name not in _LEFT_OUT and (word := _word(name, body[name]))]


def _word(name: str, value: Any) -> str:
    """`name=value`; of lists and tables only how many rows they have; nothing for what is empty."""
    if value in (None, "", [], {}, False):
        return ""
    if isinstance(value, list):
        return f"{name}[{len(value)}]"
    if isinstance(value, dict):
        return f"{name}{{{len(value)}}}"
    if name in ("symbol", "side", "quantity", "action"):
        return str(value)
    return f"{name}={value}"
