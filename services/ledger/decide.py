"""One message, decided: what the store knows of what a batch names, and which part of the domain decides on what."""

from collections.abc import Sequence

from holdfast.contracts.base import ContractViolation, Message
from holdfast.contracts.codes import UpdateKind
from holdfast.contracts.exit_messages import ExitAdjust, ExitThresholds
from holdfast.contracts.leases import ExecutorClaim
from holdfast.contracts.messages import Control, Fill, OrderReserve, OrderStatus
from holdfast.contracts.outcomes import TradeOutcome
from holdfast.contracts.portfolio import NavMark
from holdfast.contracts.wire import digest
from holdfast.domain.learning import learn
from holdfast.domain.leases import claim
from holdfast.domain.ledger_state import Change, Known, LedgerState
from holdfast.domain.portfolio import take_mark
from holdfast.domain.reservation import Rules
from holdfast.domain.reserve import reserve
from holdfast.domain.settle import settle_fill, settle_status
from holdfast.domain.steer import adjust, control
from holdfast.runtime.faults import Terminal
from holdfast.store.store import Store
from services.ledger.replaced import look_up_replaced


def look_up(store: Store, state: LedgerState, messages: Sequence[Message]) -> Known:
    """What *store* knows of the things that *messages* name, beside what is live. Raises Transient."""
    intents: set[str] = set()
    orders: set[str] = set()
    fills: list[Fill] = []
    others: list[str] = []
    outcomes: list[str] = []
    for message in messages:
        if isinstance(message, OrderReserve):
            intents.add(message.intent_id)
        elif isinstance(message, Fill):
            fills.append(message)
            orders.add(message.order_id)
        elif isinstance(message, OrderStatus):
            orders.add(message.order_id)
            others.append(message.id)
        elif isinstance(message, TradeOutcome):
            outcomes.append(message.position_id)
        elif not isinstance(message, NavMark):
            others.append(message.id)
    live = state.orders
    intents.update(live[order].intent_id for order in orders if order in live)
    ended = [order for order in orders if order and order not in live]
    known = store.look_up(
        intents=list(intents), orders=ended, fills=fills, messages=others, outcomes=outcomes
    )
    more = [row.intent_id for row in known.orders.values() if row.intent_id not in known.intents]
    if more:
        known.intents |= store.look_up(intents=more).intents
    look_up_replaced(messages, known, live, store.look_up)
    return known


def decide(state: LedgerState, message: Message, known: Known, rules: Rules, now_ms: int) -> Change:
    """What *message* changes. Raises ContractViolation where it cannot be used, InvariantViolation where we are wrong."""
    if isinstance(message, OrderReserve):
        return reserve(state, message, known, rules, now_ms)
    if isinstance(message, Fill):
        return settle_fill(state, message, known, rules, now_ms)
    if isinstance(message, NavMark):
        return take_mark(state, message, rules.portfolio, now_ms)
    before = known.messages.get(message.id)
    if before is not None:
        if before and before != digest(message.body()):  # empty: known from a rebuilt store, by its id alone
            raise ContractViolation("id", f"{message.id} was used before with other content")
        return Change(UpdateKind.STATUS, message.id)
    if isinstance(message, OrderStatus):
        return settle_status(state, message, known, now_ms)
    if isinstance(message, Control):
        return control(state, message, now_ms)
    if isinstance(message, ExitAdjust):
        return adjust(state, message, now_ms)
    if isinstance(message, ExecutorClaim):
        return claim(state, message)
    if isinstance(message, ExitThresholds):
        return learn(state, message, rules.policy, rules.learning, now_ms)
    raise Terminal(f"the ledger has no handler for {type(message).__name__}")
