"""`halt`, `reduce-only`, `resume`: the trading state of everything, an account or a book. Exits pass in every state."""

from getpass import getuser
from typing import TYPE_CHECKING, Annotated, Any

import typer

from holdfast.cli.asking import on_bus
from holdfast.cli.common import NOT_CONFIRMED, Config, Dir, fail
from holdfast.cli.orders import USAGE, Id, Wait
from holdfast.cli.show import Json, print_json

if TYPE_CHECKING:
    from holdfast.bus.client import Client
    from holdfast.contracts.messages import Control
    from holdfast.contracts.rows import ControlRow

Why = Annotated[str, typer.Option(help="Kept with it, for whoever asks later.")]
AccountScope = Annotated[str | None, typer.Option("--account", help="Only this account.", show_default=False)]
BookScope = Annotated[
    str | None, typer.Option("--book", help="Only this book, like main/paper/BTC/USDT.", show_default=False)
]
_ID_CHARACTERS = 26
_TIME_DIGITS = 11


def register(app: typer.Typer) -> None:
    app.command("halt")(halt)
    app.command("reduce-only")(reduce_only)
    app.command("resume")(resume)


def halt(
    why: Why = "",
    account: AccountScope = None,
    book: BookScope = None,
    message_id: Id = None,
    wait: Wait = 10,
    directory: Dir = None,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """No entries any more, and resting ones are canceled; positions and their exits stay. Only `resume` ends it."""
    _steer("halted", why, (account, book), message_id, wait, (directory, config), as_json=as_json)


def reduce_only(
    why: Why = "",
    account: AccountScope = None,
    book: BookScope = None,
    message_id: Id = None,
    wait: Wait = 10,
    directory: Dir = None,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """No new entries; what rests may still fill, and exits go on."""
    _steer("reduce_only", why, (account, book), message_id, wait, (directory, config), as_json=as_json)


def resume(
    why: Why = "",
    account: AccountScope = None,
    book: BookScope = None,
    message_id: Id = None,
    wait: Wait = 10,
    directory: Dir = None,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Entries are allowed again, in that scope."""
    _steer("active", why, (account, book), message_id, wait, (directory, config), as_json=as_json)


def _steer(
    state: str,
    why: str,
    scope: tuple[str | None, str | None],
    message_id: str | None,
    wait: float,
    places: tuple[Any, Any],
    *,
    as_json: bool,
) -> None:
    account, book = scope
    if account is not None and book is not None:
        fail("either --account or --book, not both", USAGE)
    target = account or book or ""
    document = {
        "state": state, "scope": "account" if account else "book" if book else "all", "target": target,
        "by": f"cli:{getuser()}", "why": why,
    }  # fmt: skip

    async def work(client: "Client") -> "tuple[str, ControlRow | None, str]":
        control = await _make(client, message_id, document)
        row = await _recorded(client, control, wait, is_repeated=message_id is not None)
        return control.id, row, client.trouble

    _validated({"id": message_id or "check", "at": 0, **document})
    key, row, trouble = on_bus(*places, work)
    if row is None:
        reason = f" ({trouble})" if trouble else ""
        fail(f"not confirmed{reason}; repeat with --id {key} is safe", NOT_CONFIRMED)
    if as_json:
        print_json(row.model_dump(mode="json"))
    else:
        print(f"{row.state.value}: {row.scope.value} {row.target}".rstrip() + ", recorded by the ledger")


async def _make(client: "Client", key: str | None, document: dict[str, Any]) -> "Control":
    """The message. Repeated, it must be the same to the last byte, or the ledger takes it for another under the same id:
    its time is the one in our own kind of id, or that of the entry that was published before.
    """
    from holdfast.contracts.messages import Control
    from holdfast.contracts.streams import CONTROL

    at = client.clock.wall_ms()
    if key is not None:
        async for entry in client.backwards(CONTROL):
            if isinstance(entry.message, Control) and entry.message.id == key:
                return _same(entry.message, document)
        if len(key) == _ID_CHARACTERS and _is_hex(key):
            at = int(key[:_TIME_DIGITS], 16)
    key = key or client.ids.new()
    if len(key) == _ID_CHARACTERS and _is_hex(key):
        at = int(key[:_TIME_DIGITS], 16)
    return _validated({"id": key, "at": at, **document})


def _same(before: "Control", document: dict[str, Any]) -> "Control":
    """The message as it was sent before. Ends the command when the id meant something else."""
    if (before.state.value, before.scope.value, before.target) != (
        document["state"],
        document["scope"],
        document["target"],
    ):
        fail(
            f"--id {before.id} was used before for {before.state.value} of {before.scope.value} {before.target}".rstrip()
        )
    return before


def _is_hex(text: str) -> bool:
    return all(letter in "0123456789abcdef" for letter in text)


def _validated(document: dict[str, Any]) -> "Control":
    from pydantic import ValidationError

    from holdfast.contracts.base import ContractViolation
    from holdfast.contracts.messages import Control

    try:
        return Control.model_validate(document)
    except ValidationError as error:
        fail(f"{ContractViolation.of(error)}; nothing was sent", USAGE)


async def _recorded(
    client: "Client", control: "Control", wait: float, *, is_repeated: bool
) -> "ControlRow | None":
    """The row that the ledger wrote for *control*; None when no answer came.

    A repeated message changes nothing, so nothing is published for it: then the row as it stands is the answer, if it is ours.
    """
    from holdfast.bus.client import Unreachable
    from holdfast.contracts.messages import LedgerUpdated
    from holdfast.contracts.streams import CONTROL, LEDGER_UPDATED
    from holdfast.contracts.wire import Out
    from holdfast.domain.view import LedgerView

    rows: list[ControlRow] = []
    view, key = LedgerView(), (control.scope.value, control.target)

    def take(message: Any) -> bool:
        if isinstance(message, LedgerUpdated) and message.cause_id == control.id:
            rows.extend(message.control)
        return bool(rows)

    if is_repeated:
        async for entry in client.backwards(LEDGER_UPDATED):
            if entry.kind == "control" and take(entry.message):
                return rows[0]
    if await client.ask([Out(CONTROL, control)], LEDGER_UPDATED, take, wait):
        return rows[0]
    if client.trouble or not is_repeated:
        return None
    try:
        await client.ledger(view)
    except Unreachable:
        return None
    held = view.control.get(key)
    is_ours = held is not None and (held.state, held.by, held.why) == (control.state, control.by, control.why)
    return held if is_ours else None
