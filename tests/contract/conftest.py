"""The same tests on two servers: fakeredis over TCP, and a real one (the embedded bus).

`bus_url` is parametrised over both; a test that needs what fakeredis has not (restarts, files, memory limits) takes
`real_url` or `server` instead. After every test the leak checker looks at the bus: no key that the table of streams
does not declare.

fakeredis differs from Redis in two things that would make these tests worthless, so they are mended here: XREADGROUP
with COUNT and BLOCK returns at once instead of waiting (every idle service would spin), and its TCP server ends the
connection at every error reply (every BUSYGROUP would look like a lost bus).
"""

import select
import socket
import threading
from collections.abc import AsyncIterator, Iterator
from typing import ClassVar

import pytest
from fakeredis import TcpFakeServer
from fakeredis._clients._tcp_server import TCPFakeRequestHandler
from fakeredis.commands_mixins.streams_mixin import StreamsCommandsMixin
from redis import Redis
from redis.exceptions import ResponseError

from holdfast.runtime.embedded_bus import embedded
from tests.contract._bus import Bus, Server, declared


class _Connection(TCPFakeRequestHandler):
    """One client of the fake server: replies with an error and lives on, as a server does."""

    live: ClassVar[set["_Connection"]] = set()

    def setup(self) -> None:
        super().setup()
        self.live.add(self)
        self.connection.setblocking(True)  # a reply larger than the socket's buffer is written all the same
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def handle(self) -> None:
        fake = self.current_client
        while not self.server._shutdown_event.is_set():
            if not select.select([self.connection], [], [], 0.1)[0]:
                continue
            try:
                data = self.connection.recv(1 << 20)
                if not data:
                    return
                fake.get_socket().sendall(data)
                while fake.can_read():
                    self._answer(fake)
            except OSError:
                return  # the client is gone

    def finish(self) -> None:
        self.live.discard(self)
        super().finish()

    @property
    def is_blocked(self) -> bool:
        """Whether it waits in a blocking read."""
        return bool(self.current_client.get_socket()._blocked)

    def _answer(self, fake) -> None:
        try:
            reply = fake.read_response()
        except ResponseError as error:
            reply = error
        self.writer.dump(reply)


@pytest.fixture(scope="session")
def _embedded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with embedded(tmp_path_factory.mktemp("bus")) as url:
        yield url


@pytest.fixture(scope="session")
def _fakeredis() -> Iterator[str]:
    patch = pytest.MonkeyPatch()
    original = StreamsCommandsMixin._xreadgroup

    def waits(self, *arguments):  # nothing found is None: then the caller blocks, as Redis does
        return original(self, *arguments) or None

    patch.setattr(StreamsCommandsMixin, "_xreadgroup", waits)
    server = TcpFakeServer(("127.0.0.1", 0), server_version=(7, 0))
    server.RequestHandlerClass = _Connection
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"redis://127.0.0.1:{server.server_address[1]}/0"
    server.shutdown()
    server.server_close()
    thread.join(5)
    patch.undo()


def _emptied(url: str) -> str:
    with Redis.from_url(url, protocol=2) as client:
        client.flushall()
    return url


@pytest.fixture(params=["fakeredis", "embedded"])
def bus_url(request: pytest.FixtureRequest) -> str:
    """An empty bus, once on each server."""
    return _emptied(request.getfixturevalue(f"_{request.param}"))


@pytest.fixture
def real_url(_embedded: str) -> str:
    """An empty bus on a real server."""
    return _emptied(_embedded)


@pytest.fixture
def server(tmp_path) -> Iterator[Server]:
    """A real server of this test's own, to be killed and restored."""
    own = Server(tmp_path / "bus")
    own.start()
    yield own
    own.stop()


@pytest.fixture
async def bus(bus_url: str) -> AsyncIterator[Bus]:
    """The bus from outside; at the end no undeclared key may be on it."""
    outside = Bus(bus_url)
    yield outside
    leaked = await outside.names() - declared()
    await outside.close()
    assert not leaked
