"""`keys new|list|show-id|exchange`, `acl`, `secrets`: who may send intents, who may do what on the bus, and keys of exchanges."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from holdfast.cli.common import Config, Dir, fail, settings_of
from holdfast.cli.show import Json, print_json

if TYPE_CHECKING:
    from holdfast.contracts.signing import Key
    from holdfast.runtime.settings import Settings

Name = Annotated[str, typer.Argument(help="The producer.")]
keys = typer.Typer(
    name="keys",
    help="Keys with which producers sign their intents, and keys of exchanges.",
    no_args_is_help=True,
)


def register(app: typer.Typer) -> None:
    keys.command("new")(new)
    keys.command("list")(list_keys)
    keys.command("show-id")(show_id)
    keys.command("exchange")(exchange)
    app.add_typer(keys)
    app.command("acl")(acl)
    app.command("secrets")(secrets)


def new(
    name: Name,
    rotate: Annotated[bool, typer.Option("--rotate", help="Another key; the old one verifies until you take its line out.")] = False,
    directory: Dir = None,
    config: Config = None,
) -> None:  # fmt: skip
    """Make a key for a producer: one file for it, one for the executor, both readable by their owner only."""
    from holdfast.runtime.keys import INTENT_KEY, folder_of, new_key
    from holdfast.runtime.secret_files import SecretRefused

    settings = settings_of(directory, config)
    try:
        key = new_key(settings, name, rotate=rotate)
    except (SecretRefused, OSError) as error:
        fail(str(error))
    print(f"{key.key_id}: {folder_of(settings, name) / INTENT_KEY}")
    if name not in settings.producers:
        from holdfast.contracts.streams import SIGNERS

        if name not in SIGNERS:
            print(
                f"now let it in, in holdfast.toml, and restart:\n\n[producers.{name}]\nsymbols = []  # all\n# max_notional = 1000\n# rate_per_s = 5"
            )


def list_keys(directory: Dir = None, config: Config = None, as_json: Json = False) -> None:
    """Every producer, the ids of its keys, the streams it writes to, and its limits."""
    from holdfast.contracts.streams import SIGNERS

    settings = settings_of(directory, config)
    rows = [_row(settings, name) for name in (*SIGNERS, *settings.producers)]
    if as_json:
        print_json(rows)
        return
    for row in rows:
        limits = [f"{label} {row[field]}" for field, label in _LIMITS.items() if row[field]]
        print(
            "; ".join(
                [f"{row['producer']}: {row['keys'] or 'no key'}", f"writes to {row['streams']}", *limits]
            )
        )


_LIMITS = {"symbols": "only", "max_notional": "an entry is at most", "rate_per_s": "entries a second:"}


def _row(settings: "Settings", name: str) -> dict[str, str]:
    """One producer, as text; empty where there is no limit."""
    from holdfast.contracts.money import canonical
    from holdfast.contracts.streams import SIGNED_BY, intent_stream

    limits = settings.producers.get(name)
    if limits is None:
        streams, symbols, notional, rate = [s for s, by in SIGNED_BY.items() if name in by], [], None, None
    else:
        streams, symbols = [intent_stream(name).name], limits.symbols
        notional, rate = limits.max_notional, limits.rate_per_s
    return {
        "producer": name,
        "keys": ", ".join(key.key_id for key in _keys_of(settings, name)),
        "streams": ", ".join(streams),
        "symbols": ", ".join(symbols),
        "max_notional": "" if notional is None else canonical(notional),
        "rate_per_s": "" if rate is None else canonical(rate),
    }


def _keys_of(settings: "Settings", name: str) -> "list[Key]":
    from holdfast.runtime.keys import read_keys, verifying_file
    from holdfast.runtime.secret_files import SecretRefused

    path = verifying_file(settings, name)
    try:
        return read_keys(path) if path.exists() else []
    except SecretRefused as error:
        fail(str(error))


def show_id(name: Name, directory: Dir = None, config: Config = None) -> None:
    """Print the id of the key that a producer signs with now: what goes beside the body as `key`."""
    found = _keys_of(settings_of(directory, config), name)
    if not found:
        fail(f"{name} has no key; `holdfast keys new {name}` makes one")
    print(found[0].key_id)


def exchange(
    account: Annotated[str, typer.Argument(help="A live account, by its name in the settings.")],
    replace: Annotated[bool, typer.Option("--replace", help="Overwrite the files that are there.")] = False,
    directory: Dir = None,
    config: Config = None,
) -> None:
    """Write an exchange's API key and secret into the account's files, mode 0600. They are asked for, or read from standard input, a line each."""
    from holdfast.runtime.secret_files import write_secret

    one = settings_of(directory, config).account.get(account)
    if one is None:
        fail(f"there is no [account.{account}] in the configuration")
    missing = [name for name in ("key_file", "secret_file") if not getattr(one, name)]
    if missing:
        fail(f"[account.{account}] {missing[0]} is not set: where shall it be written?")
    places = {"key": one.key_file, "secret": one.secret_file, "passphrase": one.password_file}
    places = {what: path for what, path in places.items() if path}
    there = [path for path in places.values() if Path(path).exists()]
    if there and not replace:
        fail(f"{there[0]} is there already; --replace overwrites it")
    given = {what: _asked(f"{what} of {account} at {one.exchange}") for what in places}
    for what, text in given.items():
        if not text or not text.isprintable():
            fail(f"the {what} is empty, or no text")
    for what, path in places.items():
        try:
            write_secret(Path(path), given[what], replace=replace)
        except OSError as error:
            fail(f"{path} cannot be written: {error.strerror}")
        print(f"{what}: {path}")


def _asked(what: str) -> str:
    """What a person types, unseen; or the next line of standard input."""
    if sys.stdin.isatty():
        return str(typer.prompt(what, hide_input=True)).strip()
    return sys.stdin.readline().strip()


def acl(
    out: Annotated[Path | None, typer.Option("--out", help="Write it there instead of printing it.", show_default=False)] = None,
    directory: Dir = None,
    config: Config = None,
) -> None:  # fmt: skip
    """The bus's users as a Redis ACL file, from the table of streams and the producers. Missing passwords are made.

    The file holds hashes only. The passwords are in the folder of keys, one per user, readable by their owner only.
    """
    text = acl_text(settings_of(directory, config))
    if out is None:
        print(text, end="")
    else:
        _write(out, text)
        print(f"wrote {out}")


def secrets(directory: Dir = None, config: Config = None) -> None:
    """Make every key, every password and the bus's ACL file that are missing: the first step of Compose. Safe to repeat."""
    from holdfast.runtime.keys import ensure_keys
    from holdfast.runtime.secret_files import SecretRefused

    settings = settings_of(directory, config)
    try:
        made = ensure_keys(settings)
        _write(settings.keys_directory() / "bus" / "users.acl", acl_text(settings))
    except (SecretRefused, OSError) as error:
        fail(str(error))
    print(
        f"keys made: {', '.join(made) or 'none, all were there'}; users of the bus written to {settings.keys_directory()}/bus/users.acl"
    )


def acl_text(settings: "Settings") -> str:
    """The ACL file of this installation; passwords that are missing are made. Raises SecretRefused."""
    from holdfast.bus.acl import acl_file, users
    from holdfast.runtime.keys import ensure_passwords

    every = users(settings.producers, settings.bus.prefix)
    return acl_file(every, ensure_passwords(settings, [user.name for user in every]))


def _write(path: Path, text: str) -> None:
    """Readable by the bus's own user in another container; there is nothing secret in it."""
    from holdfast.runtime.files import write_atomically

    write_atomically(path, text.encode())
