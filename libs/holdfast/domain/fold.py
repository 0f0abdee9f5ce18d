"""`holdfast fold FILE`: fills as JSON lines through the ledger's own arithmetic, so that anybody can check it.

A line is `{"symbol", "side", "quantity", "price"}` and, where needed, `fee`, `fee_currency`, `inverse`, `contract_size`;
amounts are strings or whole numbers. After each line comes how that symbol stands. `BTC/USDT` is spot, `BTC/USDT:USDT`
linear, `BTC/USD:BTC` (or anything with `"inverse": true`) inverse. What a symbol is, its first line says for all.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, NamedTuple

from pydantic import ValidationError

from holdfast.contracts.base import MAX_BODY_BYTES, ContractViolation
from holdfast.contracts.codes import ExitReason, Kind, Side
from holdfast.contracts.messages import Fill
from holdfast.contracts.money import ONE, ZERO, add, canonical, parse_amount
from holdfast.contracts.rows import PositionRow
from holdfast.domain import instruments
from holdfast.domain.exit_policy import ExitPolicy
from holdfast.domain.position import Opening, add_fees, apply_fill, base_of, settlement

REQUIRED = ("symbol", "side", "quantity", "price")
OPTIONAL = ("fee", "fee_currency", "inverse", "contract_size")
_SIDES = {"buy": Side.BUY, "long": Side.BUY, "sell": Side.SELL, "short": Side.SELL}
_CURRENCY = re.compile(r"[A-Za-z0-9._@-]{1,64}")
_POLICY = ExitPolicy(stop_loss_pct=Decimal(10), take_profit_pct=Decimal(20))


class Instrument(NamedTuple):
    """What a symbol is."""

    kind: Kind
    contract_size: Decimal
    settle: str


@dataclass(slots=True)
class _Account:
    """How one symbol stands: its open position, and sums over all of its positions."""

    instrument: Instrument
    position: PositionRow | None = None
    realized: Decimal = ZERO
    fees: dict[str, Decimal] = field(default_factory=dict)

    def take(self, fill: Fill) -> None:
        opening = Opening(
            book_id="fold",
            account=fill.account,
            exchange=fill.exchange,
            symbol=fill.symbol,
            recorded_at=fill.at,
            **self.instrument._asdict(),
        )
        folded = apply_fill(self.position, fill, opening, _POLICY, exit_reason=ExitReason.CLOSE)
        if folded.rows:
            self.position = folded.rows[-1] if folded.rows[-1].is_open else None
        self.realized, self.fees = add(self.realized, folded.realized), add_fees(self.fees, folded.fees)

    def report(self) -> dict[str, Any]:
        held = self.position
        return {
            "side": held.side.value if held is not None else "flat",
            "quantity": canonical(held.quantity if held is not None else ZERO),
            "entry_price": canonical(held.entry_price if held is not None else ZERO),
            "realized_pnl": canonical(self.realized),
            "fees": {currency: canonical(self.fees[currency]) for currency in sorted(self.fees)},
        }


def fold_lines(lines: Iterable[str]) -> Iterator[str]:
    """After each line, one JSON object: side, quantity, entry price, and realised profit and fees so far, of its symbol.

    Empty lines are passed over. Raises ContractViolation, which names line and field, at the first line that is no fill;
    what stood before it has been answered by then.
    """
    accounts: dict[str, _Account] = {}
    for number, line in enumerate(lines, 1):
        text = line.strip().lstrip("\ufeff")
        if not text:
            continue
        try:
            document = _document(text)
            symbol = _symbol(document)
            instrument = _instrument(document, symbol, accounts.get(symbol))
            account = accounts.setdefault(symbol, _Account(instrument))
            account.take(_fill(document, symbol, number))
        except ContractViolation as error:
            raise ContractViolation(f"line {number}, {error.field or 'body'}", error.text) from None
        yield json.dumps(account.report(), ensure_ascii=False, separators=(",", ":"))


def instrument_of(symbol: str, *, inverse: bool = False, contract_size: Decimal = ONE) -> Instrument:
    """Kind and settlement currency as the name tells them; *inverse* overrules the name."""
    base, (quote, _, settle) = base_of(symbol), symbol.partition("/")[2].partition(":")
    settle = settle.partition("-")[0]  # a dated contract: BTC/USD:BTC-251226
    if inverse or (settle and settle == base):
        return Instrument(Kind.INVERSE, contract_size, settlement(Kind.INVERSE, base, quote))
    kind = Kind.LINEAR if settle else Kind.SPOT
    return Instrument(kind, contract_size, settle or settlement(kind, base, quote))


def _symbol(document: Mapping[str, Any]) -> str:
    """The symbol as written; one without a separator is read as `domain.instruments` reads it."""
    symbol = _text(document, "symbol")
    return symbol if "/" in symbol else instruments.canonical(symbol)


def _instrument(document: Mapping[str, Any], symbol: str, known: _Account | None) -> Instrument:
    """What the line says of its symbol; what it leaves out is as on the symbol's first line."""
    inverse, size = document.get("inverse"), document.get("contract_size")
    if inverse is not None and not isinstance(inverse, bool):
        raise ContractViolation("inverse", "true or false is expected")
    contract_size = ONE if size is None else _amount(document, "contract_size")
    if contract_size <= 0:
        raise ContractViolation("contract_size", "must be greater than zero")
    said = instrument_of(symbol, inverse=bool(inverse), contract_size=contract_size)
    if not _CURRENCY.fullmatch(said.settle):
        raise ContractViolation("symbol", f"{symbol!a} is not BASE/QUOTE or BASE/QUOTE:SETTLE, like BTC/USDT")
    if known is None:
        return said
    if inverse is not None and said.kind is not known.instrument.kind:
        raise ContractViolation("inverse", f"{symbol} is {known.instrument.kind.value} on an earlier line")
    if size is not None and contract_size != known.instrument.contract_size:
        raise ContractViolation(
            "contract_size", f"{symbol} has {canonical(known.instrument.contract_size)} on an earlier line"
        )
    return known.instrument


