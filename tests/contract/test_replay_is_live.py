"""Replay = live: one tape through the running services over a real bus, and through `replay --ticks`, makes the same trades.

The live side is given the time it needs between two ticks: a tick goes out when every follower has finished with what
there is and no work is left. So what is compared is what the services decide, not how fast this machine is.
"""

import asyncio
import random
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from holdfast.bus.follow import Reader
from holdfast.contracts.codes import Side
from holdfast.contracts.messages import OrderIntent, Trade
from holdfast.contracts.streams import (
    EXECUTOR,
    EXIT_ADJUST,
    EXIT_SCANNER,
    FILL,
    INTENT_RESULT,
    LEDGER,
    LEDGER_UPDATED,
    MARKET_TICK,
    ORDER_INTENT,
    ORDER_INTENT_EXIT,
    ORDER_RESERVE,
    ORDER_STATUS,
)
from holdfast.runtime.settings import Settings
from replay.orders import tick_of
from replay.policy import completed
from replay.run import kinds_of, recordings_of, settings_of
from replay.signals import Signal, read_signals
from services.market_feed.recorded import timeline
from tests.contract._bus import Bus
from tests.contract._pipeline import Pipeline
from tests.contract._wait import wait_until
from tests.unit._replay import BTC, T0, run_files, terms_of, write_signals

GROUPS = {
    ORDER_INTENT: EXECUTOR, ORDER_INTENT_EXIT: EXECUTOR, ORDER_RESERVE: LEDGER, FILL: LEDGER, ORDER_STATUS: LEDGER, EXIT_ADJUST: LEDGER,
}  # fmt: skip
VIEWS = (MARKET_TICK, LEDGER_UPDATED, INTENT_RESULT)
COSTS = {"fee_pct": Decimal("0.05"), "slippage_pct": Decimal("0.01")}
SECOND = 1000
ENTRIES = {"enter_long": Side.BUY, "enter_short": Side.SELL}


@pytest.fixture
def readers(monkeypatch) -> dict[Reader, str]:
    """Every follower's place: it asks for more only when all before has been handled and published."""
    places: dict[Reader, str] = {}
    read = Reader.read

    async def asks(self: Reader, *, wait: bool = True) -> Any:
        places[self] = self.last_id
        return await read(self, wait=wait)

    monkeypatch.setattr(Reader, "read", asks)
    return places


POLICIES: dict[str, tuple[int, dict[str, Any]]] = {
    "levels": (37, {"stop_loss_pct": "2", "take_profit_pct": "3", "max_hold_s": "15"}),
    "trail, ladder, ROI": (
        1,
        {
            "stop_loss_pct": "2", "trailing": {"distance_pct": "1", "activation_pct": "1.5"}, "roi": {"0": "4", "0.2": "1"}, "min_hold_s": "3",
            "take_profit_ladder": [{"at_pct": "2", "fraction": "0.5"}, {"at_pct": "5", "fraction": "0.5"}],
        },
    ),
}  # fmt: skip


class Live:
    """The running services, fed by hand."""

    def __init__(self, pipeline: Pipeline, bus: Bus, readers: dict[Reader, str]) -> None:
        self.pipeline, self.bus, self.readers = pipeline, bus, readers

    async def _newest(self) -> dict[str, str]:
        found = {}
        for stream in (*VIEWS, *GROUPS):
            rows = await self.bus.redis.xrevrange(stream.name, count=1)
            found[stream.name] = rows[0][0].decode() if rows else "0-0"
        return found

    async def _is_quiet(self) -> bool:
        before = await self._newest()
        for reader, place in self.readers.items():
            if reader.stream in VIEWS and place != before[reader.stream.name]:
                return False
        for stream, group in GROUPS.items():
            if before[stream.name] != "0-0" and not await self.bus.finished(stream, group):
                return False
        return before == await self._newest()

    async def quiet(self) -> None:
        await wait_until(self._is_quiet, "everybody to have finished", 30)

    async def signal(self, signal: Signal) -> None:
        """As a strategy would act on it."""
        enters = ENTRIES.get(signal.action)
        if enters is not None:
            intent = OrderIntent(
                id=f"s-{signal.line}", at=self.pipeline.apps[LEDGER].clock.wall_ms(), symbol=signal.symbol, side=enters,
                quantity=signal.quantity, strategy="replay",
            )  # fmt: skip
            await self.bus.add(ORDER_INTENT, intent)
        else:
            held = await self.pipeline.positions()
            if any(row.side is signal.action.side for row in held):
                await self.bus.add(
                    ORDER_INTENT_EXIT,
                    id=f"s-{signal.line}",
                    action="close",
                    symbol=signal.symbol,
                    quantity=str(signal.quantity),
                )
        await self.quiet()


