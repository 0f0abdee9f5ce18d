"""What the last hunt has measured, kept beside the bugs so that the page can be written without hunting again."""

from collections.abc import Iterable
from pathlib import Path

import orjson

from proving.planted.hunt import Hunted

FILE = Path(__file__).with_name("measured.json")


def load() -> dict[str, Hunted]:
    """By the bug's name."""
    return {row["name"]: Hunted(**row) for row in orjson.loads(FILE.read_bytes())}


def keep(hunted: Iterable[Hunted]) -> None:
    """Write these, and leave others as they were."""
    rows = (load() if FILE.exists() else {}) | {one.name: one for one in hunted}
    body = orjson.dumps([rows[name].as_row() for name in sorted(rows)], option=orjson.OPT_INDENT_2)
    FILE.write_bytes(body + b"\n")
