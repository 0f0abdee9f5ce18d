"""The latest usable price of every symbol, with the wall time at which it was received."""

from collections.abc import Iterable, Mapping

from holdfast.contracts.base import ContractViolation
from holdfast.contracts.messages import Tick
from holdfast.domain.instruments import canonical
from holdfast.domain.matching import usable
from holdfast.domain.precheck import Quote


class Prices:
    """By canonical symbol. A crossed or empty print is no price."""

    def __init__(self) -> None:
        self._quotes: dict[str, Quote] = {}

    def take(self, ticks: Iterable[Tick], now_ms: int) -> list[Tick]:
        """The ticks under their canonical symbols; those whose symbol names nothing that can be traded are left out."""
        readable = []
        for tick in ticks:
            try:
                symbol = canonical(tick.symbol)
            except ContractViolation:
                continue  # nobody can hold it, so nobody waits for its price
            readable.append(tick if symbol == tick.symbol else tick.evolve(symbol=symbol))
            if usable(tick.bid, tick.ask):
                self._quotes[symbol] = Quote(tick.bid, tick.ask, now_ms)
        return readable

    def get(self, symbol: str) -> Quote | None:
        return self._quotes.get(symbol)

    def all(self) -> Mapping[str, Quote]:
        """Every quote, by symbol; old ones, too."""
        return self._quotes

    def __len__(self) -> int:
        return len(self._quotes)
