"""Files that are either the old one or the new one, never half of one, and never empty after a power cut.

The trick: a temporary file in the same folder (a rename across file systems is a copy), written, fsynced, made readable
for other users (`mkstemp` makes 0600, and a dashboard in another container has another user id), then renamed over the
old one, then the folder fsynced, because the rename itself is only an entry of the folder. Only the temporary file is
ever unlinked, and only when something failed.

Mount the folder into a container, not the file: a rename over a mounted file fails.
"""

import errno
import os
import re
import tempfile
from pathlib import Path

MODE = 0o644
"""Everybody may read a state file; only its owner writes it."""
_TEMPORARY = re.compile(r"^\.(?P<name>.+)\.(?P<pid>[0-9]+)\.[A-Za-z0-9_]+\.tmp$")
_NO_FOLDER_SYNC = {errno.EINVAL, errno.ENOTSUP, errno.EBADF}
"""What file systems answer that cannot fsync a folder. The file itself is fsynced all the same."""
_WHY = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EROFS: "the file system is read-only",
    errno.EACCES: "the folder does not allow it",
    errno.EPERM: "the folder does not allow it",
    errno.ENOTDIR: "a part of the path is no folder",
    errno.EBUSY: "the file is a mount point; mount its folder instead",
}


class WriteFailed(OSError):  # noqa: N818 - reads as what happened
    """The file could not be written; what stood there before still stands. `errno` and `filename` are set."""

    def __init__(self, path: Path, error: OSError) -> None:
        why = _WHY.get(error.errno or 0, error.strerror or str(error))
        super().__init__(
            error.errno or 0, f"cannot write {path}: {why}; what stood there before is untouched", str(path)
        )

    def __str__(self) -> str:
        return str(self.strerror)


def write_atomically(path: Path | str, data: bytes, mode: int = MODE) -> None:
    """Replace the file at *path* by *data*; its folder is made when it is missing. Raises WriteFailed."""
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(
            prefix=f".{path.name}.{os.getpid()}.", suffix=".tmp", dir=path.parent
        )
    except OSError as error:
        raise WriteFailed(path, error) from error
    try:
        _fill(handle, data, mode)
        os.replace(temporary, path)  # noqa: PTH105 - both are plain names here
    except BaseException as error:
        _remove(temporary)
        if isinstance(error, OSError):
            raise WriteFailed(path, error) from error
        raise
    try:
        sync_folder(path.parent)
    except OSError as error:
        raise WriteFailed(path, error) from error


def _fill(handle: int, data: bytes, mode: int) -> None:
    """Write all of *data*, make it durable, set its mode; closes *handle* whatever happens."""
    try:
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(handle, rest) :]
        os.fchmod(handle, mode)
        os.fsync(handle)
    finally:
        os.close(handle)


def _remove(temporary: str) -> None:
    try:
        os.unlink(temporary)  # noqa: PTH108 - a plain name
    except FileNotFoundError:
        return  # the rename had happened


def sync_folder(folder: Path) -> None:
    """Make renames inside *folder* durable. Quiet where the file system has no such thing."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in _NO_FOLDER_SYNC:
            raise
    finally:
        os.close(handle)


def remove_leftovers(folder: Path | str) -> list[str]:
    """Remove temporary files that a killed writer left in *folder*; returns their names.

    Only call it while holding the folder's lock. A temporary file of another live process is left alone; one that
    carries our own process id is a leftover too, because we have written nothing yet (ids repeat in containers).
    """
    removed = []
    for entry in sorted(os.listdir(folder)):  # noqa: PTH208 - names are what is matched
        match = _TEMPORARY.match(entry)
        if match is None or (int(match["pid"]) != os.getpid() and is_alive(int(match["pid"]))):
            continue
        _remove(os.path.join(folder, entry))  # noqa: PTH118
        removed.append(entry)
    return removed


def is_alive(pid: int) -> bool:
    """Whether a process of this id runs on this machine."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