def _fill(document: Mapping[str, Any], symbol: str, number: int) -> Fill:
    side = _SIDES.get(_text(document, "side").lower())
    if side is None:
        raise ContractViolation("side", "one of buy, sell, long, short is expected")
    quantity, price = _amount(document, "quantity"), _amount(document, "price")
    for name, amount in (("quantity", quantity), ("price", price)):
        if amount <= 0:
            raise ContractViolation(name, "must be greater than zero")
    fee = ZERO if document.get("fee") is None else _amount(document, "fee")
    currency = None if document.get("fee_currency") is None else _text(document, "fee_currency")
    try:
        return Fill(
            id=f"line-{number}",
            at=0,
            account="fold",
            exchange="fold",
            symbol=symbol,
            trade_id=f"line-{number}",
            side=side,
            quantity=quantity,
            price=price,
            fee=fee,
            fee_currency=currency,
            executed_at=0,
        )
    except ValidationError as error:
        raise ContractViolation.of(error) from None


def _document(text: str) -> dict[str, Any]:
    """The JSON object of one line, its fields known and complete."""
    if len(text) > MAX_BODY_BYTES:
        raise ContractViolation("body", f"{len(text)} characters; at most {MAX_BODY_BYTES} are read")
    try:
        document = json.loads(text, object_pairs_hook=_once)
    except ContractViolation:
        raise
    except (ValueError, RecursionError) as error:
        raise ContractViolation("body", f"not JSON: {error}") from None
    if not isinstance(document, dict):
        raise ContractViolation("body", f"a JSON object is expected, this is a {type(document).__name__}")
    for name in document:
        if name not in REQUIRED + OPTIONAL:
            raise ContractViolation(name, f"no such field; there are {', '.join(REQUIRED + OPTIONAL)}")
    for name in REQUIRED:
        if document.get(name) is None:
            raise ContractViolation(name, "is required")
    return document


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    document: dict[str, Any] = {}
    for name, value in pairs:
        if name in document:
            raise ContractViolation(name, "is given twice")
        document[name] = value
    return document


def _amount(document: Mapping[str, Any], name: str) -> Decimal:
    try:
        return parse_amount(document[name])
    except ValueError as error:
        raise ContractViolation(name, str(error)) from None


def _text(document: Mapping[str, Any], name: str) -> str:
    value = document[name]
    if not isinstance(value, str) or not value:
        raise ContractViolation(name, "a text is expected")
    return value
