"""An index over the exits of all positions, so that a tick touches only those it concerns.

Per symbol there are four sorted lists of (price, position id): levels that fire when the bid falls to them, when the bid
rises to them, when the ask falls to them, when the ask rises to them. A tick looks at one end of each list; if nothing
is reached there, nothing is reached anywhere. So a tick costs O(log n + fired), and next to nothing when none fires.
Deadlines (market time, ms) are a heap per symbol; entries of positions that have changed or gone are dropped when they
come up, and the heap is rebuilt when more than half of it is dead.

The index only says *whom to ask*; `domain.exits.evaluate` decides. Asking takes nothing out: a position stays in the
index until it is armed differently or disarmed, so a caller that fails midway leaves nobody bare.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from heapq import heapify, heappop, heappush

from sortedcontainers import SortedList

from holdfast.contracts.codes import PositionSide
from holdfast.contracts.rows import PositionRow
from holdfast.domain.exits import HARDNESS, RULES, AtOnce, Deadline, Level, Rule

NONE_FIRED = -1
"""As *above*: every rule is armed."""
_BID_FALLS, _BID_RISES, _ASK_FALLS, _ASK_RISES = range(4)
_SLOTS = {
    (PositionSide.LONG, True): _BID_FALLS,
    (PositionSide.LONG, False): _BID_RISES,
    (PositionSide.SHORT, True): _ASK_FALLS,
    (PositionSide.SHORT, False): _ASK_RISES,
}
_KEEP_DEAD = 64
"""This many dead deadlines are kept for nothing, so that a small heap is not rebuilt all the time."""


@dataclass(slots=True)
class _Armed:
    """The triggers of one position, as they stand in the index."""

    symbol: str
    levels: list[tuple[int, Decimal]] = field(default_factory=list)
    """(which list, price)."""
    deadlines: list[int] = field(default_factory=list)
    at_once: bool = False


class _Book:
    """The triggers of one symbol."""

    __slots__ = ("alive", "deadlines", "levels", "members")

    def __init__(self) -> None:
        self.levels: tuple[SortedList, ...] = tuple(SortedList() for _ in range(4))
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

    def arm(self, position: PositionRow, above: int = NONE_FIRED) -> None:
        """Put the position's triggers in place, instead of those it had.

        Only rules harder than *above* are armed: the hardness of what has already fired. Raises ValueError for a
        position that would have no price level although nothing has fired: it would be bare.
        """
        wanted = self._wanted(position, above)
        had = self._armed.get(position.position_id)
        if had == wanted:
            return
        if had is not None:
            self._take_out(position.position_id, had)
        self._put_in(position.position_id, wanted)

    def arm_all(self, positions: Iterable[PositionRow], above: Mapping[str, int]) -> dict[str, str]:
        """Forget everything, then arm all *positions*: sorts once. *above* by position id, where something has fired.

        Returns the ids that could not be armed, and why.
        """
        self._books, self._armed, self._at_once = {}, {}, set()
        failed: dict[str, str] = {}
        levels: dict[str, tuple[list[tuple[Decimal, str]], ...]] = {}
        for position in positions:
            key = position.position_id
            try:
                wanted = self._wanted(position, above.get(key, NONE_FIRED))
            except ValueError as error:
                failed[key] = str(error)
                continue
            of_symbol = levels.get(position.symbol)
            if of_symbol is None:
                of_symbol = levels[position.symbol] = ([], [], [], [])
                self._books[position.symbol] = _Book()
            for slot, price in wanted.levels:
                of_symbol[slot].append((price, key))
            self._note(key, wanted)
        for symbol, lists in levels.items():
            book = self._books[symbol]
            book.levels = tuple(SortedList(entries) for entries in lists)
            heapify(book.deadlines)
        return failed

    def disarm(self, position_id: str) -> None:
        """Take the position out; nothing happens if it is not in."""
        had = self._armed.pop(position_id, None)
        if had is not None:
            self._take_out(position_id, had)

    def on_price(self, symbol: str, bid: Decimal, ask: Decimal) -> list[str]:
        """Positions of *symbol* with a level that this quote reaches; an id may come twice."""
        book = self._books.get(symbol)
        if book is None:
            return []
        bid_falls, bid_rises, ask_falls, ask_rises = book.levels
        reached: list[str] = []
        if bid_falls and bid_falls[-1][0] >= bid:
            _collect_falling(bid_falls, bid, reached)
        if bid_rises and bid_rises[0][0] <= bid:
            _collect_rising(bid_rises, bid, reached)
        if ask_falls and ask_falls[-1][0] >= ask:
            _collect_falling(ask_falls, ask, reached)
        if ask_rises and ask_rises[0][0] <= ask:
            _collect_rising(ask_rises, ask, reached)
        return reached

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

    def _wanted(self, position: PositionRow, above: int) -> _Armed:
        wanted = _Armed(position.symbol)
        for rule in self._rules:
            trigger = rule.trigger(position)
            if trigger is None or HARDNESS[rule.reason_for(position)] <= above:
                continue
            if isinstance(trigger, Level):
                wanted.levels.append((_SLOTS[position.side, trigger.falling], trigger.price))
            elif isinstance(trigger, Deadline):
                wanted.deadlines.append(trigger.at)
            elif isinstance(trigger, AtOnce):
                wanted.at_once = True
            else:
                raise TypeError(f"rule {rule.name}: no index for a {type(trigger).__name__}")
        if above == NONE_FIRED and not wanted.levels:
            raise ValueError(f"{position.position_id} has no price level to watch")
        return wanted

    def _note(self, position_id: str, wanted: _Armed) -> None:
        """All of putting in but the price levels; deadlines are only appended."""
        book = self._books[wanted.symbol]
        book.members += 1
        book.alive += len(wanted.deadlines)
        book.deadlines += [(at, position_id) for at in wanted.deadlines]
        self._armed[position_id] = wanted
        if wanted.at_once:
            self._at_once.add(position_id)

    def _put_in(self, position_id: str, wanted: _Armed) -> None:
        book = self._books.get(wanted.symbol)
        if book is None:
            book = self._books[wanted.symbol] = _Book()
        for slot, price in wanted.levels:
            book.levels[slot].add((price, position_id))
        book.members += 1
        book.alive += len(wanted.deadlines)
        for at in wanted.deadlines:
            heappush(book.deadlines, (at, position_id))
        self._armed[position_id] = wanted
        if wanted.at_once:
            self._at_once.add(position_id)

    def _take_out(self, position_id: str, had: _Armed) -> None:
        self._armed.pop(position_id, None)
        self._at_once.discard(position_id)
        book = self._books[had.symbol]
        for slot, price in had.levels:
            book.levels[slot].remove((price, position_id))
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
