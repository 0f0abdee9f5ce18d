"""Spot: which of an account's coins are a position, and which are inventory. Pure.

An exchange shows coins, and a coin does not say who bought it. So a position is what the trades of our own orders come to since it
opened, and the balance has to cover it. All other coins are inventory: nobody adopts, counts or sells them. Coins of ours that are
gone were sold by others where their trades, executed since the balance was last known to be enough, are as much; then what is
missing is taken out of those trades, the latest first. Where they are not, nobody knows where the coins went.

A fee that is paid in the base coin comes out of the coins, as in the ledger (`domain.position`).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Protocol

from holdfast.contracts.codes import FillKind, Leg, PositionSide, Side
from holdfast.contracts.messages import Fill
from holdfast.contracts.money import ZERO, add, canonical, divide, mul, sub
from holdfast.contracts.rows import PositionRow, TotalRow
from holdfast.domain.position import base_of

Place = tuple[str, Leg]
Trades = Mapping[Place, Sequence[Fill]]
OLDEST_MS = 84 * 24 * 3600 * 1000
"""How far back trades are read. Of a position that has been open for longer only the balance is compared."""
DISORDER_MS = 3_600_000
RECENT_MS = 2 * 24 * 3600 * 1000
"""So long after its last trade a symbol's trades are read from that one on, whatever others have been traded since."""


class Recording(Protocol):
    """What is needed of a ledger's view."""

    @property
    def positions(self) -> Mapping[str, PositionRow]: ...
    @property
    def totals(self) -> Mapping[tuple[str, str, str], TotalRow]: ...


@dataclass(frozen=True, slots=True)
class Anchor:
    """From where on our trades make up what is held: of an open position its first fill, of a flat book the last one recorded."""

    at: int
    """Market time, ms."""
    position: PositionRow | None = None


def change_of(fill: Fill) -> Decimal:
    """What a trade did to the base coin, signed."""
    change = fill.quantity if fill.side is Side.BUY else fill.quantity.copy_negate()
    return sub(change, fill.fee) if fill.fee and fill.fee_currency == base_of(fill.symbol) else change


def total(fills: Iterable[Fill]) -> Decimal:
    """What trades did to the base coin together."""
    found = ZERO
    for fill in fills:
        found = add(found, change_of(fill))
    return found


def held(ours: Sequence[Fill], others: Sequence[Fill], anchor: Anchor, recorded: Decimal) -> Decimal:
    """What the exchange's own record says is held, given that we have *recorded* so much; both lists oldest first.

    *ours* alone decides. Two things are allowed for: that the ledger heard of trades in another order than they were made, so that
    some before the anchor (of the last `DISORDER_MS`) are of what is held now, or some of its millisecond are not; and what was
    recorded as sold by others, as far as their trades since then go.
    """
    later = [fill for fill in ours if fill.executed_at > anchor.at]
    near = [fill for fill in ours if anchor.at - DISORDER_MS <= fill.executed_at <= anchor.at]
    tied = sum(fill.executed_at == anchor.at for fill in near)
    first = len(near) if anchor.position is None else len(near) - tied
    starts = sorted(
        range(len(near) + 1 if anchor.position is None else max(1, len(near))), key=lambda at: abs(at - first)
    )
    choices = [[*near[start:], *later] for start in starts]
    for choice in choices:
        there = total(choice)
        if there == recorded or _sold_by_others(choice, others, anchor, sub(there, recorded)):
            return recorded
    return total(choices[0])


def _sold_by_others(ours: Sequence[Fill], others: Sequence[Fill], anchor: Anchor, more: Decimal) -> bool:
    """Whether we hold *more* by our own trades because the ledger has taken out what others sold."""
    position = anchor.position
    if position is None or more <= 0:
        return False
    bought = total(fill for fill in ours if fill.side is Side.BUY)
    fees = sub(
        total(fill for fill in ours if fill.side is Side.SELL), sub(ZERO, quantity_of(ours, Side.SELL))
    )
    if add(bought, fees) != position.bought:
        return False
    return more <= quantity_of((one for one in others if one.executed_at >= anchor.at), Side.SELL)


def quantity_of(fills: Iterable[Fill], side: Side) -> Decimal:
    """How much trades of one side came to."""
    found = ZERO
    for fill in fills:
        if fill.side is side:
            found = add(found, fill.quantity)
    return found


