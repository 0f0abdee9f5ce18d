"""`exits set`: new exits of an open position. Tighter ones at once; looser ones only when a person says so again."""

from getpass import getuser
from typing import TYPE_CHECKING, Annotated, Any

import typer

from holdfast.cli.asking import on_bus
from holdfast.cli.common import FAILED, NOT_CONFIRMED, Config, Dir, fail
from holdfast.cli.exits_cli import exits
from holdfast.cli.orders import USAGE, Wait
from holdfast.cli.show import Json, plain, print_json

if TYPE_CHECKING:
    from holdfast.bus.client import Client
    from holdfast.contracts.exit_messages import ExitAdjust
    from holdfast.contracts.messages import IntentResult
    from holdfast.contracts.rows import PositionRow

Level = Annotated[
    str | None, typer.Option(help="A price, or a percent of the entry price like 5%.", show_default=False)
]


def register(app: typer.Typer) -> None:  # noqa: ARG001 - its group is registered by `exits_cli`
    exits.command("set")(set_)


def set_(
    position: Annotated[str, typer.Argument(help="A position id, or its beginning; `holdfast positions` lists them.")],
    stop_loss: Level = None,
    take_profit: Level = None,
    ttl: Annotated[str | None, typer.Option(help="Longest hold since the first fill, in market seconds.", show_default=False)] = None,
    loosen: Annotated[bool, typer.Option("--loosen", help="Take them even where they are looser.")] = False,
    why: Annotated[str, typer.Option(help="Kept with it, for whoever asks later.")] = "from the command line",
    wait: Wait = 10,
    directory: Dir = None,
    config: Config = None,
    as_json: Json = False,
) -> None:  # fmt: skip
    """Give a position new exits. What would loosen one is refused, unless --loosen says that it is meant."""
    if stop_loss is None and take_profit is None and ttl is None:
        fail("nothing to change: give --stop-loss, --take-profit or --ttl", USAGE)
    given = {"stop_loss": stop_loss, "take_profit": take_profit, "ttl_s": ttl, "insist": loosen, "why": why}
    document = {name: value for name, value in given.items() if value is not None} | {
        "by": f"cli:{getuser()}"
    }
    _validated({"id": "check", "at": 0, "position_id": "check", **document})

    async def work(client: "Client") -> "tuple[PositionRow, IntentResult | None]":
        row = await _position(client, position)
        return row, await _ask(client, row, document, wait)

    row, answer = on_bus(directory, config, work)
    if answer is None:
        fail("not confirmed; look at `holdfast positions` before you repeat it", NOT_CONFIRMED)
    if as_json:
        print_json(answer.model_dump(mode="json"))
    if answer.status != "accepted":
        fail(f"{row.symbol}: {plain(answer.reason or 'refused')}", FAILED)
    if not as_json:
        print(f"{row.symbol}: exits changed" + (f" ({plain(answer.reason)})" if answer.reason else ""))


async def _position(client: "Client", key: str) -> "PositionRow":
    from holdfast.domain.view import LedgerView

    view = LedgerView()
    await client.ledger(view)
    found = [row for row in view.positions.values() if row.position_id.startswith(key)]
    if len(found) != 1:
        count = "no" if not found else f"{len(found)} different"
        fail(f"{count} open positions begin with {plain(key)}; `holdfast positions` lists them")
    return found[0]


async def _ask(
    client: "Client", row: "PositionRow", document: dict[str, Any], wait: float
) -> "IntentResult | None":
    """The ledger's answer to the adjustment; None when none came."""
    from holdfast.contracts.messages import IntentResult
    from holdfast.contracts.streams import EXIT_ADJUST, INTENT_RESULT
    from holdfast.contracts.wire import Out

    named = {"id": client.ids.new(), "at": client.clock.wall_ms(), "position_id": row.position_id}
    message = _validated({**named, **document})
    answers: list[IntentResult] = []

    def take(answer: Any) -> bool:
        if isinstance(answer, IntentResult) and answer.intent_id == message.id:
            answers.append(answer)
        return bool(answers)

    await client.ask([Out(EXIT_ADJUST, message)], INTENT_RESULT, take, wait)
    return answers[0] if answers else None


def _validated(document: dict[str, Any]) -> "ExitAdjust":
    from pydantic import ValidationError

    from holdfast.contracts.base import ContractViolation
    from holdfast.contracts.exit_messages import ExitAdjust

    try:
        return ExitAdjust.model_validate(document)
    except ValidationError as error:
        fail(f"{ContractViolation.of(error)}; nothing was sent", USAGE)
