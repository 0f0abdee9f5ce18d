"""What one committed update puts on the bus: itself, numbered by its sequence, and what it caused.

Everything here is a function of the journal's row, so it can be published again, the same, at any time.
"""

from collections.abc import Iterator

from holdfast.contracts.messages import IntentResult, LedgerUpdated
from holdfast.contracts.rows import IntentRow
from holdfast.contracts.streams import INTENT_RESULT, LEDGER_TRADE, LEDGER_UPDATED, ORDER_BLOCKED
from holdfast.contracts.wire import Numbered, Out, Outgoing, digest
from holdfast.store.batch import Journaled


def numbered(row: Journaled) -> Numbered:
    """The entry of `ledger.updated` for a journal row."""
    return Numbered(
        LEDGER_UPDATED, f"{row.seq}-0", f"u-{row.seq}", row.body, (("kind", row.kind), ("hash", row.hash))
    )


def caused(update: LedgerUpdated) -> Iterator[Outgoing]:
    """Answers, refusals and trades that *update* contains."""
    for intent in update.intents:
        yield Out(INTENT_RESULT, result(intent, update))
    for blocked in update.blocked:
        yield Out(ORDER_BLOCKED, blocked)
    for trade in update.trades:
        yield Out(LEDGER_TRADE, trade)


def result(intent: IntentRow, update: LedgerUpdated) -> IntentResult:
    """The answer that an intent's row is."""
    return IntentResult.trusted(
        id="a-" + digest(intent.intent_id, str(update.seq)), cause_id=update.cause_id, correlation_id=intent.correlation_id, at=update.at,
        intent_id=intent.intent_id, status=intent.status, code=intent.code, reason=intent.reason, order_id=intent.order_id,
        filled_quantity=intent.filled_quantity, average_price=intent.average_price, account=intent.account, symbol=intent.symbol, repeated=False,
    )  # fmt: skip
