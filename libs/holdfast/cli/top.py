"""`top`: one live screen for those on ssh: the light, positions, orders without a clear answer, services, refusals.

The screen is drawn anew each second from a fresh look at the bus, so a lost bus is shown as such and found again by itself.
"""

import asyncio
from typing import TYPE_CHECKING, Annotated, Any

import typer

from holdfast.cli.asking import in_loop
from holdfast.cli.common import Config, Dir, settings_of
from holdfast.cli.listing import _BLOCKED, _ORDERS, _POSITIONS, _SERVICES, newest_rows
from holdfast.cli.show import Column, plain, table

if TYPE_CHECKING:
    from rich.console import RenderableType

    from holdfast.bus.client import Client
    from holdfast.runtime.settings import Settings

_FEW = 8
_STYLES = {"consistent": "bold green", "partial": "bold yellow", "critical": "bold white on red"}


def register(app: typer.Typer) -> None:
    app.command("top")(top)


def top(
    every: Annotated[float, typer.Option(min=0.2, help="Seconds between two looks.")] = 1.0,
    times: Annotated[
        int | None, typer.Option(min=1, help="End after so many looks.", show_default=False)
    ] = None,
    directory: Dir = None,
    config: Config = None,
) -> None:
    """Everything on one screen, live, until Ctrl-C: the light, positions, what is unclear, services, refusals."""
    in_loop(_watch(settings_of(directory, config), every, times))


async def _watch(settings: "Settings", every: float, times: int | None) -> None:
    from rich.live import Live
    from rich.text import Text

    from holdfast.bus.client import Unreachable, reach
    from holdfast.cli.show import console

    left = times
    with Live(console=console(), screen=times is None, auto_refresh=False) as screen:
        while left is None or left > 0:
            try:
                async with reach(settings) as client:
                    while left is None or left > 0:
                        screen.update(await picture(client), refresh=True)
                        left = None if left is None else left - 1
                        await asyncio.sleep(every)
            except Unreachable as error:
                screen.update(Text(f"🔴 {plain(str(error))}", style=_STYLES["critical"]), refresh=True)
                left = None if left is None else left - 1
                await asyncio.sleep(every)


async def picture(client: "Client") -> "RenderableType":
    """One screen, as of now."""
    from rich.console import Group
    from rich.text import Text

    from holdfast.cli.listing import position_rows
    from holdfast.cli.looking import limits_of, look
    from holdfast.contracts.codes import OrderState
    from holdfast.contracts.streams import ORDER_BLOCKED

    seen = await look(client)
    limits = limits_of(client.settings)
    light = seen.light(limits)
    armed = "?" if light.open_positions is None else f"{light.armed}/{light.open_positions}"
    parts: list[RenderableType] = [
        Text(
            f" {light.symbol} {light.status.upper()}  {armed} positions armed  PAPER ",
            style=_STYLES[light.status],
        ),
        *(Text(f"   {plain(reason)}") for reason in light.reasons[:_FEW]),
    ]
    states = [row for row in seen.view.control.values() if row.state != "active"]
    parts += [
        Text(f"   trading is {row.state.value} for {row.scope.value} {plain(row.target)}", style="yellow")
        for row in states
    ]
    orders = [row.model_dump(mode="json") for row in seen.view.orders.values()]
    unclear = [row for row in orders if row["state"] == OrderState.UNKNOWN.value]
    blocked = await newest_rows(client, ORDER_BLOCKED, "id", _FEW)
    parts += _section("positions", position_rows(seen), _POSITIONS)
    parts += _section("orders without a clear answer", unclear, _ORDERS)
    parts += _section("live orders", [row for row in orders if row not in unclear], _ORDERS)
    parts += _section("services", seen.service_rows(limits), _SERVICES)
    parts += _section("refused lately", blocked, _BLOCKED)
    return Group(*parts)


def _section(title: str, rows: list[dict[str, Any]], columns: tuple[Column, ...]) -> "list[RenderableType]":
    """A heading and its table, the first rows of it; nothing where there are none."""
    from rich.text import Text

    if not rows:
        return []
    more = f" (first {_FEW * 3} of {len(rows)})" if len(rows) > _FEW * 3 else ""
    return [Text(f"\n{title}{more}", style="bold cyan"), table(rows[: _FEW * 3], columns)]
