"""`status`, `check`, `positions`, `orders`, `trades`, `blocked`: what is, read from the bus, never from the state files."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from holdfast.cli.asking import in_loop, on_bus
from holdfast.cli.common import Config, Dir, fail, settings_of
from holdfast.cli.show import (
    Column,
    Json,
    clock_time,
    console,
    duration,
    plain,
    print_json,
    print_rows,
    short,
    table,
)

if TYPE_CHECKING:
    from holdfast.bus.client import Client
    from holdfast.cli.looking import Look
    from holdfast.contracts.streams import Stream
    from holdfast.domain.view import LedgerView

MOST_HOLDS = 10
"""Named in `status`; `holdfast limits` has them all."""
Limit = Annotated[int, typer.Option(min=1, max=10_000, help="Most rows, newest first.")]

_POSITIONS = (
    Column("symbol", "symbol"), Column("side", "side"), Column("quantity", "quantity", short, right=True),
    Column("entry", "entry_price", short, right=True), Column("take-profit", "take_profit", short, right=True),
    Column("stop-loss", "stop_loss", short, right=True), Column("at the venue", "stop_at_venue", short, right=True), Column("mark", "mark_price", short, right=True),
    Column("unrealized", "unrealized_pnl", short, right=True), Column("held", "hold_s", duration, right=True),
    Column("account", "account"), Column("exiting", "exit_reason"), Column("position_id", "position_id"),
)  # fmt: skip
_ORDERS = (
    Column("symbol", "symbol"), Column("role", "role"), Column("side", "side"), Column("type", "type"), Column("price", "price", short, right=True),
    Column("quantity", "quantity", short, right=True), Column("filled", "filled", short, right=True), Column("state", "state"),
    Column("reason", "reason"), Column("reserved", "reserved_at", clock_time), Column("account", "account"), Column("order_id", "order_id"),
)  # fmt: skip
_TRADES = (
    Column("closed", "at", clock_time), Column("symbol", "symbol"), Column("side", "side"), Column("quantity", "quantity", short, right=True),
    Column("entry", "entry_price", short, right=True), Column("exit", "exit_price", short, right=True), Column("exit reason", "exit_reason"),
    Column("realized", "realized_pnl", short, right=True), Column("in", "settle"), Column("strategy", "strategy"), Column("position_id", "position_id"),
)  # fmt: skip
_BLOCKED = (
    Column("at", "at", clock_time), Column("symbol", "symbol"), Column("tried", "attempted_side"), Column("quantity", "attempted_quantity", short, right=True),
    Column("held", "held_side"), Column("code", "code"), Column("reason", "reason"), Column("intent_id", "intent_id"),
)  # fmt: skip
_SERVICES = (
    Column("service", "service"), Column("alive", "alive"), Column("last heard", "beat_age_ms", lambda ms: duration(ms / 1000), right=True),
    Column("pid", "pid", right=True), Column("restarts", "restarts", right=True), Column("seq", "seq", right=True),
    Column("waiting", "lag", right=True), Column("pending", "pending", right=True), Column("dead letters", "dead_letters", right=True),
    Column("armed", "armed", right=True), Column("complaint", "unreadable"),
)  # fmt: skip


def register(app: typer.Typer) -> None:
    app.command("status")(status)
    app.command("check")(check)
    app.command("positions")(positions)
    app.command("orders")(orders)
    app.command("trades")(trades)
    app.command("blocked")(blocked)


def status(directory: Dir = None, config: Config = None, as_json: Json = False) -> None:
    """Services, the light, counts, and where everything is."""
    from holdfast.bus.client import shown
    from holdfast.cli.limits_cli import holds_in, until
    from holdfast.cli.looking import limits_of, look
    from holdfast.runtime.embedded_bus import address

    seen = on_bus(directory, config, look)
    settings = settings_of(directory, config)
    limits = limits_of(settings)
    found = seen.light(limits)
    rows = [_with_process(row, settings.dir / "run") for row in seen.service_rows(limits)]
    if as_json:
        print_json(rows)
        return
    out, view = console(), seen.view
    print(f"{found.symbol} {found.status}: {plain(found.sentence)}")
    if found.live:
        print(f"LIVE, real money: {plain(found.live)}")
    if view.is_loaded:
        closed = sum(total.trades for total in view.totals.values())
        print(
            f"open positions: {len(view.positions)}, live orders: {len(view.orders)}, closed trades: {closed}; ledger at {view.seq} (store {view.store_id})"
        )
    for row in view.control.values():
        if row.state != "active":
            target = f" {row.target}" if row.target else ""
            print(
                f"trading is {row.state.value} for {row.scope.value}{plain(target)}, by {plain(row.by)}: {plain(row.why) or 'no reason given'}"
            )
    for line in _stops(view)[:MOST_HOLDS]:
        print(line)
    for hold in holds_in(seen, settings)[:MOST_HOLDS]:
        print(f"no entries for {plain(hold.scope)} until {until(hold)}: {plain(hold.reason)}")
    print(
        f"bus {shown(address(settings))}, data {settings.dir.resolve()}, state files {settings.state_directory().resolve()}\n"
    )
    out.print(table(rows, _SERVICES))


def _stops(view: "LedgerView") -> list[str]:
    """Of each position at a real exchange: whether its stop rests there, and where."""
    from holdfast.contracts.money import canonical
    from holdfast.domain.protecting import resting_prices

    prices = resting_prices(view.positions.values(), view.orders.values())
    lines = []
    for row in view.positions.values():
        price = prices.get(row.position_id)
        if price is not None:
            lines.append(
                f"{row.symbol} {row.side.value} ({row.account}/{row.exchange}): its stop rests there at {canonical(price)}"
            )
        elif row.exchange != "paper":
            lines.append(
                f"{row.symbol} {row.side.value} ({row.account}/{row.exchange}): no stop rests there; Holdfast watches {canonical(row.stop_loss)}"
            )
    return lines


def _with_process(row: dict[str, Any], folder: Any) -> dict[str, Any]:
    """The process of `holdfast up` that runs the service, where there is one."""
    from holdfast.runtime.processes import read_record

    record = read_record(folder, row["service"].partition("/")[0])
    if record is None or not record.is_alive():
        return {**row, "pid": None}
    return {**row, "pid": record.pid, "restarts": max(record.restarts, row.get("restarts", 0))}


def check(directory: Dir = None, config: Config = None, as_json: Json = False) -> None:
    """The light, computed now. Exit code 0: consistent; 1: partial; 2: critical, or nothing answers."""
    from holdfast.bus.client import Unreachable, reach
    from holdfast.cli.looking import limits_of, look
    from holdfast.domain.light import CRITICAL, Light

    settings = settings_of(directory, config)

    async def found() -> Light:
        try:
            async with reach(settings) as client:
                return (await look(client)).light(limits_of(settings))
        except Unreachable as error:
            return Light(CRITICAL, str(error), [str(error)], None, 0)

    light = in_loop(found())
    if as_json:
        print_json(light.as_fields())
    else:
        print(f"{light.symbol} {light.status}: {plain(light.sentence)}")
        for reason in light.reasons if len(light.reasons) > 1 else ():
            print(f"  - {plain(reason)}")
    raise typer.Exit(light.exit_code)


def positions(directory: Dir = None, config: Config = None, as_json: Json = False) -> None:
    """Open positions with their exits, at the newest price."""
    from holdfast.cli.looking import look

    async def work(client: "Client") -> "Look":
        return await look(client, services=False)

    seen = _known(on_bus(directory, config, work))
    print_rows(
        position_rows(seen),
        _POSITIONS,
        as_json=as_json,
        empty="no open positions; try: holdfast intent buy BTC/USDT 0.01",
    )


def position_rows(seen: "Look") -> list[dict[str, Any]]:
    """The ledger's rows, with what they are worth at the newest price and for how long they have been held (market time)."""
    from holdfast.contracts.money import canonical
    from holdfast.domain.position import unrealized
    from holdfast.domain.protecting import resting_prices
    from holdfast.domain.registry import in_order

    stops = resting_prices(seen.view.positions.values(), seen.view.orders.values())
    rows = []
    for row in in_order(seen.view.positions.values()):
        mark, tick = seen.marks.get(row.symbol), seen.ticks.get(row.symbol)
        rows.append(
            {
                **row.model_dump(mode="json"),
                "stop_at_venue": None if row.position_id not in stops else canonical(stops[row.position_id]),
                "mark_price": None if mark is None else canonical(mark.price),
                "mark_age_ms": None if mark is None else max(0, seen.now_ms - mark.heard_ms),
                "unrealized_pnl": None if mark is None else canonical(unrealized(row, mark.price)),
                "hold_s": None if tick is None else max(0, tick.at - row.opened_at) // 1000,
            }
        )
    return rows


