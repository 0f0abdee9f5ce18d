"""A file of lines that cannot fill the disk: when it is full it becomes `<name>.1`, and a new one begins.

One writer. Each line is one JSON document. `tail` reads the newest lines, from both files.
"""

import os
from collections import deque
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import orjson

MODE = 0o600
CHUNK = 65_536


class BoundedLog:
    """Lines in *path*, at most about twice *max_bytes* on disk."""

    def __init__(self, path: Path, max_bytes: int = 4_000_000) -> None:
        self.path, self._max = path, max_bytes
        self._size: int | None = None

    def write(self, line: Mapping[str, Any]) -> None:
        """Append one line. Raises OSError when the disk does not take it."""
        data = orjson.dumps(dict(line), default=str) + b"\n"
        if self._size is None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._size = self.path.stat().st_size if self.path.exists() else 0
        if self._size and self._size + len(data) > self._max:
            self.path.replace(self.path.with_name(self.path.name + ".1"))
            self._size = 0
        with open(self.path, "ab", opener=_private) as file:
            file.write(data)
        self._size += len(data)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, MODE)


def tail(path: Path, count: int, words: str = "") -> list[dict[str, Any]]:
    """The newest *count* lines of the log at *path* that contain *words*, newest first; [] where there is no such log."""
    wanted = words.encode()
    found: deque[dict[str, Any]] = deque()
    for file in (path, path.with_name(path.name + ".1")):
        for line in _backwards(file):
            if wanted in line and (document := _document(line)) is not None:
                found.append(document)
                if len(found) == count:
                    return list(found)
    return list(found)


def _document(line: bytes) -> dict[str, Any] | None:
    """A line as written; None for half a line that a crash left."""
    try:
        document = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
    return document if isinstance(document, dict) else None


def _backwards(path: Path) -> Iterator[bytes]:
    """Lines of *path*, the last first, without reading all of it."""
    try:
        file = path.open("rb")
    except FileNotFoundError:
        return
    with file:
        place, rest = file.seek(0, 2), b""
        while place > 0:
            step = min(CHUNK, place)
            place = file.seek(place - step)
            rest = file.read(step) + rest
            file.seek(place)
            first, *lines = rest.split(b"\n")
            yield from (line for line in reversed(lines) if line)
            rest = first
        if rest:
            yield rest
