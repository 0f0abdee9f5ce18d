"""The dialect of Binance USD-M futures: `futures` on an exchange with margin, and the user's stream behind a listen key."""

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any

from venue_sim import binance_errors
from venue_sim.binance import Binance
from venue_sim.dialects import Document, Line
from venue_sim.door import Door
from venue_sim.exchange import Exchange
from venue_sim.faults import Kind
from venue_sim.futures import ENDPOINTS, Futures
from venue_sim.market import Quote
from venue_sim.matching import Tell
from venue_sim.orders import Algo, Order, Trade
from venue_sim.rows import empty_hedge_rows
from venue_sim.stream import PriceLine, account_event, algo_event, expired_event, order_event


class Usdm(Binance[Futures]):
    """See the module."""

    def __init__(
        self, clock: Callable[[], int], *, key: str, secret: str, wallet: Decimal, tell: Tell
    ) -> None:
        self.exchange = Exchange(clock, wallet=wallet, tell=tell)
        self.futures = Futures(self.exchange)
        super().__init__(
            self.futures, self.exchange, ENDPOINTS, Door(clock, key, secret), binance_errors.FUTURES
        )

    def _reordered(self, rows: list[Any], kind: Kind) -> list[Any]:
        if kind is Kind.HEDGE_ROWS:
            return rows + [row for symbol in self.exchange.specs for row in empty_hedge_rows(symbol)]
        return super()._reordered(rows, kind)

    def line(self, path: str, query: Mapping[str, str]) -> Line | None:
        """/ws/KEY, or /private/ws?listenKey=KEY; prices, for anybody, at /ws/NUMBER."""
        if path.rpartition("/")[2].isdecimal():
            return PriceLine(self.exchange.clock)
        key = query.get("listenKey", "") or path.rpartition("/")[2]
        return KeyLine(self, key) if self.knows(key) else None

    def knows(self, key: str) -> bool:
        return key == self.futures.listen_key and self.exchange.clock() <= self.futures.listen_until

    def end_key(self) -> None:
        self.futures.listen_key = None


class KeyLine:
    """Whoever listens with a key, for as long as it is worth something."""

    def __init__(self, dialect: Usdm, key: str) -> None:
        self._dialect, self._key = dialect, key

    @property
    def listens(self) -> bool:
        return self._dialect.knows(self._key)

    def hear(self, text: str) -> Sequence[Document]:  # noqa: ARG002 - nothing is answered here
        return ()

    def tell(self, order: Order | Algo, trade: Trade | None) -> Sequence[Document]:
        exchange = self._dialect.exchange
        if not self.listens:
            return ()
        if isinstance(order, Algo):
            return (algo_event(order, exchange.orders.get(order.order), exchange.clock()),)
        events = [order_event(order, trade, exchange.clock())]
        if trade is not None:
            events.append(account_event(exchange.account, order.ask.symbol, exchange.clock()))
        return events

    def price(self, symbol: str, quote: Quote) -> Sequence[Document]:  # noqa: ARG002 - a stream of its own
        return ()

    def farewell(self) -> Sequence[Document]:
        return (expired_event(self._key, self._dialect.exchange.clock()),)
