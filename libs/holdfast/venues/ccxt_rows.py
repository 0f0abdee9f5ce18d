"""From ccxt's structures to our rows: exact amounts, canonical symbols, and an error for whatever does not say what it must."""

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

from holdfast.contracts.base import ContractViolation
from holdfast.contracts.codes import Code, FillKind, Kind, Leg, OrderState, Side
from holdfast.contracts.messages import Fill
from holdfast.contracts.money import ONE, ZERO, parse_amount
from holdfast.contracts.wire import digest
from holdfast.domain.instruments import canonical, canonical_or
from holdfast.venues.port import Rules, VenueOrder, VenuePosition, VenueUnreadable

_STATES = {
    "open": OrderState.OPEN,
    "closed": OrderState.FILLED,
    "canceled": OrderState.CANCELED,
    "canceling": OrderState.OPEN,
    "expired": OrderState.EXPIRED,
    "rejected": OrderState.REJECTED,
}
_BY_THE_VENUE = (("autoclose", FillKind.LIQUIDATION), ("adl_autoclose", FillKind.LIQUIDATION))
"""How client order ids begin that Binance itself gives: a liquidation, and an auto-deleveraging."""


def amount(value: Any, what: str) -> Decimal:
    """A number as the exchange wrote it. Raises VenueUnreadable when it is none."""
    try:
        return parse_amount(str(value))
    except ValueError as error:
        raise VenueUnreadable(f"{what}: {value!r} is no amount") from error


def kind_of(market: Mapping[str, Any]) -> Kind | None:
    """None for what cannot be traded here: options, dated futures, inactive markets."""
    if market.get("active") is False:
        return None
    if market.get("spot"):
        return Kind.SPOT
    if market.get("swap"):
        return Kind.LINEAR if market.get("linear") else Kind.INVERSE
    return None


def rules_of(market: Mapping[str, Any]) -> Rules | None:
    """The instrument of a ccxt market; None for one that cannot be traded here."""
    kind = kind_of(market)
    if kind is None:
        return None
    try:
        symbol = canonical(market["symbol"])
    except ContractViolation:
        return None
    limits, precision = market["limits"], market["precision"]
    return Rules(
        symbol,
        kind,
        market["base"],
        market["quote"],
        market.get("settle") or market["quote"],
        amount(market["contractSize"], "contract size") if market.get("contractSize") else ONE,
        amount(precision["amount"], "quantity step"),
        amount(precision["price"], "price step"),
        amount(limits["amount"].get("min") or 0, "minimum quantity"),
        amount(limits["cost"].get("min") or 0, "minimum value"),
        None if market.get("taker") is None else amount(market["taker"], "taker fee") * 100,
    )


def side_of(text: Any) -> Side:
    try:
        return Side(text)
    except ValueError:
        raise VenueUnreadable(f"{text!r} is no side") from None


def order_of(row: Mapping[str, Any], symbol: str, evidence: str) -> VenueOrder:
    """An order as ccxt has read it. Raises VenueUnreadable when it does not say what it is."""
    client_id, number = row.get("clientOrderId"), row.get("id")
    state = _STATES.get(row.get("status") or "")
    if state is None or not (client_id or number):
        raise VenueUnreadable(
            f"an order of {symbol} without an id or a status that is known: {row.get('status')!r}"
        )
    filled = amount(row.get("filled") or 0, "filled")
    quantity = amount(row.get("amount") or 0, "amount")
    if state is OrderState.OPEN and filled > 0:
        state = OrderState.PARTIAL
    return VenueOrder(
        order_id=str(client_id or number),
        symbol=symbol,
        side=side_of(row.get("side")),
        state=state,
        quantity=quantity,
        filled=filled,
        venue_order_id=str(number) if number is not None else None,
        code=Code.UNFILLED if state is OrderState.EXPIRED else None,
        evidence=evidence,
        changed_at=int(row.get("lastUpdateTimestamp") or 0),
    )