@dataclass(frozen=True, slots=True)
class Recorded:
    """What the ledger has of one spot account: open positions, what is held or in quarantine, and when each symbol was last traded."""

    positions: Mapping[Place, PositionRow]
    quantities: Mapping[Place, Decimal]
    last: Mapping[str, int]

    def since(self, last: int, now: int) -> int:
        """From when on trades are needed: since *last*, since the oldest open position opened, and since each symbol was last traded."""
        opened = [row.opened_at - DISORDER_MS for row in self.positions.values()]
        recent = [at - DISORDER_MS for at in self.last.values() if at > now - RECENT_MS]
        return max(min([last, *opened, *recent]), now - OLDEST_MS)

    def by_trades(self, ours: Trades, others: Trades, now: int) -> dict[Place, Decimal]:
        """What the exchange's record of trades says is held of each symbol."""
        there: dict[Place, Decimal] = {}
        for place in self.quantities.keys() | ours.keys():
            row, here = self.positions.get(place), self.quantities.get(place, ZERO)
            if row is not None and row.opened_at <= now - OLDEST_MS:
                there[place] = (
                    here  # its first trades are no longer read; the balance is what is left to compare
                )
                continue
            anchor = Anchor(self.last.get(place[0], 0)) if row is None else Anchor(row.opened_at, row)
            there[place] = held(ours.get(place, ()), others.get(place, ()), anchor, here)
        return there

    def needed(self) -> dict[str, Decimal]:
        """How much of each coin our positions are."""
        found: dict[str, Decimal] = {}
        for row in self.positions.values():
            coin = base_of(row.symbol)
            found[coin] = add(found.get(coin, ZERO), row.quantity)
        return found


def recorded_of(
    view: Recording, account: str, exchange: str, quantities: Mapping[Place, Decimal]
) -> Recorded:
    """That of one account in a ledger's view."""
    key = (account, exchange)
    positions = {
        (row.symbol, row.leg): row
        for row in view.positions.values()
        if (row.account, row.exchange) == key and row.side is PositionSide.LONG
    }
    totals = (row for row in view.totals.values() if (row.account, row.exchange) == key)
    return Recorded(positions, quantities, {row.symbol: row.last_executed_at for row in totals})


def shortages(needed: Mapping[str, Decimal], totals: Mapping[str, Decimal]) -> dict[str, Decimal]:
    """Coins of which the account has less than our positions of them, and how much less. *needed*: by base coin."""
    missing = {coin: sub(quantity, totals.get(coin, ZERO)) for coin, quantity in needed.items()}
    return {coin: amount for coin, amount in missing.items() if amount > 0}


def covered(there: dict[Place, Decimal], recorded: Recorded, missing: Mapping[str, Decimal]) -> None:
    """Take out of *there* what the balance does not cover, where the trades agree with the ledger."""
    for place, row in recorded.positions.items():
        gone = min(missing.get(base_of(row.symbol), ZERO), row.quantity)
        if gone and there.get(place) == recorded.quantities.get(place):
            there[place] = sub(there[place], gone)


def sales_that_explain(
    missing: Decimal, others: Sequence[Fill], since: int, recorded: Decimal
) -> list[Fill] | None:
    """What of *others'* sales since then makes up what is *missing* of the *recorded* quantity; None where they are not as much.

    They count less what others bought meanwhile. The ids depend on what was recorded, so that the same sale is never counted twice for the same coins.
    """
    recent = [fill for fill in others if fill.executed_at >= since]
    if total(recent).copy_negate() < missing:
        return None
    found: list[Fill] = []
    left = missing
    for fill in reversed(recent):
        if left <= 0:
            break
        if fill.side is not Side.SELL:
            continue
        part = min(left, fill.quantity)
        mark = f"-{canonical(recorded)}"
        found.append(
            fill.evolve(
                id=fill.id + mark, trade_id=fill.trade_id + mark, kind=FillKind.ADJUSTMENT, quantity=part,
                fee=divide(mul(fill.fee, part), fill.quantity) if fill.fee_currency != base_of(fill.symbol) else ZERO,
            )
        )  # fmt: skip
        left = sub(left, part)
    return found[::-1] if left <= 0 else None


def day_result(
    ours: Sequence[Fill], held: Mapping[str, Decimal], prices: Mapping[str, tuple[Decimal, Decimal]]
) -> Decimal:
    """What a day has brought: the money of *ours*, its trades, and what the coins *held* now have gained since it began.

    By symbol: *prices* are the day's first and last. What is held now less what the day's trades bought was held when it began. A
    fee in a third coin is not counted.
    """
    result = ZERO
    for symbol, (first, last) in prices.items():
        mine = [fill for fill in ours if fill.symbol == symbol]
        now = held.get(symbol, ZERO)
        for fill in mine:
            result = add(result, _money_of(fill))
        result = add(result, sub(mul(now, last), mul(sub(now, total(mine)), first)))
    return result


def _money_of(fill: Fill) -> Decimal:
    value = mul(fill.quantity, fill.price)
    fee = fill.fee if fill.fee_currency == fill.settle else ZERO
    return sub(value if fill.side is Side.SELL else value.copy_negate(), fee)
