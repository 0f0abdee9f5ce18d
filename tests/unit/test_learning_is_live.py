"""A counterfactual is what the services would have done: the same tape, lived under the other thresholds, ends the same.

The tape is lived through ledger, executor, paper venue and exit scanner. From what was lived under one policy the learner says how it
would have ended under another, and that is lived, too.
"""

import asyncio
import random
from decimal import Decimal as D  # noqa: N817
from pathlib import Path
from typing import Any

import pytest

from holdfast.contracts.codes import Kind
from holdfast.contracts.messages import LedgerUpdated, OrderIntent, Trade
from holdfast.contracts.outcomes import TradeOutcome
from holdfast.contracts.rows import PositionRow
from holdfast.contracts.streams import ORDER_INTENT
from holdfast.domain.thresholds import of_row
from holdfast.runtime.settings import Settings
from learning.counterfactual import outcome_under
from learning.revert import realized_ratio
from replay.machine import Machine
from replay.orders import tick_of
from replay.policy import completed
from replay.run import settings_of
from tests.unit._learning import price_point
from tests.unit._replay import BTC, T0, terms_of

SECOND = 1000
LENGTH = 60
POLICIES: tuple[dict[str, Any], ...] = (
    {"stop_loss_pct": "3", "take_profit_pct": "5", "max_hold_s": "55"},
    {"stop_loss_pct": "1", "take_profit_pct": "5", "max_hold_s": "20"},
    {"stop_loss_pct": "3", "take_profit_pct": "1.5", "max_hold_s": "55"},
    {"stop_loss_pct": "2", "take_profit_pct": "4", "max_hold_s": "40"},
)
TRAIL = {"distance_pct": "1", "activation_pct": "1.5"}
OTHER_TRAIL = {"distance_pct": "0.5", "activation_pct": "0.8"}
PAIRS = [
    *((POLICIES[0], other) for other in POLICIES[1:]),
    (POLICIES[0] | {"trailing": TRAIL}, POLICIES[3] | {"trailing": OTHER_TRAIL}),
    (
        POLICIES[0] | {"trailing": OTHER_TRAIL, "breakeven_trigger_pct": "2", "emergency_loss_pct": "5"},
        POLICIES[1] | {"trailing": TRAIL, "breakeven_trigger_pct": "0.5", "emergency_loss_pct": "4"},
    ),
]


async def lived(
    folder: Path, side: str, exits: dict[str, Any], prices: list[D]
) -> tuple[PositionRow, Trade | None]:
    """The position right after its entry, and how it ended."""
    rows: list[PositionRow] = []
    trades: list[Trade] = []

    def hear(update: LedgerUpdated) -> None:
        rows.extend(update.positions)
        trades.extend(update.trades)

    settings = settings_of(
        Settings(), terms_of(fee_pct=D("0.1")), {BTC: Kind.LINEAR}, completed(exits), candles=False
    )
    async with Machine(settings, folder, hear) as machine:
        for number, price in enumerate(prices):
            await machine.tick(tick_of(number, T0 + number * SECOND, BTC, price, price, price))
            if number == 0:
                intent = OrderIntent(id="first", at=T0, symbol=BTC, side=side, quantity=D(1))
                await machine.send(ORDER_INTENT, intent, T0)
    return rows[0], trades[0] if trades else None


def outcome_of(row: PositionRow, trade: Trade, prices: list[D]) -> TradeOutcome:
    """As the learner's service makes it, with every tick a point of its own."""
    path = [price_point(T0 + n * SECOND, price) for n, price in enumerate(prices)]
    return TradeOutcome(
        id="o", at=trade.closed_at, position_id=row.position_id, row=row, closed_at=trade.closed_at, exit_reason=trade.exit_reason,
        exit_price=trade.exit_price, realized_pnl=trade.realized_pnl, path=[point for point in path if point.at >= row.changed_at],
        through=path[-1].at,
    )  # fmt: skip


def decided(trade: Trade | None) -> tuple[Any, ...]:
    return () if trade is None else (trade.exit_reason, trade.trigger_price, trade.trigger_at)


@pytest.mark.parametrize("side", ["buy", "sell"])
@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("pair", range(len(PAIRS)))
def test_the_answer_is_what_the_services_do(tmp_path, side, seed, pair):
    chance, price, prices = random.Random(100 * seed + pair), D(100), []
    for _ in range(LENGTH):
        price += D(chance.randrange(-6, 7)) / 10
        prices.append(price)
    under = []
    for number, exits in enumerate(PAIRS[pair]):
        (tmp_path / str(number)).mkdir()
        under.append(asyncio.run(lived(tmp_path / str(number), side, exits, prices)))
    (row, trade), (other_row, other_trade) = under
    assert trade is not None
    outcome = outcome_of(row, trade, prices)

    same = outcome_under(outcome)
    assert (same.reason, same.price, same.closed_at) == decided(trade)
    filled_later = 0.6 / 90  # the next tick's price, not the one that decided
    assert same.profit_ratio == pytest.approx(realized_ratio(outcome), abs=filled_later)

    values = of_row(other_row)
    other = outcome_under(outcome, values)
    assert (other.reason, other.price, other.closed_at) == decided(other_trade)
