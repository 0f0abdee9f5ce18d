"""A bus that the drill itself looks after, in a network namespace: what `holdfast up` does for its own, in little."""

import subprocess
import threading
import time
from pathlib import Path

from holdfast.runtime.embedded_bus import EmbeddedBus, prepare
from holdfast.runtime.settings import BusSettings
from proving.drill.places import BUS_ADDRESS

AGAIN_S = 0.1


class OwnBus:
    """Runs until stopped, and is started again whenever it ends, unless it is held down."""

    def __init__(self, folder: Path, socket: Path, prefix: tuple[str, ...]) -> None:
        self._bus: EmbeddedBus = prepare(folder, BusSettings())
        more = ("--bind", BUS_ADDRESS, "--protected-mode", "no", "--unixsocket", str(socket))
        self._command = (*prefix, *self._bus.command, *more)
        self._may_run, self._stopping = threading.Event(), threading.Event()
        self._may_run.set()
        self._process: subprocess.Popen[bytes] | None = None
        self._thread = threading.Thread(target=self._keep, daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"redis://{BUS_ADDRESS}:{self._bus.port}/0"

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    def _keep(self) -> None:
        while not self._stopping.is_set():
            if self._may_run.wait(AGAIN_S):
                self._process = subprocess.Popen(
                    self._command,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                )
                self._process.wait()
                self._stopping.wait(AGAIN_S)

    def hold_down(self) -> None:
        """Kill it, and return when it has ended; it stays down until `let_up`."""
        self._may_run.clear()
        while self.pid is not None:
            self._kill()
            time.sleep(0.01)

    def let_up(self) -> None:
        self._may_run.set()

    def _kill(self) -> None:
        if self._process is not None:
            self._process.kill()

    def stop(self) -> None:
        """End it in order: what it has acknowledged is on the disk."""
        self._stopping.set()
        if self._process is not None:
            self._process.terminate()
        self._may_run.set()
        self._thread.join(15)
