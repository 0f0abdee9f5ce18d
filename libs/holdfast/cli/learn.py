"""`learn`: which exit thresholds are in force and why, what would be changed, and a person's word about it."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from holdfast.cli.asking import on_bus
from holdfast.cli.common import NOT_CONFIRMED, Config, Dir, fail, settings_of
from holdfast.cli.show import Column, Json, clock_time, plain, print_json, print_rows, short
from holdfast.contracts.codes import LearnAction, LearnMode

if TYPE_CHECKING:
    from holdfast.bus.client import Client
    from holdfast.contracts.messages import IntentResult
    from holdfast.domain.view import LedgerView

learn = typer.Typer(help="Exit thresholds that are learned from closed trades.", no_args_is_help=True)
Why = Annotated[str, typer.Option(help="Kept with it, for whoever asks later.")]
Wait = Annotated[float, typer.Option(help="Seconds to wait for the ledger's answer.")]
VersionArgument = Annotated[
    int,
    typer.Argument(min=0, metavar="VERSION", help="A version of `learn history`; 0 is the policy itself."),
]
ModeArgument = Annotated[
    LearnMode,
    typer.Argument(help="off: propose nothing; shadow: record, apply nothing; apply: new positions get it."),
]

_THRESHOLDS = (
    Column("threshold", "name"), Column("unit", "unit"), Column("policy", "policy", short, right=True), Column("learned", "learned", short, right=True),
    Column("in force", "in_force", short, right=True), Column("lowest", "low", short, right=True), Column("highest", "high", short, right=True),
    Column("a day", "step_per_day", short, right=True), Column("only tighter", "safety"),
)  # fmt: skip
_VERSIONS = (
    Column("version", "version", right=True), Column("at", "at", clock_time), Column("by", "by"), Column("adopted", "adopted"),
    Column("on", "based_on", right=True), Column("restores", "restores", right=True), Column("values", "values"), Column("why", "why"),
)  # fmt: skip


def register(app: typer.Typer) -> None:
    app.add_typer(learn, name="learn")


@learn.callback()
def _group() -> None:
    """Exit thresholds that are learned from closed trades. Exit codes: 0 done; 1 refused, or nothing answers; 3 not confirmed."""


@learn.command()
def status(directory: Dir = None, config: Config = None, as_json: Json = False) -> None:
    """Mode, version in force, every threshold beside the policy's and its bounds, and how good exits were."""
    from holdfast.domain.learning_rules import own_values
    from holdfast.domain.learning_shown import exit_quality, shown
    from holdfast.runtime.exit_settings import policy_table
    from holdfast.runtime.learner_settings import learning_rules

    settings = settings_of(directory, config)
    view, details = on_bus(directory, config, _look)
    own = own_values(policy_table(settings).default)
    found = shown(view, own, learning_rules(settings.learner))
    quality = exit_quality(details)
    if as_json:
        print_json(_plain(found) | {"exit_quality": _plain(quality), "learner": details})
        return
    said = "the policy" if not found["applied"] else f"version {found['version']}"
    frozen = f", frozen by {found['by']}: {found['why']}" if found["frozen"] else ""
    print(plain(f"mode {found['mode']}{frozen}; new positions get {said}"))
    print(plain(f"learner: {details.get('last_look', 'silent')}" if details else "learner: not heard"))
    if details:
        print(
            plain(
                f"outcomes kept {details.get('outcomes', '?')}, positions watched {details.get('watching', '?')}"
            )
        )
    known = {name: value for name, value in quality.items() if value is not None}
    print(plain("exits: " + ", ".join(f"{name} {value}" for name, value in known.items())) if known else "")
    print_rows(_plain(found)["thresholds"], _THRESHOLDS, as_json=False, empty="")


@learn.command()
def history(directory: Dir = None, config: Config = None, as_json: Json = False) -> None:
    """Every version, newest first: its values, its evidence, by whom and why. JSON has the evidence figure by figure."""
    from holdfast.domain.learning_shown import versions

    view, _ = on_bus(directory, config, _look)
    print_rows(
        versions(view), _VERSIONS, as_json=as_json, empty="no version yet: new positions get the policy"
    )


