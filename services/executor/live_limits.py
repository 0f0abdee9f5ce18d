"""What a live account may do beyond the ledger's limits: its own symbols, its own notional, and a day's loss. Entries only.

The day's result is the venue's own word, read again every `EVERY_MS`, so nothing of it has to survive a restart. On futures it counts
whoever traded; on spot our own orders alone, because whose the other coins are, and what for, nobody knows. As long as it has not been read, or cannot be, there are no entries; exits never ask.
"""

from collections.abc import Callable, Collection
from decimal import Decimal

from holdfast.contracts.codes import Code
from holdfast.contracts.messages import OrderRequest
from holdfast.contracts.money import ZERO, canonical
from holdfast.domain.matching import notional
from holdfast.domain.view import LedgerView
from holdfast.runtime.clock import Clock
from holdfast.runtime.live_settings import AccountSettings
from holdfast.runtime.settings import Settings
from services.executor.coins import Coins, quantities_at
from services.executor.guard import Guard, Key, Remote
from services.executor.terms import live_of
from services.executor.wallets import Wallets

EVERY_MS = 10_000
DAY_MS = 24 * 3600 * 1000
Objection = tuple[Code, str] | None


class LiveLimits:
    """See the module. *used* gives what an account's positions and entries come to."""

    def __init__(
        self,
        settings: Settings,
        clock: Clock,
        view: LedgerView,
        guard: Guard,
        coins: Coins,
        used: Callable[[str], Decimal],
    ) -> None:
        self.accounts, self._guard, self._clock, self._used = live_of(settings), guard, clock, used
        self._view, self.wallets = view, Wallets(settings, clock, view, guard, coins)
        self._results: dict[str, tuple[int, Decimal]] = {}
        """Account -> the UTC day that was read, and its result."""
        self._due: dict[Key, int] = {}

    async def refresh(self, keys: Collection[Key]) -> None:
        """Read the day's results at *keys*, where it is time to."""
        now = self._clock.monotonic_ms()
        for key, venue in list(self._guard.remotes.items()) if self.accounts else ():
            if key in keys and key[0] in self.accounts and now >= self._due.get(key, 0):
                self._due[key] = now + EVERY_MS
                await self._read(key, venue)

    async def _read(self, key: Key, venue: Remote) -> None:
        day = self._day()
        result = await self._guard.read(
            key, "the day's result", venue.day_result(quantities_at(self._view, key))
        )
        if result is not None:
            self._results[key[0]] = (day, result)

    def is_unread(self, account: str) -> bool:
        """Whether the day's result of a live *account* is still to be read: right after a start, and after a UTC midnight; or its wallet is."""
        return account in self.accounts and (
            self._results.get(account, (-1, ZERO))[0] != self._day()
            or self.wallets.unbegun(account) is not None
        )

    def _day(self) -> int:
        return self._clock.wall_ms() // DAY_MS

    def objection(self, account: str, symbol: str, order: OrderRequest) -> Objection:
        """Why this entry is refused; None where the account is on paper, or within its limits."""
        limits = self.accounts.get(account)
        if limits is None:
            return None
        section = f"[account.{account}]"
        if symbol not in limits.symbols:
            return Code.UNKNOWN_SYMBOL, f"{section} symbols does not list {symbol}"
        if (unbegun := self.wallets.unbegun(account)) is not None:
            return Code.VENUE_UNREADABLE, unbegun
        return self._of_loss(account, limits, section) or self._of_value(account, limits, section, order)

    def _of_loss(self, account: str, limits: AccountSettings, section: str) -> Objection:
        day, result = self._results.get(account, (-1, ZERO))
        if day != self._day():
            return Code.VENUE_UNREADABLE, f"{section} daily_loss: the day's result has not been read yet"
        if limits.daily_loss is not None and -result >= limits.daily_loss:
            text = f"{section} daily_loss is {canonical(limits.daily_loss)}, and this UTC day stands at {canonical(result)}"
            return Code.DAILY_LOSS, text
        return None

    def _of_value(
        self, account: str, limits: AccountSettings, section: str, order: OrderRequest
    ) -> Objection:
        price, quantity = order.price or order.reference_price, order.quantity
        if limits.max_notional is None or price is None or quantity is None:
            return (
                Code.MAX_ACCOUNT_NOTIONAL,
                f"{section} max_notional: what this entry would come to is not known",
            )
        more, used = notional(order.kind, quantity, price, order.contract_size), self._used(account)
        if used + more <= limits.max_notional:
            return None
        text = f"{section} max_notional is {canonical(limits.max_notional)}; the account uses {canonical(used)}, and this entry would add {canonical(more)}"
        return Code.MAX_ACCOUNT_NOTIONAL, text
