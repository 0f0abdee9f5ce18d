"""How an existing bot moves in: rows of its `positions_state.json` become fills of the kind `adoption`.

A row says `symbol`, `side` (LONG or SHORT), `qty`, `entry_price`, and optionally `tp`/`take_profit`, `sl`/`stop_loss`, `account`,
`exchange`. The trade id derives from what the row says, so that adopting the same file twice records it once. Whatever is
malformed is refused with the row's number and the field's name, before anything is recorded: half an account is no account.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from pydantic import ValidationError

from holdfast.contracts.base import ContractViolation
from holdfast.contracts.codes import FillKind, Kind, Leg, PositionSide, Side
from holdfast.contracts.messages import Fill
from holdfast.contracts.money import add, canonical, mul, parse_amount, sub
from holdfast.contracts.rows import book_id
from holdfast.contracts.wire import digest
from holdfast.domain.exit_policy import ExitPolicy, PolicyTable, policy_for
from holdfast.domain.instruments import Instrument
from holdfast.domain.liquidation import guard_price
from holdfast.domain.policy import Exits, seed_exits
from holdfast.domain.view import LedgerView

_SIDES = {
    "long": PositionSide.LONG,
    "short": PositionSide.SHORT,
    "buy": PositionSide.LONG,
    "sell": PositionSide.SHORT,
}


@dataclass(frozen=True, slots=True)
class Places:
    """Where rows go that do not say it themselves, and how names are understood there."""

    account: str
    exchange: str
    instrument: Callable[[str], Instrument]
    """Raises ContractViolation for a name that means nothing."""
    hedges: Callable[[str], bool]
    policies: PolicyTable


@dataclass(frozen=True, slots=True)
class Arrival:
    """One position that moves in: the fill that will record it, and the exits it will have."""

    number: int
    fill: Fill
    exits: Exits

    @property
    def book(self) -> str:
        return book_id(self.fill.account, self.fill.exchange, self.fill.symbol, self.fill.leg)

    @property
    def position_id(self) -> str:
        """Of the position that its fill opens."""
        return "p-" + digest(self.book, self.fill.key)

    @property
    def side(self) -> PositionSide:
        return PositionSide.LONG if self.fill.side is Side.BUY else PositionSide.SHORT

    @property
    def name(self) -> str:
        return f"row {self.number} ({self.fill.symbol})"


def read_rows(text: str) -> list[Mapping[str, Any]]:
    """The rows of a state file, amounts with all their digits. Raises ContractViolation."""
    try:
        document = json.loads(text, parse_float=Decimal, parse_int=Decimal, parse_constant=_refuse)
    except ContractViolation:
        raise
    except (ValueError, RecursionError) as error:
        raise ContractViolation("file", f"not JSON: {error}") from None
    rows = document.get("positions") if isinstance(document, dict) else None
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise ContractViolation("positions", 'an object with a list "positions" of objects is expected')
    return rows


def _refuse(word: str) -> Any:
    raise ContractViolation("file", f"{word} is no amount")


def arrivals(
    rows: Iterable[Mapping[str, Any]], places: Places, at_ms: Callable[[str], int], now_ms: int
) -> list[Arrival]:
    """What the rows mean; those with quantity zero are passed over. *at_ms* is the market time of a symbol.

    Raises ContractViolation, which names row and field.
    """
    found: dict[str, Arrival] = {}
    for number, row in enumerate(rows, 1):
        try:
            arrival = _arrival(number, row, places, at_ms, now_ms)
        except ContractViolation as error:
            raise ContractViolation(f"row {number}, {error.field}", error.text) from None
        if arrival is None:
            continue
        other = found.setdefault(arrival.book, arrival)
        if other is not arrival:
            raise ContractViolation(
                f"row {number}, symbol",
                f"{arrival.fill.symbol} is in row {other.number} too; one position per book, please",
            )
    return list(found.values())


def _arrival(
    number: int, row: Mapping[str, Any], places: Places, at_ms: Callable[[str], int], now_ms: int
) -> Arrival | None:
    quantity = _amount(row, "qty")
    if quantity < 0:
        raise ContractViolation("qty", "must not be negative; the side says which way")
    if not quantity:
        return None
    side, price = _side(row), _amount(row, "entry_price")
    if price <= 0:
        raise ContractViolation("entry_price", "must be greater than zero")
    instrument = places.instrument(_text(row, "symbol"))
    kind = _kind(row, instrument, side)
    take_profit, stop_loss = _level(row, "take_profit", "tp"), _level(row, "stop_loss", "sl")
    account, exchange = (_text(row, name, getattr(places, name)) for name in ("account", "exchange"))
    policy, _ = policy_for(places.policies.of(account, instrument.symbol), kind, None)
    take_profit = take_profit or _beyond(stop_loss, side, price, policy)
    trade_id = "adopt-" + digest(
        account, exchange, instrument.symbol, side.value, canonical(quantity), canonical(price)
    )
    leg = Leg(side.value) if places.hedges(instrument.symbol) else Leg.NET
    try:
        fill = Fill(
            id=f"f-{trade_id}", at=now_ms, correlation_id=trade_id, account=account, exchange=exchange, symbol=instrument.symbol,
            trade_id=trade_id, kind=FillKind.ADOPTION, side=Side.BUY if side is PositionSide.LONG else Side.SELL, quantity=quantity,
            price=price, executed_at=at_ms(instrument.symbol), leg=leg, instrument=kind, contract_size=instrument.contract_size,
            settle=instrument.settle, take_profit=take_profit, stop_loss=stop_loss,
        )  # fmt: skip
    except ValidationError as error:
        raise ContractViolation.of(error) from None
    guard = guard_price(kind, side, price, policy.terms)
    exits = seed_exits(
        side=side, entry_price=price, take_profit=take_profit, stop_loss=stop_loss, policy=policy, guard=guard
    )
    return Arrival(number, fill, exits)


def _beyond(stop_loss: str | None, side: PositionSide, price: Decimal, policy: ExitPolicy) -> str | None:
    """A take-profit for a stop that has been trailed to where the policy's take-profit would lie on its wrong side.

    Without one the two would contradict each other, and both be seeded anew: the stop would go back. As far beyond the stop
    as the policy's lies beyond the entry price, at least a hundredth.
    """
    seeded = seed_exits(side=side, entry_price=price, take_profit=None, stop_loss=stop_loss, policy=policy)
    if stop_loss is None or seeded.stop_loss == Decimal(stop_loss):
        return None
    share = (policy.take_profit_pct or Decimal(1)) / 100
    step = mul(
        Decimal(stop_loss),
        max(share, Decimal("0.01")) if side is PositionSide.LONG else min(share, Decimal("0.5")),
    )
    return canonical(
        add(Decimal(stop_loss), step) if side is PositionSide.LONG else sub(Decimal(stop_loss), step)
    )


def _kind(row: Mapping[str, Any], instrument: Instrument, side: PositionSide) -> Kind:
    """As the row says, else as the name says; what is short cannot be spot."""
    given = row.get("kind")
    if given is not None:
        if given not in list(Kind):
            raise ContractViolation("kind", f"one of {', '.join(Kind)} is expected")
        return Kind(given)
    if side is PositionSide.SHORT and instrument.kind is Kind.SPOT:
        return Kind.LINEAR
    return instrument.kind


def _side(row: Mapping[str, Any]) -> PositionSide:
    side = _SIDES.get(_text(row, "side").lower())
    if side is None:
        raise ContractViolation("side", "LONG or SHORT is expected")
    return side


def _level(row: Mapping[str, Any], *names: str) -> str | None:
    """A price as canonical text; None where the row has none, and zero is none."""
    for name in names:
        if row.get(name) is not None:
            amount = _amount(row, name)
            if amount < 0:
                raise ContractViolation(name, "must not be negative")
            return canonical(amount) if amount else None
    return None


def _amount(row: Mapping[str, Any], name: str) -> Decimal:
    if row.get(name) is None:
        raise ContractViolation(name, "is required")
    try:
        return parse_amount(row[name])
    except ValueError as error:
        raise ContractViolation(name, str(error)) from None


def _text(row: Mapping[str, Any], name: str, default: str | None = None) -> str:
    value = row.get(name, default)
    if not isinstance(value, str) or not value:
        raise ContractViolation(name, "is required, as a text")
    return value


def conflicts(found: Sequence[Arrival], view: LedgerView) -> list[str]:
    """Rows that stand against what the ledger holds. A position that this very adoption opened is no conflict."""
    out = []
    for arrival in found:
        held, side = view.position(arrival.book), view.side(arrival.book)
        if held is not None and held.position_id != arrival.position_id:
            word = "opposes" if held.side is not arrival.side else "would double"
            out.append(
                f"{arrival.name}, side: {word} the open {held.side.value} of {canonical(held.quantity)} ({held.position_id})"
            )
        elif held is None and side is not None and side is not arrival.side:
            out.append(f"{arrival.name}, side: opposes a live {side.value} entry; cancel it first")
    return out
