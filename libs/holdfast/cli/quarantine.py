"""`quarantine`: fills at the venue that have no order in the ledger; and a person's word that they are to be taken in.

They come from somebody who trades on the same account by hand, and after a backup was restored: what was done since then has orders
that the restored store never saw. Taken in, in the order of their execution, they are position, with exits seeded from policy.
"""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from holdfast.cli.asking import on_bus
from holdfast.cli.common import NOT_CONFIRMED, Config, Dir, fail
from holdfast.cli.orders import Wait
from holdfast.cli.show import Column, Json, clock_time, print_rows, short
from holdfast.cli.store_tools import Yes

if TYPE_CHECKING:
    from holdfast.bus.client import Client
    from holdfast.contracts.rows import QuarantineRow

_COLUMNS = (
    Column("at", "at", clock_time), Column("symbol", "symbol"), Column("side", "side"), Column("quantity", "quantity", short, right=True),
    Column("price", "price", short, right=True), Column("fee", "fee", short, right=True), Column("account", "account"),
    Column("exchange", "exchange"), Column("why", "why"), Column("quarantine_id", "quarantine_id"),
)  # fmt: skip


def register(app: typer.Typer) -> None:
    app.command("quarantine")(quarantine)


def quarantine(
    adopt: Annotated[
        bool, typer.Option("--adopt", help="Take all of them in, as what they did at the venue.")
    ] = False,
    yes: Yes = False,
    wait: Wait = 10,
    directory: Dir = None,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Fills without an order of ours. With --adopt: take them in, each once; positions get exits from policy."""
    rows = on_bus(directory, config, _look)
    print_rows(
        [row.model_dump(mode="json") for row in rows],
        _COLUMNS,
        as_json=as_json,
        empty="nothing is in quarantine",
    )
    if not adopt or not rows:
        return
    if not yes and (as_json or not typer.confirm(f"Take {len(rows)} fills in?")):
        fail("nothing was taken in; say --yes if that is what you want", 2)

    async def record(client: "Client") -> set[str]:
        return await _adopt(client, rows, wait)

    missing = on_bus(directory, config, record)
    if missing:
        fail(f"not confirmed: {', '.join(sorted(missing))}; repeating the command is safe", NOT_CONFIRMED)
    if not as_json:
        print(f"took {len(rows)} in; `holdfast positions` shows what is held")


async def _look(client: "Client") -> "list[QuarantineRow]":
    from holdfast.cli.looking import look

    seen = await look(client, prices=False, services=False)
    if seen.trouble is not None:
        fail(seen.trouble)
    return sorted(seen.view.quarantine.values(), key=lambda row: (row.executed_at, row.at))


async def _adopt(client: "Client", rows: "list[QuarantineRow]", wait: float) -> set[str]:
    """Publish what is taken in, in order; the rows that the ledger has not shown resolved in time."""
    from holdfast.contracts.streams import FILL, LEDGER_UPDATED
    from holdfast.contracts.wire import Out
    from holdfast.domain.settle import taken_in

    fills = [taken_in(row, client.clock.wall_ms()) for row in rows]
    missing = {fill.id: fill.trade_id for fill in fills}

    def take(message: Any) -> bool:
        missing.pop(message.cause_id, None)
        return not missing

    await client.ask([Out(FILL, fill) for fill in fills], LEDGER_UPDATED, take, wait)
    return set(missing.values())
