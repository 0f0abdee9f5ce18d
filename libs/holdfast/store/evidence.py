"""The outcomes of closed trades, as `verify` looks at them: beside the journal, so each is held against its trade."""

from collections.abc import Iterator

from pydantic import ValidationError

from holdfast.contracts.messages import Trade
from holdfast.contracts.outcomes import TradeOutcome
from holdfast.domain.outcomes import unlike
from holdfast.store.reading import Reader


def problems(store: Reader) -> Iterator[str | None]:
    """For each outcome that is kept: what is wrong with it, or None."""
    for position_id, closed_at, body, trade in store.rows(
        "SELECT o.position_id, o.closed_at, o.body, t.body FROM outcomes o LEFT JOIN trades t ON t.position_id = o.position_id"
    ):
        yield _problem(str(position_id), int(closed_at), body, trade)


def _problem(position_id: str, closed_at: int, body: str, trade: str | None) -> str | None:
    if trade is None:
        return f"the outcome of {position_id} belongs to no trade"
    try:
        outcome, known = TradeOutcome.model_validate_json(body), Trade.model_validate_json(trade)
    except ValidationError as error:
        return f"the outcome of {position_id}, or its trade, cannot be read: {error.errors()[0]['msg']}"
    if (outcome.position_id, outcome.closed_at) != (position_id, closed_at):
        return f"the outcome of {position_id}: its columns do not say what its body says"
    why = unlike(outcome, known)
    return f"the outcome of {position_id} is not that of its trade: {why}" if why else None
