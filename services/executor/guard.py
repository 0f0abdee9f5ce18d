"""The venues, and what is known about whether they can be trusted.

A read that fails is no answer (INV-7): it is remembered here as trouble, entries of that account are refused until the
same read succeeds, and the light turns red. A record that another process has taken over ends the service (INV-9).
"""

import logging
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Protocol, TypeVar, runtime_checkable

from holdfast.contracts.codes import Code
from holdfast.contracts.messages import Fill
from holdfast.contracts.rows import OrderRow
from holdfast.domain.view import LedgerView
from holdfast.runtime.faults import EXIT_HELD, Terminal
from holdfast.venues.capabilities import Switch
from holdfast.venues.paper import PaperVenue
from holdfast.venues.paper_record import RecordTaken
from holdfast.venues.port import Outcome, OutcomeKind, Venue, VenueUnreadable

log = logging.getLogger("holdfast.executor")
T = TypeVar("T")
ASK_AGAIN_MS = 2_000
"""After a read that failed."""
Key = tuple[str, str]
"""(account, exchange)"""


@runtime_checkable
class Numbered(Protocol):
    """A venue that numbers its trades, so that "the latest" does not depend on market time."""

    @property
    def last_trade_number(self) -> int: ...

    async def trades_after(self, number: int, limit: int = 10_000) -> list[Fill]: ...


@runtime_checkable
class Remote(Protocol):
    """A venue that trades for itself, elsewhere: it is told which orders the ledger shows, and asks about them by itself."""

    def take_row(self, row: OrderRow) -> None: ...

    def start_again(self) -> None:
        """The view was loaded afresh; every live row is told once more."""
        ...

    async def day_result(self, held: Mapping[str, Decimal]) -> Decimal:
        """What this UTC day has brought, what is open included, in settlement currency. Raises VenueUnreadable.

        *held*: the ledger's positions there, by symbol.
        """
        ...

    async def wallet(self, currency: str) -> Decimal:
        """What the account has of *currency*, without what open positions have won or lost. Raises VenueUnreadable."""
        ...

    @property
    def pays_funding(self) -> bool:
        """Whether its funding can be read."""
        ...

    async def funding_since(self, at: int) -> list[Fill]:
        """What was paid or received for holding positions, as fills that move nothing. Raises VenueUnreadable."""
        ...

    @property
    def switch(self) -> Switch:
        """What it cancels by itself when it is not told in time that somebody is here."""
        ...

    async def cancel_after(self, symbol: str, ms: int) -> None:
        """It is to do so for *symbol* (empty: for all) in *ms*, unless told anew; 0 takes it back. Raises VenueUnreadable."""
        ...

    @property
    def shows_coins(self) -> bool:
        """Whether it is spot: it knows coins, and not which of them are a position."""
        ...

    async def balances(self) -> dict[str, tuple[Decimal, Decimal]]:
        """Currency -> (free, total). Raises VenueUnreadable."""
        ...


