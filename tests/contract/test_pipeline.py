"""The whole path on one bus: a hand-typed intent becomes an order, a fill, a position with exits, an exit, a trade."""

import json
import sqlite3
from contextlib import closing
from decimal import Decimal
from pathlib import Path

from holdfast.contracts.streams import (
    EXECUTOR,
    EXIT_SCANNER,
    FILL,
    HEARTBEAT,
    LEDGER,
    ORDER_BLOCKED,
    ORDER_INTENT,
    ORDER_INTENT_EXIT,
    STREAMS,
    Reading,
)
from tests.contract._pipeline import NAMED, Pipeline
from tests.contract._wait import wait_until

D = Decimal


async def nothing_pending(bus) -> bool:
    return all(
        [
            await bus.finished(stream, group)
            for stream in STREAMS
            if stream.reading is Reading.WORK
            for group in stream.groups
        ]
    )


async def test_a_hand_typed_intent_becomes_a_trade(bus, tmp_path):
    """The body of the README, typed with redis-cli, and no other word from a person."""
    async with Pipeline(bus, tmp_path) as pipeline:
        await pipeline.tick("100")
        await wait_until(pipeline.priced, "the executor to have a price")
        await bus.add_raw(ORDER_INTENT, body=f'{{"symbol":"{NAMED}","side":"buy","quantity":"0.01"}}')
        await wait_until(pipeline.orders, "the order")
        await pipeline.tick("100")
        (position,) = await wait_until(pipeline.positions, "the position")
        assert (position.side, position.quantity, position.entry_price) == ("long", D("0.01"), D(100))
        assert (position.stop_loss, position.take_profit) == (D(90), D(120))

        await pipeline.tick("110")  # 21 % in one step would be taken for a bad print
        await pipeline.tick("121")
        await wait_until(lambda: bus.of(ORDER_INTENT_EXIT), "the exit")
        await wait_until(pipeline.orders, "the exit's order")
        await pipeline.tick("121")
        (trade,) = await wait_until(pipeline.trades, "the trade")
        await wait_until(lambda: nothing_pending(bus), "the bus to come to rest")
        seq = (await pipeline.view()).seq
        await wait_until(lambda: _written(tmp_path) >= seq, "the state file")

        assert (trade.exit_reason, trade.exit_price, trade.realized_pnl) == ("take_profit", D(121), D("0.21"))
        assert trade.intent_id == trade.correlation_id
        assert trade.intent_id.startswith("i-")
        assert [fill.side for fill in await bus.of(FILL)] == ["buy", "sell"]
        assert await pipeline.positions() == []


def _written(directory) -> int:
    """The ledger sequence that the state file shows."""
    file = directory / "state" / "positions_state.json"
    return json.loads(file.read_text())["seq"] if file.exists() else -1


async def _opened(pipeline: Pipeline, intent_id: str, **more) -> None:
    """A position of 1, entered at 100."""
    await pipeline.tick("100")
    await wait_until(pipeline.priced, "the executor to have a price")
    await pipeline.intent(id=intent_id, symbol=NAMED, side="buy", quantity="1", **more)
    await wait_until(pipeline.orders, "the order")
    await pipeline.tick("100")
    await wait_until(pipeline.positions, "the position")


async def test_an_opposing_intent_is_blocked_and_told(bus, tmp_path):
    """INV-1 end to end: the refusal names what is held, on both streams that tell it."""
    async with Pipeline(bus, tmp_path, LEDGER, EXECUTOR) as pipeline:
        await _opened(pipeline, "first")
        await pipeline.intent(id="against", symbol=NAMED, side="sell", quantity="2")
        result = await pipeline.answer("against")
        (blocked,) = await bus.of(ORDER_BLOCKED)

        assert (result.status, result.code) == ("blocked", blocked.code)
        assert (blocked.held_side, blocked.held_quantity, blocked.attempted_side) == ("long", D(1), "sell")
        assert [position.quantity for position in await pipeline.positions()] == [D(1)]


