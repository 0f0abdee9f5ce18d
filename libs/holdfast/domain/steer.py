"""What people and other services may change in the ledger: trading state, a position's exits, disputes.

Exits pass in every trading state. `halted` also cancels resting entries, and only a person resumes.
"""

from holdfast.contracts.base import ContractViolation, Message
from holdfast.contracts.codes import Code, OrderState, ResultStatus, Role, Scope, TradingState, UpdateKind
from holdfast.contracts.exit_messages import ExitAdjust
from holdfast.contracts.messages import Control, IntentResult
from holdfast.contracts.rows import ControlRow
from holdfast.contracts.streams import INTENT_RESULT
from holdfast.contracts.wire import Out, digest
from holdfast.domain.ledger_state import Change, LedgerState
from holdfast.domain.orders import to_canceling
from holdfast.domain.policy import apply_adjust
from holdfast.domain.portfolio import resume


def control(state: LedgerState, message: Control, now_ms: int) -> Change:
    """Set the trading state of a scope; halting asks for the cancel of every resting entry in it, resuming ends a drawdown's hold."""
    change = Change(
        UpdateKind.CONTROL,
        message.id,
        message.correlation_id,
        f"{message.state.value} by {message.by}: {message.why}"[:1000],
    )
    state.put_control(
        ControlRow(
            scope=message.scope,
            target=message.target,
            state=message.state,
            by=message.by,
            why=message.why,
            at=now_ms,
        ),
        change,
    )
    resume(state, message, change)
    if message.state is TradingState.HALTED:
        for row in list(state.orders.values()):
            if (
                row.role is Role.ENTRY
                and row.state is not OrderState.CANCELING
                and _in_scope(message, row.account, row.book_id)
            ):
                state.put_order(to_canceling(row, Code.HALTED, now_ms), change)
                state.settle_book(row.book_id, change)
    return change


def _in_scope(message: Control, account: str, book: str) -> bool:
    return message.scope is Scope.ALL or message.target == (
        account if message.scope is Scope.ACCOUNT else book
    )


def adjust(state: LedgerState, message: ExitAdjust, now_ms: int) -> Change:
    """New exits of an open position, and the answer: accepted, or blocked and why. A refusal changes nothing else.

    Raises ContractViolation when the position's version has moved on.
    """
    change = Change(
        UpdateKind.ADJUSTED, message.id, message.correlation_id, f"{message.by}: {message.why}"[:1000]
    )
    position = state.positions.get(message.position_id)
    if position is None:
        why = f"{Code.POSITION_GONE.value}: {message.position_id} is not open"
        return _refused(change, message, Code.POSITION_GONE, why, now_ms)
    if message.position_version is not None and message.position_version != position.version:
        raise ContractViolation(
            "position_version",
            f"the position is at version {position.version}, the adjustment was made for {message.position_version}",
        )
    row, notes = apply_adjust(position, message)
    if row is position:
        return _refused(
            change, message, Code.BAD_EXITS, "; ".join(notes) or "these are its exits already", now_ms
        )
    if notes:
        change.why = f"{change.why}; {'; '.join(notes)}"[:1000]
    state.put_position(row, change)
    state.settle_book(position.book_id, change)
    change.beside.append(answered(message, ResultStatus.ACCEPTED, None, "; ".join(notes), now_ms))
    return change


def _refused(change: Change, message: ExitAdjust, code: Code, why: str, now_ms: int) -> Change:
    """Nothing is recorded; whoever asked is told."""
    change.why = f"{why}; {change.why}"[:1000]
    change.beside.append(answered(message, ResultStatus.BLOCKED, code, why, now_ms))
    return change


def answered(message: Message, status: ResultStatus, code: Code | None, why: str, now_ms: int) -> Out:
    """The answer to a message that is no intent, under its id on `intent.result`."""
    return Out(
        INTENT_RESULT,
        IntentResult(
            id="a-" + digest(message.id, status.value), cause_id=message.id, correlation_id=message.correlation_id, at=now_ms,
            intent_id=message.id, status=status, code=code, reason=why[:1000] or None,
        ),
    )  # fmt: skip
