"""Secrets in files: only their owner may read them, and what is read never shows up in a log.

A file that the group or others may read is refused, by name and mode: a secret that leaks quietly is worse than a service that
does not start. The mode is asked of the open file, so that nothing can be put in its place in between. Every secret that was read
or made is remembered, and `runtime.logging` cuts it out of whatever is written.
"""

import os
import secrets
import stat
import tempfile
from pathlib import Path

LARGEST = 65_536
_READABLE_BY_OTHERS = 0o077
_SHORTEST_HIDDEN = 8
"""A shorter text would cut ordinary words out of the log."""
_known: set[str] = set()


class SecretRefused(ValueError):  # noqa: N818 - reads as what happened
    """The file is no place for a secret; the text names the file and what to do, never its content."""


def read_secret(path: Path, *, is_hidden: bool = True) -> str:
    """The text of *path*, without the white space around it; remembered as a secret, but for *is_hidden*. Raises SecretRefused."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise SecretRefused(f"{path} cannot be read: {error.strerror}") from None
    with os.fdopen(handle, "rb") as file:
        mode = stat.S_IMODE(os.fstat(handle).st_mode)
        if mode & _READABLE_BY_OTHERS:
            raise SecretRefused(
                f"{path} has mode {mode:04o}: others than its owner may use it. Run: chmod 600 {path}"
            )
        try:
            text = file.read(LARGEST).decode("utf-8").strip()
        except (OSError, UnicodeDecodeError):
            raise SecretRefused(f"{path} is no text file") from None
    if not text:
        raise SecretRefused(f"{path} is empty")
    return hide(text) if is_hidden else text


def write_secret(path: Path, text: str, *, replace: bool = False) -> bool:
    """Write *text* to *path*, mode 0600, whole or not at all; False when it is there already and not to be replaced."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)  # mode 0600
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text + "\n")
            file.flush()
            os.fsync(handle)
        if replace:
            Path(temporary).replace(path)
            return True
        try:
            os.link(temporary, path)  # fails where it exists: of two that make it at once, one wins
        except FileExistsError:
            return False
        return True
    finally:
        Path(temporary).unlink(missing_ok=True)
        hide(text)


def new_password() -> str:
    """256 random bits as text that fits into an address."""
    return hide(secrets.token_urlsafe(32))


def hide(text: str) -> str:
    """Remember *text* as a secret of this process, each line of it too; returns it."""
    for part in (text, *text.splitlines()):
        if len(part) >= _SHORTEST_HIDDEN:
            _known.add(part)
    return text


def without_secrets(text: str) -> str:
    """*text* with every known secret replaced by ***."""
    for secret in _known:
        if secret in text:
            text = text.replace(secret, "***")
    return text