@learn.command()
def freeze(
    why: Why = "", wait: Wait = 10, directory: Dir = None, config: Config = None, as_json: Json = False
) -> None:
    """Thresholds stay as they are: proposals and reverts of the learner are refused until `learn thaw`."""
    _say({"action": LearnAction.FREEZE, "why": why}, wait, (directory, config), as_json=as_json)


@learn.command()
def thaw(
    why: Why = "", wait: Wait = 10, directory: Dir = None, config: Config = None, as_json: Json = False
) -> None:
    """The learner may propose again."""
    _say({"action": LearnAction.THAW, "why": why}, wait, (directory, config), as_json=as_json)


@learn.command()
def rollback(
    version: VersionArgument,
    why: Why = "",
    wait: Wait = 10,
    directory: Dir = None,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """The values of VERSION are in force again, as a new version, for positions opened from now on."""
    wish = {"action": LearnAction.ROLLBACK, "version": version, "why": why}
    _say(wish, wait, (directory, config), as_json=as_json)


@learn.command()
def mode(
    name: ModeArgument,
    why: Why = "",
    wait: Wait = 10,
    directory: Dir = None,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """What becomes of proposals. Positions that are open keep their thresholds, whatever the mode."""
    wish = {"action": LearnAction.MODE, "mode": name, "why": why}
    _say(wish, wait, (directory, config), as_json=as_json)


def _say(wish: dict[str, Any], wait: float, places: tuple[Any, Any], *, as_json: bool) -> None:
    """Ask the ledger, and end as it answers."""
    from getpass import getuser

    async def work(client: "Client") -> "tuple[IntentResult | None, str]":
        return await _ask(client, wish | {"by": f"cli:{getuser()}"}, wait), client.trouble

    answer, trouble = on_bus(*places, work)
    if answer is None:
        fail(f"not confirmed{f' ({trouble})' if trouble else ''}; repeating it is safe", NOT_CONFIRMED)
    if as_json:
        print_json(answer.model_dump(mode="json"))
    if answer.code is not None:
        fail(f"{answer.code.value}: {plain(answer.reason or '')}; nothing was changed")
    if not as_json:
        print(plain(answer.reason or answer.status.value))


async def _ask(client: "Client", wish: dict[str, Any], wait: float) -> "IntentResult | None":
    from holdfast.contracts.exit_messages import ExitThresholds
    from holdfast.contracts.messages import IntentResult
    from holdfast.contracts.streams import EXIT_THRESHOLDS, INTENT_RESULT
    from holdfast.contracts.wire import Out

    message = ExitThresholds(id=client.ids.new(), at=client.clock.wall_ms(), **wish)
    answers: list[IntentResult] = []

    def take(said: Any) -> bool:
        if isinstance(said, IntentResult) and said.intent_id == message.id:
            answers.append(said)
        return bool(answers)

    await client.ask([Out(EXIT_THRESHOLDS, message)], INTENT_RESULT, take, wait)
    return answers[0] if answers else None


async def _look(client: "Client") -> "tuple[LedgerView, dict[str, str]]":
    """The ledger as it is, and what the learner said last of itself."""
    from holdfast.bus.client import Unreachable
    from holdfast.contracts.messages import Heartbeat
    from holdfast.contracts.streams import HEARTBEAT, LEARNER
    from holdfast.domain.view import LedgerView

    view = LedgerView()
    try:
        await client.ledger(view)
    except Unreachable as error:
        fail(str(error))
    for entry in await client.newest(HEARTBEAT, _FEW_BEATS):
        if isinstance(entry.message, Heartbeat) and entry.message.service == LEARNER:
            return view, entry.message.details
    return view, {}


_FEW_BEATS = 200


def _plain(values: Any) -> Any:
    """Amounts as the contracts write them."""
    from decimal import Decimal

    from holdfast.contracts.money import canonical

    if isinstance(values, dict):
        return {name: _plain(value) for name, value in values.items()}
    if isinstance(values, list):
        return [_plain(value) for value in values]
    return canonical(values) if isinstance(values, Decimal) else values
