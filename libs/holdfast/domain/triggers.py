"""An index over the exits of all positions, so that a tick touches only those it concerns.

Per symbol there are sorted lists of (price, position id): levels that fire when the bid falls to them or rises to them, and the
same for the ask, the last trade and the mark. A tick looks at one end of each list; if nothing is reached there, nothing is
reached anywhere. Stops that trail are in groups (`domain.trail_index`), predictions against positions are sorted by the
confidence they need. So a tick costs O(log n + fired), and next to nothing when none fires, with every rule on.
Deadlines (market time, ms) are a heap per symbol; entries of positions that have changed or gone are dropped when they
come up, and the heap is rebuilt when more than half of it is dead.

The index only says *whom to ask*; `domain.exits.evaluate` decides. Asking takes nothing out: a position stays in the
index until it is armed differently or disarmed, so a caller that fails midway leaves nobody bare. Whoever was asked and does
not fire is to be armed again, with what is seen now: what it waits for may have changed.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from heapq import heapify, heappop, heappush
from typing import Any

from sortedcontainers import SortedList

from holdfast.contracts.codes import ExitReason, PositionSide
from holdfast.contracts.exit_messages import Prediction
from holdfast.contracts.exit_terms import TriggerPrice
from holdfast.contracts.rows import PositionRow
from holdfast.domain.conditions import AtOnce, Deadline, Level, Opposed, Seen, terms_of
from holdfast.domain.exits import HARDNESS, RULES, Rule
from holdfast.domain.market import Quote
from holdfast.domain.trail_index import TrailIndex
from holdfast.domain.trailing import Trail, trail_of
from holdfast.domain.vetoes import OtherPredictions
from holdfast.domain.watching import NONE_FIRED, watches

_SOURCES = {
    (PositionSide.LONG, TriggerPrice.QUOTE): 0,
    (PositionSide.SHORT, TriggerPrice.QUOTE): 1,
    (PositionSide.LONG, TriggerPrice.LAST): 2,
    (PositionSide.SHORT, TriggerPrice.LAST): 3,
    (PositionSide.LONG, TriggerPrice.MARK): 4,
    (PositionSide.SHORT, TriggerPrice.MARK): 5,
}
"""Which price a position looks at. List 2 x source: levels that it falls to; 2 x source + 1: levels that it rises to."""
_KEEP_DEAD = 64
"""This many dead deadlines are kept for nothing, so that a small heap is not rebuilt all the time."""
_NOTHING_SEEN = Seen()


@dataclass(slots=True)
class _Armed:
    """The triggers of one position, as they stand in the index."""

    symbol: str
    side: PositionSide
    source: int
    levels: list[tuple[int, Decimal]] = field(default_factory=list)
    """(which list, price)."""
    deadlines: list[int] = field(default_factory=list)
    at_once: bool = False
    opposed: Decimal | None = None
    """Confidence that a prediction against it must exceed."""
    waits_for_views: bool = False
    trail: Trail | None = None


class _Book:
    """The triggers of one symbol."""

    __slots__ = ("alive", "deadlines", "levels", "members", "opposed", "trails", "waiting")

    def __init__(self) -> None:
        self.levels: dict[int, SortedList] = {}
        """By number of the list; only those that have had anything in them."""
        self.trails: dict[int, TrailIndex] = {}
        """By source of the price."""
        self.opposed: dict[PositionSide, SortedList] = {}
        """By side of the position: (confidence, position id)."""
        self.waiting: set[str] = set()
        """Positions whose soft exits wait for other predictions."""
        self.deadlines: list[tuple[int, str]] = []
        self.alive = 0
        """How many deadlines are armed; the heap holds these and some dead ones."""
        self.members = 0


class Triggers:
    """Armed positions. `arm`, `arm_all`, `disarm` change it; `on_price`, `due` and `at_once` say whom to ask."""

    def __init__(self, rules: tuple[Rule, ...] = RULES) -> None:
        self._rules = rules
        self._books: dict[str, _Book] = {}
        self._armed: dict[str, _Armed] = {}
        self._at_once: set[str] = set()

    def __len__(self) -> int:
        return len(self._armed)

    def __contains__(self, position_id: object) -> bool:
        return position_id in self._armed

    def __iter__(self) -> Iterator[str]:
        return iter(self._armed)

    def symbols(self) -> list[str]:
        """Symbols with at least one armed position."""
        return [symbol for symbol, book in self._books.items() if book.members]

    def arm(self, position: PositionRow, above: int = NONE_FIRED, seen: Seen = _NOTHING_SEEN) -> None:
        """Put the position's triggers in place, instead of those it had; a trail goes on from the best price it has counted.

        Only rules harder than *above* are armed: the hardness of what has already fired. Raises ValueError for a
        position that would have no price level although nothing has fired: it would be bare.
        """
        wanted = self._wanted(position, above, seen)
        had = self._armed.get(position.position_id)
        if had == wanted:
            return
        best = self._best(position, had, wanted)
        if had is not None:
            self._take_out(position.position_id, had)
        self._put_in(position.position_id, wanted, best)

    def _best(self, position: PositionRow, had: _Armed | None, wanted: _Armed) -> Decimal | None:
        """What a trail goes on from: the better of the row's high-water mark and what has been counted here."""
        counted = self.best(position.position_id) if had is not None and had.source == wanted.source else None
        known = [price for price in (counted, position.high_water) if price is not None]
        if not known:
            return None
        return max(known) if position.side is PositionSide.LONG else min(known)

    def best(self, position_id: str) -> Decimal | None:
        """The best price that the position's trail has counted; None without a trail in force, or a price."""
        had = self._armed.get(position_id)
        if had is None or had.trail is None:
            return None
        return self._books[had.symbol].trails[had.source].best(position_id)

    def trailing(self) -> Iterator[str]:
        """Positions with a trail in force."""
        for book in self._books.values():
            for trails in book.trails.values():
                yield from trails

    def arm_all(
        self,
        positions: Iterable[PositionRow],
        above: Mapping[str, int],
        seen: Mapping[str, Seen] | None = None,
    ) -> dict[str, str]:
        """Forget everything, then arm all *positions*: sorts once. *above* by position id, where something has fired;
        *seen* by symbol, where something is known.

        Returns the ids that could not be armed, and why.
        """
        self._books, self._armed, self._at_once = {}, {}, set()
        failed: dict[str, str] = {}
        levels: dict[str, dict[int, list[tuple[Decimal, str]]]] = {}
        opposed: dict[tuple[str, PositionSide], list[tuple[Decimal, str]]] = {}
        for position in positions:
            key = position.position_id
            try:
                known = _NOTHING_SEEN if seen is None else seen.get(position.symbol, _NOTHING_SEEN)
                wanted = self._wanted(position, above.get(key, NONE_FIRED), known)
            except ValueError as error:
                failed[key] = str(error)
                continue
            of_symbol = levels.get(position.symbol)
            if of_symbol is None:
                of_symbol = levels[position.symbol] = {}
                self._books[position.symbol] = _Book()
            for slot, price in wanted.levels:
                of_symbol.setdefault(slot, []).append((price, key))
            if wanted.opposed is not None:
                opposed.setdefault((position.symbol, wanted.side), []).append((wanted.opposed, key))
            self._note(key, wanted, position.high_water)
        for symbol, lists in levels.items():
            book = self._books[symbol]
            book.levels = {slot: SortedList(entries) for slot, entries in lists.items()}
            heapify(book.deadlines)
        for (symbol, side), entries in opposed.items():
            self._books[symbol].opposed[side] = SortedList(entries)
        return failed

    def disarm(self, position_id: str) -> None:
        """Take the position out; nothing happens if it is not in."""
        had = self._armed.pop(position_id, None)
        if had is not None:
            self._take_out(position_id, had)

    def on_price(self, symbol: str, quote: Quote) -> list[str]:
        """Positions of *symbol* that this quote concerns; an id may come twice. Trails count its prices."""
        book = self._books.get(symbol)
        if book is None:
            return []
        reached: list[str] = []
        prices = _prices(quote)
        for slot, levels in book.levels.items():
            if not levels:
                continue
            price = prices[slot >> 1]
            if slot & 1:
                if levels[0][0] <= price:
                    _collect_rising(levels, price, reached)
            elif levels[-1][0] >= price:
                _collect_falling(levels, price, reached)
        for source, trails in book.trails.items():
            reached += trails.on_price(prices[source])
        return reached

    def on_predictions(self, symbol: str, predictions: Sequence[Prediction]) -> list[str]:
        """Positions of *symbol* that the predictions which now count are against, or whose soft exits waited for them."""
        book = self._books.get(symbol)
        if book is None:
            return []
        asked = list(book.waiting)
        for side, entries in book.opposed.items():
            against = [one.confidence for one in predictions if one.direction not in {side.value, "hold"}]
            if against:
                strongest = max(against)
                asked += [key for _, key in entries.irange(maximum=(strongest, ""), inclusive=(True, False))]
        return asked

    def due(self, symbol: str, now_ms: int) -> list[str]:
        """Positions of *symbol* with a deadline at or before market time *now_ms*."""
        book = self._books.get(symbol)
        if book is None or not book.deadlines or book.deadlines[0][0] > now_ms:
            return []
        kept: dict[tuple[int, str], None] = {}
        while book.deadlines and book.deadlines[0][0] <= now_ms:
            entry = heappop(book.deadlines)
            if self._is_alive(entry, symbol):
                kept[entry] = None
        for entry in kept:
            heappush(book.deadlines, entry)
        return [key for _, key in kept]

    def at_once(self) -> list[str]:
        """Positions that are to be closed whatever the price."""
        return list(self._at_once)

    def _wanted(self, position: PositionRow, above: int, seen: Seen) -> _Armed:
        terms = terms_of(position)
        wanted = _Armed(position.symbol, position.side, _SOURCES[position.side, terms.trigger])
        levels: dict[int, Decimal] = {}
        for wait in watches(position, seen, above, self._rules):
            if isinstance(wait, Level):
                _nearer(levels, 2 * wanted.source + (not wait.falling), wait)
            elif isinstance(wait, Deadline):
                wanted.deadlines.append(wait.at)
            elif isinstance(wait, AtOnce):
                wanted.at_once = True
            elif isinstance(wait, Opposed):
                wanted.opposed = wait.confidence
            elif isinstance(wait, OtherPredictions):
                wanted.waits_for_views = True
            else:
                raise TypeError(f"no index for a {type(wait).__name__}")
        wanted.levels = list(levels.items())
        if HARDNESS[ExitReason.STOP_LOSS] > above:
            wanted.trail = trail_of(position) if position.terms else None
            if above == NONE_FIRED and not wanted.levels:
                raise ValueError(f"{position.position_id} has no price level to watch")
        return wanted

    def _note(self, position_id: str, wanted: _Armed, best: Decimal | None) -> None:
        """All of putting in but the price levels; deadlines are only appended."""
        book = self._books[wanted.symbol]
        book.members += 1
        book.alive += len(wanted.deadlines)
        book.deadlines += [(at, position_id) for at in wanted.deadlines]
        self._armed[position_id] = wanted
        self._note_rest(book, position_id, wanted, best)

    def _note_rest(self, book: _Book, position_id: str, wanted: _Armed, best: Decimal | None) -> None:
        if wanted.at_once:
            self._at_once.add(position_id)
        if wanted.waits_for_views:
            book.waiting.add(position_id)
        if wanted.trail is not None:
            trails = book.trails.get(wanted.source)
            if trails is None:
                trails = book.trails[wanted.source] = TrailIndex(wanted.side)
            trails.add(position_id, wanted.trail, best)

    def _put_in(self, position_id: str, wanted: _Armed, best: Decimal | None) -> None:
        book = self._books.get(wanted.symbol)
        if book is None:
            book = self._books[wanted.symbol] = _Book()
        for slot, price in wanted.levels:
            _list_of(book.levels, slot).add((price, position_id))
        if wanted.opposed is not None:
            _list_of(book.opposed, wanted.side).add((wanted.opposed, position_id))
        book.members += 1
        book.alive += len(wanted.deadlines)
        for at in wanted.deadlines:
            heappush(book.deadlines, (at, position_id))
        self._armed[position_id] = wanted
        self._note_rest(book, position_id, wanted, best)

    def _take_out(self, position_id: str, had: _Armed) -> None:
        self._armed.pop(position_id, None)
        self._at_once.discard(position_id)
        book = self._books[had.symbol]
        for slot, price in had.levels:
            book.levels[slot].remove((price, position_id))
        if had.opposed is not None:
            book.opposed[had.side].remove((had.opposed, position_id))
        book.waiting.discard(position_id)
        if had.trail is not None:
            book.trails[had.source].remove(position_id)
        book.members -= 1
        book.alive -= len(had.deadlines)
        if len(book.deadlines) > 2 * book.alive + _KEEP_DEAD:
            book.deadlines = list(
                {entry: None for entry in book.deadlines if self._is_alive(entry, had.symbol)}
            )
            heapify(book.deadlines)

    def _is_alive(self, entry: tuple[int, str], symbol: str) -> bool:
        armed = self._armed.get(entry[1])
        return armed is not None and armed.symbol == symbol and entry[0] in armed.deadlines


