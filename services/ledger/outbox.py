"""What one committed update puts on the bus: itself, numbered by its sequence, and what it caused.

Everything here is a function of the journal's row, so it can be published again, the same, at any time.
"""

from collections.abc import Iterator

from holdfast.contracts.messages import (
    DeadLetter,
    IntentResult,
    LedgerUpdated,
    OrderReserve,
    SnapshotRequest,
)
from holdfast.contracts.outcomes import KeptOutcome, TradeOutcome
from holdfast.contracts.rows import IntentRow
from holdfast.contracts.streams import (
    DEAD_LETTER,
    INTENT_RESULT,
    LEDGER,
    LEDGER_OUTCOME,
    LEDGER_TRADE,
    LEDGER_UPDATED,
    ORDER_BLOCKED,
)
from holdfast.contracts.wire import Entry, Numbered, Out, Outgoing, digest
from holdfast.domain.ledger_state import Known
from holdfast.store.batch import Journaled
from holdfast.store.store import Store

OUTCOMES_IN_PAGE = 10
"""Outcomes are large, and the ledger does nothing else while it answers."""


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


def tampered(entry: Entry, known: Known, now_ms: int) -> Iterator[Outgoing]:
    """A dead letter, where *entry* proposes other content under an intent id that was used before."""
    reserve = entry.message
    before = known.intents.get(reserve.intent_id) if isinstance(reserve, OrderReserve) else None
    if before is None or not isinstance(reserve, OrderReserve) or before.digest == reserve.intent_digest:
        return
    yield Out(
        DEAD_LETTER,
        DeadLetter(
            id="d-" + digest(entry.stream.name, entry.entry_id, entry.body),
            cause_id=reserve.id,
            at=now_ms,
            service=LEDGER,
            stream=entry.stream.name,
            entry_id=entry.entry_id,
            payload=entry.body.decode("utf-8", "replace"),
            error=f"intent_id: {reserve.intent_id} was used before with other content",
            deliveries=entry.deliveries,
        ),
    )


def news_of(kept: TradeOutcome, sent: TradeOutcome, now_ms: int) -> Out:
    """That an outcome is kept: the one that came first, whatever was *sent* again."""
    return Out(
        LEDGER_OUTCOME, KeptOutcome(id=f"k-{kept.position_id}", cause_id=sent.id, at=now_ms, outcome=kept)
    )


def page_of(store: Store, request: SnapshotRequest, now_ms: int) -> list[Outgoing]:
    """The answer to a request for outcomes: the next ones, each in an entry of its own. Raises Transient."""
    found, count = store.outcomes(request.skip, OUTCOMES_IN_PAGE)
    common = {"cause_id": request.id, "at": now_ms, "last": request.skip + len(found), "of": count}
    if not found:
        return [Out(LEDGER_OUTCOME, KeptOutcome(id=f"k-{request.id}", number=request.skip, **common))]
    return [
        Out(
            LEDGER_OUTCOME,
            KeptOutcome(id=f"k-{request.id}-{number}", number=number, outcome=outcome, **common),
        )
        for number, outcome in enumerate(found, request.skip + 1)
    ]


def result(intent: IntentRow, update: LedgerUpdated) -> IntentResult:
    """The answer that an intent's row is."""
    return IntentResult.trusted(
        id="a-" + digest(intent.intent_id, str(update.seq)), cause_id=update.cause_id, correlation_id=intent.correlation_id, at=update.at,
        intent_id=intent.intent_id, status=intent.status, code=intent.code, reason=intent.reason, order_id=intent.order_id,
        filled_quantity=intent.filled_quantity, average_price=intent.average_price, account=intent.account, symbol=intent.symbol, repeated=False,
    )  # fmt: skip
