"""Recorded market data: CSV files of candles, trades or quotes, told apart by their header, as quotes in market time.

| a file with the columns | is |
|---|---|
| open, high, low, close | candles: four quotes each (see `domain.candles`) |
| price | trades: one quote each, at the trade's price |
| bid, ask | quotes as they were; last is their middle |

Time is `ts_ms` (ms UTC) or `timestamp` (ms UTC, or ISO; without a zone it is UTC). Other columns are not read. Rows stand
in the order of time. A file is read through once before anything is played, so that a bad line is found at the start
and not in the middle of a run; what was found is remembered by a hash of its content.
"""

import csv
import heapq
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from hashlib import blake2b
from itertools import islice
from pathlib import Path
from typing import TextIO

from holdfast.contracts.money import parse_amount
from holdfast.domain.candles import Candle, Quote, around, interval_of, middle, play
from services.market_feed.spec import ReplayFile

CANDLES, TRADES, QUOTES = "candles", "trades", "quotes"
_SHAPES = ((CANDLES, ("open", "high", "low", "close")), (QUOTES, ("bid", "ask")), (TRADES, ("price",)))
_TIMES = ("ts_ms", "timestamp")
_EARLIEST_MS, _LATEST_MS = 100_000_000_000, 9_999_999_999_999
"""1973 to 2286: a smaller number is seconds, a larger one micro- or nanoseconds."""

Row = tuple[int, tuple[Decimal, ...]]


class BadRecording(ValueError):  # noqa: N818 - it reads as what it is
    """A file that cannot be played; the text names the file, the line and what is wrong there."""


@dataclass(frozen=True, slots=True)
class Recording:
    """One checked file."""

    file: ReplayFile
    shape: str
    rows: int
    interval_ms: int
    digest: str
    """Of its content: a changed file is another one."""
    kept: tuple[Row, ...] = field(default=(), compare=False, repr=False)
    """Its rows, where whoever checked it wanted them kept and they are not too many."""

    @property
    def ticks(self) -> int:
        return self.rows * (4 if self.shape == CANDLES else 1)

    def candles(self) -> Iterator[Candle]:
        """Its candles, oldest first. Raises BadRecording when it holds none, or has changed and no longer reads."""
        if self.shape != CANDLES:
            raise BadRecording(f"{self.file.path}: it holds {self.shape}, no candles")
        for at, values in self.kept or _open(self.file.path)[1]:
            yield Candle(at, *values)

    def quotes(self) -> Iterator[Quote]:
        """Everything in it, oldest first. Raises BadRecording when the file has changed and no longer reads."""
        _, rows = _open(self.file.path)
        file = self.file
        if self.shape == QUOTES:
            for at, (bid, ask) in rows:
                yield Quote(file.symbol, at, bid, ask, middle(bid, ask))
            return
        for at, price in self._prices(rows):
            bid, ask = around(price, file.spread_pct)
            yield Quote(file.symbol, at, bid, ask, price)

    def _prices(self, rows: Iterable[Row]) -> Iterator[tuple[int, Decimal]]:
        if self.shape == TRADES:
            for at, (price,) in rows:
                yield at, price
            return
        for at, values in rows:
            yield from play(Candle(at, *values), self.interval_ms)


def check(file: ReplayFile, keep: int = 0) -> Recording:
    """Read *file* through; a file of at most *keep* rows is not read again. Raises BadRecording when it cannot be played."""
    shape, rows = _open(file.path)
    moments: list[int] = []
    kept: list[Row] = []
    for row in rows:
        moments.append(row[0])
        if len(moments) <= keep:
            kept.append(row)
    if not moments:
        raise BadRecording(f"{file.path}: there is a header and nothing below it")
    try:
        with file.path.open("rb") as stream:
            state = blake2b(digest_size=16)
            while chunk := stream.read(1 << 20):
                state.update(chunk)
    except OSError as error:
        raise BadRecording(f"{file.path}: cannot be read: {error.strerror or error}") from None
    found = tuple(kept) if len(moments) <= keep else ()
    return Recording(file, shape, len(moments), interval_of(moments), state.hexdigest(), found)


