"""What a producer may do: its symbols, the size of one entry, its rate. Pure; the executor asks for every proposal.

Symbols are an authority and hold for everything, closes and cancels included: who may not trade BTC may not close it either.
Size and rate are caps and hold for entries alone, because no cap ever stops an exit (INV-6). The rate is a bucket that holds
one second's worth, at least one entry.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal

from holdfast.contracts.codes import Code, Role
from holdfast.contracts.messages import OrderRequest, Refusal
from holdfast.contracts.money import canonical
from holdfast.domain.matching import notional
from holdfast.domain.precheck import refused


@dataclass(frozen=True, slots=True)
class Producer:
    """The limits of one producer; None and an empty set mean no limit."""

    name: str
    symbols: frozenset[str] = frozenset()
    """Canonical."""
    max_notional: Decimal | None = None
    """Of one entry, in quote currency."""
    rate_per_s: Decimal | None = None
    burst: Decimal | None = None
    """Most at once; None: one second's worth, at least one."""

    def owns(self, intent_id: str) -> bool:
        """Whether an intent of this id can be the producer's own."""
        return intent_id.startswith(f"{self.name}:")


def owner_of(intent_id: str, producers: Mapping[str, Producer]) -> str:
    """The producer in whose name an id is; empty when it is in nobody's."""
    name, colon, _ = intent_id.partition(":")
    return name if colon and name in producers else ""


@dataclass(slots=True)
class Allowances:
    """What is left of each producer's rate. Forgotten at a restart: then a second's worth is free again."""

    _left: dict[str, tuple[Decimal, int]] = field(default_factory=dict)
    """Name -> entries left, and the monotonic ms at which that was so."""

    def take(self, producer: Producer, mono_ms: int) -> bool:
        """Whether one more entry is within the rate; if so it is counted."""
        rate = producer.rate_per_s
        if rate is None:
            return True
        most = producer.burst or max(rate, Decimal(1))
        left, since = self._left.get(producer.name, (most, mono_ms))
        left = min(most, left + rate * max(0, mono_ms - since) / 1000)
        is_allowed = left >= 1
        self._left[producer.name] = (left - 1 if is_allowed else left, mono_ms)
        return is_allowed


def objection(
    producer: Producer, symbol: str, order: OrderRequest | None, allowances: Allowances, mono_ms: int
) -> Refusal | None:
    """Why *producer* may not have this: an *order* of *symbol*, or a cancel (None)."""
    if producer.symbols and symbol not in producer.symbols:
        may = ", ".join(sorted(producer.symbols))
        return refused(Code.PRODUCER_SYMBOL, f"{producer.name} may trade {may}, not {symbol}")
    if order is None or order.role is not Role.ENTRY:
        return None
    price = order.price or order.reference_price
    if producer.max_notional is not None:
        if price is None or order.quantity is None:
            return refused(Code.NO_PRICE, "without a price its value cannot be judged")
        value = notional(order.kind, order.quantity, price, order.contract_size)
        if value > producer.max_notional:
            reason = f"{canonical(value)} in one entry; {producer.name} may have {canonical(producer.max_notional)}"
            return refused(Code.PRODUCER_NOTIONAL, reason)
    if not allowances.take(producer, mono_ms):
        reason = f"{producer.name} may send {canonical(producer.rate_per_s or Decimal(0))} entries a second"
        return refused(Code.PRODUCER_RATE, reason)
    return None
