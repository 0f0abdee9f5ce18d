"""What an account is worth, for entries whose size is a share of it: the ledger's rows at the executor's prices.

The same arithmetic as the state files' NAV, of one account. An account with a position that has no fresh price has no NAV
here, rather than an old one: nobody risks a percent of something that is not known.
"""

from holdfast.domain.kpi import Appraiser, Inputs
from holdfast.domain.sizing import Means, Worth
from holdfast.domain.valuation import Mark, Rates, middle
from holdfast.domain.view import LedgerView
from holdfast.runtime.clock import Clock
from holdfast.runtime.exit_settings import policy_table
from holdfast.runtime.live_settings import capital_of
from holdfast.runtime.settings import Settings
from services.executor.prices import Prices


def means_of(settings: Settings, view: LedgerView, prices: Prices, clock: Clock) -> Means:
    """What sizes are made of here. The fee is the paper venue's; where an exchange says its own, that counts."""
    worths = Worths(settings, view, prices, clock)
    return Means(worths.of, policy_table(settings).of, settings.paper.fee_pct)


class Worths:
    """See the module."""

    def __init__(self, settings: Settings, view: LedgerView, prices: Prices, clock: Clock) -> None:
        self._view, self._prices, self._clock = view, prices, clock
        self._capital, self._base = capital_of(settings), settings.ledger.base_currency
        self._max_age_ms = int(settings.executor.max_tick_age_s * 1000)

    def of(self, account: str) -> Worth:
        """NAV of *account* now, in the base currency, with fresh prices only."""
        now, view = self._clock.wall_ms(), self._view
        marks = {
            symbol: Mark(middle(quote.bid, quote.ask), quote.received_ms)
            for symbol, quote in self._prices.all().items()
            if now - quote.received_ms <= self._max_age_ms
        }
        inputs = Inputs(
            positions=[row for row in view.positions.values() if row.account == account],
            totals=[row for row in view.totals.values() if row.account == account],
            navs=[row for row in view.nav.values() if row.account == account],
            marks=marks, now_ms=now, max_mark_age_ms=self._max_age_ms, accounts=[account], capital=self._capital, base_currency=self._base,
        )  # fmt: skip
        found = Appraiser().appraise(inputs)
        return Worth(found.nav, Rates(marks, self._base), "; ".join(found.nav_stale))
