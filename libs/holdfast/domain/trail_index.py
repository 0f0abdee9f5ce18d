"""Many trailing stops of one symbol and side, so that a new high costs next to nothing.

Positions with the same best price are one group, and a group is one number with its members sorted by distance. A price better
than that of some groups makes them one: two groups merge once, the smaller into the larger, and never part. So a tick looks at
the worst groups (are they to merge?) and at the tightest stop of all (is it reached?), and touches a member only when that is
reached or merged: O(log n), amortised, however many stops have just moved. Each stop is exact: that of `Trail.level`.

Prices of shorts are turned round inside (the best price is the lowest), so that best is always largest.
"""

from collections.abc import Iterator
from decimal import Decimal

from sortedcontainers import SortedDict, SortedList

from holdfast.contracts.codes import PositionSide
from holdfast.domain.trailing import Trail

_NOTHING_YET = Decimal("-1e40")
"""Worse than any price: no tick has been counted."""


class _Group:
    """Members by distance, percent and absolute apart."""

    __slots__ = ("best", "members")

    def __init__(self, best: Decimal) -> None:
        self.best = best
        self.members: dict[bool, SortedList] = {True: SortedList(), False: SortedList()}

    def __len__(self) -> int:
        return len(self.members[True]) + len(self.members[False])


class TrailIndex:
    """See the module. `add` and `remove` members; `on_price` says whose stop is reached; `best` what a stop follows."""

    def __init__(self, side: PositionSide) -> None:
        self._side, self._turned = side, side is PositionSide.SHORT
        self._groups: SortedDict = SortedDict()
        """Best price -> group."""
        self._tightest: SortedList = SortedList()
        """(tightest stop of a group, its best price)."""
        self._listed: dict[Decimal, Decimal] = {}
        """Best price -> the stop that stands in `_tightest`."""
        self._home: dict[str, tuple[_Group, Trail]] = {}

    def __len__(self) -> int:
        return len(self._home)

    def __contains__(self, key: object) -> bool:
        return key in self._home

    def __iter__(self) -> Iterator[str]:
        return iter(self._home)

    def trail(self, key: str) -> Trail:
        return self._home[key][1]

    def best(self, key: str) -> Decimal | None:
        """The best price that *key*'s stop follows; None before the first price, and for who is not here."""
        home = self._home.get(key)
        if home is None or home[0].best == _NOTHING_YET:
            return None
        return self._real(home[0].best)

    def add(self, key: str, trail: Trail, best: Decimal | None) -> None:
        """Put *key* in, instead of what it had."""
        self.remove(key)
        at = _NOTHING_YET if best is None else self._real(best)
        group = self._groups.get(at)
        if group is None:
            group = self._groups[at] = _Group(at)
        group.members[trail.relative].add((trail.distance, key))
        self._home[key] = (group, trail)
        self._list(group)

    def remove(self, key: str) -> None:
        home = self._home.pop(key, None)
        if home is None:
            return
        group, trail = home
        group.members[trail.relative].remove((trail.distance, key))
        if not len(group):
            del self._groups[group.best]
        self._list(group)

    def on_price(self, price: Decimal) -> list[str]:
        """Count *price*, then say whose stop it reaches, tightest group first. Asking takes nobody out."""
        price = self._real(price)
        if self._groups and self._groups.keys()[0] < price:
            self._merge(price)
        reached: list[str] = []
        for stop, best in reversed(self._tightest):
            if stop < price:
                break
            reached += self._reached(self._groups[best], price)
        return reached

    def _merge(self, price: Decimal) -> None:
        """All groups whose best is worse than *price* become one with it."""
        worse = [self._groups[best] for best in self._groups.irange(maximum=price)]
        for group in worse:
            del self._groups[group.best]
            self._unlist(group.best)
        largest = max(worse, key=len)
        for group in worse:
            if group is largest:
                continue
            for relative, members in group.members.items():
                for distance, key in members:
                    self._home[key] = (largest, self._home[key][1])
                    largest.members[relative].add((distance, key))
        largest.best = price
        self._groups[price] = largest
        self._list(largest)

    def _reached(self, group: _Group, price: Decimal) -> Iterator[str]:
        for members in group.members.values():
            for _, key in members:
                if self._stop(self._home[key][1], group.best) < price:
                    break
                yield key

    def _stop(self, trail: Trail, best: Decimal) -> Decimal:
        return self._real(trail.level(self._side, self._real(best)))

    def _list(self, group: _Group) -> None:
        """Bring the group's tightest stop into the list of them."""
        self._unlist(group.best)
        if not len(group) or group.best == _NOTHING_YET:
            return
        nearest = [self._home[members[0][1]][1] for members in group.members.values() if members]
        stop = max(self._stop(trail, group.best) for trail in nearest)
        self._listed[group.best] = stop
        self._tightest.add((stop, group.best))

    def _unlist(self, best: Decimal) -> None:
        stop = self._listed.pop(best, None)
        if stop is not None:
            self._tightest.remove((stop, best))

    def _real(self, price: Decimal) -> Decimal:
        """There and back: shorts are turned round."""
        return price.copy_negate() if self._turned else price