def fill_of(row: Mapping[str, Any], rules: Rules, account: str, exchange: str, order_id: str) -> Fill:
    """An execution as ccxt has read it; the same message whenever it is read. Raises VenueUnreadable."""
    number, at = row.get("id"), row.get("timestamp")
    if number is None or at is None:
        raise VenueUnreadable(f"a trade of {rules.symbol} without an id or a time")
    fee = row.get("fee") or {}
    kind = next((kind for start, kind in _BY_THE_VENUE if order_id.startswith(start)), FillKind.TRADE)
    trade_id, side = str(number), str((row.get("info") or {}).get("positionSide") or "").lower()
    leg = Leg(side) if side in {"long", "short"} else Leg.NET
    key = f"{account}|{exchange}|{rules.symbol}|{order_id}|{trade_id}"
    return Fill(
        id="f-" + digest(key), at=int(at), account=account, exchange=exchange, symbol=rules.symbol, order_id=order_id,
        trade_id=trade_id, kind=kind, side=side_of(row.get("side")), quantity=amount(row.get("amount"), "quantity"),
        price=amount(row.get("price"), "price"), fee=amount(fee.get("cost") or 0, "fee"), fee_currency=fee.get("currency"),
        executed_at=int(at), leg=leg, instrument=rules.kind, contract_size=rules.contract_size, settle=rules.settle,
    )  # fmt: skip


def funding_of(row: Mapping[str, Any], rules: Rules, account: str, exchange: str, leg: Leg) -> Fill:
    """Funding as ccxt has read it: a fill that moves nothing, whose fee is what was paid. Raises VenueUnreadable."""
    number, at, currency = row.get("id"), row.get("timestamp"), row.get("code")
    if number is None or at is None or not currency:
        raise VenueUnreadable(f"funding of {rules.symbol} without an id, a time or a currency")
    paid, trade_id = -amount(row.get("amount"), "funding"), f"funding-{number}"
    return Fill(
        id="f-" + digest(account, exchange, rules.symbol, trade_id), at=int(at), account=account, exchange=exchange, symbol=rules.symbol,
        trade_id=trade_id, kind=FillKind.FUNDING, side=Side.SELL, quantity=ZERO, price=ZERO, fee=paid, fee_currency=currency,
        executed_at=int(at), leg=leg, instrument=rules.kind, contract_size=rules.contract_size, settle=rules.settle,
    )  # fmt: skip


def unique(rows: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Each trade once, oldest first, whatever the exchange has shown twice or out of order."""
    found = {str(row.get("id")): row for row in rows}
    return sorted(found.values(), key=lambda row: (row.get("timestamp") or 0, _numeric(row.get("id"))))


def _numeric(number: Any) -> tuple[int, str]:
    text = str(number)
    return (int(text) if text.isdecimal() else 0, text)


def positions_of(
    rows: Iterable[Mapping[str, Any]], symbols: Mapping[str, str], *, hedged: bool
) -> list[VenuePosition]:
    """What is held, signed, by canonical symbol (*symbols*: from ccxt's). Raises VenueUnreadable for rows of another position mode.

    In hedge mode an exchange shows a row for each side; read as netted, a live short could look flat.
    """
    held: dict[tuple[str, Leg], VenuePosition] = {}
    for row in rows:
        contracts = amount(row.get("contracts") or 0, "contracts")
        if not contracts:
            continue
        side, theirs = row.get("side"), str(row.get("symbol"))
        if side not in {"long", "short"}:
            raise VenueUnreadable(f"a position of {theirs} that is neither long nor short: {side!r}")
        if bool(row.get("hedged")) is not hedged:
            mode = "hedge" if row.get("hedged") else "one-way"
            raise VenueUnreadable(
                f"a position of {theirs} in {mode} mode, in which this account is not meant to be"
            )
        leg = Leg(side) if hedged else Leg.NET
        place = (symbols.get(theirs) or canonical_or(theirs), leg)
        signed = contracts if side == "long" else -contracts
        if place in held:
            raise VenueUnreadable(f"two positions of {theirs} where there can be one")
        price = row.get("entryPrice")
        held[place] = VenuePosition(
            *place,
            signed,
            amount(price, "entry price") if price is not None else None,
            int(row.get("timestamp") or 0),
        )
    return list(held.values())
