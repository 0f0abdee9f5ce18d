"""Processes of this machine that we started: who they are, whether they still are, how to end them.

A process id alone says little, because ids are used again. So a record names the process's birth as well (the kernel's
start time), and only a process with that id *and* that birth is ours to end.
"""

import ctypes
import os
import signal
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import orjson

from holdfast.runtime.files import write_atomically

_LIBC = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None
_PR_SET_PDEATHSIG = 1
_POLL_S = 0.02


@dataclass(frozen=True, slots=True)
class Running:
    """The record DIR/run/<service>.json of one supervised process."""

    service: str
    pid: int
    birth: str
    started_at_ms: int
    restarts: int = 0

    def is_alive(self) -> bool:
        """Whether that very process still runs."""
        return birth(self.pid) == self.birth

    def write(self, folder: Path) -> None:
        write_atomically(record_path(folder, self.service), orjson.dumps(asdict(self)))


def record_path(folder: Path, service: str) -> Path:
    return folder / f"{service}.json"


def read_record(folder: Path, service: str) -> Running | None:
    """The record of *service*; None where there is none. Raises ValueError where it is damaged."""
    path = record_path(folder, service)
    try:
        return Running(**orjson.loads(path.read_bytes()))
    except FileNotFoundError:
        return None
    except (orjson.JSONDecodeError, TypeError) as error:
        raise ValueError(
            f"{path} is damaged ({error}); remove it once no {service} of this directory runs"
        ) from None


def birth(pid: int) -> str | None:
    """What tells this process from a later one with the same id; None when it has ended."""
    if sys.platform != "linux":
        told = subprocess.run(
            ["ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True, check=False
        ).stdout
        return told.strip() or None
    try:
        fields = (
            Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        )
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] in "ZX" else fields[19]


def signal_process(running: Running, number: int) -> bool:
    """Send a signal to that very process; False when it has ended."""
    if not running.is_alive():
        return False
    try:
        os.kill(running.pid, number)
    except ProcessLookupError:
        return False
    return True


def end(running: Running, patience_s: float = 10) -> None:
    """SIGTERM, and SIGKILL if it is still there after *patience_s*. Returns when it is gone."""
    signal_process(running, signal.SIGTERM)
    if not wait_until_gone(running, patience_s):
        signal_process(running, signal.SIGKILL)
        wait_until_gone(running, patience_s)


def wait_until_gone(running: Running, seconds: float) -> bool:
    until = time.monotonic() + seconds
    while running.is_alive():
        if time.monotonic() > until:
            return False
        time.sleep(_POLL_S)
    return True


def end_leftovers(folder: Path) -> list[str]:
    """End what an earlier, killed supervisor left running under *folder*, services before the bus; their names.

    On Linux there is hardly ever anything left, because children end with their parent; elsewhere this is the cure.
    Only for who holds the directory's lock.
    """
    names = sorted((path.stem for path in folder.glob("*.json")), key=lambda name: name == "bus")
    left: list[str] = []
    for name in names:
        running = read_record(folder, name)
        if running is not None and running.is_alive():
            end(running)
            left.append(f"{name} (process {running.pid})")
        record_path(folder, name).unlink(missing_ok=True)
    return left


def die_with_parent(parent: int) -> None:
    """For a child, before it becomes the program: end (SIGTERM) when *parent* does, however that ends. Linux only."""
    if _LIBC is not None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:  # it ended just before
            os._exit(1)