async def test_the_same_intent_again_gets_the_same_answer_and_no_second_order(bus, tmp_path):
    """INV-4 end to end, with the id and without (then the body and the entry make it another wish)."""
    async with Pipeline(bus, tmp_path, LEDGER, EXECUTOR) as pipeline:
        await _opened(pipeline, "once")
        first = await pipeline.answer("once")
        await pipeline.intent(id="once", symbol=NAMED, side="buy", quantity="1")
        await wait_until(lambda: _answers(bus, "once", 3), "the repeated answer")
        again = await bus.result("once")
        await pipeline.intent(id="once", symbol=NAMED, side="buy", quantity="7")
        await wait_until(lambda: _answers(bus, "once", 4), "the answer to the forgery")
        forged = await bus.result("once")
        await pipeline.tick("100")

        assert (first.status, first.repeated) == ("filled", False)
        assert (again.status, again.repeated, again.order_id) == ("filled", True, first.order_id)
        assert (forged.status, forged.code) == ("duplicate", "intent_id_reused")
        assert [position.quantity for position in await pipeline.positions()] == [D(1)]


async def _answers(bus, intent_id: str, count: int) -> bool:
    return len([one for one in await bus.of_results() if one.intent_id == intent_id]) >= count


async def test_prices_under_another_name_of_the_symbol_fire_exits(bus, tmp_path):
    """A feed of one's own may say BTCUSDT: whatever fills an entry at a price must also watch its stop at it."""
    async with Pipeline(bus, tmp_path, LEDGER, EXECUTOR, EXIT_SCANNER) as pipeline:
        pipeline.feed = "BTCUSDT"
        await _opened(pipeline, "one")
        await pipeline.tick("89")
        await wait_until(pipeline.orders, "the stop's order")
        await pipeline.tick("89")
        (trade,) = await wait_until(pipeline.trades, "the trade")

        assert (trade.symbol, trade.exit_reason) == ("BTC/USDT", "stop_loss")


async def test_services_killed_between_the_steps_lose_nothing(bus, tmp_path):
    """Each is killed while the next step needs it, and started again; one position, one trade, one fill each way."""
    async with Pipeline(bus, tmp_path, LEDGER, EXECUTOR, EXIT_SCANNER) as pipeline:
        await pipeline.tick("100")
        await wait_until(pipeline.priced, "the executor to have a price")
        await pipeline.kill(LEDGER)
        await pipeline.intent(id="one", symbol=NAMED, side="buy", quantity="1")
        pipeline.start(LEDGER)
        await wait_until(
            lambda: _at_the_venue(tmp_path), "the order to be at the venue"
        )  # else it ends, never sent
        await pipeline.kill(EXECUTOR)
        pipeline.start(EXECUTOR)
        await pipeline.tick("100")
        await wait_until(pipeline.positions, "the position")
        await pipeline.kill(EXIT_SCANNER)
        await pipeline.tick("89")
        await pipeline.tick("88")
        pipeline.start(EXIT_SCANNER)
        await wait_until(pipeline.orders, "the stop's order")
        await pipeline.kill(LEDGER)
        await pipeline.tick("88")
        pipeline.start(LEDGER)
        (trade,) = await wait_until(pipeline.trades, "the trade")
        await wait_until(lambda: nothing_pending(bus), "the bus to come to rest")

        assert (trade.exit_reason, trade.quantity) == ("stop_loss", D(1))
        assert sorted({(fill.side, fill.trade_id) for fill in await bus.of(FILL)}) == sorted(
            {(fill.side, fill.trade_id): None for fill in await bus.of(FILL)}
        )
        assert (await pipeline.view()).positions == {}


def _at_the_venue(directory: Path) -> bool:
    """Whether the paper venue's own record holds an order."""
    (record,) = directory.rglob("paper/main.db")
    with closing(sqlite3.connect(record)) as db:
        return bool(db.execute("SELECT count(*) FROM orders").fetchone()[0])


async def test_a_wiped_bus_costs_time_and_no_position(bus, tmp_path):
    """FLUSHALL with a position open: it stays, stays armed, and its stop still closes it."""
    async with Pipeline(bus, tmp_path, LEDGER, EXECUTOR, EXIT_SCANNER) as pipeline:
        await _opened(pipeline, "one")
        await bus.redis.flushall()
        (position,) = await wait_until(pipeline.positions, "the ledger to tell it again")
        await pipeline.tick("100")
        await wait_until(lambda: _armed(bus), "the scanner to be armed")
        await pipeline.tick("89")
        await wait_until(pipeline.orders, "the stop's order")
        await pipeline.tick("89")
        (trade,) = await wait_until(pipeline.trades, "the trade")

        assert (trade.position_id, trade.exit_reason) == (position.position_id, "stop_loss")


async def _armed(bus) -> bool:
    beats = [beat for beat in await bus.of(HEARTBEAT) if beat.service == EXIT_SCANNER]
    return bool(beats) and beats[-1].armed == 1
