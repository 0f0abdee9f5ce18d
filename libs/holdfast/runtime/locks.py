"""One writer for one resource (INV-9): a lock that dies with its process, and that says who holds it.

`flock` on a small file: the kernel gives it up when the process ends, however it ends, so there is no stale lock to
clean up by hand. The file's content is for people only: who holds it, on which host, since when. It is never
unlinked, because a lock on a file that has lost its name excludes nobody.

    with hold(folder / ".lock", "ledger"):
        ...
"""

import fcntl
import os
import socket
import time
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

import orjson

from holdfast.runtime.clock import Clock, SystemClock

ATTEMPTS, PAUSE_S = 10, 0.01
"""Whoever only asks who holds a lock takes it for an instant; that must not make a holder give up."""
_BOOT = Path("/proc/sys/kernel/random/boot_id")
_ours: dict[str, int] = {}
"""Lock files that this process holds -> its process id (a forked child holds none)."""


@dataclass(frozen=True, slots=True)
class Holder:
    """Who holds a lock, as far as its file tells."""

    pid: int
    host: str
    service: str
    since: str

    def __str__(self) -> str:
        return f"{self.service} (process {self.pid} on {self.host}, since {self.since})"


class AlreadyHeld(RuntimeError):  # noqa: N818 - reads as what happened
    """Another process holds the lock; `holder` says who, None when its file does not tell."""

    def __init__(self, path: Path, holder: Holder | None) -> None:
        super().__init__(
            f"{path} is held by {holder or 'a process that has not written its name'}; stop that one first"
        )
        self.path, self.holder = path, holder


class Held(Protocol):
    """A lock that somebody holds, of whatever kind."""

    def release(self) -> None:
        """Give it up; doing so twice is harmless."""
        ...


class Lock:
    """A held lock. Keep it for as long as the resource is used; leaving `with`, or `release`, gives it up."""

    def __init__(self, path: Path, handle: int, holder: Holder) -> None:
        self.path, self.holder, self._handle = path, holder, handle
        _ours[_key(path)] = os.getpid()

    @property
    def is_held(self) -> bool:
        return self._handle >= 0

    def release(self) -> None:
        """Give it up; doing so twice is harmless."""
        if self._handle < 0:
            return
        handle, self._handle = self._handle, -1
        _ours.pop(_key(self.path), None)
        os.ftruncate(handle, 0)
        os.close(handle)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


def hold(path: Path | str, who: str, clock: Clock | None = None) -> Lock:
    """Take the lock at *path* for *who*, without waiting. Raises AlreadyHeld, which names the holder."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        if not _taken(handle):
            raise AlreadyHeld(path, _read(handle))
        since = datetime.fromtimestamp((clock or SystemClock()).wall_ms() // 1000, UTC)
        holder = Holder(os.getpid(), socket.gethostname(), who, since.strftime("%Y-%m-%dT%H:%M:%SZ"))
        text = orjson.dumps(asdict(holder))
        os.fchmod(handle, 0o644)  # whoever is refused may read by whom, whatever the umask
        os.pwrite(handle, text, 0)
        os.ftruncate(handle, len(text))
    except BaseException:
        os.close(handle)
        raise
    return Lock(path, handle, holder)


def holder_of(path: Path | str) -> AlreadyHeld | None:
    """Who *else* holds the lock at *path*, as the error to raise; None when nobody does, or this process does."""
    path = Path(path)
    if _ours.get(_key(path)) == os.getpid():
        return None
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        return None
    except BlockingIOError:
        return AlreadyHeld(path, _read(handle))
    finally:
        os.close(handle)


def place_of(path: Path | str) -> str:
    """Which lock this is, for comparison with others' words: the same text means the same file under the same kernel."""
    path = Path(path)
    try:
        kernel = _BOOT.read_text(encoding="ascii").strip()
    except OSError:
        kernel = socket.gethostname()
    try:
        found = path.stat()
    except FileNotFoundError:
        return f"{kernel}:{_key(path)}"
    return f"{kernel}:{found.st_dev}:{found.st_ino}"


def _taken(handle: int) -> bool:
    for attempt in range(ATTEMPTS):
        if attempt:
            time.sleep(PAUSE_S)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            continue
        return True
    return False


def _read(handle: int) -> Holder | None:
    """The holder's name; None where the file is empty or foreign: then it is held, and that is all we know."""
    try:
        return Holder(**orjson.loads(os.pread(handle, 4096, 0)))
    except (orjson.JSONDecodeError, TypeError):
        return None


def _key(path: Path) -> str:
    return os.path.realpath(path)
