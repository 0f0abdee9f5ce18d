"""TLS to the bus and to the database, by address: used when it is right, refused with a clear word when it is not."""

import asyncio
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from holdfast.bus.client import Unreachable, reach
from holdfast.bus.groups import create_groups
from holdfast.contracts.streams import LEDGER_SNAPSHOT, ORDER_INTENT
from holdfast.runtime.bus_address import complete
from holdfast.runtime.clock import SystemClock
from holdfast.runtime.embedded_bus import embedded
from holdfast.runtime.faults import EXIT_CONFIG, EXIT_UNAVAILABLE, Terminal, Transient
from holdfast.runtime.ids import SystemIds
from holdfast.runtime.settings import Settings
from holdfast.store.opening import open_store
from services.ledger.app import build as build_ledger
from tests.contract._wait import wait_until
from tests.security._tls import Authority, tls_in_front
from tests.unit._postgres import Server as Postgres

pytestmark = pytest.mark.redis


@pytest.fixture
def ours(tmp_path) -> Authority:
    return Authority(tmp_path / "ours", "ours")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def redis_with_tls(folder: Path, crt: Path, key: Path, client_ca: Path | None) -> Iterator[int]:
    """redis-server's own TLS; the test is skipped where it is not on PATH, or was built without."""
    binary, port = shutil.which("redis-server"), free_port()
    if binary is None:
        pytest.skip("no redis-server on PATH")
    asks = (
        ["--tls-auth-clients", "yes", "--tls-ca-cert-file", str(client_ca)]
        if client_ca
        else ["--tls-auth-clients", "no"]
    )
    command = [
        binary,
        "--port",
        "0",
        "--tls-port",
        str(port),
        "--tls-cert-file",
        str(crt),
        "--tls-key-file",
        str(key),
        *asks,
        "--save",
        "",
        "--dir",
        str(folder),
    ]
    log = folder / "redis.log"
    with log.open("wb") as out, subprocess.Popen(command, stdout=out, stderr=out) as process:
        try:
            while b"Ready to accept" not in log.read_bytes():
                if process.poll() is not None:
                    pytest.skip("this redis-server was built without TLS")
            yield port
        finally:
            process.terminate()


@contextmanager
def bus_with_tls(
    kind: str, folder: Path, crt: Path, key: Path, client_ca: Path | None = None
) -> Iterator[str]:
    """A bus that speaks nothing but TLS; its address."""
    if kind == "server":
        with redis_with_tls(folder, crt, key, client_ca) as port:
            yield f"rediss://127.0.0.1:{port}/0"
        return
    with embedded(folder / "bus") as url:
        plain = int(url.rpartition(":")[2].partition("/")[0])
        with tls_in_front(lambda: asyncio.open_connection("127.0.0.1", plain), crt, key, client_ca) as port:
            yield f"rediss://127.0.0.1:{port}/0"


def settings_of(folder: Path, url: str, **bus: object) -> Settings:
    return Settings.model_validate(
        {"dir": folder, "bus": {"url": url, "block_ms": 100, "store_patience_s": 1.0, **bus}}
    )


KINDS = pytest.mark.parametrize("kind", ["server", "proxy"])


@KINDS
async def test_a_service_and_a_command_work_over_tls(kind, ours, tmp_path):
    """FastStream's readers, our own, and the command line's: all three make connections of their own."""
    with bus_with_tls(kind, tmp_path, *ours.issue("bus", "127.0.0.1")) as url:
        settings = settings_of(tmp_path, url, tls_ca=str(ours.ca))
        app = build_ledger(settings)
        serving = asyncio.create_task(app.serve())
        async with reach(settings) as client:
            await create_groups(client.redis)

            async def published() -> bool:
                return bool(await client.newest(LEDGER_SNAPSHOT, 1))

            await wait_until(published, "a snapshot, asked for over TLS and answered over TLS")
            assert await client.newest(ORDER_INTENT, 1) == []
        app.stop()
        assert await serving == 0


