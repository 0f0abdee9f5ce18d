"""One simulated venue: its clock, its dialect, its faults and the record of what was asked. Everything but sockets."""

from collections.abc import Callable
from decimal import Decimal

from venue_sim.catalog import DIALECTS
from venue_sim.dialects import Answer, Dialect, Request
from venue_sim.faults import Fault, Faults, Kind
from venue_sim.matching import Tell
from venue_sim.orders import Algo, Order, Trade


class Venue:
    """One venue with one account. *clock* is the true time, ms; the venue's own is `skew_ms` ahead of it. Raises KeyError for
    a *dialect* that is not in the catalog.
    """

    def __init__(
        self,
        clock: Callable[[], int],
        *,
        key: str,
        secret: str,
        wallet: Decimal = Decimal(1_000_000),
        tell: Tell | None = None,
        dialect: str = "binanceusdm",
    ) -> None:
        self._true_clock, self.skew_ms = clock, 0
        self.dialect: Dialect = DIALECTS[dialect].make(
            self.clock, key=key, secret=secret, wallet=wallet, tell=tell or _nobody
        )
        self.exchange = self.dialect.exchange
        self.faults = Faults()
        self.log: list[tuple[str, str]] = []
        """Method and path of every request that came in."""

    def clock(self) -> int:
        return self._true_clock() + self.skew_ms

    def answer(self, request: Request) -> Answer:
        """Do what is asked."""
        return self.dialect.answer(request)

    def spoiled(self, answer: Answer, fault: Fault) -> Answer:
        """*answer* as *fault* makes it; faults of the connection are the server's."""
        return self.dialect.spoiled(answer, fault)

    def refused(self, kind: Kind) -> Answer:
        """The answer of a fault that prevents the request."""
        return self.dialect.refused(kind)


def _nobody(order: Order | Algo, trade: Trade | None) -> None:
    """Nobody listens."""
