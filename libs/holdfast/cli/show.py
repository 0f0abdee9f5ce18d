"""How listings look: one JSON array for programs, a plain table for people.

What came over the bus was written by others: cells are text, never markup, and control characters are shown as �.
"""

import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any

import orjson
import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

Json = Annotated[
    bool, typer.Option("--json", help="Only JSON on standard output, with the contracts' field names.")
]
_WIDE = 220
_SIGNED = {"realized_pnl", "unrealized_pnl"}
_COLOURS = {
    "long": "green", "buy": "green", "short": "red", "sell": "red", "unknown": "yellow", "canceling": "yellow",
    "halted": "red", "reduce_only": "yellow", "active": "green", "stop_loss": "red", "take_profit": "green",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table: its heading, and the field it shows (or what makes its text from a row)."""

    heading: str
    field: str
    text: Callable[[Any], str] | None = None
    right: bool = False


def console() -> Console:
    """Standard output: as wide as the terminal, and wide enough for whole ids when it is a file or a pipe."""
    return Console(width=None if sys.stdout.isatty() else _WIDE, highlight=False, soft_wrap=False)


def print_json(document: Any) -> None:
    """One JSON document on one line."""
    print(orjson.dumps(document).decode())


def print_rows(
    rows: Sequence[Mapping[str, Any]], columns: Iterable[Column], *, as_json: bool, empty: str
) -> None:
    """All of *rows* as one JSON array, or their *columns* as a table; *empty* says what to do when there are none."""
    if as_json:
        print_json(list(rows))
        return
    if not rows:
        print(empty)
        return
    console().print(table(rows, columns))


def table(rows: Sequence[Mapping[str, Any]], columns: Iterable[Column], title: str | None = None) -> Table:
    """A table without lines, so that what stands in it can be copied."""
    shown = Table(box=None, pad_edge=False, title=title, title_justify="left", header_style="bold")
    columns = list(columns)
    for column in columns:
        shown.add_column(column.heading, justify="right" if column.right else "left", overflow="fold")
    for row in rows:
        shown.add_row(*(_cell(row.get(column.field), column) for column in columns))
    return shown


def _cell(value: Any, column: Column) -> Text:
    if value is None:
        return Text("-", style="dim")
    text = plain(column.text(value) if column.text is not None else word(value))
    style = _COLOURS.get(text, "")
    if column.field in _SIGNED:
        style = "red" if text.startswith("-") else "green"
    return Text(text, style=style)


def word(value: Any) -> str:
    """A value as a person reads it."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(map(str, value))
    if isinstance(value, dict):
        return ", ".join(f"{key} {one}" for key, one in value.items()) or "-"
    return str(value)


def plain(text: str) -> str:
    """*text* without control characters: what others wrote may not steer this terminal."""
    return "".join(letter if letter.isprintable() else "�" for letter in text)


def clock_time(ms: Any) -> str:
    """A wall time, local: `07-14 09:26:53`."""
    return datetime.fromtimestamp(int(ms) / 1000).astimezone().strftime("%m-%d %H:%M:%S")


def duration(seconds: Any) -> str:
    """A time span that a person reads: `45 s`, `12 min`, `3.5 h`, `2.1 d`."""
    seconds = int(seconds)
    if seconds < 120:
        return f"{seconds} s"
    if seconds < 7_200:
        return f"{seconds // 60} min"
    return f"{seconds / 3_600:.1f} h" if seconds < 172_800 else f"{seconds / 86_400:.1f} d"


def short(value: Any) -> str:
    """An amount with at most 8 decimals, for tables; JSON has all of them."""
    text = str(value)
    whole, point, decimals = text.partition(".")
    return whole + point + decimals[:8] + ("…" if len(decimals) > 8 else "")
