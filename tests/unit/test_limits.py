"""Limits: kept in O(1), exact, and never in the way of an exit."""

from dataclasses import replace
from decimal import Context, Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from holdfast.contracts.codes import Code, Side
from holdfast.domain.limits import Exposure, Limits, check_entry
from holdfast.domain.one_side import Held, judge
from holdfast.runtime.limit_settings import LimitSettings

WIDE = Limits(
    max_positions=1000,
    max_symbol_notional=Decimal(10**9),
    max_account_notional=Decimal(10**9),
    max_total_notional=Decimal(10**9),
    max_orders_per_minute=10**6,
)
NOW = 1_735_689_600_000


def limits(**changes: object) -> Limits:
    """Wide ones but for *changes*."""
    return replace(WIDE, **changes)  # type: ignore[arg-type]


def ask(
    exposure: Exposure, book: str, notional: str = "1", now_ms: int = NOW, **changes: object
) -> tuple[Code, str] | None:
    return check_entry(
        exposure,
        book_id=book,
        account=book.split("/", maxsplit=1)[0],
        notional=Decimal(notional),
        now_ms=now_ms,
        limits=limits(**changes),
    )


def exposure_of(*books: tuple[str, str]) -> Exposure:
    exposure = Exposure()
    for book, notional in books:
        exposure.set_book(book, book.split("/", maxsplit=1)[0], Decimal(notional), busy=True)
    return exposure


def test_the_deadlock_of_six_positions_cannot_happen() -> None:
    """Six are open, six are allowed: a seventh is refused, every one of the six may close, and then there is room."""
    symbols = ["BTC", "ETH", "SOL", "XRP", "ADA", "DOT"]
    exposure = exposure_of(*((f"main/paper/{symbol}/USDT", "100") for symbol in symbols))
    refused = ask(exposure, "main/paper/LTC/USDT", max_positions=6)
    assert refused == (
        Code.MAX_POSITIONS,
        "limits.max_positions is 6, and 6 books hold a position, a live entry or an UNKNOWN order",
    )
    assert ask(exposure, "main/paper/BTC/USDT", max_positions=6) is None, (
        "more of what is open is no new position"
    )
    for symbol in symbols:
        close = judge(
            attempted=Side.SELL, quantity=None, held=Held.of(Decimal(1)), reduce_only=True, hedging=False
        )
        assert close.allowed, "no limit has a say in it"
        exposure.set_book(f"main/paper/{symbol}/USDT", "main", Decimal(0), busy=False)
        assert ask(exposure, "main/paper/LTC/USDT", max_positions=6) is None
    assert exposure.busy_books == 0


def test_positions_count_over_all_accounts() -> None:
    exposure = exposure_of(("a/paper/BTC/USDT", "1"), ("b/paper/BTC/USDT", "1"))
    refused = ask(exposure, "c/paper/BTC/USDT", max_positions=2)
    assert refused is not None
    assert refused[0] is Code.MAX_POSITIONS


def test_an_unknown_order_without_notional_still_counts() -> None:
    exposure = exposure_of(("main/paper/BTC/USDT", "0"))
    assert exposure.busy_books == 1
    assert ask(exposure, "main/paper/ETH/USDT", max_positions=1) is not None


@pytest.mark.parametrize(
    ("setting", "code", "used", "who"),
    [
        ("max_symbol_notional", Code.MAX_SYMBOL_NOTIONAL, "60", "book a/paper/BTC/USDT"),
        ("max_account_notional", Code.MAX_ACCOUNT_NOTIONAL, "90", "account a"),
        ("max_total_notional", Code.MAX_TOTAL_NOTIONAL, "95", "all accounts together"),
    ],
)
def test_notional_is_limited_and_the_limit_itself_is_within(
    setting: str, code: Code, used: str, who: str
) -> None:
    exposure = exposure_of(("a/paper/BTC/USDT", "60"), ("a/paper/ETH/USDT", "30"), ("b/paper/BTC/USDT", "5"))
    room: dict[str, Any] = {setting: Decimal(used) + Decimal("2.50")}
    assert ask(exposure, "a/paper/BTC/USDT", "2.5", **room) is None
    limit = f"{used[0]}{int(used[1:] or 0) + 2}.5"
    text = f"limits.{setting} is {limit}; {who} uses {used}, and this entry would add 2.500001"
    assert ask(exposure, "a/paper/BTC/USDT", "2.500001", **room) == (code, text)


def test_the_order_rate_is_per_account_and_minute() -> None:
    exposure = Exposure()
    for step in range(3):
        exposure.note_entry("main", NOW + step * 1000)
    assert exposure.entries_in_last_minute("main", NOW + 2000) == 3
    refused = ask(exposure, "main/paper/BTC/USDT", now_ms=NOW + 2000, max_orders_per_minute=3)
    text = "limits.max_orders_per_minute is 3, and account main had 3 entries in the last minute"
    assert refused == (Code.ORDER_RATE, text)
    assert ask(exposure, "other/paper/BTC/USDT", now_ms=NOW + 2000, max_orders_per_minute=3) is None
    assert ask(exposure, "main/paper/BTC/USDT", now_ms=NOW + 59_999, max_orders_per_minute=3) is not None
    assert ask(exposure, "main/paper/BTC/USDT", now_ms=NOW + 60_000, max_orders_per_minute=3) is None


def test_a_wall_clock_that_goes_back_neither_loses_nor_freezes_the_rate() -> None:
    exposure = Exposure()
    exposure.note_entry("main", NOW + 3_600_000)
    assert exposure.entries_in_last_minute("main", NOW) == 1
    assert exposure.entries_in_last_minute("main", NOW + 60_000) == 0


