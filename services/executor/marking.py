"""Tells the ledger what this executor's accounts are worth, once a second, where a rule in the settings needs it.

It is the executor's business because nothing is opened without it: a rule that needs NAV adds no service whose silence would
stop entries. Prices are believed by the same rules as everywhere (`domain.valuation.Marks`): one bad print must not set a
high-water mark for ever.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal

from holdfast.contracts.messages import Tick
from holdfast.contracts.portfolio import NavMark
from holdfast.contracts.rows import PositionRow
from holdfast.contracts.streams import NAV_MARK
from holdfast.contracts.wire import Entry, Out, Outgoing, entry_time_ms
from holdfast.domain.holdings import Basis, Holdings
from holdfast.domain.instruments import tick_of_book
from holdfast.domain.valuation import Marks
from holdfast.domain.view import LedgerView
from holdfast.runtime.clock import Clock
from holdfast.runtime.ids import Ids
from holdfast.runtime.limit_settings import portfolio_of
from holdfast.runtime.live_settings import capital_of
from holdfast.runtime.settings import Settings

EVERY_MS, PAUSE_FACTOR = 1000, 20
"""Between two marks; and never again before so many times what the last one took."""


class Marking:
    """See the module. *accounts*: those that this executor serves; *began*: what the ledger has to be told of some, once. Does nothing
    else where no rule needs NAV.
    """

    def __init__(
        self,
        settings: Settings,
        clock: Clock,
        ids: Ids,
        view: LedgerView,
        accounts: Callable[[], Iterable[str]],
        began: Callable[[], Mapping[str, Decimal]] = dict,
    ) -> None:
        self._clock, self._ids, self._view, self._accounts, self._began = clock, ids, view, accounts, began
        self._capital, self._base = capital_of(settings), settings.ledger.base_currency
        self._max_age_ms = int(settings.executor.max_tick_age_s * 1000)
        self._marks, self._holdings = Marks(settings.scanner.bad_print_pct), Holdings()
        self._not_before = 0
        self.is_on = portfolio_of(settings).needs_nav

    def load(self) -> None:
        """The view was loaded from a snapshot."""
        if self.is_on:
            self._holdings.load(self._view.positions.values())

    def take_positions(self, rows: Sequence[PositionRow]) -> None:
        if self.is_on:
            for row in rows:
                self._holdings.take(row)

    def take_ticks(self, batch: Sequence[Entry]) -> None:
        if not self.is_on:
            return
        now = self._clock.wall_ms()
        for entry in batch:
            tick = tick_of_book(entry.message) if isinstance(entry.message, Tick) else None
            if tick is not None:
                self._marks.take(tick, min(now, entry_time_ms(entry.entry_id)))

    def due(self) -> list[Outgoing]:
        """The mark, when it is time for one."""
        started = self._clock.monotonic_ms()
        began = self._began()
        if not (self.is_on or began) or started < self._not_before:
            return []
        mark = self._mark(began)
        took = self._clock.monotonic_ms() - started
        self._not_before = started + max(EVERY_MS, PAUSE_FACTOR * took)
        return [Out(NAV_MARK, mark)]

    def _mark(self, began: Mapping[str, Decimal]) -> NavMark:
        view, now = self._view, self._clock.wall_ms()
        basis = Basis(
            totals=view.totals.values(), navs=view.nav.values(), marks=self._marks.by_symbol, now_ms=now,
            max_mark_age_ms=self._max_age_ms, capital=self._capital, base_currency=self._base,
        )  # fmt: skip
        found = {
            account: self._holdings.nav_of(account, basis)
            for account in sorted(set(self._accounts() if self.is_on else ()))
        }
        return NavMark(
            id=f"n-{self._ids.new()}", at=now, currency=self._base,
            navs={account: nav for account, nav in found.items() if not isinstance(nav, str)},
            missing={account: why[:1000] for account, why in found.items() if isinstance(why, str)}, began=began,
        )  # fmt: skip
