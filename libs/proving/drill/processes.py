"""Holdfast as processes: one `holdfast up` in a directory, on a disk and in networks of the drill's own where there may be."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from redis import Redis

import holdfast
from holdfast.runtime.processes import Running, read_record
from proving.drill.own_bus import OwnBus
from proving.drill.places import Disk, Networks
from proving.drill.world import ACCOUNTS, BOUNDS, BUS, Unavailable, told

PATIENCE_S = 60.0
ENDING_S = 3.0
T = TypeVar("T")
ROOTS = os.pathsep.join(
    str(path) for path in (Path(holdfast.__file__).parents[1], Path(holdfast.__file__).parents[2])
)
SKEW = Path(__file__).parent / "skew"


def wait(condition: Callable[[], bool], what: str, seconds: float = PATIENCE_S) -> float:
    """Until *condition*; the time it took, s. Raises TimeoutError."""
    started = time.monotonic()
    while not condition():
        if time.monotonic() - started > seconds:
            raise TimeoutError(f"waited {seconds:g} s for {what}")
        time.sleep(0.01)
    return time.monotonic() - started


class Processes:
    """See `proving.drill.world.World`. *plain*: neither a disk nor networks of its own, for a short run anywhere."""

    def __init__(self, directory: Path, feed: str, *, plain: bool = False) -> None:
        self._base, self._why_not, self.asked = directory, dict[str, str](), Counter[str]()
        self._paused: set[str] = set()
        directory.mkdir(parents=True)
        self._disk = (
            None
            if plain
            else self._try("fill the disk", lambda: Disk(directory / "disk.img", directory / "disk"))
        )
        self._networks = None if plain else self._try("cut the network", lambda: Networks(f"hf{os.getpid()}"))
        self.directory = (self._disk.where if self._disk else directory) / "data"
        self._sockets = Path(tempfile.mkdtemp(prefix="hf"))
        self._bus: OwnBus | None = None
        self._environment = os.environ | BOUNDS | {
            "PYTHONPATH": os.pathsep.join((str(SKEW), ROOTS)),
            "DRILL_SKEW": str(directory / "skew.json"),
            "HOLDFAST_ACCOUNTS": ",".join(ACCOUNTS),
        }  # fmt: skip
        self._prefix: tuple[str, ...] = ()
        if self._networks:
            self._bus = OwnBus(
                self.directory / "bus", self._sockets / "bus", Networks.inside(self._networks.bus)
            )
            self._environment["HOLDFAST_REDIS_URL"] = self._bus.url
            self._prefix = Networks.inside(self._networks.services)
            wait((self._sockets / "bus").exists, "the bus")
        self._log, self._copies = directory / "up.log", 0
        self._up = self._start("up", "--demo", "--feed", feed)
        try:
            wait(self._is_up, "the services")
        except TimeoutError:
            self.stop()
            self.remove()
            raise

    def _is_up(self) -> bool:
        """Raises TimeoutError, with the last lines, when it has ended instead."""
        if self._up.poll() is not None:
            raise TimeoutError(f"`holdfast up` ended: {self._log.read_text(errors='replace')[-500:]}")
        return all(self._record(name) for name in ("ledger", "demo"))

    def _try(self, what: str, make: Callable[[], T]) -> T | None:
        try:
            return make()
        except Unavailable as reason:
            self._why_not[what] = str(reason)
            return None

    def _start(self, *arguments: str) -> "subprocess.Popen[bytes]":
        command = (
            *self._prefix,
            sys.executable,
            "-m",
            "holdfast.cli.main",
            *arguments,
            "--dir",
            str(self.directory),
        )
        with self._log.open("ab") as log:
            return subprocess.Popen(
                command, env=self._environment, cwd=self._base, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True,
            )  # fmt: skip

    def client(self) -> "Redis":
        if self._bus is not None:
            return Redis(unix_socket_path=str(self._sockets / "bus"), decode_responses=True, socket_timeout=5)
        port = int((self.directory / "bus" / "port").read_text())
        return Redis(port=port, decode_responses=True, socket_timeout=5)

    # -- processes --------------------------------------------------------------------------------------------------

    def _record(self, name: str) -> Running | None:
        try:
            return read_record(self.directory / "run", name)
        except ValueError:
            return None  # it is just being written on a full disk

    def _pid(self, name: str) -> int | None:
        if name == BUS and self._bus is not None:
            return self._bus.pid
        record = self._record(name)
        return record.pid if record is not None and record.is_alive() else None

    def _send(self, name: str, number: int) -> None:
        """The signal, as soon as there is a process to send it to."""
        wait(lambda: self._pid(name) is not None, f"a process {name}")
        pid = self._pid(name)
        if pid is not None:
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                self._send(name, number)

    def kill(self, names: tuple[str, ...]) -> None:
        for name in names:
            self._send(name, signal.SIGKILL)

    def restart(self, names: tuple[str, ...], pause_s: float) -> None:
        for name in names:
            self._end(name)
            time.sleep(pause_s)

    def _end(self, name: str) -> None:
        self.asked[name] += 1
        self._send(name, signal.SIGTERM)

    def pause(self, name: str) -> None:
        self._paused.add(name)
        self._send(name, signal.SIGSTOP)

    def resume(self, name: str) -> None:
        self._paused.discard(name)
        self._send(name, signal.SIGCONT)

    def skew(self, name: str, by_ms: int) -> None:
        (self._base / "skew.json").write_text(json.dumps({name: by_ms}), encoding="utf-8")
        self._end(name)

    def second(self, name: str) -> int:
        other = self._start("run", name)
        try:
            return other.wait(30)
        except subprocess.TimeoutExpired:
            other.kill()
            return other.wait()

    # -- the bus's files ----------------------------------------------------------------------------------------------

    def copy_bus(self) -> None:
        target = self._base / f"bus-{self._copies + 1}"
        shutil.copytree(self.directory / "bus" / "appendonlydir", target)
        self._copies += 1

    def rewind(self) -> None:
        folder = self.directory / "bus" / "appendonlydir"
        if self._bus is not None:
            self._bus.hold_down()
            self._replace(folder)
            self._bus.let_up()
            return
        os.kill(self._up.pid, signal.SIGSTOP)  # so that it is not started again too early
        try:
            pid = self._pid(BUS)
            self._send(BUS, signal.SIGKILL)
            wait(lambda: self._pid(BUS) != pid, "the bus to end")
            self._replace(folder)
        finally:
            os.kill(self._up.pid, signal.SIGCONT)

    def _replace(self, folder: Path) -> None:
        shutil.rmtree(folder)
        shutil.copytree(self._base / f"bus-{self._copies}", folder)

    # -- places -------------------------------------------------------------------------------------------------------

    def fill_disk(self) -> None:
        if self._disk is None:
            raise Unavailable(self._why_not.get("fill the disk", "this short run has no disk of its own"))
        self._disk.fill()

    def free_disk(self) -> None:
        if self._disk is not None:
            self._disk.free()

    def cut_network(self) -> None:
        if self._networks is None:
            raise Unavailable(
                self._why_not.get("cut the network", "this short run has no networks of its own")
            )
        self._networks.cut()

    def join_network(self) -> None:
        if self._networks is not None:
            self._networks.join()

    # -- the end ------------------------------------------------------------------------------------------------------

    def light(self) -> str:
        try:
            return told((self.directory / "state" / "status.json").read_text(encoding="utf-8"))
        except OSError as error:
            return f"unreadable: {error}"

    def stop(self) -> str:
        if self._up.poll() is None:
            self._up.terminate()
            time.sleep(ENDING_S)  # who stands still ends last, when nobody is left to act on what it says
            for name in self._paused:
                if (pid := self._pid(name)) is not None:
                    os.kill(pid, signal.SIGCONT)
            try:
                self._up.wait(40)
            except subprocess.TimeoutExpired:
                self._up.kill()
        if self._bus is not None:
            self._bus.stop()
        return self._log.read_text(encoding="utf-8", errors="replace")

    def remove(self) -> None:
        """Take what is worth keeping off the disk, then undo the disk and the networks."""
        if self._disk is not None:
            kept = self._base / "data"
            shutil.copytree(
                self.directory, kept, ignore=shutil.ignore_patterns("bus", "ballast"), dirs_exist_ok=True
            )
            self._disk.remove()
            self.directory = kept
        if self._networks is not None:
            self._networks.remove()
        shutil.rmtree(self._sockets)