def test_a_million_entries_in_a_minute_fit_in_a_bucket_per_millisecond() -> None:
    exposure = Exposure()
    for number in range(5000):
        exposure.note_entry("main", NOW + number // 1000)
    assert exposure.entries_in_last_minute("main", NOW + 4) == 5000
    assert len(exposure._minutes["main"]._buckets) == 5


def test_what_cannot_be_a_notional_is_our_own_mistake() -> None:
    for bad in ("-1", "NaN"):
        with pytest.raises((ValueError, ArithmeticError)):
            Exposure().set_book("b", "a", Decimal(bad), busy=True)
        with pytest.raises((ValueError, ArithmeticError)):
            ask(Exposure(), "a/b/c", bad)


def test_limits_come_from_the_settings_and_do_not_bite_a_demonstration() -> None:
    demonstration = Limits.of(LimitSettings())
    assert demonstration.max_positions == LimitSettings().max_positions
    exposure = exposure_of(*((f"main/paper/COIN{number}/USDT", "10000") for number in range(50)))
    answer = check_entry(
        exposure,
        book_id="main/paper/X/USDT",
        account="main",
        notional=Decimal(10_000),
        now_ms=NOW,
        limits=demonstration,
    )
    assert answer is None


def test_begin_twice_is_a_mistake() -> None:
    exposure = Exposure()
    exposure.begin()
    with pytest.raises(RuntimeError, match="twice"):
        exposure.begin()
    exposure.rollback()
    exposure.begin()
    exposure.commit()


notionals = (
    st.decimals(min_value=0, max_value=10**24, places=18) | st.just(Decimal(0)) | st.just(Decimal("1E+48"))
)
changes = st.tuples(st.sampled_from("abcdef"), st.sampled_from(["main", "other"]), notionals, st.booleans())


def recomputed(books: dict[str, tuple[str, Decimal, bool]]) -> tuple[object, ...]:
    """The same sums from scratch, in another arithmetic."""

    def total(*accounts: str) -> Fraction:
        return sum(
            (Fraction(notional) for account, notional, _ in books.values() if account in accounts), Fraction()
        )

    busy = sum(busy for _, _, busy in books.values())
    return busy, total("main", "other"), total("main"), total("other")


def kept(exposure: Exposure) -> tuple[object, ...]:
    main, other = exposure.account_notional("main"), exposure.account_notional("other")
    return exposure.busy_books, *(Fraction(amount) for amount in (exposure.total_notional, main, other))


class Incremental(RuleBasedStateMachine):
    """Whatever happens in whatever order, thrown-away batches included, the sums are those of the books."""

    @initialize()
    def start(self) -> None:
        self.exposure = Exposure()
        self.books: dict[str, tuple[str, Decimal, bool]] = {}
        self.entries: list[tuple[str, int]] = []
        self.now = NOW
        self.saved: tuple[dict[str, tuple[str, Decimal, bool]], list[tuple[str, int]]] | None = None

    @rule(change=changes)
    def set_book(self, change: tuple[str, str, Decimal, bool]) -> None:
        book, account, notional, busy = change
        self.exposure.set_book(book, account, notional, busy)
        self.books[book] = (account, notional, busy)

    @rule(account=st.sampled_from(["main", "other"]), later=st.integers(0, 30_000))
    def note_entry(self, account: str, later: int) -> None:
        self.now += later
        self.exposure.note_entry(account, self.now)
        self.entries.append((account, self.now))

    @precondition(lambda self: self.saved is None)
    @rule()
    def begin(self) -> None:
        self.exposure.begin()
        self.saved = dict(self.books), list(self.entries)

    @precondition(lambda self: self.saved is not None)
    @rule(keep=st.booleans())
    def end(self, keep: bool) -> None:
        if keep:
            self.exposure.commit()
        else:
            self.exposure.rollback()
            assert self.saved is not None
            self.books, self.entries = self.saved
        self.saved = None

    @invariant()
    def sums_are_those_of_the_books(self) -> None:
        assert kept(self.exposure) == recomputed(self.books)
        for account in ("main", "other"):
            recent = sum(name == account and at > self.now - 60_000 for name, at in self.entries)
            assert self.exposure.entries_in_last_minute(account, self.now) == recent
        for book, (_, notional, busy) in self.books.items():
            assert (self.exposure.book_notional(book), self.exposure.is_busy(book)) == (notional, busy)


Incremental.TestCase.settings = settings(max_examples=150, stateful_step_count=30, deadline=None)
TestIncremental = Incremental.TestCase


@settings(max_examples=200, deadline=None)
@given(st.lists(changes, max_size=12), changes)
def test_an_accepted_entry_stays_within_every_limit(
    before: list[tuple[str, str, Decimal, bool]], entry: tuple[str, str, Decimal, bool]
) -> None:
    exposure, bounds = (
        Exposure(),
        limits(max_positions=3, max_total_notional=Decimal(10**25), max_symbol_notional=Decimal(10**24)),
    )
    for book, account, notional, busy in before:
        exposure.set_book(f"{account}/{book}", account, notional, busy)
    book, account, notional = f"{entry[1]}/{entry[0]}", entry[1], entry[2]
    answer = check_entry(
        exposure, book_id=book, account=account, notional=notional, now_ms=NOW, limits=bounds
    )
    was_within = exposure.busy_books <= 3
    after = Context(prec=200).add(exposure.book_notional(book), notional)
    if answer is None:
        exposure.set_book(book, account, after, busy=True)
        assert exposure.book_notional(book) <= bounds.max_symbol_notional
        assert exposure.account_notional(account) <= bounds.max_account_notional
        assert exposure.total_notional <= bounds.max_total_notional
        assert exposure.busy_books <= 3 or not was_within
