"""What a reservation's decision is made of: the rules in force, the answer "refused", and the rows it records."""

from dataclasses import dataclass, field
from decimal import Decimal

from holdfast.contracts.codes import Code, Kind, OrderState, ResultStatus, Role, Side
from holdfast.contracts.messages import OrderRequest, OrderReserve
from holdfast.contracts.money import ZERO, mul
from holdfast.contracts.rows import BookRow, IntentRow, OrderRow, book_id
from holdfast.domain.exit_policy import ExitPolicy, PolicyTable
from holdfast.domain.learning_rules import LearningRules
from holdfast.domain.ledger_state import LedgerState, counted
from holdfast.domain.limits import Limits
from holdfast.domain.portfolio_rules import Portfolio
from holdfast.domain.valuation import Capital


@dataclass(frozen=True, slots=True)
class Rules:
    """What the configuration says that decisions depend on."""

    limits: Limits
    policy: ExitPolicy
    hedging: bool = False
    hedged_symbols: frozenset[str] = frozenset()
    spot_short: bool = False
    capital: Capital = field(default_factory=Capital)
    base_currency: str = "USDT"
    policies: PolicyTable | None = None
    """Exit policies of single accounts and symbols; None: `policy` is everybody's."""
    learning: LearningRules = field(default_factory=LearningRules)
    portfolio: Portfolio = field(default_factory=Portfolio)

    def policy_of(self, account: str, symbol: str) -> ExitPolicy:
        return self.policy if self.policies is None else self.policies.of(account, symbol)

    def hedges(self, symbol: str) -> bool:
        return self.hedging or symbol in self.hedged_symbols


@dataclass(frozen=True, slots=True)
class Refused:
    """Why an intent ends without an order."""

    code: Code
    reason: str
    status: ResultStatus = ResultStatus.BLOCKED
    in_the_way: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Waiting:
    """Something must have ended first, and its cancel is asked for: no answer yet. The executor proposes the same again."""


def intent_row(
    request: OrderReserve,
    status: ResultStatus,
    now_ms: int,
    *,
    code: Code | None = None,
    reason: str | None = None,
    order_id: str | None = None,
) -> IntentRow:
    return IntentRow.trusted(
        intent_id=request.intent_id, digest=request.intent_digest, status=status, code=code, reason=reason, order_id=order_id,
        filled_quantity=ZERO, average_price=None, account=request.account, symbol=request.symbol, at=now_ms,
        correlation_id=request.correlation_id,
    )  # fmt: skip


def book_of(state: LedgerState, request: OrderReserve) -> BookRow:
    key = book_id(request.account, request.exchange, request.symbol, request.leg)
    found = state.books.get(key)
    return found or BookRow(
        book_id=key,
        account=request.account,
        exchange=request.exchange,
        symbol=request.symbol,
        leg=request.leg,
    )


def notional_of(order: OrderRequest) -> Decimal:
    """The order's value in the quote currency at its price, or at the reference price for a market order."""
    units = mul(order.quantity or ZERO, order.contract_size)
    if order.kind is Kind.INVERSE:
        return counted(units)
    return counted(mul(units, order.price or order.reference_price or ZERO))


def order_row(
    request: OrderReserve, order: OrderRequest, book: BookRow, side: Side, quantity: Decimal, now_ms: int
) -> OrderRow:
    return OrderRow.trusted(
        order_id=order.order_id, intent_id=request.intent_id, book_id=book.book_id, account=request.account, exchange=request.exchange,
        symbol=request.symbol, leg=request.leg, kind=order.kind, contract_size=order.contract_size, settle=order.settle, role=order.role,
        side=side, type=order.type, price=order.price, quantity=quantity, filled=ZERO, filled_value=ZERO, state=OrderState.RESERVED,
        reduce_only=order.role is not Role.ENTRY, time_in_force=order.time_in_force, post_only=order.post_only, good_till=order.good_till,
        notional=notional_of(order) if order.role is Role.ENTRY else ZERO, take_profit_spec=order.take_profit, stop_loss_spec=order.stop_loss,
        ttl_s=order.ttl_s, position_id=order.position_id, reason=order.reason, attempt=order.attempt, trigger_price=order.trigger_price,
        trigger_at=order.trigger_at, trigger_level=order.trigger_level, thresholds=order.thresholds, exits=order.exits,
        sizing=order.sizing, stop_price=order.stop_price, replaces=order.replaces, replaced_by=None, filled_before=ZERO, displaced=False, code=None, evidence=None, venue_order_id=None, claimed=None,
        incarnation=request.incarnation, epoch=request.epoch, send_by=order.send_by, strategy=request.strategy,
        correlation_id=request.correlation_id, reserved_at=now_ms, changed_at=now_ms,
    )  # fmt: skip
