"""One MULTI of many commands: all or nothing while queueing, the first error told, the connection whole afterwards."""

import asyncio

import pytest
from redis import exceptions as redis_errors

from holdfast.bus.connection import connect, is_passing
from holdfast.bus.transaction import READ_AT_ONCE, transact


@pytest.fixture
async def client(real_url):
    """On a real server: fakeredis runs what another would refuse to queue."""
    own = connect(real_url)
    yield own
    await own.aclose()


def adds(count: int, name: str = "s") -> list[tuple[str, ...]]:
    return [("XADD", name, f"{number}-0", "n", str(number)) for number in range(1, count + 1)]


async def test_replies_come_in_order_however_many(client):
    count = 2 * READ_AT_ONCE + 7
    replies = await transact(client, adds(count), 10)
    assert replies == [f"{number}-0".encode() for number in range(1, count + 1)]
    assert await client.xlen("s") == count


async def test_bytes_texts_and_numbers_arrive_as_they_are(client):
    await transact(client, [("XADD", "s", "MAXLEN", "~", 10, "1-0", b"k\r\n", "ä\x00€")], 10)
    assert await client.xrange("s") == [(b"1-0", {b"k\r\n": "ä\x00€".encode()})]


async def test_a_command_that_cannot_be_queued_keeps_the_others_from_running(client):
    with pytest.raises(redis_errors.ResponseError, match="wrong number"):
        await transact(client, [*adds(2), ("XADD", "s"), ("XADD", "s", "3-0", "n", "3")], 10)
    assert await client.xlen("s") == 0
    assert await transact(client, adds(1), 10) == [b"1-0"]


async def test_a_command_that_fails_while_they_run_is_told_and_undoes_nothing(client):
    with pytest.raises(redis_errors.ResponseError, match="equal or smaller"):
        await transact(client, [*adds(2), *adds(1), ("XADD", "s", "3-0", "n", "3")], 10)
    assert await client.xlen("s") == 3


async def test_one_that_was_cancelled_leaves_no_answers_behind(client):
    for turns in (0, 1, 2, 3, 5, 8, 13, 21, 100):
        task = asyncio.ensure_future(transact(client, adds(2000, f"s{turns}"), 10))
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert await transact(client, adds(2, f"after{turns}"), 10) == [b"1-0", b"2-0"]
        assert await client.xlen(f"s{turns}") in {0, 2000}


async def test_a_bus_that_is_gone_is_an_error_of_the_connection_and_one_that_is_back_is_used(server):
    client = connect(server.url)
    assert await transact(client, adds(1), 10) == [b"1-0"]
    server.kill()
    with pytest.raises((redis_errors.ConnectionError, OSError)):
        await transact(client, adds(1, "t"), 10)
    server.start()
    assert await transact(client, adds(1, "u"), 10) == [b"1-0"]
    await client.aclose()


@pytest.mark.parametrize(
    ("error", "passes"),
    [
        (redis_errors.OutOfMemoryError("command not allowed when used memory > 'maxmemory'."), True),
        (redis_errors.ExecAbortError("Transaction discarded because of: OOM command not allowed"), True),
        (redis_errors.ExecAbortError("Transaction discarded because of previous errors."), False),
        (redis_errors.ResponseError("NOGROUP No such key"), True),
        (redis_errors.ResponseError("WRONGTYPE Operation against a key"), False),
        (redis_errors.ConnectionError("gone"), True),
        (ValueError("OOM"), False),
    ],
)
def test_what_passes_is_told_from_what_does_not(error, passes):
    """Full between MULTI and EXEC is as full as before it: a load test saw the market feed end of it."""
    assert is_passing(error) is passes
