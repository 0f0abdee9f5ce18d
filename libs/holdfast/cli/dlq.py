"""`dlq list|show|requeue|drop`: entries that a service could not use. They are kept whole until a person has looked."""

from typing import TYPE_CHECKING, Annotated, Any

import orjson
import typer

from holdfast.cli.asking import on_bus
from holdfast.cli.common import Config, Dir, fail
from holdfast.cli.listing import Limit
from holdfast.cli.show import Column, Json, clock_time, plain, print_json, print_rows

if TYPE_CHECKING:
    from holdfast.bus.client import Client
    from holdfast.contracts.messages import DeadLetter

dlq = typer.Typer(
    name="dlq", help="Look after dead letters: list, show, requeue, drop.", no_args_is_help=True
)
Key = Annotated[str, typer.Argument(metavar="ID", help="The dead letter's id, as `dlq list` shows it.")]
_COLUMNS = (
    Column("at", "at", clock_time), Column("service", "service"), Column("stream", "stream"), Column("entry", "entry_id"),
    Column("tried", "deliveries", right=True), Column("error", "error"), Column("id", "id"),
)  # fmt: skip


def register(app: typer.Typer) -> None:
    dlq.command("list")(list_)
    dlq.command("show")(show)
    dlq.command("requeue")(requeue)
    dlq.command("drop")(drop)
    app.add_typer(dlq)


@dlq.callback()
def options() -> None:
    """Look after dead letters: list, show, requeue, drop."""


def list_(limit: Limit = 50, directory: Dir = None, config: Config = None, as_json: Json = False) -> None:
    """Dead letters, newest first."""

    async def work(client: "Client") -> list[dict[str, Any]]:
        from holdfast.cli.listing import newest_rows
        from holdfast.contracts.streams import DEAD_LETTER

        return await newest_rows(client, DEAD_LETTER, "id", limit)

    print_rows(on_bus(directory, config, work), _COLUMNS, as_json=as_json, empty="no dead letters")


def show(key: Key, directory: Dir = None, config: Config = None, as_json: Json = False) -> None:
    """One dead letter whole: what was sent, and why it could not be used."""

    async def work(client: "Client") -> "DeadLetter":
        return (await _find(client, key))[1]

    letter = on_bus(directory, config, work)
    if as_json:
        print_json(letter.model_dump(mode="json"))
        return
    print(
        f"{letter.service} could not use {letter.stream} {letter.entry_id} (tried {letter.deliveries} times)"
    )
    print(f"error: {plain(letter.error)}\n")
    print("\n".join(plain(line) for line in _pretty(letter.payload).splitlines()))
    if letter.truncated:
        print("\n(it was longer: the rest was not kept)")


def _pretty(payload: str) -> str:
    """JSON indented, everything else as it is."""
    try:
        return orjson.dumps(orjson.loads(payload), option=orjson.OPT_INDENT_2).decode()
    except orjson.JSONDecodeError:
        return payload


def requeue(key: Key, directory: Dir = None, config: Config = None) -> None:
    """Put it back onto its stream, as it was; the letter stays until it is dropped. Messages with an id are safe to repeat."""

    async def work(client: "Client") -> str:
        from holdfast.contracts.base import ContractViolation

        _, letter = await _find(client, key)
        try:
            return f"{letter.stream} {await client.requeue(letter)}"
        except ContractViolation as error:
            fail(f"{key} cannot be put back: {error}")

    print(f"put back as {on_bus(directory, config, work)}")


def drop(key: Key, directory: Dir = None, config: Config = None) -> None:
    """Remove it for good. A book that it disputed stays disputed."""

    async def work(client: "Client") -> int:
        from holdfast.contracts.base import ContractViolation
        from holdfast.contracts.streams import DEAD_LETTER

        entry_id, _ = await _find(client, key)
        try:
            return await client.drop(DEAD_LETTER, entry_id)
        except ContractViolation as error:
            fail(f"{key} cannot be removed: {error}")

    if not on_bus(directory, config, work):
        fail(f"{key} was gone already")
    print(f"dropped {key}")


async def _find(client: "Client", key: str) -> "tuple[str, DeadLetter]":
    """Entry id and message of the newest letter with this id; ends the command where there is none."""
    from holdfast.contracts.messages import DeadLetter
    from holdfast.contracts.streams import DEAD_LETTER

    async for entry in client.backwards(DEAD_LETTER):
        if isinstance(entry.message, DeadLetter) and key in {entry.message.id, entry.entry_id}:
            return entry.entry_id, entry.message
    return fail(f"no dead letter {plain(key)}; see `holdfast dlq list`")
