"""A restart in the middle of a trailing stop: the same exit, to the tick.

The exit scanner is killed at every moment of a tape and started again from an older snapshot and the updates behind it, with the
ticks that the bus keeps, as its `app` does it. Whatever the moment, the trade is the one that an undisturbed scanner makes.
"""

import asyncio
import itertools
import random
from collections.abc import Collection
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from holdfast.contracts.codes import Kind
from holdfast.contracts.messages import LedgerUpdated, OrderIntent, Trade
from holdfast.contracts.streams import ORDER_INTENT
from holdfast.runtime.settings import Settings
from replay.machine import Machine
from replay.orders import tick_of
from replay.policy import completed
from replay.run import settings_of
from tests.unit._replay import BTC, T0, terms_of

SECOND = 1000
POLICIES = {
    "activation": {"stop_loss_pct": "5", "trailing": {"distance_pct": "1", "activation_pct": "2", "only_after_activation": True}},
    "at once": {"stop_loss_pct": "5", "trailing": {"distance_pct": "2"}},
    "break-even": {"stop_loss_pct": "5", "breakeven_trigger_pct": "1", "take_profit_pct": "9"},
}  # fmt: skip


LENGTH = 32


def tape(seed: int, length: int) -> list[Decimal]:
    """Up, with steps back, and down again: a trail has something to follow and something to stop."""
    chance, price, prices = random.Random(seed), Decimal(100), []
    for number in range(length):
        step = chance.randrange(-4, 12) if number < length * 2 // 3 else chance.randrange(-18, -2)
        price += Decimal(step) / 10
        prices.append(price)
    return prices


PRICES = tape(3, LENGTH)


async def lived(
    folder: Path, side: str, exits: dict[str, Any], restarts: Collection[int], *, timers: bool = False
) -> Trade:
    """The one trade of a run in which the scanner is killed after the ticks of these numbers."""
    trades: list[Trade] = []

    def hear(update: LedgerUpdated) -> None:
        trades.extend(update.trades)

    settings = settings_of(Settings(), terms_of(), {BTC: Kind.LINEAR}, completed(exits), candles=False)
    async with Machine(settings, folder, hear, restartable=True) as machine:
        for number, price in enumerate(PRICES):
            seen = price if side == "buy" else 200 - price
            await machine.tick(tick_of(number, T0 + number * SECOND, BTC, seen, seen, seen))
            if number == 0:
                intent = OrderIntent(id="first", at=T0, symbol=BTC, side=side, quantity=Decimal(1))
                await machine.send(ORDER_INTENT, intent, T0)
            if timers:
                await machine.time_passes()
            if number in restarts:
                await machine.restart_scanner()
    (trade,) = trades
    return trade


SAME = ("exit_reason", "exit_price", "closed_at", "trigger_price", "trigger_at", "trigger_level", "stop_loss", "realized_pnl")  # fmt: skip
EVERY = range(LENGTH)


@pytest.mark.timeout(240)
@pytest.mark.parametrize("side", ["buy", "sell"])
@pytest.mark.parametrize("policy", POLICIES)
def test_a_scanner_that_is_killed_in_the_middle_of_a_trail_makes_the_same_exit(tmp_path, policy, side):
    """At single moments; after every tick; and after every tick with the ledger told of each move of the stop."""
    lives = itertools.count()

    def story(restarts: Collection[int], *, timers: bool = False) -> list[Any]:
        folder = tmp_path / str(next(lives))
        trade = asyncio.run(lived(folder, side, POLICIES[policy], restarts, timers=timers))
        return [getattr(trade, name) for name in SAME]

    undisturbed = story(())
    assert undisturbed[0] in {"trailing_stop", "break_even"}
    for moment in range(1, LENGTH, 5):
        assert story([moment]) == undisturbed, moment
    assert story(EVERY) == undisturbed
    assert story(EVERY, timers=True) == undisturbed
