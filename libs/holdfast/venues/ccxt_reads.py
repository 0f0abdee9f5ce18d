"""Reading an account through ccxt: what counts as an answer, the instruments, and trades page by page.

A read either gives what was asked for or raises VenueUnreadable. Its text has no signature in it, and no exception of ccxt's
stays attached, because those carry whole addresses.
"""

from collections.abc import Awaitable, Mapping, Sequence
from typing import Any, TypeVar

from holdfast.contracts.base import ContractViolation
from holdfast.domain.instruments import canonical as canonical_symbol
from holdfast.runtime.clock import Clock
from holdfast.venues.capabilities import Capability
from holdfast.venues.ccxt_client import Clients
from holdfast.venues.ccxt_rows import rules_of, unique
from holdfast.venues.ccxt_watch import Watch
from holdfast.venues.outcomes import described
from holdfast.venues.port import Rules, VenueUnreadable

T = TypeVar("T")
PAGE = 1_000
"""Most trades in one answer."""
MOST_PAGES = 50
MOST_WINDOWS = 12
"""How many of an exchange's windows are read back at most."""
SKEW_MS = 2_000
"""How far the two clocks may differ without hiding an order from a read that begins when it was reserved."""


class Reads:
    """See the module. `open` must have been awaited. *symbols*: canonical names of what the account trades."""

    def __init__(
        self, account: str, capability: Capability, clients: Clients, clock: Clock, *, symbols: Sequence[str]
    ) -> None:
        self.account, self.exchange = account, capability.exchange
        self.capability, self.clients, self._clock = capability, clients, clock
        self.symbols = tuple(symbols)
        self._failures: tuple[type[Exception], ...] = (
            *clients.errors, AttributeError, KeyError, TypeError, ValueError,
        )  # fmt: skip
        """What a request or ccxt's reading of its answer may raise."""
        self._watch = Watch()
        self._rules: dict[str, Rules] = {}
        self._theirs: dict[str, str] = {}
        """Canonical symbol -> ccxt's."""

    async def open(self) -> None:
        """Read the instruments. Raises VenueUnreadable."""
        await self._asked(self.clients.load(), "instruments")
        for theirs, market in self.clients.read.markets.items():
            rules = rules_of(market)
            if rules is not None and rules.kind is self.capability.kind and rules.symbol not in self._rules:
                self._rules[rules.symbol], self._theirs[rules.symbol] = rules, theirs

    def rules(self, symbol: str) -> Rules | None:
        try:
            return self._rules.get(canonical_symbol(symbol))
        except ContractViolation:
            return None

    async def _asked(self, answer: Awaitable[T], what: str) -> T:
        """The answer of a read. Raises VenueUnreadable for everything that is none, in words without secrets."""
        try:
            return await answer
        except self._failures as error:
            raise VenueUnreadable(f"{what}: {described(error)}") from None

    async def _listed(self, answer: Awaitable[Any], what: str) -> list[Mapping[str, Any]]:
        rows = await self._asked(answer, what)
        if not isinstance(rows, list):
            raise VenueUnreadable(f"{what}: not a list")
        return rows

    def traded_symbols(self) -> list[str]:
        """What the account trades by its settings, and whatever else an order was seen of."""
        names = dict.fromkeys((*self.symbols, *(row.symbol for row in self._watch.rows.values())))
        return [symbol for symbol in names if symbol in self._theirs]

    async def _trade_rows(self, symbol: str, since: int) -> list[Mapping[str, Any]]:
        """Every trade of *symbol* at or after *since*, each once, oldest first; window after window, page after page."""
        window, now = self.capability.trades_window_ms, self._clock.wall_ms()
        start = max(since, now - MOST_WINDOWS * window)
        rows: list[Mapping[str, Any]] = []
        for _ in range(MOST_PAGES):
            until = min(start + window - 1, now + SKEW_MS)
            page = await self._listed(
                self.clients.read.fetch_my_trades(self._theirs[symbol], start, PAGE, {"until": until}),
                "trades",
            )
            rows += page
            if len(page) >= PAGE:
                start = max(int(row.get("timestamp") or 0) for row in page)
            elif until >= now:
                return unique(rows)
            else:
                start = until + 1
        raise VenueUnreadable(f"trades: more than {MOST_PAGES} pages of {symbol} since {since}")
