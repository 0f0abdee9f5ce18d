"""What the ledger makes of the outcome of a closed trade: kept once, and only of a trade that it knows and that it fits."""

from holdfast.contracts.base import ContractViolation
from holdfast.contracts.messages import Trade
from holdfast.contracts.outcomes import TradeOutcome


def unlike(outcome: TradeOutcome, trade: Trade) -> str:
    """In what *outcome* does not say of its trade what the trade says; empty where it does."""
    pairs = {
        "position_id": (outcome.position_id, trade.position_id),
        "row.position_id": (outcome.row.position_id, trade.position_id),
        "symbol": (outcome.row.symbol, trade.symbol),
        "side": (outcome.row.side, trade.side),
        "closed_at": (outcome.closed_at, trade.closed_at),
        "exit_reason": (outcome.exit_reason, trade.exit_reason),
        "exit_price": (outcome.exit_price, trade.exit_price),
        "realized_pnl": (outcome.realized_pnl, trade.realized_pnl),
    }
    return "; ".join(
        f"{name} {said}, the trade {known}" for name, (said, known) in pairs.items() if said != known
    )


def check(outcome: TradeOutcome, trade: Trade) -> None:
    """Raises ContractViolation where *outcome* may not be kept, because it says something else than *trade*."""
    why = unlike(outcome, trade)
    if why:
        raise ContractViolation("position_id", f"this is not the trade {outcome.position_id}: {why}"[:900])
