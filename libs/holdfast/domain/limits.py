"""How much may be opened: positions, notional, entry orders a minute. For entries only: no limit ever stops an exit (INV-6).

`Exposure` keeps the sums that the limits are about, over all accounts. Each change costs O(1), whatever is open,
because the ledger asks thousands of times a second. Sums are exact (200 digits are more than any sum of amounts needs),
so an exposure that was kept up for a year equals one that is computed afresh.

The executor asks first and the ledger decides, both with `check_entry`. Decisions that may still be thrown away are
made between `begin` and `commit` or `rollback`.

Notional is counted in quote currency as it stands: 1 in EUR and 1 in USDT are added as they are.
"""

from collections import deque
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Context, Decimal, Inexact, InvalidOperation
from typing import NamedTuple, Protocol, Self

from holdfast.contracts.codes import Code, PositionSide
from holdfast.contracts.money import HUNDRED, ONE, ZERO, canonical, mul

MINUTE_MS = 60_000

_SUM = Context(prec=200, rounding=ROUND_HALF_EVEN, traps=[InvalidOperation, Inexact])


class LimitValues(Protocol):
    """What `runtime.settings.LimitSettings` holds."""

    @property
    def max_positions(self) -> int: ...
    @property
    def max_symbol_notional(self) -> Decimal: ...
    @property
    def max_account_notional(self) -> Decimal: ...
    @property
    def max_total_notional(self) -> Decimal: ...
    @property
    def max_orders_per_minute(self) -> int: ...
    @property
    def max_total_long_notional(self) -> Decimal: ...
    @property
    def max_total_short_notional(self) -> Decimal: ...


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits in force. Notional in quote currency; a value that equals its limit is still within it."""

    max_positions: int
    max_symbol_notional: Decimal
    max_account_notional: Decimal
    max_total_notional: Decimal
    max_orders_per_minute: int
    max_total_long_notional: Decimal | None = None
    max_total_short_notional: Decimal | None = None
    """Of one side over all accounts; None: no limit of its own."""
    shrunk: Decimal = ONE
    shrunk_total: Decimal = ONE
    """What the notional limits of book and account, and those of all accounts, were multiplied by (`domain.portfolio_rules`)."""

    @classmethod
    def of(cls, settings: LimitValues) -> Self:
        return cls(
            max_positions=settings.max_positions,
            max_symbol_notional=settings.max_symbol_notional,
            max_account_notional=settings.max_account_notional,
            max_total_notional=settings.max_total_notional,
            max_orders_per_minute=settings.max_orders_per_minute,
            max_total_long_notional=settings.max_total_long_notional,
            max_total_short_notional=settings.max_total_short_notional,
        )


class Book(NamedTuple):
    """What one book adds to the exposure."""

    account: str
    notional: Decimal
    """Position and live entries, in quote currency."""
    busy: bool
    """It has a position, a live entry or an UNKNOWN order, so it counts as one position."""
    side: PositionSide | None = None
    """The one that its position and live entries share."""


class _LastMinute:
    """How many entries an account reserved in the last 60 s: one bucket [ms, count] per millisecond, oldest first."""

    __slots__ = ("_buckets", "count")

    def __init__(self) -> None:
        self._buckets: deque[list[int]] = deque()
        self.count = 0

    def add(self, now_ms: int) -> None:
        self.forget(now_ms)
        if self._buckets and self._buckets[-1][0] == now_ms:
            self._buckets[-1][1] += 1
        else:
            self._buckets.append([now_ms, 1])
        self.count += 1

    def take_back(self) -> None:
        """Undo the latest `add`. What has left the window meanwhile is gone anyway."""
        if self._buckets:
            self.count -= 1
            self._buckets[-1][1] -= 1
            if not self._buckets[-1][1]:
                self._buckets.pop()

    def forget(self, now_ms: int) -> None:
        """Drop what is older than a minute. When the wall clock went back, what lies ahead of it counts as now."""
        buckets, ahead = self._buckets, 0
        while buckets and buckets[-1][0] > now_ms:
            ahead += buckets.pop()[1]
        if ahead:
            buckets.append([now_ms, ahead])
        while buckets and buckets[0][0] <= now_ms - MINUTE_MS:
            self.count -= buckets.popleft()[1]


class Exposure:
    """Sums over all books: how many are busy, and the notional per book, per account, per side and in total."""

    def __init__(self) -> None:
        self.busy_books = 0
        self.total_notional = ZERO
        self._by_side = dict.fromkeys(PositionSide, ZERO)
        self._books: dict[str, Book] = {}
        self._by_account: dict[str, Decimal] = {}
        self._minutes: dict[str, _LastMinute] = {}
        self._undo: dict[str, Book | None] | None = None
        self._noted: list[str] = []

    def set_book(
        self, book_id: str, account: str, notional: Decimal, busy: bool, side: PositionSide | None = None
    ) -> None:
        """How a book now stands, whole. Idle and without notional, it is forgotten. Raises ValueError if negative."""
        if not notional >= 0:
            raise ValueError(f"book {book_id}: a notional of {notional} cannot be")
        book = Book(account, notional, busy, side) if busy or notional else None
        before = self._books.get(book_id)
        if before == book:
            return
        if self._undo is not None:
            self._undo.setdefault(book_id, before)
        self._replace(book_id, book)

    def note_entry(self, account: str, now_ms: int) -> None:
        """An entry order of *account* was reserved at wall time *now_ms*."""
        self._minutes.setdefault(account, _LastMinute()).add(now_ms)
        if self._undo is not None:
            self._noted.append(account)

    def is_busy(self, book_id: str) -> bool:
        book = self._books.get(book_id)
        return book is not None and book.busy

    def book_notional(self, book_id: str) -> Decimal:
        book = self._books.get(book_id)
        return book.notional if book is not None else ZERO

    def account_notional(self, account: str) -> Decimal:
        return self._by_account.get(account, ZERO)

    def side_notional(self, side: PositionSide) -> Decimal:
        """Of one side, over all accounts; only of books whose side was told."""
        return self._by_side[side]

    def entries_in_last_minute(self, account: str, now_ms: int) -> int:
        minute = self._minutes.get(account)
        if minute is None:
            return 0
        minute.forget(now_ms)
        return minute.count

    def begin(self) -> None:
        """From here on changes can be taken back. Raises RuntimeError when that is so already."""
        if self._undo is not None:
            raise RuntimeError("begin() was called twice, with neither commit() nor rollback() between")
        self._undo = {}

    def commit(self) -> None:
        """Keep all changes since `begin`."""
        self._undo, self._noted = None, []

    def rollback(self) -> None:
        """Take back all changes since `begin`."""
        undo, noted = self._undo or {}, self._noted
        self._undo, self._noted = None, []
        for book_id, book in undo.items():
            self._replace(book_id, book)
        for account in noted:
            self._minutes[account].take_back()

    def _replace(self, book_id: str, book: Book | None) -> None:
        old = self._books.pop(book_id, None)
        if old is not None:
            self._sum(old.account, old.side, old.notional.copy_negate())
            self.busy_books -= old.busy
        if book is not None:
            self._books[book_id] = book
            self._sum(book.account, book.side, book.notional)
            self.busy_books += book.busy

    def _sum(self, account: str, side: PositionSide | None, change: Decimal) -> None:
        if change:
            if side is not None:
                self._by_side[side] = _SUM.add(self._by_side[side], change)
            self.total_notional = _SUM.add(self.total_notional, change)
            of_account = _SUM.add(self._by_account.get(account, ZERO), change)
            if of_account:
                self._by_account[account] = of_account
            else:
                self._by_account.pop(account, None)


def check_entry(
    exposure: Exposure,
    *,
    book_id: str,
    account: str,
    notional: Decimal,
    now_ms: int,
    limits: Limits,
    side: PositionSide | None = None,
) -> tuple[Code, str] | None:
    """None when an entry of *notional* is within all limits, else the code and a sentence that names the setting.

    Without *side* the limits of a side are not looked at. A new book counts as one more position only if it has neither position nor live entry nor UNKNOWN order.
    Raises ValueError for a notional that is negative or not a number: it would make room.
    """
    if not notional >= 0:
        raise ValueError(f"book {book_id}: an entry with a notional of {notional} cannot be")
    if exposure.busy_books >= limits.max_positions and not exposure.is_busy(book_id):
        text = f"limits.max_positions is {limits.max_positions}, and {exposure.busy_books} books hold a position, a live entry or an UNKNOWN order"
        return Code.MAX_POSITIONS, text
    in_minute = exposure.entries_in_last_minute(account, now_ms)
    if in_minute >= limits.max_orders_per_minute:
        text = f"limits.max_orders_per_minute is {limits.max_orders_per_minute}, and account {account} had {in_minute} entries in the last minute"
        return Code.ORDER_RATE, text
    return _check_notional(exposure, book_id, account, notional, limits) or _check_side(
        exposure, side, notional, limits
    )


def _check_side(
    exposure: Exposure, side: PositionSide | None, notional: Decimal, limits: Limits
) -> tuple[Code, str] | None:
    if side is None:
        return None
    is_long = side is PositionSide.LONG
    limit = limits.max_total_long_notional if is_long else limits.max_total_short_notional
    used = exposure.side_notional(side)
    if limit is None or _SUM.add(used, notional) <= limit:
        return None
    who = f"the {side.value} side of all accounts together"
    text = _over(f"max_total_{side.value}_notional", limit, who, used, notional, limits.shrunk_total)
    return Code.MAX_SIDE_NOTIONAL, text


def _check_notional(
    exposure: Exposure, book_id: str, account: str, notional: Decimal, limits: Limits
) -> tuple[Code, str] | None:
    used = exposure.book_notional(book_id)
    if _SUM.add(used, notional) > limits.max_symbol_notional:
        text = _over(
            "max_symbol_notional",
            limits.max_symbol_notional,
            f"book {book_id}",
            used,
            notional,
            limits.shrunk,
        )
        return Code.MAX_SYMBOL_NOTIONAL, text
    used = exposure.account_notional(account)
    if _SUM.add(used, notional) > limits.max_account_notional:
        text = _over(
            "max_account_notional",
            limits.max_account_notional,
            f"account {account}",
            used,
            notional,
            limits.shrunk,
        )
        return Code.MAX_ACCOUNT_NOTIONAL, text
    used = exposure.total_notional
    if _SUM.add(used, notional) > limits.max_total_notional:
        text = _over(
            "max_total_notional",
            limits.max_total_notional,
            "all accounts together",
            used,
            notional,
            limits.shrunk_total,
        )
        return Code.MAX_TOTAL_NOTIONAL, text
    return None


def _over(setting: str, limit: Decimal, who: str, used: Decimal, notional: Decimal, shrunk: Decimal) -> str:
    shown = canonical(notional)
    why = "" if shrunk == ONE else f", now, shrunk to {mul(shrunk, HUNDRED):.1f} % by drawdown or volatility"
    return f"limits.{setting} is {canonical(limit)}{why}; {who} uses {canonical(used)}, and this entry would add {shown}"