def orders(directory: Dir = None, config: Config = None, as_json: Json = False) -> None:
    """Live orders: reserved, open, being canceled, or without a clear answer."""
    from holdfast.cli.looking import look

    async def work(client: "Client") -> "Look":
        return await look(client, services=False, prices=False)

    seen = _known(on_bus(directory, config, work))
    rows = sorted(seen.view.orders.values(), key=lambda row: (row.reserved_at, row.order_id))
    print_rows(
        [row.model_dump(mode="json") for row in rows],
        _ORDERS,
        as_json=as_json,
        empty="no live orders; a resting one: holdfast intent buy BTC/USDT 0.01 --type limit --price 10000",
    )


def _known(seen: "Look") -> "Look":
    """Ends the command when the ledger is not known: unreadable is not empty."""
    if seen.trouble is not None:
        fail(seen.trouble)
    return seen


def trades(limit: Limit = 50, directory: Dir = None, config: Config = None, as_json: Json = False) -> None:
    """Closed positions, newest first: entry, exit, why, and what it brought."""
    from holdfast.contracts.streams import LEDGER_TRADE

    async def work(client: "Client") -> list[dict[str, Any]]:
        return await newest_rows(client, LEDGER_TRADE, "position_id", limit)

    rows = on_bus(directory, config, work)
    print_rows(
        rows,
        _TRADES,
        as_json=as_json,
        empty="no closed trades yet; close a position: holdfast close BTC/USDT",
    )


def blocked(limit: Limit = 50, directory: Dir = None, config: Config = None, as_json: Json = False) -> None:
    """Intents that an invariant, a limit or a halt refused, newest first."""
    from holdfast.contracts.streams import ORDER_BLOCKED

    async def work(client: "Client") -> list[dict[str, Any]]:
        return await newest_rows(client, ORDER_BLOCKED, "id", limit)

    rows = on_bus(directory, config, work)
    print_rows(rows, _BLOCKED, as_json=as_json, empty="nothing was blocked")


async def newest_rows(client: "Client", stream: "Stream", key: str, limit: int) -> list[dict[str, Any]]:
    """The newest *limit* messages of *stream*, each *key* once: after a wipe the ledger may publish one again."""
    rows: dict[str, dict[str, Any]] = {}
    async for entry in client.backwards(stream):
        if entry.message is not None:
            row = entry.message.model_dump(mode="json")
            rows.setdefault(row[key], row)
        if len(rows) == limit:
            break
    return list(rows.values())
