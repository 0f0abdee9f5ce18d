"""Between the paper venue's objects and the rows of its record: amounts as canonical text, words by their value.

Each pair is in the column order of the table in `paper_record`, so a new column is added there and here.
"""

from decimal import Decimal
from functools import lru_cache
from typing import Any

from holdfast.contracts.codes import (
    Code,
    FillKind,
    Kind,
    Leg,
    OrderState,
    OrderType,
    PositionSide,
    Side,
    TimeInForce,
)
from holdfast.contracts.messages import Fill
from holdfast.contracts.money import ZERO, canonical
from holdfast.contracts.rows import PositionRow
from holdfast.contracts.wire import digest
from holdfast.domain.matching import Holding, Working

Row = tuple[Any, ...]
_step = lru_cache(maxsize=1000)(canonical)
"""`canonical`, for the few amounts that come back with every order."""


def fill_id(fill_key: str) -> str:
    """The message id of a fill: the same for the same execution, whenever it is read."""
    return "f-" + digest(fill_key)


def trade_number(trade_id: str | None) -> int:
    """The number in "p57"; 0 for ids that are not this venue's."""
    text = trade_id or ""
    return int(text[1:]) if text.startswith("p") and text[1:].isdecimal() else 0


def order_values(order: Working) -> Row:
    return (
        order.number, order.order_id, order.intent_id, order.correlation_id, order.symbol, order.leg.value,
        order.kind.value, _step(order.contract_size), order.settle, order.side.value, order.type.value,
        None if order.price is None else canonical(order.price), canonical(order.quantity), int(order.shrink_only),
        order.time_in_force.value, int(order.post_only), order.good_till, _step(order.quantity_step),
        _step(order.price_step), canonical(order.filled), canonical(order.hold), int(order.resting), order.run,
        order.after, order.state.value, order.code.value if order.code else None, order.reason,
    )  # fmt: skip


def changed_values(order: Working) -> Row:
    """What may change of an order, then its number."""
    return (
        canonical(order.filled), canonical(order.hold), int(order.resting), order.run, order.after,
        order.state.value, order.code.value if order.code else None, order.reason, order.number,
    )  # fmt: skip


def order_of(row: Row) -> Working:
    """The order in a row of `orders`."""
    (number, order_id, intent_id, correlation_id, symbol, leg, kind, contract_size, settle, side, type_, price, quantity,
     shrink_only, time_in_force, post_only, good_till, quantity_step, price_step, filled, hold, resting, run, after,
     state, code, reason) = row  # fmt: skip
    return Working(
        number, order_id, intent_id, correlation_id, symbol, Leg(leg), Kind(kind), Decimal(contract_size), settle,
        Side(side), OrderType(type_), None if price is None else Decimal(price), Decimal(quantity), bool(shrink_only),
        TimeInForce(time_in_force), bool(post_only), good_till, Decimal(quantity_step), Decimal(price_step),
        Decimal(filled), Decimal(hold), bool(resting), run, after, OrderState(state), Code(code) if code else None, reason,
    )  # fmt: skip


def trade_values(fill: Fill, number: int, generation: int, adopted: bool) -> Row:
    return (
        number, generation, int(adopted), fill.trade_id, fill.order_id, fill.symbol, fill.leg.value, fill.side.value,
        canonical(fill.quantity), canonical(fill.price), canonical(fill.fee), fill.executed_at, fill.at,
        fill.instrument.value, _step(fill.contract_size), fill.settle or "", fill.cause_id, fill.correlation_id,
    )  # fmt: skip


def fill_of(row: Row, account: str, exchange: str) -> Fill:
    """The message in a row of `trades`: the same as when it was first told."""
    (_, _, adopted, trade_id, order_id, symbol, leg, side, quantity, price, fee, executed_at, at, kind, contract_size,
     settle, intent_id, correlation_id) = row  # fmt: skip
    key = f"{account}|{exchange}|{symbol}|{order_id}|{trade_id}"
    return Fill(
        id=fill_id(key), cause_id=intent_id, correlation_id=correlation_id, at=at, account=account, exchange=exchange,
        symbol=symbol, order_id=order_id, trade_id=trade_id, kind=FillKind.ADOPTION if adopted else FillKind.TRADE,
        side=Side(side), quantity=quantity, price=price, fee=fee, fee_currency=settle, executed_at=executed_at,
        leg=Leg(leg), instrument=Kind(kind), contract_size=contract_size, settle=settle,
    )  # fmt: skip


def holding_values(holding: Holding) -> Row:
    return (
        holding.symbol, holding.leg.value, holding.kind.value, canonical(holding.contract_size), holding.settle,
        canonical(holding.quantity), canonical(holding.cost),
    )  # fmt: skip


def holding_of(row: Row) -> Holding:
    """The position in a row of `holdings`."""
    symbol, leg, kind, contract_size, settle, quantity, cost = row
    return Holding(
        symbol, Leg(leg), Kind(kind), Decimal(contract_size), settle, Decimal(quantity), Decimal(cost)
    )


def shape_of(fill: Fill) -> Holding:
    """The flat position that a fill's instrument would be."""
    return Holding(fill.symbol, fill.leg, fill.instrument, fill.contract_size, fill.settle or "")


def adoption_of(row: PositionRow, now_ms: int) -> Fill:
    """The trade with which an open position of the ledger enters the record."""
    trade_id = "a-" + digest(row.position_id, str(row.version))
    return Fill(
        id=fill_id(f"{row.account}|{row.exchange}|{row.symbol}||{trade_id}"), at=now_ms, account=row.account,
        exchange=row.exchange, symbol=row.symbol, trade_id=trade_id, kind=FillKind.ADOPTION,
        side=Side.BUY if row.side is PositionSide.LONG else Side.SELL, quantity=row.quantity, price=row.entry_price,
        fee=ZERO, fee_currency=row.settle, executed_at=row.changed_at, leg=row.leg, instrument=row.kind,
        contract_size=row.contract_size, settle=row.settle, cause_id=row.intent_id, correlation_id=row.correlation_id,
    )  # fmt: skip
