"""`holdfast replay --journal`: a recorded ledger, folded once more through a fresh book and compared, update by update.

The journal says of each update which fills it took in and what positions and trades they made. Here the fills alone go
through the position arithmetic again (`store.refold`), from the first update on, and whatever comes out differently is a
difference. There are none, unless the arithmetic has changed since or the record was tampered with.

| given | is read |
|---|---|
| a folder | the store under it (`--dir` of the installation) |
| FILE.db | a store, or a copy of one (`holdfast ledger backup`) |
| redis://HOST:PORT | the stream `ledger.updated` there |
| any other file | JSON lines: `holdfast ledger export-journal FILE`, `holdfast tail ledger.updated --json`, or updates as they travel |
"""

import asyncio
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
from pydantic import ValidationError

from holdfast.contracts.messages import Fill
from holdfast.contracts.streams import LEDGER_UPDATED
from holdfast.runtime.configuration import load
from holdfast.store.batch import GENESIS, chain
from holdfast.store.opening import sqlite_path
from holdfast.store.reading import SqliteReader, StoreMissing
from holdfast.store.refold import Refold

MOST_SHOWN = 20
_BUS = ("redis://", "rediss://", "unix://")


class BadJournal(ValueError):  # noqa: N818 - it reads as what it is
    """A journal that cannot be read; the text says where."""


@dataclass(frozen=True, slots=True)
class _Line:
    """One update as recorded, with its hash where one stands beside it."""

    place: str
    body: bytes
    hash: str | None = None


@dataclass(slots=True)
class Comparison:
    """What was folded, and what came out differently."""

    updates: int = 0
    fills: int = 0
    positions_open: int = 0
    trades: int = 0
    differences: list[str] = field(default_factory=list)

    def as_row(self) -> dict[str, Any]:
        """Ready for JSON."""
        return {
            "updates": self.updates, "fills": self.fills, "trades": self.trades, "positions_open": self.positions_open,
            "differences": len(self.differences), "first_differences": self.differences[:MOST_SHOWN],
        }  # fmt: skip

    def lines(self) -> list[str]:
        """For a person."""
        head = f"{self.updates} updates, {self.fills} fills, {self.trades} trades, {self.positions_open} positions open: {len(self.differences)} differences"
        return [head, *(f"  {text}" for text in self.differences[:MOST_SHOWN])]


def compare(where: str) -> Comparison:
    """Fold the journal *where* anew. Raises BadJournal when it cannot be read, or does not begin with the first update."""
    found, refold, before, hashed = Comparison(), Refold(), 0, GENESIS
    promised: int | None = None
    for line in _lines(where):
        head = _head(line)
        if head is not None:
            promised = head
            continue
        update, fills = _update(line)
        seq = update["seq"]
        if seq != before + 1:
            raise BadJournal(
                f"{line.place}: update {seq} follows {before}; a journal is whole from its first update on"
            )
        hashed = chain(hashed, line.body)
        if line.hash is not None and line.hash != hashed:
            found.differences.append(f"update {seq}: its hash is {line.hash}, its body makes {hashed}")
            hashed = line.hash
        found.differences += [f"{check}: {problem}" for check, problem in refold.take(update, fills)]
        before = seq
    if promised is not None and promised != before:
        found.differences.append(f"its head promises updates up to {promised}, the last one is {before}")
    found.differences += [f"sums: {problem}" for problem in refold.sums()]
    found.updates, found.fills, found.trades = before, refold.fills, refold.trades
    found.positions_open = len(refold.open)
    return found


def _head(line: _Line) -> int | None:
    """Sequence of the last update, in a line that says what an exported file is; None for any other line."""
    if not line.body.startswith(b'{"holdfast":"journal"'):
        return None
    try:
        return int(orjson.loads(line.body)["seq"])
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError) as error:
        raise BadJournal(f"{line.place}: the head of a journal that says nothing: {error!r}") from None


def _update(line: _Line) -> tuple[dict[str, Any], list[Fill]]:
    try:
        update = orjson.loads(line.body)
        update["seq"], update["kind"]
        return update, [Fill.model_validate(row) for row in update.get("fills", ())]
    except (orjson.JSONDecodeError, KeyError, TypeError) as error:
        raise BadJournal(f"{line.place}: no update of a ledger: {error!r}") from None
    except ValidationError as error:
        raise BadJournal(f"{line.place}: a fill in it cannot be read: {error.errors()[0]['msg']}") from None


def _lines(where: str) -> Iterator[_Line]:
    if where.startswith(_BUS):
        return iter(asyncio.run(_of_bus(where)))
    path = Path(where)
    if path.is_dir():
        return _of_store(sqlite_path(path))
    if path.suffix == ".db":
        return _of_store(path)
    return _of_file(path)


def _of_store(path: Path) -> Iterator[_Line]:
    try:
        with SqliteReader(path) as store:
            for seq, hashed, body in store.rows("SELECT seq, hash, body FROM updates ORDER BY seq"):
                yield _Line(f"{path}, update {seq}", body.encode(), hashed)
    except StoreMissing as error:
        raise BadJournal(str(error)) from None


def _of_file(path: Path) -> Iterator[_Line]:
    try:
        with path.open("rb") as file:
            for number, text in enumerate(file, 1):
                if text.strip():
                    yield _recorded(f"{path}, line {number}", text.strip())
    except OSError as error:
        raise BadJournal(f"{path}: cannot be read: {error.strerror}") from None


def _recorded(place: str, text: bytes) -> _Line:
    """A line of a file: an update, or what carries one as its `body`."""
    try:
        document = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise BadJournal(f"{place}: not JSON: {error}") from None
    if not isinstance(document, dict):
        raise BadJournal(f"{place}: a JSON object is expected")
    body, hashed = document.get("body"), document.get("hash")
    if body is None:
        return _Line(place, text)
    if isinstance(body, str):
        return _Line(place, body.encode(), hashed)
    return _Line(place, orjson.dumps(body))


async def _of_bus(url: str) -> Iterable[_Line]:
    """Every entry of `ledger.updated`, oldest first."""
    from holdfast.bus.client import Unreachable, reach

    try:
        async with reach(load(overrides={"bus.url": url})) as client:
            entries = [entry async for entry in client.backwards(LEDGER_UPDATED)]
    except Unreachable as error:
        raise BadJournal(str(error)) from None
    return [
        _Line(f"ledger.updated {entry.entry_id}", entry.body, entry.hash or None) for entry in entries[::-1]
    ]