class Guard:
    """See the module. `venues` may be filled after construction, before the ledger's view is loaded."""

    def __init__(self, venues: Mapping[Key, Venue]) -> None:
        self.venues = venues
        self._trouble: dict[Key, dict[str, str]] = {}
        self._mismatch: dict[Key, str] = {}
        self.remotes: dict[Key, Remote] = {}
        """Those of the venues that are real exchanges."""
        self.closed: dict[Key, str] = {}
        """Exchanges that have not answered since the start, and what came back instead: nothing goes there yet."""

    def admit(self, key: Key) -> None:
        """The exchange has answered at last, and is as the settings say."""
        self.closed.pop(key, None)
        venue = self.venues[key]
        if isinstance(venue, Remote):
            self.remotes[key] = venue

    def start_again(self) -> None:
        """The ledger's view was loaded afresh, and by now all venues are open."""
        self.remotes = {key: venue for key, venue in self.venues.items() if isinstance(venue, Remote)}
        for venue in self.remotes.values():
            venue.start_again()

    def take_row(self, row: OrderRow) -> None:
        """An order as the ledger shows it."""
        if self.remotes and (venue := self.remotes.get((row.account, row.exchange))) is not None:
            venue.take_row(row)

    async def read(self, key: Key, what: str, answer: Awaitable[T]) -> T | None:
        """The venue's *answer*, or None when it gave none; *what* names the kind of read."""
        try:
            result = await answer
        except VenueUnreadable as error:
            troubles = self._trouble.setdefault(key, {})
            if what not in troubles:
                log.warning("%s/%s: no entries until the venue answers again: %s: %s", *key, what, error)
            troubles[what] = str(error)
            return None
        except RecordTaken as error:
            raise Terminal(str(error), EXIT_HELD) from error
        self._answered(key, what)
        return result

    def _answered(self, key: Key, what: str) -> None:
        if key in self._trouble:
            self._trouble[key].pop(what, None)
            if not self._trouble[key]:
                del self._trouble[key]

    def asked_no_more(self, what: str, asked: Callable[[], Collection[Key]]) -> None:
        """A question of this kind that failed, and that nobody has reason to ask again, stands in nobody's way: its order has ended
        otherwise. *asked*: the venues of which it still will be asked.
        """
        failed = [key for key, troubles in self._trouble.items() if what in troubles]
        if failed:
            still = asked()
            for key in failed:
                if key not in still:
                    self._answered(key, what)

    async def send(self, key: Key, rows: Sequence[OrderRow], now_ms: int) -> list[Outcome]:
        """Outcomes of sending *rows*; whatever raises leaves them UNKNOWN, because it may have raised after the wire."""
        try:
            return await self.venues[key].submit(rows, now_ms=now_ms)
        except RecordTaken as error:
            raise Terminal(str(error), EXIT_HELD) from error
        except Exception as error:
            log.exception("%s/%s: a send of %d orders has no clear answer", *key, len(rows))
            reason = f"{type(error).__name__}: {error}"[:1000]
            return [Outcome(row.order_id, OutcomeKind.UNKNOWN, reason=reason) for row in rows]

    def bind(self, view: LedgerView) -> None:
        """Check that each venue's own record and this ledger are of one history, and tie them together."""
        before, self._mismatch = self._mismatch, {}
        for key, venue in self.venues.items():
            if not isinstance(venue, PaperVenue):
                continue
            has_fills = any(
                total.fills for total in view.totals.values() if (total.account, total.exchange) == key
            )
            why = venue.record.belongs_to(view.store_id, has_fills)
            if why is None:
                venue.record.bind_store(view.store_id)
                continue
            self._mismatch[key] = why
            if before.get(key) != why:
                log.error("%s", why)

    async def recent(self, key: Key, since: int, most: int) -> list[Fill] | None:
        """The venue's latest trades, at most *most*: those after market time *since*, or the last ones by number."""
        venue = self.venues[key]
        if isinstance(venue, Numbered):
            return await self.read(
                key, "trades", venue.trades_after(max(0, venue.last_trade_number - most), most)
            )
        trades = await self.read(key, "trades", venue.trades_since(since))
        return None if trades is None else trades[-most:]

    def objection(self, key: Key) -> tuple[Code, str] | None:
        """Why no entry may go to this venue."""
        if key in self._mismatch:
            return Code.RECORD_MISMATCH, self._mismatch[key]
        if key in self._trouble:
            return Code.VENUE_UNREADABLE, next(iter(self._trouble[key].values()))
        return None

    def is_silent(self, key: Key) -> bool:
        """Whether a read of this venue has failed and not succeeded since."""
        return key in self._trouble

    def complaints(self) -> Iterable[str]:
        """For the heartbeat: why what the venues say cannot be trusted."""
        yield from self._mismatch.values()
        for (account, exchange), troubles in self._trouble.items():
            for what, why in troubles.items():
                yield f"{account}/{exchange}: {what}: {why}"