def tape(folder: Path, seed: int, *, adds: bool, ticks: int = 120) -> tuple[Path, Path]:
    """Quotes one second apart that wander by up to 2 %, and signals between them.

    Where an add fills at the very tick at which a rule fires, it depends on the bus which of the two the ledger hears first, and
    nothing can be compared. So without *adds* an entry follows an exit, never an entry; and with them the seed of `POLICIES` is one
    of the few in which no rule fires at a tick that fills an order. A rung that fills when the trail fires may be compared.
    """
    chance = random.Random(seed)
    price, lines, signals = Decimal(100), ["ts_ms,bid,ask"], []
    side = ""
    for number in range(ticks):
        price = (price * (1 + Decimal(chance.randrange(-200, 201)) / 10_000)).quantize(Decimal("0.01"))
        lines.append(f"{T0 + number * SECOND},{price - Decimal('0.01')},{price}")
        at = T0 + number * SECOND + 500
        if adds and number % 2 == 1:
            action = chance.choice(["enter_long", "enter_short", "exit_long", "exit_short"])
            signals.append((at, action, "0.5"))
        elif not adds and number % 12 == 1:
            side = chance.choice(["long", "short"])
            signals.append((at, f"enter_{side}", "0.5"))
        elif not adds and number % 12 == 9:
            signals.append((at, f"exit_{side}", "0.5"))
    quotes = folder / "quotes.csv"
    quotes.write_text("\n".join(lines) + "\n")
    return quotes, write_signals(folder / "signals.csv", signals)


def story(trade: Trade) -> tuple[Any, ...]:
    return (
        trade.side.value, trade.quantity, trade.opened_at, trade.closed_at, trade.entry_price, trade.exit_price, trade.exit_reason.value,
        trade.realized_pnl,
    )  # fmt: skip


@pytest.mark.redis
@pytest.mark.timeout(180)
@pytest.mark.parametrize("policy", POLICIES)
async def test_the_running_services_and_a_replay_make_the_same_trades(tmp_path, real_url, readers, policy):
    seed, given_exits = POLICIES[policy]
    exits = completed(given_exits)
    quotes, signals = tape(tmp_path, seed, adds=policy == "levels")
    given = read_signals(signals)
    recordings = recordings_of([quotes], [BTC], given, candles=False)
    terms = terms_of(**COSTS)
    replayed = settings_of(Settings(), terms, kinds_of(recordings, [BTC]), exits, candles=False)
    bus = Bus(real_url)
    shared = {
        name: getattr(replayed, name).model_dump(exclude_none=True) for name in ("paper", "exits", "scanner")
    }
    pipeline = Pipeline(
        bus, tmp_path / "live", LEDGER, EXECUTOR, EXIT_SCANNER,
        instruments={BTC: replayed.instruments[BTC].model_dump()}, **shared,
    )  # fmt: skip
    waiting = list(given)
    async with pipeline:
        live = Live(pipeline, bus, readers)
        await wait_until(lambda: len(readers) >= 5, "all followers to be there")
        await live.quiet()
        for number, quote in enumerate(timeline(recordings), 1):
            while waiting and waiting[0].at < quote.at:
                await live.signal(waiting.pop(0))
            await bus.add(MARKET_TICK, tick_of(number, quote.at, BTC, quote.bid, quote.ask, quote.last))
            await live.quiet()
        lived = [story(trade) for trade in await pipeline.trades()]
    await bus.close()
    outcome = await asyncio.to_thread(
        run_files, [quotes], signals, candles=False, names=[BTC], exits=exits, **COSTS
    )
    again = [
        (
            one.side, one.quantity, one.opened_ms, one.closed_ms, one.entry_price, one.exit_price, one.exit_reason, one.profit,
        )
        for one in outcome.trades
        if one.exit_reason != "force_exit"
    ]  # fmt: skip
    assert len(lived) >= 5
    assert again == lived
