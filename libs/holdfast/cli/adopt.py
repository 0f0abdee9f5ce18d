"""`adopt FILE`: positions that another bot opened are shown, and then recorded, each with its exits."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from holdfast.cli.asking import on_bus
from holdfast.cli.common import FAILED, NOT_CONFIRMED, Config, Dir, fail, settings_of
from holdfast.cli.orders import USAGE, Wait
from holdfast.cli.quarantine import quarantine
from holdfast.cli.show import Column, Json, console, print_json, short, table
from holdfast.cli.store_tools import Yes

if TYPE_CHECKING:
    from holdfast.bus.client import Client
    from holdfast.domain.moving_in import Arrival, Places
    from holdfast.runtime.settings import Settings

_COLUMNS = (
    Column("symbol", "symbol"), Column("side", "side"), Column("quantity", "quantity", right=True), Column("entry", "entry_price", right=True),
    Column("take-profit", "take_profit", short, right=True), Column("stop-loss", "stop_loss", short, right=True),
    Column("seeded from policy", "seeded"), Column("account", "account"), Column("state", "state"),
)  # fmt: skip


def register(app: typer.Typer) -> None:
    app.command("adopt")(adopt)


def adopt(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE|ID",
            help="A positions_state.json, or the database of freqtrade; or the id of something in quarantine.",
        ),
    ],
    account: Annotated[str, typer.Option(help="For rows that name none.")] = "main",
    exchange: Annotated[str, typer.Option(help="For rows that name none.")] = "paper",
    yes: Yes = False,
    wait: Wait = 10,
    directory: Dir = None,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Take over the positions in FILE, or what is in quarantine as ID: show it, then record it. Twice records once."""
    if not file.exists() and _names_quarantine(file.name):
        quarantine(
            [file.name], adopt=True, yes=yes, wait=wait, directory=directory, config=config, as_json=as_json
        )
        return
    if as_json and not yes:
        fail("--json asks nothing, so it needs --yes; nothing was recorded", USAGE)
    rows = _read(file)
    places = _places(settings_of(directory, config), account, exchange)

    async def look(client: "Client") -> "tuple[list[Arrival], set[str]]":
        return await _look(client, rows, places)

    found, known = on_bus(directory, config, look)
    new = [arrival for arrival in found if arrival.position_id not in known]
    shown = [_row(arrival, recorded=arrival.position_id in known) for arrival in found]
    if not as_json:
        console().print(table(shown, _COLUMNS))
        print(
            f"{len(found)} positions, {len(new)} to record, {len(rows) - len(found)} rows with quantity zero left out"
        )
    if new:
        _confirm(len(new), yes=yes)
        missing = on_bus(directory, config, lambda client: _record(client, new, wait))
        if missing:
            fail(f"not confirmed: {', '.join(sorted(missing))}; repeating the command is safe", NOT_CONFIRMED)
    if as_json:
        print_json([row | {"state": "recorded"} for row in shown])
    else:
        print(
            f"recorded {len(new)}; `holdfast positions` shows them"
            if new
            else "everything is recorded already"
        )


def _names_quarantine(name: str) -> bool:
    from holdfast.domain.settle import IN_QUARANTINE

    return name.startswith(IN_QUARANTINE)


def _read(file: Path) -> "list[Mapping[str, Any]]":
    from holdfast.cli.importing import is_database, open_trades
    from holdfast.contracts.base import ContractViolation
    from holdfast.domain.freqtrade import rows_of
    from holdfast.domain.moving_in import read_rows

    try:
        if is_database(file):
            return list(rows_of(open_trades(file)))
        return list(read_rows(file.read_text(encoding="utf-8")))
    except (OSError, UnicodeDecodeError) as error:
        fail(f"{file} cannot be read: {error}")
    except ContractViolation as error:
        fail(f"{file}: {error}; nothing was recorded")


def _places(settings: "Settings", account: str, exchange: str) -> "Places":
    from holdfast.domain.instruments import Instrument, resolve
    from holdfast.domain.moving_in import Places
    from holdfast.runtime.exit_settings import policy_table

    def instrument(name: str) -> Instrument:
        return resolve(name, market=settings.paper.market, overrides=settings.instruments)

    hedging = settings.hedging
    return Places(
        account,
        exchange,
        instrument,
        lambda symbol: hedging.allow or symbol in hedging.symbols,
        policy_table(settings),
    )


async def _look(client: "Client", rows: list[Any], places: "Places") -> "tuple[list[Arrival], set[str]]":
    """What is to arrive, and the ids of positions that were recorded before. Ends the command on any objection."""
    from holdfast.cli.looking import look
    from holdfast.contracts.base import ContractViolation
    from holdfast.contracts.streams import LEDGER_TRADE
    from holdfast.domain.moving_in import arrivals, conflicts

    seen = await look(client, services=False)
    if seen.trouble is not None:
        fail(seen.trouble)
    newest = max((tick.at for tick in seen.ticks.values()), default=seen.now_ms)

    def market_time(symbol: str) -> int:
        return seen.ticks[symbol].at if symbol in seen.ticks else newest

    try:
        found = arrivals(rows, places, market_time, seen.now_ms)
    except ContractViolation as error:
        fail(f"{error}; nothing was recorded")
    objections = [*conflicts(found, seen.view), *_of_coins(found)]
    if objections:
        fail("\n  ".join(["nothing was recorded:", *objections]), FAILED)
    known = {arrival.position_id for arrival in found if arrival.position_id in seen.view.positions}
    wanted = {arrival.position_id for arrival in found} - known
    async for entry in client.backwards(LEDGER_TRADE):
        if wanted and getattr(entry.message, "position_id", None) in wanted:
            known.add(getattr(entry.message, "position_id", ""))
    return found, known


def _of_coins(found: "list[Arrival]") -> list[str]:
    """On spot only what Holdfast's own orders bought is a position; everything else is inventory."""
    from holdfast.contracts.codes import Kind
    from holdfast.venues.capabilities import CAPABILITIES

    spot = {name for name, one in CAPABILITIES.items() if one.kind is Kind.SPOT}
    return [
        f"{one.name}: {one.fill.exchange} is spot, and coins that Holdfast did not buy there are no position of its own"
        for one in found
        if one.fill.exchange in spot
    ]


def _row(arrival: "Arrival", *, recorded: bool) -> dict[str, Any]:
    from holdfast.contracts.money import canonical

    fill, exits = arrival.fill, arrival.exits
    return {
        "symbol": fill.symbol, "side": arrival.side.value, "quantity": canonical(fill.quantity), "entry_price": canonical(fill.price),
        "take_profit": None if exits.take_profit is None else canonical(exits.take_profit), "stop_loss": canonical(exits.stop_loss),
        "seeded": exits.seeded, "account": fill.account, "exchange": fill.exchange, "position_id": arrival.position_id,
        "state": "recorded already" if recorded else "new",
    }  # fmt: skip


def _confirm(count: int, *, yes: bool) -> None:
    if not yes and not typer.confirm(f"Record {count} positions?"):
        fail("nothing was recorded")


async def _record(client: "Client", new: "list[Arrival]", wait: float) -> set[str]:
    """Publish the fills; the names of those that the ledger has not shown in time."""
    from holdfast.contracts.streams import FILL, LEDGER_UPDATED
    from holdfast.contracts.wire import Out

    missing = {arrival.fill.id: arrival.name for arrival in new}

    def take(message: Any) -> bool:
        missing.pop(message.cause_id, None)
        return not missing

    await client.ask([Out(FILL, arrival.fill) for arrival in new], LEDGER_UPDATED, take, wait)
    return set(missing.values())
