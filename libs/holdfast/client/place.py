"""Where the bus is, and who we are there: from the arguments, the environment, and the files that `holdfast` leaves.

An address: `url`, else HOLDFAST_REDIS_URL, else the bus that `holdfast up` keeps under the directory (`directory`, else HOLDFAST_DIR, else
`var`). A key: `key_file`, else `keys/others/NAME/intent.key` under the directory, if it is there; then intents are signed, go to the
stream of that name alone, and their ids begin with it. A password: `keys/others/NAME/bus.password`, if it is there.
"""

import os
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, urlsplit, urlunsplit

from holdfast.client.troubles import Unreachable
from holdfast.contracts.signing import Key, parse_keys
from holdfast.runtime.secret_files import SecretRefused, read_secret


@dataclass(frozen=True, slots=True)
class Place:
    """See the module. `key` None: intents are not signed."""

    url: str
    name: str
    key: Key | None = None
    prefix: str = ""


def find(
    url: str | None, directory: str | Path | None, name: str, key_file: str | Path | None, prefix: str | None
) -> Place:
    """The place that arguments, environment and files lead to. Raises Unreachable, which says what to do."""
    base = Path(directory or os.environ.get("HOLDFAST_DIR") or "var")
    own = base / "keys" / "others" / name
    prefix = os.environ.get("HOLDFAST_BUS_PREFIX", "") if prefix is None else prefix
    try:
        key = _key(
            Path(key_file) if key_file is not None else own / "intent.key", is_wanted=key_file is not None
        )
        where = _with_password(_address(url, base), name, own / "bus.password")
    except SecretRefused as error:
        raise Unreachable(str(error)) from error
    return Place(where, name, key, prefix)


def _address(url: str | None, base: Path) -> str:
    found = url or os.environ.get("HOLDFAST_REDIS_URL")
    if found:
        return found
    port = base / "bus" / "port"
    try:
        return f"redis://127.0.0.1:{int(port.read_text())}/0"
    except (OSError, ValueError):
        raise Unreachable(
            f"no bus is named, and {port} holds none. Start `holdfast up` here, or give Client(url=...) or HOLDFAST_REDIS_URL"
        ) from None


def _with_password(url: str, name: str, file: Path) -> str:
    parts = urlsplit(url)
    if "@" in parts.netloc or not file.exists():
        return url
    user = f"{quote(name, safe='')}:{quote(read_secret(file), safe='')}"
    return urlunsplit((parts.scheme, f"{user}@{parts.netloc}", parts.path, parts.query, parts.fragment))


def _key(file: Path, *, is_wanted: bool) -> Key | None:
    if not is_wanted and not file.exists():
        return None
    try:
        return parse_keys(read_secret(file, is_hidden=False))[0]
    except SecretRefused:
        raise
    except ValueError as error:
        raise SecretRefused(f"{file}: {error}") from None


def shown(url: str) -> str:
    """The address without user and password."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
