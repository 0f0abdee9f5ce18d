"""The signals file: CSV with the columns `ts_ms, symbol, action`, and where wanted `quantity, confidence`, in any order.

| action | asks for |
|---|---|
| enter_long, enter_short | an entry; without a quantity it is sized by the run's stake |
| exit_long, exit_short | the close of a position of that side, or of `quantity` of it |

A file is read whole before anything is played. What cannot be read is named with its line and column.
"""

import csv
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import Any

from holdfast.contracts.base import ContractViolation
from holdfast.contracts.codes import PositionSide
from holdfast.contracts.money import ONE, ZERO, parse_amount
from holdfast.domain.instruments import canonical

REQUIRED, OPTIONAL = ("ts_ms", "symbol", "action"), ("quantity", "confidence")
_EARLIEST_MS, _LATEST_MS = 100_000_000_000, 9_999_999_999_999
"""1973 to 2286: a smaller number is seconds, a larger one micro- or nanoseconds."""


class BadSignals(ValueError):  # noqa: N818 - it reads as what it is
    """A signals file that cannot be played; the text names the file, the line and the column."""


class Action(StrEnum):
    """What a signal asks for."""

    ENTER_LONG = "enter_long"
    ENTER_SHORT = "enter_short"
    EXIT_LONG = "exit_long"
    EXIT_SHORT = "exit_short"

    @property
    def enters(self) -> bool:
        return self in {Action.ENTER_LONG, Action.ENTER_SHORT}

    @property
    def side(self) -> PositionSide:
        """Of the position that is meant."""
        return PositionSide.LONG if self in {Action.ENTER_LONG, Action.EXIT_LONG} else PositionSide.SHORT


@dataclass(frozen=True, slots=True)
class Signal:
    """One line. `symbol` is in canonical form, `at` market time, ms."""

    at: int
    symbol: str
    action: Action
    quantity: Decimal | None = None
    confidence: Decimal | None = None
    line: int = 0


def read_signals(path: Path) -> list[Signal]:
    """All signals of the file by time; those of one moment in the order of their lines. Raises BadSignals."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            return sorted(_signals(path, csv.reader(stream, strict=True)), key=lambda signal: signal.at)
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise BadSignals(f"{path}: cannot be read: {reason}") from None


def _signals(path: Path, rows: Iterator[list[str]]) -> Iterator[Signal]:
    reader: object = rows
    places: dict[str, int] | None = None
    seen: dict[tuple[int, str, Action], int] = {}
    try:
        for cells in rows:
            line: int = getattr(reader, "line_num", 0)
            if not any(cell.strip() for cell in cells):
                continue
            if places is None:
                places = _places(path, line, cells)
                continue
            signal = _signal(path, line, cells, places)
            key = (signal.at, signal.symbol, signal.action)
            if key in seen:
                raise BadSignals(
                    f"{path}, line {line}, column action: {signal.action} of {signal.symbol} at {signal.at} stands on line {seen[key]} already"
                )
            seen[key] = line
            yield signal
    except csv.Error as error:
        raise BadSignals(f"{path}, line {getattr(reader, 'line_num', 0)}: {error}") from None
    if places is None:
        raise BadSignals(f"{path}: it is empty; a header is expected: {','.join(REQUIRED + OPTIONAL)}")


def _places(path: Path, line: int, header: Sequence[str]) -> dict[str, int]:
    """Column name -> place."""
    names = [name.strip().lower() for name in header]
    for number, name in enumerate(names, 1):
        if name not in REQUIRED + OPTIONAL:
            raise BadSignals(
                f"{path}, line {line}, column {number}: {name!a} is no column of a signals file; there are {', '.join(REQUIRED + OPTIONAL)}"
            )
        if names.index(name) != number - 1:
            raise BadSignals(f"{path}, line {line}, column {number}: {name} stands there twice")
    for name in REQUIRED:
        if name not in names:
            raise BadSignals(f"{path}, line {line}: the column {name} is missing")
    return {name: number for number, name in enumerate(names)}


def _signal(path: Path, line: int, cells: Sequence[str], places: dict[str, int]) -> Signal:
    if len(cells) > len(places):
        raise BadSignals(f"{path}, line {line}: {len(cells)} columns, the header has {len(places)}")
    values: dict[str, Any] = {}
    for name, place in places.items():
        text = cells[place].strip() if place < len(cells) else ""
        try:
            values[name] = _READ[name](text)
        except ValueError as error:
            said = error.text if isinstance(error, ContractViolation) else str(error)
            raise BadSignals(f"{path}, line {line}, column {name}: {said}") from None
    return Signal(
        at=values["ts_ms"],
        symbol=values["symbol"],
        action=values["action"],
        quantity=values.get("quantity"),
        confidence=values.get("confidence"),
        line=line,
    )


def _time(text: str) -> int:
    if not text.isascii() or not text.isdigit():
        raise ValueError(f"{text!a} is no time in ms since 1970")
    moment = int(text[:20])
    if not _EARLIEST_MS <= moment <= _LATEST_MS:
        raise ValueError(f"{moment} is no time in ms since 1970; are these seconds, or microseconds?")
    return moment


def _action(text: str) -> Action:
    try:
        return Action(text.lower())
    except ValueError:
        raise ValueError(f"{text!a} is none of {', '.join(Action)}") from None


def _quantity(text: str) -> Decimal | None:
    if not text:
        return None
    amount = parse_amount(text)
    if amount <= 0:
        raise ValueError("must be greater than zero; leave it empty for the run's stake")
    return amount


def _confidence(text: str) -> Decimal | None:
    if not text:
        return None
    amount = parse_amount(text)
    if not ZERO <= amount <= ONE:
        raise ValueError(f"{text} is not between 0 and 1")
    return amount


_READ = {
    "ts_ms": _time,
    "symbol": canonical,
    "action": _action,
    "quantity": _quantity,
    "confidence": _confidence,
}


@dataclass(frozen=True, slots=True)
class Sorted:
    """The signals of one symbol at one moment: exits first, then the one entry that stands; and what does not count."""

    exits: list[Signal]
    entry: Signal | None
    ignored: list[tuple[Signal, str]]


def sort_out(signals: Iterable[Signal], *, entries: bool = True) -> Sorted:
    """Which of the signals that act together count.

    An entry that coincides with the opposite entry, or with the exit of its own side, is ignored. *entries* False: none
    may be made any more.
    """
    given = list(signals)
    by_action: dict[Action, Signal] = {}
    ignored: list[tuple[Signal, str]] = []
    for signal in given:
        if signal.action in by_action:
            ignored.append((by_action[signal.action], "a later signal of the same candle says the same"))
        by_action[signal.action] = signal
    exits = [signal for signal in by_action.values() if not signal.action.enters]
    wishes = [signal for signal in by_action.values() if signal.action.enters]
    if len(wishes) > 1:
        ignored += [(signal, "it coincides with the opposite entry") for signal in wishes]
        return Sorted(exits, None, ignored)
    leaving = {signal.action.side for signal in exits}
    for signal in wishes:
        if signal.action.side in leaving:
            ignored.append((signal, "it coincides with its own exit"))
        elif not entries:
            ignored.append((signal, "no entry is made on the last candle"))
        else:
            return Sorted(exits, signal, ignored)
    return Sorted(exits, None, ignored)