@KINDS
async def test_a_certificate_of_another_authority_is_refused(kind, ours, tmp_path):
    theirs = Authority(tmp_path / "theirs", "theirs")
    with bus_with_tls(kind, tmp_path, *theirs.issue("bus", "127.0.0.1")) as url:
        await refused(settings_of(tmp_path, url, tls_ca=str(ours.ca)), "certificate verify failed")
        await refused(settings_of(tmp_path, url), "certificate verify failed")


@KINDS
async def test_a_certificate_of_another_host_is_refused(kind, ours, tmp_path):
    with bus_with_tls(kind, tmp_path, *ours.issue("bus", "127.0.0.2", "elsewhere")) as url:
        await refused(settings_of(tmp_path, url, tls_ca=str(ours.ca)), "certificate verify failed")


@KINDS
async def test_an_expired_certificate_is_refused(kind, ours, tmp_path):
    with bus_with_tls(kind, tmp_path, *ours.issue("bus", "127.0.0.1", days=-1)) as url:
        await refused(settings_of(tmp_path, url, tls_ca=str(ours.ca)), "certificate verify failed")


@KINDS
async def test_a_bus_that_asks_for_a_certificate_gets_ours(kind, ours, tmp_path):
    crt, key = ours.issue("client")
    with bus_with_tls(kind, tmp_path, *ours.issue("bus", "127.0.0.1"), ours.ca) as url:
        async with reach(
            settings_of(tmp_path, url, tls_ca=str(ours.ca), tls_cert=str(crt), tls_key=str(key))
        ) as client:
            assert await client.redis.ping()
        with pytest.raises(Unreachable):
            async with reach(settings_of(tmp_path, url, tls_ca=str(ours.ca))) as client:
                await client.redis.ping()


async def refused(settings: Settings, why: str) -> None:
    """A command says why in one line, and a service ends after its patience with the same."""
    with pytest.raises(Unreachable, match=why):
        async with reach(settings):
            pytest.fail("it was let in")
    assert await build_ledger(settings).serve() == EXIT_UNAVAILABLE


def test_the_check_of_certificates_cannot_be_switched_off(tmp_path):
    for option in ("ssl_cert_reqs=none", "ssl_cert_reqs=optional", "ssl_check_hostname=False"):
        with pytest.raises(Terminal, match="must be checked") as error:
            complete(f"rediss://127.0.0.1:1/0?{option}", Settings(), "ledger")
        assert error.value.code == EXIT_CONFIG


def test_what_is_set_wrong_is_told_before_anything_is_reached(tmp_path):
    with pytest.raises(Terminal, match="there is no file"):
        complete("rediss://127.0.0.1:1/0", settings_of(tmp_path, "", tls_ca=str(tmp_path / "none")), "ledger")
    with pytest.raises(Terminal, match="TLS needs rediss://"):
        complete("redis://127.0.0.1:1/0", settings_of(tmp_path, "", tls_ca=str(tmp_path)), "ledger")


# -- the database ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    server = Postgres()
    yield server
    server.stop()


@pytest.mark.postgres
def test_a_store_over_tls_is_checked_against_the_authority(postgres, ours, tmp_path):
    """`sslmode=verify-full` and `sslrootcert` in the address are libpq's own; they reach it."""
    database = postgres.fresh().partition("@/")[2].partition("?")[0]
    crt, key = ours.issue("db", "127.0.0.1", "localhost")
    theirs = Authority(tmp_path / "theirs", "theirs")
    files = list(postgres.folder.glob(".s.PGSQL.*[0-9]"))
    assert len(files) == 1

    def open_it(port: int, ca: Path) -> None:
        url = f"postgresql://postgres@127.0.0.1:{port}/{database}?sslmode=verify-full&sslrootcert={ca}&gssencmode=disable"
        open_store(url=url, directory=tmp_path, who="test", ids=SystemIds(SystemClock())).close()

    with tls_in_front(
        lambda: asyncio.open_unix_connection(str(files[0])), crt, key, speaks_postgres=True
    ) as port:
        open_it(port, ours.ca)
        with pytest.raises(Transient, match="certificate verify failed"):
            open_it(port, theirs.ca)
