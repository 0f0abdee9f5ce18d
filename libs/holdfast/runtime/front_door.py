"""The dashboard's front door: on which port it listens, and which tokens open it.

Two tokens are made at the first start, one to look (`view`) and one to steer (`operate`). They are shown that once; what
is kept, in DIR/dashboard/tokens.json, are their argon2id hashes. A lost token cannot be found again, only replaced:
`holdfast token operate`, which also ends every login made with the old one.

The word before the dot of a token is its role, so that checking one costs one hash, not one per role.
"""

import secrets
import socket
from collections.abc import Mapping
from hashlib import blake2b
from pathlib import Path
from typing import Literal

import orjson
from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from holdfast.runtime.files import write_atomically

VIEW: Literal["view"] = "view"
OPERATE: Literal["operate"] = "operate"
ROLES = (VIEW, OPERATE)
FAVOURITE_PORT = 8480
_OTHERS = range(8481, 8580)
_TOKEN_BYTES = 24
_OWNER_ONLY = 0o600
MOST_CHARACTERS = 200
"""A longer token is none of ours, and is not hashed."""


def random_text() -> str:
    """32 random bytes as text: names of sessions, CSRF tokens."""
    return secrets.token_urlsafe(32)


def same(one: str, other: str) -> bool:
    """Whether two texts are equal, in a time that does not tell how much of them is."""
    return secrets.compare_digest(one.encode(), other.encode())


class Tokens:
    """The hashes in *folder*/tokens.json. Raises ValueError where the file is damaged."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "tokens.json"
        self._hasher = PasswordHasher()
        self._seen: tuple[int, int] | None = None
        self._hashes: dict[str, str] = {}

    def first(self) -> dict[str, str]:
        """Both tokens by role, made now; empty when there were some before."""
        if self._path.exists():
            return {}
        made: dict[str, str] = {role: _new(role) for role in ROLES}
        self._write({role: self._hasher.hash(token) for role, token in made.items()})
        return made

    def replace(self, role: str) -> str:
        """A new token for *role*; the old one opens nothing any more."""
        token = _new(role)
        hashes = dict(self.hashes()) if self._path.exists() else {}
        self._write({**hashes, role: self._hasher.hash(token)})
        return token

    def hashes(self) -> Mapping[str, str]:
        """Hash by role, as the file is now."""
        try:
            stat = self._path.stat()
        except FileNotFoundError:
            return {}
        if (stat.st_mtime_ns, stat.st_ino) != self._seen:
            self._hashes = _read(self._path)
            self._seen = (stat.st_mtime_ns, stat.st_ino)
        return self._hashes

    def role_of(self, token: str) -> str | None:
        """The role that *token* opens, None when it opens nothing. Slow on purpose (tens of ms): call it in a thread."""
        role = token.partition(".")[0]
        known = self.hashes().get(role)
        if known is None or len(token) > MOST_CHARACTERS:
            return None
        try:
            return role if self._hasher.verify(known, token) else None
        except (VerificationError, InvalidHashError):
            return None

    def _write(self, hashes: Mapping[str, str]) -> None:
        write_atomically(self._path, orjson.dumps(dict(hashes)), _OWNER_ONLY)


def _new(role: str) -> str:
    return f"{role}.{secrets.token_urlsafe(_TOKEN_BYTES)}"


def _read(path: Path) -> dict[str, str]:
    try:
        document = orjson.loads(path.read_bytes())
        return {str(role): str(hashed) for role, hashed in document.items() if role in ROLES}
    except (orjson.JSONDecodeError, AttributeError) as error:
        raise ValueError(f"{path} is damaged ({error}); remove it, and new tokens are made") from None


def fingerprint(hashed: str) -> str:
    """A short name of a token's hash: what a login remembers, to notice that its token was replaced."""
    return blake2b(hashed.encode(), digest_size=8).hexdigest()


def choose_port(folder: Path, host: str, wanted: int) -> int:
    """The port to listen on: the one that is *wanted*, else the one of last time, else the favourite, else a free one.

    The choice is remembered in *folder*. Raises ValueError when none is to be had.
    """
    remembered = folder / "port"
    if wanted:
        port = wanted if _is_free(host, wanted) else None
        if port is None:
            raise ValueError(
                f"port {wanted} (dashboard.port) is in use by another program. Free it, set HOLDFAST_DASHBOARD_PORT to another, or to 0 for any."
            )
    else:
        text = remembered.read_text(encoding="ascii").strip() if remembered.exists() else ""
        wishes = [int(text)] if text.isdigit() else []
        port = next((one for one in [*wishes, FAVOURITE_PORT, *_OTHERS] if _is_free(host, one)), None)
        if port is None:
            raise ValueError("no free port for the dashboard; set HOLDFAST_DASHBOARD_PORT")
    folder.mkdir(parents=True, exist_ok=True)
    remembered.write_text(f"{port}\n", encoding="ascii")
    return port


def _is_free(host: str, port: int) -> bool:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
        return True
