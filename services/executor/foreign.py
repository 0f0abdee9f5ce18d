"""What others did on a live account: trades that are not of our orders, and positions that were there before us.

Two sources must agree before anything of it is believed: the trades and the position. Then what reduced *our* position is
applied (exit_on_venue, or a liquidation: the position is that much smaller, whoever did it), and everything else goes to
quarantine: shown, yellow, and nothing is sent for it. A trade through zero is split there.

Trades are read with an overlap, so some are old news; which ones, the position says: the ledger has all but the latest few.
"""

from collections.abc import Iterable, Sequence
from decimal import Decimal

from holdfast.contracts.codes import FillKind, Leg, Side
from holdfast.contracts.messages import Fill
from holdfast.contracts.money import ZERO, add, sub
from holdfast.contracts.rows import QuarantineRow
from holdfast.contracts.wire import digest
from holdfast.venues.port import Rules, VenuePosition


def signed(fill: Fill) -> Decimal:
    return fill.quantity if fill.side is Side.BUY else -fill.quantity


def quarantined(rows: Iterable[QuarantineRow], account: str, exchange: str) -> dict[tuple[str, Leg], Decimal]:
    """What is in quarantine, signed, by symbol and leg."""
    sums: dict[tuple[str, Leg], Decimal] = {}
    for row in rows:
        if (row.account, row.exchange) == (account, exchange) and not row.resolved and row.side is not None:
            change = row.quantity if row.side.value == "long" else -row.quantity
            sums[row.symbol, row.leg] = add(sums.get((row.symbol, row.leg), ZERO), change)
    return sums


def unrecorded(there: Decimal, recorded: Decimal, trades: Sequence[Fill]) -> Sequence[Fill] | None:
    """The latest of *trades*, oldest first, that explain why the venue holds *there* and we have *recorded*.

    Empty where nothing is to be explained; None where they do not explain it.
    """
    total = recorded
    for count in range(len(trades) + 1):
        if count:
            total = add(total, signed(trades[-count]))
        if total == there:
            return trades[len(trades) - count :]
    return None


def settled(trades: Sequence[Fill], held: Decimal) -> list[Fill]:
    """*trades* as the ledger is to take them, given that it holds *held* (signed): applied as far as they reduce it."""
    told: list[Fill] = []
    for fill in trades:
        change = signed(fill)
        if not held or (held > 0) is (change > 0):
            told.append(fill.evolve(kind=FillKind.TRADE))
            continue
        kind = FillKind.LIQUIDATION if fill.kind is FillKind.LIQUIDATION else FillKind.ADJUSTMENT
        if abs(change) <= abs(held):
            told.append(fill.evolve(kind=kind))
            held = add(held, change)
            continue
        first = fill.evolve(id=fill.id + "-1", trade_id=fill.trade_id + "-1", kind=kind, quantity=abs(held))
        told.append(first)
        told.append(
            fill.evolve(
                id=fill.id + "-2", trade_id=fill.trade_id + "-2", kind=FillKind.TRADE, quantity=sub(fill.quantity, abs(held)), fee=ZERO,
            )
        )  # fmt: skip
        held = ZERO
    return told


def held_before(
    position: VenuePosition, rules: Rules, account: str, exchange: str, now_ms: int
) -> Fill | None:
    """A position that no trade of the window explains, as a fill for the quarantine; None without a price."""
    if position.entry_price is None or position.entry_price <= 0:
        return None
    at = position.changed_at or now_ms
    trade_id = "held-" + digest(
        account, exchange, position.symbol, position.leg.value, str(position.quantity), str(at)
    )
    return Fill(
        id="f-" + trade_id, at=at, account=account, exchange=exchange, symbol=position.symbol, trade_id=trade_id,
        side=Side.BUY if position.quantity > 0 else Side.SELL, quantity=abs(position.quantity), price=position.entry_price,
        executed_at=at, leg=position.leg, instrument=rules.kind, contract_size=rules.contract_size, settle=rules.settle,
    )  # fmt: skip
