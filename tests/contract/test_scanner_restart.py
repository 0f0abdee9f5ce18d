"""A scanner that starts again counts the ticks of the past before it arms: what was cheap before a trail is no exit now."""

import pytest

from holdfast.contracts.codes import ExitReason
from holdfast.contracts.streams import (
    EXECUTOR,
    EXIT_ADJUST,
    EXIT_SCANNER,
    HEARTBEAT,
    LEDGER,
    ORDER_INTENT_EXIT,
)
from tests.contract._bus import Bus
from tests.contract._pipeline import Pipeline
from tests.contract._wait import wait_until

EXITS = {"stop_loss_pct": "10", "trailing": {"distance_pct": "3"}}
PAST = 2_500
"""Several reads of 500 entries, in between which the ledger's snapshot has long been loaded."""


@pytest.mark.redis
@pytest.mark.timeout(120)
async def test_old_ticks_below_a_stop_that_has_moved_since_fire_nothing(tmp_path, real_url):
    bus = Bus(real_url)
    async with Pipeline(bus, tmp_path, LEDGER, EXECUTOR, EXIT_SCANNER, exits=EXITS) as pipeline:
        await pipeline.tick("100")
        await wait_until(pipeline.priced, "a price")
        await pipeline.intent(id="first", symbol="BTC/USDT", side="buy", quantity="1")
        await wait_until(pipeline.orders, "an order")
        await pipeline.tick("100")
        await wait_until(pipeline.positions, "a position")
        for _ in range(PAST):
            await pipeline.tick("100")
        await pipeline.tick("110")

        async def moved() -> bool:
            (position,) = await pipeline.positions()
            return str(position.stop_loss) == "106.7"

        await wait_until(moved, "the ledger to hear of the stop's move")
        assert await bus.of(EXIT_ADJUST)
        await pipeline.kill(EXIT_SCANNER)
        app = pipeline.start(EXIT_SCANNER)

        async def armed() -> bool:
            beats = [beat for beat in await bus.of(HEARTBEAT) if beat.incarnation == app.incarnation]
            return bool(beats) and beats[-1].armed == 1

        await wait_until(armed, "the new scanner to have armed the position", 30)
        await pipeline.tick("109")
        await pipeline.tick("106")
        await wait_until(lambda: bus.of(ORDER_INTENT_EXIT), "the exit")
        (intent,) = await bus.of(ORDER_INTENT_EXIT)
        assert (intent.reason, intent.trigger_price) == (ExitReason.TRAILING_STOP, 106)
    await bus.close()