def _nearer(levels: dict[int, Decimal], slot: int, level: Level) -> None:
    """Of the levels that a price falls to, or rises to, only the one that it meets first is watched: whoever is asked there
    and does not fire is asked again at every price beyond, or is armed anew without it.
    """
    known = levels.get(slot)
    if known is None or (level.price > known if level.falling else level.price < known):
        levels[slot] = level.price


def _prices(quote: Quote) -> tuple[Decimal, ...]:
    """What each source looks at; a feed without a last trade or a mark is read as quotes."""
    bid, ask, last, mark = quote.bid, quote.ask, quote.last, quote.mark
    return (
        bid, ask, bid if last is None else last, ask if last is None else last, bid if mark is None else mark, ask if mark is None else mark,
    )  # fmt: skip


def _list_of(lists: dict[Any, SortedList], key: object) -> SortedList:
    """The list of *key*, made when it is first needed."""
    found = lists.get(key)
    if found is None:
        found = lists[key] = SortedList()
    return found


def _collect_falling(levels: SortedList, price: Decimal, into: list[str]) -> None:
    """Ids at levels >= *price*, highest first."""
    for level, key in reversed(levels):
        if level < price:
            return
        into.append(key)


def _collect_rising(levels: SortedList, price: Decimal, into: list[str]) -> None:
    """Ids at levels <= *price*, lowest first."""
    for level, key in levels:
        if level > price:
            return
        into.append(key)
