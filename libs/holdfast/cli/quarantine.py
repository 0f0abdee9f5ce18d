"""`quarantine`: fills at the venue that have no order in the ledger; and a person's word that they are to be taken in.

They come from somebody who trades on the same account by hand, and after a backup was restored: what was done since then has orders
that the restored store never saw. Taken in, in the order of their execution, they are position, with exits seeded from policy.
"""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from holdfast.cli.asking import on_bus
from holdfast.cli.common import FAILED, NOT_CONFIRMED, Config, Dir, fail
from holdfast.cli.orders import Answers, Wait, ask, end, make
from holdfast.cli.show import Column, Json, clock_time, plain, print_rows, short
from holdfast.cli.store_tools import Yes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from holdfast.bus.client import Client
    from holdfast.contracts.rows import PositionRow, QuarantineRow

_COLUMNS = (
    Column("at", "at", clock_time), Column("symbol", "symbol"), Column("side", "side"), Column("quantity", "quantity", short, right=True),
    Column("price", "price", short, right=True), Column("fee", "fee", short, right=True), Column("account", "account"),
    Column("exchange", "exchange"), Column("why", "why"), Column("quarantine_id", "quarantine_id"),
)  # fmt: skip


def register(app: typer.Typer) -> None:
    app.command("quarantine")(quarantine)


def quarantine(
    only: Annotated[
        list[str] | None,
        typer.Argument(metavar="[ID|SYMBOL]...", help="Only these. Default: all.", show_default=False),
    ] = None,
    adopt: Annotated[
        bool, typer.Option("--adopt", help="Take them in, as what they did at the venue.")
    ] = False,
    flatten: Annotated[
        bool, typer.Option("--flatten", help="Take them in, and close at market what is then open of them.")
    ] = False,
    yes: Yes = False,
    wait: Wait = 10,
    directory: Dir = None,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Fills without an order of ours. With --adopt: take them in, each once; positions get exits from policy."""
    rows = _named(on_bus(directory, config, _look), only or ())
    print_rows(
        [row.model_dump(mode="json") for row in rows],
        _COLUMNS,
        as_json=as_json,
        empty="nothing is in quarantine",
    )
    if not (adopt or flatten) or not rows:
        return
    if not yes and (as_json or not typer.confirm(f"Take {len(rows)} fills in?")):
        fail("nothing was taken in; say --yes if that is what you want", 2)

    async def record(client: "Client") -> "tuple[set[str], list[PositionRow]]":
        return await adopt_rows(client, rows, wait)

    missing, opened = on_bus(directory, config, record)
    if missing:
        fail(f"not confirmed: {', '.join(sorted(missing))}; repeating the command is safe", NOT_CONFIRMED)
    if not as_json:
        print(f"took {len(rows)} in; `holdfast positions` shows what is held")
    if flatten and opened:

        async def close(client: "Client") -> "Answers":
            return await _close(client, opened, wait)

        end(on_bus(directory, config, close), as_json=as_json, many=True)


def _named(rows: "list[QuarantineRow]", only: "Sequence[str]") -> "list[QuarantineRow]":
    """Those that *only* names by id or symbol, all of them where it is empty. Ends the command where one is not there."""
    from holdfast.domain.instruments import canonical_or

    of_each = {
        one: [row for row in rows if {row.quarantine_id, row.symbol} & {one, canonical_or(one)}]
        for one in only
    }
    if unknown := [one for one, found in of_each.items() if not found]:
        fail(f"not in quarantine: {', '.join(map(plain, unknown))}; nothing was taken in", FAILED)
    named = {row.quarantine_id for found in of_each.values() for row in found}
    return [row for row in rows if not only or row.quarantine_id in named]


async def _look(client: "Client") -> "list[QuarantineRow]":
    from holdfast.cli.looking import look

    seen = await look(client, prices=False, services=False)
    if seen.trouble is not None:
        fail(seen.trouble)
    return sorted(seen.view.quarantine.values(), key=lambda row: (row.executed_at, row.at))


async def adopt_rows(
    client: "Client", rows: "list[QuarantineRow]", wait: float
) -> "tuple[set[str], list[PositionRow]]":
    """Publish what is taken in, in order: the rows that the ledger has not shown resolved in time, and what is open then."""
    from holdfast.contracts.streams import FILL, LEDGER_UPDATED
    from holdfast.contracts.wire import Out
    from holdfast.domain.settle import taken_in

    fills = [taken_in(row, client.clock.wall_ms()) for row in rows]
    missing = {fill.id: fill.trade_id for fill in fills}
    touched: dict[str, PositionRow] = {}

    def take(message: Any) -> bool:
        if missing.pop(message.cause_id, None) is not None:
            touched.update((row.position_id, row) for row in message.positions)
        return not missing

    await client.ask([Out(FILL, fill) for fill in fills], LEDGER_UPDATED, take, wait)
    return set(missing.values()), [row for row in touched.values() if row.is_open]


async def _close(client: "Client", opened: "list[PositionRow]", wait: float) -> "Answers":
    from holdfast.contracts.streams import ORDER_INTENT_EXIT
    from holdfast.domain.wishes import closing

    base = client.ids.new()
    wishes = [make(client, *closing(row, base)) for row in opened]
    return await ask(client, [(ORDER_INTENT_EXIT, wish) for wish in wishes], wait)