def timeline(recordings: Sequence[Recording], skip: int = 0) -> Iterator[Quote]:
    """All quotes of all files by market time; at the same moment, files in the order they were named.

    *skip* leaves out that many, counted from the first. The order is the same each time, so a quote's place names it.
    """
    merged = heapq.merge(*(recording.quotes() for recording in recordings), key=lambda quote: quote.at)
    return islice(_forward(merged), skip, None)


def _forward(quotes: Iterable[Quote]) -> Iterator[Quote]:
    """Candles closer together than their interval overlap: what would run back is moved up to the moment reached."""
    reached = 0
    for quote in quotes:
        if quote.at < reached:
            yield Quote(quote.symbol, reached, quote.bid, quote.ask, quote.last)
        else:
            reached = quote.at
            yield quote


def _open(path: Path) -> tuple[str, Iterator[Row]]:
    """The file's shape, and its rows as (market time, the shape's columns)."""
    try:
        stream = path.open(newline="", encoding="utf-8-sig")
    except OSError as error:
        raise BadRecording(f"{path}: cannot be read: {error.strerror or error}") from None
    try:
        header = [name.strip().lower() for name in next(csv.reader([stream.readline()]), [])]
        shape, time_column, columns = _shape(path, header)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        stream.close()
        raise BadRecording(f"{path}: cannot be read: {error}") from None
    except BadRecording:
        stream.close()
        raise
    return shape, _rows(path, stream, time_column, columns, shape)


def _shape(path: Path, header: Sequence[str]) -> tuple[str, int, tuple[int, ...]]:
    times = [header.index(name) for name in _TIMES if name in header]
    for shape, needed in _SHAPES:
        if times and all(name in header for name in needed):
            return shape, times[0], tuple(header.index(name) for name in needed)
    raise BadRecording(
        f"{path}: its columns are {', '.join(header) or 'none'}; a replay needs ts_ms or timestamp, "
        "and open, high, low, close (candles), price (trades) or bid, ask (quotes)"
    )


def _rows(path: Path, stream: TextIO, time_column: int, columns: Sequence[int], shape: str) -> Iterator[Row]:
    before = 0
    read: Callable[[str], int] | None = None
    cells: list[str] = []
    with stream:
        reader = csv.reader(stream)
        try:
            for cells in reader:
                if not cells:
                    continue
                read = read or _clock_of(cells[time_column])
                at, values = (
                    read(cells[time_column]),
                    tuple([parse_amount(cells[column].strip()) for column in columns]),
                )
                if at < before:
                    raise ValueError("it is older than the line before; rows must stand in the order of time")
                if shape == CANDLES:
                    Candle(at, *values)
                before = at
                yield at, values
        except IndexError:
            raise BadRecording(f"{path}, line {reader.line_num + 1}: columns are missing") from None
        except (ValueError, csv.Error, OSError) as error:
            where = _unreadable(cells, columns, shape)
            raise BadRecording(f"{path}, line {reader.line_num + 1}{where}: {error}") from None


def _unreadable(cells: Sequence[str], columns: Sequence[int], shape: str) -> str:
    """`, column high`: the first column of *cells* that is no amount; empty where the trouble is another one."""
    for name, column in zip(dict(_SHAPES)[shape], columns, strict=True):
        try:
            parse_amount(cells[column].strip())
        except ValueError:
            return f", column {name}"
        except IndexError:
            break
    return ""


def _clock_of(text: str) -> Callable[[str], int]:
    """How this file writes time, judged by its first row."""
    return _from_ms if text.strip().isdigit() else _from_iso


def _from_ms(text: str) -> int:
    try:
        moment = int(text)
    except ValueError:
        raise ValueError(f'"{text}" is no time in ms') from None
    if not _EARLIEST_MS <= moment <= _LATEST_MS:
        raise ValueError(f"{moment} is no time in ms since 1970; are these seconds, or microseconds?")
    return moment


def _from_iso(text: str) -> int:
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        raise ValueError(f'"{text}" is neither ms since 1970 nor a date and time') from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    since = moment - datetime(1970, 1, 1, tzinfo=UTC)
    return (since.days * 86_400 + since.seconds) * 1000 + since.microseconds // 1000
