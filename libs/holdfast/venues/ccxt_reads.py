"""Reading an account through ccxt: what counts as an answer, the instruments, and trades page by page.

A read either gives what was asked for or raises VenueUnreadable. Its text has no signature in it, and no exception of ccxt's
stays attached, because those carry whole addresses.
"""

from collections.abc import Awaitable, Mapping, Sequence
from typing import Any, TypeVar

from holdfast.contracts.base import ContractViolation
from holdfast.contracts.codes import Kind
from holdfast.domain.instruments import canonical as canonical_symbol
from holdfast.runtime.clock import Clock
from holdfast.venues.capabilities import Capability
from holdfast.venues.ccxt_client import Clients
from holdfast.venues.ccxt_history import History
from holdfast.venues.ccxt_rows import rules_of, unique
from holdfast.venues.ccxt_watch import Watch
from holdfast.venues.ccxt_ways import ways_of
from holdfast.venues.outcomes import described
from holdfast.venues.port import Rules, VenueUnreadable

T = TypeVar("T")


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
        self._ways = ways_of(capability, clients)
        self._watch = Watch()
        self._history = History()
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

    def _there(self, symbol: str) -> str:
        """Ccxt's name of a canonical symbol. Raises VenueUnreadable where the exchange has no such market, or no longer."""
        found = self._theirs.get(symbol)
        if found is None:
            raise VenueUnreadable(f"{symbol}: {self.exchange} has no such market")
        return found

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

    @property
    def shows_coins(self) -> bool:
        """Whether it knows coins instead of positions."""
        return self.capability.kind is Kind.SPOT

    @property
    def pays_funding(self) -> bool:
        """Whether its funding can be read."""
        return self.exchange == "binanceusdm"

    async def _trade_rows(self, symbols: Sequence[str], since: int) -> dict[str, list[Mapping[str, Any]]]:
        """Every trade of *symbols* at or after *since*, each once, oldest first, by symbol. On spot what was read is kept."""
        now, start, anew = self._clock.wall_ms(), since, True
        if self.shows_coins:
            start, anew = self._history.start(symbols, since)
        theirs = [self._there(symbol) for symbol in symbols]
        found = await self._asked(self._ways.trades(theirs, start, now), "trades")
        rows = {symbol: unique(found[self._there(symbol)]) for symbol in symbols}
        return self._history.take(rows, since, now, anew=anew) if self.shows_coins else rows
