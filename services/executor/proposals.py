"""What an intent has become before it is proposed to the ledger, and the refusals that need nothing but the intent."""

from dataclasses import dataclass
from decimal import Decimal

from holdfast.contracts.base import MAX_BODY_BYTES, ContractViolation
from holdfast.contracts.codes import Code, Leg, ResultStatus
from holdfast.contracts.messages import CancelRequest, OrderIntent, OrderRequest, Refusal
from holdfast.contracts.rows import PositionRow
from holdfast.domain.instruments import STEP, canonical
from holdfast.domain.precheck import refused
from holdfast.venues.port import Rules


@dataclass(slots=True)
class Proposal:
    """What is proposed for one intent."""

    symbol: str
    leg: Leg = Leg.NET
    order: OrderRequest | None = None
    cancel: CancelRequest | None = None
    refusal: Refusal | None = None

    @classmethod
    def of(cls, symbol: str, leg: Leg, outcome: OrderRequest | Refusal) -> "Proposal":
        if isinstance(outcome, OrderRequest):
            return cls(symbol, leg, order=outcome)
        return cls(symbol, leg, refusal=outcome)


def quantity_of(intent: OrderIntent | None, proposal: Proposal) -> Decimal | None:
    """What was attempted: as the intent says it, or what its size came to."""
    if intent is not None and intent.quantity is not None:
        return intent.quantity
    return proposal.order.quantity if proposal.order is not None else None


def malformed(error: ContractViolation | None, body: bytes) -> Refusal:
    text = str(error) if error is not None else "body: this is no intent"
    return refused(
        Code.TOO_LARGE if len(body) > MAX_BODY_BYTES else Code.MALFORMED, text, ResultStatus.INVALID
    )


def why_unknown(named: str) -> str:
    try:
        return f"{canonical(named)} is not traded at this venue"
    except ContractViolation as error:
        return str(error)


def rules_of(position: PositionRow) -> Rules:
    base, _, quote = position.symbol.partition("/")
    zero = position.quantity - position.quantity
    return Rules(
        position.symbol,
        position.kind,
        base,
        quote,
        position.settle,
        position.contract_size,
        STEP,
        STEP,
        zero,
        zero,
    )
