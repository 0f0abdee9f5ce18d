"""What lies in the wallets of the live accounts, in the base currency: read with the comparisons, once a minute.

It says two things. Where the settings do not say what an account began with, the ledger is told once (`nav.mark`, `began`) and NAV counts
from that for ever; until it is recorded the account has no NAV, and no entries. Where they do, and nothing has traded yet, what is far off is
told while it can still be mended. Otherwise it is only shown: a read that fails here stands in nobody's way.
"""

from collections.abc import Collection, Iterator
from decimal import Decimal

from holdfast.contracts.money import ZERO, canonical
from holdfast.domain.view import LedgerView
from holdfast.domain.wallets import WALLETS, is_far_off, written
from holdfast.runtime.clock import Clock
from holdfast.runtime.live_settings import capital_of
from holdfast.runtime.settings import Settings
from holdfast.venues.port import VenueUnreadable
from services.executor.coins import Coins
from services.executor.guard import Guard, Key
from services.executor.terms import live_of

EVERY_MS, AGAIN_MS = 60_000, 2_000


class Wallets:
    """See the module."""

    def __init__(
        self, settings: Settings, clock: Clock, view: LedgerView, guard: Guard, coins: Coins
    ) -> None:
        self._clock, self._view, self._guard, self._coins = clock, view, guard, coins
        self._capital, self._base = capital_of(settings), settings.ledger.base_currency
        self._live = live_of(settings)
        self._due: dict[Key, int] = {}
        self.amounts: dict[str, Decimal] = {}
        """By account, as they were read last."""

    async def refresh(self, keys: Collection[Key]) -> None:
        """Read those of *keys* for which it is time."""
        now = self._clock.monotonic_ms()
        for key in list(self._guard.remotes) if self._live else ():
            if key in keys and key[0] in self._live and now >= self._due.get(key, 0):
                found = await self._read(key)
                if not self._coins.are_at(key):
                    self._due[key] = now + (AGAIN_MS if found is None else EVERY_MS)
                if found is not None:
                    self.amounts[key[0]] = found

    async def _read(self, key: Key) -> Decimal | None:
        """On spot the comparison has just read it."""
        if self._coins.are_at(key):
            return self._coins.whole(key, self._base)
        try:
            return await self._guard.remotes[key].wallet(self._base)
        except VenueUnreadable:
            return None

    def told(self) -> dict[str, str]:
        """For the heartbeat's details."""
        return {WALLETS: written(self.amounts)}

    def _unrecorded(self) -> Iterator[str]:
        """Live accounts of which the ledger knows nothing yet."""
        return (account for account in self._live if account not in self._view.nav)

    def began(self) -> dict[str, Decimal]:
        """What the ledger is to record: what the accounts begin with whose settings do not say it."""
        known = self.amounts
        return {
            account: known[account]
            for account in self._unrecorded()
            if account in self._capital.unsaid and known.get(account, ZERO) > 0
        }

    def unbegun(self, account: str) -> str | None:
        """Why *account* has no entries yet; None where it is known what it began with, or there is nothing to begin with."""
        if (
            account not in self._live
            or account not in self._capital.unsaid
            or account in self._view.nav
            or self.amounts.get(account, Decimal(1)) <= 0
        ):
            return None
        return f"[account.{account}] capital is not set, and what the wallet begins with is not in the ledger yet"

    def warnings(self) -> Iterator[str]:
        """What does not fit, as long as the settings can still be put right."""
        for account in self._unrecorded():
            wallet, capital = self.amounts.get(account), self._capital.of(account)
            if wallet is None:
                continue
            where = f"the wallet at {self._live[account].exchange} holds {canonical(wallet)} {self._base}"
            if account not in self._capital.unsaid:
                if is_far_off(capital, wallet):
                    yield f"[account.{account}] capital is {canonical(capital)}, and {where}: NAV and sizes in percent of it would be wrong"
            elif wallet <= 0:
                yield f"[account.{account}] capital is not set, and {where}: NAV is not known"
