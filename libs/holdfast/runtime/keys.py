"""Keys of producers and passwords of the bus's users: where they are, and how they come into being.

    KEYS/<service>/bus.password, intent.key     that service's own; `cli` is what commands use
    KEYS/others/<name>/...                      the same of configured producers, `viewer`, `admin`
    KEYS/executor/producers/<name>.key          what the executor verifies with: a copy of each producer's key file
    KEYS/bus/users.acl                          the bus's users: hashes of the passwords, nothing secret

KEYS is `bus.keys`, else DIR/keys. One folder per service, so that a container can be given its own and nothing else. All are
made at the first start, with mode 0600, and never made anew while they exist.
"""

import secrets
from collections.abc import Iterable, Mapping
from pathlib import Path

from holdfast.contracts.signing import SECRET_BYTES, Key, parse_keys
from holdfast.contracts.streams import CLI, EXECUTOR, OPTIONAL, PRODUCER, RESERVED, SERVICES, SIGNERS
from holdfast.runtime.faults import EXIT_CONFIG, Terminal
from holdfast.runtime.secret_files import SecretRefused, hide, new_password, read_secret, write_secret
from holdfast.runtime.settings import Settings

PASSWORD, INTENT_KEY = "bus.password", "intent.key"  # names of files
OWN_FOLDER = (*SERVICES, *OPTIONAL, CLI)


def folder_of(settings: Settings, name: str) -> Path:
    """Where the secrets of *name* are."""
    keys = settings.keys_directory()
    return keys / name if name in OWN_FOLDER else keys / "others" / name


def verifying_file(settings: Settings, name: str) -> Path:
    """Where the executor finds the keys of the producer *name*."""
    configured = settings.producers.get(name)
    if configured is not None and configured.key_file:
        return Path(configured.key_file)
    return settings.keys_directory() / EXECUTOR / "producers" / f"{name}.key"


def read_keys(path: Path) -> list[Key]:
    """The keys of a key file. Raises SecretRefused, which names the file."""
    try:
        keys = parse_keys(read_secret(path, is_hidden=False))
    except SecretRefused:
        raise
    except ValueError as error:
        raise SecretRefused(f"{path}: {error}") from None
    for key in keys:
        hide(key.secret.hex())
    return keys


def own_key(settings: Settings, name: str) -> Key | None:
    """The key that *name* signs with; None when it has none. Raises SecretRefused where it is there and cannot be used."""
    path = folder_of(settings, name) / INTENT_KEY
    return read_keys(path)[0] if path.exists() else None


def signing_key(settings: Settings, name: str) -> Key | None:
    """The key that *name* must sign its intents with, None where it may do without. Raises Terminal (78)."""
    if name not in SIGNERS:
        return None
    try:
        key = own_key(settings, name)
    except SecretRefused as error:
        raise Terminal(str(error), EXIT_CONFIG) from None
    if key is None and settings.bus.require_signed:
        place = folder_of(settings, name) / INTENT_KEY
        raise Terminal(
            f"only signed intents are taken (bus.require_signed), and {name} has no key in {place}: see `holdfast keys`",
            EXIT_CONFIG,
        )
    return key


def verifying_keys(settings: Settings) -> Mapping[str, tuple[str, Key]]:
    """Key id -> (producer, key), of every producer whose file is there. Raises SecretRefused, also when two share an id."""
    found: dict[str, tuple[str, Key]] = {}
    for name in (*SIGNERS, *settings.producers):
        path = verifying_file(settings, name)
        if not path.exists():
            continue
        for key in read_keys(path):
            if key.key_id in found:
                raise SecretRefused(f"{path}: the key id {key.key_id} is {found[key.key_id][0]}'s already")
            found[key.key_id] = name, key
    return found


def new_key(settings: Settings, name: str, *, rotate: bool = False) -> Key:
    """Make the key of *name*, for it and for the executor. With *rotate* it comes before the old ones, which stay valid.

    Raises SecretRefused when the name is none, or has a key already.
    """
    if name not in SIGNERS and (name in RESERVED or not PRODUCER.fullmatch(name)):
        raise SecretRefused(
            f"{name!r} is no name for a producer: a letter, then letters, digits, - or _; no service's name"
        )
    own, verifying = folder_of(settings, name) / INTENT_KEY, verifying_file(settings, name)
    before = [key.line() for key in read_keys(own)] if own.exists() else []
    if before and not rotate:
        raise SecretRefused(
            f"{name} has a key, in {own}; --rotate makes another and lets the old one verify for now"
        )
    key = Key(f"{name}.{secrets.token_hex(4)}", secrets.token_bytes(SECRET_BYTES))
    text = "\n".join([key.line(), *before])
    write_secret(verifying, text, replace=True)  # first: an intent must never come before what verifies it
    write_secret(own, text, replace=True)
    return key


def ensure_keys(settings: Settings) -> list[str]:
    """Make what is missing of Holdfast's own keys; the names of those that were made."""
    made = []
    for name in SIGNERS:
        if not (folder_of(settings, name) / INTENT_KEY).exists():
            new_key(settings, name)
            made.append(name)
    return made


def ensure_passwords(settings: Settings, users: Iterable[str]) -> dict[str, str]:
    """The password of each of *users*, made where it is missing."""
    for name in users:
        write_secret(folder_of(settings, name) / PASSWORD, new_password())
    return {name: read_secret(folder_of(settings, name) / PASSWORD) for name in users}
