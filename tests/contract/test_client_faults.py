"""The client while the bus is killed, wiped, and comes back: it waits, asks again, and its wish stays one."""

import asyncio

from holdfast.client import AsyncClient
from holdfast.contracts.streams import ORDER_INTENT
from tests.contract._bus import Bus, Server
from tests.contract._pipeline import SYMBOL, Pipeline
from tests.contract._wait import wait_until


async def priced(pipeline: Pipeline) -> None:
    await pipeline.tick("100")
    await wait_until(pipeline.priced, "the executor to have a price")


async def test_a_bus_that_is_killed_while_one_waits_is_waited_for(server: Server, tmp_path, monkeypatch):
    monkeypatch.setattr("holdfast.client.core.RESEND_S", 0.5)
    bus = Bus(server.url)
    async with Pipeline(bus, tmp_path) as pipeline, AsyncClient(server.url, name="mine") as client:
        await priced(pipeline)
        handle = await client.buy(SYMBOL, 1, key="k", expires_in_s=60)
        server.kill()
        waiting = asyncio.create_task(handle.wait(40))
        server.start()
        await bus.redis.connection_pool.disconnect()

        async def until_over() -> bool:
            await pipeline.tick("100")
            return waiting.done()

        await wait_until(until_over, "the end", 30)
        end = await waiting
        held = await client.positions(20)
        assert end.status in {"filled", "expired"}, (
            "expired: the bus was away for longer than the order's send_by"
        )
        assert [row.quantity for row in held] == ([1] if end.status == "filled" else [])
    await bus.close()


async def test_a_wish_that_a_wipe_took_away_before_anybody_read_it_is_made_again(
    server: Server, tmp_path, monkeypatch
):
    monkeypatch.setattr("holdfast.client.core.RESEND_S", 0.2)
    bus = Bus(server.url)
    async with AsyncClient(server.url, name="mine") as client:
        handle = await client.buy(SYMBOL, 1, key="k")
        await bus.redis.flushall()
        waiting = asyncio.create_task(handle.wait(40))
        await wait_until(lambda: bus.redis.xlen(ORDER_INTENT.name), "the wish to be there again")
        async with Pipeline(bus, tmp_path) as pipeline:

            async def until_over() -> bool:
                await pipeline.tick("100")
                return waiting.done()

            await wait_until(until_over, "an end", 30)
            end = await waiting
            assert (end.intent_id, end.status in {"filled", "blocked"}) == ("mine:k", True), end
            results = {result.status for result in await bus.of_results() if result.intent_id == "mine:k"}
            assert len(results - {"accepted"}) == 1, "it has one end, however often it was sent"
    await bus.close()
